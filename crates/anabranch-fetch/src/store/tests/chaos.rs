//! Processes that are killed at random moments, again and again: in the end each job has one record, and each body is whole.

use std::process::{Command, Stdio};
use std::time::Duration;

use anabranch::Deadline;
use bytes::Bytes;

use super::*;
use crate::input::{Entry, Input};
use crate::record::SavedBody;

/// Names the folder to the process that is to be killed.
const FOLDER: &str = "ANABRANCH_TEST_STORE";
/// Jobs of the list.
const LINES: u64 = 8_000;
/// Pages of the crawl.
const PAGES: u64 = 2_500;

fn list(folder: &Path) -> Options {
    let mut options = Options::default();
    options.input.file = Some(folder.join("in.txt"));
    options.output.records = RecordsTo::File(folder.join("out.ndjson"));
    options.output.sinks = vec![format!("csv:{}", folder.join("out.csv").display())];
    // Where the test has a database, it says so here.
    options.output.sinks.extend(std::fs::read_to_string(folder.join("sink.txt")));
    options
}

fn crawl(folder: &Path) -> Options {
    let mut options = Options::default();
    options.input.urls = vec!["http://h/0".to_owned(), "http://h/9".to_owned()];
    options.output.records = RecordsTo::File(folder.join("out.ndjson"));
    options.output.folder = Some(folder.join("dl"));
    options.crawl.follow = vec!["css:a@href".to_owned()];
    options
}

/// Does what is left of a list.
async fn do_list(folder: &Path) {
    let options = list(folder);
    let (store, _) = Store::open(&options, Setup::default()).unwrap();
    let mut input = Input::open(&options.input).unwrap();
    let mut since_pause = 0;
    while let Some(entry) = input.next().unwrap() {
        let Entry::Job(job) = entry else { panic!("{entry:?}") };
        if store.is_done(&job.id).unwrap() {
            continue;
        }
        store.commit(Finished::new(done(&job))).await.unwrap();
        since_pause += 1;
        if since_pause % 20 == 0 {
            Deadline::after(Duration::from_millis(1)).wait().await;
        }
    }
    store.close(Ending::Complete).await.unwrap();
}

/// Does what is left of a crawl in which page `n` names `3n + 1` to `3n + 3` and some pages that are known.
async fn do_crawl(folder: &Path) {
    let options = crawl(folder);
    let (store, _) = Store::open(&options, Setup::default()).unwrap();
    let mut input = Input::open(&options.input).unwrap();
    let mut jobs = Vec::new();
    while let Some(Entry::Job(job)) = input.next().unwrap() {
        if !store.is_done(&job.id).unwrap() {
            jobs.push(job);
        }
    }
    loop {
        if jobs.is_empty() {
            jobs = store.frontier(50).await.unwrap();
        }
        if jobs.is_empty() {
            break;
        }
        Deadline::after(Duration::from_millis(4)).wait().await;
        for job in jobs.drain(..) {
            let number: u64 = job.url.path()[1..].parse().unwrap();
            let mut finished = Finished::new(done(&job));
            let links = [3 * number + 1, 3 * number + 2, 3 * number + 3, number / 2, 0];
            finished.found = links.into_iter().filter(|&link| link < PAGES).map(found).collect();
            finished.body = SavedBody::Bytes(Bytes::from(format!("{number}").repeat(1_000)));
            finished.name = Some(format!("{}/{number}", number % 7).into());
            store.commit(finished).await.unwrap();
        }
    }
    store.close(Ending::Complete).await.unwrap();
}

fn found(number: u64) -> Job {
    Job::get(Url::parse(&format!("http://h/{number}")).unwrap())
}

fn done(job: &Job) -> Record {
    Record {
        id: job.id.clone(),
        seq: job.seq,
        ..record(job.url.as_str())
    }
}

#[tokio::test]
#[ignore = "the process that the other tests kill"]
async fn child() {
    let Some(folder) = std::env::var_os(FOLDER) else {
        return;
    };
    let folder = Path::new(&folder);
    match folder.join("in.txt").exists() {
        true => do_list(folder).await,
        false => do_crawl(folder).await,
    }
}

/// A file system of its own that is soon full.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    /// None where this process may not mount one.
    fn mount() -> Option<SmallDisk> {
        let disk = SmallDisk(tempfile::tempdir().unwrap());
        disk.run("mount", &["-t", "tmpfs", "-o", "size=600k", "tmpfs"]).then_some(disk)
    }

    fn enlarge(&self) {
        assert!(self.run("mount", &["-o", "remount,size=64m"]));
    }

    fn run(&self, program: &str, arguments: &[&str]) -> bool {
        let command = Command::new(program)
            .args(arguments)
            .arg(self.0.path())
            .stderr(Stdio::null())
            .status();
        command.is_ok_and(|status| status.success())
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        self.run("umount", &[]);
    }
}

#[tokio::test]
async fn a_full_disk_ends_the_run_and_loses_nothing() {
    let Some(disk) = SmallDisk::mount() else {
        eprintln!("skipped: a small file system cannot be mounted here");
        return;
    };
    let options = list(disk.0.path());
    let commit_all = async |numbers: std::ops::Range<u64>| {
        let (store, opened) = Store::open(&options, Setup::default())?;
        for number in numbers {
            if !store.is_done(&job(number).id)? {
                store.commit(Finished::new(numbered(number, Outcome::Ok))).await?;
            }
        }
        store.close(Ending::Complete).await?;
        Ok(opened)
    };
    let error = commit_all(0..20_000).await.unwrap_err();
    assert!(
        matches!(&error, FetchError::Store(text) if text.contains("No space") || text.contains("full")),
        "{error}"
    );
    let left = records_in(&disk.0.path().join("out.ndjson")).len();
    assert!(left > 0, "some batches were committed before");
    disk.enlarge();
    let opened: Opened = commit_all(0..20_000).await.unwrap();
    assert_eq!(opened.earlier.total(), left as u64, "what was left is what was committed");
    assert_eq!(records_in(&disk.0.path().join("out.ndjson")).len(), 20_000);
}

/// Starts the child and kills it after up to `longest`, until one comes to its end. How many were killed.
fn kill_until_done(folder: &Path, longest: Duration) -> u32 {
    let mut kills = 0;
    loop {
        let mut child = Command::new(own_program())
            .args(["store::tests::chaos::child", "--exact", "--ignored"])
            .env(FOLDER, folder)
            .stdout(Stdio::null())
            .stderr(Stdio::inherit())
            .spawn()
            .unwrap();
        let patience = match kills {
            0..25 => longest.mul_f64(fastrand::f64()),
            _ => Duration::from_secs(60),
        };
        let ended = wait(&mut child, patience);
        match ended {
            Some(status) => {
                assert!(status.success(), "after {kills} kills: {status}");
                return kills;
            }
            None => {
                child.kill().unwrap();
                child.wait().unwrap();
                kills += 1;
            }
        }
    }
}

/// This program, also where a build has put another one in its place meanwhile.
fn own_program() -> PathBuf {
    let running = PathBuf::from("/proc/self/exe");
    if running.exists() {
        running
    } else {
        std::env::current_exe().unwrap()
    }
}

fn wait(child: &mut std::process::Child, patience: Duration) -> Option<std::process::ExitStatus> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let deadline = Deadline::after(patience);
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return Some(status);
        }
        if deadline.has_passed() {
            return None;
        }
        runtime.block_on(Deadline::after(Duration::from_millis(2)).wait());
    }
}

fn write_list(folder: &Path) {
    // Every hundredth line stands there twice: two jobs.
    let lines: String = (0..LINES)
        .map(|number| format!("http://h/{}\n", number - u64::from(number % 100 == 99)))
        .collect();
    std::fs::write(folder.join("in.txt"), lines).unwrap();
}

#[test]
#[cfg(feature = "postgres")]
fn a_database_has_each_job_once_however_often_the_process_is_killed() {
    let server = super::postgres_server::Server::shared();
    let folder = tempfile::tempdir().unwrap();
    write_list(folder.path());
    std::fs::write(folder.path().join("sink.txt"), format!("{}&table=killed", server.url())).unwrap();
    let kills = kill_until_done(folder.path(), Duration::from_millis(250));
    assert_eq!(
        records_in(&folder.path().join("out.ndjson")).len() as u64,
        LINES,
        "after {kills} kills"
    );
    assert_eq!(super::database::count(&server, "killed"), LINES);
    assert!(kills >= 3, "only {kills} kills");
}

#[test]
fn a_list_that_is_killed_again_and_again_has_one_record_for_each_line() {
    let folder = tempfile::tempdir().unwrap();
    write_list(folder.path());
    let kills = kill_until_done(folder.path(), Duration::from_millis(250));
    assert_eq!(
        records_in(&folder.path().join("out.ndjson")).len() as u64,
        LINES,
        "after {kills} kills"
    );
    let table = std::fs::read_to_string(folder.path().join("out.csv")).unwrap();
    let mut rows: Vec<&str> = table.lines().skip(1).map(|row| row.split(',').nth(1).unwrap()).collect();
    rows.sort_unstable();
    rows.dedup();
    assert_eq!((rows.len() as u64, table.lines().count() as u64), (LINES, LINES + 1));
    assert!(kills >= 3, "only {kills} kills");
}

#[test]
fn a_crawl_that_is_killed_again_and_again_has_one_record_and_one_whole_body_for_each_page() {
    let folder = tempfile::tempdir().unwrap();
    let kills = kill_until_done(folder.path(), Duration::from_millis(200));
    assert_eq!(
        records_in(&folder.path().join("out.ndjson")).len() as u64,
        PAGES,
        "after {kills} kills"
    );
    for number in 0..PAGES {
        let path = folder.path().join(format!("dl/{}/{number}", number % 7));
        assert_eq!(std::fs::read_to_string(path).unwrap(), format!("{number}").repeat(1_000));
    }
    let files: usize = (0..7)
        .map(|part| std::fs::read_dir(folder.path().join(format!("dl/{part}"))).unwrap().count())
        .sum();
    assert_eq!(files as u64, PAGES);
    assert!(kills >= 3, "only {kills} kills");
}
