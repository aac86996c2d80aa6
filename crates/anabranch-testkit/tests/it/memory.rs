//! The network in memory: who can be reached, how long it takes, and what ends with it.

use crate::*;
use anabranch_testkit::Connecting;
use std::time::Duration;
use tokio::time::{Instant, timeout};

#[tokio::test(start_paused = true)]
async fn unknown_removed_and_refusing_hosts_refuse() {
    let (network, _) = host(Reply::any());
    assert!(is_refused(network.connect("y", 80).await));
    assert!(is_refused(network.connect("x", 81).await));
    assert!(network.connect("x", 80).await.is_ok());
    network.set_connecting("x:80", Connecting::Refused);
    assert!(is_refused(network.connect("x", 80).await));
    network.set_connecting("x:80", Connecting::AtOnce);
    network.remove("x:80");
    assert!(is_refused(network.connect("x", 80).await));
    assert_eq!(network.connect("y", 80).await.unwrap_err().to_string(), "nobody listens at `y:80`");
}

#[tokio::test(start_paused = true)]
async fn connecting_takes_as_long_as_it_is_told() {
    let (network, served) = host(Reply::any());
    network.set_connecting("x:80", Connecting::After(Duration::from_secs(4)));
    let began = Instant::now();
    network.connect("x", 80).await.unwrap();
    assert_eq!(began.elapsed().as_secs(), 4);
    network.set_connecting("x:80", Connecting::Never);
    assert!(timeout(Duration::from_secs(3_600), network.connect("x", 80)).await.is_err());
    // The connection that was given up was never made.
    assert_eq!(served.until(|counts| counts.connections_open == 0).await.connections, 1);
}

#[tokio::test(start_paused = true)]
async fn every_server_ends_with_the_network() {
    let (network, served) = host(Reply::any().delay(Duration::from_secs(60)));
    let mut idle = network.connect("x", 80).await.unwrap();
    let mut pending = sent(&network, &get("/")).await;
    served
        .until(|counts| counts.requests_pending == 1 && counts.connections_open == 2)
        .await;
    let clone = network.clone();
    drop(network);
    tokio::task::yield_now().await;
    assert_eq!(served.counts().connections_open, 2, "a clone is the same network");
    drop(clone);
    assert_eq!((text(&mut idle).await.as_str(), text(&mut pending).await.as_str()), ("", ""));
    assert_eq!(served.counts().connections_open, 0);
    assert_eq!(served.counts().requests_pending, 0);
}

#[tokio::test(start_paused = true)]
async fn a_host_can_follow_another_script_while_connections_stay() {
    let (network, served) = host(Reply::any().status(503));
    let mut client = Client::on(&network, "x").await;
    assert_eq!(client.get("/").await.unwrap().0, 503);
    network
        .served("x:80")
        .unwrap()
        .follow(Upstream::new("x").reply(Reply::any().body("back")));
    assert_eq!(client.get("/").await.unwrap(), (200, "back".into()));
    assert_eq!(served.counts().connections, 1);
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_does_not_read_stops_the_writer_and_nobody_else() {
    let (network, served) = host(Reply::any().body(vec![b'x'; 1 << 20]));
    let stalled = sent(&network, &get("/")).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(served.counts().requests_pending, 1, "64 KiB of the MiB fit into the pipe");
    assert_eq!(Client::on(&network, "x").await.get("/").await.unwrap().1.len(), 1 << 20);
    drop(stalled);
    assert_eq!(served.until(|counts| counts.requests_pending == 0).await.cancelled, 1);
}
