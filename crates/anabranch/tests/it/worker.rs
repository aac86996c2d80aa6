//! Workers: processes that do jobs, and what becomes of the ones that do not.
//!
//! Processes know only real time, so the clock runs here. Limits that a test is about are short; all others are far away.
#![cfg(unix)]

mod bounds;
mod ends;
mod limits;
mod python;
mod starts;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use anabranch::worker::WorkersBuilder;
use anabranch::{Client, Deadline, Workers};
use bytes::Bytes;
use tokio::time::{Instant, sleep};

fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

fn soon() -> Deadline {
    Deadline::after(Duration::from_secs(60))
}

/// One process that runs this script. A job may wait as long as it takes.
fn sh(script: &str) -> WorkersBuilder {
    Workers::builder("score", &["/bin/sh", "-c", script]).queue_wait(Duration::from_secs(60))
}

/// Answers every job with itself.
const ECHO: &str = r#"while read -r job; do printf '%s\n' "$job"; done"#;
/// Answers every job with the number of its process, once it has said that it is ready.
const NUMBER: &str = "echo '!ready'; while read -r job; do echo $$; done";

async fn run(workers: &Workers, client: &Client, job: &str) -> Result<String, anabranch::CallError> {
    let answer = workers.run(client, Bytes::copy_from_slice(job.as_bytes()), soon()).await?;
    Ok(String::from_utf8(answer.to_vec()).unwrap())
}

/// The number of the process that does the next job.
async fn number(workers: &Workers, client: &Client) -> u32 {
    run(workers, client, "0").await.unwrap().parse().unwrap()
}

async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let limit = Deadline::after(Duration::from_secs(20));
    while !holds() {
        assert!(!limit.has_passed(), "did not come about: {what}");
        sleep(ms(2)).await;
    }
}

/// Whether a process of ours is there, be it as a zombie.
fn exists(process: u32) -> bool {
    rustix::process::test_kill_process(pid(process)).is_ok()
}

/// Whether a process runs. One that lost its parent and was killed may stay a zombie: that is the matter of whoever adopted it.
fn runs(process: u32) -> bool {
    let state = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    state.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
}

fn pid(process: u32) -> rustix::process::Pid {
    rustix::process::Pid::from_raw(i32::try_from(process).unwrap()).unwrap()
}

/// Closes the workers and waits until nothing is left of them.
async fn close(workers: &Workers, client: &Client) {
    workers.close();
    assert_eq!(client.drain(Deadline::after(Duration::from_secs(20))).await, Vec::<&str>::new());
}

/// The notes of a source, as text.
#[derive(Clone, Default)]
struct Notes(Arc<Mutex<Vec<String>>>);

impl Notes {
    fn of(builder: WorkersBuilder) -> (WorkersBuilder, Notes) {
        let notes = Notes::default();
        let all = notes.clone();
        (
            builder.listener(move |source, note| all.0.lock().unwrap().push(format!("{source}: {note}"))),
            notes,
        )
    }

    fn have(&self, text: &str) -> bool {
        self.0.lock().unwrap().iter().any(|note| note.contains(text))
    }
}

#[tokio::test]
async fn a_job_is_answered_by_a_process() {
    let (client, workers) = (Client::new(), sh(ECHO).build().unwrap());
    assert_eq!(
        run(&workers, &client, " {\"a\":\n [1, \"\u{e9}\"]} ").await.unwrap(),
        "{\"a\":  [1, \"\u{e9}\"]}"
    );
    let (answer, report) = workers.call(&client, Bytes::from_static(b"7"), workers.settings(), soon()).await;
    assert_eq!(answer.unwrap(), "7");
    assert!(report.attempts[0].timings.queue.is_some() && report.attempts[0].timings.first_byte.is_some());
    let counts = workers.counts();
    assert_eq!((counts.started, counts.answered, counts.failed, counts.waiting), (1, 2, 0, 0));
    close(&workers, &client).await;
}

#[tokio::test]
async fn large_jobs_go_both_ways_at_once() {
    // `cat` answers while it still reads: neither pipe may hold the other up.
    let (client, workers) = (Client::new(), Workers::builder("echo", &["cat"]).build().unwrap());
    let job = format!("[\"{}\"]", "x\u{e9}".repeat(1 << 20));
    assert_eq!(run(&workers, &client, &job).await.unwrap(), job);
    close(&workers, &client).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_hundred_jobs_at_once_get_their_own_answers() {
    let client = Client::new();
    let workers = sh(ECHO).count(4).queue(500).recycle(50).build().unwrap();
    let mut jobs = tokio::task::JoinSet::new();
    for number in 0..500 {
        let (workers, client) = (workers.clone(), client.clone());
        jobs.spawn(async move {
            let job = format!("{{\"job\":{number}}}");
            // A quarter of what is left may be spent in the queue.
            let answer = workers
                .run(&client, Bytes::from(job.clone()), Deadline::after(Duration::from_secs(240)))
                .await;
            assert_eq!(answer.unwrap(), job);
        });
    }
    while let Some(job) = jobs.join_next().await {
        job.unwrap();
    }
    let counts = workers.counts();
    assert_eq!((counts.answered, counts.failed, counts.refused), (500, 0, 0));
    assert!((10..=14).contains(&counts.started), "{counts:?}");
    close(&workers, &client).await;
}

#[tokio::test]
async fn as_many_processes_are_started_as_are_needed_or_asked_for() {
    let (client, workers) = (Client::new(), sh(NUMBER).count(3).build().unwrap());
    let first = number(&workers, &client).await;
    assert_eq!(number(&workers, &client).await, first);
    assert_eq!(workers.counts().started, 1);
    workers.start(&client);
    eventually("all are started", || workers.counts().started == 3).await;
    assert_eq!(workers.counts().seats, 3);
    close(&workers, &client).await;
    assert_eq!(workers.counts().seats, 0);
}

#[tokio::test]
async fn what_a_worker_says_besides_is_handed_on() {
    let (builder, notes) = Notes::of(sh("while read -r job; do echo to the log >&2; echo 1; done"));
    let (client, workers) = (Client::new(), builder.build().unwrap());
    assert_eq!(run(&workers, &client, "0").await.unwrap(), "1");
    eventually("the line is handed on", || notes.have(": to the log")).await;
    assert!(notes.have("score: process ") && notes.have("was started"));
    close(&workers, &client).await;
}

#[tokio::test]
async fn a_job_may_fail_without_its_worker() {
    let (client, workers) = (
        Client::new(),
        sh("while read -r job; do echo '!failed ValueError'; done").build().unwrap(),
    );
    for _ in 0..3 {
        let error = run(&workers, &client, "1").await.unwrap_err();
        assert_eq!(
            (error.kind(), error.detail()),
            (anabranch::Kind::Status, "the worker failed: ValueError")
        );
        assert_eq!((error.source_name(), error.attempts()), (Some("score"), 1));
    }
    assert_eq!((workers.counts().started, workers.counts().failed), (1, 0));
    close(&workers, &client).await;
}

#[tokio::test]
async fn a_process_is_replaced_after_its_share_of_jobs() {
    let (client, workers) = (Client::new(), sh(NUMBER).recycle(3).build().unwrap());
    let mut numbers = Vec::new();
    for _ in 0..9 {
        numbers.push(number(&workers, &client).await);
    }
    assert!(
        numbers.chunks(3).all(|of_one| of_one.iter().all(|number| *number == of_one[0])),
        "{numbers:?}"
    );
    numbers.dedup();
    assert_eq!(numbers.len(), 3);
    assert_eq!(workers.counts().failed, 0);
    close(&workers, &client).await;
}

/// The environment, the directory and the process group are its own.
#[tokio::test]
async fn a_worker_gets_nothing_that_was_not_listed() {
    let directory = tempfile::tempdir().unwrap();
    let script = r#"read -r job; environment=$(tr '\0' ';' </proc/$$/environ); read -r a b c d group rest </proc/$$/stat
        printf '["%s","%s",%s]\n' "$environment" "$(pwd -P)" "$((group == $$))"; read -r job"#;
    let builder = sh(script)
        .env("PATH", "/usr/bin:/bin")
        .env("TOKEN", "a b")
        .directory(directory.path());
    let (client, workers) = (Client::new(), builder.build().unwrap());
    let place = directory.path().canonicalize().unwrap();
    let expected = format!("[\"PATH=/usr/bin:/bin;TOKEN=a b;\",\"{}\",1]", place.display());
    assert_eq!(run(&workers, &client, "0").await.unwrap(), expected);
    close(&workers, &client).await;
}

#[tokio::test]
async fn clients_share_the_processes_and_outlive_one_another() {
    let workers = sh(NUMBER).build().unwrap();
    let (first, second) = (Client::new(), Client::new());
    let old = number(&workers, &first).await;
    assert_eq!(number(&workers, &second).await, old);
    workers.release(&first);
    assert_eq!(first.drain(soon()).await, Vec::<&str>::new());
    assert!(!exists(old));
    assert_ne!(number(&workers, &second).await, old);
    let refused = run(&workers, &first, "0").await;
    assert!(refused.is_ok(), "a drained client may use the processes of another: {refused:?}");
    workers.release(&second);
    eventually("the seat is free", || workers.counts().seats == 0).await;
    assert_eq!(run(&workers, &first, "0").await.unwrap_err().kind(), anabranch::Kind::Cancelled);
    close(&workers, &second).await;
}

#[test]
fn a_process_serves_several_runtimes() {
    let workers = sh(NUMBER).build().unwrap();
    let on_own_runtime = |stays: std::sync::mpsc::SyncSender<u32>, until: std::sync::mpsc::Receiver<()>| {
        let workers = workers.clone();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let client = Client::new();
                stays.send(number(&workers, &client).await).unwrap();
                // The runtime keeps turning for as long as the other one uses its process.
                while until.try_recv().is_err() {
                    sleep(ms(2)).await;
                }
            });
        })
    };
    let (tell, told) = std::sync::mpsc::sync_channel(1);
    let (end, until) = std::sync::mpsc::sync_channel(1);
    let other = on_own_runtime(tell, until);
    let first = told.recv().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let client = Client::new();
        assert_eq!(number(&workers, &client).await, first);
        end.send(()).unwrap();
        other.join().unwrap();
        // The other runtime is gone, and its client was never drained.
        assert_ne!(number(&workers, &client).await, first);
        let began = Instant::now();
        while runs(first) {
            assert!(began.elapsed() < Duration::from_secs(20));
            sleep(ms(2)).await;
        }
        close(&workers, &client).await;
    });
}
