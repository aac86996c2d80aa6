//! What is a job: lists, tables, templates, ids; what is asked, and what comes back with the record.

use std::io::Write;
use std::process::Stdio;

use anabranch_testkit::{Fault, Reply, Upstream};
use serde_json::json;

use super::setup::{Records, Site, fetch, list, record, records, start, until};
use crate::support::{Folder, anabranch};

fn echo() -> Site {
    Site::start(Upstream::new("echo").reply(Reply::any().echo()))
}

#[test]
fn a_line_that_is_no_job_is_a_record_and_the_run_goes_on() {
    let (folder, site) = (Folder::new(), echo());
    let text = format!("{}\nnot a url\nftp://host/x\n\n# remark\n{}", site.url("/a"), site.url("/b"));
    folder.write("urls.txt", &text);
    let (ended, records) = records(&folder, &["-i", "urls.txt"]);
    assert_eq!(ended.code, Some(1), "{}", ended.stderr);
    assert_eq!(records.texts("outcome"), ["ok", "invalid", "invalid", "ok"]);
    assert_eq!(records.all("seq"), [1, 2, 3, 6]);
    assert_eq!(records.distinct_ids(), 4);
}

#[test]
fn lines_of_stdin_go_into_a_template() {
    let (folder, site) = (Folder::new(), echo());
    let mut command = anabranch(&["fetch", "-i", "-", "--url", &site.url("/page/{line}.html"), "--body", "inline"]);
    command
        .current_dir(folder.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"1\na b/c\n3").unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(Records::of(&String::from_utf8(output.stdout).unwrap()).len(), 3);
    let mut paths = site.paths();
    paths.sort();
    assert_eq!(paths, ["/page/1.html", "/page/3.html", "/page/a%20b%2Fc.html"]);
}

#[test]
fn rows_become_posts_and_their_columns_come_back() {
    let (folder, site) = (Folder::new(), echo());
    folder.write("orders.csv", "order_no,amount,note\nA1,12.5,\"says \"\"hi\"\"\"\nA2,7,plain\n");
    folder.write("order.tpl", r#"{"number": "{order_no}", "amount": {amount}, "note": "{note}"}"#);
    let url = site.url("/orders");
    let arguments = [
        "-i",
        "orders.csv",
        "--url",
        &url,
        "-d",
        "@order.tpl",
        "--id",
        "{order_no}",
        "-H",
        "Idempotency-Key: {order_no}",
        "--body",
        "inline",
    ];
    let (ended, records) = records(&folder, &arguments);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert_eq!(records.texts("id"), ["A1", "A2"]);
    assert_eq!(records.texts("method"), ["POST", "POST"]);
    let echoed: serde_json::Value = serde_json::from_str(records.0[0]["body"].as_str().unwrap()).unwrap();
    let sent: serde_json::Value = serde_json::from_str(echoed["body"].as_str().unwrap()).unwrap();
    assert_eq!(sent, json!({"number": "A1", "amount": 12.5, "note": "says \"hi\""}));
    assert_eq!(echoed["headers"]["idempotency-key"], "A1");
    assert_eq!(echoed["headers"]["content-type"], "application/json");
    assert_eq!(records.0[1]["meta"]["note"], "plain");
}

#[test]
fn objects_are_jobs_with_methods_headers_and_bodies_of_their_own() {
    let (folder, site) = (Folder::new(), echo());
    let line = |object: serde_json::Value| format!("{object}\n");
    let text = line(json!({"url": site.url("/a"), "row": 7}))
        + &line(json!({"url": site.url("/b"), "method": "PUT", "headers": {"X-One": "1"}, "body": "text", "id": "own"}))
        + "{broken\n";
    folder.write("jobs.ndjson", &text);
    let (ended, records) = records(&folder, &["-i", "jobs.ndjson"]);
    assert_eq!(ended.code, Some(1), "{}", ended.stderr);
    assert_eq!(records.texts("outcome"), ["ok", "ok", "invalid"]);
    assert_eq!(records.0[0]["meta"], json!({"row": 7}));
    assert_eq!((&records.0[1]["id"], &records.0[1]["method"]), (&json!("own"), &json!("PUT")));
    let put = site.seen().into_iter().find(|seen| seen.method == "PUT").unwrap();
    assert_eq!((put.headers["x-one"].to_str().unwrap(), &put.body[..]), ("1", &b"text"[..]));
}

#[test]
fn the_same_url_twice_is_two_jobs_and_the_same_id_twice_is_a_duplicate() {
    let (folder, site) = (Folder::new(), echo());
    folder.write("urls.txt", &list(&site, ["/a", "/a"].map(String::from)));
    let (_, plain) = records(&folder, &["-i", "urls.txt"]);
    assert_eq!((plain.texts("outcome"), plain.distinct_ids()), (vec!["ok", "ok"], 2));
    folder.write("rows.csv", "n\n1\n2\n1\n");
    let (ended, given) = records(&folder, &["-i", "rows.csv", "--url", &site.url("/{n}"), "--id", "{n}"]);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert_eq!(given.texts("outcome"), ["ok", "ok", "duplicate"]);
    assert_eq!(site.seen().len(), 4);
}

#[test]
fn credentials_stay_with_the_origin_that_they_are_for() {
    let folder = Folder::new();
    let other = echo();
    let site = Site::start(
        Upstream::new("site")
            .reply(Reply::get("/away").status(302).header("location", other.url("/there")))
            .reply(Reply::get("/here").status(302).header("location", "/end"))
            .reply(Reply::any().echo()),
    );
    let headers = ["-u", "ada:secret", "-H", "Cookie: a=1", "-H", "X-Plain: 1"];
    let away = record(&folder, &[&[site.url("/away").as_str()][..], &headers].concat());
    assert_eq!((&away["outcome"], &away["final_url"]), (&json!("ok"), &json!(other.url("/there"))));
    let seen = &other.seen()[0];
    assert!(
        !seen.headers.contains_key("authorization") && !seen.headers.contains_key("cookie"),
        "{seen:?}"
    );
    let here = record(&folder, &[&[site.url("/here").as_str()][..], &headers].concat());
    assert_eq!(here["final_url"], json!(site.url("/end")));
    let seen = site.seen().into_iter().find(|seen| seen.path() == "/end").unwrap();
    assert!(seen.headers.contains_key("authorization") && seen.headers.contains_key("cookie"));
}

#[test]
#[cfg(target_os = "linux")]
#[expect(clippy::disallowed_methods, reason = "a process is watched in real time")]
fn a_long_list_needs_no_memory() {
    let folder = Folder::new();
    let site = Site::start(Upstream::new("site").reply(Reply::any().fault(Fault::Hang)));
    let line = |number: u32| format!("{}\n", site.url(&format!("/a/path/that/is/not/short/{number}")));
    let mut file = std::io::BufWriter::new(std::fs::File::create(folder.path().join("urls.txt")).unwrap());
    (0..1_500_000).for_each(|number| file.write_all(line(number).as_bytes()).unwrap());
    drop(file);
    let mut child = start(&folder, &["-i", "urls.txt", "--run", "r", "--progress", "none"]);
    until("the first requests", || site.seen().len() >= 16);
    std::thread::sleep(std::time::Duration::from_secs(4));
    let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    let peak = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok());
    assert!(peak.unwrap() < 100_000, "{peak:?} KiB");
}

#[test]
fn a_dry_run_and_an_explanation_ask_nobody() {
    let (folder, site) = (Folder::new(), echo());
    folder.write("rows.csv", "n\n1\n2\n");
    let url = site.url("/{n}");
    let dry = fetch(&folder, &["-i", "rows.csv", "--url", &url, "-d", "n={n}", "--dry-run"]);
    assert_eq!(dry.code, Some(0), "{dry:?}");
    assert!(dry.stdout.contains(&format!("POST {}", site.url("/1"))), "{}", dry.stdout);
    folder.write("hosts.yaml", "127.0.0.1: { in_flight: 2, rate: 5/s }\n");
    let explained = fetch(&folder, &["-i", "rows.csv", "--limits", "hosts.yaml", "--explain", &site.url("/1")]);
    assert_eq!(explained.code, Some(0), "{explained:?}");
    assert!(
        explained.stdout.contains("127.0.0.1") && explained.stdout.contains("5"),
        "{}",
        explained.stdout
    );
    assert_eq!(site.seen().len(), 0);
}
