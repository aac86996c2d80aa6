//! Limits of time, size and speed, and what one host costs the others.

use std::time::Duration;

use anabranch::Deadline;
use anabranch_testkit::{Fault, MemoryNetwork, Reply, Upstream};
use tokio::time::Instant;

use super::network::{kinds, options, outcomes, run, set_up};
use crate::Outcome;
use crate::run::{Stop, StopSignal};

fn network(reply: Reply) -> MemoryNetwork {
    let network = MemoryNetwork::new();
    network.host("a:80", Upstream::new("a").reply(reply));
    network
}

/// The one record, as outcome, kind and time in seconds.
async fn ends_as(network: &MemoryNetwork, change: impl FnOnce(&mut crate::Options)) -> (Outcome, String, u64) {
    let mut options = options(&["http://a/"]);
    options.retry.retries = 0;
    change(&mut options);
    let (_, records) = run(network, options).await;
    let kind = kinds(&records)[0].to_string();
    (records[0].outcome, kind, (records[0].total_ms / 1_000.0).round() as u64)
}

#[tokio::test(start_paused = true)]
async fn every_limit_of_time_has_its_name() {
    let hanging = network(Reply::any().fault(Fault::Hang));
    let ended = ends_as(&hanging, |_| {}).await;
    assert_eq!(ended, (Outcome::Timeout, "first_byte_timeout".into(), 15));
    let ended = ends_as(&hanging, |options| options.time.attempt = Some(Duration::from_secs(3))).await;
    assert_eq!(ended, (Outcome::Timeout, "timeout".into(), 3));
    let ended = ends_as(&hanging, |options| options.time.job = Some(Duration::from_secs(2))).await;
    assert_eq!(ended, (Outcome::Timeout, "job_timeout".into(), 2));
    let pieces = network(Reply::any().pieces(["one", "two"], Duration::from_secs(40)));
    let ended = ends_as(&pieces, |_| {}).await;
    assert_eq!(ended, (Outcome::Timeout, "idle_timeout".into(), 15));
    let deaf = network(Reply::any());
    deaf.set_connecting("a:80", anabranch_testkit::Connecting::Never);
    let (outcome, _, seconds) = ends_as(&deaf, |_| {}).await;
    assert_eq!((outcome, seconds), (Outcome::Connect, 5));
}

#[tokio::test(start_paused = true)]
async fn the_time_of_a_job_does_not_count_its_waits() {
    let network = MemoryNetwork::new();
    let busy = Reply::any().status(429).header("retry-after", "60").times(2);
    network.host(
        "a:80",
        Upstream::new("a").reply(busy).reply(Reply::any().delay(Duration::from_secs(1))),
    );
    let mut options = options(&["http://a/"]);
    options.time.job = Some(Duration::from_secs(2));
    let (_, records) = run(&network, options).await;
    assert_eq!(outcomes(&records), [Outcome::Ok]);
    assert!(records[0].total_ms > 120_000.0);
}

#[tokio::test(start_paused = true)]
async fn a_job_gets_no_attempt_beyond_its_time() {
    let network = network(Reply::any().fault(Fault::Hang));
    let mut options = options(&["http://a/"]);
    options.time.job = Some(Duration::from_secs(20));
    let (_, records) = run(&network, options).await;
    assert_eq!((records[0].attempts, kinds(&records)[0]), (2, "job_timeout"));
    assert_eq!(records[0].tries[0].total_ms, 15_000.0);
}

#[tokio::test(start_paused = true)]
async fn a_body_that_drips_is_too_slow() {
    let pieces = vec!["0123456789"; 100];
    let network = network(Reply::any().pieces(pieces, Duration::from_secs(1)));
    let ended = ends_as(&network, |options| options.time.min_speed = Some((1_000, Duration::from_secs(10)))).await;
    assert_eq!(ended, (Outcome::TooSlow, "min_speed".into(), 10));
    let ended = ends_as(&network, |options| {
        options.time.min_speed = Some((50, Duration::from_secs(10)));
        options.time.attempt = None;
    })
    .await;
    assert_eq!((ended.0, ended.2), (Outcome::Ok, 99));
}

#[tokio::test(start_paused = true)]
async fn bodies_are_bounded_as_sent_and_as_decoded() {
    let large = network(Reply::any().body(vec![b'x'; 5_000]));
    let (outcome, ..) = ends_as(&large, |options| options.output.max_body = Some(4_999)).await;
    assert_eq!(outcome, Outcome::TooLarge);
    let (outcome, ..) = ends_as(&large, |options| options.output.max_body = Some(5_000)).await;
    assert_eq!(outcome, Outcome::Ok);
    let endless = network(Reply::any().fault(Fault::EndlessChunks));
    let (outcome, ..) = ends_as(&endless, |options| options.output.max_body = Some(1 << 20)).await;
    assert_eq!(outcome, Outcome::TooLarge);
    let bomb = network(Reply::any().fault(Fault::GzipBomb { decoded: 100 << 20 }));
    let (outcome, ..) = ends_as(&bomb, |options| options.output.max_decoded = Some(10 << 20)).await;
    assert_eq!(outcome, Outcome::TooLarge);
}

#[tokio::test(start_paused = true)]
async fn a_body_that_ends_early_is_no_success() {
    let cut = network(Reply::any().body("0123456789").fault(Fault::Truncate { after: 4 }));
    assert_eq!(ends_as(&cut, |_| {}).await.0, Outcome::Truncated);
}

#[tokio::test(start_paused = true)]
async fn bytes_a_second_hold_over_all_bodies() {
    let network = network(Reply::any().body(vec![b'x'; 200_000]));
    let urls: Vec<String> = (0..5).map(|n| format!("http://a/{n}")).collect();
    let mut options = options(&urls.iter().map(String::as_str).collect::<Vec<_>>());
    options.limits.bytes_per_second = Some(100_000);
    let started = Instant::now();
    let (_, records) = run(&network, options).await;
    assert_eq!(outcomes(&records), [Outcome::Ok; 5]);
    let took = started.elapsed().as_secs_f64();
    assert!((9.5..10.5).contains(&took), "1 MB at 100 kB a second took {took} s");
}

#[tokio::test(start_paused = true)]
async fn a_host_that_hangs_costs_the_others_nothing() {
    let network = MemoryNetwork::new();
    let mut urls = Vec::new();
    for host in 0..20 {
        let reply = if host == 7 {
            Reply::any().fault(Fault::Hang)
        } else {
            Reply::any().delay(Duration::from_millis(100))
        };
        network.host(format!("h{host}:80"), Upstream::new("h").reply(reply));
    }
    for page in 0..20 {
        urls.extend((0..20).map(|host| format!("http://h{host}/{page}")));
    }
    let mut options = options(&urls.iter().map(String::as_str).collect::<Vec<_>>());
    options.limits.concurrency = 20;
    options.retry.retries = 0;
    let (_, records) = run(&network, options).await;
    let good = records.iter().filter(|record| record.outcome == Outcome::Ok);
    // 380 jobs of 100 ms on 19 places are 2 s; nobody waited for the host that hangs, which took 15 s for each of its own.
    let longest = good
        .map(|record| record.t_ms.queue + record.t_ms.host_wait + record.total_ms)
        .fold(0.0, f64::max);
    assert!(longest < 2_300.0, "{longest} ms");
    assert_eq!(records.iter().filter(|record| record.outcome == Outcome::Timeout).count(), 20);
}

#[tokio::test(start_paused = true)]
async fn the_rate_is_kept_from_the_first_second_on() {
    let network = MemoryNetwork::new();
    let served = network.host("a:80", Upstream::new("a").reply(Reply::any()));
    let urls: Vec<String> = (0..101).map(|n| format!("http://a/{n}")).collect();
    let mut options = options(&urls.iter().map(String::as_str).collect::<Vec<_>>());
    options.limits.host_rate = Some(20.0);
    let (_, records) = run(&network, options).await;
    assert_eq!(records.len(), 101);
    let mut at: Vec<Instant> = served.seen().iter().map(|seen| seen.at).collect();
    at.sort_unstable();
    let most = |from: &Instant| {
        at.iter()
            .filter(|at| *at >= from && at.duration_since(*from) < Duration::from_secs(1))
            .count()
    };
    assert!(at.iter().map(most).all(|within| within <= 21), "more than 20 in a second");
    // The thread that reads the input may be late a few times, and the clock jumps meanwhile; else one follows the other.
    let in_step = at
        .windows(2)
        .filter(|two| two[1].duration_since(two[0]) <= Duration::from_millis(52))
        .count();
    assert!(in_step >= 90, "{in_step} of 100 in step");
}

#[tokio::test(start_paused = true)]
async fn a_host_that_only_refuses_is_given_up() {
    let network = network(Reply::any().status(429));
    let urls: Vec<String> = (0..200).map(|n| format!("http://a/{n}")).collect();
    let mut options = options(&urls.iter().map(String::as_str).collect::<Vec<_>>());
    options.retry.host_give_up = Duration::from_secs(60);
    let started = Instant::now();
    let (summary, records) = run(&network, options).await;
    assert_eq!(records.len(), 200);
    assert!(summary.of(Outcome::HostGaveUp) > 100, "{:?}", summary.by_outcome);
    let took = started.elapsed().as_secs_f64();
    assert!((60.0..120.0).contains(&took), "{took} s");
}

// On a clock that stands still the hosts would be given up before the thread that reads the input has brought anything.
#[tokio::test]
async fn what_stands_behind_ten_thousand_jobs_of_a_full_host_is_done_all_the_same() {
    let network = MemoryNetwork::new();
    network.host("full:80", Upstream::new("full").reply(Reply::any().fault(Fault::Hang)));
    network.host("good:80", Upstream::new("good").reply(Reply::any()));
    let mut list = String::new();
    (0..10_000).for_each(|n| list.push_str(&format!("http://full/{n}\n")));
    (0..5).for_each(|n| list.push_str(&format!("http://good/{n}\n")));
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), list).unwrap();
    let mut options = options(&[]);
    options.input.file = Some(file.path().into());
    let (running, records) = set_up(&network, options);
    let stop = StopSignal::new();
    let done = records.clone();
    let signal = async {
        let patience = Instant::now() + Duration::from_secs(60);
        while done.lock().unwrap().len() < 5 && Instant::now() < patience {
            Deadline::after(Duration::from_millis(20)).wait().await;
        }
        stop.stop(Stop::Now);
    };
    let (summary, ()) = tokio::join!(running.drive(stop.clone()), signal);
    assert_eq!(summary.unwrap().of(Outcome::Ok), 5);
    assert!(records.lock().unwrap().iter().all(|record| record.url.starts_with("http://good/")));
}

// The same on the way back: every job that was put aside comes back and ends.
#[tokio::test]
async fn all_that_was_put_aside_is_done() {
    let network = MemoryNetwork::new();
    network.host("busy:80", Upstream::new("busy").reply(Reply::any()));
    let list: String = (0..12_000).map(|n| format!("http://busy/{n}\n")).collect();
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), list).unwrap();
    let mut options = options(&[]);
    options.input.file = Some(file.path().into());
    options.limits.host_rate = Some(1e6);
    options.limits.per_host = 4;
    let (summary, records) = run(&network, options).await;
    assert_eq!((summary.total, summary.of(Outcome::Ok)), (12_000, 12_000));
    let mut ids: Vec<_> = records.iter().map(|record| record.id.clone()).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 12_000);
}

/// Whatever hosts do, each job ends as one record, and none is asked more often than it may be.
#[tokio::test(start_paused = true)]
async fn whatever_hosts_do_each_job_ends_as_one_record() {
    let network = MemoryNetwork::new();
    let replies = [
        Reply::any().errors(0.3, 503),
        Reply::any().errors(0.5, 500).delay(Duration::from_millis(30)),
        Reply::any().fault(Fault::CloseBefore),
        Reply::any().fault(Fault::Reset { after: 20 }),
        Reply::any().fault(Fault::Hang),
        Reply::any().body("0123456789").fault(Fault::Truncate { after: 3 }),
        Reply::any().status(302).header("location", "/again"),
        Reply::any().fault(Fault::BadChunks),
        Reply::any().status(429).header("retry-after", "1").times(30),
        Reply::any().fault(Fault::CloseAfterReply),
    ];
    let count = replies.len();
    let mut served = Vec::new();
    for (host, reply) in replies.into_iter().enumerate() {
        let upstream = Upstream::new("any").reply(reply).reply(Reply::any()).seed(7);
        served.push(network.host(format!("h{host}:80"), upstream));
    }
    let urls: Vec<String> = (0..300).map(|n| format!("http://h{}/{n}", n % count)).collect();
    let (summary, records) = run(&network, options(&urls.iter().map(String::as_str).collect::<Vec<_>>())).await;
    assert_eq!((summary.total, records.len()), (300, 300));
    let seqs: Vec<_> = records.iter().filter_map(|record| record.seq).collect();
    assert_eq!(seqs, (1..=300).collect::<Vec<_>>());
    for (host, served) in served.iter().enumerate() {
        let asked = served.counts().requests;
        assert!(asked <= 30 * 4 * 11, "host {host} was asked {asked} times for 30 jobs");
    }
    let ok = |host: usize| {
        records
            .iter()
            .filter(|record| record.url.contains(&format!("//h{host}/")) && record.outcome == Outcome::Ok)
            .count()
    };
    assert!(ok(0) >= 27 && ok(8) == 30 && ok(9) == 30, "{} {} {}", ok(0), ok(8), ok(9));
}

#[tokio::test(start_paused = true)]
async fn who_asks_while_a_host_waits_is_told_what_it_waits_for() {
    let network = MemoryNetwork::new();
    let refusing = Reply::any().status(429).header("retry-after", "60");
    let served = network.host("a:80", Upstream::new("a").reply(refusing));
    let mut options = options(&["http://a/1", "http://a/2"]);
    options.limits.per_host = 1;
    let (run, _) = set_up(&network, options);
    let (progress, stop) = (run.progress(), StopSignal::new());
    let driven = run.drive(stop.clone());
    let asking = async {
        let mut held = Vec::new();
        served.until(|counts| counts.requests == 1).await;
        // The first that ask wake the run; who comes later is told.
        for _ in 0..10 {
            Deadline::after(Duration::from_secs(1)).wait().await;
            held = progress.snapshot().held;
        }
        stop.stop(Stop::Now);
        held
    };
    let (_, held) = tokio::join!(driven, asking);
    // Not that a request was in flight, which was so when the list was made for the last time.
    assert_eq!((held.len(), held[0].in_flight), (1, 0), "{held:?}");
    assert!(held[0].wait.is_some_and(|wait| wait > Duration::from_secs(45)), "{held:?}");
}
