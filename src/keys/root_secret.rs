//! Where does the root secret come from, and who may read it?
//!
//! From a file that only its owner may read, made at the first start, or from
//! the configuration where several nodes share one. OWASP ASVS 13.3.1.

use std::fmt;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::alphabet::{STANDARD, URL_SAFE};
use base64::engine::general_purpose::{GeneralPurpose, NO_PAD};
use zeroize::Zeroizing;

use crate::secret::{random_alphanumeric, random_bytes};

const LENGTH: usize = 32;
/// More than any spelling of 32 bytes takes.
const LARGEST_FILE: u64 = 1024;

/// The 32 bytes every server key is derived from. Whoever has them and the log
/// can make every live token.
#[derive(Clone)]
pub struct RootSecret(Zeroizing<[u8; LENGTH]>);

/// Why there is no root secret.
#[derive(Debug, thiserror::Error)]
pub enum RootSecretError {
    /// The text is not a spelling of 32 bytes.
    #[error(
        "the root secret must be 32 random bytes as 64 hex digits or 43 base64 characters; `openssl rand -hex 32` makes one"
    )]
    Malformed,
    /// All bytes are the same, so somebody filled in a placeholder.
    #[error("the root secret is a placeholder; `openssl rand -hex 32` makes a random one")]
    Placeholder,
    /// Others than the owner may read or change the file.
    #[error("the root secret {path} is open to other users (mode {mode:03o}); run `chmod 600 {path}`", path = path.display())]
    OpenToOthers {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The path names something that is not a file.
    #[error("the root secret {} is not a regular file", .0.display())]
    NotAFile(PathBuf),
    /// The file could not be read.
    #[error("cannot read the root secret {}", .0.display())]
    Read(PathBuf, #[source] io::Error),
    /// The file could not be made.
    #[error("cannot create the root secret {}", .0.display())]
    Create(PathBuf, #[source] io::Error),
}

impl RootSecret {
    /// Fresh random bytes.
    #[must_use]
    pub fn generate() -> Self {
        Self(Zeroizing::new(random_bytes()))
    }

    /// Reads the secret from configured text: 64 hex digits, or 32 bytes in
    /// base64 (either alphabet, with or without padding).
    pub fn from_text(text: &str) -> Result<Self, RootSecretError> {
        let text = text.trim();
        let bytes = if text.len() == 2 * LENGTH { from_hex(text) } else { from_base64(text) };
        let bytes = bytes.ok_or(RootSecretError::Malformed)?;
        if bytes.iter().all(|byte| Some(byte) == bytes.first()) {
            return Err(RootSecretError::Placeholder);
        }
        Ok(Self(bytes))
    }

    /// Reads the file at `path`, or makes it with fresh bytes when there is none.
    ///
    /// A new file has mode 0600, in a directory made with mode 0700 if need be.
    /// It appears under its name complete and on the disk: two nodes that start
    /// together agree on one, and no crash leaves half of one.
    pub fn load_or_create(path: &Path) -> Result<Self, RootSecretError> {
        match Self::load(path) {
            Err(RootSecretError::Read(_, cause)) if cause.kind() == io::ErrorKind::NotFound => {
                Self::generate()
                    .store(path)
                    .map_err(|cause| RootSecretError::Create(path.to_owned(), cause))?;
                Self::load(path)
            }
            loaded => loaded,
        }
    }

    /// Reads the file at `path`; refuses one that others may read or change.
    pub fn load(path: &Path) -> Result<Self, RootSecretError> {
        let read = |cause| RootSecretError::Read(path.to_owned(), cause);
        let file = File::open(path).map_err(read)?;
        // Asked of the open file, so it cannot be exchanged between check and use.
        let metadata = file.metadata().map_err(read)?;
        if !metadata.is_file() {
            return Err(RootSecretError::NotAFile(path.to_owned()));
        }
        let mode = metadata.mode() & 0o777;
        if mode & 0o077 != 0 {
            let path = path.to_owned();
            return Err(RootSecretError::OpenToOthers { path, mode });
        }
        let mut text = Zeroizing::new(String::new());
        file.take(LARGEST_FILE).read_to_string(&mut text).map_err(read)?;
        Self::from_text(&text)
    }

    /// Writes a neighbour first and links it to its name, which fails, unlike a
    /// rename, when another process was quicker; then that one's file counts.
    pub fn store(&self, path: &Path) -> io::Result<()> {
        let directory = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            Some(_) | None => Path::new("."),
        };
        DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
        let draft = directory.join(format!(".root-secret-{}", random_alphanumeric(16)));
        let linked = self.write(&draft).and_then(|()| fs::hard_link(&draft, path));
        fs::remove_file(&draft)?;
        match linked {
            Err(cause) if cause.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            Err(cause) => Err(cause),
            Ok(()) => File::open(directory)?.sync_all(),
        }
    }

    /// As it stands in its file.
    #[must_use]
    pub fn to_text(&self) -> Zeroizing<String> {
        Zeroizing::new(GeneralPurpose::new(&URL_SAFE, NO_PAD).encode(*self.0))
    }

    fn write(&self, path: &Path) -> io::Result<()> {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
        let text = self.to_text();
        file.write_all(text.as_bytes())?;
        file.write_all(b"\n")?;
        file.sync_all()
    }

    pub(super) fn bytes(&self) -> &[u8] {
        self.0.as_slice()
    }
}

impl fmt::Debug for RootSecret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("[secret]")
    }
}

fn from_hex(text: &str) -> Option<Zeroizing<[u8; LENGTH]>> {
    let mut bytes = Zeroizing::new([0; LENGTH]);
    let mut digits = text.chars().map(|digit| digit.to_digit(16));
    for byte in bytes.iter_mut() {
        let (high, low) = (digits.next()??, digits.next()??);
        *byte = u8::try_from(high << 4 | low).ok()?;
    }
    digits.next().is_none().then_some(bytes)
}

fn from_base64(text: &str) -> Option<Zeroizing<[u8; LENGTH]>> {
    let unpadded = text.strip_suffix('=').unwrap_or(text);
    [URL_SAFE, STANDARD].iter().find_map(|alphabet| {
        let decoded = GeneralPurpose::new(alphabet, NO_PAD).decode(unpadded).ok()?;
        let decoded = Zeroizing::new(decoded);
        Some(Zeroizing::new(decoded.as_slice().try_into().ok()?))
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    /// A directory of its own that goes with the test.
    struct Directory(PathBuf);

    impl Directory {
        fn new() -> Self {
            let name = format!("chancery-{}", random_alphanumeric(16));
            Self(std::env::temp_dir().join(name))
        }
    }

    impl Drop for Directory {
        fn drop(&mut self) {
            fs::remove_dir_all(&self.0).ok();
        }
    }

    #[test]
    fn the_first_start_makes_the_secret_and_the_second_reads_it() {
        let directory = Directory::new();
        let path = directory.0.join("keys/root-secret");
        let first = RootSecret::load_or_create(&path).unwrap();
        let second = RootSecret::load_or_create(&path).unwrap();
        assert_eq!(first.bytes(), second.bytes());
        let mode = |path: &Path| fs::metadata(path).unwrap().mode() & 0o777;
        assert_eq!(mode(&path), 0o600);
        assert_eq!(mode(path.parent().unwrap()), 0o700);
        let files = fs::read_dir(path.parent().unwrap()).unwrap().count();
        assert_eq!(files, 1, "the draft is gone");
    }

    #[test]
    fn nodes_that_start_together_agree_on_one_secret() {
        let directory = Directory::new();
        let path = directory.0.join("root-secret");
        let secrets: Vec<_> = std::thread::scope(|scope| {
            let start = || RootSecret::load_or_create(&path).unwrap();
            let nodes: Vec<_> = (0..8).map(|_| scope.spawn(start)).collect();
            nodes.into_iter().map(|node| node.join().unwrap()).collect()
        });
        assert!(secrets.iter().all(|one| one.bytes() == secrets[0].bytes()));
    }

    #[test]
    fn a_file_others_can_read_is_refused_and_the_error_says_what_to_do() {
        let directory = Directory::new();
        let path = directory.0.join("root-secret");
        RootSecret::load_or_create(&path).unwrap();
        for mode in [0o640, 0o604, 0o620, 0o644] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            let error = RootSecret::load_or_create(&path).unwrap_err();
            let advice = format!("chmod 600 {}", path.display());
            assert!(error.to_string().contains(&advice), "{error}");
        }
    }

    #[test]
    fn a_damaged_file_is_refused_and_left_alone() {
        let directory = Directory::new();
        let path = directory.0.join("root-secret");
        RootSecret::load_or_create(&path).unwrap();
        fs::write(&path, "").unwrap();
        let error = RootSecret::load_or_create(&path).unwrap_err();
        assert!(matches!(error, RootSecretError::Malformed));
        assert_eq!(fs::read(&path).unwrap(), b"");
        let error = RootSecret::load_or_create(&directory.0).unwrap_err();
        assert!(matches!(error, RootSecretError::NotAFile(_)));
    }

    #[test]
    fn configured_text_is_hex_or_base64_of_32_bytes() {
        let hex = "00112233445566778899aabbccddeeff00112233445566778899AABBCCDDEEFF";
        let base64 = "ABEiM0RVZneImaq7zN3u/wARIjNEVWZ3iJmqu8zd7v8";
        let url_safe = base64.replace('/', "_");
        let padded = format!(" {base64}=\n");
        let expected = RootSecret::from_text(hex).unwrap();
        for text in [base64, &url_safe, &padded] {
            assert_eq!(RootSecret::from_text(text).unwrap().bytes(), expected.bytes());
        }
        for text in ["", "secret", &hex[2..], &base64[1..], &hex.replace('a', "g")] {
            let error = RootSecret::from_text(text).unwrap_err();
            assert!(matches!(error, RootSecretError::Malformed), "{text}");
        }
        let error = RootSecret::from_text(&"0".repeat(64)).unwrap_err();
        assert!(matches!(error, RootSecretError::Placeholder));
    }

    #[test]
    fn a_root_secret_never_shows_itself() {
        assert_eq!(format!("{:?}", RootSecret::generate()), "[secret]");
    }
}
