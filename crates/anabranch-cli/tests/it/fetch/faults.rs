//! Servers that do it wrongly: each way of failing has its outcome, and none holds up the run.

#![expect(clippy::disallowed_methods, reason = "what takes long takes real time")]

use std::time::{Duration, Instant};

use anabranch_testkit::{Fault, Framing, Reply, Upstream};
use serde_json::{Value, json};

use super::setup::{Site, record, records};
use crate::support::Folder;

const TEXT: &str = "0123456789012345678901234567890123456789";

/// Fetches a URL of a site with one way of failing; no retries.
fn met(reply: Reply, arguments: &[&str]) -> Value {
    let folder = Folder::new();
    let site = Site::start(Upstream::new("site").reply(reply));
    record(&folder, &[&[&site.url("/x") as &str, "--retries", "0"], arguments].concat())
}

fn ended(reply: Reply, arguments: &[&str]) -> String {
    let record = met(reply, arguments);
    assert!(!record["error"].is_null(), "{record}");
    record["outcome"].as_str().unwrap().to_string()
}

fn wrong(fault: Fault) -> Reply {
    Reply::any().body(TEXT).fault(fault)
}

#[test]
fn silence_is_a_timeout_that_says_which() {
    let hang = met(wrong(Fault::Hang), &["--first-byte-timeout", "200ms"]);
    assert_eq!(
        (&hang["outcome"], &hang["error"]["kind"]),
        (&json!("timeout"), &json!("first_byte_timeout"))
    );
    let whole = met(wrong(Fault::Hang), &["--timeout", "200ms"]);
    assert_eq!((&whole["outcome"], &whole["error"]["kind"]), (&json!("timeout"), &json!("timeout")));
    let pieces = Reply::any().pieces(["a", "b"], Duration::from_secs(20));
    let idle = met(pieces, &["--idle-timeout", "200ms"]);
    assert_eq!(
        (&idle["outcome"], &idle["error"]["kind"]),
        (&json!("timeout"), &json!("idle_timeout"))
    );
}

#[test]
fn connections_that_break_say_where() {
    assert_eq!(ended(wrong(Fault::Reset { after: 0 }), &[]), "reset");
    assert_eq!(ended(wrong(Fault::CloseBefore), &[]), "reset");
    assert!(["truncated", "reset"].contains(&ended(wrong(Fault::Reset { after: 60 }), &[]).as_str()));
    assert_eq!(ended(wrong(Fault::Truncate { after: 10 }), &[]), "truncated");
    assert_eq!(
        ended(wrong(Fault::Truncate { after: 10 }).framing(Framing::Chunked), &[]),
        "truncated"
    );
}

#[test]
fn what_is_no_http_is_a_fault_of_the_protocol() {
    assert_eq!(ended(wrong(Fault::RawBytes("SSH-2.0-OpenSSH\r\n".into())), &[]), "protocol");
    assert_eq!(ended(wrong(Fault::BadChunks), &[]), "protocol");
    assert_eq!(
        ended(
            wrong(Fault::HeaderFlood {
                headers: 5000,
                value_length: 1000
            }),
            &[]
        ),
        "protocol"
    );
}

#[test]
fn bodies_beyond_all_bounds_are_cut() {
    assert_eq!(ended(wrong(Fault::BigBody { size: 3 << 20 }), &["--max-body", "1M"]), "too_large");
    assert_eq!(
        ended(
            wrong(Fault::BigBody { size: 3 << 20 }).framing(Framing::Chunked),
            &["--max-body", "1M"]
        ),
        "too_large"
    );
    assert_eq!(ended(wrong(Fault::EndlessChunks), &["--max-body", "1M"]), "too_large");
    let bomb = Fault::GzipBomb { decoded: 1 << 30 };
    assert_eq!(ended(wrong(bomb), &["--max-decoded", "10M"]), "too_large");
}

#[test]
fn a_body_that_drips_is_too_slow() {
    let drip = Fault::DripBody {
        interval: Duration::from_millis(50),
    };
    let started = Instant::now();
    assert_eq!(ended(wrong(drip), &["--min-speed", "1k/300ms"]), "too_slow");
    assert!(started.elapsed() < Duration::from_secs(5));
}

#[test]
fn redirects_that_lead_nowhere_end() {
    let folder = Folder::new();
    let site = Site::start(
        Upstream::new("site")
            .reply(Reply::get("/loop").status(302).header("location", "/loop"))
            .reply(Reply::get("/file").status(302).header("location", "file:///etc/passwd"))
            .reply(Reply::get("/long/*").status(302).header("location", "/long/1")),
    );
    for path in ["/loop", "/file", "/long/0"] {
        let record = record(&folder, &[&site.url(path), "--retries", "0"]);
        assert_eq!(record["outcome"], "redirect", "{path}: {record}");
    }
    assert!(site.seen().len() < 30);
}

#[test]
fn names_and_ports_that_are_not_there_say_so() {
    let folder = Folder::new();
    let (_, both) = records(&folder, &["http://no-such-host.invalid/", "http://127.0.0.1:1/", "--retries", "0"]);
    assert_eq!(both.texts("outcome"), ["dns", "connect"]);
    let private = record(&folder, &["http://127.0.0.1:1/", "--deny-private"]);
    assert_eq!(private["outcome"], "private_address");
}

#[test]
fn what_comes_back_is_tried_again_and_told() {
    let folder = Folder::new();
    let site = Site::start(
        Upstream::new("site")
            .reply(Reply::get("/busy").status(429).header("retry-after", "1").times(1))
            .reply(Reply::get("/flaps").fault(Fault::CloseBefore).times(2))
            .reply(Reply::any().body("ok")),
    );
    let started = Instant::now();
    let busy = record(&folder, &[&site.url("/busy"), "--backoff", "1ms..2ms"]);
    assert!(started.elapsed() >= Duration::from_millis(950), "{:?}", started.elapsed());
    assert_eq!((&busy["outcome"], &busy["attempts"]), (&json!("ok"), &json!(2)));
    assert_eq!(
        (&busy["tries"][0]["status"], &busy["tries"][0]["why"]),
        (&json!(429), &json!("retry-after"))
    );
    let flaps = record(&folder, &[&site.url("/flaps"), "--backoff", "1ms..20ms"]);
    assert_eq!(
        (&flaps["outcome"], &flaps["attempts"], &flaps["tries"][0]["outcome"]),
        (&json!("ok"), &json!(3), &json!("reset"))
    );
    let post = record(&folder, &[&site.url("/none"), "-d", "x", "--expect", "404"]);
    assert_eq!(post["attempts"], 1);
}

#[test]
fn a_post_is_sent_once_unless_said() {
    let folder = Folder::new();
    let site = Site::start(Upstream::new("site").reply(Reply::any().status(503)));
    let once = record(&folder, &[&site.url("/a"), "-d", "x", "--backoff", "1ms..2ms"]);
    assert_eq!((&once["attempts"], site.seen().len()), (&json!(1), 1));
    let twice = record(
        &folder,
        &[
            &site.url("/a"),
            "-d",
            "x",
            "--backoff",
            "1ms..2ms",
            "--retries",
            "1",
            "--retry-unsafe",
        ],
    );
    assert_eq!((&twice["attempts"], site.seen().len()), (&json!(2), 3));
}

#[test]
fn a_dead_host_costs_the_others_nothing() {
    let folder = Folder::new();
    let good = Site::start(Upstream::new("good").reply(Reply::any().body("ok")));
    let dead = Site::start_at(Upstream::new("dead").reply(Reply::any().fault(Fault::Hang)), "127.0.0.2:0");
    // More jobs for the dead host than there are places, and they come first.
    let dead_jobs: String = (0..100).map(|number| format!("{}\n", dead.url(&format!("/{number}")))).collect();
    let good_jobs: String = (0..200).map(|number| format!("{}\n", good.url(&format!("/{number}")))).collect();
    folder.write("urls.txt", &format!("{dead_jobs}{good_jobs}"));
    let (_, all) = records(
        &folder,
        &[
            "-i",
            "urls.txt",
            "-j",
            "20",
            "--per-host",
            "4",
            "--retries",
            "0",
            "--first-byte-timeout",
            "150ms",
            "--progress",
            "none",
        ],
    );
    assert_eq!(all.len(), 300);
    let ended = |outcome: &str| {
        let times = all
            .0
            .iter()
            .filter(|record| record["outcome"] == outcome)
            .map(|record| record["ts"].as_str().unwrap());
        (times.clone().min().unwrap().to_string(), times.max().unwrap().to_string())
    };
    let ((_, last_ok), (first_dead, last_dead)) = (ended("ok"), ended("timeout"));
    assert!(
        last_ok < last_dead,
        "the last answer came at {last_ok}, the dead host's jobs ended from {first_dead} to {last_dead}"
    );
    assert_eq!((all.outcomes()["ok"], all.outcomes()["timeout"]), (200, 100));
}
