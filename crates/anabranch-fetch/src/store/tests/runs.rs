//! A run over several calls: resumed, refused, tried again, begun anew.

use super::*;
use crate::options::Only;

fn usage(result: Result<(Store, Opened), FetchError>) -> String {
    match result {
        Err(FetchError::Usage(text)) => text,
        other => panic!("expected a usage error, got {other:?}"),
    }
}

fn broken(result: Result<(Store, Opened), FetchError>) -> String {
    match result {
        Err(FetchError::Store(text)) => text,
        other => panic!("expected a store error, got {other:?}"),
    }
}

#[tokio::test]
async fn what_is_committed_is_done_in_the_next_call() {
    let run = Run::new();
    let first = run.call(all_ok(0..1_200), Ending::Stopped).await;
    assert!(!first.is_resumed && first.is_resumable && first.run.as_deref() == Some("out.ndjson"));
    let (store, opened) = run.open();
    assert!(opened.is_resumed && !opened.is_finished);
    assert_eq!(opened.earlier.total(), 1_200);
    for number in 0..1_300 {
        assert_eq!(store.is_done(&job(number).id).unwrap(), number < 1_200, "{number}");
    }
    store.close(Ending::Complete).await.unwrap();
    assert_eq!(run.records("out.ndjson").len(), 1_200);
    assert!(run.call([], Ending::Stopped).await.is_finished);
    assert!(run.call(all_ok(1_200..1_201), Ending::Stopped).await.is_finished);
    assert!(!run.call([], Ending::Stopped).await.is_finished, "a new job makes it unfinished");
}

#[tokio::test]
async fn what_a_crash_left_in_the_record_file_is_cut() {
    let run = Run::new();
    run.call(all_ok(0..10), Ending::Stopped).await;
    let mut file = std::fs::OpenOptions::new().append(true).open(run.path("out.ndjson")).unwrap();
    file.write_all(b"{\"v\":1,\"id\":\"half a rec").unwrap();
    run.call(all_ok(10..12), Ending::Stopped).await;
    assert_eq!(run.records("out.ndjson").len(), 12);
}

#[tokio::test]
async fn a_record_file_that_lost_records_or_was_swapped_is_not_written_to() {
    let run = Run::new();
    run.call(all_ok(0..10), Ending::Stopped).await;
    let path = run.path("out.ndjson");
    let whole = std::fs::read(&path).unwrap();
    std::fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(100).unwrap();
    assert!(broken(run.try_open()).contains("records are missing"));
    std::fs::write(run.path("copy"), &whole).unwrap();
    std::fs::rename(run.path("copy"), &path).unwrap();
    assert!(broken(run.try_open()).contains("not the file"));
    std::fs::remove_file(&path).unwrap();
    broken(run.try_open());
    assert!(!path.exists());
}

#[tokio::test]
async fn a_run_that_is_moved_goes_on() {
    let mut run = Run::new();
    run.options.output.records = RecordsTo::Nowhere;
    run.options.output.run = Some(run.path("before"));
    run.call(all_ok(0..3), Ending::Stopped).await;
    std::fs::rename(run.path("before"), run.path("after")).unwrap();
    run.options.output.run = Some(run.path("after"));
    assert_eq!(run.call(all_ok(3..5), Ending::Stopped).await.earlier.total(), 3);
    assert_eq!(run.records("after/records.ndjson").len(), 5);
    run.options.output.records = RecordsTo::File(run.path("elsewhere"));
    assert!(usage(run.try_open()).contains("`records.ndjson`"));
}

#[tokio::test]
async fn nothing_is_taken_after_the_end() {
    let run = Run::new();
    let (store, _) = run.open();
    let clone = store.clone();
    store.close(Ending::Complete).await.unwrap();
    assert!(clone.commit(Finished::new(numbered(1, Outcome::Ok))).await.is_err());
    assert!(clone.frontier(1).await.is_err());
    assert_eq!(clone.close(Ending::Complete).await.unwrap().total(), 0);
}

#[tokio::test]
async fn a_run_is_held_by_one_process_until_it_is_closed() {
    let run = Run::new();
    let (store, _) = run.open();
    assert!(broken(run.try_open()).contains("in use"));
    store.close(Ending::Stopped).await.unwrap();
    run.open();
}

#[tokio::test]
async fn what_shapes_the_run_may_not_change_and_limits_may() {
    let mut run = Run::new();
    run.call(all_ok(0..1), Ending::Stopped).await;
    run.options.limits.concurrency = 1;
    run.call(all_ok(1..2), Ending::Stopped).await;
    run.options.output.only = Some(Only::Ok);
    assert!(usage(run.try_open()).contains("another --only:"));
    run.options.output.fresh = true;
    assert_eq!(run.call(all_ok(0..3), Ending::Stopped).await.earlier.total(), 0);
    assert_eq!(run.records("out.ndjson").len(), 3);
}

#[tokio::test]
async fn a_file_that_belongs_to_no_run_is_kept_unless_all_is_to_begin_anew() {
    let mut run = Run::new();
    std::fs::write(run.path("out.ndjson"), "mine\n").unwrap();
    assert!(usage(run.try_open()).contains("--fresh"));
    assert_eq!(std::fs::read_to_string(run.path("out.ndjson")).unwrap(), "mine\n");
    run.options.output.fresh = true;
    run.call(all_ok(0..2), Ending::Stopped).await;
    assert_eq!(run.records("out.ndjson").len(), 2);
}

#[tokio::test]
async fn failed_jobs_are_taken_out_and_done_again() {
    let mut run = Run::new();
    run.options.output.sinks = vec![format!("csv:{}", run.path("out.csv").display())];
    let outcome = |number: u64| if number.is_multiple_of(3) { Outcome::Timeout } else { Outcome::Ok };
    run.call((0..900).map(|number| (number, outcome(number))), Ending::Complete).await;
    run.options.output.retry_failed = true;
    let (store, opened) = run.open();
    assert_eq!((opened.earlier.total(), opened.earlier.failed()), (600, 0));
    assert_eq!(run.records("out.ndjson").len(), 600);
    assert_eq!(std::fs::read_to_string(run.path("out.csv")).unwrap().lines().count(), 601);
    for number in 0..900 {
        let is_done = store.is_done(&job(number).id).unwrap();
        assert_eq!(is_done, number % 3 != 0);
        if !is_done {
            store.commit(Finished::new(numbered(number, Outcome::Ok))).await.unwrap();
        }
    }
    store.close(Ending::Complete).await.unwrap();
    let records = run.records("out.ndjson");
    assert!(records.len() == 900 && records.values().all(|outcome| outcome == "ok"));
    let table = std::fs::read_to_string(run.path("out.csv")).unwrap();
    assert!(table.lines().count() == 901 && !table.contains("timeout"));
    assert_eq!(
        run.call([], Ending::Complete).await.earlier.total(),
        900,
        "nothing failed: nothing is taken out"
    );
}

#[tokio::test]
async fn a_rewrite_that_was_cut_off_before_its_rename_is_brought_to_its_end() {
    let mut run = Run::new();
    run.call([(1, Outcome::Ok), (2, Outcome::Dns)], Ending::Complete).await;
    let before = std::fs::read(run.path("out.ndjson")).unwrap();
    run.options.output.retry_failed = true;
    run.call([], Ending::Stopped).await;
    let after = std::fs::read(run.path("out.ndjson")).unwrap();
    // As if the process had ended after the transaction: the new file is beside, the old one in its place.
    std::fs::rename(run.path("out.ndjson"), run.path("out.ndjson.rewrite")).unwrap();
    std::fs::write(run.path("out.ndjson"), before).unwrap();
    run.call([], Ending::Stopped).await;
    assert_eq!(std::fs::read(run.path("out.ndjson")).unwrap(), after);
    // And as if it had ended before: what is beside is nobody's.
    std::fs::write(run.path("out.ndjson.rewrite"), "half").unwrap();
    run.call([], Ending::Stopped).await;
    assert!(!run.path("out.ndjson.rewrite").exists());
    assert_eq!(std::fs::read(run.path("out.ndjson")).unwrap(), after);
}

#[tokio::test]
async fn a_new_pass_remembers_what_the_last_one_saw() {
    let mut run = Run::new();
    run.options.output.if_changed = true;
    let (store, opened) = run.open();
    assert_eq!(opened.pass, 1);
    let mut seen = numbered(1, Outcome::Ok);
    (seen.etag, seen.sha256) = (Some("\"a\"".to_owned()), Some("5e".to_owned()));
    store.commit(Finished::new(seen)).await.unwrap();
    store.commit(Finished::new(numbered(2, Outcome::Ok))).await.unwrap();
    assert_eq!(store.remembered(&job(1).id), None);
    store.close(Ending::Stopped).await.unwrap();
    assert_eq!(run.call([], Ending::Complete).await.pass, 1, "a run that is not finished goes on");
    let (store, opened) = run.open();
    assert_eq!((opened.pass, opened.earlier.total()), (2, 0));
    let remembered = store.remembered(&job(1).id).unwrap();
    assert_eq!(
        (remembered.etag.as_deref(), remembered.sha256.as_deref()),
        (Some("\"a\""), Some("5e"))
    );
    assert_eq!(store.remembered(&job(2).id), None);
    assert!(!store.is_done(&job(1).id).unwrap());
    store.commit(Finished::new(numbered(1, Outcome::NotModified))).await.unwrap();
    store.close(Ending::Complete).await.unwrap();
    assert_eq!(run.records("out.ndjson").len(), 2);
    assert_eq!(run.records("out.ndjson.2").values().collect::<Vec<_>>(), ["not_modified"]);
    let (store, opened) = run.open();
    assert_eq!(opened.pass, 3);
    assert!(store.remembered(&job(1).id).is_some(), "a 304 leaves what was known");
}

#[tokio::test]
async fn a_new_pass_does_not_begin_over_a_file_of_somebody_else() {
    let mut run = Run::new();
    run.call(all_ok(0..3), Ending::Complete).await;
    std::fs::write(run.path("out.ndjson.2"), "mine\n").unwrap();
    run.options.output.if_changed = true;
    assert!(usage(run.try_open()).contains("out.ndjson.2"));
    run.options.output.if_changed = false;
    let opened = run.call([], Ending::Stopped).await;
    assert!(opened.is_finished && opened.pass == 1 && opened.earlier.total() == 3);
}

#[tokio::test]
async fn on_stdout_a_resumed_run_is_whole_each_time() {
    let mut run = Run::new();
    run.options.output.records = RecordsTo::Stdout;
    run.options.output.run = Some(run.path("r1"));
    run.call(all_ok(0..5), Ending::Stopped).await;
    let commit_two = async |run: &Run, from: u64, screen: &Screen| {
        let (store, _) = Store::open(&run.options, screen.setup()).unwrap();
        for (number, outcome) in all_ok(from..from + 2) {
            store.commit(Finished::new(numbered(number, outcome))).await.unwrap();
        }
        store.close(Ending::Stopped).await.unwrap();
    };
    let screen = Screen::default();
    commit_two(&run, 5, &screen).await;
    assert_eq!(screen.lines(), 7);
    assert_eq!(screen.0.lock().unwrap()[..], std::fs::read(run.path("r1/records.ndjson")).unwrap());
    run.options.output.new_only = true;
    let screen = Screen::default();
    commit_two(&run, 7, &screen).await;
    assert_eq!(screen.lines(), 2);
}

#[tokio::test]
async fn without_a_run_lines_go_out_and_nothing_is_kept() {
    let screen = Screen::default();
    let (store, opened) = Store::open(&Options::default(), screen.setup()).unwrap();
    assert!(!opened.is_resumable && opened.run.is_none());
    for (number, outcome) in all_ok(0..3_000) {
        store.commit(Finished::new(numbered(number, outcome))).await.unwrap();
    }
    let committed = store.close(Ending::Complete).await.unwrap();
    assert_eq!((committed.total(), screen.lines()), (3_000, 3_000));
    let mut options = Options::default();
    options.output.retry_failed = true;
    assert!(usage(Store::open(&options, Setup::default())).contains("--run"));
}

#[tokio::test]
async fn records_are_seen_once_they_are_committed() {
    let run = Run::new();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let (keep, path) = (seen.clone(), run.path("out.ndjson"));
    let observer = move |record: &Record| {
        let is_there = std::fs::read_to_string(&path).unwrap().contains(record.id.as_str());
        keep.lock().unwrap().push((record.id.clone(), is_there));
    };
    let setup = Setup {
        observer: Some(Box::new(observer)),
        ..Setup::default()
    };
    let (store, _) = Store::open(&run.options, setup).unwrap();
    store.commit(Finished::new(numbered(1, Outcome::Dns))).await.unwrap();
    store.close(Ending::Complete).await.unwrap();
    assert_eq!(*seen.lock().unwrap(), [(job(1).id, true)]);
}

/// Refuses with this kind of error.
struct Refuses(std::io::ErrorKind);

impl Write for Refuses {
    fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
        Err(self.0.into())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn a_reader_that_left_is_no_fault_and_the_checkpoint_is_there() {
    let mut run = Run::new();
    run.options.output.records = RecordsTo::Stdout;
    run.options.output.run = Some(run.path("r1"));
    let setup = Setup {
        stdout: Some(Box::new(Refuses(std::io::ErrorKind::BrokenPipe))),
        observer: None,
    };
    let (store, _) = Store::open(&run.options, setup).unwrap();
    store.commit(Finished::new(numbered(1, Outcome::Ok))).await.unwrap();
    let clone = store.clone();
    assert_eq!(store.close(Ending::Stopped).await, Err(FetchError::ClosedPipe));
    assert_eq!(
        clone.commit(Finished::new(numbered(2, Outcome::Ok))).await,
        Err(FetchError::ClosedPipe)
    );
    assert_eq!(run.records("r1/records.ndjson").len(), 1);
}

#[tokio::test]
async fn a_device_without_room_ends_the_run() {
    let mut run = Run::new();
    run.options.output.records = RecordsTo::File("/dev/full".into());
    if !Path::new("/dev/full").exists() {
        return;
    }
    let (store, opened) = run.open();
    assert!(!opened.is_resumable);
    store.commit(Finished::new(numbered(1, Outcome::Ok))).await.unwrap();
    let error = store.close(Ending::Complete).await.unwrap_err();
    assert!(matches!(&error, FetchError::Store(text) if text.contains("/dev/full")), "{error}");
}

#[tokio::test]
async fn whoever_waits_for_room_hears_that_the_writer_failed() {
    let setup = Setup {
        stdout: Some(Box::new(Refuses(std::io::ErrorKind::StorageFull))),
        observer: None,
    };
    let (store, _) = Store::open(&Options::default(), setup).unwrap();
    let mut accepted = 0;
    while store.commit(Finished::new(numbered(accepted, Outcome::Ok))).await.is_ok() {
        accepted += 1;
        assert!(accepted < 100_000);
    }
    assert!(matches!(store.frontier(1).await, Err(FetchError::Store(_))));
    assert_eq!(store.committed().total(), 0, "nothing is counted that was not said");
    assert!(matches!(store.close(Ending::Complete).await, Err(FetchError::Store(_))));
}

#[test]
fn outcomes_are_counted_at_their_places() {
    for (place, outcome) in Outcome::ALL.into_iter().enumerate() {
        assert_eq!(super::super::place(outcome), place);
    }
}

#[tokio::test]
async fn jobs_that_are_put_away_come_back_in_order_by_host() {
    let (store, _) = Store::open(&Options::default(), Setup::default()).unwrap();
    store.spill("a", (0..10).map(job).collect()).await.unwrap();
    store.spill("b", vec![job(100)]).await.unwrap();
    store.spill("a", (10..20).map(job).collect()).await.unwrap();
    let numbers = |jobs: Vec<Job>| jobs.into_iter().map(|job| job.seq.unwrap()).collect::<Vec<_>>();
    assert_eq!(numbers(store.unspill("a", 12).await.unwrap()), (0..12).collect::<Vec<_>>());
    store.spill("a", vec![job(20)]).await.unwrap();
    assert_eq!(numbers(store.unspill("a", 100).await.unwrap()), (12..21).collect::<Vec<_>>());
    assert_eq!(numbers(store.unspill("a", 100).await.unwrap()), [0_u64; 0]);
    assert_eq!(numbers(store.unspill("b", 100).await.unwrap()), [100]);
}

#[tokio::test]
#[cfg(feature = "parquet")]
async fn parquet_files_have_what_the_record_file_has() {
    use parquet::file::reader::{FileReader, SerializedFileReader};

    let mut run = Run::new();
    run.options.output.sinks = vec![format!("parquet:{}", run.path("pq").display())];
    let rows = |run: &Run| {
        let files = std::fs::read_dir(run.path("pq")).unwrap().map(|file| file.unwrap().path());
        let rows = files.map(|path| {
            SerializedFileReader::new(std::fs::File::open(path).unwrap())
                .unwrap()
                .metadata()
                .file_metadata()
                .num_rows()
        });
        rows.fold((0, 0), |(files, all), rows| (files + 1, all + rows))
    };
    let outcome = |number: u64| if number == 3 { Outcome::Dns } else { Outcome::Ok };
    run.call((0..10).map(|number| (number, outcome(number))), Ending::Stopped).await;
    run.call(all_ok(10..15), Ending::Complete).await;
    assert_eq!(rows(&run), (2, 15));
    run.options.output.retry_failed = true;
    run.call([(3, Outcome::Ok)], Ending::Complete).await;
    assert_eq!(rows(&run), (1, 15));
    (run.options.output.retry_failed, run.options.output.fresh) = (false, true);
    run.call(all_ok(0..2), Ending::Complete).await;
    assert_eq!(rows(&run), (1, 2));
    run.options.output.records = RecordsTo::Stdout;
    assert!(usage(run.try_open()).contains("record file"));
}
