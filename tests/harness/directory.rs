//! Where does a test put its files? In a directory of its own, gone when the test is.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

static COUNT: AtomicU32 = AtomicU32::new(0);

/// A directory that is removed when dropped.
#[derive(Debug)]
pub struct Directory(PathBuf);

impl Directory {
    /// An empty one.
    pub fn new() -> Self {
        let name = format!("chancery-test-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    /// One with a copy of every file in `from`.
    pub fn copy_of(from: &Path) -> Self {
        let directory = Self::new();
        for entry in fs::read_dir(from).unwrap() {
            let file = entry.unwrap();
            if file.file_type().unwrap().is_file() {
                fs::copy(file.path(), directory.path().join(file.file_name())).unwrap();
            }
        }
        directory
    }

    /// Writes a certificate of this host and its key into `cert.pem` and `key.pem`.
    pub fn certify(&self, host: &str) -> rcgen::CertifiedKey<rcgen::KeyPair> {
        let made = rcgen::generate_simple_self_signed(vec![host.to_owned()]).unwrap();
        fs::write(self.path().join("key.pem"), made.signing_key.serialize_pem()).unwrap();
        fs::write(self.path().join("cert.pem"), made.cert.pem()).unwrap();
        made
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Where programs with this home remember things: beside it, as a copy of it must not bring that along.
    pub fn memory_of(home: &Path) -> PathBuf {
        home.with_extension("state")
    }

    /// The path as text, for command lines.
    pub fn text(&self) -> &str {
        self.0.to_str().unwrap()
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        // Whoever still writes here belongs to a test that is over.
        let _ = fs::remove_dir_all(&self.0);
        let _ = fs::remove_dir_all(Self::memory_of(&self.0));
    }
}
