//! Sources that fail in every way that a network and a bad server have: the page is still there in time, without the part, and the
//! account says which way it was.

use std::time::Duration;

use anabranch_gateway::config::MapLookup;
use anabranch_testkit::{closed_port, BlackHole, Fault, Framing, Reply, TcpUpstream, Upstream};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::time::Instant;

use crate::setup::{alone, good, ms, soon, upstream, BadPart, Running};

/// How one request is answered, and what becomes of the part.
struct Case {
    name: &'static str,
    reply: Reply,
    outcome: &'static str,
}

fn case(name: &'static str, outcome: &'static str, reply: Reply) -> Case {
    Case { name, reply, outcome }
}

fn value(fault: Fault) -> Reply {
    Reply::get("/value").json(r#"{"id":2,"name":"x"}"#).fault(fault)
}

fn body(bytes: &[u8]) -> Reply {
    Reply::get("/value").header("content-type", "application/json").body(bytes.to_vec())
}

/// One page for all cases; the upstream changes its script between them.
async fn check(source: &str, deadline: Duration, cases: Vec<Case>) {
    let good = good().await;
    let bad = upstream(Upstream::new("bad")).await;
    let page = BadPart::start(&good, &format!("url: {}, {source}", bad.url()), deadline, &MapLookup::new()).await;
    for Case { name, reply, outcome } in cases {
        bad.served().follow(Upstream::new("bad").reply(reply));
        assert_eq!(page.outcome(name).await, outcome, "{name}");
    }
    bad.served().follow(Upstream::new("bad").reply(body(b"2")));
    assert_eq!(page.outcome("once the source is well again").await, "ok");
}

#[tokio::test]
async fn a_source_that_is_late_is_a_timeout() {
    let drip = ms(40);
    let cases = vec![
        case("never answers", "timeout", value(Fault::Hang)),
        case("drips its head", "timeout", value(Fault::DripHeaders { interval: drip })),
        case("drips its body", "timeout", value(Fault::DripBody { interval: drip })),
        case("answers after the deadline", "timeout", body(b"2").delay(ms(700))),
    ];
    check("retry: 0", ms(300), cases).await;
}

#[tokio::test]
async fn a_body_that_stalls_is_a_timeout_of_its_own() {
    let stalls = Reply::get("/value").pieces(["{\"id\":", "2}"], ms(900));
    let good = good().await;
    let bad = upstream(Upstream::new("bad").reply(stalls)).await;
    let source = format!("url: {}, body_idle: 100ms, retry: 0", bad.url());
    let page = BadPart::start(&good, &source, ms(1500), &MapLookup::new()).await;
    crate::setup::within(ms(500), "a page with a stalled body", async || {
        let started = Instant::now();
        assert_eq!(page.outcome("stalls").await, "timeout");
        started.elapsed()
    })
    .await;
}

#[tokio::test]
async fn a_connection_that_ends_early_is_a_reset_or_a_cut() {
    let chunked = |fault| value(fault).framing(Framing::Chunked);
    let cases = vec![
        case("closes in place of an answer", "reset", value(Fault::CloseBefore)),
        case("resets in place of an answer", "reset", value(Fault::Reset { after: 0 })),
        case("ends before its length", "truncated", value(Fault::Truncate { after: 7 })),
        case("ends behind its head", "truncated", value(Fault::Truncate { after: 0 })),
        case("ends without its last chunk", "truncated", chunked(Fault::Truncate { after: 21 })),
        case(
            "ends inside a head",
            "reset",
            value(Fault::RawBytes("HTTP/1.1 200 OK\r\ncontent-le".into())),
        ),
    ];
    check("retry: 0", ms(1000), cases).await;
}

#[tokio::test]
async fn a_reset_at_any_byte_never_leaves_half_a_part() {
    let good = good().await;
    let bad = upstream(Upstream::new("bad")).await;
    let page = BadPart::start(&good, &format!("url: {}, retry: 0", bad.url()), ms(1000), &MapLookup::new()).await;
    // As the testkit writes it, so that the sweep covers every byte but the last.
    let whole = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 19\r\n\r\n{\"id\":2,\"name\":\"x\"}".len();
    for after in 0..whole {
        bad.served().follow(Upstream::new("bad").reply(value(Fault::Reset { after })));
        let what = format!("reset behind byte {after}");
        assert_eq!(page.outcome(&what).await, "reset", "{what}");
    }
    assert_eq!(bad.counts().requests, whole as u64, "without a retry each is asked once");
}

#[tokio::test]
async fn what_is_no_http_is_a_protocol_fault() {
    let raw = |text: &str| Reply::any().fault(Fault::RawBytes(text.to_string().into()));
    let with = |lines: &str, body: &str| raw(&format!("HTTP/1.1 200 OK\r\n{lines}\r\n\r\n{body}"));
    let cases = vec![
        case("another protocol", "protocol", raw("SSH-2.0-OpenSSH_9.2\r\n")),
        case(
            "a length and chunks",
            "protocol",
            with("content-length: 1\r\ntransfer-encoding: chunked", "1\r\n2\r\n0\r\n\r\n"),
        ),
        case(
            "chunks and a length",
            "protocol",
            with("transfer-encoding: chunked\r\ncontent-length: 1", "1\r\n2\r\n0\r\n\r\n"),
        ),
        case("two lengths", "protocol", with("content-length: 1\r\ncontent-length: 2", "22")),
        case(
            "the same length twice",
            "protocol",
            with("content-length: 1\r\ncontent-length: 1", "2"),
        ),
        case("a length that is a list", "protocol", with("content-length: 1, 1", "2")),
        case("a length with a sign", "protocol", with("content-length: +1", "2")),
        case("an unknown coding", "protocol", with("transfer-encoding: xchunked", "2")),
        case("a folded line", "protocol", with("x: a\r\n content-length: 1", "2")),
        case("a blank before a colon", "protocol", with("content-length : 1", "2")),
        case(
            "a chunk size that is no number",
            "protocol",
            with("transfer-encoding: chunked", "zz\r\n2\r\n0\r\n\r\n"),
        ),
        case(
            "a chunk size above 64 bits",
            "protocol",
            with("transfer-encoding: chunked", "fffffffffffffffff\r\n2"),
        ),
        case("chunks that break off in nonsense", "protocol", value(Fault::BadChunks)),
        case(
            "200 headers",
            "protocol",
            value(Fault::HeaderFlood {
                headers: 200,
                value_length: 10,
            }),
        ),
        case(
            "a header of 1 MB",
            "protocol",
            value(Fault::HeaderFlood {
                headers: 1,
                value_length: 1 << 20,
            }),
        ),
        case("1000 interim answers", "protocol", value(Fault::Interim { count: 1000 })),
        case(
            "101 unasked",
            "protocol",
            raw("HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n"),
        ),
        case("a few interim answers are fine", "ok", value(Fault::Interim { count: 3 })),
    ];
    check("retry: 0", ms(1000), cases).await;
}

#[tokio::test]
async fn a_body_that_is_no_json_is_a_decode_fault() {
    let deep = ["[".repeat(65), "]".repeat(65)].concat();
    let cases = vec![
        case("a page of HTML", "decode", body(b"<html><body>504 Gateway Time-out</body></html>")),
        case("cut off", "decode", body(b"{\"id\":2,\"na")),
        case("two documents", "decode", body(b"{}{}")),
        case("NaN", "decode", body(b"{\"id\":NaN}")),
        case("bytes that are no UTF-8", "decode", body(b"{\"name\":\"\xff\xfe\"}")),
        case("65 levels", "decode", body(deep.as_bytes())),
        case("gzip that is none", "decode", body(b"{}").header("content-encoding", "gzip")),
        case("two layers of gzip", "decode", body(b"{}").header("content-encoding", "gzip, gzip")),
        case(
            "a coding that nobody asked for",
            "decode",
            body(b"{}").header("content-encoding", "compress"),
        ),
        case("a number no machine holds", "ok", body(b"1e400")),
    ];
    check("retry: 0", ms(1000), cases).await;
}

#[tokio::test]
async fn a_status_that_is_no_success_is_said_and_its_body_is_not_passed_on() {
    let secret = r#"{"error":"at http://10.0.0.7:9/internal"}"#;
    let status = |status| body(secret.as_bytes()).status(status).header("location", "http://127.0.0.1:1/else");
    let cases = [301, 302, 307, 400, 401, 404, 429, 500, 502, 503, 504].map(|code| case("a bad status", "status", status(code)));
    check("retry: 0", ms(1000), cases.into()).await;
}

#[tokio::test]
async fn a_source_that_cannot_be_reached_is_a_connect_fault_within_its_limit() {
    let good = good().await;
    let hole = BlackHole::start().await.unwrap();
    let deadline = ms(900);
    let source = format!("url: 'http://{}', connect_timeout: 150ms, retry: 0", hole.addr());
    let page = BadPart::start(&good, &source, deadline, &MapLookup::new()).await;
    crate::setup::within(ms(350), "a page beside a black hole", async || {
        let started = Instant::now();
        assert_eq!(page.outcome("a black hole").await, "connect");
        started.elapsed()
    })
    .await;
    let refused = closed_port().await.unwrap();
    let page = BadPart::start(&good, &format!("url: 'http://{refused}', retry: 0"), deadline, &MapLookup::new()).await;
    crate::setup::within(ms(100), "a page beside a closed port", async || {
        let started = Instant::now();
        assert_eq!(page.outcome("a closed port").await, "connect");
        started.elapsed()
    })
    .await;
    let page = BadPart::start(&good, "url: 'http://no-such-host.invalid', retry: 0", deadline, &MapLookup::new()).await;
    let outcome = page.outcome("a name without address").await;
    // Where the machine's resolver is silent, the deadline ends the wait.
    assert!(["dns", "timeout"].contains(&outcome.as_str()), "{outcome}");
}

#[tokio::test]
async fn one_dead_endpoint_of_two_costs_no_part() {
    let (good, alive) = (good().await, upstream(Upstream::new("bad").reply(body(b"2"))).await);
    let dead = closed_port().await.unwrap();
    let page = BadPart::start(
        &good,
        &format!("url: ['http://{dead}', '{}']", alive.url()),
        ms(1000),
        &MapLookup::new(),
    )
    .await;
    for _ in 0..20 {
        assert_eq!(page.outcome("one endpoint of two is dead").await, "ok");
    }
}

#[tokio::test]
async fn a_reset_is_asked_again_once_if_it_may_be() {
    let good = good().await;
    let bad = upstream(
        Upstream::new("bad")
            .reply(value(Fault::Reset { after: 30 }).times(1))
            .reply(body(b"2")),
    )
    .await;
    let page = BadPart::start(&good, &format!("url: {}", bad.url()), ms(1000), &MapLookup::new()).await;
    assert_eq!(page.outcome("resets once").await, "ok");
    assert_eq!(bad.counts().requests, 2);
}

#[tokio::test]
async fn without_a_needed_part_the_problem_says_which_and_not_where_it_comes_from() {
    let bad = upstream(
        Upstream::new("bad")
            .reply(Reply::get("/late").fault(Fault::Hang))
            .reply(Reply::get("/reset").fault(Fault::Reset { after: 20 }))
            .reply(body(b"{\"at\":\"http://10.0.0.7/\"}").status(503)),
    )
    .await;
    let refused = closed_port().await.unwrap();
    let config = format!(
        "
defaults: {{ retry: 0 }}
sources:
  bad: {{ url: {} }}
  refused: {{ url: 'http://{refused}' }}
routes:
  GET /late: {{ deadline: 150ms, need: [part], calls: {{ part: bad /late }} }}
  GET /reset: {{ need: [part], calls: {{ part: bad /reset }} }}
  GET /status: {{ need: [part], calls: {{ part: bad /value }} }}
  GET /refused: {{ need: [part], calls: {{ part: refused /value }} }}
",
        bad.url()
    );
    let running = Running::start(&config).await;
    for (path, status, outcome) in [
        ("/late", 504, "timeout"),
        ("/reset", 502, "reset"),
        ("/status", 502, "status"),
        ("/refused", 502, "connect"),
    ] {
        let reply = running.get(path).await;
        assert_eq!(
            (reply.status, reply.header("content-type")),
            (status, Some("application/problem+json")),
            "{path}"
        );
        assert!(
            reply.text().contains(&format!("\"part\":{{\"outcome\":\"{outcome}\"")),
            "{path}: {}",
            reply.text()
        );
        let whole = [&reply.raw[..], &reply.body[..]].concat();
        let whole = String::from_utf8_lossy(&whole);
        for secret in [
            "127.0.0.1",
            "10.0.0.7",
            "http://",
            &format!(":{}", refused.port()),
            &format!(":{}", bad.addr().port()),
        ] {
            assert!(!whole.contains(secret), "{path}: {whole}");
        }
    }
}

#[tokio::test]
async fn an_answer_nobody_asked_for_is_never_taken_for_the_next_one() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    // Answers each request twice, and leaves the connection open.
    let answers_twice = async {
        let mut connections = Vec::new();
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                stream.read_buf(&mut head).await.unwrap();
            }
            stream
                .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\n2HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\n\"evil\"")
                .await
                .unwrap();
            connections.push(stream);
        }
    };
    let good = good().await;
    let asks = async {
        let page = BadPart::start(&good, &format!("url: '{url}', retry: 0"), ms(1000), &MapLookup::new()).await;
        for _ in 0..5 {
            let reply = page.running.get("/page").await;
            assert!(!reply.text().contains("evil"), "{}", reply.text());
            assert_eq!(reply.text(), r#"{"good":{"id":1},"bad":2}"#);
        }
    };
    tokio::select! {
        () = answers_twice => unreachable!("it answers for ever"),
        () = soon(asks) => {}
    }
}

/// What the process has held at the most since the last call, in KiB (`VmHWM`, proc(5)).
fn peak_memory_kb() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    // 5 sets the peak back to what is held now.
    std::fs::write("/proc/self/clear_refs", "5").unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

#[tokio::test]
async fn a_body_without_measure_stops_at_the_cap_in_memory_too() {
    if !alone("faults::a_body_without_measure_stops_at_the_cap_in_memory_too").await {
        return;
    }
    let good = good().await;
    let bad: TcpUpstream = upstream(Upstream::new("bad")).await;
    let page = BadPart::start(&good, &format!("url: {}, retry: 0", bad.url()), ms(3000), &MapLookup::new()).await;
    let gigabyte = Fault::BigBody { size: 1 << 30 };
    let cases = [
        case("well, to begin with", "ok", body(b"2")),
        case("1 GB, announced", "too_large", value(gigabyte.clone())),
        case("1 GB in chunks", "too_large", value(gigabyte.clone()).framing(Framing::Chunked)),
        case(
            "1 GB up to the end of the connection",
            "too_large",
            value(gigabyte).framing(Framing::UntilClose),
        ),
        case("chunks without end", "too_large", value(Fault::EndlessChunks)),
        case("256 MB out of 250 KB", "too_large", value(Fault::GzipBomb { decoded: 256 << 20 })),
    ];
    let mut before = None;
    for Case { name, reply, outcome } in cases {
        bad.served().follow(Upstream::new("bad").reply(reply));
        assert_eq!(page.outcome(name).await, outcome, "{name}");
        let peak = peak_memory_kb();
        let allowed = *before.get_or_insert(peak) + 3 * 8 * 1024;
        assert!(peak <= allowed, "{name}: {peak} KiB at the peak, expected at most {allowed}");
    }
}
