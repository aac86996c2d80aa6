//! What each fault does to a connection in memory, byte by byte. Resets need real sockets and are in `tcp.rs`.

use crate::*;
use anabranch_testkit::{Ended, Errors, Fault, Framing};
use std::time::Duration;
use tokio::time::{Instant, timeout};

/// The reply that a rule with a body of ten bytes gives with a fault.
async fn with_fault(fault: Fault) -> String {
    raw(Reply::any().body("0123456789").fault(fault)).await
}

const HEAD: &str = "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n";

#[tokio::test(start_paused = true)]
async fn hang_never_answers_and_notices_when_the_peer_leaves() {
    let (network, served) = host(Reply::any().fault(Fault::Hang));
    let mut stream = sent(&network, &get("/")).await;
    assert!(timeout(Duration::from_secs(3_600), stream.read_u8()).await.is_err());
    assert_eq!(served.seen()[0].ended, Ended::Pending);
    assert_eq!((served.counts().requests_pending, served.counts().connections_open), (1, 1));
    drop(stream);
    let counts = served.until(|counts| counts.connections_open == 0).await;
    assert_eq!((counts.cancelled, counts.requests_pending), (1, 0));
    assert!(served.seen()[0].cancelled());
}

#[tokio::test(start_paused = true)]
async fn a_reset_in_memory_closes_after_any_number_of_bytes() {
    let whole = format!("{HEAD}0123456789");
    for after in 0..=whole.len() {
        assert_eq!(with_fault(Fault::Reset { after }).await, whole[..after]);
    }
}

#[tokio::test(start_paused = true)]
async fn close_before_closes_without_a_byte() {
    let (network, served) = host(Reply::any().fault(Fault::CloseBefore));
    assert_eq!(until_closed(&network, "/").await, "");
    assert!(
        matches!(served.seen()[0].ended, Ended::Answered(_)),
        "a fault that was done is not a cancelled request"
    );
}

#[tokio::test(start_paused = true)]
async fn truncate_cuts_the_body_short_of_its_length() {
    assert_eq!(with_fault(Fault::Truncate { after: 0 }).await, HEAD);
    assert_eq!(with_fault(Fault::Truncate { after: 4 }).await, format!("{HEAD}0123"));
    assert_eq!(with_fault(Fault::Truncate { after: 10 }).await, format!("{HEAD}0123456789"));
    let chunked = Reply::any()
        .body("0123456789")
        .framing(Framing::Chunked)
        .fault(Fault::Truncate { after: 15 });
    assert_eq!(body_of(&raw(chunked).await), "a\r\n0123456789\r\n", "the last chunk is missing");
}

#[tokio::test(start_paused = true)]
async fn a_client_takes_a_truncated_body_for_an_error() {
    for framing in [Framing::Length, Framing::Chunked] {
        let (network, _) = host(Reply::any().body("0123456789").framing(framing).fault(Fault::Truncate { after: 4 }));
        assert!(Client::on(&network, "x").await.get("/").await.is_err(), "{framing:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn drips_take_their_time_and_are_otherwise_whole() {
    let interval = Duration::from_secs(1);
    let (network, _) = host(Reply::any().body("0123456789").fault(Fault::DripHeaders { interval }));
    let (began, mut stream) = (Instant::now(), sent(&network, &get("/")).await);
    assert_eq!(one_reply(&mut stream).await, format!("{HEAD}0123456789"));
    assert_eq!(began.elapsed().as_secs(), HEAD.len() as u64);

    let (network, _) = host(Reply::any().body("0123456789").fault(Fault::DripBody { interval }));
    let (began, mut stream) = (Instant::now(), sent(&network, &get("/")).await);
    for _ in 0..HEAD.len() + 4 {
        stream.read_u8().await.unwrap();
    }
    assert_eq!(began.elapsed().as_secs(), 3);
    // The connection serves on after a drip.
    assert_eq!(stream.read_u8().await.unwrap(), b'4');
}

#[tokio::test(start_paused = true)]
async fn a_drip_ends_when_the_peer_leaves() {
    for fault in [
        Fault::DripHeaders {
            interval: Duration::from_secs(9),
        },
        Fault::DripBody {
            interval: Duration::from_secs(9),
        },
    ] {
        let (network, served) = host(Reply::any().body("0123456789").fault(fault));
        let (began, stream) = (Instant::now(), sent(&network, &get("/")).await);
        tokio::time::sleep(Duration::from_secs(20)).await;
        drop(stream);
        served.until(|counts| counts.cancelled == 1 && counts.connections_open == 0).await;
        assert_eq!(began.elapsed().as_secs(), 20);
    }
}

#[tokio::test(start_paused = true)]
async fn raw_bytes_are_all_that_is_written() {
    let broken = "HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab";
    assert_eq!(with_fault(Fault::RawBytes(broken.into())).await, broken);
    assert_eq!(with_fault(Fault::RawBytes("\0\x01".into())).await, "\0\x01");
}

#[tokio::test(start_paused = true)]
async fn a_big_body_is_as_big_as_it_says() {
    const SIZE: u64 = 20_000_001;
    for (framing, told) in [(Framing::Length, true), (Framing::Chunked, false), (Framing::UntilClose, false)] {
        let (network, _) = host(Reply::any().framing(framing).fault(Fault::BigBody { size: SIZE }));
        let request = Request::get("/").header("host", "x").body(Full::default()).unwrap();
        let mut client = Client::on(&network, "x").await;
        let response = client.send(request).await.unwrap();
        assert_eq!(
            response
                .headers()
                .get("content-length")
                .map(|value| value.to_str().unwrap().parse()),
            told.then_some(Ok(SIZE))
        );
        let body = response.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(body.len() as u64, SIZE);
        assert!(body.starts_with(b"\"xx") && body.ends_with(b"xx\""));
    }
}

#[tokio::test(start_paused = true)]
async fn a_gzip_bomb_says_gzip_and_is_a_thousandth_of_its_contents() {
    let (network, _) = host(Reply::any().fault(Fault::GzipBomb { decoded: 10_000_000 }));
    let request = Request::get("/").header("host", "x").body(Full::default()).unwrap();
    let mut client = Client::on(&network, "x").await;
    let response = client.send(request).await.unwrap();
    assert_eq!(response.headers()["content-encoding"], "gzip");
    let body = response.into_body().collect().await.unwrap().to_bytes();
    assert!(body.len() < 10_000, "{} bytes", body.len());
    let mut decoded = Vec::new();
    async_compression::tokio::bufread::GzipDecoder::new(&body[..])
        .read_to_end(&mut decoded)
        .await
        .unwrap();
    assert_eq!(decoded.len(), 10_000_000);
}

#[tokio::test(start_paused = true)]
async fn a_header_flood_adds_headers_to_the_reply() {
    let (network, _) = host(Reply::any().body("ok").fault(Fault::HeaderFlood {
        headers: 200,
        value_length: 1_000,
    }));
    let mut stream = sent(&network, &get("/")).await;
    let reply = one_reply(&mut stream).await;
    assert_eq!(
        reply
            .lines()
            .filter(|line| line.starts_with("x-flood-") && line.len() > 1_000)
            .count(),
        200
    );
    assert!(reply.ends_with("\r\n\r\nok"));
    // hyper takes 100 headers by default.
    assert!(Client::on(&network, "x").await.get("/").await.is_err());
}

#[tokio::test(start_paused = true)]
async fn interim_replies_come_before_the_reply() {
    let (network, _) = host(Reply::any().body("ok").fault(Fault::Interim { count: 1_000 }));
    let mut stream = sent(&network, &get("/")).await;
    for _ in 0..1_000 {
        let mut interim = [0; 28];
        stream.read_exact(&mut interim).await.unwrap();
        assert_eq!(&interim, b"HTTP/1.1 103 Early Hints\r\n\r\n");
    }
    assert!(one_reply(&mut stream).await.starts_with("HTTP/1.1 200 OK\r\n"));
}

#[tokio::test(start_paused = true)]
async fn endless_chunks_go_on_until_the_peer_leaves() {
    let (network, served) = host(Reply::any().fault(Fault::EndlessChunks));
    let request = Request::get("/").header("host", "x").body(Full::default()).unwrap();
    let mut client = Client::on(&network, "x").await;
    let mut body = client.send(request).await.unwrap().into_body();
    let mut read = 0;
    while read < 5_000_000 {
        read += body.frame().await.unwrap().unwrap().into_data().unwrap().len();
    }
    assert_eq!(served.counts().requests_pending, 1);
    drop((body, client));
    assert_eq!(served.until(|counts| counts.connections_open == 0).await.cancelled, 1);
}

#[tokio::test(start_paused = true)]
async fn close_after_reply_promises_to_keep_the_connection() {
    let reply = with_fault(Fault::CloseAfterReply).await;
    assert_eq!(
        reply,
        "HTTP/1.1 200 OK\r\ncontent-length: 10\r\nconnection: keep-alive\r\n\r\n0123456789"
    );
}

#[tokio::test(start_paused = true)]
async fn bad_chunks_break_in_the_middle_of_the_body() {
    let reply = with_fault(Fault::BadChunks).await;
    assert_eq!(reply, "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\n01234\r\nxyz\r\n");
    let (network, _) = host(Reply::any().body("0123456789").fault(Fault::BadChunks));
    assert!(Client::on(&network, "x").await.get("/").await.is_err());
}

#[tokio::test(start_paused = true)]
async fn an_error_rate_can_be_a_fault_and_have_headers() {
    let mut reply = Reply::any();
    reply.errors = Errors {
        rate: 1.0,
        status: 429,
        headers: vec![("retry-after".into(), "2".into())],
        fault: Some(Fault::CloseAfterReply),
    };
    assert_eq!(
        raw(reply).await,
        "HTTP/1.1 429 Too Many Requests\r\nretry-after: 2\r\ncontent-length: 0\r\nconnection: keep-alive\r\n\r\n"
    );
}

#[tokio::test(start_paused = true)]
async fn a_fault_comes_after_the_latency() {
    let began = Instant::now();
    let reply = raw(Reply::any().delay(Duration::from_secs(7)).fault(Fault::CloseBefore)).await;
    assert_eq!((reply.as_str(), began.elapsed().as_secs()), ("", 7));
}
