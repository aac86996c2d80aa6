//! `anabranch demo`, at a twentieth of its time.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use crate::support::{anabranch, interrupt, Folder};

#[test]
fn both_runs_are_shown_and_the_page_takes_its_slowest_path() {
    // Time is real here and the machine may be busy: one good run of three will do.
    let mut runs = (0..3).map(|_| Folder::new().run(&["demo", "--once", "--scale", "0.05"]));
    let ended = runs
        .find(|ended| ended.code != Some(1))
        .expect("one run of three within the slowest path + 50 ms");
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(0), ""), "{}", ended.stderr);
    assert!(ended.stderr.starts_with("anabranch demo: "), "{}", ended.stderr);
    for expected in [
        "\none after another, 1.",
        "\nthrough the gateway: GET /activity/7, 2",
        "after profile",
        "profile, then coupons",
        "times faster",
        "overhead",
    ] {
        assert!(ended.stderr.contains(expected), "no `{expected}` in:\n{}", ended.stderr);
    }
    let bars = ended
        .stderr
        .lines()
        .filter(|line| line.contains('=') && line.trim_end().ends_with("ok"))
        .count();
    assert_eq!(bars, 24, "{}", ended.stderr);
    assert!(!ended.stderr.contains(['\r', '\x1b']), "progress is for terminals");
}

#[test]
fn it_stays_up_until_ctrl_c() {
    let mut child = anabranch(&["demo", "--scale", "0.01"])
        .stderr(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
    let curl = lines.find(|line| line.trim_start().starts_with("curl ")).unwrap();
    let address = curl.split_once("http://").unwrap().1.split_once('/').unwrap().0.to_string();
    assert!(lines.any(|line| line.contains("Ctrl-C")));
    let page = crate::support::get(&address, "/activity/9");
    assert!(
        page.starts_with("HTTP/1.1 200") && page.contains("{\"activity\":{\"id\":9,"),
        "{page}"
    );
    interrupt(&child);
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn ctrl_c_during_the_runs_is_an_interruption() {
    let mut child = anabranch(&["demo", "--once"]).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
    assert!(lines.any(|line| line.contains("one after another")));
    interrupt(&child);
    assert_eq!(child.wait().unwrap().code(), Some(130));
}
