//! Connections: kept, pipelined, closed, and what is refused on them.

use crate::*;
use std::time::Duration;
use tokio::time::Instant;

#[tokio::test(start_paused = true)]
async fn one_connection_serves_many_requests() {
    let (network, served) = host(Reply::any().body("ok"));
    let mut client = Client::on(&network, "x").await;
    for number in 0..100 {
        assert_eq!(client.get(&format!("/{number}")).await.unwrap(), (200, "ok".into()));
    }
    let counts = served.counts();
    assert_eq!((counts.connections, counts.connections_open, counts.requests), (1, 1, 100));
    assert_eq!((counts.requests_pending, counts.requests_pending_max), (0, 1));
    assert!(served.seen().iter().all(|seen| seen.connection == 1));
}

#[tokio::test(start_paused = true)]
async fn a_connection_is_closed_when_the_client_asks_for_it() {
    let (network, served) = host(Reply::any().body("ok"));
    let mut stream = sent(&network, "GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await;
    assert_eq!(
        text(&mut stream).await,
        "HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok"
    );
    let mut stream = sent(&network, "GET / HTTP/1.0\r\n\r\n").await;
    assert!(text(&mut stream).await.ends_with("ok"));
    let counts = served.until(|counts| counts.connections_open == 0).await;
    assert_eq!((counts.connections, counts.connections_open_max), (2, 1));
}

#[tokio::test(start_paused = true)]
async fn pipelined_requests_are_answered_in_order_even_when_they_arrive_during_a_delay() {
    let network = MemoryNetwork::new();
    let upstream = Upstream::new("x")
        .reply(Reply::get("/slow").delay(Duration::from_secs(1)).body("slow"))
        .reply(Reply::any().echo());
    let served = network.host("x:80", upstream);
    let mut stream = sent(&network, &get("/slow")).await;
    served.until(|counts| counts.requests == 1).await;
    // In odd pieces, and with an empty line before the second request, which RFC 9112 allows.
    let rest = "\r\nPOST /1 HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\n\r\nhello\r\nPOST /2 HTTP/1.1\r\nhost: x\r\n\
                transfer-encoding: chunked\r\n\r\n2;a=b\r\nhe\r\n3\r\nllo\r\n0\r\ntrailer: x\r\n\r\nGET /3 HTTP/1.1\r\nhost: x\r\n\r\n";
    for piece in rest.as_bytes().chunks(3) {
        stream.write_all(piece).await.unwrap();
        tokio::task::yield_now().await;
    }
    assert!(one_reply(&mut stream).await.ends_with("slow"));
    for (path, body) in [("/1", "hello"), ("/2", "hello"), ("/3", "")] {
        let reply = one_reply(&mut stream).await;
        assert!(
            reply.contains(&format!(r#""path":"{path}""#)) && reply.ends_with(&format!(r#""body":"{body}"}}"#)),
            "{reply}"
        );
    }
    assert_eq!(served.counts().connections, 1);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_waits_for_continue_is_told_to_go_on() {
    let (network, served) = host(Reply::any().body("ok"));
    let mut stream = sent(
        &network,
        "PUT / HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: 2\r\n\r\n",
    )
    .await;
    let mut interim = [0; 25];
    stream.read_exact(&mut interim).await.unwrap();
    assert_eq!(&interim, b"HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(b"hi").await.unwrap();
    assert!(one_reply(&mut stream).await.ends_with("ok"));
    assert_eq!(served.seen()[0].body, "hi");
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_leaves_during_the_delay_is_recorded_at_once() {
    let (network, served) = host(Reply::any().delay(Duration::from_secs(60)));
    let (began, stream) = (Instant::now(), sent(&network, &get("/")).await);
    tokio::time::sleep(Duration::from_secs(1)).await;
    drop(stream);
    let counts = served.until(|counts| counts.connections_open == 0).await;
    assert_eq!((counts.cancelled, counts.requests_pending), (1, 0));
    assert!(served.seen()[0].cancelled());
    assert_eq!(began.elapsed().as_secs(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_idle_connection_is_closed_when_the_script_says_so() {
    let network = MemoryNetwork::new();
    network.host(
        "x:80",
        Upstream::new("x")
            .idle(Duration::from_secs(5))
            .reply(Reply::any().delay(Duration::from_secs(20))),
    );
    let (began, reply) = (Instant::now(), until_closed(&network, "/").await);
    assert!(reply.starts_with("HTTP/1.1 200 OK"), "a pending reply is not idle");
    assert_eq!(began.elapsed().as_secs(), 25);
}

#[tokio::test(start_paused = true)]
async fn what_is_not_proper_http_is_refused_and_counted_apart() {
    for (bytes, status) in [
        ("nonsense\r\n\r\n", "400"),
        ("GET / HTTP/1.1\r\n\r\n", "400"),
        (
            "POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
            "400",
        ),
        ("POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nxyz\r\n", "400"),
        ("POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n1\r\nab\r\n", "400"),
        ("POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 99999999999\r\n\r\n", "413"),
        (
            "POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nffffffffffffffff\r\n",
            "413",
        ),
        ("GET / HTTP/3\r\nhost: x\r\n\r\n", "505"),
    ] {
        let (network, served) = host(Reply::any());
        let mut stream = sent(&network, bytes).await;
        let reply = text(&mut stream).await;
        assert!(reply.starts_with(&format!("HTTP/1.1 {status} ")), "{bytes:?} got {reply:?}");
        assert_eq!((served.counts().malformed, served.counts().requests), (1, 0), "{bytes:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_head_without_end_is_refused() {
    let (network, served) = host(Reply::any());
    let mut stream = sent(&network, "GET / HTTP/1.1\r\nx: ").await;
    let filler = "x".repeat(70_000);
    let (written, reply) = tokio::join!(
        async {
            let (_, mut half) = tokio::io::split(&mut stream);
            half.write_all(filler.as_bytes()).await
        },
        served.until(|counts| counts.malformed == 1)
    );
    assert_eq!(reply.requests, 0);
    drop(written);
    assert!(text(&mut stream).await.starts_with("HTTP/1.1 431 "));
}

#[tokio::test(start_paused = true)]
async fn half_a_request_is_no_request() {
    let (network, served) = host(Reply::any());
    for half in ["GET / HT", "POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\n\r\nab"] {
        drop(sent(&network, half).await);
    }
    let counts = served.until(|counts| counts.connections == 2 && counts.connections_open == 0).await;
    assert_eq!((counts.requests, counts.malformed), (0, 0));
}
