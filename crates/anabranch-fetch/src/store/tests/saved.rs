//! Bodies in a folder: whole or not there, and each in a place of its own.

use bytes::Bytes;

use super::*;
use crate::options::OnExists;
use crate::record::SavedBody;
use crate::store::Key;

fn saving() -> Run {
    let mut run = Run::new();
    run.options.output.folder = Some(run.path("dl"));
    run
}

fn body(number: u64, name: &str) -> Finished {
    let mut finished = Finished::new(numbered(number, Outcome::Ok));
    finished.body = SavedBody::Bytes(Bytes::from(format!("body {number}")));
    finished.name = Some(name.into());
    finished
}

fn hex(number: u64) -> String {
    Key::of(&job(number).id).to_hex()
}

async fn save(run: &Run, bodies: Vec<Finished>) -> Vec<(String, serde_json::Value)> {
    let count = bodies.len();
    let (store, _) = run.open();
    for finished in bodies {
        store.commit(finished).await.unwrap();
    }
    store.close(Ending::Complete).await.unwrap();
    let text = std::fs::read_to_string(run.path("out.ndjson")).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    let last = lines[lines.len() - count..].iter();
    let record = |line: &&str| serde_json::from_str::<serde_json::Value>(line).unwrap();
    last.map(record)
        .map(|record| (record["path"].as_str().unwrap_or_default().to_owned(), record))
        .collect()
}

fn read(path: &str) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

#[tokio::test]
async fn no_two_jobs_share_a_file() {
    let run = saving();
    let names = [
        "a/x.html",
        "a/x.html",
        "A/X.html",
        "a/x.html/deeper.html",
        "a",
        "../../escape",
        ".part/mine",
        "/etc/passwd",
        "",
    ];
    let bodies = names.iter().zip(1..).map(|(name, number)| body(number, name)).collect();
    let saved = save(&run, bodies).await;
    let folder = run.path("dl");
    for ((path, record), number) in saved.iter().zip(1..) {
        assert_eq!(record["outcome"], "ok");
        assert!(Path::new(path).starts_with(&folder) && !path.contains(".."), "{path}");
        assert_eq!(read(path), format!("body {number}"));
    }
    assert_eq!(saved[0].0, folder.join("a/x.html").to_str().unwrap());
    assert_eq!(saved[1].0, folder.join(format!("a/x-{}.html", hex(2))).to_str().unwrap());
    assert!(!folder.join(".part").exists(), "nothing is left beside");
    assert!(!run.path("escape").exists());
}

#[tokio::test]
async fn files_of_others_are_treated_as_the_option_says() {
    for (on_exists, kept, outcome) in [
        (OnExists::Unique, "theirs", "ok"),
        (OnExists::Fail, "theirs", "invalid"),
        (OnExists::Skip, "theirs", "filtered"),
        (OnExists::Overwrite, "body 1", "ok"),
    ] {
        let mut run = saving();
        run.options.output.on_exists = on_exists;
        std::fs::create_dir_all(run.path("dl")).unwrap();
        std::fs::write(run.path("dl/x"), "theirs").unwrap();
        let saved = save(&run, vec![body(1, "x")]).await;
        assert_eq!(read(run.path("dl/x").to_str().unwrap()), kept);
        assert_eq!(saved[0].1["outcome"], outcome);
        match on_exists {
            OnExists::Fail | OnExists::Skip => assert_eq!(saved[0].1["error"]["kind"], "exists"),
            _ => assert_eq!(read(&saved[0].0), "body 1"),
        }
    }
}

#[tokio::test]
async fn a_job_that_is_done_again_overwrites_its_own_file() {
    let mut run = saving();
    let mut failed = body(1, "x");
    failed.record.outcome = Outcome::HttpError;
    save(&run, vec![failed]).await;
    run.options.output.retry_failed = true;
    let mut again = body(1, "x");
    again.body = SavedBody::Bytes(Bytes::from_static(b"better"));
    let saved = save(&run, vec![again]).await;
    assert_eq!(saved[0].0, run.path("dl/x").to_str().unwrap());
    assert_eq!(read(&saved[0].0), "better");
    // Begun anew, the file still is ours.
    (run.options.output.retry_failed, run.options.output.fresh) = (false, true);
    let saved = save(&run, vec![body(1, "x")]).await;
    assert_eq!(saved[0].0, run.path("dl/x").to_str().unwrap());
}

#[tokio::test]
async fn a_rename_that_a_crash_left_undone_is_done_when_the_run_goes_on() {
    let run = saving();
    let (store, _) = run.open();
    store.commit(body(1, "a/x")).await.unwrap();
    store.close(Ending::Stopped).await.unwrap();
    // As if the process had ended between the transaction and the rename.
    let part = run.path("dl/.part").join(hex(1));
    std::fs::rename(run.path("dl/a/x"), &part).unwrap();
    std::fs::remove_dir(run.path("dl/a")).unwrap();
    let (store, _) = run.open();
    assert_eq!(read(run.path("dl/a/x").to_str().unwrap()), "body 1");
    assert!(!part.exists());
    store.close(Ending::Complete).await.unwrap();
}

#[tokio::test]
async fn a_large_body_is_moved_from_where_it_was_written() {
    let run = saving();
    let (store, _) = run.open();
    let id = job(7).id;
    let part = store.part_path(&id).unwrap();
    std::fs::write(&part, "streamed").unwrap();
    let mut finished = body(7, "big");
    finished.body = SavedBody::Part(part.clone());
    store.commit(finished).await.unwrap();
    store.close(Ending::Stopped).await.unwrap();
    assert_eq!(read(run.path("dl/big").to_str().unwrap()), "streamed");
    assert!(!part.exists());
    assert_eq!(run.records("out.ndjson").len(), 1);
}

#[tokio::test]
async fn a_body_that_cannot_be_written_leaves_no_record() {
    let run = saving();
    let (store, _) = run.open();
    store.commit(body(1, "fine")).await.unwrap();
    store.frontier(1).await.unwrap();
    let mut finished = body(2, "gone");
    finished.body = SavedBody::Part(run.path("dl/.part/never written"));
    store.commit(finished).await.unwrap();
    assert!(matches!(store.close(Ending::Complete).await, Err(FetchError::Store(_))));
    assert_eq!(run.records("out.ndjson").len(), 1);
    let (store, opened) = run.open();
    assert_eq!(opened.earlier.total(), 1);
    assert!(!store.is_done(&job(2).id).unwrap());
}
