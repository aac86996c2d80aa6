//! Workers in Python, made by the helper in `examples/worker`.

use std::path::{Path, PathBuf};
use std::process::Command;

use anabranch::Kind;

use super::*;

/// The interpreter itself: what `python3` names may be a script that needs an environment.
fn python() -> PathBuf {
    let asked = Command::new("python3")
        .args(["-c", "import sys; print(sys.executable)"])
        .output()
        .expect("these tests need python3");
    assert!(asked.status.success(), "these tests need python3");
    PathBuf::from(String::from_utf8(asked.stdout).unwrap().trim())
}

fn examples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/worker")
}

/// A worker around a function `work(job)`.
fn function(body: &str) -> WorkersBuilder {
    let source = format!("import os, subprocess, sys\nsys.path.insert(0, '.')\nfrom anabranch_worker import serve\n{body}\nserve(work)\n");
    let command = [python().to_str().unwrap(), "-B", "-c", &source].map(str::to_owned);
    Workers::builder("score", &command)
        .directory(examples())
        .queue_wait(Duration::from_secs(60))
        .start(Duration::from_secs(60))
}

#[tokio::test]
async fn the_example_scores() {
    let command = [python().to_str().unwrap(), "-B", "score.py"].map(str::to_owned);
    let (client, workers) = (
        Client::new(),
        Workers::builder("score", &command)
            .directory(examples())
            .start(Duration::from_secs(60))
            .build()
            .unwrap(),
    );
    let job = r#"{"question": "Red shoes", "texts": [{"id": 1, "text": "red running shoes"}, {"id": 2, "text": "a red hat"}, {"id": 3, "text": ""}]}"#;
    let answer = run(&workers, &client, job).await.unwrap();
    assert_eq!(
        answer,
        r#"[{"id": 1, "score": 1.0}, {"id": 2, "score": 0.5}, {"id": 3, "score": 0.0}]"#
    );
    let error = run(&workers, &client, "{}").await.unwrap_err();
    assert_eq!((error.kind(), error.detail()), (Kind::Status, "the worker failed: KeyError"));
    close(&workers, &client).await;
}

#[tokio::test]
async fn a_function_may_raise_print_and_start_programs() {
    let body = r#"
def work(job):
    print("printed", job)
    sys.stdout.write("written\n")
    os.system("echo from a program")
    assert sys.stdin.read() == "" and subprocess.run(["cat"], capture_output=True).stdout == b""
    if job == "nan":
        return float("nan")
    if job == "unfit":
        return {1, 2}
    return {"é": job}
"#;
    let (builder, notes) = Notes::of(function(body).env("PATH", "/usr/bin:/bin"));
    let (client, workers) = (Client::new(), builder.build().unwrap());
    assert_eq!(run(&workers, &client, "[1]").await.unwrap(), r#"{"\u00e9": [1]}"#);
    for (job, name) in [("\"nan\"", "ValueError"), ("\"unfit\"", "TypeError")] {
        let error = run(&workers, &client, job).await.unwrap_err();
        assert_eq!(
            (error.kind(), error.detail()),
            (Kind::Status, &*format!("the worker failed: {name}"))
        );
    }
    eventually("all is handed on", || {
        ["printed [1]", "written", "from a program", "TypeError: "]
            .iter()
            .all(|text| notes.have(text))
    })
    .await;
    assert_eq!((workers.counts().started, workers.counts().failed), (1, 0));
    close(&workers, &client).await;
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_worker_gets_no_more_memory_than_its_limit() {
    let body = "
def work(job):
    held = bytearray(job)
    return len(held)
";
    let (client, workers) = (Client::new(), function(body).memory(256 << 20).build().unwrap());
    assert_eq!(run(&workers, &client, "1000000").await.unwrap(), "1000000");
    let error = run(&workers, &client, "1000000000").await.unwrap_err();
    assert_eq!((error.kind(), error.detail()), (Kind::Status, "the worker failed: MemoryError"));
    assert_eq!(run(&workers, &client, "1000000").await.unwrap(), "1000000");
    assert_eq!(workers.counts().started, 1);
    close(&workers, &client).await;
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_worker_computes_after_everybody_else_and_leaves_no_core() {
    let body = "
import resource
def work(job):
    return [os.getpriority(os.PRIO_PROCESS, 0), resource.getrlimit(resource.RLIMIT_CORE)]
";
    let (client, workers) = (Client::new(), function(body).build().unwrap());
    let own = rustix::process::getpriority_process(None).unwrap();
    assert_eq!(
        run(&workers, &client, "0").await.unwrap(),
        format!("[{}, [0, 0]]", (own + 10).min(19))
    );
    close(&workers, &client).await;
}

#[tokio::test]
async fn a_function_that_ends_its_process_is_replaced() {
    let body = "
def work(job):
    if job:
        os._exit(job)
    return os.getpid()
";
    let (client, workers) = (Client::new(), function(body).build().unwrap());
    let process = number(&workers, &client).await;
    let error = run(&workers, &client, "9").await.unwrap_err();
    assert_eq!((error.kind(), error.detail()), (Kind::Reset, "the worker exited with status 9"));
    assert_ne!(number(&workers, &client).await, process);
    close(&workers, &client).await;
}
