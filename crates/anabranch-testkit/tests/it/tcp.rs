//! Upstreams on loopback: what only real sockets can show. These tests run on the real clock.

use crate::*;
use anabranch_testkit::{BlackHole, Fault, TcpUpstream, closed_port};
use std::time::Duration;
use tokio::{net::TcpStream, time::timeout};

const SOON: Duration = Duration::from_secs(5);

async fn started(reply: Reply) -> TcpUpstream {
    TcpUpstream::start(Upstream::new("x").reply(reply), "127.0.0.1:0").await.unwrap()
}

async fn connected(upstream: &TcpUpstream) -> TcpStream {
    let mut stream = TcpStream::connect(upstream.addr()).await.unwrap();
    stream.write_all(get("/").as_bytes()).await.unwrap();
    stream
}

#[tokio::test]
async fn a_port_serves_and_keeps_connections() {
    let upstream = started(Reply::any().body("ok")).await;
    assert_eq!(upstream.url(), format!("http://127.0.0.1:{}", upstream.addr().port()));
    let mut stream = connected(&upstream).await;
    one_reply(&mut stream).await;
    stream.write_all(get("/again").as_bytes()).await.unwrap();
    assert!(one_reply(&mut stream).await.ends_with("ok"));
    assert_eq!((upstream.counts().connections, upstream.counts().requests), (1, 2));
    assert_eq!(upstream.seen()[1].path(), "/again");
}

#[tokio::test]
async fn a_reset_is_a_reset_after_any_number_of_bytes() {
    // The head of 39 bytes and the body of 5.
    for after in [0, 1, 20, 39, 42] {
        let upstream = started(Reply::any().body("hello").fault(Fault::Reset { after })).await;
        let mut stream = connected(&upstream).await;
        let mut read = Vec::new();
        let error = timeout(SOON, stream.read_to_end(&mut read)).await.unwrap().unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset, "after {after}");
        assert_eq!(read.len(), after);
    }
}

#[tokio::test]
async fn a_cut_body_ends_without_a_reset() {
    let upstream = started(Reply::any().body("hello").fault(Fault::Truncate { after: 2 })).await;
    let mut stream = connected(&upstream).await;
    assert_eq!(body_of(&timeout(SOON, text(&mut stream)).await.unwrap()), "he");
}

#[tokio::test]
async fn a_peer_that_leaves_is_noticed() {
    let upstream = started(Reply::any().fault(Fault::Hang)).await;
    let stream = connected(&upstream).await;
    upstream.served().until(|counts| counts.requests == 1).await;
    drop(stream);
    let counts = timeout(SOON, upstream.served().until(|counts| counts.connections_open == 0))
        .await
        .unwrap();
    assert_eq!(counts.cancelled, 1);
}

#[tokio::test]
async fn shutdown_closes_port_and_connections_before_it_returns() {
    let upstream = started(Reply::any().fault(Fault::Hang)).await;
    let (address, served) = (upstream.addr(), upstream.served().clone());
    let mut stream = connected(&upstream).await;
    served.until(|counts| counts.requests == 1).await;
    timeout(SOON, upstream.shutdown()).await.unwrap();
    assert_eq!((served.counts().connections_open, served.counts().requests_pending), (0, 0));
    assert!(is_refused(TcpStream::connect(address).await));
    assert_eq!(timeout(SOON, text(&mut stream)).await.unwrap(), "");
}

#[tokio::test]
async fn dropping_it_stops_it() {
    let upstream = started(Reply::any().fault(Fault::Hang)).await;
    let (address, served) = (upstream.addr(), upstream.served().clone());
    let mut stream = connected(&upstream).await;
    served.until(|counts| counts.requests == 1).await;
    drop(upstream);
    assert_eq!(timeout(SOON, text(&mut stream)).await.unwrap(), "");
    timeout(SOON, served.until(|counts| counts.connections_open == 0)).await.unwrap();
    assert!(is_refused(TcpStream::connect(address).await));
}

#[tokio::test]
async fn a_closed_port_refuses_and_a_black_hole_does_nothing() {
    assert!(is_refused(TcpStream::connect(closed_port().await.unwrap()).await));
    let hole = BlackHole::start().await.unwrap();
    assert!(timeout(Duration::from_millis(200), TcpStream::connect(hole.addr())).await.is_err());
}

#[tokio::test]
async fn a_port_that_is_taken_is_an_error() {
    let upstream = started(Reply::any()).await;
    let taken = TcpUpstream::start(Upstream::new("y"), &upstream.addr().to_string()).await;
    assert_eq!(taken.unwrap_err().kind(), io::ErrorKind::AddrInUse);
}
