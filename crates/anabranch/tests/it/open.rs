//! Calls whose answers are streamed, under the policies of their source: over loopback, since the peer's buffers are part of the point.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anabranch::client::Upload;
use anabranch::{CallSettings, Client, Deadline, Kind, Request, Source};
use bytes::Bytes;
use futures_util::stream;
use http::Method;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

/// A peer that gives each connection the next of these answers, the last one again and again, and counts them.
async fn peer(answers: &'static [&'static str]) -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let count = Arc::new(AtomicUsize::new(0));
    let counted = count.clone();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let nth = counted.fetch_add(1, Ordering::Relaxed);
            let answer = answers[nth.min(answers.len() - 1)];
            tokio::spawn(async move {
                let mut request = [0; 4096];
                let _head = stream.read(&mut request).await;
                let _ = stream.write_all(answer.as_bytes()).await;
                let _until_closed = stream.read(&mut request).await;
            });
        }
    });
    (address, count)
}

fn source(address: SocketAddr) -> Source {
    Source::builder("media")
        .endpoint(format!("http://{address}"))
        .in_flight(1)
        .queue(0)
        .build()
        .unwrap()
}

fn soon() -> Deadline {
    Deadline::after(Duration::from_secs(10))
}

const HALF: &str = "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf ";
const BUSY: &str = "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n";
const GOOD: &str = "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\ngood";

#[tokio::test]
async fn a_place_is_held_until_the_answer_is_dropped() {
    let (address, _) = peer(&[HALF, GOOD]).await;
    let (client, source) = (Client::new(), source(address));
    let (request, settings) = (Request::get("/a").unwrap(), CallSettings::default());
    let (opened, report) = source.open(&client, &request, None, &settings, soon()).await;
    let mut call = opened.unwrap();
    assert_eq!((call.response().status(), report.attempts.len()), (200, 1));
    assert_eq!(call.piece().await.unwrap().unwrap(), "half ");
    assert_eq!(source.in_flight(), 1);
    let (refused, _) = source.open(&client, &request, None, &settings, soon()).await;
    assert_eq!(refused.unwrap_err().kind(), Kind::Limit);
    drop(call);
    assert_eq!(source.in_flight(), 0);
    let (opened, _) = source.open(&client, &request, None, &settings, soon()).await;
    let mut call = opened.unwrap();
    assert_eq!(call.piece().await.unwrap().unwrap(), "good");
    assert!(call.piece().await.unwrap().is_none());
}

#[tokio::test]
async fn what_has_no_upload_is_tried_again_before_its_head() {
    let (address, asked) = peer(&[BUSY, GOOD]).await;
    let (client, source) = (Client::new(), source(address));
    let (request, settings) = (Request::get("/a").unwrap(), CallSettings::default());
    let (opened, report) = source.open(&client, &request, None, &settings, soon()).await;
    assert_eq!(opened.unwrap().response().status(), 200);
    let statuses: Vec<_> = report.attempts.iter().map(|attempt| attempt.status).collect();
    assert_eq!(statuses, [Some(503), Some(200)]);
    assert_eq!(asked.load(Ordering::Relaxed), 2);
}

#[tokio::test]
async fn an_upload_is_sent_once() {
    let (address, asked) = peer(&[BUSY, GOOD]).await;
    let (client, source) = (Client::new(), source(address));
    let settings = CallSettings {
        idempotent: true,
        ..CallSettings::default()
    };
    let request = Request::new(Method::PUT, "/a".to_owned()).unwrap();
    let upload = Upload::new(Some(2), stream::iter([Ok(Bytes::from_static(b"up"))]));
    let (opened, report) = source.open(&client, &request, Some(upload), &settings, soon()).await;
    assert_eq!((opened.unwrap().response().status(), report.attempts.len()), (503, 1));
    assert_eq!(asked.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn an_answer_that_breaks_off_names_its_source_and_gives_its_place_back() {
    let (address, _) = peer(&[HALF]).await;
    let (client, source) = (Client::new(), source(address));
    let mut settings = CallSettings::default();
    settings.limits.body_idle = Some(Duration::from_millis(50));
    let request = Request::get("/a").unwrap();
    let (opened, _) = source.open(&client, &request, None, &settings, soon()).await;
    let mut call = opened.unwrap();
    assert!(call.piece().await.unwrap().is_some());
    let error = call.piece().await.unwrap_err();
    assert_eq!((error.kind(), error.source_name()), (Kind::Timeout, Some("media")));
    assert!(call.piece().await.unwrap().is_none());
    drop(call);
    assert_eq!(source.in_flight(), 0);
}
