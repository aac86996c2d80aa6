//! Sources over TLS, set up in the config with certificates of our own making: what fits is spoken to, what does not is the outcome
//! `tls`, and the page comes in time either way.

use std::sync::{Arc, Mutex};

use anabranch_gateway::config::MapLookup;
use anabranch_gateway::{compile, Gateway};
use anabranch_testkit::{serve, Reply, Served, TcpUpstream, Upstream};
use rcgen::{BasicConstraints, Certificate, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;
use tokio_rustls::rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{crypto, RootCertStore, ServerConfig};
use tokio_rustls::TlsAcceptor;

use crate::setup::{good, ms, until, BadPart, Running};

/// A certificate authority and what it signs.
struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new() -> Authority {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Authority(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    /// A certificate for a name or an address; what an expired one was valid for is long past.
    fn sign(&self, name: &str, is_expired: bool) -> (Certificate, KeyPair) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new([name.to_string()]).unwrap();
        if is_expired {
            params.not_before = rcgen::date_time_ymd(2001, 1, 1);
            params.not_after = rcgen::date_time_ymd(2002, 1, 1);
        }
        (params.signed_by(&key, &self.0).unwrap(), key)
    }
}

/// An upstream over TLS.
struct Secure {
    served: Arc<Served>,
    port: u16,
    /// What each connection agreed to speak.
    spoken: Arc<Mutex<Vec<String>>>,
}

/// How it shows itself.
struct Shown<'a> {
    name: &'a str,
    is_expired: bool,
    alpn: &'a [&'a str],
    /// Whose clients it lets in; everybody where None.
    clients: Option<&'a Authority>,
}

impl Shown<'_> {
    fn as_itself() -> Shown<'static> {
        Shown {
            name: "127.0.0.1",
            is_expired: false,
            alpn: &[],
            clients: None,
        }
    }
}

impl Secure {
    async fn start(authority: &Authority, shown: Shown<'_>) -> Secure {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let served = Served::new(Upstream::new("secure").reply(Reply::get("/value").json("2")));
        let secure = Secure {
            served: served.clone(),
            port: listener.local_addr().unwrap().port(),
            spoken: Arc::default(),
        };
        let (acceptor, spoken) = (acceptor(authority, shown), secure.spoken.clone());
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, served, spoken) = (acceptor.clone(), served.clone(), spoken.clone());
                tokio::spawn(async move {
                    let Ok(mut stream) = acceptor.accept(stream).await else { return };
                    let agreed = stream.get_ref().1.alpn_protocol().unwrap_or_default();
                    spoken.lock().unwrap().push(String::from_utf8_lossy(agreed).into_owned());
                    serve(&served, &mut stream).await;
                });
            }
        });
        secure
    }

    fn url(&self) -> String {
        format!("https://127.0.0.1:{}", self.port)
    }

    fn spoken(&self) -> Vec<String> {
        self.spoken.lock().unwrap().clone()
    }
}

fn acceptor(authority: &Authority, shown: Shown<'_>) -> TlsAcceptor {
    let (certificate, key) = authority.sign(shown.name, shown.is_expired);
    let provider = Arc::new(crypto::aws_lc_rs::default_provider());
    let builder = ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .unwrap();
    let builder = match shown.clients {
        None => builder.with_no_client_auth(),
        Some(clients) => {
            let mut roots = RootCertStore::empty();
            roots.add(clients.0.der().clone()).unwrap();
            builder.with_client_cert_verifier(
                WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
                    .build()
                    .unwrap(),
            )
        }
    };
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let mut config = builder.with_single_cert(vec![certificate.der().clone()], key).unwrap();
    config.alpn_protocols = shown.alpn.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
    TlsAcceptor::from(Arc::new(config))
}

/// The files that the configs here name.
fn files(authority: &Authority) -> MapLookup {
    MapLookup::new().with_file("ca.pem", &authority.0.pem())
}

/// The outcome of the part from this upstream, reached as `source` says.
async fn outcome(good: &TcpUpstream, secure: &Secure, source: &str, files: &MapLookup, what: &str) -> String {
    let page = BadPart::start(good, &format!("url: '{}', {source}", secure.url()), ms(1500), files).await;
    page.outcome(what).await
}

#[tokio::test]
async fn only_the_right_certificate_is_spoken_to() {
    let (ours, strangers) = (Authority::new(), Authority::new());
    let good = good().await;
    let trusting_ours = "tls: { ca: $file.ca.pem }";
    let named = |name| Shown {
        name,
        ..Shown::as_itself()
    };
    let expired = || Shown {
        is_expired: true,
        ..Shown::as_itself()
    };
    let cases = [
        ("the right one", &ours, Shown::as_itself(), trusting_ours, "ok"),
        (
            "another name, which the config expects",
            &ours,
            named("shop.test"),
            "tls: { ca: $file.ca.pem, server_name: shop.test }",
            "ok",
        ),
        ("another name", &ours, named("shop.test"), trusting_ours, "tls"),
        ("another address", &ours, named("127.0.0.2"), trusting_ours, "tls"),
        ("of an unknown authority", &strangers, Shown::as_itself(), trusting_ours, "tls"),
        ("of an authority that only we know", &ours, Shown::as_itself(), "retry: 1", "tls"),
        ("expired", &ours, expired(), trusting_ours, "tls"),
    ];
    for (what, signed_by, shown, source, expected) in cases {
        let secure = Secure::start(signed_by, shown).await;
        assert_eq!(outcome(&good, &secure, source, &files(&ours), what).await, expected, "{what}");
        let requests = u64::from(expected == "ok");
        assert_eq!(
            secure.served.counts().requests,
            requests,
            "{what}: nothing is sent to a peer that is not trusted"
        );
    }
}

#[tokio::test]
async fn a_client_certificate_is_shown_where_the_config_has_one() {
    let (ours, clients) = (Authority::new(), Authority::new());
    let good = good().await;
    let (certificate, key) = clients.sign("gateway.test", false);
    let files = files(&ours)
        .with_file("client.pem", &certificate.pem())
        .with_file("client.key", &key.serialize_pem());
    let asks_for_one = || Shown {
        clients: Some(&clients),
        ..Shown::as_itself()
    };
    let secure = Secure::start(&ours, asks_for_one()).await;
    let with_ours = "tls: { ca: $file.ca.pem, cert: $file.client.pem, key: $file.client.key }";
    assert_eq!(outcome(&good, &secure, with_ours, &files, "with a certificate").await, "ok");
    let secure = Secure::start(&ours, asks_for_one()).await;
    assert_eq!(
        outcome(&good, &secure, "tls: { ca: $file.ca.pem }", &files, "without a certificate").await,
        "tls"
    );
    assert_eq!(secure.served.counts().requests, 0);
}

#[tokio::test]
async fn peers_that_are_no_tls_servers() {
    let ours = Authority::new();
    let good = good().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let source = format!("url: 'https://{}', tls: {{ ca: $file.ca.pem }}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let _left = stream.write_all(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n").await;
        }
    });
    let page = BadPart::start(&good, &source, ms(1500), &files(&ours)).await;
    assert_eq!(page.outcome("a server without TLS").await, "tls");

    // The backlog answers for it: the connection opens, and nobody ever says a word.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let source = format!(
        "url: 'https://{}', tls: {{ ca: $file.ca.pem }}, connect_timeout: 150ms, retry: 0",
        silent.local_addr().unwrap()
    );
    let page = BadPart::start(&good, &source, ms(1500), &files(&ours)).await;
    assert_eq!(page.outcome("a server that says nothing").await, "connect");
}

#[tokio::test]
async fn http_2_is_spoken_where_both_sides_know_it() {
    let ours = Authority::new();
    for (offered, http, agreed, connections) in [
        (&["h2", "http/1.1"][..], "auto", "h2", 1),
        (&["http/1.1"][..], "auto", "http/1.1", 3),
        (&["h2", "http/1.1"][..], "'1.1'", "http/1.1", 3),
        (&["h2"][..], "'2'", "h2", 1),
    ] {
        let secure = Secure::start(
            &ours,
            Shown {
                alpn: offered,
                ..Shown::as_itself()
            },
        )
        .await;
        secure
            .served
            .follow(Upstream::new("secure").reply(Reply::path("/**").json("2").delay(ms(60))));
        let config = format!(
            "
sources:
  shop: {{ url: '{}', http: {http}, tls: {{ ca: $file.ca.pem }} }}
routes:
  GET /page:
    need: [a, b, c]
    calls: {{ a: shop /a, b: shop /b, c: shop /c }}
",
            secure.url()
        );
        let running = Running::with(&config, &files(&ours), ms(4000)).await;
        for _ in 0..2 {
            let reply = running.get("/page").await;
            assert_eq!((reply.status, reply.text()), (200, r#"{"a":2,"b":2,"c":2}"#), "{offered:?} {http}");
        }
        assert_eq!(
            secure.spoken(),
            vec![agreed; connections],
            "{offered:?} {http}: three calls at once, twice"
        );
    }
}

#[tokio::test]
async fn a_stream_of_http_2_that_nobody_waits_for_is_reset_and_its_connection_goes_on() {
    let ours = Authority::new();
    let good = good().await;
    let secure = Secure::start(
        &ours,
        Shown {
            alpn: &["h2"],
            ..Shown::as_itself()
        },
    )
    .await;
    let source = format!("url: '{}', tls: {{ ca: $file.ca.pem }}, retry: 0", secure.url());
    let page = BadPart::start(&good, &source, ms(300), &files(&ours)).await;
    assert_eq!(page.outcome("well").await, "ok");
    secure
        .served
        .follow(Upstream::new("secure").reply(Reply::any().json("2").delay(ms(5000))));
    assert_eq!(page.outcome("late").await, "timeout");
    until("the late stream is reset", || {
        secure.served.counts().cancelled == secure.served.counts().requests - 1
    })
    .await;
    secure.served.follow(Upstream::new("secure").reply(Reply::any().json("2")));
    assert_eq!(page.outcome("well again").await, "ok");
    assert_eq!(secure.spoken(), ["h2"], "one connection for all");
}

#[tokio::test]
async fn certificates_that_cannot_be_used_are_found_at_load() {
    let config = |tls: &str| {
        format!("sources:\n  shop: {{ url: 'https://shop.test', tls: {{ {tls} }} }}\nroutes:\n  GET /page: {{ calls: {{ a: shop /a }} }}\n")
    };
    let lookup = MapLookup::new()
        .with_file("ca.pem", "no certificate")
        .with_file("key.pem", "SECRET-KEY");
    for (tls, says) in [
        ("ca: $file.ca.pem", "CERTIFICATE"),
        ("ca: $file.none.pem", "none.pem"),
        ("cert: $file.ca.pem", "key"),
    ] {
        let text = config(tls);
        let refused = match compile("gateway.yaml", &text, &lookup) {
            Err(faults) => faults.render(false),
            Ok(plan) => Gateway::build(plan).expect_err(tls).to_string(),
        };
        assert!(refused.contains(says) && !refused.contains("SECRET-KEY"), "{tls}: {refused}");
    }
}
