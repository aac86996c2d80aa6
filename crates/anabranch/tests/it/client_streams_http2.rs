//! Streamed answers and requests over HTTP/2, against a peer that is played frame by frame.

use anabranch::client::{Endpoint, HttpVersion, Timings, Upload, WireLimits, WireSettings};
use anabranch::{CallError, Client, Deadline, Kind, Marks, Phase, Request};
use bytes::Bytes;
use futures_util::stream;
use h2::server::SendResponse;
use h2::{Reason, RecvStream};
use http::{HeaderMap, Method};
use tokio::time::sleep;

use crate::client::{Network, ms};
use crate::client_streams::{open, rest};

type Asked = (http::Request<RecvStream>, SendResponse<Bytes>);

/// A peer whose streams each run this, at the same time.
fn peer<F>(mut network: Network, answer: impl Fn(Asked) -> F + Clone + Send + 'static)
where
    F: Future<Output = ()> + Send + 'static,
{
    tokio::spawn(async move {
        loop {
            let stream = network.accept().await;
            let answer = answer.clone();
            tokio::spawn(async move {
                let mut connection = h2::server::handshake(stream).await.unwrap();
                while let Some(Ok(asked)) = connection.accept().await {
                    tokio::spawn(answer(asked));
                }
            });
        }
    });
}

fn endpoint() -> Endpoint {
    let settings = WireSettings {
        http: HttpVersion::Http2,
        ..WireSettings::default()
    };
    Endpoint::new("http://shop.test", settings).unwrap()
}

async fn upload(client: &Client, endpoint: &Endpoint, body: Upload) -> Result<anabranch::client::StreamedResponse, CallError> {
    let request = Request::new(Method::PUT, "/file".to_string()).unwrap();
    client
        .open_with(
            endpoint,
            &request,
            body,
            &WireLimits::default(),
            &Marks::new(),
            &mut Timings::default(),
        )
        .await
}

fn ok() -> http::Response<()> {
    http::Response::new(())
}

/// More than goes out before the reader reads, and no more than is taken by default.
const LARGE: usize = 8 << 20;

/// Takes all that comes, and allows more.
async fn take(body: &mut RecvStream) -> Result<Vec<u8>, h2::Error> {
    let mut all = Vec::new();
    while let Some(data) = body.data().await {
        let data = data?;
        body.flow_control().release_capacity(data.len())?;
        all.extend_from_slice(&data);
    }
    Ok(all)
}

/// Sends as the window allows.
async fn give(mut to: h2::SendStream<Bytes>, mut data: Bytes, ends: bool) -> Result<h2::SendStream<Bytes>, Reason> {
    while !data.is_empty() {
        to.reserve_capacity(data.len());
        let room = std::future::poll_fn(|cx| {
            if let std::task::Poll::Ready(Ok(reason)) = to.poll_reset(cx) {
                return std::task::Poll::Ready(Err(reason));
            }
            to.poll_capacity(cx).map(|room| Ok(room.unwrap().unwrap()))
        })
        .await?;
        let piece = data.split_to(room.min(data.len()));
        to.send_data(piece, ends && data.is_empty()).unwrap();
    }
    Ok(to)
}

#[tokio::test(start_paused = true)]
async fn a_body_of_any_size_goes_through_as_the_reader_reads() {
    let network = Network::new(&[ms(0)]);
    let (client, endpoint) = (network.client.clone(), endpoint());
    peer(network, |(_, mut answer)| async move {
        let to = answer.send_response(ok(), false).unwrap();
        let mut to = give(to, vec![7; 5 << 20].into(), false).await.unwrap();
        let mut trailers = HeaderMap::new();
        trailers.insert("x-sum", "1".parse().unwrap());
        to.send_trailers(trailers).unwrap();
    });
    let limits = WireLimits {
        max_body: u64::MAX,
        ..WireLimits::default()
    };
    let mut answer = open(&client, &endpoint, &limits).await.unwrap();
    assert_eq!((answer.status(), answer.length()), (200, None));
    assert_eq!(rest(&mut answer).await.unwrap(), vec![7; 5 << 20]);
    let facts = answer.facts();
    assert_eq!((facts.version, facts.wire_bytes, facts.reused), ("2", 5 << 20, false));
    assert!(answer.timings().body.is_some());
    let again = open(&client, &endpoint, &limits).await.unwrap();
    assert!(again.facts().reused, "while the first is still held");
    let small = WireLimits {
        max_body: 1 << 20,
        ..limits
    };
    let error = rest(&mut open(&client, &endpoint, &small).await.unwrap()).await.unwrap_err();
    assert_eq!(error.kind(), Kind::TooLarge);
    assert_eq!(client.counts().connections, 1);
}

#[tokio::test(start_paused = true)]
async fn what_is_dropped_in_the_middle_resets_its_stream_and_no_other() {
    let network = Network::new(&[ms(0)]);
    let (client, endpoint) = (network.client.clone(), endpoint());
    let (told, mut reset) = tokio::sync::mpsc::channel(8);
    peer(network, move |(_, mut answer)| {
        let told = told.clone();
        async move {
            let to = answer.send_response(ok(), false).unwrap();
            if let Err(reason) = give(to, vec![7; LARGE].into(), true).await {
                told.send(reason).await.unwrap();
            }
        }
    });
    let mut kept = open(&client, &endpoint, &WireLimits::default()).await.unwrap();
    let mut dropped = open(&client, &endpoint, &WireLimits::default()).await.unwrap();
    assert!(dropped.piece().await.unwrap().is_some());
    drop(dropped);
    let told = Deadline::after(ms(5000)).bound(reset.recv()).await.unwrap();
    assert_eq!(told, Some(Reason::CANCEL));
    assert_eq!(rest(&mut kept).await.unwrap().len(), LARGE);
    assert_eq!(client.counts().connections, 1);
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_falls_silent_or_is_reset_is_told() {
    let network = Network::new(&[ms(0)]);
    let (client, endpoint) = (network.client.clone(), endpoint());
    peer(network, |(asked, mut answer)| async move {
        let mut to = answer.send_response(ok(), false).unwrap();
        to.send_data(Bytes::from_static(b"half"), false).unwrap();
        sleep(ms(1000)).await;
        if asked.uri().path() == "/item" {
            to.send_reset(Reason::INTERNAL_ERROR);
        } else {
            sleep(ms(600_000)).await;
        }
    });
    let mut answer = open(&client, &endpoint, &WireLimits::default()).await.unwrap();
    let error = rest(&mut answer).await.unwrap_err();
    assert_eq!((error.kind(), error.phase()), (Kind::Reset, Some(Phase::Body)));
    let request = Request::get("/silent").unwrap();
    let limits = WireLimits::default();
    let answer = client
        .open(&endpoint, &request, &limits, &Marks::new(), &mut Timings::default())
        .await;
    let error = rest(&mut answer.unwrap()).await.unwrap_err();
    assert_eq!((error.kind(), error.phase()), (Kind::Timeout, Some(Phase::Body)));
    assert_eq!(client.counts().connections, 1);
}

#[tokio::test(start_paused = true)]
async fn an_upload_of_any_size_is_sent_as_the_peer_takes_it() {
    let network = Network::new(&[ms(0)]);
    let (client, endpoint) = (network.client.clone(), endpoint());
    peer(network, |(asked, mut answer)| async move {
        let length = asked
            .headers()
            .get("content-length")
            .map(|length| length.to_str().unwrap().to_string());
        let came = take(&mut asked.into_body()).await.unwrap();
        let said = format!("{} {length:?}", came.len());
        let to = answer.send_response(ok(), false).unwrap();
        give(to, said.into(), true).await.unwrap();
    });
    for (length, said) in [
        (Some(4 << 20), "4194304 Some(\"4194304\")"),
        (None, "4194304 None"),
        (Some(0), "0 Some(\"0\")"),
    ] {
        let count = if length == Some(0) { 0 } else { 64 };
        let pieces = stream::iter((0..count).map(|_| Ok(Bytes::from(vec![7; 1 << 16]))));
        let mut answer = upload(&client, &endpoint, Upload::new(length, pieces)).await.unwrap();
        assert_eq!(rest(&mut answer).await.unwrap(), said.as_bytes());
    }
    assert_eq!(client.counts().connections, 1);
}

#[tokio::test(start_paused = true)]
async fn a_source_that_fails_resets_its_stream() {
    let network = Network::new(&[ms(0)]);
    let (client, endpoint) = (network.client.clone(), endpoint());
    let (told, mut reset) = tokio::sync::mpsc::channel(8);
    peer(network, move |(asked, mut answer)| {
        let told = told.clone();
        async move {
            let is_early = asked.headers().contains_key("content-length");
            let sending = is_early.then(|| answer.send_response(ok(), false).unwrap());
            let error = take(&mut asked.into_body()).await.unwrap_err();
            told.send(error.reason().unwrap()).await.unwrap();
            drop(sending);
        }
    });
    for length in [None, Some(100)] {
        let (mut writer, body) = Upload::channel(length);
        tokio::spawn(async move {
            writer.write(Bytes::from_static(b"hello")).await.unwrap();
            sleep(ms(10)).await;
            writer.fail(CallError::new(Kind::Cancelled, "the client left"));
        });
        let error = match upload(&client, &endpoint, body).await {
            Ok(mut answer) => {
                assert!(length.is_some(), "only that peer answers early");
                rest(&mut answer).await.unwrap_err()
            }
            Err(error) => error,
        };
        assert_eq!(
            (error.kind(), error.detail(), error.was_sent()),
            (Kind::Cancelled, "the client left", true)
        );
        assert_eq!(reset.recv().await.unwrap(), Reason::CANCEL);
    }
    assert_eq!(client.counts().connections, 1);
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_ends_before_the_upload_ends_it() {
    let network = Network::new(&[ms(0)]);
    let (client, endpoint) = (network.client.clone(), endpoint());
    let (told, mut ended) = tokio::sync::mpsc::channel(8);
    peer(network, move |(asked, mut answer)| {
        let told = told.clone();
        async move {
            let refused = http::Response::builder().status(413).body(()).unwrap();
            answer.send_response(refused, true).unwrap();
            told.send(take(&mut asked.into_body()).await.is_err()).await.unwrap();
        }
    });
    let (mut writer, body) = Upload::channel(None);
    writer.write(Bytes::from_static(b"some")).await.unwrap();
    let mut answer = upload(&client, &endpoint, body).await.unwrap();
    assert_eq!(answer.status(), 413);
    assert!(rest(&mut answer).await.unwrap().is_empty());
    assert!(ended.recv().await.unwrap(), "the peer is told that no more comes");
    sleep(ms(1)).await;
    assert!(writer.write(Bytes::new()).await.is_err(), "and so is the writer");
    assert_eq!(client.counts().connections, 1);
}

#[tokio::test(start_paused = true)]
async fn an_upload_that_nobody_takes_does_not_outlive_the_others_on_its_connection() {
    let network = Network::new(&[ms(0)]);
    let (client, endpoint) = (network.client.clone(), endpoint());
    peer(network, |(asked, mut answer)| async move {
        let mut to = answer.send_response(ok(), false).unwrap();
        to.send_data(Bytes::from_static(b"early"), false).unwrap();
        sleep(ms(2000)).await;
        to.send_data(Bytes::from_static(b"late"), true).unwrap();
        // Never allows more than the first window.
        sleep(ms(600_000)).await;
        drop(asked);
    });
    let mut other = open(&client, &endpoint, &WireLimits::default()).await.unwrap();
    let endless = Upload::new(None, stream::repeat_with(|| Ok(Bytes::from(vec![0; 1 << 16]))));
    let stuck = upload(&client, &endpoint, endless).await.unwrap();
    let before = client.background().count();
    sleep(ms(10)).await;
    drop(stuck);
    assert_eq!(rest(&mut other).await.unwrap(), b"earlylate", "the other stream is not cut");
    drop(other);
    sleep(ms(10)).await;
    assert!(client.background().count() < before, "{before}");
    assert_eq!(client.background().count(), 0);
    let next = Deadline::after(ms(5000))
        .bound(open(&client, &endpoint, &WireLimits::default()))
        .await;
    assert!(!next.unwrap().unwrap().facts().reused, "the next goes over a new connection");
}

#[tokio::test(start_paused = true)]
async fn an_upload_whose_answer_nobody_waits_for_any_more_ends() {
    let network = Network::new(&[ms(0)]);
    let (client, endpoint) = (network.client.clone(), endpoint());
    let (told, mut ended) = tokio::sync::mpsc::channel(8);
    peer(network, move |(asked, answer)| {
        let told = told.clone();
        async move {
            let is_cut = take(&mut asked.into_body()).await.is_err();
            told.send(is_cut).await.unwrap();
            drop(answer);
        }
    });
    let slow = Upload::new(
        None,
        stream::unfold((), |()| async {
            sleep(ms(10)).await;
            Some((Ok(Bytes::from_static(b"some")), ()))
        }),
    );
    assert!(Deadline::after(ms(100)).bound(upload(&client, &endpoint, slow)).await.is_err());
    let is_cut = Deadline::after(ms(5000)).bound(ended.recv()).await;
    assert_eq!(is_cut.unwrap(), Some(true), "the peer is told that no more comes");
}

#[tokio::test(start_paused = true)]
async fn an_upload_that_nobody_takes_or_waits_for_leaves_nothing_behind() {
    let network = Network::new(&[ms(0)]);
    let (client, endpoint) = (network.client.clone(), endpoint());
    peer(network, |(asked, mut answer)| async move {
        if asked.method() == Method::GET {
            answer.send_response(ok(), true).unwrap();
            return;
        }
        sleep(ms(600_000)).await;
        drop((asked, answer));
    });
    open(&client, &endpoint, &WireLimits::default()).await.unwrap();
    let before = client.background().count();
    let endless = Upload::new(None, stream::repeat_with(|| Ok(Bytes::from(vec![0; 1 << 16]))));
    assert!(Deadline::after(ms(100)).bound(upload(&client, &endpoint, endless)).await.is_err());
    sleep(ms(10)).await;
    assert_eq!(client.background().count(), before, "the connection and nothing else");
    assert_eq!(open(&client, &endpoint, &WireLimits::default()).await.unwrap().status(), 200);
}
