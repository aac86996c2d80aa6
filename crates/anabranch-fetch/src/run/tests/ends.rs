//! How runs end before their time, and that what is left is done by the next call.

use std::time::Duration;

use anabranch::Deadline;
use anabranch_testkit::{Fault, MemoryNetwork, Reply, Upstream};
use tokio::time::Instant;

use super::network::{options, run, set_up, try_run};
use crate::options::{MaxFailures, Options};
use crate::run::{Ended, Run, Stop, StopSignal};
use crate::{FetchError, Outcome};

fn network() -> MemoryNetwork {
    let network = MemoryNetwork::new();
    let upstream = Upstream::new("a")
        .reply(Reply::get("/hang/*").fault(Fault::Hang))
        .reply(Reply::get("/slow/*").delay(Duration::from_secs(5)))
        .reply(Reply::get("/bad/*").status(404))
        .reply(Reply::any());
    network.host("a:80", upstream);
    network
}

fn many(path: &str, count: usize) -> Options {
    let urls: Vec<String> = (0..count).map(|n| format!("http://a/{path}/{n}")).collect();
    options(&urls.iter().map(String::as_str).collect::<Vec<_>>())
}

// On a clock that stands still the end would come before the thread that reads the input has brought anything.
#[tokio::test]
async fn a_deadline_cuts_and_what_is_cut_has_no_record() {
    let network = network();
    let mut options = many("hang", 3);
    options.input.urls.push("http://a/good".into());
    options.stop.deadline = Some(Duration::from_millis(400));
    let (summary, records) = run(&network, options).await;
    assert_eq!((summary.ended, records.len(), summary.total), (Ended::Deadline, 1, 1));
    assert!((0.4..5.0).contains(&summary.seconds), "{}", summary.seconds);
}

#[tokio::test(start_paused = true)]
async fn the_first_failure_ends_a_run_that_wants_none() {
    let network = network();
    let mut options = many("bad", 50);
    options.limits.concurrency = 1;
    options.stop.fail_fast = true;
    let (summary, records) = run(&network, options).await;
    assert_eq!((summary.ended, records.len(), summary.failed()), (Ended::FailFast, 1, 1));
}

#[tokio::test(start_paused = true)]
async fn so_many_failures_end_a_run() {
    let network = network();
    let mut options = many("bad", 50);
    options.limits.concurrency = 1;
    options.stop.max_failures = Some(MaxFailures::Count(5));
    let (summary, records) = run(&network, options).await;
    assert_eq!((summary.ended, records.len()), (Ended::MaxFailures, 5));
    let mut options = many("bad", 300);
    options.limits.concurrency = 1;
    options.stop.max_failures = Some(MaxFailures::Share(0.05));
    let (summary, records) = run(&network, options).await;
    assert_eq!(
        (summary.ended, records.len()),
        (Ended::MaxFailures, 100),
        "a share is judged from 100 jobs on"
    );
}

#[tokio::test(start_paused = true)]
async fn the_first_signal_lets_what_is_in_flight_end_and_starts_nothing() {
    let network = network();
    let mut options = many("slow", 10);
    options.input.urls.insert(0, "http://a/hang/1".into());
    options.limits.concurrency = 4;
    options.time.drain = Duration::from_secs(8);
    let (run, records) = set_up(&network, options);
    let stop = StopSignal::new();
    let progress = run.progress();
    let signal = async {
        while progress.snapshot().in_flight < 4 {
            Deadline::after(Duration::from_millis(100)).wait().await;
        }
        (stop.more(), Instant::now())
    };
    let (summary, (urgency, asked)) = tokio::join!(run.drive(stop.clone()), signal);
    let summary = summary.unwrap();
    assert_eq!((urgency, summary.ended), (Stop::Drain, Ended::Interrupted));
    assert_eq!(records.lock().unwrap().len(), 3, "those in flight but the one that hangs");
    assert_eq!(summary.of(Outcome::Ok), 3);
    assert_eq!(asked.elapsed().as_secs_f64().round(), 8.0);
}

#[tokio::test]
async fn the_second_signal_ends_at_once() {
    let network = network();
    let (run, records) = set_up(&network, many("hang", 10));
    let stop = StopSignal::new();
    let progress = run.progress();
    let signal = async {
        while progress.snapshot().in_flight < 10 {
            Deadline::after(Duration::from_millis(10)).wait().await;
        }
        assert_eq!(stop.more(), Stop::Drain);
        Deadline::after(Duration::from_millis(50)).wait().await;
        assert_eq!(stop.more(), Stop::Now);
        Instant::now()
    };
    let (summary, asked) = tokio::join!(run.drive(stop.clone()), signal);
    assert_eq!(summary.unwrap().ended, Ended::Interrupted);
    assert!(asked.elapsed() < Duration::from_secs(5), "10 s are left to drain");
    assert!(records.lock().unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_run_that_was_cut_is_finished_by_the_next_call() {
    let network = network();
    let folder = tempfile::tempdir().unwrap();
    let mut options = many("bad", 40);
    options.output.run = Some(folder.path().join("r1"));
    options.limits.concurrency = 1;
    options.stop.max_failures = Some(MaxFailures::Count(15));
    let (first, records) = run(&network, options.clone()).await;
    assert_eq!((first.ended, records.len()), (Ended::MaxFailures, 15));
    assert!(first.resume.is_some());
    options.stop.max_failures = None;
    let (second, records) = run(&network, options.clone()).await;
    assert_eq!((second.ended, second.earlier, second.total), (Ended::Complete, 15, 25));
    assert_eq!((records.len(), second.resume), (25, None));
    let (third, records) = run(&network, options).await;
    assert_eq!((third.earlier, third.earlier_failed, third.total, records.len()), (40, 40, 0, 0));
}

#[tokio::test(start_paused = true)]
async fn an_empty_input_is_a_run_that_is_complete() {
    let list = tempfile::NamedTempFile::new().unwrap();
    let mut options = options(&[]);
    options.input.file = Some(list.path().into());
    let (summary, records) = run(&network(), options).await;
    assert_eq!((summary.ended, summary.total, records.len()), (Ended::Complete, 0, 0));
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_begun_says_so_before_the_first_request() {
    let (summary, _) = try_run(&network(), options(&[])).await;
    assert!(matches!(summary, Err(FetchError::Usage(_))), "{summary:?}");
    let mut both = options(&["http://a/"]);
    both.extract.jq = Some(".".into());
    both.extract.select = vec![("a".into(), "css:a".into())];
    assert!(matches!(Run::new(both), Err(FetchError::Usage(_))));
    for resolve in ["a", "a:80", "a:b:127.0.0.1", "a:80:localhost"] {
        let mut options = options(&["http://a/"]);
        options.http.resolve = vec![resolve.into()];
        assert!(matches!(Run::new(options), Err(FetchError::Usage(_))), "{resolve}");
    }
    let mut proxied = options(&["http://a/"]);
    proxied.http.proxy = Some("ftp://me:hunter2@proxy/".parse().unwrap());
    let refused = Run::new(proxied).err().map(|error| error.to_string()).unwrap_or_default();
    assert!(refused.contains("--proxy") && !refused.contains("hunter2"), "{refused}");
}

#[tokio::test]
async fn private_addresses_are_refused_without_a_second_look() {
    let mut options = options(&["http://127.0.0.1:9/", "http://[::1]:9/"]);
    options.http.deny_private = true;
    let run = Run::new(options).unwrap().with_stdout(std::io::sink());
    let summary = run.drive(StopSignal::new()).await.unwrap();
    assert_eq!((summary.of(Outcome::PrivateAddress), summary.retried), (2, 0));
}

#[tokio::test(start_paused = true)]
async fn progress_counts_what_has_ended() {
    let network = network();
    let (run, _records) = set_up(&network, many("bad", 7));
    let progress = run.progress();
    run.drive(StopSignal::new()).await.unwrap();
    let snapshot = progress.snapshot();
    assert_eq!(
        (snapshot.done, snapshot.known_total, snapshot.in_flight, snapshot.queued),
        (7, Some(7), 0, 0)
    );
    assert_eq!(snapshot.failed, [(Outcome::HttpError, 7)]);
}
