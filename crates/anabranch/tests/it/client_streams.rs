//! Answers that are handed out while they come: the same as whole ones, except that nobody holds them.

use std::time::Duration;

use anabranch::client::{Codec, Endpoint, StreamedResponse, Timings, WireLimits};
use anabranch::{CallError, Client, Deadline, Kind, Marks, Phase, Request};
use async_compression::tokio::bufread::{BrotliEncoder, DeflateEncoder, GzipEncoder, ZlibEncoder, ZstdEncoder};
use http::Method;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::time::sleep;

use crate::client::{HELLO, Network, check, endpoint, get, ms, read_head, serve};

pub(crate) async fn open(client: &Client, endpoint: &Endpoint, limits: &WireLimits) -> Result<StreamedResponse, CallError> {
    open_request(client, endpoint, &Request::get("/item").unwrap(), limits).await
}

async fn open_request(client: &Client, endpoint: &Endpoint, request: &Request, limits: &WireLimits) -> Result<StreamedResponse, CallError> {
    client.open(endpoint, request, limits, &Marks::new(), &mut Timings::default()).await
}

/// All that is left of a body.
pub(crate) async fn rest(answer: &mut StreamedResponse) -> Result<Vec<u8>, CallError> {
    let mut body = Vec::new();
    while let Some(piece) = answer.piece().await? {
        assert!(!piece.is_empty() && piece.len() <= 64 << 10, "{}", piece.len());
        body.extend_from_slice(&piece);
    }
    assert!(answer.piece().await?.is_none(), "the end stays the end");
    Ok(body)
}

/// Serves these bytes in place of an answer, then whatever is asked over further connections.
fn peer(mut network: Network, answer: impl Into<Vec<u8>>, closes: bool) {
    let answer = answer.into();
    tokio::spawn(async move {
        let mut stream = network.accept().await;
        read_head(&mut stream).await;
        let _cut = stream.write_all(&answer).await;
        if closes {
            drop(stream);
        } else {
            serve_rest(stream, HELLO);
        }
        loop {
            tokio::spawn(serve(network.accept().await, HELLO));
        }
    });
}

fn serve_rest(stream: DuplexStream, answer: &'static str) {
    tokio::spawn(serve(stream, answer));
}

/// Opens against these bytes.
async fn opened(
    codec: Codec,
    answer: impl Into<Vec<u8>>,
    closes: bool,
    limits: WireLimits,
) -> (Client, Endpoint, Result<StreamedResponse, CallError>) {
    let network = Network::new(&[ms(0)]);
    let (client, endpoint) = (network.client.clone(), endpoint(codec));
    peer(network, answer, closes);
    let answer = open(&client, &endpoint, &limits).await;
    (client, endpoint, answer)
}

/// What is wrong with a body. What came with the head may already be known when that is handed out.
async fn fails(codec: Codec, answer: impl Into<Vec<u8>>, closes: bool, limits: WireLimits) -> CallError {
    let (client, endpoint, answer) = opened(codec, answer, closes, limits).await;
    let error = match answer {
        Err(error) => error,
        Ok(mut answer) => {
            let error = rest(&mut answer).await.unwrap_err();
            assert!(answer.piece().await.unwrap().is_none(), "nothing follows an error");
            error
        }
    };
    assert!(error.was_sent(), "{error}");
    assert_eq!(client.counts().connections, 0, "a connection that failed is not kept");
    assert!(get(&client, &endpoint).await.is_ok());
    assert_eq!(client.counts().repeated, 0);
    error
}

#[test]
fn a_body_is_handed_out_and_its_connection_serves_on() {
    check(async |codec| {
        for (answer, length) in [
            ("HTTP/1.1 200 OK\r\nx-a: 1\r\ncontent-length: 11\r\n\r\nhello world", Some(11)),
            (
                "HTTP/1.1 200 OK\r\nx-a: 1\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n6\r\n world\r\n0\r\nx-sum: 1\r\n\r\n",
                None,
            ),
        ] {
            let (client, endpoint, answer) = opened(codec, answer, false, WireLimits::default()).await;
            let mut answer = answer.unwrap();
            assert_eq!((answer.status(), answer.header("X-A"), answer.length()), (200, Some("1"), length));
            assert_eq!(client.counts().connections, 0, "it is in use");
            assert_eq!(answer.timings().body, None);
            assert_eq!(rest(&mut answer).await.unwrap(), b"hello world");
            assert!(answer.timings().first_byte.is_some() && answer.timings().body.is_some());
            let facts = answer.facts();
            assert_eq!(
                (facts.version, facts.wire_bytes, facts.reused, facts.coding, facts.remote),
                ("1.1", 11, false, None, None)
            );
            assert_eq!(client.counts().connections, 1, "it is back before the answer is dropped");
            let next = get(&client, &endpoint).await.unwrap();
            assert_eq!((&next.body()[..], next.facts().reused), (&b"hello"[..], true));
        }
    });
}

#[test]
fn a_body_may_end_with_its_connection_or_not_be_there() {
    check(async |codec| {
        let (client, _, answer) = opened(codec, "HTTP/1.0 200 OK\r\n\r\nall of it", true, WireLimits::default()).await;
        let mut answer = answer.unwrap();
        assert_eq!((answer.length(), answer.facts().version), (None, "1.0"));
        assert_eq!(rest(&mut answer).await.unwrap(), b"all of it");
        assert_eq!(client.counts().connections, 0);
        for (method, head) in [
            (
                Method::HEAD,
                "HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 99999999999\r\n\r\n",
            ),
            (Method::GET, "HTTP/1.1 304 Not Modified\r\ncontent-length: 10\r\n\r\n"),
            (Method::GET, "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"),
        ] {
            let network = Network::new(&[ms(0)]);
            let (client, endpoint) = (network.client.clone(), endpoint(codec));
            peer(network, head, false);
            let request = Request::new(method, "/".to_string()).unwrap();
            let answer = open_request(&client, &endpoint, &request, &WireLimits::default()).await.unwrap();
            assert_eq!(
                (answer.length(), client.counts().connections),
                (Some(0), 1),
                "nobody needs to ask: {head}"
            );
            let mut answer = answer.decoded(10).unwrap();
            assert!(answer.header("content-length").is_some() && answer.timings().body.is_none());
            assert!(answer.piece().await.unwrap().is_none());
        }
    });
}

#[test]
fn a_body_of_any_size_goes_through_as_the_reader_reads() {
    const SIZE: usize = 20 << 20;
    check(async |codec| {
        for is_chunked in [false, true] {
            let mut network = Network::new(&[ms(0)]);
            let (client, endpoint) = (network.client.clone(), endpoint(codec));
            let (sent, mut was_sent) = tokio::sync::watch::channel(0);
            tokio::spawn(async move {
                let mut stream = network.accept().await;
                read_head(&mut stream).await;
                let framing = if is_chunked {
                    "transfer-encoding: chunked".to_string()
                } else {
                    format!("content-length: {SIZE}")
                };
                stream
                    .write_all(format!("HTTP/1.1 200 OK\r\n{framing}\r\n\r\n").as_bytes())
                    .await
                    .unwrap();
                for nth in 0..SIZE >> 20 {
                    let data = vec![nth as u8; 1 << 20];
                    if is_chunked {
                        stream.write_all(b"100000\r\n").await.unwrap();
                    }
                    stream.write_all(&data).await.unwrap();
                    if is_chunked {
                        stream.write_all(b"\r\n").await.unwrap();
                    }
                    sent.send_replace(nth + 1);
                }
                if is_chunked {
                    stream.write_all(b"0\r\n\r\n").await.unwrap();
                }
                let _closed = read_head(&mut stream).await;
            });
            let limits = WireLimits {
                max_body: u64::MAX,
                ..WireLimits::default()
            };
            let mut answer = open(&client, &endpoint, &limits).await.unwrap();
            sleep(ms(1000)).await;
            assert!(*was_sent.borrow_and_update() <= 1, "who does not read is not sent more");
            let (mut length, mut sum) = (0, 0u64);
            while let Some(piece) = answer.piece().await.unwrap() {
                length += piece.len();
                sum += piece.iter().map(|byte| u64::from(*byte)).sum::<u64>();
            }
            assert_eq!((length, sum), (SIZE, (0..SIZE as u64 >> 20).sum::<u64>() << 20));
            assert_eq!(answer.facts().wire_bytes, SIZE as u64);
            assert_eq!(client.counts().connections, 1);
        }
    });
}

#[test]
fn what_is_dropped_in_the_middle_closes_its_connection_and_nothing_else() {
    check(async |codec| {
        let mut network = Network::new(&[ms(0)]);
        let (client, endpoint) = (network.client.clone(), endpoint(codec));
        let peer = tokio::spawn(async move {
            let mut stream = network.accept().await;
            read_head(&mut stream).await;
            stream
                .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf")
                .await
                .unwrap();
            let is_closed = read_head(&mut stream).await.is_none();
            tokio::spawn(serve(network.accept().await, HELLO));
            is_closed
        });
        let mut answer = open(&client, &endpoint, &WireLimits::default()).await.unwrap();
        assert_eq!(answer.piece().await.unwrap().unwrap(), "half");
        drop(answer);
        assert_eq!(client.counts().connections, 0);
        let next = get(&client, &endpoint).await.unwrap();
        assert_eq!((&next.body()[..], next.facts().reused), (&b"hello"[..], false));
        assert!(peer.await.unwrap(), "the peer sees the end of the connection");
    });
}

#[test]
fn a_wait_for_a_piece_that_is_given_up_loses_nothing() {
    check(async |codec| {
        for framing in ["content-length: 20", "transfer-encoding: chunked"] {
            let mut network = Network::new(&[ms(0)]);
            let (client, endpoint) = (network.client.clone(), endpoint(codec));
            tokio::spawn(async move {
                let mut stream = network.accept().await;
                read_head(&mut stream).await;
                stream
                    .write_all(format!("HTTP/1.1 200 OK\r\n{framing}\r\n\r\n").as_bytes())
                    .await
                    .unwrap();
                let chunks = if framing.ends_with("chunked") {
                    ("2\r\n", "\r\n")
                } else {
                    ("", "")
                };
                for nth in 0..10 {
                    sleep(ms(10)).await;
                    let text = format!("{}{nth},{}", chunks.0, chunks.1);
                    stream.write_all(text.as_bytes()).await.unwrap();
                }
                if framing.ends_with("chunked") {
                    stream.write_all(b"0\r\n\r\n").await.unwrap();
                }
                let _closed = read_head(&mut stream).await;
            });
            let mut answer = open(&client, &endpoint, &WireLimits::default()).await.unwrap();
            let mut body = Vec::new();
            loop {
                match Deadline::after(ms(3)).bound(answer.piece()).await {
                    Ok(Ok(Some(piece))) => body.extend_from_slice(&piece),
                    Ok(Ok(None)) => break,
                    Ok(Err(error)) => panic!("{error}"),
                    Err(_elapsed) => {}
                }
            }
            assert_eq!(body, b"0,1,2,3,4,5,6,7,8,9,", "{framing}");
            assert_eq!(client.counts().connections, 1);
        }
    });
}

// How bodies fail

#[test]
fn a_cut_body_a_broken_one_and_one_that_is_too_large_are_told() {
    check(async |codec| {
        let limits = WireLimits::default();
        let truncated = "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf";
        let error = fails(codec, truncated, true, limits).await;
        assert_eq!((error.kind(), error.phase()), (Kind::Truncated, Some(Phase::Body)));
        let truncated = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n";
        assert_eq!(fails(codec, truncated, true, limits).await.kind(), Kind::Truncated);
        let garbage = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\nzz\r\n";
        let error = fails(codec, garbage, false, limits).await;
        assert_eq!((error.kind(), error.phase()), (Kind::Protocol, Some(Phase::Body)));
        let small = WireLimits { max_body: 8, ..limits };
        let chunks = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n5\r\nworld\r\n0\r\n\r\n";
        let error = fails(codec, chunks, false, small).await;
        assert!(
            error.kind() == Kind::TooLarge && error.detail().contains("more than 8 bytes"),
            "{error}"
        );
        let endless = "HTTP/1.1 200 OK\r\n\r\nhello world";
        assert_eq!(fails(codec, endless, true, small).await.kind(), Kind::TooLarge);
        let announced = "HTTP/1.1 200 OK\r\ncontent-length: 11\r\n\r\nhello world";
        let (client, _, answer) = opened(codec, announced, false, small).await;
        assert_eq!(answer.unwrap_err().kind(), Kind::TooLarge, "before a byte of it is read");
        assert_eq!(client.counts().connections, 0);
    });
}

#[test]
fn a_head_fails_as_that_of_a_whole_answer() {
    check(async |codec| {
        let limits = WireLimits::default();
        for (answer, kind) in [
            ("", Kind::Reset),
            ("HTTP/1.1 200 OK\r\nconte", Kind::Reset),
            ("SSH-2.0-OpenSSH_9.2\r\n", Kind::Protocol),
            ("HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 1\r\n\r\na", Kind::Protocol),
        ] {
            let (client, _, answered) = opened(codec, answer, true, limits).await;
            let error = answered.unwrap_err();
            assert_eq!((error.kind(), error.was_sent()), (kind, true), "{answer:?}: {error}");
            assert_eq!(client.counts().connections, 0);
        }
    });
}

#[test]
fn a_peer_that_falls_silent_is_given_up_after_the_idle_limit() {
    check(async |codec| {
        let mut network = Network::new(&[ms(0)]);
        let (client, endpoint) = (network.client.clone(), endpoint(codec));
        let peer = tokio::spawn(async move {
            let mut stream = network.accept().await;
            read_head(&mut stream).await;
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n").await.unwrap();
            for _ in 0..10 {
                sleep(ms(90)).await;
                stream.write_all(b"x").await.unwrap();
            }
            read_head(&mut stream).await.is_none()
        });
        let limits = WireLimits {
            body_idle: Some(ms(100)),
            ..WireLimits::default()
        };
        let mut answer = open(&client, &endpoint, &limits).await.unwrap();
        let mut count = 0;
        let error = loop {
            match answer.piece().await {
                Ok(Some(piece)) => count += piece.len(),
                Ok(None) => panic!("the body is not whole"),
                Err(error) => break error,
            }
        };
        assert_eq!((count, error.kind(), error.phase()), (10, Kind::Timeout, Some(Phase::Body)));
        assert_eq!(answer.facts().wire_bytes, 10);
        assert!(peer.await.unwrap(), "its connection is closed although the answer is still held");
        assert_eq!(client.counts().connections, 0);
    });
}

#[test]
fn without_an_idle_limit_silence_is_waited_out() {
    check(async |codec| {
        let mut network = Network::new(&[ms(0)]);
        let (client, endpoint) = (network.client.clone(), endpoint(codec));
        tokio::spawn(async move {
            let mut stream = network.accept().await;
            read_head(&mut stream).await;
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\n").await.unwrap();
            sleep(Duration::from_secs(3600)).await;
            stream.write_all(b"x").await.unwrap();
            let _closed = read_head(&mut stream).await;
        });
        let limits = WireLimits {
            body_idle: None,
            ..WireLimits::default()
        };
        let mut answer = open(&client, &endpoint, &limits).await.unwrap();
        assert_eq!(rest(&mut answer).await.unwrap(), b"x");
    });
}

// Decoded

async fn gzip(body: &[u8]) -> Vec<u8> {
    all(GzipEncoder::new(body)).await
}

fn with_head(coding: &str, body: &[u8]) -> Vec<u8> {
    let head = format!(
        "HTTP/1.1 200 OK\r\ncontent-encoding: {coding}\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

#[test]
fn a_coded_body_is_handed_out_as_sent_or_decoded() {
    check(async |codec| {
        let text: Vec<u8> = (0..40_000u32).flat_map(|n| format!("line {n}\n").into_bytes()).collect();
        let coded = gzip(&text).await;
        let (_, _, answer) = opened(codec, with_head("gzip", &coded), false, WireLimits::default()).await;
        let mut answer = answer.unwrap();
        assert_eq!(
            (answer.header("content-encoding"), answer.length()),
            (Some("gzip"), Some(coded.len() as u64))
        );
        assert_eq!(rest(&mut answer).await.unwrap(), coded);
        assert_eq!(answer.facts().coding, None);

        let (client, _, answer) = opened(codec, with_head("gzip", &coded), false, WireLimits::default()).await;
        let mut answer = answer.unwrap().decoded(u64::MAX).unwrap();
        assert_eq!(
            (answer.header("content-encoding"), answer.header("content-length"), answer.length()),
            (None, None, None)
        );
        assert_eq!(rest(&mut answer).await.unwrap(), text);
        let facts = answer.facts();
        assert_eq!((facts.coding, facts.wire_bytes), (Some("gzip"), coded.len() as u64));
        assert!(answer.timings().body.is_some());
        assert_eq!(client.counts().connections, 1);
    });
}

#[test]
fn what_is_decoded_comes_as_soon_as_it_can_and_over_any_split() {
    check(async |codec| {
        for (coding, coded) in [
            ("deflate", all(ZlibEncoder::new(TEXT)).await),
            ("deflate", all(DeflateEncoder::new(TEXT)).await),
            ("br", all(BrotliEncoder::new(TEXT)).await),
            ("zstd", all(ZstdEncoder::new(TEXT)).await),
            ("x-gzip", gzip(TEXT).await),
        ] {
            let mut network = Network::new(&[ms(0)]);
            let (client, endpoint) = (network.client.clone(), endpoint(codec));
            tokio::spawn(async move {
                let mut stream = network.accept().await;
                read_head(&mut stream).await;
                for byte in with_head(coding, &coded) {
                    stream.write_all(&[byte]).await.unwrap();
                    sleep(ms(1)).await;
                }
                let _closed = read_head(&mut stream).await;
            });
            let limits = WireLimits {
                body_idle: Some(ms(10)),
                ..WireLimits::default()
            };
            let answer = open(&client, &endpoint, &limits).await.unwrap();
            let mut answer = answer.decoded(10_000).unwrap();
            assert_eq!(rest(&mut answer).await.unwrap(), TEXT, "{coding}");
            assert_eq!(client.counts().connections, 1, "{coding}");
        }
    });
}

const TEXT: &[u8] = b"a text, a text, a text that is long enough to be worth it";

async fn all(mut reader: impl tokio::io::AsyncRead + Unpin) -> Vec<u8> {
    let mut out = Vec::new();
    reader.read_to_end(&mut out).await.unwrap();
    out
}

#[test]
fn a_bomb_is_stopped_while_it_is_handed_out() {
    check(async |codec| {
        let bomb = gzip(&vec![0; 64 << 20]).await;
        let (client, _, answer) = opened(codec, with_head("gzip", &bomb), false, WireLimits::default()).await;
        let mut answer = answer.unwrap().decoded(u64::MAX).unwrap();
        let mut came = 0;
        let error = loop {
            match answer.piece().await {
                Ok(Some(piece)) => came += piece.len(),
                Ok(None) => panic!("the ratio must stop it"),
                Err(error) => break error,
            }
        };
        assert!(error.kind() == Kind::TooLarge && error.detail().contains("100 times"), "{error}");
        assert!(came <= 100 * bomb.len(), "{came}");
        assert_eq!(client.counts().connections, 0);

        let limits = WireLimits {
            max_ratio: u32::MAX,
            ..WireLimits::default()
        };
        let (_, _, answer) = opened(codec, with_head("gzip", &bomb), false, limits).await;
        let mut answer = answer.unwrap().decoded(100_000).unwrap();
        let error = rest(&mut answer).await.unwrap_err();
        assert!(error.kind() == Kind::TooLarge && error.detail().contains("100000 bytes"), "{error}");
    });
}

#[test]
fn what_cannot_be_decoded_is_a_decode_fault() {
    check(async |codec| {
        let coded = gzip(TEXT).await;
        for unknown in ["gzip, br", "lzma"] {
            let (_, _, answer) = opened(codec, with_head(unknown, &coded), false, WireLimits::default()).await;
            assert_eq!(answer.unwrap().decoded(u64::MAX).unwrap_err().kind(), Kind::Decode, "{unknown}");
        }
        for broken in [&coded[..coded.len() - 3], b"not gzip at all"] {
            let (client, _, answer) = opened(codec, with_head("gzip", broken), false, WireLimits::default()).await;
            let error = rest(&mut answer.unwrap().decoded(u64::MAX).unwrap()).await.unwrap_err();
            assert_eq!((error.kind(), error.phase()), (Kind::Decode, Some(Phase::Body)), "{error}");
            assert!(client.counts().connections <= 1);
        }
        let mut cut = with_head("gzip", &coded);
        cut.truncate(cut.len() - 3);
        let (_, _, answer) = opened(codec, cut, true, WireLimits::default()).await;
        let error = rest(&mut answer.unwrap().decoded(u64::MAX).unwrap()).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Truncated, "the wire's own fault is told as that: {error}");
    });
}

#[test]
fn a_coded_body_without_its_end_is_never_whole() {
    check(async |codec| {
        let coded = [
            ("gzip", gzip(TEXT).await),
            ("deflate", all(ZlibEncoder::new(TEXT)).await),
            ("deflate", all(DeflateEncoder::new(TEXT)).await),
            ("br", all(BrotliEncoder::new(TEXT)).await),
            ("zstd", all(ZstdEncoder::new(TEXT)).await),
        ];
        for (coding, coded) in coded {
            for length in 1..coded.len() {
                let (_, _, answer) = opened(codec, with_head(coding, &coded[..length]), false, WireLimits::default()).await;
                let read = rest(&mut answer.unwrap().decoded(u64::MAX).unwrap()).await;
                assert!(read.is_err(), "{coding} at {length} of {}: {read:?}", coded.len());
            }
        }
    });
}

#[tokio::test(start_paused = true)]
async fn bytes_behind_the_coded_stream_are_left_out() {
    let mut coded = all(BrotliEncoder::new(TEXT)).await;
    coded.extend_from_slice(b"more");
    let (client, _, answer) = opened(Codec::Own, with_head("br", &coded), false, WireLimits::default()).await;
    let mut answer = answer.unwrap().decoded(u64::MAX).unwrap();
    assert_eq!(rest(&mut answer).await.unwrap(), TEXT);
    assert_eq!(client.counts().connections, 1);
    coded.resize(200_000, b'x');
    let (client, _, answer) = opened(Codec::Own, with_head("br", &coded), false, WireLimits::default()).await;
    let mut answer = answer.unwrap().decoded(u64::MAX).unwrap();
    assert_eq!(rest(&mut answer).await.unwrap(), TEXT);
    assert_eq!(client.counts().connections, 0, "nobody reads all of it for a connection");
}
