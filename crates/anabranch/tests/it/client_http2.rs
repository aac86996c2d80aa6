//! HTTP/2 with prior knowledge: streams share a connection, and each has an end of its own.

use std::convert::Infallible;
use std::time::Duration;

use anabranch::client::{Endpoint, HttpVersion, WireLimits, WireSettings};
use anabranch::{Client, Deadline, Kind, Phase, Request};
use bytes::Bytes;
use futures_util::stream::{FuturesUnordered, StreamExt};
use http_body_util::Full;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{sleep, Instant};

use crate::client::{get, ms, send, Network};

/// Serves either HTTP: `/wait` answers after 100 ms, `/large` with 100 kB, any path with the version and itself.
pub(crate) async fn serve(stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static) {
    serve_streams(stream, 200).await;
}

async fn serve_streams(stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static, streams: u32) {
    let answer = |request: http::Request<hyper::body::Incoming>| async move {
        if request.uri().path().ends_with("/wait") {
            sleep(ms(100)).await;
        }
        assert!(request.headers().get("host").is_none() || request.version() == http::Version::HTTP_11);
        let body = match request.uri().path() {
            "/large" => "a".repeat(100_000),
            path => format!("{:?} {path}", request.version()),
        };
        Ok::<_, Infallible>(http::Response::new(Full::new(Bytes::from(body))))
    };
    let mut preface = PeekedPreface::new(stream);
    if preface.is_http2().await {
        let mut builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
        let _ended = builder
            .max_concurrent_streams(streams)
            .serve_connection(TokioIo::new(preface), service_fn(answer))
            .await;
    } else {
        let _ended = hyper::server::conn::http1::Builder::new()
            .serve_connection(TokioIo::new(preface), service_fn(answer))
            .await;
    }
}

use peeked::PeekedPreface;

/// A stream whose first byte was looked at: `P` of `PRI * HTTP/2.0` or a method. No test here sends POST, PUT or PATCH.
mod peeked {
    use std::io;
    use std::pin::Pin;
    use std::task::{Context, Poll};

    use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};

    pub(crate) struct PeekedPreface<S> {
        stream: S,
        first: Option<u8>,
    }

    impl<S: AsyncRead + Unpin> PeekedPreface<S> {
        pub(crate) fn new(stream: S) -> Self {
            PeekedPreface { stream, first: None }
        }

        pub(crate) async fn is_http2(&mut self) -> bool {
            self.first = self.stream.read_u8().await.ok();
            self.first == Some(b'P')
        }
    }

    impl<S: AsyncRead + Unpin> AsyncRead for PeekedPreface<S> {
        fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
            if let Some(first) = self.first.take() {
                buf.put_slice(&[first]);
                return Poll::Ready(Ok(()));
            }
            Pin::new(&mut self.stream).poll_read(cx, buf)
        }
    }

    impl<S: AsyncWrite + Unpin> AsyncWrite for PeekedPreface<S> {
        fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
            Pin::new(&mut self.stream).poll_write(cx, buf)
        }

        fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            Pin::new(&mut self.stream).poll_flush(cx)
        }

        fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            Pin::new(&mut self.stream).poll_shutdown(cx)
        }
    }
}

fn http2() -> Endpoint {
    Endpoint::new(
        "http://shop.test",
        WireSettings {
            http: HttpVersion::Http2,
            ..WireSettings::default()
        },
    )
    .unwrap()
}

/// A client whose peer speaks HTTP/2 with so many streams at once; counts what is dialled.
fn peer(streams: u32) -> (Client, std::sync::Arc<std::sync::atomic::AtomicUsize>) {
    let mut network = Network::new(&[ms(5)]);
    let (client, accepted) = (network.client.clone(), std::sync::Arc::default());
    let count: std::sync::Arc<std::sync::atomic::AtomicUsize> = std::sync::Arc::clone(&accepted);
    tokio::spawn(async move {
        loop {
            let stream = network.accept().await;
            count.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            tokio::spawn(serve_streams(stream, streams));
        }
    });
    (client, accepted)
}

fn dials(accepted: &std::sync::atomic::AtomicUsize) -> usize {
    accepted.load(std::sync::atomic::Ordering::SeqCst)
}

#[tokio::test(start_paused = true)]
async fn many_exchanges_share_one_connection_at_once() {
    let ((client, accepted), endpoint) = (peer(200), http2());
    let started = Instant::now();
    let request = Request::get("/wait").unwrap();
    let mut exchanges: FuturesUnordered<_> = (0..20).map(|_| send(&client, &endpoint, &request, WireLimits::default())).collect();
    while let Some((response, _)) = exchanges.next().await {
        assert_eq!(response.unwrap().body(), "HTTP/2.0 /wait");
    }
    assert!(started.elapsed() < ms(200), "they ran at once: {:?}", started.elapsed());
    assert_eq!(dials(&accepted), 1);
    let (_, timings) = send(&client, &endpoint, &request, WireLimits::default()).await;
    assert!(timings.reused && timings.connect.is_none());
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_stream_leaves_the_connection_to_the_others() {
    let ((client, accepted), endpoint) = (peer(200), http2());
    let request = Request::get("/wait").unwrap();
    let (cancelled, kept) = tokio::join!(
        Deadline::after(ms(50)).bound(send(&client, &endpoint, &request, WireLimits::default())),
        send(&client, &endpoint, &request, WireLimits::default())
    );
    assert!(cancelled.is_err() && kept.0.is_ok());
    assert!(get(&client, &endpoint).await.is_ok());
    assert_eq!(dials(&accepted), 1);
}

#[tokio::test(start_paused = true)]
async fn who_finds_no_stream_waits_for_one_or_gets_another_connection() {
    let ((client, accepted), endpoint) = (peer(2), http2());
    let request = Request::get("/wait").unwrap();
    // The peer's word on streams comes with its first answer; before it, ours counts.
    get(&client, &endpoint).await.unwrap();
    sleep(ms(1)).await;
    let mut exchanges: FuturesUnordered<_> = (0..12).map(|_| send(&client, &endpoint, &request, WireLimits::default())).collect();
    while let Some((response, _)) = exchanges.next().await {
        assert_eq!(response.unwrap().status(), 200);
    }
    assert!(dials(&accepted) <= 4, "{} connections", dials(&accepted));
}

#[tokio::test(start_paused = true)]
async fn waiting_for_a_stream_has_a_limit_of_its_own() {
    let ((client, _), endpoint) = (peer(1), http2());
    get(&client, &endpoint).await.unwrap();
    sleep(ms(1)).await;
    let request = Request::get("/wait").unwrap();
    let mut queued: FuturesUnordered<_> = (0..40)
        .map(|_| async {
            let (marks, mut timings) = (anabranch::Marks::new(), anabranch::client::Timings::default());
            let limits = WireLimits::default();
            let exchange = client.exchange(&endpoint, &request, &limits, &marks, &mut timings);
            Deadline::after(Duration::from_secs(30)).bound_marked(&marks, exchange).await.err()
        })
        .collect();
    let mut given_up = 0;
    while let Some(expired) = queued.next().await {
        if let Some(expired) = expired {
            assert_eq!((expired.phase, expired.by_phase), (Some(Phase::Pool), true));
            given_up += 1;
        }
    }
    assert!(
        given_up > 0,
        "4 connections of one stream cannot serve 40 exchanges of 100 ms within 250 ms of waiting"
    );
}

#[tokio::test(start_paused = true)]
async fn bodies_are_bounded_as_over_http1() {
    let ((client, _), endpoint) = (peer(200), http2());
    let request = Request::get("/large").unwrap();
    let (whole, _) = send(&client, &endpoint, &request, WireLimits::default()).await;
    assert_eq!(whole.unwrap().body().len(), 100_000);
    let limits = WireLimits {
        max_body: 99_999,
        ..WireLimits::default()
    };
    let (cut, _) = send(&client, &endpoint, &request, limits).await;
    assert_eq!(cut.unwrap_err().kind(), Kind::TooLarge);
    assert!(get(&client, &endpoint).await.is_ok(), "the connection goes on");
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_ended_is_replaced() {
    let mut network = Network::new(&[ms(0)]);
    let (client, endpoint) = (network.client.clone(), http2());
    tokio::spawn(async move {
        for _ in 0..2 {
            let serving = serve(network.accept().await);
            let _cut = Deadline::after(ms(500)).bound(serving).await;
        }
    });
    get(&client, &endpoint).await.unwrap();
    sleep(ms(600)).await;
    assert!(get(&client, &endpoint).await.is_ok());
    // Cut in the middle of a stream: the answer had not begun, so an idempotent exchange is made again, once.
    let request = Request::get("/wait").unwrap();
    sleep(ms(430)).await;
    let (result, _) = Deadline::after(ms(2000))
        .bound(send(&client, &endpoint, &request, WireLimits::default()))
        .await
        .unwrap();
    assert!(matches!(result.unwrap_err().kind(), Kind::Reset | Kind::Connect));
}

#[tokio::test(start_paused = true)]
async fn what_is_not_http2_is_told() {
    let mut network = Network::new(&[ms(0)]);
    let (client, endpoint) = (network.client.clone(), http2());
    tokio::spawn(async move {
        use tokio::io::AsyncWriteExt;
        let mut stream = network.accept().await;
        stream
            .write_all(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n")
            .await
            .unwrap();
        sleep(ms(1000)).await;
    });
    let error = get(&client, &endpoint).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Protocol, "{error}");
}
