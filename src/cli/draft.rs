//! How does a command write a file that is whole when it has its name? Beside it first, as `.incomplete`; what
//! fails leaves nothing, and what is killed nothing that could be taken for the file.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;

use super::failure::Failure;
use crate::journal::chain::hex;
use crate::secret::random_bytes;

/// What SQLite puts beside a database while it is at work on it; the first is the database itself.
pub(super) const PARTS: [&str; 4] = ["", "-journal", "-wal", "-shm"];

/// A file in the making.
pub(super) struct Draft {
    file: File,
    path: PathBuf,
    target: PathBuf,
}

impl Draft {
    /// Of a file that must not be there: it may be the one that is needed. Asked before the work is done; when it
    /// is put in place, the system decides.
    pub(super) fn of_new(target: &Path) -> Result<Self, Failure> {
        if target.symlink_metadata().is_ok() {
            return Err(Failure::File(target.to_owned(), io::ErrorKind::AlreadyExists.into()));
        }
        Self::beside(target)
    }

    /// Of a file whose place will be free by the time it is put there.
    pub(super) fn beside(target: &Path) -> Result<Self, Failure> {
        let path = with_suffix(target, &format!(".{}.incomplete", hex(&random_bytes::<4>())));
        // It may hold secrets: nobody else reads it at any time.
        let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
        let file = made.map_err(|cause| Failure::File(path.clone(), cause))?;
        Ok(Self { file, path, target: target.to_owned() })
    }

    /// Where to write it.
    pub(super) fn file(&self) -> &File {
        &self.file
    }

    /// The same for who must open it by name.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Gives it its name, on the disk, and never in the place of a file that is there.
    pub(super) fn put_in_place(self) -> Result<(), Failure> {
        let parent = self.target.parent().filter(|parent| !parent.as_os_str().is_empty());
        let placed = self
            .file
            .sync_all()
            .and_then(|()| rename_to_new(&self.path, &self.target))
            .and_then(|()| File::open(parent.unwrap_or(Path::new(".")))?.sync_all());
        placed.map_err(|cause| Failure::File(self.target.clone(), cause))
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        // Once it has its name, there is nothing here any more.
        for part in PARTS {
            let _ = fs::remove_file(with_suffix(&self.path, part));
        }
    }
}

/// Fails when there is a file of the new name. NFS knows no such renaming, and a stick of FAT no second name.
fn rename_to_new(from: &Path, to: &Path) -> io::Result<()> {
    match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        Err(Errno::INVAL | Errno::NOSYS) => {
            fs::hard_link(from, to)?;
            fs::remove_file(from)
        }
        renamed => Ok(renamed?),
    }
}

/// The path with something more at its end.
pub(super) fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    /// A directory of its own, and the file that is to be in it.
    fn place(name: &str) -> (PathBuf, PathBuf) {
        let directory = std::env::temp_dir().join(format!("chancery-draft-{name}-{}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        let target = directory.join("file");
        (directory, target)
    }

    fn names(directory: &Path) -> Vec<String> {
        let entries = fs::read_dir(directory).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    #[test]
    fn a_file_has_its_name_when_it_is_whole_and_is_its_owners_alone() {
        let (directory, target) = place("whole");
        let draft = Draft::of_new(&target).unwrap();
        draft.file().write_all(b"half").unwrap();
        assert!(matches!(names(&directory).as_slice(), [one] if one.ends_with(".incomplete")));
        assert_eq!(fs::metadata(draft.path()).unwrap().permissions().mode() & 0o777, 0o600);
        draft.put_in_place().unwrap();
        assert_eq!(names(&directory), ["file"]);
        assert_eq!(fs::read(&target).unwrap(), b"half");
        fs::remove_dir_all(directory).unwrap();
    }

    #[test]
    fn what_is_not_finished_leaves_nothing() {
        let (directory, target) = place("unfinished");
        let draft = Draft::of_new(&target).unwrap();
        for part in ["-journal", "-wal", "-shm"] {
            fs::write(with_suffix(draft.path(), part), "").unwrap();
        }
        drop(draft);
        assert!(names(&directory).is_empty());
        fs::remove_dir_all(directory).unwrap();
    }

    #[test]
    fn a_file_that_is_there_is_never_replaced() {
        let (directory, target) = place("there");
        let draft = Draft::of_new(&target).unwrap();
        // It came while the draft was written.
        fs::write(&target, "needed").unwrap();
        assert!(Draft::of_new(&target).is_err());
        assert!(draft.put_in_place().is_err());
        assert_eq!(names(&directory), ["file"]);
        assert_eq!(fs::read(&target).unwrap(), b"needed");
        // A link that leads nowhere is a file all the same: its target is not to be made.
        fs::remove_file(&target).unwrap();
        std::os::unix::fs::symlink(directory.join("elsewhere"), &target).unwrap();
        assert!(Draft::of_new(&target).is_err());
        fs::remove_dir_all(directory).unwrap();
    }
}
