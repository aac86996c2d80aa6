//! The store as the run uses it.

mod runs;
mod crawls;
mod saved;
mod chaos;
mod cost;
#[cfg(feature = "postgres")]
mod database;
#[cfg(feature = "postgres")]
#[path = "../../../anabranch/tests/it/postgres_server.rs"]
#[expect(dead_code, clippy::disallowed_methods, reason = "shared with other tests, which use more of it")]
mod postgres_server;

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use url::Url;

use super::{Ending, Opened, Setup, Store};
use crate::options::RecordsTo;
use crate::record::{Failure, Finished, Times};
use crate::{FetchError, Job, JobId, Options, Outcome, Record};

/// A folder in which a run is, and how it is called.
struct Run {
    folder: tempfile::TempDir,
    options: Options,
}

impl Run {
    /// With a record file.
    fn new() -> Run {
        let folder = tempfile::tempdir().unwrap();
        let mut options = Options::default();
        options.output.records = RecordsTo::File(folder.path().join("out.ndjson"));
        Run { folder, options }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn open(&self) -> (Store, Opened) {
        self.try_open().unwrap()
    }

    fn try_open(&self) -> Result<(Store, Opened), FetchError> {
        // Where lines go to stdout, nobody wants to see them.
        let setup = Setup {
            stdout: Some(Box::new(std::io::sink())),
            observer: None,
        };
        Store::open(&self.options, setup)
    }

    /// Opens it, commits these, and closes it.
    async fn call(&self, jobs: impl IntoIterator<Item = (u64, Outcome)>, ending: Ending) -> Opened {
        let (store, opened) = self.open();
        for (number, outcome) in jobs {
            store.commit(Finished::new(numbered(number, outcome))).await.unwrap();
        }
        store.close(ending).await.unwrap();
        opened
    }

    /// The records of a file, by id, each with its outcome. Fails where an id is there twice.
    fn records(&self, name: &str) -> BTreeMap<String, String> {
        records_in(&self.path(name))
    }
}

fn records_in(path: &Path) -> BTreeMap<String, String> {
    let mut records = BTreeMap::new();
    for line in std::fs::read_to_string(path).unwrap().lines() {
        let record: serde_json::Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        let text = |name: &str| record[name].as_str().unwrap().to_owned();
        let twice = records.insert(text("id"), text("outcome"));
        assert!(twice.is_none(), "twice: {line}");
    }
    records
}

fn job(number: u64) -> Job {
    let mut job = Job::get(Url::parse(&format!("http://h/{number}")).unwrap());
    job.seq = Some(number);
    job
}

fn numbered(number: u64, outcome: Outcome) -> Record {
    let job = job(number);
    Record {
        id: job.id,
        seq: job.seq,
        outcome,
        ..record(job.url.as_str())
    }
}

fn all_ok(numbers: std::ops::Range<u64>) -> impl Iterator<Item = (u64, Outcome)> {
    numbers.map(|number| (number, Outcome::Ok))
}

/// A place that keeps what is written to it.
#[derive(Clone, Default)]
struct Screen(Arc<Mutex<Vec<u8>>>);

impl Screen {
    fn setup(&self) -> Setup {
        Setup {
            stdout: Some(Box::new(self.clone())),
            observer: None,
        }
    }

    fn lines(&self) -> usize {
        self.0.lock().unwrap().iter().filter(|&&byte| byte == b'\n').count()
    }
}

impl Write for Screen {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// A record that says little.
pub(crate) fn record(url: &str) -> Record {
    Record {
        v: 1,
        run: None,
        seq: None,
        id: JobId::given(url),
        url: url.to_owned(),
        method: "GET".to_owned(),
        outcome: Outcome::Ok,
        status: None,
        final_url: None,
        attempts: 1,
        tries: Vec::new(),
        total_ms: 1.0,
        t_ms: Times::default(),
        http: None,
        remote: None,
        reused: None,
        wire_bytes: None,
        body_bytes: None,
        encoding: None,
        media_type: None,
        charset: None,
        etag: None,
        last_modified: None,
        cache: None,
        changed: None,
        sha256: None,
        path: None,
        data: None,
        headers: None,
        body: None,
        body_base64: None,
        redirects: Vec::new(),
        links: None,
        depth: None,
        parent: None,
        error: None,
        meta: None,
        ts: "2026-01-02T03:04:05.006Z".to_owned(),
    }
}

/// A record that says all that one can say.
pub(crate) fn full_record() -> Record {
    let json = || Some(serde_json::value::RawValue::from_string("{}".to_owned()).unwrap());
    let text = || Some("x".to_owned());
    Record {
        run: text(),
        seq: Some(1),
        status: Some(200),
        final_url: text(),
        tries: vec![crate::record::Try {
            outcome: Outcome::Reset,
            status: None,
            total_ms: 1.0,
            wait_ms: 2.0,
            why: "backoff",
        }],
        http: Some("2"),
        remote: Some("127.0.0.1:80".to_owned()),
        reused: Some(true),
        wire_bytes: Some(1),
        body_bytes: Some(2),
        encoding: text(),
        media_type: text(),
        charset: text(),
        etag: text(),
        last_modified: text(),
        cache: Some("hit"),
        changed: Some(true),
        sha256: text(),
        path: text(),
        data: json(),
        headers: json(),
        body: text(),
        body_base64: Some(false),
        redirects: vec!["http://h/2".to_owned()],
        links: Some(3),
        depth: Some(1),
        parent: text(),
        error: Some(Failure {
            kind: "reset".to_owned(),
            phase: text(),
            message: "m".to_owned(),
            retryable: true,
        }),
        meta: json(),
        ..record("http://h/")
    }
}
