//! Clients on real sockets: connections kept, requests pipelined, bodies announced, and clients that leave, flood or stall.

use anabranch_testkit::{Ended, Fault, Reply as Scripted, TcpUpstream, Upstream};
use http::Method;
use tokio::net::TcpSocket;
use tokio::time::Instant;

use crate::setup::{ms, program, run, soon, until, upstream, within, Peer, Running};

const KEEP: &str = "GET /item/7 HTTP/1.1\r\nhost: gateway\r\n\r\n";

async fn shop() -> (TcpUpstream, Running) {
    let shop = upstream(
        Upstream::new("shop")
            .reply(Scripted::get("/items/slow").json("\"slow\"").delay(ms(120)))
            .reply(Scripted::get("/items/hang").fault(Fault::Hang))
            .reply(Scripted::get("/items/*").computed(|seen| format!("{{\"path\":\"{}\"}}", seen.path()).into()))
            .reply(Scripted::post("/orders").json("{\"order\":1}").delay(ms(150))),
    )
    .await;
    let config = format!(
        "
sources:
  shop: {{ url: {} }}
routes:
  GET /item/{{id}}:
    query: {{ q: \"string?\" }}
    calls: {{ item: shop /items/$id }}
  GET /pair/{{id}}:
    calls: {{ one: shop /items/$id, two: shop /items/$id }}
  POST /order:
    body: {{ max: 100k }}
    calls: {{ order: {{ post: shop /orders, body: $body }} }}
  PUT /order:
    calls: {{ order: {{ post: shop /orders, body: $body, idempotent: true }} }}
",
        shop.url()
    );
    let running = Running::start(&config).await;
    (shop, running)
}

fn post(length: usize, body: &str) -> String {
    format!("POST /order HTTP/1.1\r\nhost: gateway\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}")
}

#[tokio::test]
async fn one_connection_serves_many_requests() {
    let (shop, running) = shop().await;
    let mut peer = running.connect().await;
    for id in 0..20 {
        peer.send(format!("GET /item/{id} HTTP/1.1\r\nhost: gateway\r\n\r\n")).await;
        let reply = peer.reply().await;
        assert_eq!(
            (reply.status, reply.text()),
            (200, format!("{{\"item\":{{\"path\":\"/items/{id}\"}}}}").as_str())
        );
        assert_eq!(reply.header("content-type"), Some("application/json"));
        assert!(reply.header("date").is_some() && !reply.closes());
    }
    // An unknown path and a request that a route refuses do not end the connection either.
    for (target, status) in [("/nowhere", 404), ("/item/..", 400), ("/item/7", 200)] {
        peer.send(format!("GET {target} HTTP/1.1\r\nhost: gateway\r\n\r\n")).await;
        assert_eq!(peer.reply().await.status, status, "{target}");
    }
    assert_eq!(shop.counts().connections, 1, "the connection to the source is kept too");
    peer.send("GET /item/7 HTTP/1.1\r\nhost: gateway\r\nconnection: close\r\n\r\n")
        .await;
    assert!(peer.reply().await.closes());
    assert_eq!(peer.rest().await, b"");
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_their_order() {
    let (_shop, running) = shop().await;
    let mut peer = running.connect().await;
    let ids = ["slow", "1", "slow", "2", "3"];
    let all: String = ids
        .iter()
        .map(|id| format!("GET /item/{id} HTTP/1.1\r\nhost: gateway\r\n\r\n"))
        .collect();
    peer.send(all + &post(2, "{}") + KEEP).await;
    for id in ids {
        assert!(peer.reply().await.text().contains(id), "{id}");
    }
    assert_eq!(peer.reply().await.text(), r#"{"order":{"order":1}}"#);
    assert_eq!(peer.reply().await.status, 200);
}

#[tokio::test]
async fn many_pipelined_requests_are_all_answered() {
    let (_shop, running) = shop().await;
    let mut peer = running.connect().await;
    // More than is read ahead: what does not fit waits in the socket.
    peer.send(KEEP.repeat(600)).await;
    for _ in 0..600 {
        assert_eq!(peer.reply().await.status, 200);
    }
}

#[tokio::test]
async fn a_request_may_come_in_any_pieces() {
    let (_shop, running) = shop().await;
    let mut peer = running.connect().await;
    let chunked = "POST /order HTTP/1.1\r\nhost: gateway\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n3\r\n{\"a\r\n4;x=y\r\n\":1}\r\n0\r\nx-t: 1\r\n\r\n";
    for request in [KEEP.to_string(), post(7, "{\"a\":1}"), chunked.to_string()] {
        for byte in request.as_bytes() {
            peer.send([*byte]).await;
            tokio::task::yield_now().await;
        }
        assert_eq!(peer.reply().await.status, 200, "{request}");
    }
}

#[tokio::test]
async fn head_is_get_without_the_body() {
    let (_shop, running) = shop().await;
    let mut peer = running.connect().await;
    peer.send(KEEP).await;
    let full = peer.reply().await;
    peer.send(KEEP.replace("GET", "HEAD")).await;
    let head = peer.reply_to_head().await;
    assert_eq!((head.status, head.header("content-length")), (200, full.header("content-length")));
    assert_eq!(head.header("content-type"), full.header("content-type"));
    // Whatever came behind the head would be taken for the next reply.
    peer.send(KEEP.replace("GET", "HEAD").replace("/item/7", "/nowhere")).await;
    assert_eq!(peer.reply_to_head().await.status, 404);
    peer.send(KEEP).await;
    assert_eq!(peer.reply().await.text(), full.text());
}

#[tokio::test]
async fn http_1_0_closes_unless_it_asks_to_stay() {
    let (_shop, running) = shop().await;
    let mut peer = running.connect().await;
    peer.send("GET /item/7 HTTP/1.0\r\nconnection: keep-alive\r\n\r\n").await;
    let reply = peer.reply().await;
    // A client of 1.0 counts on the connection only if it is told (RFC 9112 appendix C.2.2).
    assert_eq!((reply.status, reply.header("connection")), (200, Some("keep-alive")));
    peer.send("GET /item/7 HTTP/1.0\r\n\r\n").await;
    assert!(peer.reply().await.closes());
    assert_eq!(peer.rest().await, b"");
}

#[tokio::test]
async fn a_body_is_asked_for_when_the_client_waits_to_send_it() {
    let (shop, running) = shop().await;
    let waiting = |length: usize| post(length, "").replace("\r\n\r\n", "\r\nexpect: 100-continue\r\n\r\n");
    let mut peer = running.connect().await;
    peer.send(waiting(7)).await;
    assert_eq!(peer.next(true).await.unwrap().status, 100);
    peer.send("{\"a\":1}").await;
    assert_eq!(peer.reply().await.status, 200);
    // Sent along all the same: nothing to ask for.
    peer.send(waiting(7) + "{\"a\":2}").await;
    assert_eq!(peer.reply().await.status, 200);
    // Too large: refused before it is sent.
    peer.send(waiting(200_000)).await;
    let refused = peer.reply().await;
    assert_eq!(
        (refused.status, refused.header("content-type")),
        (413, Some("application/problem+json"))
    );
    assert!(refused.closes());
    assert_eq!(peer.rest().await, b"");
    assert_eq!(shop.counts().requests, 2);
}

#[tokio::test]
async fn a_client_can_read_why_it_is_refused_though_it_was_still_sending() {
    let (shop, running) = shop().await;
    let megabyte = "x".repeat(1 << 20);
    let lines = |count: usize| format!("GET /item/7 HTTP/1.1\r\nhost: gateway\r\n{}\r\n", "x-a: b\r\n".repeat(count));
    let cases = [
        (
            "a query of 10 MB",
            format!("GET /item/7?q={} HTTP/1.1\r\nhost: gateway\r\n\r\n", megabyte.repeat(10)),
            414,
        ),
        ("a method of 10 MB", megabyte.repeat(10), 414),
        (
            "a header of 10 MB",
            format!("GET /item/7 HTTP/1.1\r\nhost: gateway\r\nx-a: {}\r\n\r\n", megabyte.repeat(10)),
            431,
        ),
        ("200 header lines", lines(200), 431),
        ("a million header lines", lines(1_000_000), 431),
        ("a body of 10 MB, announced", post(10 << 20, &megabyte.repeat(10)), 413),
        (
            "a body of 10 MB in chunks",
            format!(
                "POST /order HTTP/1.1\r\nhost: gateway\r\ntransfer-encoding: chunked\r\n\r\na00000\r\n{}\r\n0\r\n\r\n",
                megabyte.repeat(10)
            ),
            413,
        ),
        (
            "a body for a path that is not there",
            post(10 << 20, &megabyte.repeat(10)).replace("/order", "/nowhere"),
            404,
        ),
        (
            "a body for a method that is not there",
            post(10 << 20, &megabyte.repeat(10)).replace("POST", "PATCH"),
            405,
        ),
    ];
    for (what, request, status) in cases {
        let mut peer = running.connect().await;
        peer.send_if_taken(request.as_bytes()).await;
        let reply = peer.reply().await;
        assert_eq!(
            (reply.status, reply.header("content-type")),
            (status, Some("application/problem+json")),
            "{what}: {}",
            reply.text()
        );
        assert!(
            reply.closes() && reply.text().contains(&format!("\"status\":{status}")),
            "{what}: {}",
            reply.text()
        );
        assert_eq!(peer.rest().await, b"", "{what}");
    }
    assert_eq!(shop.counts().requests, 0);
}

#[tokio::test]
async fn a_client_that_leaves_cancels_its_calls_at_once() {
    let (shop, running) = shop().await;
    for is_reset in [false, true] {
        within(ms(100), "from a client's leaving to the end of its calls", async || {
            let before = shop.counts();
            let mut peer = running.connect().await;
            peer.send(KEEP.replace("/item/7", "/pair/hang")).await;
            soon(shop.served().until(|counts| counts.requests == before.requests + 2)).await;
            let left = Instant::now();
            if is_reset {
                peer.reset();
            } else {
                drop(peer);
            }
            soon(shop.served().until(|counts| counts.cancelled == before.cancelled + 2)).await;
            left.elapsed()
        })
        .await;
    }
    until("the places are free", || {
        running.gateway.sources()[0].http().unwrap().in_flight() == 0
    })
    .await;
    assert_eq!(running.gateway.health().requests(), 0);
    assert_eq!(running.get("/item/7").await.status, 200);
}

#[tokio::test]
async fn a_write_once_sent_is_not_cancelled_by_a_lost_client() {
    let (shop, running) = shop().await;
    let mut peer = running.connect().await;
    peer.send(post(2, "{}")).await;
    soon(shop.served().until(|counts| counts.requests == 1)).await;
    peer.reset();
    soon(shop.served().until(|counts| counts.requests_pending == 0)).await;
    assert!(matches!(shop.seen()[0].ended, Ended::Answered(_)), "{:?}", shop.seen()[0].ended);
    // One that may be sent twice is like a read.
    let mut peer = running.connect().await;
    peer.send(post(2, "{}").replace("POST", "PUT")).await;
    soon(shop.served().until(|counts| counts.requests == 2)).await;
    drop(peer);
    soon(shop.served().until(|counts| counts.requests_pending == 0)).await;
    assert!(shop.seen()[1].cancelled());
    until("the places are free", || {
        running.gateway.sources()[0].http().unwrap().in_flight() == 0
    })
    .await;
    until("no task is left", || running.core.client().background().count() == 0).await;
}

/// Stops the clock: whenever nothing else happens, the next limit is reached at once.
async fn still(peer: &mut Peer) {
    // What was sent must have arrived before the clock stops.
    tokio::time::sleep(ms(20)).await;
    tokio::time::pause();
    peer.is_patient = true;
}

#[tokio::test]
async fn a_head_that_drips_is_refused_after_10_seconds() {
    let (_shop, running) = shop().await;
    let mut peer = running.connect().await;
    peer.send("GET /it").await;
    still(&mut peer).await;
    let started = Instant::now();
    for byte in b"em/7 HTTP/" {
        tokio::time::sleep(ms(900)).await;
        peer.send([*byte]).await;
    }
    let reply = peer.reply().await;
    assert_eq!(reply.status, 408);
    assert!(reply.closes());
    let took = started.elapsed();
    assert!((ms(9_000)..ms(12_000)).contains(&took), "{took:?}");
}

#[tokio::test]
async fn a_body_that_does_not_come_is_refused_after_30_seconds() {
    let (shop, running) = shop().await;
    let mut peer = running.connect().await;
    peer.send(post(7, "{\"a\"")).await;
    still(&mut peer).await;
    let started = Instant::now();
    assert_eq!(peer.reply().await.status, 408);
    let took = started.elapsed();
    assert!((ms(29_000)..ms(32_000)).contains(&took), "{took:?}");
    assert_eq!(shop.counts().requests, 0);
}

#[tokio::test]
async fn an_idle_connection_is_closed_without_a_word_after_75_seconds() {
    let (_shop, running) = shop().await;
    let mut peer = running.connect().await;
    peer.send(KEEP).await;
    assert_eq!(peer.reply().await.status, 200);
    still(&mut peer).await;
    let started = Instant::now();
    assert_eq!(peer.rest().await, b"");
    let took = started.elapsed();
    assert!((ms(74_000)..ms(77_000)).contains(&took), "{took:?}");
}

#[tokio::test]
async fn a_client_that_does_not_read_is_cut_off_after_30_seconds() {
    let big = upstream(Upstream::new("big").reply(Scripted::get("/big").fault(Fault::BigBody { size: 24 << 20 }))).await;
    let config = format!(
        "sources:\n  big: {{ url: {}, max_body: 32M }}\nroutes:\n  GET /big: {{ calls: {{ big: big /big }} }}\n",
        big.url()
    );
    let running = Running::start(&config).await;
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let mut peer = Peer::over(socket.connect(running.address).await.unwrap());
    peer.send("GET /big HTTP/1.1\r\nhost: gateway\r\n\r\n").await;
    soon(big.served().until(|counts| counts.requests == 1 && counts.requests_pending == 0)).await;
    until("the reply is on its way", || running.gateway.health().requests() == 0).await;
    still(&mut peer).await;
    tokio::time::sleep(ms(31_000)).await;
    tokio::time::resume();
    let got = peer.rest().await.len();
    assert!(got < 24 << 20, "{got} bytes came to a client that did not read for 31 seconds");
}

#[tokio::test]
async fn as_many_requests_as_there_are_connections_are_answered_at_once() {
    let (shop, running) = shop().await;
    let mut peers = Vec::new();
    for _ in 0..60 {
        let mut peer = running.connect().await;
        peer.send(KEEP.replace("/item/7", "/item/slow")).await;
        peers.push(peer);
    }
    for peer in &mut peers {
        assert_eq!(peer.reply().await.status, 200);
    }
    assert!(shop.counts().requests_pending_max > 30, "{:?}", shop.counts());
}

#[tokio::test]
async fn curl_speaks_with_it() {
    let Some(curl) = program("curl") else { return };
    let (shop, running) = shop().await;
    let url = running.url("/item/7");
    let item = r#"{"item":{"path":"/items/7"}}"#;
    for arguments in [
        &["-sS", &url][..],
        &["-sS", "--compressed", &url],
        &["-sS", "--http1.0", &url],
        &["-sS", "--http2", &url],
    ] {
        assert_eq!(run(&curl, arguments).await, (Some(0), item.to_string()), "{arguments:?}");
    }
    // The second request goes over the first one's connection.
    let twice = run(
        &curl,
        &[
            "-sS",
            "-o",
            "/dev/null",
            "-o",
            "/dev/null",
            "-w",
            "%{http_code} %{num_connects}\n",
            &url,
            &url,
        ],
    )
    .await;
    assert_eq!(twice, (Some(0), "200 1\n200 0\n".to_string()));
    let (code, head) = run(&curl, &["-sS", "-I", &url]).await;
    assert!(
        code == Some(0) && head.starts_with("HTTP/1.1 200 OK\r\n") && head.contains("content-length: 28\r\n"),
        "{head}"
    );
    let order = running.url("/order");
    let json = "content-type: application/json";
    for arguments in [
        &["-sS", "-H", json, "-d", "{\"a\":1}", &order][..],
        &["-sS", "-H", json, "-H", "transfer-encoding: chunked", "-d", "{\"a\":1}", &order],
        &["-sS", "-H", json, "-H", "expect: 100-continue", "-d", "{\"a\":1}", &order],
    ] {
        assert_eq!(
            run(&curl, arguments).await,
            (Some(0), r#"{"order":{"order":1}}"#.to_string()),
            "{arguments:?}"
        );
    }
    let orders = shop.seen().into_iter().filter(|seen| seen.method == Method::POST);
    assert!(orders.map(|seen| seen.body).all(|body| body == "{\"a\":1}"));
    // HTTP/2 without being agreed on is another protocol, which is refused.
    let (code, _) = run(&curl, &["-sS", "--http2-prior-knowledge", &url]).await;
    assert_ne!(code, Some(0));
    assert_eq!(running.get("/item/7").await.status, 200);
}

#[tokio::test]
async fn the_preface_of_http_2_is_refused_in_http_1() {
    let (_shop, running) = shop().await;
    let mut peer = running.connect().await;
    peer.send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await;
    assert_eq!(peer.reply().await.status, 505);
    assert_eq!(peer.rest().await, b"");
}

#[tokio::test]
async fn bytes_that_are_no_http_are_refused_and_connections_that_say_nothing_are_no_harm() {
    let (_shop, running) = shop().await;
    for bytes in [
        &b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"[..],
        b"\0\0\0\0\0\0",
        b"SSH-2.0-OpenSSH\r\n",
        b"GET\r\n\r\n",
        b"\xff\xff\xff\xff\r\n\r\n",
    ] {
        let mut peer = running.connect().await;
        peer.send(bytes).await;
        assert_eq!(peer.reply().await.status, 400, "{bytes:?}");
        assert_eq!(peer.rest().await, b"");
    }
    let silent: Vec<Peer> = {
        let mut silent = Vec::new();
        for _ in 0..100 {
            silent.push(running.connect().await);
        }
        silent
    };
    assert_eq!(running.get("/item/7").await.status, 200);
    drop(silent);
}
