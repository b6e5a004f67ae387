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

/// What changes when a file is written or exchanged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp([Option<(SystemTime, u64)>; 2]);

/// Reads the files, and says which they were: what is exchanged meanwhile is read again.
pub(super) fn read(files: &TlsFiles) -> Result<(Stamp, TlsAcceptor), StartError> {
    let stamp = stamp(files);
    Ok((stamp, acceptor(files)?))
}

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
    mut known: Stamp,
    serving: watch::Sender<TlsAcceptor>,
    mut stopping: watch::Receiver<bool>,
) {
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
                tracing::error!(
                    %error, what_to_do = error.advice(),
                    "the new certificate cannot be used; the former one is served on"
                );
            }
        }
    }
}

fn stamp(files: &TlsFiles) -> Stamp {
    Stamp([&files.cert, &files.key].map(|path| {
        let metadata = fs::metadata(path).ok()?;
        Some((metadata.modified().ok()?, metadata.len()))
    }))
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

    fn certify(files: &TlsFiles, host: &str) {
        let made = rcgen::generate_simple_self_signed([host.to_owned()]).unwrap();
        fs::write(&files.cert, made.cert.pem()).unwrap();
        fs::write(&files.key, made.signing_key.serialize_pem()).unwrap();
    }

    /// Between the first reading and the first look lies all that a start has to do.
    #[tokio::test(start_paused = true)]
    async fn files_that_are_exchanged_while_the_server_starts_are_read_again() {
        let place = std::env::temp_dir().join(format!("chancery-tls-{}", std::process::id()));
        fs::create_dir_all(&place).unwrap();
        let files = TlsFiles { cert: place.join("cert.pem"), key: place.join("key.pem") };
        certify(&files, "before.example");
        let (stamp, acceptor) = read(&files).unwrap();
        certify(&files, "what-it-is-called-now.example");
        let serving = watch::Sender::new(acceptor);
        let mut served = serving.subscribe();
        let (_stop, stopping) = watch::channel(false);
        tokio::select! {
            () = follow(files, stamp, serving.clone(), stopping) => unreachable!(),
            changed = served.changed() => changed.unwrap(),
            () = tokio::time::sleep(LOOK * 2) => panic!("the former certificate is served on"),
        }
        fs::remove_dir_all(place).unwrap();
    }

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
