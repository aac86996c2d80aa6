//! Limits on how many jobs there are at once.

use anabranch::{Kind, Phase};

use super::*;

const SLOW: &str = "echo '!ready'; while read -r job; do sleep 0.4; echo $$; done";

#[tokio::test]
async fn a_full_queue_refuses_at_once() {
    let (client, workers) = (Client::new(), sh(SLOW).queue(1).build().unwrap());
    number(&workers, &client).await;
    let first = run(&workers, &client, "0");
    let second = async {
        sleep(ms(50)).await;
        run(&workers, &client, "0").await
    };
    let third = async {
        sleep(ms(100)).await;
        let began = Instant::now();
        let error = run(&workers, &client, "0").await.unwrap_err();
        assert!(began.elapsed() < ms(100), "{:?}", began.elapsed());
        error
    };
    let (first, second, third) = tokio::join!(first, second, third);
    assert!(first.is_ok() && second.is_ok());
    assert_eq!(
        (third.kind(), third.phase(), third.was_sent()),
        (Kind::Busy, Some(Phase::Queue), false)
    );
    assert!(third.retry_after().is_some());
    assert_eq!(workers.counts().refused, 1);
    close(&workers, &client).await;
}

#[tokio::test]
async fn waiting_for_a_process_has_a_limit() {
    let (client, workers) = (Client::new(), sh(SLOW).queue_wait(ms(100)).build().unwrap());
    workers.start(&client);
    eventually("it is there", || workers.counts().started == 1).await;
    let first = run(&workers, &client, "0");
    let second = async {
        sleep(ms(50)).await;
        let began = Instant::now();
        let error = run(&workers, &client, "0").await.unwrap_err();
        (error, began.elapsed())
    };
    let (first, (error, waited)) = tokio::join!(first, second);
    assert!(first.is_ok());
    assert_eq!(error.kind(), Kind::Busy);
    assert!(waited >= ms(100) && waited < ms(350), "{waited:?}");
    close(&workers, &client).await;
}

#[tokio::test]
async fn no_process_has_two_jobs() {
    let (client, workers) = (Client::new(), sh(SLOW).count(2).build().unwrap());
    let jobs = (0..4).map(|_| number(&workers, &client));
    let began = Instant::now();
    let mut numbers = futures_util::future::try_join_all(jobs.map(async |job| Ok::<_, ()>(job.await)))
        .await
        .unwrap();
    assert!(began.elapsed() >= ms(800), "{:?}", began.elapsed());
    numbers.sort_unstable();
    assert!(
        numbers[0] == numbers[1] && numbers[1] != numbers[2] && numbers[2] == numbers[3],
        "{numbers:?}"
    );
    close(&workers, &client).await;
}

/// Callers that leave in the queue, while their job is handed over, and while it is done: on several threads, at any moment.
#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn callers_that_leave_leave_nothing_behind() {
    let client = Client::new();
    let workers = sh("echo '!ready'; while read -r job; do sleep 0.00$job; echo \"$job\"; done")
        .count(3)
        .queue(1_000)
        .build()
        .unwrap();
    workers.start(&client);
    let mut jobs = tokio::task::JoinSet::new();
    for job in 0..400_u64 {
        let (workers, client) = (workers.clone(), client.clone());
        jobs.spawn(async move {
            sleep(ms(job * 5)).await;
            let digit = (job % 4).to_string();
            let patience = Deadline::after(Duration::from_micros(job * 997 % 30_000));
            match patience.bound(run(&workers, &client, &digit)).await {
                Ok(answer) => assert_eq!(answer.unwrap_or_else(|_| digit.clone()), digit),
                Err(_left) => {}
            }
        });
    }
    while let Some(job) = jobs.join_next().await {
        job.unwrap();
    }
    assert_eq!(run(&workers, &client, "5").await.unwrap(), "5");
    assert_eq!(workers.counts().waiting, 0);
    eventually("no process is busy", || workers.counts().busy == 0).await;
    close(&workers, &client).await;
    assert_eq!((workers.counts().seats, client.background().count()), (0, 0));
}

/// It was refused as if all processes were busy, when none had been started.
#[tokio::test]
async fn without_a_queue_a_job_is_taken_for_a_process_that_is_yet_to_be_started() {
    let (client, workers) = (Client::new(), sh(ECHO).queue(0).build().unwrap());
    assert_eq!(run(&workers, &client, "1").await.unwrap(), "1");
    close(&workers, &client).await;
}

#[tokio::test]
async fn all_processes_are_killed_at_once_with_what_they_started() {
    let script = "echo '!ready'; while read -r job; do sleep 100 & echo $!; wait; done";
    let (client, workers) = (Client::new(), sh(script).build().unwrap());
    let started = number(&workers, &client).await;
    assert!(runs(started));
    workers.close();
    workers.kill();
    eventually("it is gone", || !runs(started)).await;
    assert_eq!(client.drain(Deadline::after(Duration::from_secs(20))).await, Vec::<&str>::new());
}
