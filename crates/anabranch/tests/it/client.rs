//! The client against peers in memory that behave, misbehave and vanish. The clock stands still except where a test moves it.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use anabranch::client::{ClientBuilder, Codec, Dial, DialLimits, Dialled, Endpoint, Prototype, Stream, Timings, WireLimits, WireSettings};
use anabranch::{CallError, Client, Deadline, Kind, Marks, Phase, Request, Response};
use http::{HeaderName, HeaderValue, Method};
use tokio::io::{duplex, AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::sync::mpsc;
use tokio::time::sleep;

pub(crate) fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// A network in memory: what is dialled arrives here.
pub(crate) struct Network {
    pub(crate) client: Client,
    arrivals: mpsc::Receiver<DuplexStream>,
}

struct MemoryDial {
    arrivals: mpsc::Sender<DuplexStream>,
    takes: Vec<Duration>,
    dialled: std::sync::atomic::AtomicUsize,
}

impl Dial for MemoryDial {
    fn dial<'a>(
        &'a self,
        host: &'a str,
        _port: u16,
        limits: DialLimits,
    ) -> Pin<Box<dyn Future<Output = Result<Dialled, CallError>> + Send + 'a>> {
        Box::pin(async move {
            limits.enter(Phase::Connect);
            let nth = self.dialled.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            let takes = self.takes[nth.min(self.takes.len() - 1)];
            if takes > limits.connect {
                sleep(limits.connect).await;
                return Err(CallError::new(Kind::Connect, format!("dial {nth} to {host} failed")).in_phase(Phase::Connect));
            }
            sleep(takes).await;
            let (ours, theirs) = duplex(64 << 10);
            self.arrivals
                .send(theirs)
                .await
                .map_err(|_| CallError::new(Kind::Connect, "refused"))?;
            Ok(Dialled {
                stream: Stream::Boxed(Box::new(ours)),
                dns: None,
                connect: Some(takes),
            })
        })
    }
}

impl Network {
    /// The n-th dial takes the n-th of these, the last for all that follow; longer than the connect timeout is a failure then.
    pub(crate) fn new(takes: &[Duration]) -> Self {
        Network::with_builder(takes, |builder| builder)
    }

    pub(crate) fn with_builder(takes: &[Duration], change: impl FnOnce(ClientBuilder) -> ClientBuilder) -> Self {
        let (sender, arrivals) = mpsc::channel(64);
        let dial = MemoryDial {
            arrivals: sender,
            takes: takes.to_vec(),
            dialled: Default::default(),
        };
        Network {
            client: change(Client::builder().dial(Arc::new(dial))).build(),
            arrivals,
        }
    }

    pub(crate) async fn accept(&mut self) -> DuplexStream {
        self.arrivals.recv().await.expect("the dial lives as long as the client")
    }

    /// Nothing more has been dialled.
    pub(crate) fn is_quiet(&mut self) -> bool {
        self.arrivals.try_recv().is_err()
    }
}

/// Runs a test with each codec, each time on a clock of its own that stands still.
pub(crate) fn check(test: impl AsyncFn(Codec)) {
    check_in(tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true), test);
}

/// Runs a test with each codec, each time in a runtime of its own.
pub(crate) fn check_in(runtime: &mut tokio::runtime::Builder, test: impl AsyncFn(Codec)) {
    for codec in [Codec::Own, Codec::Hyper] {
        println!("with {codec:?}");
        runtime.build().unwrap().block_on(test(codec));
    }
}

pub(crate) fn endpoint(codec: Codec) -> Endpoint {
    endpoint_with(codec, |_| {})
}

pub(crate) fn endpoint_with(codec: Codec, change: impl FnOnce(&mut WireSettings)) -> Endpoint {
    let mut settings = WireSettings {
        codec,
        ..WireSettings::default()
    };
    change(&mut settings);
    Endpoint::new("http://shop.test/base", settings).unwrap()
}

pub(crate) async fn send(
    client: &Client,
    endpoint: &Endpoint,
    request: &Request,
    limits: WireLimits,
) -> (Result<Response, CallError>, Timings) {
    let (marks, mut timings) = (Marks::new(), Timings::default());
    let result = client.exchange(endpoint, request, &limits, &marks, &mut timings).await;
    (result, timings)
}

pub(crate) async fn get(client: &Client, endpoint: &Endpoint) -> Result<Response, CallError> {
    send(client, endpoint, &Request::get("/item").unwrap(), WireLimits::default())
        .await
        .0
}

fn post() -> Request {
    Request::new(Method::POST, "/item".to_string())
        .unwrap()
        .body("{}", HeaderValue::from_static("application/json"))
}

/// Reads a head; `None` if the client closed the connection.
pub(crate) async fn read_head(stream: &mut DuplexStream) -> Option<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_closed) => return None,
        }
    }
    Some(String::from_utf8(head).unwrap())
}

/// Serves one answer per request on a connection, until it closes.
pub(crate) async fn serve(mut stream: DuplexStream, answer: &'static str) {
    while read_head(&mut stream).await.is_some() {
        stream.write_all(answer.as_bytes()).await.unwrap();
    }
}

pub(crate) const HELLO: &str = "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello";

/// What a GET ends with when the peer answers with these bytes and then closes.
async fn against(answer: impl Into<Vec<u8>>) -> Result<Response, CallError> {
    against_with(answer, WireLimits::default()).await
}

/// Both codecs are asked, and must come to the same end.
async fn against_with(answer: impl Into<Vec<u8>>, limits: WireLimits) -> Result<Response, CallError> {
    let answer = answer.into();
    let ours = against_codec(Codec::Own, answer.clone(), limits).await;
    let reference = against_codec(Codec::Hyper, answer.clone(), limits).await;
    match (&ours, &reference) {
        (Ok(ours), Ok(reference)) => {
            assert_eq!((ours.status(), ours.body()), (reference.status(), reference.body()));
            assert!(ours.headers().eq(reference.headers()), "{ours:?} {reference:?}");
        }
        (Err(ours), Err(reference)) => {
            let facts = |error: &CallError| (error.kind(), error.phase(), error.was_sent(), error.is_retryable());
            assert_eq!(facts(ours), facts(reference), "{ours} {reference}");
        }
        _ => panic!("ours: {ours:?}, hyper's: {reference:?}"),
    }
    for codec in [Codec::Own, Codec::Hyper] {
        let streamed = streamed(codec, answer.clone(), limits).await;
        match (&ours, &streamed) {
            (Ok(ours), Ok((status, body))) => assert_eq!((ours.status(), &ours.body()[..]), (*status, &body[..]), "{codec:?}"),
            (Err(ours), Err(streamed)) => {
                let facts = |error: &CallError| (error.kind(), error.phase(), error.was_sent(), error.is_retryable());
                assert_eq!(facts(ours), facts(streamed), "{codec:?}: {ours} {streamed}");
            }
            _ => panic!("whole: {ours:?}, streamed by {codec:?}: {streamed:?}"),
        }
    }
    ours
}

/// The same asked for piece by piece, to its end.
async fn streamed(codec: Codec, answer: Vec<u8>, limits: WireLimits) -> Result<(u16, Vec<u8>), CallError> {
    let mut network = Network::new(&[ms(0)]);
    let (client, endpoint) = (network.client.clone(), endpoint(codec));
    tokio::spawn(async move {
        let mut stream = network.accept().await;
        read_head(&mut stream).await;
        let _closed = stream.write_all(&answer).await;
        let _flushed = stream.shutdown().await;
    });
    let answer = crate::client_streams::open(&client, &endpoint, &limits).await?;
    let mut answer = answer.decoded(limits.max_body)?;
    let body = crate::client_streams::rest(&mut answer).await?;
    Ok((answer.status(), body))
}

async fn against_codec(codec: Codec, answer: Vec<u8>, limits: WireLimits) -> Result<Response, CallError> {
    let mut network = Network::new(&[ms(0)]);
    let (client, endpoint) = (network.client.clone(), endpoint(codec));
    tokio::spawn(async move {
        let mut stream = network.accept().await;
        read_head(&mut stream).await;
        // The client may close in the middle, which is what some of the tests are about.
        let _closed = stream.write_all(&answer).await;
        let _flushed = stream.shutdown().await;
        drop(stream);
        assert!(network.is_quiet(), "an answer that began must not be asked for again");
        serve(network.accept().await, HELLO).await;
    });
    let request = Request::get("/item").unwrap();
    let (result, _) = send(&client, &endpoint, &request, limits).await;
    sleep(ms(1)).await;
    let (next, timings) = send(&client, &endpoint, &request, WireLimits::default()).await;
    assert!(
        next.is_ok() && !timings.reused,
        "a connection that failed or was closed must not be used again"
    );
    assert_eq!(client.counts().repeated, 0);
    result
}

async fn fails(kind: Kind, answer: impl Into<Vec<u8>>) -> CallError {
    let error = against(answer).await.expect_err("expected a failure");
    assert_eq!(error.kind(), kind, "{error}");
    assert!(error.was_sent(), "{error}");
    error
}

// One connection

#[test]
fn a_connection_serves_one_exchange_after_another() {
    check(async |codec| {
        let mut network = Network::new(&[ms(7)]);
        let (client, endpoint) = (network.client.clone(), endpoint(codec));
        let prototype = Prototype::new(Method::GET)
            .header(HeaderName::from_static("accept"), HeaderValue::from_static("application/json"))
            .unwrap();
        let request = Request::with_prototype(Arc::new(prototype), "/item?x=1".to_string()).unwrap();
        tokio::spawn(async move {
            let mut stream = network.accept().await;
            for _ in 0..3 {
                let head = read_head(&mut stream).await.unwrap();
                assert_eq!(
                    head,
                    "GET /base/item?x=1 HTTP/1.1\r\nhost: shop.test\r\naccept: application/json\r\n\r\n"
                );
                stream.write_all(HELLO.as_bytes()).await.unwrap();
            }
            assert!(read_head(&mut stream).await.is_none() && network.is_quiet());
        });
        for round in 0..3 {
            let (response, timings) = send(&client, &endpoint, &request, WireLimits::default()).await;
            let response = response.unwrap();
            assert_eq!(
                (response.status(), &response.body()[..], response.header("Content-Length")),
                (200, &b"hello"[..], Some("5"))
            );
            assert_eq!(
                (timings.reused, timings.connect),
                (round > 0, (round == 0).then_some(ms(7))),
                "round {round}"
            );
            assert!(timings.first_byte.is_some());
        }
        assert_eq!(client.counts().connections, 1);
    });
}

#[test]
fn answers_without_a_body_are_whole() {
    check(async |codec| {
        for (method, answer) in [
            (Method::HEAD, "HTTP/1.1 200 OK\r\ncontent-length: 99999999999\r\n\r\n"),
            (Method::GET, "HTTP/1.1 204 No Content\r\n\r\n"),
            (Method::GET, "HTTP/1.1 304 Not Modified\r\ncontent-length: 10\r\n\r\n"),
            (
                Method::GET,
                "HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 0\r\n\r\n",
            ),
        ] {
            let mut network = Network::new(&[ms(0)]);
            let (client, endpoint) = (network.client.clone(), endpoint(codec));
            tokio::spawn(async move { serve(network.accept().await, answer).await });
            let request = Request::new(method, "/".to_string()).unwrap();
            for _ in 0..2 {
                let (response, _) = send(&client, &endpoint, &request, WireLimits::default()).await;
                assert!(response.unwrap().body().is_empty(), "{answer}");
            }
            assert_eq!(client.counts().connections, 1, "the connection serves on: {answer}");
        }
    });
}

#[tokio::test(start_paused = true)]
async fn a_body_without_a_length_ends_with_its_connection() {
    assert_eq!(against("HTTP/1.1 200 OK\r\n\r\nall of it").await.unwrap().body(), "all of it");
    assert_eq!(against("HTTP/1.0 200 OK\r\n\r\nold").await.unwrap().body(), "old");
}

#[test]
fn a_body_in_many_pieces_is_joined() {
    check(async |codec| {
        let chunked = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n1\r\n \r\n5\r\nworld\r\n0\r\nx-sum: 1\r\n\r\n";
        assert_eq!(against(chunked).await.unwrap().body(), "hello world");
        let mut network = Network::new(&[ms(0)]);
        let (client, endpoint) = (network.client.clone(), endpoint(codec));
        tokio::spawn(async move {
            let mut stream = network.accept().await;
            read_head(&mut stream).await;
            for byte in HELLO.bytes() {
                stream.write_all(&[byte]).await.unwrap();
                sleep(ms(10)).await;
            }
            sleep(ms(1000)).await;
        });
        assert_eq!(get(&client, &endpoint).await.unwrap().body(), "hello");
        assert_eq!(client.counts().connections, 1);
    });
}

#[test]
fn an_early_answer_to_a_large_request_is_taken_and_the_connection_is_not_kept() {
    check(async |codec| {
        let mut network = Network::new(&[ms(0)]);
        let (client, endpoint) = (network.client.clone(), endpoint(codec));
        tokio::spawn(async move {
            let mut stream = network.accept().await;
            read_head(&mut stream).await;
            stream
                .write_all(b"HTTP/1.1 413 Too Large\r\ncontent-length: 2\r\n\r\nno")
                .await
                .unwrap();
            // It has said what it had to say and reads no more, without closing.
            sleep(ms(60_000)).await;
        });
        let body = vec![0; 4 << 20];
        let request = Request::new(Method::POST, "/".to_string())
            .unwrap()
            .body(body, HeaderValue::from_static("application/octet-stream"));
        let exchange = send(&client, &endpoint, &request, WireLimits::default());
        let (response, _) = Deadline::after(ms(1000))
            .bound(exchange)
            .await
            .expect("the answer is there before the request is out");
        assert_eq!(response.unwrap().status(), 413);
        assert_eq!(client.counts().connections, 0);
    });
}

// How answers fail

#[tokio::test(start_paused = true)]
async fn an_answer_that_ends_early_is_truncated() {
    for answer in [
        "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhel",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n",
    ] {
        let error = fails(Kind::Truncated, answer).await;
        assert_eq!(error.phase(), Some(Phase::Body), "{answer}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_connection_closed_before_or_in_the_head_is_a_reset() {
    for answer in ["", "HTTP/1.1 200", "HTTP/1.1 200 OK\r\ncontent-type: te"] {
        let error = fails(Kind::Reset, answer).await;
        assert_eq!(error.phase(), Some(Phase::FirstByte), "{answer}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_not_http_is_a_protocol_fault() {
    let many_headers: String = (0..200).map(|n| format!("x-{n}: 1\r\n")).collect();
    for answer in [
        "SSH-2.0-OpenSSH_9.2\r\n".to_string(),
        "HTTP/1.1 abc OK\r\n\r\n".to_string(),
        "HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n".to_string(),
        "HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-length: 5\r\n\r\nhello".to_string(),
        "HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nhello".to_string(),
        "HTTP/1.1 200 OK\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n".to_string(),
        "HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n".to_string(),
        "HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n".to_string(),
        "HTTP/1.1 200 OK\r\nx: a\r\n folded\r\ncontent-length: 0\r\n\r\n".to_string(),
        "HTTP/1.1 200 OK\r\nname : value\r\ncontent-length: 0\r\n\r\n".to_string(),
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nnot a size\r\n".to_string(),
        format!("HTTP/1.1 200 OK\r\n{many_headers}content-length: 0\r\n\r\n"),
        format!("HTTP/1.1 200 OK\r\nx: {}\r\n\r\n", "a".repeat(1 << 20)),
        format!("HTTP/1.1 200 OK\r\nx: {}", "a".repeat(70 << 10)),
    ] {
        fails(Kind::Protocol, answer).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_few_interim_answers_are_skipped_and_a_flood_is_not() {
    let interim = "HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n";
    assert_eq!(against(format!("{}{HELLO}", interim.repeat(16))).await.unwrap().body(), "hello");
    fails(Kind::Protocol, format!("{}{HELLO}", interim.repeat(17))).await;
    fails(Kind::Protocol, "HTTP/1.1 100 Continue\r\n\r\n".repeat(1000)).await;
}

#[tokio::test(start_paused = true)]
async fn a_body_above_the_cap_is_refused_by_its_length_and_while_it_comes() {
    let limits = WireLimits {
        max_body: 1000,
        ..WireLimits::default()
    };
    let announced = against_with("HTTP/1.1 200 OK\r\ncontent-length: 1001\r\n\r\n", limits)
        .await
        .unwrap_err();
    assert_eq!(announced.kind(), Kind::TooLarge, "no byte of the body came: {announced}");
    let endless = format!(
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{}",
        "64\r\n".to_string() + &"a".repeat(100) + "\r\n"
    );
    let chunk = format!("64\r\n{}\r\n", "a".repeat(100)).repeat(1000);
    assert_eq!(against_with(endless + &chunk, limits).await.unwrap_err().kind(), Kind::TooLarge);
    let exact = format!("HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n{}", "a".repeat(1000));
    assert_eq!(against_with(exact, limits).await.unwrap().body().len(), 1000);
}

#[tokio::test(start_paused = true)]
async fn a_compressed_body_is_decoded_and_a_bomb_is_not() {
    let gzip = async |plain: Vec<u8>| {
        let mut coded = Vec::new();
        async_compression::tokio::bufread::GzipEncoder::new(&plain[..])
            .read_to_end(&mut coded)
            .await
            .unwrap();
        let mut answer = format!(
            "HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: {}\r\n\r\n",
            coded.len()
        )
        .into_bytes();
        answer.extend(coded);
        answer
    };
    let response = against(gzip(b"{\"a\":1}".to_vec()).await).await.unwrap();
    assert_eq!(response.body(), "{\"a\":1}");
    assert_eq!(
        (response.header("content-encoding"), response.header("content-length")),
        (None, None)
    );
    fails(Kind::TooLarge, gzip(vec![0; 50 << 20]).await).await;
    fails(
        Kind::Decode,
        "HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 4\r\n\r\nnope",
    )
    .await;
    fails(
        Kind::Decode,
        "HTTP/1.1 200 OK\r\ncontent-encoding: gzip, br\r\ncontent-length: 4\r\n\r\nnope",
    )
    .await;
}

// The pool

#[test]
fn a_connection_that_died_while_idle_is_not_used() {
    check(async |codec| {
        let mut network = Network::new(&[ms(0)]);
        let (client, endpoint) = (network.client.clone(), endpoint(codec));
        tokio::spawn(async move {
            let mut stream = network.accept().await;
            read_head(&mut stream).await;
            stream.write_all(HELLO.as_bytes()).await.unwrap();
            drop(stream);
            serve(network.accept().await, HELLO).await;
        });
        get(&client, &endpoint).await.unwrap();
        sleep(ms(1)).await;
        assert!(get(&client, &endpoint).await.is_ok());
        assert_eq!(client.counts().repeated, 0, "the end was seen before anything was sent");
    });
}

/// The peer answers once, takes the second request and closes without a word.
async fn race(codec: Codec, second: Request) -> (Result<Response, CallError>, u64) {
    let mut network = Network::new(&[ms(0)]);
    let (client, endpoint) = (network.client.clone(), endpoint(codec));
    tokio::spawn(async move {
        let mut stream = network.accept().await;
        read_head(&mut stream).await;
        stream.write_all(HELLO.as_bytes()).await.unwrap();
        read_head(&mut stream).await;
        drop(stream);
        serve(network.accept().await, HELLO).await;
    });
    get(&client, &endpoint).await.unwrap();
    let (result, _) = send(&client, &endpoint, &second, WireLimits::default()).await;
    (result, client.counts().repeated)
}

#[test]
fn losing_the_keep_alive_race_is_not_noticed_by_an_idempotent_call() {
    check(async |codec| {
        let (result, repeated) = race(codec, Request::get("/item").unwrap()).await;
        assert_eq!((result.unwrap().status(), repeated), (200, 1));
    });
}

#[test]
fn a_post_that_lost_the_race_is_not_sent_twice() {
    check(async |codec| {
        let (result, repeated) = race(codec, post()).await;
        let error = result.unwrap_err();
        assert_eq!((error.kind(), error.was_sent(), repeated), (Kind::Reset, true, 0));
    });
}

#[test]
fn a_peer_that_closes_every_connection_is_asked_twice_at_most() {
    check(async |codec| {
        let mut network = Network::new(&[ms(0)]);
        let (client, endpoint) = (network.client.clone(), endpoint(codec));
        let peer = tokio::spawn(async move {
            let mut stream = network.accept().await;
            read_head(&mut stream).await;
            stream.write_all(HELLO.as_bytes()).await.unwrap();
            read_head(&mut stream).await;
            drop(stream);
            read_head(&mut network.accept().await).await;
            network.is_quiet()
        });
        get(&client, &endpoint).await.unwrap();
        assert_eq!(get(&client, &endpoint).await.unwrap_err().kind(), Kind::Reset);
        assert!(peer.await.unwrap());
    });
}

#[test]
fn a_cancelled_exchange_closes_its_connection() {
    check(async |codec| {
        for answer in ["", "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf"] {
            let mut network = Network::new(&[ms(0)]);
            let (client, endpoint) = (network.client.clone(), endpoint(codec));
            let peer = tokio::spawn(async move {
                let mut stream = network.accept().await;
                read_head(&mut stream).await;
                stream.write_all(answer.as_bytes()).await.unwrap();
                read_head(&mut stream).await.is_none()
            });
            assert!(Deadline::after(ms(50)).bound(get(&client, &endpoint)).await.is_err());
            assert!(peer.await.unwrap(), "the peer sees the end of the connection");
            assert_eq!(client.counts().connections, 0);
        }
    });
}

#[test]
fn an_exchange_dropped_at_any_moment_leaves_nothing_behind() {
    check(async |codec| {
        let slowly = |mut stream: DuplexStream| async move {
            while read_head(&mut stream).await.is_some() {
                for byte in HELLO.bytes() {
                    if stream.write_all(&[byte]).await.is_err() {
                        return;
                    }
                    sleep(ms(1)).await;
                }
            }
        };
        // The dial takes 5 ms and each byte but the last one more.
        let whole = 5 + HELLO.len() as u64 - 1;
        for after in (0..whole).chain([whole + 1, whole + 5]) {
            let mut network = Network::new(&[ms(5)]);
            let (client, endpoint) = (network.client.clone(), endpoint(codec));
            tokio::spawn(async move {
                loop {
                    tokio::spawn(slowly(network.accept().await));
                }
            });
            let cut = Deadline::after(ms(after)).bound(get(&client, &endpoint)).await;
            assert_eq!(cut.is_ok(), after > whole, "after {after} ms");
            sleep(ms(10)).await;
            assert_eq!(client.counts().dials, 0, "after {after} ms");
            assert!(get(&client, &endpoint).await.is_ok(), "after {after} ms");
            assert_eq!((client.counts().connections, client.counts().repeated), (1, 0), "after {after} ms");
        }
    });
}

#[test]
fn a_dial_joins_the_pool_after_its_caller_left() {
    check(async |codec| {
        let mut network = Network::new(&[ms(200)]);
        let (client, endpoint) = (network.client.clone(), endpoint(codec));
        assert!(Deadline::after(ms(50)).bound(get(&client, &endpoint)).await.is_err());
        assert_eq!((client.counts().dials, client.counts().connections), (1, 0));
        let stream = network.accept().await;
        sleep(ms(1)).await;
        assert_eq!((client.counts().dials, client.counts().connections), (0, 1));
        tokio::spawn(serve(stream, HELLO));
        assert!(get(&client, &endpoint).await.is_ok());
        assert!(network.is_quiet(), "no second connection was needed");
    });
}

#[test]
fn a_connection_that_comes_back_serves_the_first_who_waits() {
    check(async |codec| {
        let mut network = Network::new(&[ms(10), ms(900)]);
        let (client, endpoint) = (network.client.clone(), endpoint(codec));
        tokio::spawn(async move {
            let mut stream = network.accept().await;
            for _ in 0..2 {
                read_head(&mut stream).await;
                sleep(ms(100)).await;
                stream.write_all(HELLO.as_bytes()).await.unwrap();
            }
            sleep(ms(2000)).await;
        });
        let first = async { get(&client, &endpoint).await.unwrap() };
        let second = async {
            sleep(ms(20)).await;
            send(&client, &endpoint, &Request::get("/").unwrap(), WireLimits::default()).await
        };
        let (_, (result, timings)) = tokio::join!(first, second);
        assert!(result.is_ok() && timings.reused);
        let waited = timings.pool.unwrap();
        assert!(waited >= ms(80) && waited < ms(120), "{waited:?}");
    });
}

#[test]
fn a_failed_dial_tells_one_caller_and_the_others_go_on() {
    check(async |codec| {
        let mut network = Network::new(&[Duration::MAX, ms(500)]);
        let (client, endpoint) = (
            network.client.clone(),
            endpoint_with(codec, |settings| settings.connect_timeout = ms(600)),
        );
        tokio::spawn(async move { serve(network.accept().await, HELLO).await });
        let (one, other) = tokio::join!(get(&client, &endpoint), async {
            sleep(ms(300)).await;
            get(&client, &endpoint).await
        });
        let failed: Vec<Kind> = [one, other].into_iter().filter_map(Result::err).map(|error| error.kind()).collect();
        assert_eq!(failed, [Kind::Connect]);
    });
}

/// A call that had waited 100 ms was told that there was no connection within a second: of a dial that another, long gone, had begun.
#[test]
fn a_dial_of_somebody_who_left_fails_nobody_who_came_later() {
    check(async |codec| {
        let mut network = Network::new(&[Duration::MAX, ms(500)]);
        let (client, endpoint) = (
            network.client.clone(),
            endpoint_with(codec, |settings| settings.connect_timeout = ms(600)),
        );
        tokio::spawn(async move { serve(network.accept().await, HELLO).await });
        let gone = Deadline::after(ms(100)).bound(get(&client, &endpoint)).await;
        assert!(gone.is_err());
        sleep(ms(400)).await;
        get(&client, &endpoint).await.expect("a connection of its own");
    });
}

#[test]
fn idle_connections_are_left_before_the_server_closes_them() {
    check(async |codec| {
        let cases: [(&'static str, u64, u64); 3] = [
            (HELLO, 3900, 4100),
            (
                "HTTP/1.1 200 OK\r\nkeep-alive: timeout=3, max=100\r\ncontent-length: 0\r\n\r\n",
                1900,
                2100,
            ),
            (
                "HTTP/1.1 200 OK\r\nkeep-alive: timeout=60\r\ncontent-length: 0\r\n\r\n",
                58_000,
                59_100,
            ),
        ];
        for (answer, still, gone) in cases {
            let mut network = Network::new(&[ms(0)]);
            let (client, endpoint) = (network.client.clone(), endpoint(codec));
            let served = tokio::spawn(async move {
                serve(network.accept().await, answer).await;
                serve(network.accept().await, answer).await;
            });
            get(&client, &endpoint).await.unwrap();
            for (pause, reused) in [(still, true), (gone, false)] {
                sleep(ms(pause)).await;
                let (_, timings) = send(&client, &endpoint, &Request::get("/").unwrap(), WireLimits::default()).await;
                assert_eq!(timings.reused, reused, "after {pause} ms: {answer}");
            }
            served.abort();
        }
    });
}

#[test]
fn connections_may_live_and_idle_without_end() {
    check(async |codec| {
        let mut network = Network::new(&[ms(0)]);
        let client = network.client.clone();
        let endpoint = endpoint_with(codec, |settings| {
            (settings.max_lifetime, settings.idle_timeout) = (Duration::MAX, Duration::MAX)
        });
        tokio::spawn(async move { serve(network.accept().await, HELLO).await });
        for round in 0..3 {
            let (result, timings) = send(&client, &endpoint, &Request::get("/").unwrap(), WireLimits::default()).await;
            assert!(result.is_ok() && timings.reused == (round > 0));
            sleep(Duration::from_secs(24 * 3600)).await;
        }
    });
}

#[test]
fn an_old_connection_gets_no_more_exchanges() {
    check(async |codec| {
        let mut network = Network::new(&[ms(0)]);
        let (client, endpoint) = (
            network.client.clone(),
            endpoint_with(codec, |settings| settings.max_lifetime = ms(5000)),
        );
        tokio::spawn(async move {
            serve(network.accept().await, HELLO).await;
            serve(network.accept().await, HELLO).await;
        });
        let mut reused = Vec::new();
        for _ in 0..4 {
            reused.push(
                send(&client, &endpoint, &Request::get("/").unwrap(), WireLimits::default())
                    .await
                    .1
                    .reused,
            );
            sleep(ms(2000)).await;
        }
        assert_eq!(reused, [false, true, true, false]);
    });
}

#[test]
fn only_so_many_connections_idle() {
    check(async |codec| {
        let mut network = Network::new(&[ms(0)]);
        let (client, endpoint) = (network.client.clone(), endpoint_with(codec, |settings| settings.pool_idle = 2));
        tokio::spawn(async move {
            loop {
                let mut stream = network.accept().await;
                tokio::spawn(async move {
                    read_head(&mut stream).await;
                    sleep(ms(100)).await;
                    stream.write_all(HELLO.as_bytes()).await.unwrap();
                    sleep(ms(60_000)).await;
                });
            }
        });
        let (a, b, c, d) = tokio::join!(
            get(&client, &endpoint),
            get(&client, &endpoint),
            get(&client, &endpoint),
            get(&client, &endpoint)
        );
        assert!(a.is_ok() && b.is_ok() && c.is_ok() && d.is_ok());
        assert_eq!(client.counts().connections, 2);
        sleep(ms(5000)).await;
        client.sweep();
        assert_eq!(client.counts().connections, 0);
        drop(endpoint);
        client.sweep();
        assert_eq!(client.counts().endpoints, 0, "an endpoint that nobody has is forgotten");
    });
}

#[test]
fn an_answer_that_says_close_is_believed() {
    check(async |codec| {
        let mut network = Network::new(&[ms(0)]);
        let (client, endpoint) = (network.client.clone(), endpoint(codec));
        tokio::spawn(async move {
            let mut stream = network.accept().await;
            read_head(&mut stream).await;
            stream
                .write_all(b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 5\r\n\r\nhello")
                .await
                .unwrap();
            sleep(ms(1000)).await;
        });
        assert!(get(&client, &endpoint).await.is_ok());
        assert_eq!(client.counts().connections, 0);
    });
}

#[test]
fn a_client_that_drains_closes_what_is_idle_and_takes_nothing_new() {
    check(async |codec| {
        let mut network = Network::new(&[ms(0), Duration::from_secs(30)]);
        let (client, endpoint) = (
            network.client.clone(),
            endpoint_with(codec, |settings| settings.connect_timeout = Duration::from_secs(60)),
        );
        let peer = tokio::spawn(async move {
            let mut stream = network.accept().await;
            read_head(&mut stream).await;
            stream.write_all(HELLO.as_bytes()).await.unwrap();
            let closed = read_head(&mut stream).await.is_none();
            (closed, network)
        });
        get(&client, &endpoint).await.unwrap();
        let late = endpoint_with(codec, |settings| settings.connect_timeout = Duration::from_secs(60));
        let waiting = get(&client, &late);
        let draining = async {
            sleep(ms(10)).await;
            client.drain(Deadline::after(ms(100))).await
        };
        let (turned_away, ended) = tokio::join!(waiting, draining);
        assert_eq!(turned_away.unwrap_err().kind(), Kind::Cancelled);
        assert_eq!(ended, ["dial"]);
        assert_eq!(get(&client, &endpoint).await.unwrap_err().kind(), Kind::Cancelled);
        assert!(peer.await.unwrap().0);
    });
}

// Phases

#[test]
fn who_arms_the_timer_learns_what_it_interrupted() {
    check(async |codec| {
        async fn phase_after(
            codec: Codec,
            takes: Duration,
            answer: &'static str,
            limits: WireLimits,
            deadline: Duration,
        ) -> (Option<Phase>, bool) {
            let mut network = Network::new(&[takes]);
            let (client, endpoint, request) = (network.client.clone(), endpoint(codec), Request::get("/").unwrap());
            tokio::spawn(async move {
                let mut stream = network.accept().await;
                read_head(&mut stream).await;
                stream.write_all(answer.as_bytes()).await.unwrap();
                sleep(Duration::from_secs(60)).await;
            });
            let (marks, mut timings) = (Marks::new(), Timings::default());
            let exchange = client.exchange(&endpoint, &request, &limits, &marks, &mut timings);
            let expired = Deadline::after(deadline).bound_marked(&marks, exchange).await.unwrap_err();
            (expired.phase, expired.by_phase)
        }
        let limits = WireLimits {
            first_byte: Some(ms(300)),
            body_idle: Some(ms(200)),
            ..WireLimits::default()
        };
        let half = "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf";
        assert_eq!(
            phase_after(codec, ms(500), "", limits, ms(100)).await,
            (Some(Phase::Connect), false)
        );
        assert_eq!(
            phase_after(codec, ms(0), "", limits, ms(100)).await,
            (Some(Phase::FirstByte), false)
        );
        assert_eq!(
            phase_after(codec, ms(0), "", limits, ms(5000)).await,
            (Some(Phase::FirstByte), true)
        );
        assert_eq!(phase_after(codec, ms(0), half, limits, ms(5000)).await, (Some(Phase::Body), true));
        assert_eq!(phase_after(codec, ms(0), half, limits, ms(100)).await, (Some(Phase::Body), false));
    });
}

#[test]
fn each_piece_of_a_body_restarts_the_limit_between_pieces() {
    check(async |codec| {
        let mut network = Network::new(&[ms(0)]);
        let (client, endpoint, request) = (network.client.clone(), endpoint(codec), Request::get("/").unwrap());
        tokio::spawn(async move {
            let mut stream = network.accept().await;
            read_head(&mut stream).await;
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n").await.unwrap();
            for byte in b"hello" {
                sleep(ms(150)).await;
                stream.write_all(&[*byte]).await.unwrap();
            }
            sleep(ms(1000)).await;
        });
        let limits = WireLimits {
            body_idle: Some(ms(200)),
            ..WireLimits::default()
        };
        let (marks, mut timings) = (Marks::new(), Timings::default());
        let exchange = client.exchange(&endpoint, &request, &limits, &marks, &mut timings);
        let response = Deadline::after(ms(5000)).bound_marked(&marks, exchange).await.unwrap().unwrap();
        assert_eq!(response.body(), "hello");
        assert_eq!(timings.body, Some(ms(750)));
    });
}
