//! The compute pool: bounded, fair, stopped with its callers, and in one piece after jobs that misbehave.
//!
//! Its threads know only real time, so the clock runs here, but for the tests of the inline form. What has to wait waits at a
//! [`Gate`], not for a time.

use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Condvar, Mutex};
use std::task::Poll;
use std::time::Duration;

use anabranch::compute::{ComputeCounts, Stopped};
use anabranch::{CallError, Compute, ComputeError, ComputeSettings, Deadline, Kind};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use crate::cancel::poll_once;
use crate::gather::Census;

fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// The limit where a thread is to be lost: short, but at twice this even a busy machine has run a job that does nothing.
const BRIEF: Duration = Duration::from_millis(150);

/// One thread, and limits that no test comes to unless it is about them.
fn roomy() -> ComputeSettings {
    ComputeSettings {
        threads: 1,
        queue_per_thread: 64,
        limit: Duration::from_secs(60),
    }
}

fn soon() -> Deadline {
    Deadline::after(Duration::from_secs(30))
}

/// Closed until it is opened; jobs wait here as slow native code would, without asking their context.
#[derive(Clone, Default)]
struct Gate(Arc<(Mutex<AtGate>, Condvar)>);

#[derive(Default)]
struct AtGate {
    open: bool,
    arrived: usize,
}

impl Gate {
    fn open(&self) {
        self.0.0.lock().unwrap().open = true;
        self.0.1.notify_all();
    }

    fn pass(&self) {
        let mut gate = self.0.0.lock().unwrap();
        gate.arrived += 1;
        let passed = self
            .0
            .1
            .wait_timeout_while(gate, Duration::from_secs(30), |gate| !gate.open)
            .unwrap();
        assert!(!passed.1.timed_out(), "the test forgot to open the gate");
    }

    /// Waits until so many jobs are in their closures. A job that is only counted as running may still be a thread that is
    /// about to begin.
    async fn reached_by(&self, jobs: usize) {
        eventually("jobs have come to the gate", || self.0.0.lock().unwrap().arrived == jobs).await;
    }
}

async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let limit = soon();
    while !holds() {
        assert!(!limit.has_passed(), "did not come about: {what}");
        sleep(ms(1)).await;
    }
}

#[track_caller]
fn assert_whole(counts: ComputeCounts) {
    let now = (counts.waiting + counts.running) as u64;
    let ended = counts.busy + counts.dropped + counts.finished + counts.stopped + counts.panicked;
    assert_eq!(counts.submitted, now + ended, "{counts:?}");
}

/// A job in its own task that holds a thread until the gate opens; returns once it runs.
async fn hold_a_thread(compute: &Compute, gate: &Gate) -> tokio::task::JoinHandle<Result<(), ComputeError>> {
    let (compute, passes) = (compute.clone(), gate.clone());
    let task = tokio::spawn(async move { compute.run("hold", soon(), move |_| passes.pass()).await });
    gate.reached_by(1).await;
    task
}

#[tokio::test]
async fn a_job_runs_on_a_named_thread_of_lower_priority_and_gives_its_result() {
    let compute = Compute::new(ComputeSettings::default());
    let name = compute
        .run("GET /", soon(), |_| std::thread::current().name().map(str::to_owned))
        .await;
    assert!(name.unwrap().is_some_and(|name| name.starts_with("compute-")));
    #[cfg(target_os = "linux")]
    {
        let level = || rustix::process::getpriority_process(None).unwrap();
        let own = level();
        assert_eq!(compute.run("GET /", soon(), move |_| level()).await, Ok((own + 10).min(19)));
        assert_eq!(level(), own, "the loop keeps its own");
    }
    assert_eq!(compute.counts().finished, compute.counts().submitted);
}

#[tokio::test]
async fn the_queue_is_bounded_and_refuses_at_once() {
    let compute = Compute::new(ComputeSettings {
        queue_per_thread: 3,
        ..roomy()
    });
    let gate = Gate::default();
    let held = hold_a_thread(&compute, &gate).await;
    let mut waiting: Vec<_> = (0..3).map(|n| Box::pin(compute.run("waits", soon(), move |_| n))).collect();
    for job in &mut waiting {
        assert!(poll_once(job).await.is_pending());
    }
    let mut refused = pin!(compute.run("waits", soon(), |_| 3));
    assert_eq!(
        poll_once(&mut refused).await,
        Poll::Ready(Err(ComputeError::Busy)),
        "by the first poll"
    );
    assert_eq!((compute.counts().waiting, compute.counts().busy), (3, 1));

    drop(waiting.remove(0));
    assert_eq!(compute.counts().waiting, 2, "a caller that leaves takes its job along");
    let mut fits = pin!(compute.run("waits", soon(), |_| 4));
    assert!(poll_once(&mut fits).await.is_pending());
    gate.open();
    assert_eq!(held.await.unwrap(), Ok(()));
    assert_eq!(fits.await, Ok(4));
    for (n, job) in waiting.into_iter().enumerate() {
        assert_eq!(job.await, Ok(n + 1));
    }
    assert_whole(compute.counts());
}

#[tokio::test]
async fn a_busy_label_delays_itself_and_not_the_others() {
    let compute = Compute::new(roomy());
    let (gate, order) = (Gate::default(), Arc::new(Mutex::new(Vec::new())));
    let held = hold_a_thread(&compute, &gate).await;
    let mut jobs = JoinSet::new();
    for (label, count) in [("loud", 20), ("quiet", 1)] {
        for _ in 0..count {
            let (compute, order) = (compute.clone(), order.clone());
            jobs.spawn(async move {
                let job = move |_: &_| {
                    let start = Instant::now();
                    while start.elapsed() < ms(2) {}
                    order.lock().unwrap().push(label);
                };
                compute.run(label, soon(), job).await
            });
        }
    }
    eventually("all wait", || compute.counts().waiting == 21).await;
    gate.open();
    held.await.unwrap().unwrap();
    while let Some(ended) = jobs.join_next().await {
        assert_eq!(ended.unwrap(), Ok(()));
    }
    let order = order.lock().unwrap();
    let quiet = order.iter().position(|label| *label == "quiet").unwrap();
    assert!(quiet < 3, "a turn of its own, not after the 20 that came before it: {order:?}");
}

#[tokio::test]
async fn a_job_whose_caller_left_never_starts() {
    let compute = Compute::new(roomy());
    let (gate, started, census) = (Gate::default(), Arc::new(AtomicBool::new(false)), Census::default());
    let held = hold_a_thread(&compute, &gate).await;
    let (sets, owned) = (started.clone(), census.enter());
    let mut job = Box::pin(compute.run("left", soon(), move |_| {
        let _owned = owned;
        sets.store(true, SeqCst);
    }));
    assert!(poll_once(&mut job).await.is_pending());
    drop(job);
    assert_eq!(census.alive(), 0, "what it owned is free at once");
    assert_eq!((compute.counts().waiting, compute.counts().dropped), (0, 1));
    gate.open();
    held.await.unwrap().unwrap();
    compute.run("next", soon(), |_| ()).await.unwrap();
    assert!(!started.load(SeqCst));
    drop(compute.run("never polled", soon(), |_| ()));
    assert_eq!(compute.counts().submitted, 3);
    assert_whole(compute.counts());
}

#[tokio::test]
async fn a_running_job_is_told_that_its_caller_left_and_is_counted_until_it_stops() {
    let compute = Compute::new(roomy());
    let (gate, heard, goes_on) = (Gate::default(), Arc::new(AtomicBool::new(false)), Gate::default());
    let job = {
        let (gate, heard, goes_on) = (gate.clone(), heard.clone(), goes_on.clone());
        compute.run("left", soon(), move |context| {
            assert_eq!(context.check(), Ok(()), "the caller is there");
            gate.pass();
            while !context.cancelled() {
                std::thread::yield_now();
            }
            assert_eq!(context.check(), Err(Stopped), "it stays so");
            heard.store(true, SeqCst);
            goes_on.pass();
        })
    };
    let mut job = Box::pin(job);
    assert!(poll_once(&mut job).await.is_pending());
    gate.reached_by(1).await;
    gate.open();
    assert!(poll_once(&mut job).await.is_pending());
    drop(job);
    eventually("it has heard", || heard.load(SeqCst)).await;
    assert_eq!(compute.counts().running, 1, "it has not stopped yet");
    goes_on.open();
    eventually("it has stopped", || compute.counts().running == 0).await;
    assert_eq!((compute.counts().stopped, compute.counts().finished), (1, 0));
    assert_whole(compute.counts());
}

#[tokio::test]
async fn a_deadline_that_passes_in_the_queue_takes_the_job_out() {
    let compute = Compute::new(roomy());
    let (gate, started) = (Gate::default(), Arc::new(AtomicUsize::new(0)));
    let held = hold_a_thread(&compute, &gate).await;
    let count = || {
        let started = started.clone();
        move |_: &_| started.fetch_add(1, SeqCst)
    };
    assert_eq!(
        compute.run("late", Deadline::after(ms(20)), count()).await,
        Err(ComputeError::TimedOut)
    );
    assert_eq!((compute.counts().waiting, compute.counts().dropped), (0, 1));
    let passed = Deadline::at(Instant::now());
    assert_eq!(compute.run("too late", passed, count()).await, Err(ComputeError::TimedOut));
    gate.open();
    held.await.unwrap().unwrap();
    assert_eq!((started.load(SeqCst), compute.counts().dropped), (0, 2));
    assert_whole(compute.counts());
}

/// The caller's timer is not enough: its loop may be the one that stands still.
#[tokio::test]
async fn a_deadline_that_passed_is_seen_when_the_turn_comes() {
    let compute = Compute::new(roomy());
    let (gate, started) = (Gate::default(), Arc::new(AtomicBool::new(false)));
    let held = hold_a_thread(&compute, &gate).await;
    let (sets, deadline) = (started.clone(), Deadline::after(ms(100)));
    let mut late = Box::pin(compute.run("late", deadline, move |_| sets.store(true, SeqCst)));
    let mut next = Box::pin(compute.run("next", soon(), |_| ()));
    assert!(poll_once(&mut late).await.is_pending());
    assert!(poll_once(&mut next).await.is_pending());
    while !deadline.has_passed() {
        std::thread::park_timeout(deadline.left());
    }
    gate.open();
    next.await.unwrap();
    held.await.unwrap().unwrap();
    assert_eq!((started.load(SeqCst), compute.counts().dropped), (false, 1));
    assert_eq!(late.await, Err(ComputeError::TimedOut));
}

#[tokio::test]
async fn a_job_that_asks_is_stopped_at_its_limit_or_its_deadline() {
    let ask = |context: &anabranch::JobContext| {
        let start = Instant::now();
        while context.check().is_ok() {
            std::thread::yield_now();
        }
        start.elapsed()
    };
    let ran = Arc::new(Mutex::new(Vec::new()));
    let note = || {
        let ran = ran.clone();
        move |context: &_| ran.lock().unwrap().push(ask(context))
    };
    let compute = Compute::new(ComputeSettings { limit: ms(200), ..roomy() });
    assert_eq!(
        compute.run("limit", soon(), note()).await,
        Err(ComputeError::TimedOut),
        "what it returned is not whole"
    );
    let short = Compute::new(roomy());
    assert_eq!(
        short.run("deadline", Deadline::after(ms(300)), note()).await,
        Err(ComputeError::TimedOut)
    );
    eventually("both have stopped", || compute.counts().stopped + short.counts().stopped == 2).await;
    let ran = ran.lock().unwrap();
    assert!(ran[0] >= ms(199) && ran[1] < ms(10_000), "{ran:?}");
    assert_eq!(short.counts().overran, 0);
}

#[tokio::test]
async fn a_lost_thread_is_replaced_and_joins_again_or_ends() {
    let compute = Compute::new(ComputeSettings { limit: BRIEF, ..roomy() });
    let gate = Gate::default();
    let stuck = |gate: Gate| compute.run("stuck", soon(), move |_| gate.pass());
    assert_eq!(
        stuck(gate.clone()).await,
        Err(ComputeError::TimedOut),
        "the caller need not wait for its deadline"
    );
    let counts = compute.counts();
    assert_eq!((counts.threads, counts.lost, counts.running, counts.overran), (1, 1, 1, 1));
    assert_eq!(compute.run("next", soon(), |_| 7).await, Ok(7), "on the replacement");

    assert_eq!(stuck(gate.clone()).await, Err(ComputeError::TimedOut));
    assert_eq!(stuck(gate.clone()).await, Err(ComputeError::TimedOut));
    let counts = compute.counts();
    assert_eq!((counts.threads, counts.lost), (0, 3), "at most two are replaced");
    assert_eq!(
        compute.run("next", soon(), |_| 7).await,
        Err(ComputeError::Busy),
        "with none left it is no use to wait"
    );
    assert_whole(compute.counts());

    gate.open();
    eventually("the lost have come back", || compute.counts().lost == 0).await;
    let counts = compute.counts();
    assert_eq!(
        (counts.threads, counts.running, counts.finished),
        (1, 0, 4),
        "one serves, two have ended"
    );
    assert_eq!(compute.run("next", soon(), |_| 7).await, Ok(7));
    assert_whole(compute.counts());
}

/// The watcher rests when nothing runs; it has to wake up for what comes then.
#[tokio::test]
async fn a_thread_lost_after_a_quiet_time_is_found_too() {
    let compute = Compute::new(ComputeSettings { limit: ms(50), ..roomy() });
    compute.run("first", soon(), |_| ()).await.unwrap();
    sleep(ms(250)).await;
    let gate = Gate::default();
    let passes = gate.clone();
    assert_eq!(
        compute.run("stuck", soon(), move |_| passes.pass()).await,
        Err(ComputeError::TimedOut)
    );
    gate.open();
    eventually("it has come back", || compute.counts().lost == 0).await;
}

#[tokio::test]
async fn waiting_jobs_move_on_when_the_only_thread_is_lost() {
    let compute = Compute::new(ComputeSettings { limit: BRIEF, ..roomy() });
    let gate = Gate::default();
    let held = hold_a_thread(&compute, &gate).await;
    assert_eq!(compute.run("waits", soon(), |_| 1).await, Ok(1), "behind a job that does not end");
    assert_eq!(held.await.unwrap(), Err(ComputeError::TimedOut));
    gate.open();
}

/// Drops like this one run on the threads too: a result that nobody takes, a closure whose time has passed.
struct PanicsWhenDropped;

impl Drop for PanicsWhenDropped {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            panic!("in a drop");
        }
    }
}

#[tokio::test]
async fn a_panic_is_contained_and_named() {
    let compute = Compute::new(roomy());
    let died = compute.run("panics", soon(), |_| panic!("no such shape: {}", 7)).await;
    assert_eq!(died, Err::<(), _>(ComputeError::Panicked("no such shape: 7".to_owned())));
    let error = CallError::from(died.unwrap_err());
    assert_eq!(
        (error.kind(), error.to_string()),
        (Kind::Panic, "panic: the job panicked: no such shape: 7".to_owned())
    );

    let gate = Gate::default();
    let passes = gate.clone();
    let mut left = Box::pin(compute.run("drop", soon(), move |_| {
        passes.pass();
        PanicsWhenDropped
    }));
    assert!(poll_once(&mut left).await.is_pending());
    gate.reached_by(1).await;
    drop(left);
    gate.open();
    assert_eq!(compute.run("next", soon(), |_| 7).await, Ok(7), "by the same thread");
    assert_eq!((compute.counts().threads, compute.counts().panicked), (1, 1));
}

#[tokio::test]
async fn dropping_the_last_handle_ends_the_threads_after_their_job() {
    let compute = Compute::new(ComputeSettings { threads: 2, ..roomy() });
    let (gate, census, survives) = (Gate::default(), Census::default(), Arc::new(AtomicBool::new(false)));
    // A thread's own memory is freed when it has ended, which tells without a handle to join.
    thread_local!(static ON_THREAD: std::cell::RefCell<Option<crate::gather::Alive>> = const { std::cell::RefCell::new(None) });
    let mut running: Vec<_> = (0..2)
        .map(|_| {
            let (gate, alive, survives) = (gate.clone(), census.enter(), survives.clone());
            Box::pin(compute.run("last", soon(), move |_| {
                ON_THREAD.set(Some(alive));
                gate.pass();
                survives.store(true, SeqCst);
            }))
        })
        .collect();
    for job in &mut running {
        assert!(poll_once(job).await.is_pending());
    }
    gate.reached_by(2).await;
    drop(running);
    drop(compute);
    assert_eq!(census.alive(), 2, "nobody waited for them, nobody killed them");
    gate.open();
    eventually("the threads have ended", || census.alive() == 0).await;
    assert!(survives.load(SeqCst), "their jobs ran to the end");
}

#[tokio::test]
async fn a_job_may_hold_the_last_handle() {
    let compute = Compute::new(roomy());
    let (gate, done) = (Gate::default(), Arc::new(AtomicBool::new(false)));
    let (own, passes, sets) = (compute.clone(), gate.clone(), done.clone());
    let mut job = Box::pin(compute.run("owner", soon(), move |_| {
        passes.pass();
        drop(own);
        sets.store(true, SeqCst);
    }));
    assert!(poll_once(&mut job).await.is_pending());
    gate.reached_by(1).await;
    drop(job);
    drop(compute);
    gate.open();
    eventually("it dropped its own pool", || done.load(SeqCst)).await;
}

#[tokio::test(start_paused = true)]
async fn the_inline_form_takes_no_time_on_a_clock_that_stands_still() {
    let (compute, start) = (Compute::inline(), Instant::now());
    let elapsed = tokio::select! {
        biased;
        () = sleep(Duration::from_secs(30)) => None,
        result = compute.run("job", soon(), |context| context.check().map(|()| std::thread::current().id())) => Some((result, start.elapsed())),
    };
    assert_eq!(elapsed, Some((Ok(Ok(std::thread::current().id())), Duration::ZERO)));

    let died = compute.run("panics", soon(), |_| panic!("contained")).await;
    assert_eq!(died, Err::<(), _>(ComputeError::Panicked("contained".to_owned())));
    let passed = Deadline::at(start);
    assert_eq!(
        compute.run("late", passed, |_| unreachable!()).await,
        Err::<(), _>(ComputeError::TimedOut)
    );
    // A loop ends even here, in real time: the clock of the test does not move while it runs.
    let loops = compute
        .run("loops", Deadline::after(ms(20)), |context| while !context.cancelled() {})
        .await;
    assert_eq!((loops, start.elapsed()), (Err(ComputeError::TimedOut), Duration::ZERO));
    let inner = compute.clone();
    let nested = compute.run("outer", soon(), move |_| inner.counts().submitted).await;
    assert_eq!(nested, Ok(4), "a job may ask after its pool");

    let counts = compute.counts();
    assert_eq!(
        (counts.finished, counts.panicked, counts.dropped, counts.stopped, counts.threads),
        (2, 1, 1, 1, 0)
    );
    assert_whole(counts);
}

/// What callers do in the storm.
async fn caller(compute: Compute, seed: u64, ran: Arc<AtomicUsize>, census: Census) {
    let mut random = fastrand::Rng::with_seed(seed);
    for _ in 0..625 {
        let label = ["a", "b", "c", "d", "e"][random.usize(..5)];
        let deadline = if random.u8(..4) == 0 {
            Deadline::after(ms(random.u64(..3)))
        } else {
            soon()
        };
        let (spins, panics, asks) = (random.u32(..2_000), random.u8(..100) == 0, random.bool());
        let (ran, owned) = (ran.clone(), census.enter());
        let mut job = Box::pin(compute.run(label, deadline, move |context| {
            let _owned = owned;
            ran.fetch_add(1, SeqCst);
            for _ in 0..spins {
                std::hint::spin_loop();
                if asks && context.check().is_err() {
                    return;
                }
            }
            assert!(!panics, "as planned");
        }));
        match random.u8(..4) {
            0 => {}
            1 => drop(poll_once(&mut job).await),
            2 => {
                if poll_once(&mut job).await.is_pending() {
                    tokio::task::yield_now().await;
                    let _maybe_done = poll_once(&mut job).await;
                }
            }
            _ => drop(job.await),
        }
        assert_whole(compute.counts());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_storm_of_jobs_and_leaving_callers_loses_none() {
    let settings = ComputeSettings {
        threads: 2,
        queue_per_thread: 4,
        limit: Duration::from_secs(60),
    };
    let compute = Compute::new(settings);
    let (ran, census) = (Arc::new(AtomicUsize::new(0)), Census::default());
    let mut callers = JoinSet::new();
    for seed in 0..16 {
        callers.spawn(caller(compute.clone(), seed, ran.clone(), census.clone()));
    }
    while let Some(ended) = callers.join_next().await {
        ended.unwrap();
    }
    eventually("all have stopped", || compute.counts().running == 0).await;
    let counts = compute.counts();
    assert_whole(counts);
    assert_eq!((counts.waiting, counts.threads, counts.lost, counts.overran), (0, 2, 0, 0));
    eventually("what the jobs owned is free", || census.alive() == 0).await;
    assert_eq!(census.begun(), 10_000);
    let (started, ended) = (ran.load(SeqCst) as u64, counts.finished + counts.stopped + counts.panicked);
    // A caller may leave between the job's turn and its first instruction: it counts as stopped, and never ran.
    assert!(
        ended - counts.stopped <= started && started <= ended,
        "{started} started, {counts:?}"
    );
    assert!(
        counts.finished > 0 && counts.dropped > 0 && counts.busy > 0,
        "a storm, not a breeze: {counts:?}"
    );
    assert_eq!(compute.run("calm", soon(), |_| 7).await, Ok(7));
}
