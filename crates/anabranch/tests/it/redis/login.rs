//! Getting in: passwords, users, databases, sockets, TLS.

use anabranch::client::{ClientCertificate, Roots, TlsSettings};
use anabranch::redis::Redis;
use anabranch::{Client, Kind};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use tempfile::TempDir;

use super::{ask, ms};
use crate::redis_server::{RedisServer, free_port};

#[tokio::test]
async fn a_password_lets_in_and_a_wrong_one_does_not() {
    let Some(server) = RedisServer::start_with(&[
        "--requirepass",
        "open:se@me",
        "--user",
        "app",
        "on",
        ">app-secret",
        "~app:*",
        "+@all",
    ]) else {
        return;
    };
    let (host, port) = (server.host(), server.port());
    let client = Client::new();
    for login in [":open%3Ase%40me@", "default:open%3Ase%40me@", "app:app-secret@"] {
        let redis = Redis::new("hot", &format!("redis://{login}{host}:{port}")).unwrap();
        assert_eq!(ask(&redis, &client, "SET app:key 1").await.unwrap(), r#""OK""#, "{login}");
    }
    for login in [":wrong-secret@", "app:wrong-secret@", "nobody:wrong-secret@", ""] {
        let redis = Redis::new("hot", &format!("redis://{login}{host}:{port}")).unwrap();
        let error = ask(&redis, &client, "GET app:key").await.unwrap_err();
        assert_eq!(
            (error.kind(), error.was_sent(), error.attempts()),
            (Kind::Status, false, 1),
            "{login}: {error}"
        );
        let text = format!("{error} {error:?} {redis:?}");
        assert!(text.contains("refused the login") && !text.contains("secret"), "{text}");
        assert!(error.retry_after().is_some(), "it is tried again, not in a loop");
        let at_once = tokio::time::Instant::now();
        for _ in 0..100 {
            let _refused = ask(&redis, &client, "GET app:key").await.unwrap_err();
        }
        assert!(
            at_once.elapsed() < ms(500) && redis.counts().dials <= 8,
            "{:?} {:?}",
            at_once.elapsed(),
            redis.counts()
        );
    }
    let redis = Redis::new("hot", &format!("redis://app:app-secret@{host}:{port}")).unwrap();
    let error = ask(&redis, &client, "GET other").await.unwrap_err();
    assert_eq!(
        (error.kind(), error.detail().starts_with("NOPERM")),
        (Kind::Status, true),
        "{error}"
    );
}

#[tokio::test]
async fn the_database_of_the_url_is_the_one_that_is_used() {
    let Some(server) = RedisServer::start() else { return };
    let client = Client::new();
    let first = Redis::new("hot", &server.url()).unwrap();
    let third = Redis::new("hot", &format!("{}/3", server.url())).unwrap();
    let socket = Redis::new("hot", &format!("unix://{}?db=3", server.socket().display())).unwrap();
    ask(&third, &client, "SET key 3").await.unwrap();
    assert_eq!(ask(&first, &client, "GET key").await.unwrap(), "null");
    assert_eq!(ask(&socket, &client, "GET key").await.unwrap(), r#""3""#);
    let none = Redis::new("hot", &format!("{}/99", server.url())).unwrap();
    let error = ask(&none, &client, "GET key").await.unwrap_err();
    assert!(
        error.kind() == Kind::Status && error.detail().contains("no such database"),
        "{error}"
    );
}

#[tokio::test]
async fn a_socket_or_a_port_that_is_not_there_is_told_at_once() {
    let client = Client::new();
    for url in [
        format!("redis://127.0.0.3:{}", free_port()),
        "unix:///tmp/anabranch-no-such.sock".to_owned(),
    ] {
        let redis = Redis::new("hot", &url).unwrap();
        let started = tokio::time::Instant::now();
        let error = ask(&redis, &client, "PING").await.unwrap_err();
        assert_eq!((error.kind(), error.was_sent()), (Kind::Connect, false), "{error}");
        assert!(started.elapsed() < ms(800), "{:?}", started.elapsed());
    }
}

/// Certificates in files, as the server wants them.
struct Certificates {
    folder: TempDir,
    authority: CertifiedIssuer<'static, KeyPair>,
}

impl Certificates {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        // Of the same name as what it signs, it would make OpenSSL take that for signed by itself.
        params.distinguished_name.push(DnType::CommonName, "authority");
        let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        Certificates {
            folder: TempDir::new().unwrap(),
            authority,
        }
    }

    fn sign(&self, name: &str) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new([name.to_owned()]).unwrap();
        (params.signed_by(&key, &self.authority).unwrap().pem(), key.serialize_pem())
    }

    fn file(&self, name: &str, text: &str) -> String {
        let path = self.folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    }

    fn trusted(&self) -> TlsSettings {
        TlsSettings {
            roots: Roots::Pem(self.authority.pem().into_bytes()),
            ..TlsSettings::default()
        }
    }
}

#[tokio::test]
async fn over_tls_the_certificate_has_to_be_good_on_both_sides() {
    let certificates = Certificates::new();
    let (chain, key) = certificates.sign("127.0.0.3");
    let (chain, key, ca) = (
        certificates.file("chain", &chain),
        certificates.file("key", &key),
        certificates.file("ca", &certificates.authority.pem()),
    );
    let port = free_port().to_string();
    let tls = [
        "--tls-port",
        &port,
        "--tls-cert-file",
        &chain,
        "--tls-key-file",
        &key,
        "--tls-ca-cert-file",
        &ca,
        "--tls-auth-clients",
    ];
    let optional = [tls.as_slice(), &["optional"]].concat();
    let Some(server) = RedisServer::start_with(&optional) else { return };
    let url = format!("rediss://127.0.0.3:{port}");
    let client = Client::new();
    let over = |settings: TlsSettings| Redis::builder("hot", &url).tls(settings).build().unwrap();

    assert_eq!(ask(&over(certificates.trusted()), &client, "SET key tls").await.unwrap(), r#""OK""#);
    let large = "x".repeat(300_000);
    let redis = over(certificates.trusted());
    ask(&redis, &client, &format!("SET large {large}")).await.unwrap();
    assert_eq!(ask(&redis, &client, "GET large").await.unwrap().len(), 300_002);

    for (settings, why) in [
        (TlsSettings::default(), "an authority that the system does not know"),
        (Certificates::new().trusted(), "another authority"),
        (
            TlsSettings {
                server_name: Some("other.test".to_owned()),
                ..certificates.trusted()
            },
            "another name",
        ),
    ] {
        let error = ask(&over(settings), &client, "GET key").await.unwrap_err();
        assert_eq!((error.kind(), error.was_sent()), (Kind::Tls, false), "{why}: {error}");
    }
    let plain = Redis::builder("hot", &format!("rediss://127.0.0.3:{}", server.port()))
        .tls(certificates.trusted())
        .build()
        .unwrap();
    let error = ask(&plain, &client, "PING").await.unwrap_err();
    assert!(matches!(error.kind(), Kind::Tls | Kind::Connect), "{error}");
    drop(server);

    let required = [tls.as_slice(), &["yes"]].concat();
    let Some(_server) = RedisServer::start_with(&required) else {
        return;
    };
    let error = ask(&over(certificates.trusted()), &client, "PING").await.unwrap_err();
    assert!(matches!(error.kind(), Kind::Tls | Kind::Connect), "{error}");
    let (chain, key) = certificates.sign("client.test");
    let certificate = ClientCertificate {
        chain: chain.into_bytes(),
        key: key.into_bytes(),
    };
    let known = TlsSettings {
        client_certificate: Some(certificate),
        ..certificates.trusted()
    };
    assert_eq!(ask(&over(known), &client, "PING").await.unwrap(), r#""PONG""#);
}
