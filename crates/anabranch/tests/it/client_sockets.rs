//! The client over real sockets: resets, refusals, names, TLS. Real time, so no test here waits for a timer to prove a point.

use std::io::ErrorKind;
use std::sync::Arc;

use anabranch::client::{ClientCertificate, Codec, Endpoint, HttpVersion, Resolver, Roots, TlsSettings, WireLimits, WireSettings};
use anabranch::{CallError, Client, Kind, Phase, Request, Response};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{crypto, RootCertStore, ServerConfig};
use tokio_rustls::TlsAcceptor;

use crate::client::{check_in, get, ms, send};

/// Runs a test with each codec.
pub(crate) fn check(test: impl AsyncFn(Codec)) {
    check_in(tokio::runtime::Builder::new_current_thread().enable_all(), test);
}

fn local() -> Client {
    Client::builder()
        .resolver(Resolver::table([("shop.test", vec!["127.0.0.1".parse().unwrap()])]))
        .build()
}

pub(crate) fn endpoint(url: String, change: impl FnOnce(&mut WireSettings)) -> Endpoint {
    let mut settings = WireSettings::default();
    change(&mut settings);
    Endpoint::new(&url, settings).unwrap()
}

pub(crate) async fn listener() -> (TcpListener, u16) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    (listener, port)
}

const HELLO: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello";

async fn read_head(stream: &mut (impl AsyncReadExt + Unpin)) -> bool {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_closed) => return false,
        }
    }
    true
}

/// Closing a socket that lingers for zero seconds sends a reset (SO_LINGER, tcp(7)).
fn reset(stream: TcpStream) {
    stream.set_zero_linger().unwrap();
    drop(stream);
}

#[test]
fn a_reset_at_any_byte_is_a_reset_and_never_half_an_answer() {
    check(async |codec| {
        let (listener, port) = listener().await;
        let client = local();
        for cut in 0..HELLO.len() {
            let endpoint = endpoint(format!("http://127.0.0.1:{port}"), |wire| wire.codec = codec);
            let peer = async {
                let (mut stream, _) = listener.accept().await.unwrap();
                read_head(&mut stream).await;
                stream.write_all(&HELLO[..cut]).await.unwrap();
                // The bytes must be out before the reset, which discards what is still in the socket.
                tokio::time::sleep(ms(2)).await;
                reset(stream);
            };
            let (result, ()) = tokio::join!(get(&client, &endpoint), peer);
            let error = result.unwrap_err();
            assert_eq!((error.kind(), error.was_sent()), (Kind::Reset, true), "cut at {cut}: {error}");
        }
    });
}

#[tokio::test]
async fn a_closed_port_is_a_connect_error_at_once() {
    let (listener, port) = listener().await;
    drop(listener);
    let started = tokio::time::Instant::now();
    let error = get(&local(), &endpoint(format!("http://shop.test:{port}"), |_| {}))
        .await
        .unwrap_err();
    assert_eq!(
        (error.kind(), error.phase(), error.was_sent()),
        (Kind::Connect, Some(Phase::Connect), false)
    );
    assert!(started.elapsed() < ms(500), "no waiting for a refused port");
}

#[tokio::test]
async fn a_name_without_an_address_is_a_dns_error() {
    let error = get(&local(), &endpoint("http://unknown.test".to_string(), |_| {}))
        .await
        .unwrap_err();
    assert_eq!(
        (error.kind(), error.phase(), error.is_retryable()),
        (Kind::Dns, Some(Phase::Dns), false)
    );
}

#[test]
fn a_request_over_tcp_tells_its_phases() {
    check(async |codec| {
        let (listener, port) = listener().await;
        let peer = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            read_head(&mut stream).await;
            stream.write_all(HELLO).await.unwrap();
            stream
        };
        let (client, endpoint) = (local(), endpoint(format!("http://shop.test:{port}"), |wire| wire.codec = codec));
        let request = Request::get("/").unwrap();
        let ((result, timings), _stream) = tokio::join!(send(&client, &endpoint, &request, WireLimits::default()), peer);
        assert_eq!(result.unwrap().body(), "hello");
        assert!(timings.dns.is_some() && timings.connect.is_some() && timings.tls.is_none() && !timings.reused);
    });
}

// TLS

/// A certificate authority and what it signs.
pub(crate) struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Authority(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    pub(crate) fn pem(&self) -> Vec<u8> {
        self.0.pem().into_bytes()
    }

    fn sign(&self, name: &str, is_expired: bool) -> (rcgen::Certificate, KeyPair) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new([name.to_string()]).unwrap();
        if is_expired {
            params.not_before = rcgen::date_time_ymd(2001, 1, 1);
            params.not_after = rcgen::date_time_ymd(2002, 1, 1);
        }
        (params.signed_by(&key, &self.0).unwrap(), key)
    }

    pub(crate) fn acceptor(&self, name: &str, is_expired: bool, alpn: &[&str], clients: Option<&Authority>) -> TlsAcceptor {
        let (certificate, key) = self.sign(name, is_expired);
        let provider = Arc::new(crypto::aws_lc_rs::default_provider());
        let builder = ServerConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .unwrap();
        let builder = match clients {
            None => builder.with_no_client_auth(),
            Some(authority) => {
                let mut roots = RootCertStore::empty();
                roots.add(authority.0.der().clone()).unwrap();
                builder.with_client_cert_verifier(
                    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
                        .build()
                        .unwrap(),
                )
            }
        };
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let mut config = builder.with_single_cert(vec![certificate.der().clone()], key).unwrap();
        config.alpn_protocols = alpn.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
        TlsAcceptor::from(Arc::new(config))
    }
}

/// Asks a TLS peer that serves HTTP/1.1 once, if the handshake succeeds.
pub(crate) async fn ask(codec: Codec, acceptor: TlsAcceptor, settings: TlsSettings) -> Result<Response, CallError> {
    let (listener, port) = listener().await;
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        if let Ok(mut stream) = acceptor.accept(stream).await
            && read_head(&mut stream).await
        {
            stream.write_all(HELLO).await.unwrap();
            let _closed = read_head(&mut stream).await;
        }
    });
    get(
        &local(),
        &endpoint(format!("https://shop.test:{port}"), |wire| {
            wire.codec = codec;
            wire.tls = Some(settings);
        }),
    )
    .await
}

fn trusting(authority: &Authority) -> TlsSettings {
    TlsSettings {
        roots: Roots::Pem(authority.pem()),
        ..TlsSettings::default()
    }
}

#[test]
fn a_peer_with_the_right_certificate_is_spoken_to() {
    check(async |codec| {
        let authority = Authority::new();
        let acceptor = authority.acceptor("shop.test", false, &["http/1.1"], None);
        assert_eq!(ask(codec, acceptor, trusting(&authority)).await.unwrap().body(), "hello");
        let acceptor = authority.acceptor("inner.test", false, &[], None);
        let named = TlsSettings {
            server_name: Some("inner.test".to_string()),
            ..trusting(&authority)
        };
        assert!(ask(codec, acceptor, named).await.is_ok());
    });
}

#[tokio::test]
async fn a_certificate_that_does_not_fit_is_a_tls_error_and_not_worth_a_retry() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let cases = [
        (
            "wrong host",
            authority.acceptor("other.test", false, &[], None),
            trusting(&authority),
        ),
        (
            "unknown authority",
            authority.acceptor("shop.test", false, &[], None),
            trusting(&stranger),
        ),
        ("expired", authority.acceptor("shop.test", true, &[], None), trusting(&authority)),
        (
            "the system's roots",
            authority.acceptor("shop.test", false, &[], None),
            TlsSettings::default(),
        ),
    ];
    for (what, acceptor, settings) in cases {
        let error = ask(Codec::Own, acceptor, settings).await.unwrap_err();
        assert_eq!((error.kind(), error.phase()), (Kind::Tls, Some(Phase::Tls)), "{what}: {error}");
        assert!(!error.is_retryable() && !error.was_sent(), "{what}");
    }
}

#[test]
fn a_client_certificate_is_shown_where_it_is_asked_for() {
    check(async |codec| {
        let (authority, clients) = (Authority::new(), Authority::new());
        let (certificate, key) = clients.sign("client.test", false);
        let shown = ClientCertificate {
            chain: certificate.pem().into_bytes(),
            key: key.serialize_pem().into_bytes(),
        };
        let settings = TlsSettings {
            client_certificate: Some(shown),
            ..trusting(&authority)
        };
        assert!(
            ask(codec, authority.acceptor("shop.test", false, &[], Some(&clients)), settings)
                .await
                .is_ok()
        );
        let error = ask(
            codec,
            authority.acceptor("shop.test", false, &[], Some(&clients)),
            trusting(&authority),
        )
        .await
        .unwrap_err();
        assert_eq!(error.kind(), Kind::Tls, "{error}");
    });
}

#[tokio::test]
async fn a_peer_that_does_not_speak_tls_is_a_tls_error_and_one_that_stalls_a_connect_error() {
    let (plain, port) = listener().await;
    tokio::spawn(async move {
        let (mut stream, _) = plain.accept().await.unwrap();
        stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap();
        let _closed = stream.read_to_end(&mut Vec::new()).await;
    });
    let error = get(&local(), &endpoint(format!("https://shop.test:{port}"), |_| {}))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), Kind::Tls, "{error}");
    let (_silent, port) = listener().await;
    let error = get(
        &local(),
        &endpoint(format!("https://shop.test:{port}"), |wire| wire.connect_timeout = ms(100)),
    )
    .await
    .unwrap_err();
    assert_eq!(
        (error.kind(), error.phase(), error.was_sent()),
        (Kind::Connect, Some(Phase::Tls), false),
        "{error}"
    );
}

#[test]
fn a_tls_body_cut_without_goodbye_is_truncated() {
    check(async |codec| {
        let authority = Authority::new();
        let acceptor = authority.acceptor("shop.test", false, &[], None);
        let (listener, port) = listener().await;
        tokio::spawn(async move {
            let (stream, _) = listener.accept().await.unwrap();
            let mut stream = acceptor.accept(stream).await.unwrap();
            read_head(&mut stream).await;
            // Without a length the end of TLS is the end of the body; a bare end of TCP may be anybody's.
            stream.write_all(b"HTTP/1.1 200 OK\r\n\r\nhalf").await.unwrap();
            stream.flush().await.unwrap();
            let (tcp, _) = stream.into_inner();
            let _closed = tcp
                .into_std()
                .and_then(|tcp| tcp.shutdown(std::net::Shutdown::Both))
                .map_err(|error| assert_ne!(error.kind(), ErrorKind::InvalidInput));
        });
        let error = get(
            &local(),
            &endpoint(format!("https://shop.test:{port}"), |wire| {
                wire.codec = codec;
                wire.tls = Some(trusting(&authority));
            }),
        )
        .await
        .unwrap_err();
        assert_eq!(error.kind(), Kind::Truncated, "{error}");
    });
}

#[test]
fn what_is_spoken_over_tls_is_agreed_on() {
    check(async |codec| {
        let authority = Authority::new();
        for (alpn, http, expected) in [
            (vec!["h2", "http/1.1"], HttpVersion::Auto, http::Version::HTTP_2),
            (vec!["http/1.1"], HttpVersion::Auto, http::Version::HTTP_11),
            (vec!["h2", "http/1.1"], HttpVersion::Http1, http::Version::HTTP_11),
            (vec!["h2"], HttpVersion::Http2, http::Version::HTTP_2),
        ] {
            let acceptor = authority.acceptor("shop.test", false, &alpn, None);
            let (listener, port) = listener().await;
            tokio::spawn(async move {
                loop {
                    let (stream, _) = listener.accept().await.unwrap();
                    let stream = acceptor.accept(stream).await.unwrap();
                    tokio::spawn(crate::client_http2::serve(stream));
                }
            });
            let (client, endpoint) = (
                local(),
                endpoint(format!("https://shop.test:{port}"), |wire| {
                    wire.tls = Some(trusting(&authority));
                    wire.http = http;
                    wire.codec = codec;
                }),
            );
            // Several at once: while it is not known what the peer speaks, one dial serves or informs all.
            let (one, two, three) = tokio::join!(get(&client, &endpoint), get(&client, &endpoint), get(&client, &endpoint));
            for response in [one, two, three] {
                assert_eq!(response.unwrap().body(), &format!("{expected:?} /item"), "{alpn:?} {http:?}");
            }
        }
    });
}
