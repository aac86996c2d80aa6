//! How a run ends: exit codes, signals, and what is left behind for the next call.

#![expect(clippy::disallowed_methods, reason = "signals and processes take real time")]

use std::io::{BufRead, BufReader, Read};
use std::process::Command;
use std::time::{Duration, Instant};

use anabranch_testkit::{Fault, Reply, Upstream};

use super::setup::{Records, Site, fetch, list, records, start, until};
use crate::support::{Folder, anabranch, interrupt};

fn site() -> Site {
    Site::start(
        Upstream::new("site")
            .reply(Reply::get("/ok/*").body("hello"))
            .reply(Reply::get("/slow/*").body("late").delay(Duration::from_millis(400)))
            .reply(Reply::get("/hang/*").fault(Fault::Hang))
            .reply(Reply::get("/broken/*").status(500))
            .reply(Reply::get("/busy/*").status(503)),
    )
}

fn paths(kind: &str, count: usize) -> Vec<String> {
    (0..count).map(|number| format!("/{kind}/{number}")).collect()
}

#[test]
fn a_run_in_which_all_went_well_ends_with_0() {
    let (folder, site) = (Folder::new(), site());
    let (ended, records) = records(&folder, &[&site.url("/ok/1"), &site.url("/ok/2"), &site.url("/ok/3")]);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert_eq!(records.texts("outcome"), ["ok", "ok", "ok"]);
    assert_eq!(records.all("seq"), [1, 2, 3]);
    assert_eq!(records.all("status"), [200, 200, 200]);
    assert_eq!(records.distinct_ids(), 3);
    assert!(ended.stderr.contains("3 jobs") && ended.stderr.contains("3 ok"), "{}", ended.stderr);
}

#[test]
fn a_run_in_which_some_failed_says_which_and_ends_with_1() {
    let (folder, site) = (Folder::new(), site());
    folder.write("urls.txt", &list(&site, ["/ok/1", "/none", "/broken/1"].map(String::from)));
    let text = std::fs::read_to_string(folder.path().join("urls.txt")).unwrap() + "http://127.0.0.1:1/refused\n";
    folder.write("urls.txt", &text);
    let (ended, records) = records(&folder, &["-i", "urls.txt", "--retries", "0"]);
    assert_eq!(ended.code, Some(1), "{}", ended.stderr);
    assert_eq!(records.texts("outcome"), ["ok", "http_error", "http_error", "connect"]);
    assert_eq!(records.0[1]["error"]["retryable"], false);
    assert_eq!(records.0[2]["error"]["retryable"], true);
    assert!(records.0[0]["error"].is_null());
    assert!(
        ended.stderr.contains("3 failed") && ended.stderr.contains("http_error 2"),
        "{}",
        ended.stderr
    );
}

#[test]
fn nothing_to_do_is_done_and_said() {
    let folder = Folder::new();
    folder.write("urls.txt", "\n# nothing here\n\n");
    let ended = fetch(&folder, &["-i", "urls.txt"]);
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(0), ""));
    assert!(ended.stderr.contains("no jobs"), "{}", ended.stderr);
}

#[test]
fn what_cannot_be_done_as_asked_ends_with_2_before_the_first_request() {
    let (folder, site) = (Folder::new(), site());
    let url = site.url("/ok/1");
    folder.write("bad.txt", &format!("{url}\nnonsense\n"));
    folder.write("hosts.yaml", "a: { in_flihgt: 2 }\n");
    folder.write("taken", "not ours\n");
    for arguments in [
        &["127.0.0.1/ok"][..],
        &["-i", "missing.txt"],
        &["-i", "bad.txt", "--strict"],
        &[&url, "--limits", "hosts.yaml"],
        &[&url, "--url", "http://a/{nope}"],
        &[&url, "--select", "a=css:h1["],
        &[&url, "--jq", ".a |"],
        &[&url, "--sink", "nonsense:x"],
        &[&url, "-o", "taken"],
        &[&url, "--rate", "fast"],
    ] {
        let ended = fetch(&folder, arguments);
        // A file that is not there is the machine's fault, as for all commands.
        let expected = if arguments.contains(&"missing.txt") {
            [Some(2), Some(3)]
        } else {
            [Some(2); 2]
        };
        assert!(expected.contains(&ended.code), "{arguments:?}: {ended:?}");
        assert!(
            ended.stdout.is_empty() && ended.stderr.contains("error: "),
            "{arguments:?}: {ended:?}"
        );
    }
    assert_eq!(site.paths(), Vec::<String>::new());
    assert_eq!(std::fs::read_to_string(folder.path().join("taken")).unwrap(), "not ours\n");
}

#[test]
#[cfg(target_os = "linux")]
fn a_place_that_cannot_be_written_ends_with_3() {
    let (folder, site) = (Folder::new(), site());
    folder.write("file", "no folder\n");
    let ended = fetch(&folder, &[&site.url("/ok/1"), "-o", "file/out.ndjson"]);
    assert_eq!(ended.code, Some(3), "{ended:?}");
    let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
    let output = anabranch(&["fetch", &site.url("/ok/1")]).stdout(full).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(3), "{said}");
    assert!(said.contains("error: "), "{said}");
}

#[test]
fn the_first_failure_ends_a_run_that_says_so_and_the_next_call_goes_on() {
    let (folder, site) = (Folder::new(), site());
    let all = [paths("ok", 20), paths("broken", 1), paths("slow", 20)].concat();
    folder.write("urls.txt", &list(&site, all));
    let run = ["-i", "urls.txt", "--run", "r", "--retries", "0", "-j", "4"];
    let ended = fetch(&folder, &[&run[..], &["--fail-fast"]].concat());
    assert_eq!(ended.code, Some(4), "{ended:?}");
    assert!(ended.stderr.contains("anabranch fetch -i urls.txt --run r"), "{}", ended.stderr);
    let before = Records::read(&folder.path().join("r/records.ndjson")).len();
    assert!((1..41).contains(&before), "{before}");
    let ended = fetch(&folder, &run);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    let records = Records::read(&folder.path().join("r/records.ndjson"));
    assert_eq!((records.len(), records.distinct_ids()), (41, 41));
    // A run that is done asks nobody.
    let asked = site.seen().len();
    let ended = fetch(&folder, &run);
    assert_eq!((ended.code, site.seen().len()), (Some(1), asked), "{ended:?}");
}

#[test]
fn too_many_failures_end_a_run() {
    let (folder, site) = (Folder::new(), site());
    folder.write("urls.txt", &list(&site, paths("broken", 50)));
    let ended = fetch(&folder, &["-i", "urls.txt", "--retries", "0", "-j", "2", "--max-failures", "5"]);
    assert_eq!(ended.code, Some(4), "{ended:?}");
    let records = Records::of(&ended.stdout);
    assert!((5..=8).contains(&records.len()), "{}", records.len());
}

#[test]
fn a_deadline_ends_a_run_in_time() {
    let (folder, site) = (Folder::new(), site());
    folder.write("urls.txt", &list(&site, paths("slow", 60)));
    let started = Instant::now();
    let ended = fetch(&folder, &["-i", "urls.txt", "--run", "r", "-j", "3", "--deadline", "1s"]);
    assert_eq!(ended.code, Some(4), "{ended:?}");
    assert!(started.elapsed() < Duration::from_secs(4), "{:?}", started.elapsed());
    let ended = fetch(&folder, &["-i", "urls.txt", "--run", "r", "-j", "60", "--per-host", "60"]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let records = Records::read(&folder.path().join("r/records.ndjson"));
    assert_eq!((records.len(), records.distinct_ids()), (60, 60));
}

#[test]
fn ctrl_c_lets_what_is_in_flight_end_and_the_next_call_goes_on() {
    let (folder, site) = (Folder::new(), site());
    folder.write("urls.txt", &list(&site, paths("slow", 40)));
    let run = ["-i", "urls.txt", "-o", "out.ndjson", "-j", "4"];
    let child = start(&folder, &run);
    until("the first request", || site.seen().len() >= 4);
    interrupt(&child);
    let output = child.wait_with_output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(130), "{stderr}");
    assert!(stderr.contains("anabranch fetch -i urls.txt -o out.ndjson -j 4"), "{stderr}");
    // What was in flight was waited for: each request that was made is a record.
    let before = Records::read(&folder.path().join("out.ndjson"));
    assert_eq!((before.len(), before.outcomes()["ok"]), (site.seen().len(), site.seen().len()));
    let ended = fetch(&folder, &["-i", "urls.txt", "-o", "out.ndjson", "-j", "40", "--per-host", "40"]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let records = Records::read(&folder.path().join("out.ndjson"));
    assert_eq!((records.len(), records.distinct_ids(), site.seen().len()), (40, 40, 40));
}

#[test]
fn a_second_ctrl_c_ends_it_at_once() {
    let (folder, site) = (Folder::new(), site());
    folder.write("urls.txt", &list(&site, paths("hang", 10)));
    let mut child = start(
        &folder,
        &["-i", "urls.txt", "--run", "r", "--drain", "30s", "--first-byte-timeout", "30s"],
    );
    let mut stderr = BufReader::new(child.stderr.take().unwrap());
    until("the first request", || !site.seen().is_empty());
    interrupt(&child);
    let mut said = String::new();
    while !said.contains("SIGINT") {
        assert!(stderr.read_line(&mut said).unwrap() > 0, "{said}");
    }
    let started = Instant::now();
    interrupt(&child);
    assert_eq!(child.wait().unwrap().code(), Some(130), "{said}");
    assert!(started.elapsed() < Duration::from_secs(3), "{:?}", started.elapsed());
    let records = std::fs::read_to_string(folder.path().join("r/records.ndjson")).unwrap_or_default();
    assert_eq!(records, "", "a job that was cut off leaves no record");
}

#[test]
fn sigterm_ends_with_143() {
    let (folder, site) = (Folder::new(), site());
    folder.write("urls.txt", &list(&site, paths("slow", 40)));
    let child = start(&folder, &["-i", "urls.txt", "--run", "r", "-j", "2"]);
    until("the first request", || !site.seen().is_empty());
    assert!(
        Command::new("kill")
            .args(["-TERM", &child.id().to_string()])
            .status()
            .unwrap()
            .success()
    );
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(143), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn a_reader_that_leaves_ends_it_without_a_word() {
    let (folder, site) = (Folder::new(), site());
    folder.write("urls.txt", &list(&site, paths("ok", 2000)));
    let mut child = start(&folder, &["-i", "urls.txt", "--progress", "none", "--rate", "500/s"]);
    let mut first = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut first).unwrap();
    assert!(first.contains("\"outcome\":\"ok\""), "{first}");
    let mut stderr = String::new();
    child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
    assert_eq!((child.wait().unwrap().code(), stderr.as_str()), (Some(141), ""));
    assert!(site.seen().len() < 2000);
}

#[test]
fn what_failed_is_fetched_again_on_demand() {
    let folder = Folder::new();
    let site = Site::start(
        Upstream::new("site")
            .reply(Reply::get("/mended").status(500).times(1))
            .reply(Reply::get("/mended").body("now"))
            .reply(Reply::any().body("always")),
    );
    folder.write("urls.txt", &list(&site, ["/a", "/mended", "/b"].map(String::from)));
    let run = ["-i", "urls.txt", "-o", "out.ndjson", "--retries", "0"];
    assert_eq!(fetch(&folder, &run).code, Some(1));
    assert_eq!(site.seen().len(), 3);
    let ended = fetch(&folder, &[&run[..], &["--retry-failed"]].concat());
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let records = Records::read(&folder.path().join("out.ndjson")).by_seq();
    assert_eq!(records.texts("outcome"), ["ok", "ok", "ok"]);
    assert_eq!(site.seen().len(), 4);
}

#[test]
fn a_run_begins_anew_only_when_told_so() {
    let (folder, site) = (Folder::new(), site());
    let url = site.url("/ok/1");
    let run = [url.as_str(), "-o", "out.ndjson"];
    for asked in [1, 1] {
        assert_eq!(fetch(&folder, &run).code, Some(0));
        assert_eq!(site.seen().len(), asked);
    }
    assert_eq!(fetch(&folder, &[&run[..], &["--fresh"]].concat()).code, Some(0));
    assert_eq!(site.seen().len(), 2);
    assert_eq!(Records::read(&folder.path().join("out.ndjson")).len(), 1);
    // Limits may change between calls, the shape of jobs may not.
    assert_eq!(fetch(&folder, &[&run[..], &["-j", "2"]].concat()).code, Some(0));
    let other = fetch(&folder, &[&run[..], &["-X", "DELETE"]].concat());
    assert_eq!(other.code, Some(2), "{other:?}");
    assert!(other.stderr.contains("--fresh"), "{}", other.stderr);
}

#[test]
fn two_calls_do_not_work_on_one_run() {
    let (folder, site) = (Folder::new(), site());
    folder.write("urls.txt", &list(&site, paths("hang", 3)));
    let mut first = start(&folder, &["-i", "urls.txt", "--run", "r"]);
    until("the first request", || !site.seen().is_empty());
    let second = fetch(&folder, &["-i", "urls.txt", "--run", "r"]);
    assert_eq!(second.code, Some(3), "{second:?}");
    first.kill().unwrap();
    first.wait().unwrap();
}
