//! Why does the server not start, and what is to be done about it?

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use crate::open::OpenError;

/// Why the server did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Somebody else listens there.
    #[error("{address} is in use by another program")]
    PortInUse {
        /// Which option says so.
        option: &'static str,
        /// Where.
        address: SocketAddr,
    },
    /// Ports below 1024 are for privileged users.
    #[error("this user may not listen on {address}")]
    NotAllowed {
        /// Where.
        address: SocketAddr,
    },
    /// Any other reason.
    #[error("cannot listen on {address}")]
    Listen {
        /// Which option says so.
        option: &'static str,
        /// Where.
        address: SocketAddr,
        /// What the system says.
        source: io::Error,
    },
    /// A certificate or key file cannot be read, or holds something else.
    #[error("{} cannot be used: {reason}", path.display())]
    TlsFile {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The certificate and the key do not belong together.
    #[error("the certificate and its key cannot be used: {0}")]
    Tls(String),
    /// The data could not be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
}

impl StartError {
    /// What to do about it; empty for [`Self::Open`], of which `cli::failure` says it.
    #[must_use]
    pub fn advice(&self) -> String {
        match self {
            StartError::PortInUse { option, address } => format!(
                "Stop the other program (perhaps this server is running already), or listen elsewhere: \
                 --{option} {}",
                SocketAddr::new(address.ip(), address.port().saturating_add(1))
            ),
            StartError::NotAllowed { .. } => {
                "Choose a port above 1023, or give the program the capability CAP_NET_BIND_SERVICE.".to_owned()
            }
            StartError::Listen { option, .. } => {
                format!("Choose an address of this machine with --{option}.")
            }
            StartError::TlsFile { .. } | StartError::Tls(_) => {
                "Give --tls-cert a PEM file with the certificate chain and --tls-key one with its private key, \
                 both readable by this user."
                    .to_owned()
            }
            StartError::Open(_) => String::new(),
        }
    }
}
