//! How processes end: killed with their jobs, by themselves, or in good order.

use anabranch::{CallError, Kind};

use super::*;

/// Does what the job says; `0` asks for the number of the process, `1` does the deed.
fn worker(deed: &str) -> WorkersBuilder {
    sh(&format!(
        "echo '!ready'; while read -r job; do [ \"$job\" = 1 ] && {{ {deed}; }}; echo $$; done"
    ))
}

/// Does the deed, and says how that went, how long it took, and that the process was replaced.
async fn deed(workers: &Workers, client: &Client) -> CallError {
    let process = number(workers, client).await;
    let error = run(workers, client, "1").await.unwrap_err();
    assert_ne!(number(workers, client).await, process);
    assert!(!exists(process), "{process}");
    close(workers, client).await;
    error
}

#[tokio::test]
async fn a_crash_says_what_became_of_the_process() {
    for (way, said) in [
        ("exit 3", "the worker exited with status 3"),
        ("kill -9 $$", "the worker was ended by signal 9"),
    ] {
        let (client, workers) = (Client::new(), worker(way).build().unwrap());
        let error = deed(&workers, &client).await;
        assert_eq!((error.kind(), error.detail()), (Kind::Reset, said));
        assert!(error.was_sent());
    }
}

#[tokio::test]
async fn the_last_words_of_a_crash_are_handed_on() {
    let (builder, notes) = Notes::of(worker("echo it is all too much >&2; exit 1"));
    let (client, workers) = (Client::new(), builder.build().unwrap());
    deed(&workers, &client).await;
    assert!(notes.have("it is all too much") && notes.have("exited with status 1; the next one starts in"));
}

#[tokio::test]
async fn a_worker_that_hangs_is_killed_at_the_limit() {
    let (client, workers) = (Client::new(), worker("sleep 100").timeout(ms(150)).build().unwrap());
    let began = Instant::now();
    let error = deed(&workers, &client).await;
    assert_eq!(
        (error.kind(), error.detail()),
        (Kind::Timeout, "the worker did not answer within 150ms")
    );
    assert!(error.elapsed() >= ms(150) && began.elapsed() < Duration::from_secs(20));
}

#[tokio::test]
async fn the_deadline_of_a_job_ends_it_as_well() {
    let (client, workers) = (Client::new(), worker("sleep 100").build().unwrap());
    let process = number(&workers, &client).await;
    let error = workers
        .run(&client, Bytes::from_static(b"1"), Deadline::after(ms(150)))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), Kind::Timeout);
    eventually("the process is killed", || !exists(process)).await;
    let late = workers
        .run(&client, Bytes::from_static(b"0"), Deadline::after(Duration::ZERO))
        .await
        .unwrap_err();
    assert_eq!((late.kind(), late.was_sent()), (Kind::Timeout, false));
    close(&workers, &client).await;
}

#[tokio::test]
async fn a_worker_dies_with_all_that_it_started() {
    let directory = tempfile::tempdir().unwrap();
    let script = "sleep 100 & echo $! >child; (sleep 100 & echo $! >grandchild; wait) & wait";
    let (client, workers) = (
        Client::new(),
        worker(script).directory(directory.path()).timeout(ms(400)).build().unwrap(),
    );
    assert_eq!(deed(&workers, &client).await.kind(), Kind::Timeout);
    for name in ["child", "grandchild"] {
        let process = std::fs::read_to_string(directory.path().join(name))
            .unwrap()
            .trim()
            .parse()
            .unwrap();
        eventually("it is gone", || !runs(process)).await;
    }
}

#[tokio::test]
async fn a_job_whose_caller_left_is_not_done() {
    let (client, workers) = (Client::new(), worker("sleep 100").build().unwrap());
    let process = number(&workers, &client).await;
    let mut running = Box::pin(run(&workers, &client, "1"));
    assert!(Deadline::after(ms(150)).bound(&mut running).await.is_err());
    // One that still waits for its turn is taken back, and nobody dies of it.
    let mut waiting = Box::pin(run(&workers, &client, "1"));
    assert!(Deadline::after(ms(20)).bound(&mut waiting).await.is_err());
    assert_eq!((workers.counts().busy, workers.counts().waiting), (1, 1));
    drop(waiting);
    assert_eq!(workers.counts().waiting, 0);
    drop(running);
    eventually("the process is killed", || !exists(process)).await;
    assert_ne!(number(&workers, &client).await, process);
    assert_eq!(workers.counts().failed, 1);
    close(&workers, &client).await;
}

#[tokio::test]
async fn a_process_that_ends_between_jobs_costs_no_job() {
    let (client, workers) = (Client::new(), sh("read -r job; echo $$").build().unwrap());
    let mut before = 0;
    for round in 1..6 {
        let process = number(&workers, &client).await;
        assert_ne!(process, before);
        before = process;
        eventually("its end is noticed", || workers.counts().failed == round).await;
    }
    close(&workers, &client).await;
}

#[tokio::test]
async fn a_worker_is_let_out_in_good_order() {
    let directory = tempfile::tempdir().unwrap();
    let script = "echo '!ready'; while read -r job; do echo $$; done; sleep 0.2; echo bye >bye";
    let (client, workers) = (Client::new(), sh(script).directory(directory.path()).build().unwrap());
    let process = number(&workers, &client).await;
    close(&workers, &client).await;
    assert_eq!(std::fs::read_to_string(directory.path().join("bye")).unwrap(), "bye\n");
    assert!(!exists(process));
    assert_eq!(run(&workers, &client, "0").await.unwrap_err().kind(), Kind::Cancelled);
}

#[tokio::test]
async fn a_worker_that_does_not_go_is_told_then_killed() {
    let directory = tempfile::tempdir().unwrap();
    let goes = "trap 'echo told >told; exit' TERM; echo '!ready'; while read -r job; do echo $$; done; while :; do sleep 0.01; done";
    let stays = "trap '' TERM; echo '!ready'; while read -r job; do echo $$; done; while :; do sleep 0.01; done";
    for (script, least) in [(goes, ms(300)), (stays, ms(600))] {
        let (client, workers) = (Client::new(), sh(script).directory(directory.path()).stop(ms(300)).build().unwrap());
        let process = number(&workers, &client).await;
        let began = Instant::now();
        close(&workers, &client).await;
        assert!(
            began.elapsed() >= least && began.elapsed() < Duration::from_secs(10),
            "{:?}",
            began.elapsed()
        );
        assert!(!exists(process));
    }
    assert!(directory.path().join("told").exists());
}

#[tokio::test]
async fn closing_lets_a_job_finish_and_turns_the_others_away() {
    let (client, workers) = (Client::new(), worker("sleep 0.3").build().unwrap());
    number(&workers, &client).await;
    let running = run(&workers, &client, "1");
    let waiting = async {
        sleep(ms(50)).await;
        run(&workers, &client, "0").await
    };
    let closing = async {
        sleep(ms(150)).await;
        workers.close();
    };
    let (running, waiting, ()) = tokio::join!(running, waiting, closing);
    assert!(running.is_ok(), "{running:?}");
    assert_eq!(waiting.unwrap_err().kind(), Kind::Cancelled);
    close(&workers, &client).await;
}

#[tokio::test]
async fn processes_end_with_their_handles_and_with_their_client() {
    let (client, workers) = (Client::new(), worker("sleep 100").build().unwrap());
    let process = number(&workers, &client).await;
    drop(workers);
    eventually("the last handle ends it", || !exists(process)).await;
    assert_eq!(client.drain(soon()).await, Vec::<&str>::new());

    let (client, workers) = (Client::new(), worker("sleep 100").build().unwrap());
    let process = number(&workers, &client).await;
    drop(client);
    eventually("the client ends it", || !runs(process)).await;
    assert_eq!(workers.counts().seats, 0);
}
