//! Bounds on what a worker writes, takes and leaves behind.

use std::process::Command;

use anabranch::Kind;

use super::*;

#[tokio::test]
async fn what_is_no_answer_ends_the_process_and_its_job() {
    for (wrote, kind) in [
        ("echo hello", Kind::Decode),
        ("echo '{\"a\":1'", Kind::Decode),
        ("echo", Kind::Decode),
        ("printf '\\377\\n'", Kind::Decode),
        ("echo '!bye'", Kind::Decode),
        ("printf '1\\n2\\n'", Kind::Decode),
        ("printf '[1'; exit", Kind::Truncated),
        ("exit", Kind::Reset),
    ] {
        let script = format!("while read -r job; do [ \"$job\" = 0 ] && echo $$ || {{ {wrote}; }}; done");
        let (client, workers) = (Client::new(), sh(&script).build().unwrap());
        let process = number(&workers, &client).await;
        assert_eq!(run(&workers, &client, "1").await.unwrap_err().kind(), kind, "{wrote}");
        assert_ne!(number(&workers, &client).await, process);
        assert!(!exists(process), "{wrote}");
        close(&workers, &client).await;
    }
}

/// A worker that prints what it should not print would otherwise answer each job with the answer to the one before.
#[tokio::test]
async fn what_nobody_asked_for_is_never_taken_for_an_answer() {
    let script = "while read -r job; do echo \"$job\"; sleep 0.05; [ \"$job\" = 1 ] && echo '\"stray\"'; done";
    let (builder, notes) = Notes::of(sh(script));
    let (client, workers) = (Client::new(), builder.build().unwrap());
    assert_eq!(run(&workers, &client, "1").await.unwrap(), "1");
    eventually("the process is replaced", || workers.counts().failed == 1).await;
    assert_eq!(run(&workers, &client, "2").await.unwrap(), "2");
    assert!(notes.have("wrote more than the answer to its job"));
    close(&workers, &client).await;
}

#[tokio::test]
async fn an_answer_without_end_is_cut() {
    // A number of a gigabyte: nothing is wrong with it but its length.
    let script = "while read -r job; do [ \"$job\" = 0 ] && echo $$ || head -c 1000000000 /dev/zero | tr '\\000' 1; done";
    let (client, workers) = (Client::new(), sh(script).build().unwrap());
    let process = number(&workers, &client).await;
    let began = Instant::now();
    let error = run(&workers, &client, "1").await.unwrap_err();
    assert_eq!(
        (error.kind(), error.detail()),
        (Kind::TooLarge, "the worker wrote more than 8388608 bytes in a line")
    );
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    assert_ne!(number(&workers, &client).await, process);
    close(&workers, &client).await;
}

#[tokio::test]
async fn a_job_is_no_larger_than_an_answer() {
    let (client, workers) = (Client::new(), sh(ECHO).build().unwrap());
    let settings = anabranch::WorkerSettings {
        max_body: 10,
        ..*workers.settings()
    };
    let call = async |job: &'static [u8]| workers.call(&client, Bytes::from_static(job), &settings, soon()).await.0;
    assert_eq!(call(b"\"12345678\"").await.unwrap(), "\"12345678\"");
    assert_eq!(call(b"\"123456789\"").await.unwrap_err().kind(), Kind::Value);
    assert_eq!(call(b"").await.unwrap_err().kind(), Kind::Value);
    assert_eq!(workers.counts().answered, 1);
    close(&workers, &client).await;
}

#[tokio::test]
async fn a_flood_of_words_does_not_hold_up_the_answers() {
    let (builder, notes) = Notes::of(sh("yes chatter >&2 & while read -r job; do echo \"$job\"; done"));
    let (client, workers) = (Client::new(), builder.build().unwrap());
    for job in 0..20 {
        assert_eq!(run(&workers, &client, &job.to_string()).await.unwrap(), job.to_string());
        sleep(ms(60)).await;
    }
    eventually("lines are left out", || notes.have("more lines were left out")).await;
    assert!(notes.0.lock().unwrap().len() < 1_000);
    close(&workers, &client).await;
}

/// Counts what is open in a process of its own: beside other tests nothing could be said.
#[test]
fn no_descriptor_and_no_process_is_left() {
    let test = "worker::bounds::leaves_nothing";
    let ended = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--ignored", "--nocapture"])
        .output()
        .unwrap();
    assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
    assert!(String::from_utf8_lossy(&ended.stdout).contains("1 passed"), "it did not run");
}

#[tokio::test]
#[ignore = "is run by the test above"]
async fn leaves_nothing() {
    let open = || std::fs::read_dir("/proc/self/fd").unwrap().count();
    let children = || {
        let tasks = std::fs::read_dir("/proc/self/task").unwrap();
        let of = |task: std::fs::DirEntry| std::fs::read_to_string(task.path().join("children")).unwrap_or_default();
        tasks.map(|task| of(task.unwrap())).collect::<String>()
    };
    let client = Client::new();
    let ends = [
        "exit",
        "echo hello",
        "printf '[1]\\n2\\n'",
        "kill -9 $$",
        "sleep 100",
        "exec >&-; sleep 100",
    ];
    let mut before = 0;
    for round in 0..30 {
        let end = ends[round % ends.len()];
        let script = format!("echo '!ready'; while read -r job; do [ \"$job\" = 0 ] && echo $$ || {{ {end}; }}; done");
        let workers = sh(&script).count(2).timeout(ms(200)).build().unwrap();
        workers.start(&client);
        number(&workers, &client).await;
        assert!(run(&workers, &client, "1").await.is_err(), "{end}");
        workers.close();
        eventually("all tasks have ended", || client.background().count() == 0).await;
        if round == ends.len() {
            before = open();
        }
    }
    assert_eq!(open(), before);
    assert_eq!(children(), "");
}
