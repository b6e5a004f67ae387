//! Is https spoken where a certificate is given, and nothing else there? (RFC 8446)

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use crate::harness::{Directory, Engine, Server, Setup};

const REQUEST: &[u8] = b"GET /admin/login/ HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";

/// A server with a certificate, and where its files are.
struct Https {
    server: Server,
    files: Directory,
    certificate: rcgen::CertifiedKey<rcgen::KeyPair>,
}

impl Https {
    async fn start() -> Self {
        let files = Directory::new();
        let certificate = files.certify("localhost");
        let path = |name| files.path().join(name).to_str().unwrap().to_owned();
        let setup = Setup::new(Engine::Sqlite).set("issuer", "https://localhost");
        let setup = setup.set("tls-cert", &path("cert.pem")).set("tls-key", &path("key.pem"));
        Self { server: setup.start().await, files, certificate }
    }

    fn address(&self) -> String {
        self.server.base.trim_start_matches("http://").to_owned()
    }

    async fn connect(
        &self,
        trusted: Option<&rcgen::Certificate>,
        protocols: &[&[u8]],
    ) -> std::io::Result<tokio_rustls::client::TlsStream<TcpStream>> {
        let mut roots = RootCertStore::empty();
        if let Some(certificate) = trusted {
            roots.add(certificate.der().clone()).unwrap();
        }
        let mut config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
        let stream = TcpStream::connect(self.address()).await.unwrap();
        TlsConnector::from(Arc::new(config)).connect(ServerName::try_from("localhost").unwrap(), stream).await
    }
}

/// Renewed by whatever renews certificates: nobody has to restart anything.
#[tokio::test(flavor = "multi_thread")]
async fn a_renewed_certificate_is_served_without_a_restart() {
    let https = Https::start().await;
    https.connect(Some(&https.certificate.cert), &[]).await.unwrap();
    // A half-written pair changes nothing.
    fs::write(https.files.path().join("cert.pem"), "cheese").unwrap();
    tokio::time::sleep(Duration::from_millis(2_500)).await;
    https.connect(Some(&https.certificate.cert), &[]).await.unwrap();
    let renewed = https.files.certify("localhost");
    let mut tries = 0;
    while https.connect(Some(&renewed.cert), &[]).await.is_err() {
        tries += 1;
        assert!(tries < 100, "the new certificate is not served");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(https.connect(Some(&https.certificate.cert), &[]).await.is_err(), "the former one is gone");
}

/// Whoever connects and says nothing keeps a place that others may have.
#[tokio::test(flavor = "multi_thread")]
async fn a_handshake_that_does_not_begin_is_given_up() {
    let https = Https::start().await;
    let mut silent = TcpStream::connect(https.address()).await.unwrap();
    let closed = tokio::time::timeout(Duration::from_secs(10), silent.read(&mut [0])).await;
    assert_eq!(closed.expect("it is closed").unwrap(), 0);
    https.connect(Some(&https.certificate.cert), &[]).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn http_2_is_spoken_with_those_who_ask_for_it() {
    use http_body_util::{BodyExt, Full};
    use hyper_util::rt::{TokioExecutor, TokioIo};
    let https = Https::start().await;
    let stream = https.connect(Some(&https.certificate.cert), &[b"h2", b"http/1.1"]).await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    let builder = hyper::client::conn::http2::Builder::new(TokioExecutor::new());
    let (sender, connection) =
        builder.handshake::<_, Full<axum::body::Bytes>>(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let mut answers = tokio::task::JoinSet::new();
    for _ in 0..200 {
        let mut sender = sender.clone();
        answers.spawn(async move {
            let request = axum::http::Request::get("https://localhost/admin/login/");
            let answer = sender.send_request(request.body(Full::default()).unwrap()).await.unwrap();
            let status = answer.status();
            (status.as_u16(), answer.into_body().collect().await.unwrap().to_bytes().len())
        });
    }
    for (status, length) in answers.join_all().await {
        assert!(status == 200 && length > 500, "{status}, {length} bytes");
    }
    // Headers beyond all measure.
    let long = "x".repeat(40 * 1024);
    let request = axum::http::Request::get("https://localhost/").header("x-long", long);
    let answer = sender.clone().send_request(request.body(Full::default()).unwrap()).await.unwrap();
    assert_eq!(answer.status(), 431);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_makes_it_https() {
    let https = Https::start().await;
    let mut stream = https.connect(Some(&https.certificate.cert), &[]).await.unwrap();
    stream.write_all(REQUEST).await.unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    let answer = String::from_utf8_lossy(&answer).to_lowercase();
    assert!(answer.starts_with("http/1.1 200"), "{answer}");
    assert!(answer.contains("strict-transport-security:"), "{answer}");
    assert!(answer.contains("set-cookie: __host-") && answer.contains("secure"), "{answer}");

    // Somebody who does not know the certificate does not connect, and plain text gets no page.
    assert!(https.connect(None, &[]).await.is_err());
    let mut plain = TcpStream::connect(https.address()).await.unwrap();
    plain.write_all(REQUEST).await.unwrap();
    let mut answer = Vec::new();
    let _ = plain.read_to_end(&mut answer).await;
    assert!(!String::from_utf8_lossy(&answer).contains("HTTP/1.1 200"));
}
