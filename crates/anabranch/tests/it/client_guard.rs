//! What may be connected to: addresses that were named, addresses that are refused, and peers that nobody verified.

use std::net::IpAddr;

use anabranch::client::{AddressGuard, Codec, Endpoint, Proxy, Resolver, TlsSettings};
use anabranch::{Client, Kind, Phase};
use tokio::net::TcpListener;

use crate::client::{get, ms};
use crate::client_http2;
use crate::client_sockets::{Authority, ask, endpoint, listener};

fn guarded(url: String, guard: AddressGuard) -> Endpoint {
    endpoint(url, |wire| {
        wire.guard = Some(guard);
        wire.connect_timeout = ms(500);
    })
}

fn client(addresses: &[&str]) -> Client {
    let addresses = addresses.iter().map(|address| address.parse().unwrap()).collect();
    Client::builder().resolver(Resolver::table([("shop.test", addresses)])).build()
}

fn serve(listener: TcpListener) {
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            tokio::spawn(client_http2::serve(stream));
        }
    });
}

fn loopback() -> (IpAddr, u8) {
    ("127.0.0.1".parse().unwrap(), 32)
}

#[tokio::test]
async fn a_private_address_is_refused_by_its_name_and_as_a_literal() {
    let (listener, port) = listener().await;
    let client = client(&["127.0.0.1", "::1", "10.0.0.1"]);
    for host in ["shop.test", "127.0.0.1", "[::1]", "[::ffff:127.0.0.1]", "169.254.169.254"] {
        let error = get(&client, &guarded(format!("http://{host}:{port}"), AddressGuard::public_only()))
            .await
            .unwrap_err();
        assert_eq!(
            (error.kind(), error.phase(), error.was_sent(), error.is_retryable()),
            (Kind::PrivateAddress, Some(Phase::Dns), false, false),
            "{host}: {error}"
        );
    }
    let nobody_came = anabranch::Deadline::after(ms(20)).bound(listener.accept()).await.is_err();
    assert!(nobody_came, "not a byte, not a connection");
}

#[tokio::test]
async fn of_several_addresses_only_those_that_are_not_refused_are_tried() {
    let (listener, port) = listener().await;
    let (network, prefix) = loopback();
    serve(listener);
    let client = client(&["10.255.255.1", "192.168.255.1", "127.0.0.1"]);
    let shop = guarded(
        format!("http://shop.test:{port}"),
        AddressGuard::public_only().allow(network, prefix),
    );
    let answer = get(&client, &shop).await.unwrap();
    assert_eq!(answer.facts().remote.unwrap().to_string(), format!("127.0.0.1:{port}"));
}

#[tokio::test]
async fn a_name_that_changes_its_address_gains_nothing() {
    let (listener, port) = listener().await;
    let (network, prefix) = loopback();
    serve(listener);
    let guard = AddressGuard::public_only().allow(network, prefix);
    let shop = |client: Client| {
        let shop = guarded(format!("http://shop.test:{port}"), guard.clone());
        async move { get(&client, &shop).await.map(|answer| answer.status()) }
    };
    assert_eq!(shop(client(&["127.0.0.1"])).await.unwrap(), 200);
    assert_eq!(shop(client(&["127.0.0.2"])).await.unwrap_err().kind(), Kind::PrivateAddress);
}

#[tokio::test]
async fn an_address_that_was_given_needs_no_resolver_but_a_guard_still_judges_it() {
    let (listener, port) = listener().await;
    serve(listener);
    let nobody: [(&str, Vec<IpAddr>); 0] = [];
    let client = Client::builder()
        .resolver(Resolver::table(nobody))
        .resolve("Shop.Test", port, vec!["127.0.0.1".parse().unwrap()])
        .build();
    let plain = |port: u16| endpoint(format!("http://shop.test:{port}"), |_| {});
    assert_eq!(get(&client, &plain(port)).await.unwrap().status(), 200);
    let other = get(&client, &plain(port ^ 1)).await.unwrap_err();
    assert_eq!(other.kind(), Kind::Dns, "another port is another place");
    let guarded = guarded(format!("http://shop.test:{port}"), AddressGuard::public_only());
    assert_eq!(get(&client, &guarded).await.unwrap_err().kind(), Kind::PrivateAddress);
}

#[tokio::test]
async fn behind_a_proxy_the_guard_judges_the_endpoint_and_not_the_proxy() {
    let (listener, port) = listener().await;
    let seen = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut first = vec![0; 256];
        let count = tokio::io::AsyncReadExt::read(&mut stream, &mut first).await.unwrap();
        first.truncate(count);
        String::from_utf8(first).unwrap()
    });
    let shop = |url: &str| {
        endpoint(url.to_string(), |wire| {
            wire.guard = Some(AddressGuard::public_only());
            wire.proxy = Some(Proxy::parse(&format!("http://127.0.0.1:{port}")).unwrap());
            wire.connect_timeout = ms(500);
        })
    };
    let error = get(&client(&["10.0.0.1"]), &shop("http://shop.test")).await.unwrap_err();
    assert_eq!(error.kind(), Kind::PrivateAddress, "the proxy is not even asked");
    let error = get(&client(&["1.1.1.1"]), &shop("http://shop.test")).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Connect);
    let head = seen.await.unwrap();
    assert!(
        head.starts_with("CONNECT 1.1.1.1:80 HTTP/1.1\r\n"),
        "it gets the address that was judged: {head}"
    );
}

#[tokio::test]
async fn any_certificate_is_accepted_only_by_who_asks_for_it() {
    let authority = Authority::new();
    let asked = TlsSettings {
        dangerously_accept_any_certificate: true,
        ..TlsSettings::default()
    };
    for (name, is_expired) in [("shop.test", false), ("other.test", false), ("shop.test", true)] {
        let acceptor = authority.acceptor(name, is_expired, &[], None);
        let answer = ask(Codec::Own, acceptor.clone(), asked.clone()).await;
        assert_eq!(answer.unwrap().body(), "hello", "{name}");
        let error = ask(Codec::Own, acceptor, TlsSettings::default()).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Tls, "{name}: {error}");
    }
}
