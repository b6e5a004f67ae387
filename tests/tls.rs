//! Is https spoken where a certificate is given, and nothing else there? (RFC 8446)

use std::fs;
use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use crate::harness::{Directory, Engine, Setup};

const REQUEST: &[u8] = b"GET /admin/login/ HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_makes_it_https() {
    let files = Directory::new();
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let (certificate, key) = (files.path().join("cert.pem"), files.path().join("key.pem"));
    fs::write(&certificate, made.cert.pem()).unwrap();
    fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    let server = Setup::new(Engine::Sqlite)
        .set("tls-cert", certificate.to_str().unwrap())
        .set("tls-key", key.to_str().unwrap())
        .set("issuer", "https://localhost")
        .start()
        .await;
    let address = server.base.trim_start_matches("http://").to_owned();

    let mut roots = RootCertStore::empty();
    roots.add(made.cert.der().clone()).unwrap();
    let trusting = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    let stream = TcpStream::connect(&address).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let mut stream = TlsConnector::from(Arc::new(trusting)).connect(name.clone(), stream).await.unwrap();
    stream.write_all(REQUEST).await.unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    let answer = String::from_utf8_lossy(&answer).to_lowercase();
    assert!(answer.starts_with("http/1.1 200"), "{answer}");
    assert!(answer.contains("strict-transport-security:"), "{answer}");
    assert!(answer.contains("set-cookie: __host-") && answer.contains("secure"), "{answer}");

    // Somebody who does not know the certificate does not connect, and plain text gets no page.
    let doubting =
        ClientConfig::builder().with_root_certificates(RootCertStore::empty()).with_no_client_auth();
    let stream = TcpStream::connect(&address).await.unwrap();
    assert!(TlsConnector::from(Arc::new(doubting)).connect(name, stream).await.is_err());
    let mut plain = TcpStream::connect(&address).await.unwrap();
    plain.write_all(REQUEST).await.unwrap();
    let mut answer = Vec::new();
    let _ = plain.read_to_end(&mut answer).await;
    assert!(!String::from_utf8_lossy(&answer).contains("HTTP/1.1 200"));
}
