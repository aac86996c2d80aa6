//! Endpoints behind a proxy: what a proxy is told, and what it may answer.

use std::sync::{Arc, Mutex};

use anabranch::client::{Codec, Endpoint, HttpVersion, Proxy, Resolver, Roots, TlsSettings};
use anabranch::{CallError, Client, Kind, Phase};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::client::{get, ms};
use crate::client_http2;
use crate::client_sockets::{Authority, check, endpoint, listener};

/// What a proxy was told, in the order in which it came.
type Told = Arc<Mutex<Vec<String>>>;

async fn read_head(stream: &mut TcpStream) -> Option<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    String::from_utf8(head).ok()
}

/// Serves `hello` on each connection, in both HTTP versions.
async fn origin() -> u16 {
    let (listener, port) = listener().await;
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            tokio::spawn(client_http2::serve(stream));
        }
    });
    port
}

/// An HTTP proxy: CONNECT is answered with this and, if that is well, tunnelled to the origin; all else it answers itself.
async fn http_proxy(answer: &'static str, origin: u16) -> (u16, Told) {
    let (listener, port) = listener().await;
    let told = Told::default();
    let heads = told.clone();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let heads = heads.clone();
            tokio::spawn(async move {
                while let Some(head) = read_head(&mut stream).await {
                    let is_tunnel = head.starts_with("CONNECT ");
                    heads.lock().unwrap().push(head);
                    stream.write_all(answer.as_bytes()).await.unwrap();
                    if is_tunnel && answer == CONNECTED {
                        let mut beyond = TcpStream::connect(("127.0.0.1", origin)).await.unwrap();
                        let _ended = tokio::io::copy_bidirectional(&mut stream, &mut beyond).await;
                        return;
                    }
                }
            });
        }
    });
    (port, told)
}

const CONNECTED: &str = "HTTP/1.1 200 Connection established\r\nvia: proxy\r\n\r\n";

fn client() -> Client {
    let nobody: [(&str, Vec<std::net::IpAddr>); 0] = [];
    Client::builder().resolver(Resolver::table(nobody)).build()
}

fn behind(url: &str, proxy: String, codec: Codec) -> Endpoint {
    endpoint(url.to_string(), |wire| {
        wire.codec = codec;
        wire.proxy = Some(Proxy::parse(&proxy).unwrap());
    })
}

#[test]
fn plain_http_is_asked_of_the_proxy_by_its_whole_url() {
    check(async |codec| {
        let (port, told) = http_proxy("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello", 0).await;
        let client = client();
        let shop = behind("http://shop.test:8080/base", format!("http://us-er:x@127.0.0.1:{port}"), codec);
        for _ in 0..2 {
            assert_eq!(get(&client, &shop).await.unwrap().body(), "hello");
        }
        let facts = get(&client, &shop).await.unwrap().facts();
        assert_eq!((facts.remote.unwrap().port(), facts.reused), (port, true));
        let told = told.lock().unwrap();
        assert_eq!(
            told[0],
            "GET http://shop.test:8080/base/item HTTP/1.1\r\nhost: shop.test:8080\r\nproxy-authorization: Basic dXMtZXI6eA==\r\n\r\n"
        );
        assert_eq!(told.len(), 3);
    });
}

#[test]
fn https_goes_through_a_tunnel_and_the_password_stays_at_the_proxy() {
    check(async |codec| {
        let authority = Authority::new();
        let acceptor = authority.acceptor("shop.test", false, &["http/1.1"], None);
        let (listener, origin) = listener().await;
        let seen = tokio::spawn(async move {
            let (stream, _) = listener.accept().await.unwrap();
            let mut stream = acceptor.accept(stream).await.unwrap();
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(stream.read_u8().await.unwrap());
            }
            stream
                .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello")
                .await
                .unwrap();
            let _closed = stream.read_u8().await;
            String::from_utf8(head).unwrap()
        });
        let (port, told) = http_proxy(CONNECTED, origin).await;
        let client = client();
        let shop = endpoint("https://shop.test".to_string(), |wire| {
            wire.codec = codec;
            wire.proxy = Some(Proxy::parse(&format!("http://user:secret@127.0.0.1:{port}")).unwrap());
            wire.tls = Some(TlsSettings {
                roots: Roots::Pem(authority.pem()),
                ..TlsSettings::default()
            });
        });
        assert_eq!(get(&client, &shop).await.unwrap().body(), "hello");
        drop((shop, client));
        assert_eq!(
            told.lock().unwrap()[..],
            ["CONNECT shop.test:443 HTTP/1.1\r\nhost: shop.test:443\r\nproxy-authorization: Basic dXNlcjpzZWNyZXQ=\r\n\r\n"]
        );
        assert_eq!(seen.await.unwrap(), "GET /item HTTP/1.1\r\nhost: shop.test\r\n\r\n");
    });
}

#[tokio::test]
async fn http2_without_tls_goes_through_a_tunnel() {
    let (port, told) = http_proxy(CONNECTED, origin().await).await;
    let shop = endpoint("http://shop.test".to_string(), |wire| {
        wire.http = HttpVersion::Http2;
        wire.proxy = Some(Proxy::parse(&format!("http://127.0.0.1:{port}")).unwrap());
    });
    let answer = get(&client(), &shop).await.unwrap();
    assert_eq!((&answer.body()[..], answer.facts().version), (&b"HTTP/2.0 /item"[..], "2"));
    assert_eq!(
        told.lock().unwrap()[..],
        ["CONNECT shop.test:80 HTTP/1.1\r\nhost: shop.test:80\r\n\r\n"]
    );
}

/// How an exchange through a tunnel fails.
async fn refused(proxy: String) -> CallError {
    let shop = endpoint("https://shop.test".to_string(), |wire| {
        wire.proxy = Some(Proxy::parse(&proxy).unwrap());
        wire.connect_timeout = ms(300);
    });
    let client = client();
    let error = get(&client, &shop).await.unwrap_err();
    assert_eq!(
        (error.kind(), error.phase(), error.was_sent()),
        (Kind::Connect, Some(Phase::Connect), false),
        "{error}"
    );
    assert!(!error.to_string().contains("hunter2"), "{error}");
    assert_eq!(client.counts().connections, 0);
    error
}

#[tokio::test]
async fn a_proxy_that_makes_no_tunnel_is_told_as_that() {
    let long: &'static str = format!("HTTP/1.1 200 OK\r\nx: {}\r\n\r\n", "x".repeat(20_000)).leak();
    for (answer, text) in [
        (
            "HTTP/1.1 407 Proxy Authentication Required\r\ncontent-length: 0\r\n\r\n",
            "it wants a user and password (407)",
        ),
        ("HTTP/1.1 403 Forbidden\r\n\r\n", "it answered 403"),
        ("HTTP/1.1 502 Bad Gateway\r\n\r\n", "it answered 502"),
        ("SSH-2.0-OpenSSH_9.2\r\n\r\n", "it does not speak HTTP"),
        (long, "more than 16 KiB"),
        ("HTTP/1.1 200 OK\r\nand no end", "in time"),
    ] {
        let (port, _) = http_proxy(answer, 0).await;
        let error = refused(format!("http://127.0.0.1:{port}")).await;
        assert!(error.detail().contains(text), "{text}: {error}");
    }
    let (port, _) = http_proxy("HTTP/1.1 407 No\r\n\r\n", 0).await;
    let error = refused(format!("http://user:hunter2@127.0.0.1:{port}")).await;
    assert!(error.detail().contains("does not accept the user and password"), "{error}");

    let (listener, port) = listener().await;
    let closing = async { drop(listener.accept().await.unwrap().0) };
    let proxy = format!("http://127.0.0.1:{port}");
    let (error, ()) = tokio::join!(refused(proxy.clone()), closing);
    assert!(error.detail().contains("closed") || error.detail().contains("reset"), "{error}");
    drop(listener);
    let error = refused(proxy).await;
    assert!(error.detail().contains("refused"), "{error}");
}

// SOCKS5

/// How a SOCKS5 proxy behaves.
#[derive(Clone, Copy)]
struct Socks {
    method: u8,
    login: u8,
    reply: u8,
}

const WELL: Socks = Socks {
    method: 0,
    login: 0,
    reply: 0,
};

async fn socks_proxy(behaves: Socks, origin: u16) -> (u16, Told) {
    let (listener, port) = listener().await;
    let told = Told::default();
    let said = told.clone();
    tokio::spawn(async move { serve_socks(&listener, behaves, origin, &said).await });
    (port, told)
}

async fn serve_socks(listener: &TcpListener, behaves: Socks, origin: u16, told: &Told) {
    loop {
        let (mut stream, _) = listener.accept().await.unwrap();
        let told = told.clone();
        tokio::spawn(async move {
            let mut methods = vec![0; 2];
            stream.read_exact(&mut methods).await?;
            let mut offered = vec![0; usize::from(methods[1])];
            stream.read_exact(&mut offered).await?;
            told.lock().unwrap().push(format!("{offered:?}"));
            stream.write_all(&[5, behaves.method]).await?;
            if behaves.method == 2 {
                assert_eq!(stream.read_u8().await?, 1);
                let (user, password) = (read_text(&mut stream).await?, read_text(&mut stream).await?);
                told.lock().unwrap().push(format!("{user} {password}"));
                stream.write_all(&[1, behaves.login]).await?;
            }
            let mut asked = [0; 4];
            stream.read_exact(&mut asked).await?;
            assert_eq!(asked[..3], [5, 1, 0]);
            let host = match asked[3] {
                1 => std::net::Ipv4Addr::from_bits(stream.read_u32().await?).to_string(),
                4 => std::net::Ipv6Addr::from_bits(stream.read_u128().await?).to_string(),
                _ => read_text(&mut stream).await?,
            };
            let port = stream.read_u16().await?;
            told.lock().unwrap().push(format!("{host} {port}"));
            let name = [&[5, behaves.reply, 0, 3, 2][..], b"me", &[0, 1]].concat();
            stream.write_all(&name).await?;
            let mut beyond = TcpStream::connect(("127.0.0.1", origin)).await?;
            tokio::io::copy_bidirectional(&mut stream, &mut beyond).await
        });
    }
}

async fn read_text(stream: &mut TcpStream) -> std::io::Result<String> {
    let mut text = vec![0; usize::from(stream.read_u8().await?)];
    stream.read_exact(&mut text).await?;
    Ok(String::from_utf8(text).unwrap())
}

#[test]
fn socks_is_told_a_name_or_an_address() {
    check(async |codec| {
        let origin = origin().await;
        let (port, told) = socks_proxy(WELL, origin).await;
        let names = Client::builder()
            .resolver(Resolver::table([("shop.test", vec!["10.1.2.3".parse().unwrap()])]))
            .build();
        for (url, scheme) in [
            ("http://shop.test:81", "socks5h"),
            ("http://shop.test:81", "socks5"),
            ("http://[fd00::1]", "socks5h"),
        ] {
            let answer = get(&names, &behind(url, format!("{scheme}://127.0.0.1:{port}"), codec))
                .await
                .unwrap();
            assert_eq!(answer.body(), "HTTP/1.1 /item");
        }
        assert_eq!(
            told.lock().unwrap()[..],
            ["[0]", "shop.test 81", "[0]", "10.1.2.3 81", "[0]", "fd00::1 80"]
        );
        let (port, told) = socks_proxy(Socks { method: 2, ..WELL }, origin).await;
        let proxy = format!("socks5h://user:se%20cret@127.0.0.1:{port}");
        assert!(get(&names, &behind("http://shop.test", proxy, codec)).await.is_ok());
        assert_eq!(told.lock().unwrap()[..], ["[0, 2]", "user se cret", "shop.test 80"]);
    });
}

#[tokio::test]
async fn a_socks_proxy_that_makes_no_tunnel_is_told_as_that() {
    let with_login = "user:hunter2@";
    for (behaves, login, text) in [
        (Socks { method: 255, ..WELL }, "", "it wants a user and password"),
        (Socks { method: 255, ..WELL }, with_login, "none of our ways"),
        (
            Socks {
                method: 2,
                login: 1,
                ..WELL
            },
            with_login,
            "does not accept the user",
        ),
        (Socks { reply: 2, ..WELL }, "", "its rules do not allow it"),
        (Socks { reply: 5, ..WELL }, "", "the host refused its connection"),
        (Socks { reply: 99, ..WELL }, "", "without saying why"),
    ] {
        let (port, _) = socks_proxy(behaves, 0).await;
        let error = refused(format!("socks5h://{login}127.0.0.1:{port}")).await;
        assert!(error.detail().contains(text), "{text}: {error}");
    }
    let (port, _) = http_proxy("HTTP/1.1 400 No\r\n\r\n", 0).await;
    refused(format!("socks5h://127.0.0.1:{port}")).await;
}

#[tokio::test]
async fn a_name_that_is_looked_up_here_and_has_no_address_is_a_dns_error() {
    let shop = endpoint("http://shop.test".to_string(), |wire| {
        wire.proxy = Some(Proxy::parse("socks5://127.0.0.1:9").unwrap());
    });
    assert_eq!(get(&client(), &shop).await.unwrap_err().kind(), Kind::Dns);
}
