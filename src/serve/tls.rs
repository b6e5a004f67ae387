//! With which certificate does the server speak https? (RFC 8446; TLS 1.2 for old clients)

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::pem::{self, PemObject};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::StartError;
use crate::config::TlsFiles;

/// How often the files are looked at.
const LOOK: Duration = Duration::from_secs(2);

/// Reads the files.
pub(super) fn acceptor(files: &TlsFiles) -> Result<TlsAcceptor, StartError> {
    let refused = |error: tokio_rustls::rustls::Error| StartError::Tls(error.to_string());
    let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(refused)?
        .with_no_client_auth()
        .with_single_cert(chain(&files.cert)?, key(&files.key)?)
        .map_err(refused)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// Looks at the files again and again: a renewed certificate is served from the next connection on. Files
/// that cannot be used change nothing but the log.
pub(super) async fn follow(
    files: TlsFiles,
    serving: watch::Sender<TlsAcceptor>,
    mut stopping: watch::Receiver<bool>,
) {
    let mut known = stamp(&files);
    loop {
        tokio::select! {
            () = tokio::time::sleep(LOOK) => {}
            _ = stopping.wait_for(|stopping| *stopping) => return,
        }
        let found = stamp(&files);
        if found == known {
            continue;
        }
        known = found;
        match acceptor(&files) {
            Ok(acceptor) => {
                serving.send_replace(acceptor);
                tracing::info!("the certificate was read again and is served from here on");
            }
            Err(error) => {
                tracing::error!(%error, "the new certificate cannot be used; the former one is served on");
            }
        }
    }
}

/// What changes when a file is written or exchanged.
fn stamp(files: &TlsFiles) -> [Option<(SystemTime, u64)>; 2] {
    [&files.cert, &files.key].map(|path| {
        let metadata = fs::metadata(path).ok()?;
        Some((metadata.modified().ok()?, metadata.len()))
    })
}

fn chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, StartError> {
    let certificates = CertificateDer::pem_file_iter(path).map_err(|error| unusable(path, &error))?;
    let chain = certificates.collect::<Result<Vec<_>, _>>().map_err(|error| unusable(path, &error))?;
    if chain.is_empty() { Err(unusable(path, &pem::Error::NoItemsFound)) } else { Ok(chain) }
}

fn key(path: &Path) -> Result<PrivateKeyDer<'static>, StartError> {
    PrivateKeyDer::from_pem_file(path).map_err(|error| unusable(path, &error))
}

/// Our words for a missing item; the library's for the rest, which name no contents.
fn unusable(path: &Path, error: &pem::Error) -> StartError {
    let reason = if matches!(error, pem::Error::NoItemsFound) {
        "there is no certificate or key in it".to_owned()
    } else {
        error.to_string()
    };
    StartError::TlsFile { path: path.to_owned(), reason }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_missing_or_something_else_is_named() {
        let missing = Path::new("/nonexistent/cert.pem");
        let error = chain(missing).unwrap_err();
        assert!(error.to_string().starts_with("/nonexistent/cert.pem cannot be used: "), "{error}");
        let something_else = Path::new("Cargo.toml");
        assert!(chain(something_else).unwrap_err().to_string().contains("no certificate or key"));
        assert!(key(something_else).unwrap_err().to_string().contains("no certificate or key"));
    }
}
