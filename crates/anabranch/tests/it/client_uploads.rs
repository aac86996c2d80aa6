//! Requests whose bodies come piece by piece, over either HTTP.

use anabranch::client::{Endpoint, StreamedResponse, Timings, Upload, WireLimits};
use anabranch::{CallError, Client, Deadline, Kind, Marks, Phase, Request};
use bytes::Bytes;
use futures_util::stream;
use http::Method;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::time::sleep;

use crate::client::{HELLO, Network, check, endpoint, get, ms, read_head, serve};
use crate::client_streams::rest;

fn put() -> Request {
    Request::new(Method::PUT, "/file".to_string()).unwrap()
}

async fn upload(client: &Client, endpoint: &Endpoint, body: Upload) -> Result<StreamedResponse, CallError> {
    upload_within(client, endpoint, body, &WireLimits::default()).await
}

/// The limits of phases hold as in a call.
async fn upload_within(client: &Client, endpoint: &Endpoint, body: Upload, limits: &WireLimits) -> Result<StreamedResponse, CallError> {
    let (marks, mut timings) = (Marks::new(), Timings::default());
    let request = put();
    let opening = client.open_with(endpoint, &request, body, limits, &marks, &mut timings);
    match Deadline::after(ms(3_600_000)).bound_marked(&marks, opening).await {
        Ok(result) => result,
        Err(expired) => Err(CallError::new(Kind::Timeout, expired.to_string()).in_phase(expired.phase.unwrap())),
    }
}

fn pieces(length: Option<u64>, pieces: &[&'static str]) -> Upload {
    let pieces: Vec<_> = pieces.iter().map(|piece| Ok(Bytes::from_static(piece.as_bytes()))).collect();
    Upload::new(length, stream::iter(pieces))
}

async fn read_exactly(stream: &mut DuplexStream, count: usize) -> String {
    let mut bytes = vec![0; count];
    stream.read_exact(&mut bytes).await.unwrap();
    String::from_utf8(bytes).unwrap()
}

#[test]
fn a_body_goes_out_under_its_length_or_in_chunks() {
    check(async |codec| {
        for (length, head, body) in [
            (Some(11), "content-length: 11", "hello world"),
            (None, "transfer-encoding: chunked", "5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n"),
        ] {
            let mut network = Network::new(&[ms(0)]);
            let (client, endpoint) = (network.client.clone(), endpoint(codec));
            tokio::spawn(async move {
                let mut stream = network.accept().await;
                let said = read_head(&mut stream).await.unwrap();
                assert!(said.contains(head) && said.matches("content-length").count() <= 1, "{said}");
                assert_eq!(read_exactly(&mut stream, body.len()).await, body);
                stream.write_all(HELLO.as_bytes()).await.unwrap();
                serve(stream, HELLO).await;
            });
            let mut answer = upload(&client, &endpoint, pieces(length, &["hello", "", " world"])).await.unwrap();
            assert_eq!(rest(&mut answer).await.unwrap(), b"hello");
            assert_eq!(client.counts().connections, 1);
            assert!(get(&client, &endpoint).await.unwrap().facts().reused);
        }
    });
}

#[test]
fn an_upload_without_a_byte_says_so() {
    check(async |codec| {
        for (length, body) in [(Some(0), ""), (None, "0\r\n\r\n")] {
            let mut network = Network::new(&[ms(0)]);
            let (client, endpoint) = (network.client.clone(), endpoint(codec));
            tokio::spawn(async move {
                let mut stream = network.accept().await;
                read_head(&mut stream).await.unwrap();
                assert_eq!(read_exactly(&mut stream, body.len()).await, body);
                serve_answered(stream).await;
            });
            let mut answer = upload(&client, &endpoint, pieces(length, &[])).await.unwrap();
            assert_eq!(rest(&mut answer).await.unwrap(), b"hello");
            assert!(get(&client, &endpoint).await.is_ok());
        }
    });
}

async fn serve_answered(mut stream: DuplexStream) {
    stream.write_all(HELLO.as_bytes()).await.unwrap();
    serve(stream, HELLO).await;
}

#[test]
fn an_upload_of_any_size_waits_for_a_peer_that_takes_its_time() {
    const SIZE: usize = 8 << 20;
    check(async |codec| {
        let mut network = Network::new(&[ms(0)]);
        let (client, endpoint) = (network.client.clone(), endpoint(codec));
        tokio::spawn(async move {
            let mut stream = network.accept().await;
            read_head(&mut stream).await.unwrap();
            let (mut came, mut buffer) = (0, vec![0; 40_000]);
            while came < SIZE {
                came += stream.read(&mut buffer).await.unwrap();
                sleep(ms(5)).await;
            }
            assert_eq!(came, SIZE);
            serve_answered(stream).await;
        });
        // It takes a second in all. hyper gathers 400 kB before it waits for the peer.
        let limits = WireLimits {
            first_byte: Some(ms(200)),
            body_idle: Some(ms(200)),
            ..WireLimits::default()
        };
        let (mut writer, body) = Upload::channel(Some(SIZE as u64));
        tokio::spawn(async move {
            for _ in 0..SIZE >> 16 {
                writer.write(Bytes::from(vec![7; 1 << 16])).await.unwrap();
            }
            writer.finish();
        });
        let mut answer = upload_within(&client, &endpoint, body, &limits).await.unwrap();
        assert_eq!(rest(&mut answer).await.unwrap(), b"hello");
        assert_eq!(client.counts().connections, 1);
    });
}

#[test]
fn a_slow_source_is_not_held_against_the_peer_and_a_stuck_peer_is() {
    check(async |codec| {
        let limits = WireLimits {
            first_byte: Some(ms(100)),
            body_idle: Some(ms(100)),
            ..WireLimits::default()
        };
        let mut network = Network::new(&[ms(0)]);
        let (client, endpoint) = (network.client.clone(), endpoint(codec));
        tokio::spawn(async move {
            let mut stream = network.accept().await;
            read_head(&mut stream).await.unwrap();
            read_exactly(&mut stream, 4).await;
            sleep(ms(90)).await;
            stream.write_all(HELLO.as_bytes()).await.unwrap();
            sleep(ms(10)).await;
            drop(stream);
            // Takes the head and no more.
            let mut stuck = network.accept().await;
            read_head(&mut stuck).await.unwrap();
            sleep(ms(10_000)).await;
        });
        let (mut writer, body) = Upload::channel(Some(4));
        tokio::spawn(async move {
            writer.write(Bytes::from_static(b"so")).await.unwrap();
            sleep(ms(5000)).await;
            writer.write(Bytes::from_static(b"me")).await.unwrap();
            writer.finish();
        });
        let mut answer = upload_within(&client, &endpoint, body, &limits).await.unwrap();
        assert_eq!(rest(&mut answer).await.unwrap(), b"hello");
        sleep(ms(20)).await;
        let large = Upload::new(None, stream::repeat_with(|| Ok(Bytes::from(vec![0; 1 << 16]))));
        let error = upload_within(&client, &endpoint, large, &limits).await.unwrap_err();
        assert_eq!((error.kind(), error.phase()), (Kind::Timeout, Some(Phase::FirstByte)));
        assert_eq!(client.counts().connections, 0);
    });
}

#[test]
fn a_source_that_fails_aborts_the_request() {
    check(async |codec| {
        for length in [Some(100), None] {
            let mut network = Network::new(&[ms(0)]);
            let (client, endpoint) = (network.client.clone(), endpoint(codec));
            let peer = tokio::spawn(async move {
                let mut stream = network.accept().await;
                read_head(&mut stream).await.unwrap();
                let mut body = Vec::new();
                let _cut = stream.read_to_end(&mut body).await;
                (String::from_utf8(body).unwrap(), network.is_quiet())
            });
            let (mut writer, body) = Upload::channel(length);
            tokio::spawn(async move {
                writer.write(Bytes::from_static(b"hello")).await.unwrap();
                sleep(ms(10)).await;
                writer.fail(CallError::new(Kind::Cancelled, "the client left"));
            });
            let error = upload(&client, &endpoint, body).await.unwrap_err();
            assert_eq!(
                (error.kind(), error.detail(), error.was_sent()),
                (Kind::Cancelled, "the client left", true)
            );
            let (came, is_quiet) = peer.await.unwrap();
            assert!(
                came.contains("hello") && !came.ends_with("0\r\n\r\n"),
                "the peer must not take it for whole: {came:?}"
            );
            assert!(is_quiet && client.counts().connections == 0);
        }
    });
}

#[test]
fn an_early_answer_is_taken_and_the_rest_goes_on_until_it_ends() {
    check(async |codec| {
        let mut network = Network::new(&[ms(0)]);
        let (client, endpoint) = (network.client.clone(), endpoint(codec));
        // Echoes each piece as it comes.
        tokio::spawn(async move {
            let mut stream = network.accept().await;
            read_head(&mut stream).await.unwrap();
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n").await.unwrap();
            for _ in 0..3 {
                let piece = read_exactly(&mut stream, 3).await;
                stream.write_all(piece.as_bytes()).await.unwrap();
            }
            serve(stream, HELLO).await;
        });
        let (mut writer, body) = Upload::channel(Some(9));
        let limits = WireLimits {
            body_idle: Some(ms(50)),
            ..WireLimits::default()
        };
        let mut answer = upload_within(&client, &endpoint, body, &limits).await.unwrap();
        for piece in ["one", "two", "six"] {
            let (mut came, write) = (Vec::new(), async {
                sleep(ms(500)).await;
                writer.write(Bytes::from_static(piece.as_bytes())).await.unwrap();
            });
            let read = async {
                while came.len() < 3 {
                    came.extend_from_slice(&answer.piece().await.unwrap().unwrap());
                }
            };
            tokio::join!(write, read);
            assert_eq!(came, piece.as_bytes());
        }
        writer.finish();
        assert!(answer.piece().await.unwrap().is_none());
        assert_eq!(client.counts().connections, 1);
    });
}

#[test]
fn an_answer_that_ends_before_the_upload_ends_it_and_its_connection() {
    check(async |codec| {
        let mut network = Network::new(&[ms(0)]);
        let (client, endpoint) = (network.client.clone(), endpoint(codec));
        tokio::spawn(async move {
            let mut stream = network.accept().await;
            read_head(&mut stream).await.unwrap();
            stream
                .write_all(b"HTTP/1.1 413 Too Large\r\ncontent-length: 2\r\n\r\nno")
                .await
                .unwrap();
            sleep(ms(60_000)).await;
        });
        let (mut writer, body) = Upload::channel(None);
        let writing = tokio::spawn(async move { while writer.write(Bytes::from(vec![0; 1 << 16])).await.is_ok() {} });
        let mut answer = upload(&client, &endpoint, body).await.unwrap();
        assert_eq!(answer.status(), 413);
        assert_eq!(rest(&mut answer).await.unwrap(), b"no");
        assert_eq!(client.counts().connections, 0);
        assert!(Deadline::after(ms(10)).bound(writing).await.is_ok(), "the writer is told");
    });
}

#[test]
fn an_upload_that_began_is_never_made_again() {
    check(async |codec| {
        let mut network = Network::new(&[ms(0)]);
        let (client, endpoint) = (network.client.clone(), endpoint(codec));
        let peer = tokio::spawn(async move {
            let mut stream = network.accept().await;
            read_head(&mut stream).await;
            stream.write_all(HELLO.as_bytes()).await.unwrap();
            read_head(&mut stream).await;
            read_exactly(&mut stream, 3).await;
            drop(stream);
            sleep(ms(100)).await;
            network.is_quiet()
        });
        get(&client, &endpoint).await.unwrap();
        let error = upload(&client, &endpoint, pieces(Some(3), &["abc"])).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Reset);
        assert!(peer.await.unwrap());
        assert_eq!(client.counts().repeated, 0);
    });
}

#[test]
fn a_length_that_is_not_held_aborts_the_request() {
    check(async |codec| {
        for (length, text) in [(10, "fewer"), (2, "more")] {
            let mut network = Network::new(&[ms(0)]);
            let (client, endpoint) = (network.client.clone(), endpoint(codec));
            tokio::spawn(async move {
                let mut stream = network.accept().await;
                let mut all = Vec::new();
                let _cut = stream.read_to_end(&mut all).await;
            });
            let error = upload(&client, &endpoint, pieces(Some(length), &["hello"])).await.unwrap_err();
            assert!(error.kind() == Kind::Value && error.detail().contains(text), "{error}");
            assert_eq!(client.counts().connections, 0);
        }
    });
}
