//! A run that is killed again and again, meets a full disk and a server that restarts, and has each job once in the end.

#![expect(clippy::disallowed_methods, reason = "processes are killed in real time")]

use std::collections::HashMap;
use std::fs::File;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anabranch_testkit::{Reply, Upstream};

use super::setup::{Records, Site, is_quick};
use crate::support::{Folder, anabranch};

const JOBS: usize = 20_000;
const HOSTS: usize = 10;
/// Requests a second over all hosts, and to one host: together the hosts would allow more than the whole.
const RATE: usize = 500;
const HOST_RATE: usize = 60;
const KILLS: usize = 22;
/// At 500 a second the jobs take 40 s; each kill costs what was in flight and a start.
const LONGEST: Duration = Duration::from_secs(150);

#[test]
fn twenty_thousand_jobs_survive_kills_a_full_disk_and_a_restart() {
    if is_quick() {
        return;
    }
    let folder = Folder::new();
    let script = || Upstream::new("site").reply(Reply::any().body("ok"));
    let mut sites: Vec<Site> = (0..HOSTS)
        .map(|host| Site::start_at(script(), &format!("127.0.1.{}:0", host + 1)))
        .collect();
    let list: String = (0..JOBS)
        .map(|job| format!("{}\n", sites[job % HOSTS].url(&format!("/{job}"))))
        .collect();
    folder.write("urls.txt", &list);

    let started = Instant::now();
    let mut rng = Rng(0x2545_f491_4f6c_dd1d);
    let mut kills = 0;
    let ended = loop {
        assert!(
            started.elapsed() < LONGEST,
            "not done after {LONGEST:?} and {kills} kills: {}",
            count(folder.path())
        );
        // Once, the disk is full after some 64 KiB more: the run stops by itself, with 3 and all that it said was stored.
        if kills == 7 {
            let full = run(folder.path(), Some(largest_file(folder.path()) + (64 << 10)));
            let output = full.wait_with_output().unwrap();
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            assert_eq!(output.status.code(), Some(3), "{said}");
            assert!(said.contains("error: "), "{said}");
        }
        let mut child = run(folder.path(), None);
        if kills == KILLS {
            break child.wait_with_output().unwrap();
        }
        let life = Duration::from_millis(150 + rng.below(2700));
        let born = Instant::now();
        if kills == 12 {
            thread::sleep(life / 2);
            sites[3].restart(Duration::from_millis(400));
        }
        thread::sleep(life.saturating_sub(born.elapsed()));
        if let Some(status) = child.try_wait().unwrap() {
            panic!("it ended by itself with {status} after {kills} kills");
        }
        child.kill().unwrap();
        child.wait().unwrap();
        kills += 1;
        assert!(count(folder.path()) < JOBS, "it was done after {kills} kills: give it more jobs");
    };
    let said = String::from_utf8_lossy(&ended.stderr).into_owned();
    assert!(matches!(ended.status.code(), Some(0 | 1)), "{said}");

    let records = Records::read(&folder.path().join("out.ndjson")).by_seq();
    assert_eq!((records.len(), records.distinct_ids()), (JOBS, JOBS), "{said}");
    assert!(
        records
            .all("seq")
            .iter()
            .enumerate()
            .all(|(at, seq)| seq.as_u64() == Some(at as u64 + 1))
    );
    assert!(records.outcomes()["ok"] >= JOBS * 99 / 100, "{:?}", records.outcomes());
    check_rates(&sites);
    println!("{JOBS} jobs, {kills} kills, {:?}: {:?}", started.elapsed(), records.outcomes());
}

/// Starts the run, or goes on with it; with a size that no file of it may exceed, the nearest thing to a full disk without being root.
fn run(folder: &Path, file_max: Option<u64>) -> std::process::Child {
    let rates = [format!("{RATE}/s"), format!("{HOST_RATE}/s")];
    let arguments = [
        "fetch",
        "-i",
        "urls.txt",
        "-o",
        "out.ndjson",
        "--rate",
        &rates[0],
        "--host-rate",
        &rates[1],
        "--retries",
        "10",
        "--backoff",
        "50ms..1s",
        "--progress",
        "none",
    ];
    let mut command = match file_max {
        None => anabranch(&arguments),
        Some(bytes) => {
            let mut command = Command::new("sh");
            // In blocks of 512 bytes. The signal is ignored, so that writing fails as on a full disk instead of ending the process.
            let script = "trap '' XFSZ; ulimit -f \"$1\"; shift; exec \"$@\"";
            command
                .args(["-c", script, "sh", &(bytes / 512).to_string(), env!("CARGO_BIN_EXE_anabranch")])
                .args(arguments);
            command
        }
    };
    command
        .current_dir(folder)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

fn largest_file(folder: &Path) -> u64 {
    let run = std::fs::read_dir(folder.join("out.ndjson.run"))
        .unwrap()
        .filter_map(Result::ok)
        .map(|entry| entry.path());
    let sizes = run
        .chain([folder.join("out.ndjson")])
        .filter_map(|path| File::open(path).ok()?.metadata().ok());
    sizes.map(|metadata| metadata.len()).max().unwrap()
}

/// Lines of the record file.
fn count(folder: &Path) -> usize {
    let file = std::fs::read(folder.join("out.ndjson")).unwrap_or_default();
    file.iter().filter(|byte| **byte == b'\n').count()
}

/// No host saw more requests within any second than its rate and a tenth, and all of them together no more than theirs.
fn check_rates(sites: &[Site]) {
    let mut all = Vec::new();
    let mut worst = HashMap::new();
    for site in sites {
        let mut times: Vec<_> = site.seen().iter().map(|seen| seen.at).collect();
        times.sort();
        worst.insert(site.address(), most_in_a_second(&times));
        all.extend(times);
    }
    all.sort();
    assert!(worst.values().all(|most| *most <= HOST_RATE * 11 / 10), "{worst:?}");
    assert!(most_in_a_second(&all) <= RATE * 11 / 10, "{}", most_in_a_second(&all));
}

fn most_in_a_second(times: &[tokio::time::Instant]) -> usize {
    let mut most = 0;
    let mut last = 0;
    for (first, time) in times.iter().enumerate() {
        while last < times.len() && times[last] < *time + Duration::from_secs(1) {
            last += 1;
        }
        most = most.max(last - first);
    }
    most
}

/// Xorshift: the same lives in each run of the test.
struct Rng(u64);

impl Rng {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}
