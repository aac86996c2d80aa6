//! Which rule answers, with what, and when.

use crate::*;
use anabranch_testkit::{Ended, Framing, Latency};
use std::time::Duration;
use tokio::time::Instant;

#[tokio::test(start_paused = true)]
async fn a_reply_has_its_status_headers_and_body_in_order() {
    let reply = Reply::get("/user/*")
        .status(201)
        .header("X-Two", "2")
        .header("x-one", "1")
        .body("hello");
    let (network, _) = host(reply);
    let mut stream = sent(&network, &get("/user/7")).await;
    assert_eq!(
        one_reply(&mut stream).await,
        "HTTP/1.1 201 Created\r\nX-Two: 2\r\nx-one: 1\r\ncontent-length: 5\r\n\r\nhello"
    );
}

#[tokio::test(start_paused = true)]
async fn a_request_that_no_rule_answers_gets_a_404_that_names_it() {
    let (network, served) = host(Reply::post("/user"));
    let (status, body) = Client::on(&network, "x").await.get("/user?full=1").await.unwrap();
    assert_eq!(status, 404);
    assert_eq!(
        body,
        r#"{"error":"no reply of `x` answers GET /user?full=1","replies":["POST /user"]}"#
    );
    assert_eq!(served.counts().requests, 1);
}

#[tokio::test(start_paused = true)]
async fn retries_are_scripted_by_rules_that_apply_only_to_the_first_requests() {
    let network = MemoryNetwork::new();
    let upstream = Upstream::new("x")
        .reply(Reply::any().status(503).times(2))
        .reply(Reply::any().body("ok"));
    let served = network.host("x:80", upstream);
    let mut client = Client::on(&network, "x").await;
    let mut statuses = Vec::new();
    for _ in 0..3 {
        statuses.push(client.get("/").await.unwrap().0);
    }
    assert_eq!(statuses, [503, 503, 200]);
    assert_eq!(served.counts().requests, 3);
}

#[tokio::test(start_paused = true)]
async fn an_error_rate_answers_some_with_another_status_the_same_ones_on_each_run() {
    let run = async || {
        let (network, _) = host(Reply::any().body("ok").errors(0.3, 429));
        let mut client = Client::on(&network, "x").await;
        let mut statuses = Vec::new();
        for _ in 0..200 {
            statuses.push(client.get("/").await.unwrap().0);
        }
        statuses
    };
    let statuses = run().await;
    let failed = statuses.iter().filter(|&&status| status == 429).count();
    assert!((40..80).contains(&failed), "{failed} of 200");
    assert_eq!(run().await, statuses);
}

#[tokio::test(start_paused = true)]
async fn an_echo_and_the_record_agree_on_what_was_sent() {
    let (network, served) = host(Reply::any().echo());
    let request = Request::post("/a?b=c")
        .header("host", "x")
        .header("x-tag", "1")
        .body(Full::from("hi"))
        .unwrap();
    let mut client = Client::on(&network, "x").await;
    let response = client.send(request).await.unwrap();
    assert_eq!(response.headers()["content-type"], "application/json");
    assert_eq!(
        response.into_body().collect().await.unwrap().to_bytes(),
        r#"{"method":"POST","path":"/a","query":"b=c","headers":{"content-length":"2","host":"x","x-tag":"1"},"body":"hi"}"#
    );
    let seen = &served.seen()[0];
    assert_eq!(
        (seen.method.as_str(), seen.path(), seen.query(), seen.header("x-tag")),
        ("POST", "/a", "b=c", Some("1"))
    );
    assert_eq!(seen.body, "hi");
}

#[tokio::test(start_paused = true)]
async fn a_body_may_be_computed_from_the_request() {
    let (network, _) = host(Reply::get("/user/*").computed(|request| format!("user {}", &request.path()[6..]).into()));
    assert_eq!(Client::on(&network, "x").await.get("/user/7").await.unwrap().1, "user 7");
}

#[tokio::test(start_paused = true)]
async fn a_latency_is_counted_from_the_end_of_the_request() {
    let (network, served) = host(Reply::any().delay(Duration::from_secs(2)));
    let began = Instant::now();
    let mut stream = sent(&network, "POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\na").await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    stream.write_all(b"b").await.unwrap();
    one_reply(&mut stream).await;
    assert_eq!(began.elapsed().as_secs(), 5);
    let seen = &served.seen()[0];
    assert_eq!((seen.at - began).as_secs(), 3);
    assert!(matches!(seen.ended, Ended::Answered(at) if (at - began).as_secs() == 5));
}

/// What the `demo` command shows: twelve upstreams of 2 to 3 s, asked at once, take as long as the slowest. Here in virtual time.
#[tokio::test(start_paused = true)]
async fn twelve_slow_upstreams_are_answered_in_the_time_of_the_slowest() {
    let network = MemoryNetwork::new();
    let latency = Latency::Uniform {
        from: Duration::from_secs(2),
        to: Duration::from_secs(3),
    };
    for number in 0..12 {
        let upstream = Upstream::new(format!("slow-{number}"))
            .seed(number)
            .reply(Reply::get("/part").json("{}").latency(latency));
        network.host(format!("slow-{number}:80"), upstream);
    }
    let (real, began) = (std::time::Instant::now(), Instant::now());
    let mut calls = JoinSet::new();
    for number in 0..12 {
        let network = network.clone();
        calls.spawn(async move {
            let reply = Client::on(&network, &format!("slow-{number}")).await.get("/part").await.unwrap();
            assert_eq!(reply, (200, "{}".into()));
            began.elapsed()
        });
    }
    let mut times = calls.join_all().await;
    times.sort_unstable();
    assert!(
        times[0] >= Duration::from_secs(2) && times[11] <= Duration::from_millis(3_001),
        "{times:?}"
    );
    assert!(times[11] - times[0] > Duration::from_millis(300), "all alike: {times:?}");
    assert!(real.elapsed() < Duration::from_secs(2), "faster than the fastest upstream");
}

#[tokio::test(start_paused = true)]
async fn pieces_arrive_one_by_one() {
    let (network, _) = host(Reply::any().pieces(["data: 1\n\n", "data: 2\n\n"], Duration::from_secs(10)));
    let began = Instant::now();
    let request = Request::get("/").header("host", "x").body(Full::default()).unwrap();
    let mut client = Client::on(&network, "x").await;
    let mut body = client.send(request).await.unwrap().into_body();
    let mut arrived = Vec::new();
    while let Some(frame) = body.frame().await {
        arrived.push((began.elapsed().as_secs(), frame.unwrap().into_data().unwrap()));
    }
    assert_eq!(arrived, [(0, "data: 1\n\n".into()), (10, "data: 2\n\n".into())]);
}

#[tokio::test(start_paused = true)]
async fn the_end_of_a_body_is_told_in_each_of_three_ways() {
    let chunked = raw(Reply::any().body("hello").framing(Framing::Chunked).header("connection", "close")).await;
    assert_eq!(
        chunked,
        "HTTP/1.1 200 OK\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
    );
    let until_close = raw(Reply::any().body("hello").framing(Framing::UntilClose)).await;
    assert_eq!(until_close, "HTTP/1.1 200 OK\r\nconnection: close\r\n\r\nhello");
    let length = raw(Reply::any().body("hello").header("connection", "close")).await;
    assert_eq!(length, "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 5\r\n\r\nhello");
}

#[tokio::test(start_paused = true)]
async fn replies_that_have_no_body_get_none() {
    for (reply, method, expected) in [
        (
            Reply::any().status(204).body("x"),
            "GET",
            "HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n",
        ),
        (
            Reply::any().status(304).body("x"),
            "GET",
            "HTTP/1.1 304 Not Modified\r\nconnection: close\r\n\r\n",
        ),
        (
            Reply::any().body("hello"),
            "HEAD",
            "HTTP/1.1 200 OK\r\ncontent-length: 5\r\nconnection: close\r\n\r\n",
        ),
    ] {
        let (network, _) = host(reply);
        let mut stream = sent(&network, &format!("{method} / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")).await;
        assert_eq!(text(&mut stream).await, expected);
    }
}
