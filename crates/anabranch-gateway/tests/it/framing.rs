//! Request smuggling, tried on the real port: what two readers could frame in two ways is refused and the connection closed, and
//! what hides behind it is never taken for a request.

use anabranch_testkit::{Reply as Scripted, TcpUpstream, Upstream};

use crate::setup::{upstream, Running};

/// What an attacker wants to have read as a request.
const HIDDEN: &str = "GET /item/smuggled HTTP/1.1\r\nhost: gateway\r\n\r\n";

async fn shop() -> (TcpUpstream, Running) {
    let shop = upstream(Upstream::new("shop").reply(Scripted::path("/**").json("1"))).await;
    let config = format!(
        "
sources:
  shop: {{ url: {} }}
routes:
  GET /item/{{id}}:
    calls: {{ item: shop /items/$id }}
  POST /order:
    body: {{ max: 100k }}
    calls: {{ order: {{ post: shop /orders, body: {{ n: 1 }} }} }}
",
        shop.url()
    );
    let running = Running::start(&config).await;
    (shop, running)
}

/// Sends what is refused with a hidden request behind it: one answer, then the end of the connection.
async fn check_refused(status: u16, requests: &[String]) {
    let (shop, running) = shop().await;
    for request in requests {
        let shown = &request[..request.len().min(200)];
        let mut peer = running.connect().await;
        peer.send_if_taken(format!("{request}{HIDDEN}{HIDDEN}").as_bytes()).await;
        let reply = peer.reply().await;
        assert_eq!(reply.status, status, "{shown:?}: {}", reply.text());
        assert!(reply.closes(), "{shown:?}");
        let rest = peer.rest().await;
        assert!(rest.is_empty(), "{shown:?}: {}", String::from_utf8_lossy(&rest));
    }
    assert!(shop.seen().is_empty(), "nothing of them reaches a source: {:?}", shop.seen());
}

/// A POST with these lines, and what stands behind its head.
fn post(lines: &str, behind: &str) -> String {
    format!("POST /order HTTP/1.1\r\nhost: gateway\r\n{lines}\r\n\r\n{behind}")
}

fn chunked(behind: &str) -> String {
    post("transfer-encoding: chunked", behind)
}

#[tokio::test]
async fn lengths_that_can_be_read_in_two_ways_are_refused() {
    let lengths = [
        "content-length: 2\r\ncontent-length: 2",
        "content-length: 2\r\ncontent-length: 20",
        "content-length: 2\r\nContent-Length: 0",
        "content-length: 2, 2",
        "content-length: +2",
        "content-length: -1",
        "content-length: 0x2",
        "content-length: 2e0",
        "content-length: 2.0",
        "content-length: 2 0",
        "content-length: \"2\"",
        "content-length: \u{b2}",
        "content-length:",
        "content-length: ,",
        "content-length: 18446744073709551618",
        "content-length: 99999999999999999999999999999999999999",
        "content-length : 2",
        "content-length\t: 2",
        " content-length: 2",
        "content-length\0: 2",
        "content-length: 2\0",
        "content-length: 2\x0b",
        "content-length:\x0c2",
        "content_length: 2",
        "x: a\r\n content-length: 2",
        "x: a\r\n\tcontent-length: 2",
        "x: a\n content-length: 2",
        "content-length: 2\r\n 0",
        "x: a\rcontent-length: 2",
        "x: a\ncontent-length: 2",
        "x\r\ncontent-length: 2",
        ": x\r\ncontent-length: 2",
    ];
    check_refused(400, &lengths.map(|lines| post(lines, "{}"))).await;
}

#[tokio::test]
async fn a_length_beside_a_transfer_coding_is_refused_in_either_order() {
    let both = [
        "content-length: 4\r\ntransfer-encoding: chunked",
        "transfer-encoding: chunked\r\ncontent-length: 4",
        "Content-Length: 0\r\nTransfer-Encoding: chunked",
        "content-length: 4\r\ntransfer-encoding: identity",
        "content-length: 4\r\ntransfer-encoding:",
        "content-length: 4\r\nTRANSFER-ENCODING:chunked",
        "content-length: 4\r\nx: y\r\nx: y\r\ntransfer-encoding: xchunked",
        "transfer-encoding : chunked\r\ncontent-length: 4",
        "transfer_encoding: chunked\r\ncontent-length: 4",
        "x: y\r\n transfer-encoding: chunked\r\ncontent-length: 4",
        "x: y\rtransfer-encoding: chunked\r\ncontent-length: 4",
        "transfer-encoding\0: chunked\r\ncontent-length: 4",
    ];
    check_refused(400, &both.map(|lines| post(lines, "0\r\n\r\n"))).await;
}

#[tokio::test]
async fn transfer_codings_other_than_chunked_alone_are_not_implemented() {
    let codings = [
        "xchunked",
        "chunkedx",
        "identity",
        "gzip, chunked",
        "chunked, gzip",
        "chunked, chunked",
        "chunked;q=1",
        "\"chunked\"",
        "chunke\u{212a}d",
        ",chunked",
        "chunked,",
        "",
    ];
    let mut requests: Vec<String> = codings
        .iter()
        .map(|coding| post(&format!("transfer-encoding: {coding}"), "0\r\n\r\n"))
        .collect();
    requests.push(post("transfer-encoding: chunked\r\ntransfer-encoding: chunked", "0\r\n\r\n"));
    requests.push(post("transfer-encoding: chunked\r\ntransfer-encoding: identity", "0\r\n\r\n"));
    requests.push(post("transfer-encoding: identity\r\ntransfer-encoding: chunked", "0\r\n\r\n"));
    check_refused(501, &requests).await;
}

#[tokio::test]
async fn chunks_that_can_be_read_in_two_ways_are_refused() {
    let long = format!("2;{}\r\n{{}}\r\n0\r\n\r\n", "x".repeat(20_000));
    let chunks = [
        "x\r\n{}\r\n0\r\n\r\n",
        "-2\r\n{}\r\n0\r\n\r\n",
        "+2\r\n{}\r\n0\r\n\r\n",
        "0x2\r\n{}\r\n0\r\n\r\n",
        " 2\r\n{}\r\n0\r\n\r\n",
        "\r\n2\r\n{}\r\n0\r\n\r\n",
        "2\n{}\r\n0\r\n\r\n",
        "2\r{}\r\n0\r\n\r\n",
        "2\r\n{}0\r\n\r\n",
        "2\r\n{}\n0\r\n\r\n",
        "2\r\n{}  \r\n0\r\n\r\n",
        "1\r\n{}\r\n0\r\n\r\n",
        "2 2\r\n{}\r\n0\r\n\r\n",
        "2,2\r\n{}\r\n0\r\n\r\n",
        "2\0\r\n{}\r\n0\r\n\r\n",
        "ffffffffffffffff\r\n{}\r\n0\r\n\r\n",
        "10000000000000002\r\n{}\r\n0\r\n\r\n",
        "00000000000000002\r\n{}\r\n0\r\n\r\n",
        "2\r\n{}\r\n0\n\n",
        "2\r\n{}\r\n0\r\nx: y\n\n",
        "2;x\ny\r\n{}\r\n0\r\n\r\n",
        &long,
    ];
    check_refused(400, &chunks.map(chunked)).await;
    let too_large = ["7fffffffffffff\r\n", "fffffffffffffff\r\n", "20000\r\n"];
    check_refused(413, &too_large.map(chunked)).await;
}

#[tokio::test]
async fn heads_that_can_be_read_in_two_ways_are_refused() {
    let get = |head: &str| format!("{head}\r\n\r\n");
    let mut requests: Vec<String> = [
        "GET /item/1 HTTP/1.1",
        "GET /item/1 HTTP/1.1\r\nhost: a\r\nhost: a",
        "GET /item/1 HTTP/1.1\r\nhost: a\r\nHost: b",
        "GET /item/1 HTTP/1.1\nhost: a",
        "GET /item/1 HTTP/1.1\rhost: a",
        "GET /item/1 HTTP/1.1\r\n\x20host: a\r\nhost: a",
        "GET  /item/1 HTTP/1.1\r\nhost: a",
        "GET\t/item/1\tHTTP/1.1\r\nhost: a",
        "GET /item/1 HTTP/1.1\r\nhost a",
        "GET /item/1 HTTP/1.1 x\r\nhost: a",
        "GET item/1 HTTP/1.1\r\nhost: a",
        "GET /item/1#x HTTP/1.1\r\nhost: a",
        "GET /item/\x001 HTTP/1.1\r\nhost: a",
        "G\0ET /item/1 HTTP/1.1\r\nhost: a",
        "CONNECT gateway:80 HTTP/1.1\r\nhost: a",
        "GET /item/1",
    ]
    .into_iter()
    .map(get)
    .collect();
    requests.push("GET /item/1 HTTP/1.1\nhost: a\n\n".to_string());
    requests.push("GET /item/1 HTTP/1.1\r\nhost: a\r\n\n".to_string());
    check_refused(400, &requests).await;
    let versions = ["HTTP/2.0", "HTTP/1.2", "HTTP/0.9", "http/1.1", " HTTP/1.1", "HTTPS/1.1"];
    check_refused(505, &versions.map(|version| get(&format!("GET /item/1 {version}\r\nhost: a")))).await;
    let old = [
        "POST /order HTTP/1.0\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        "POST /order HTTP/1.0\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n\r\n{}",
    ];
    check_refused(400, &old.map(str::to_string)).await;
}

#[tokio::test]
async fn what_stands_in_a_body_stays_a_body() {
    let (shop, running) = shop().await;
    let inside = format!("\"{}\"", HIDDEN.replace("\r\n", " "));
    let chunk = |text: &str| format!("{:x}\r\n{text}\r\n", text.len());
    let requests = [
        post(&format!("content-length: {}", inside.len()), &inside),
        chunked(&format!("{}0\r\n\r\n", chunk(&inside))),
        chunked(&format!(
            "{}{}0\r\ncontent-length: 200\r\ntransfer-encoding: chunked\r\n\r\n",
            chunk(&inside[..9]),
            chunk(&inside[9..])
        )),
        // Codings of a hop that is none are no codings.
        post("content-length: 2\r\nconnection: content-length", "{}"),
        post("content-length: 2\r\nte: chunked\r\nupgrade: h2c\r\nconnection: upgrade, te", "{}"),
        format!(
            "GET /item/1 HTTP/1.1\r\nhost: a\r\ncontent-length: {}\r\n\r\n{HIDDEN}",
            HIDDEN.len()
        ),
    ];
    for request in &requests {
        let mut peer = running.connect().await;
        peer.send(format!(
            "{request}GET /item/next HTTP/1.1\r\nhost: gateway\r\nconnection: close\r\n\r\n"
        ))
        .await;
        let (first, second) = (peer.reply().await, peer.reply().await);
        assert_eq!((first.status, second.status), (200, 200), "{request:?}: {}", first.text());
        assert_eq!(peer.rest().await, b"", "{request:?}");
    }
    let paths: Vec<String> = shop.seen().iter().map(|seen| seen.path().to_string()).collect();
    assert!(!paths.iter().any(|path| path.contains("smuggled")), "{paths:?}");
    assert_eq!(paths.iter().filter(|path| *path == "/items/next").count(), requests.len());
}

#[tokio::test]
async fn framing_headers_of_a_client_never_reach_a_source() {
    let (shop, running) = shop().await;
    let mut peer = running.connect().await;
    let lines = "transfer-encoding: chunked\r\nte: trailers\r\ntrailer: x-t\r\nconnection: close, x-hop\r\nx-hop: 1\r\nkeep-alive: 5\r\nproxy-authorization: p\r\nproxy: http://evil\r\nupgrade: x\r\nexpect: 100-continue\r\ncookie: c=1\r\nauthorization: a\r\nx-forwarded-for: 6.6.6.6\r\ntraceparent: 00-1-1-00";
    peer.send(post(lines, "2\r\n{}\r\n0\r\n\r\n")).await;
    assert_eq!(peer.reply().await.status, 200);
    let seen = &shop.seen()[0];
    for name in [
        "transfer-encoding",
        "te",
        "trailer",
        "connection",
        "x-hop",
        "keep-alive",
        "proxy-authorization",
        "proxy",
        "upgrade",
        "expect",
        "cookie",
        "authorization",
    ] {
        assert_eq!(seen.header(name), None, "{name}");
    }
    assert_eq!(seen.header("content-length"), Some("7"));
    assert_eq!(seen.body, "{\"n\":1}");
    assert_eq!(seen.header("x-forwarded-for"), Some("127.0.0.1"));
    assert_ne!(seen.header("traceparent"), Some("00-1-1-00"));
}

#[tokio::test]
async fn nonsense_behind_a_sound_request_is_refused_after_its_answer() {
    let (shop, running) = shop().await;
    for nonsense in [
        "0\r\n\r\nGET /item/smuggled HTTP/1.1\r\nhost: a\r\n\r\n",
        "{\"a\":1}\r\n\r\n",
        "\0\0\0\0",
        "GET /item/smuggled\r\n\r\n",
    ] {
        let mut peer = running.connect().await;
        peer.send(format!("GET /item/1 HTTP/1.1\r\nhost: gateway\r\n\r\n{nonsense}{HIDDEN}"))
            .await;
        assert_eq!(peer.reply().await.status, 200, "{nonsense:?}");
        let refused = peer.reply().await;
        assert!(refused.status == 400 && refused.closes(), "{nonsense:?}: {}", refused.status);
        assert_eq!(peer.rest().await, b"", "{nonsense:?}");
    }
    assert!(shop.seen().iter().all(|seen| seen.path() == "/items/1"), "{:?}", shop.seen());
}
