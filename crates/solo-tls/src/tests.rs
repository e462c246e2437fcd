//! Files, reloads and handshakes, with real certificates over real sockets.

use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::issue::{self, Issued};
use crate::{
    Change, ClientFiles, Connector, HANDSHAKES_MAX, HandshakeFailure, Incoming, Protocol,
    ServerTls, TlsError, TlsFiles, handshake_failure, now_unix_s,
};

/// An authority, and a server of it for `localhost` and `127.0.0.1`.
struct Fixture {
    directory: TempDir,
    authority: Issued,
    files: TlsFiles,
}

impl Fixture {
    fn new() -> Self {
        let directory = tempfile::tempdir().expect("tempdir");
        let authority = issue::authority().expect("an authority");
        let path = |name| directory.path().join(name);
        let files =
            TlsFiles { certificate: path("server.crt"), key: path("server.key"), client_ca: None };
        let fixture = Self { directory, authority, files };
        fixture.write("ca.crt", &fixture.authority.certificate);
        fixture.serve(&fixture.server(30));
        fixture
    }

    /// The same, and clients need a certificate of the same authority.
    fn mutual() -> Self {
        let mut fixture = Self::new();
        fixture.files.client_ca = Some(fixture.path("ca.crt"));
        fixture
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, text).expect("write");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).expect("chmod");
        path
    }

    fn server(&self, days: u32) -> Issued {
        let hosts = ["localhost".to_owned(), "127.0.0.1".to_owned()];
        issue::server(&self.authority, &hosts, days).expect("a certificate")
    }

    fn serve(&self, issued: &Issued) {
        self.write("server.crt", &issued.certificate);
        self.write("server.key", &issued.key);
    }

    /// A client that trusts this authority and shows a certificate of `authority`.
    fn client(&self, authority: Option<&Issued>) -> Connector {
        let identity = authority.map(|authority| {
            let issued = issue::client(authority, "agent", 30).expect("a certificate");
            (self.write("me.crt", &issued.certificate), self.write("me.key", &issued.key))
        });
        Connector::open(&ClientFiles { ca: self.path("ca.crt"), identity }).expect("files")
    }
}

/// A listener on all addresses that says `hello` to who gets through.
struct Server {
    port: u16,
    failed: Arc<AtomicUsize>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Server {
    async fn start(files: &TlsFiles) -> Self {
        let failed = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&failed);
        let tls = ServerTls::open(files.clone(), move || {
            counter.fetch_add(1, Ordering::SeqCst);
        });
        let listener = TcpListener::bind("0.0.0.0:0").await.expect("bound");
        let mut incoming = Incoming::new(listener, Some(&tls), Protocol::Http2).expect("TLS");
        let port = incoming.local_addr().expect("an address").port();
        let task = tokio::spawn(async move {
            while let Ok(mut transport) = incoming.next().await {
                tokio::spawn(async move {
                    let _gone = transport.write_all(b"hello").await;
                    let _gone = transport.flush().await;
                    // Until the client goes.
                    let _gone = transport.read_u8().await;
                });
            }
        });
        Self { port, failed, task }
    }

    async fn ask(&self, client: &Connector, host: &str) -> Result<String, HandshakeFailure> {
        match client.connect(host, self.port).await {
            Ok(mut stream) => {
                let mut text = [0; 5];
                stream.read_exact(&mut text).await.expect("a greeting");
                Ok(String::from_utf8_lossy(&text).into_owned())
            }
            Err(error) => Err(handshake_failure(&error).expect("a failed handshake")),
        }
    }

    /// A connection that says nothing.
    async fn silent(&self) -> TcpStream {
        TcpStream::connect(("127.0.0.1", self.port)).await.expect("connected")
    }
}

fn hello() -> Result<String, HandshakeFailure> {
    Ok("hello".to_owned())
}

#[tokio::test]
async fn who_trusts_the_authority_and_asks_by_name_gets_through() {
    let fixture = Fixture::new();
    let server = Server::start(&fixture.files).await;
    let client = fixture.client(None);
    assert_eq!(server.ask(&client, "localhost").await, hello());
    assert_eq!(server.ask(&client, "127.0.0.1").await, hello());
    assert_eq!(server.ask(&client, "127.0.0.2").await, Err(HandshakeFailure::WrongName));
    let other = Fixture::new().client(None);
    assert_eq!(server.ask(&other, "localhost").await, Err(HandshakeFailure::UnknownAuthority));
    fixture.serve(&fixture.server(0));
    let ended = Server::start(&fixture.files).await;
    assert_eq!(ended.ask(&client, "localhost").await, Err(HandshakeFailure::NotValidNow));
}

#[tokio::test]
async fn clients_need_a_certificate_of_the_authority_that_was_named() {
    let fixture = Fixture::mutual();
    let server = Server::start(&fixture.files).await;
    let good = fixture.client(Some(&fixture.authority));
    assert_eq!(server.ask(&good, "localhost").await, hello());
    let none = fixture.client(None);
    let needed = Err(HandshakeFailure::ClientCertificateNeeded);
    assert_eq!(server.ask(&none, "localhost").await, needed);
    let other = issue::authority().expect("an authority");
    let foreign = fixture.client(Some(&other));
    let refused = Err(HandshakeFailure::ClientCertificateRefused);
    assert_eq!(server.ask(&foreign, "localhost").await, refused);
    // A certificate of the server is none of a client.
    let files = ClientFiles {
        ca: fixture.path("ca.crt"),
        identity: Some((fixture.path("server.crt"), fixture.path("server.key"))),
    };
    let server_as_client = Connector::open(&files).expect("files");
    assert_eq!(server.ask(&server_as_client, "localhost").await, refused);
    assert_eq!(server.ask(&good, "localhost").await, hello());
    assert_eq!(server.failed.load(Ordering::SeqCst), 3);
}

#[tokio::test]
async fn silent_and_plain_clients_keep_nobody_waiting() {
    let fixture = Fixture::new();
    let server = Server::start(&fixture.files).await;
    let mut silent = Vec::new();
    for _ in 0..HANDSHAKES_MAX + 44 {
        silent.push(server.silent().await);
    }
    let client = fixture.client(None);
    assert_eq!(server.ask(&client, "localhost").await, hello());
    // The oldest had to go.
    assert_eq!(silent[0].read(&mut [0]).await.ok(), Some(0));
    let mut plain = server.silent().await;
    plain.write_all(b"GET / HTTP/1.1\r\n\r\n").await.expect("written");
    let mut answer = Vec::new();
    let _reset = plain.read_to_end(&mut answer).await;
    assert!(!answer.windows(5).any(|part| part == b"hello"), "{answer:?}");
    assert_eq!(server.ask(&client, "localhost").await, hello());
}

#[tokio::test]
async fn a_client_notices_that_no_tls_is_spoken() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
    let port = listener.local_addr().expect("an address").port();
    let server = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.expect("accepted");
        stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.expect("written");
        stream.read_u8().await
    });
    let client = Fixture::new().client(None);
    let error = client.connect("127.0.0.1", port).await.expect_err("refused");
    assert_eq!(handshake_failure(&error), Some(HandshakeFailure::NoTls), "{error}");
    let _first_byte = server.await.expect("ended");
    let refused = client.connect("127.0.0.1", port).await.expect_err("nobody listens");
    assert_eq!(handshake_failure(&refused), None);
}

#[tokio::test]
async fn the_address_decides() {
    let fixture = Fixture::new();
    let tls = ServerTls::open(fixture.files.clone(), || {});
    let bind = |address: &str| TcpListener::bind(address.to_owned());
    let here = bind("127.0.0.1:0").await.expect("bound");
    assert!(!Incoming::new(here, Some(&tls), Protocol::Http1).expect("plain").is_tls());
    let public = bind("0.0.0.0:0").await.expect("bound");
    assert!(Incoming::new(public, Some(&tls), Protocol::Http1).expect("TLS").is_tls());
    let public = bind("0.0.0.0:0").await.expect("bound");
    let error = Incoming::new(public, None, Protocol::Http1).expect_err("refused");
    assert_eq!(error.kind(), io::ErrorKind::PermissionDenied);
}

#[tokio::test]
async fn without_a_usable_certificate_nobody_gets_through_until_there_is_one() {
    let fixture = Fixture::new();
    fixture.write("server.crt", "nonsense");
    let tls = ServerTls::open(fixture.files.clone(), || {});
    let listener = TcpListener::bind("0.0.0.0:0").await.expect("bound");
    let address: SocketAddr = ([127, 0, 0, 1], listener.local_addr().expect("bound").port()).into();
    let mut incoming = Incoming::new(listener, Some(&tls), Protocol::Http2).expect("TLS");
    // The connection is kept: one that is closed at once may be a failure to its client.
    let serving = tokio::spawn(async move { incoming.next().await });
    let client = fixture.client(None);
    client.connect("127.0.0.1", address.port()).await.expect_err("closed");
    fixture.serve(&fixture.server(30));
    assert!(matches!(tls.look(), Some(Change::Replaced { .. })));
    let connecting = client.connect("127.0.0.1", address.port()).await;
    assert!(connecting.is_ok(), "{connecting:?}");
    assert!(serving.await.expect("ended").is_ok());
}

#[test]
fn new_files_are_taken_and_broken_ones_are_not() {
    let fixture = Fixture::mutual();
    let tls = ServerTls::open(fixture.files.clone(), || {});
    assert_eq!(tls.look(), None, "nothing changed");
    assert!(tls.covers("localhost") && tls.covers("LOCALHOST") && tls.covers("127.0.0.1"));
    for host in ["", "example.com", "127.0.0.2", "::1", "localhost:1", "a b"] {
        assert!(!tls.covers(host), "{host:?}");
    }
    let hosts = ["*.example.com".to_owned(), "2001:db8::7".to_owned()];
    let next = issue::server(&fixture.authority, &hosts, 30).expect("a certificate");
    // Half of it is there: said of at the second look only, and once.
    fixture.write("server.crt", &next.certificate);
    assert_eq!(tls.look(), None);
    let Some(Change::Broken { why }) = tls.look() else { panic!("said of") };
    assert!(why.contains("cannot be used together"), "{why}");
    assert_eq!(tls.look(), None, "said of already");
    assert!(tls.covers("localhost"), "the old one stays");
    fixture.write("server.key", &next.key);
    let Some(Change::Replaced { facts }) = tls.look() else { panic!("taken") };
    assert_eq!(facts.names, ["*.example.com", "2001:db8::7"]);
    assert!(tls.covers("a.example.com") && tls.covers("2001:db8::7") && !tls.covers("localhost"));
    // One that has ended, files that are gone, and an authority that is none.
    fixture.serve(&fixture.server(0));
    assert!(tls.look().is_none() && matches!(tls.look(), Some(Change::Broken { .. })));
    fixture.serve(&next);
    assert_eq!(tls.look(), None, "back to what is in force");
    std::fs::remove_file(fixture.path("ca.crt")).expect("removed");
    assert!(tls.look().is_none() && matches!(tls.look(), Some(Change::Broken { .. })));
    fixture.write("ca.crt", "");
    assert!(tls.look().is_none() && matches!(tls.look(), Some(Change::Broken { .. })));
    assert!(tls.covers("a.example.com"), "still there");
}

#[test]
fn an_end_that_is_near_is_said_once_for_each_certificate() {
    const DAY: i64 = 24 * 3_600;
    let fixture = Fixture::new();
    let tls = ServerTls::open(fixture.files.clone(), || {});
    assert_eq!(tls.look_at(now_unix_s() + 20 * DAY), None);
    for then in [25 * DAY, 40 * DAY] {
        let change = tls.look_at(now_unix_s() + then);
        assert_eq!(matches!(change, Some(Change::Ending { .. })), then == 25 * DAY, "{change:?}");
    }
    fixture.serve(&fixture.server(60));
    assert!(matches!(tls.look(), Some(Change::Replaced { .. })));
    assert!(matches!(tls.look_at(now_unix_s() + 59 * DAY), Some(Change::Ending { .. })));
}

#[test]
fn files_of_no_use_are_refused_before_the_start() {
    let fixture = Fixture::mutual();
    ServerTls::check(&fixture.files).expect("usable");
    let good = fixture.server(30);
    let check = |expected: fn(&TlsError) -> bool| {
        let error = ServerTls::check(&fixture.files).expect_err("refused");
        assert!(expected(&error), "{error:?}");
        assert!(!error.remedy().is_empty());
        fixture.serve(&good);
        fixture.write("ca.crt", &fixture.authority.certificate);
    };
    fixture.serve(&fixture.server(0));
    check(|error| matches!(error, TlsError::NotValidNow { .. }));
    fixture.write("server.key", &fixture.server(30).key);
    check(|error| matches!(error, TlsError::Unusable { .. }));
    fixture.write("server.key", &good.certificate);
    check(|error| matches!(error, TlsError::Pem { what: "private key", .. }));
    fixture.write("server.crt", &good.key);
    check(|error| matches!(error, TlsError::Pem { what: "certificate", .. }));
    fixture.write("server.crt", &"x".repeat(2 << 20));
    check(|error| matches!(error, TlsError::Read { .. }));
    fixture.write("ca.crt", "nonsense");
    check(|error| matches!(error, TlsError::Pem { .. }));
    fixture.serve(&issue::client(&fixture.authority, "nobody", 30).expect("a certificate"));
    check(|error| matches!(error, TlsError::NoNames { .. }));
    let open = std::fs::Permissions::from_mode(0o644);
    std::fs::set_permissions(fixture.path("server.key"), open).expect("chmod");
    check(|error| matches!(error, TlsError::KeyOpen { mode: 0o644, .. }));
    std::fs::remove_file(fixture.path("server.key")).expect("removed");
    check(|error| matches!(error, TlsError::Read { .. }));
}

#[test]
fn only_the_own_authority_makes_certificates() {
    let (one, other) = (issue::authority().expect("one"), issue::authority().expect("another"));
    let mixed = Issued { certificate: one.certificate.clone(), key: other.key };
    let error = issue::client(&mixed, "agent", 1).expect_err("refused");
    assert!(matches!(error, TlsError::ForeignAuthority), "{error:?}");
    for host in ["", "a b", "host:1", "[::1]", "a/b", "*", "*.127.0.0.1"] {
        let error = issue::server(&one, &[host.to_owned()], 1).expect_err(host);
        assert!(matches!(error, TlsError::Host(_)), "{error:?}");
    }
    let directory = tempfile::tempdir().expect("tempdir");
    let path = directory.path().join("one.crt");
    std::fs::write(&path, &one.certificate).expect("write");
    let facts = crate::CertificateFacts::read(Path::new(&path)).expect("a certificate");
    assert!(facts.is_authority && facts.subject.starts_with("CN=Solo CA "), "{facts:?}");
    assert_eq!(facts.subject, facts.issuer);
}
