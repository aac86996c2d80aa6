//! Processes that take long to start, or cannot.

use anabranch::Kind;

use super::*;

#[tokio::test]
async fn a_worker_that_cannot_live_is_tried_again_with_rests() {
    let (builder, notes) = Notes::of(sh("exit 7").queue_wait(ms(100)));
    let (client, workers) = (Client::new(), builder.build().unwrap());
    workers.start(&client);
    sleep(Duration::from_secs(3)).await;
    let started = workers.counts().started;
    // The rests are at least 25, 50, 100, 200, 400, 800, 1,600 ms; a busy machine is slower than that.
    assert!((2..=7).contains(&started), "{started}");
    let mut error = run(&workers, &client, "0").await.unwrap_err();
    while error.kind() == Kind::Reset {
        // It was given to one that had just been started.
        error = run(&workers, &client, "0").await.unwrap_err();
    }
    assert_eq!(
        (error.kind(), error.detail()),
        (Kind::Connect, "no process is up: the last one exited with status 7")
    );
    assert!(error.retry_after().is_some_and(|wait| wait <= Duration::from_secs(5)));
    assert!(notes.have("exited with status 7; the next one starts in "));
    close(&workers, &client).await;
}

#[tokio::test]
async fn a_program_that_has_gone_is_said() {
    let directory = tempfile::tempdir().unwrap();
    let program = directory.path().join("worker");
    std::fs::copy("/bin/sh", &program).unwrap();
    let workers = Workers::builder("score", &[program.to_str().unwrap(), "-c", NUMBER])
        .queue_wait(ms(500))
        .build()
        .unwrap();
    std::fs::remove_file(&program).unwrap();
    let client = Client::new();
    let error = run(&workers, &client, "0").await.unwrap_err();
    assert_eq!(error.kind(), Kind::Connect);
    assert!(error.detail().contains("cannot start `"), "{error}");
    std::fs::copy("/bin/sh", &program).unwrap();
    let limit = soon();
    while run(&workers, &client, "0").await.is_err() {
        assert!(!limit.has_passed(), "it is found once it is back");
        sleep(ms(20)).await;
    }
    close(&workers, &client).await;
}

/// Else a worker that loads for longer than a job may take would be killed before its first answer, again and again.
#[tokio::test]
async fn a_slow_start_is_not_taken_for_a_slow_job() {
    let (client, workers) = (
        Client::new(),
        sh("sleep 0.6; while read -r job; do echo $$; done")
            .timeout(ms(150))
            .build()
            .unwrap(),
    );
    let began = Instant::now();
    assert_eq!(run(&workers, &client, "0").await.unwrap_err().kind(), Kind::Timeout);
    assert!(began.elapsed() < ms(500), "{:?}", began.elapsed());
    number(&workers, &client).await;
    assert_eq!((workers.counts().started, workers.counts().failed), (1, 0));
    close(&workers, &client).await;
}

#[tokio::test]
async fn a_start_has_a_limit_of_its_own() {
    let (builder, notes) = Notes::of(sh("while read -r job; do sleep 100; done").timeout(ms(50)).start(ms(300)));
    let (client, workers) = (Client::new(), builder.build().unwrap());
    assert_eq!(run(&workers, &client, "0").await.unwrap_err().kind(), Kind::Timeout);
    assert_eq!(workers.counts().failed, 0);
    eventually("it is given up", || workers.counts().failed == 1).await;
    assert!(notes.have("did not answer within 50ms"));
    close(&workers, &client).await;
}

#[tokio::test]
async fn jobs_wait_until_a_worker_that_greets_is_ready() {
    let script = "sleep 0.4; echo '!ready'; while read -r job; do [ \"$job\" = 1 ] && exit; echo $$; done";
    let (client, workers) = (Client::new(), sh(script).timeout(ms(200)).build().unwrap());
    // Nobody knows yet that it greets.
    assert_eq!(run(&workers, &client, "0").await.unwrap_err().kind(), Kind::Timeout);
    number(&workers, &client).await;
    assert_eq!(run(&workers, &client, "1").await.unwrap_err().kind(), Kind::Reset);
    // Its successor takes longer to start than a job may take, and nobody notices.
    number(&workers, &client).await;
    assert_eq!(workers.counts().failed, 1);
    close(&workers, &client).await;
}

#[tokio::test]
async fn a_successor_that_does_not_greet_is_given_up() {
    let directory = tempfile::tempdir().unwrap();
    let script = "[ -e seen ] || echo '!ready'; touch seen; while read -r job; do [ \"$job\" = 1 ] && exit; echo $$; done";
    let (builder, notes) = Notes::of(sh(script).directory(directory.path()).start(ms(300)).queue_wait(ms(1_000)));
    let (client, workers) = (Client::new(), builder.build().unwrap());
    number(&workers, &client).await;
    assert_eq!(run(&workers, &client, "1").await.unwrap_err().kind(), Kind::Reset);
    assert!(run(&workers, &client, "0").await.is_err());
    eventually("it is given up", || notes.have("was not ready within 300ms")).await;
    close(&workers, &client).await;
}
