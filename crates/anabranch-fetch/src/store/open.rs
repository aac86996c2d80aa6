//! A store being opened: a run that begins, goes on, begins anew, or begins another pass.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use tokio::sync::watch;

use super::bodies::Bodies;
use super::file::{Appended, failed};
use super::fingerprint::Fingerprint;
use super::journal::Journal;
use super::place::{Places, lock, of_pass};
use super::queue::Queue;
use super::reading::Reading;
use super::shape::Shape;
use super::outputs::{absolute, remove};
use super::sink::{Database, FileSink, Segments, Target};
use super::spill::Spill;
use super::writer::Writer;
use super::{Committed, Opened, Setup, Shared, Store, rewrite};
use crate::{FetchError, Options};

pub(super) fn open(options: &Options, setup: Setup) -> Result<(Store, Opened), FetchError> {
    let output = &options.output;
    let places = Places::of(output);
    let shape = Shape::of(output)?;
    let targets = output.sinks.iter().map(|sink| Target::read(sink)).collect::<Result<Vec<_>, _>>()?;
    let is_crawl = !options.crawl.follow.is_empty() || options.crawl.sitemap;
    let most = is_crawl.then(|| options.crawl.max_pages.unwrap_or(u64::MAX));
    let plan = Plan {
        options,
        places: &places,
        targets: &targets,
        is_crawl,
    };
    let mut kept = match &places.run {
        Some(run) => plan.durable(run)?,
        None => plan.passing()?,
    };
    let bodies = match (&output.folder, &kept.journal) {
        (Some(folder), Some(journal)) => Some(Bodies::open(folder, output.on_exists, journal)?),
        _ => None,
    };
    let replay = kept.replay.take().filter(|_| !output.new_only);
    let echo = plan.echo(setup.stdout, replay)?;
    let journal = kept.journal.map(|journal| Arc::new(Mutex::new(journal)));
    let reading = match (&journal, is_crawl) {
        (Some(journal), true) => kept.reading.of_crawl(journal.clone()),
        _ => kept.reading,
    };
    let queue = Arc::new(Queue::new());
    let counts = Arc::new(Mutex::new(Committed {
        waiting: kept.opened.waiting,
        ..Committed::default()
    }));
    let writer = Writer {
        queue: queue.clone(),
        counts: counts.clone(),
        journal,
        is_durable: places.run.is_some(),
        shape,
        records: kept.records,
        echo,
        sinks: kept.sinks,
        databases: kept.databases,
        segments: kept.segments,
        bodies,
        folder: output.folder.clone(),
        crawl: most,
        observer: setup.observer,
        run: kept.opened.run.clone(),
        is_marked_finished: kept.opened.is_finished,
        _lock: kept.lock,
    };
    let (sender, ended) = watch::channel(None);
    let thread = std::thread::Builder::new().name("fetch-writer".to_owned());
    let guard = queue.clone();
    let started = thread.spawn(move || {
        let _fails = FailsQueue(guard);
        writer.run(sender);
    });
    started.map_err(|error| FetchError::store(format!("no thread for the writer: {error}")))?;
    let shared = Shared {
        queue,
        counts,
        reading,
        spill: Spill::default(),
        ended,
        folder: output.folder.clone(),
        wants_archive: targets.iter().any(|target| matches!(target, Target::Warc(_))),
    };
    Ok((Store(Arc::new(shared)), kept.opened))
}

/// Tells whoever waits for the writer that it is gone, should it panic.
struct FailsQueue(Arc<Queue>);

impl Drop for FailsQueue {
    fn drop(&mut self) {
        self.0.fail(FetchError::store("the writer's thread ended without a word"));
    }
}

/// What is asked for.
pub(super) struct Plan<'a> {
    pub(super) options: &'a Options,
    pub(super) places: &'a Places,
    pub(super) targets: &'a [Target],
    is_crawl: bool,
}

/// What is there.
struct Found {
    journal: Option<Journal>,
    records: Option<Appended>,
    sinks: Vec<FileSink>,
    databases: Vec<Database>,
    segments: Vec<Segments>,
    reading: Reading,
    /// The record file and its length, to be said on stdout.
    replay: Option<(PathBuf, u64)>,
    opened: Opened,
    lock: Option<super::place::Lock>,
}

impl Plan<'_> {
    /// A run with a journal.
    fn durable(&self, run: &Path) -> Result<Found, FetchError> {
        let output = &self.options.output;
        fs::create_dir_all(run).map_err(|error| failed("made", run, &error))?;
        let lock = lock(run)?;
        let path = run.join("journal.db");
        let (mut journal, earlier_key) = self.journal(&path)?;
        let fingerprint = Fingerprint::of(self.options);
        match journal.text("fingerprint")? {
            None => self.begin(&journal, &fingerprint)?,
            Some(kept) => {
                fingerprint.check(&kept)?;
                self.check_record_file(&journal)?;
            }
        }
        let mut pass = pass_of(&journal)?;
        let mut is_finished = journal.text("finished")?.as_deref() == Some("yes");
        if output.if_changed && is_finished {
            pass += 1;
            is_finished = false;
            self.check_files_of(pass)?;
            journal.sync_fully()?;
            journal.begin()?;
            journal.begin_pass()?;
            journal.set_text("pass", &pass.to_string())?;
            journal.set_text("finished", "no")?;
            journal.commit()?;
            journal.run("pragma synchronous = normal")?;
        }
        for (_, kept) in self.kept_files(&journal, pass)? {
            rewrite::settle(&kept)?;
        }
        let mut databases = self.databases(Some(&journal), pass)?;
        if let Some(key) = earlier_key {
            self.forget_run(&key, &mut databases)?;
        }
        if output.retry_failed {
            let files = self.kept_files(&journal, pass)?;
            let failed = rewrite::forget_failed(&mut journal, files, &self.rewritten_slots(), &mut databases)?;
            is_finished &= failed == 0;
            journal.run("pragma synchronous = normal")?;
        }
        if output.folder.is_some() {
            journal.sync_fully()?;
        }
        let (records, sinks) = self.files(&journal, pass)?;
        let segments = self.segments(Some(&journal), pass)?;
        let earlier = journal.counts()?;
        let reading = self.reading(&path, &earlier, pass)?;
        let replay = records.as_ref().map(|records| records.kept()).map(|kept| (kept.path, kept.length));
        let opened = Opened {
            run: self.places.name(),
            is_resumed: earlier.total() > 0,
            is_finished,
            is_resumable: true,
            pass,
            waiting: earlier.waiting,
            earlier,
            records: replay.as_ref().map(|(path, _)| path.clone()),
        };
        Ok(Found {
            journal: Some(journal),
            records,
            sinks,
            databases,
            segments,
            reading,
            replay,
            opened,
            lock: Some(lock),
        })
    }

    /// A run that is gone with the process.
    fn passing(&self) -> Result<Found, FetchError> {
        let output = &self.options.output;
        if output.retry_failed || output.if_changed {
            return Err(FetchError::usage(
                "--retry-failed and --if-changed need a run that is kept: --run NAME or -o FILE",
            ));
        }
        let needs_journal = self.is_crawl || output.folder.is_some();
        let journal = needs_journal.then(Journal::temporary).transpose()?;
        let mut sinks = Vec::new();
        for (slot, target) in self.file_targets() {
            if let Some(path) = target.file() {
                if output.fresh {
                    remove(path)?;
                }
                sinks.push(self.new_sink(target, path, slot)?);
            }
        }
        Ok(Found {
            journal,
            records: None,
            sinks,
            databases: self.databases(None, 1)?,
            segments: self.segments(None, 1)?,
            reading: Reading::nothing(),
            replay: None,
            opened: Opened {
                pass: 1,
                ..Opened::default()
            },
            lock: None,
        })
    }

    /// Opens the journal; empties it where all is to begin anew, and then says what the run was called in databases.
    fn journal(&self, path: &Path) -> Result<(Journal, Option<String>), FetchError> {
        if !self.options.output.fresh {
            return Ok((Journal::open(path)?, None));
        }
        let mut journal = match Journal::open(path) {
            Ok(journal) => journal,
            // Of another version, or broken: whoever begins anew does not want it.
            Err(_) => {
                for ending in ["", "-wal", "-shm"] {
                    remove(&super::place::with_ending(path, ending))?;
                }
                Journal::open(path)?
            }
        };
        let last = pass_of(&journal)?;
        let paths = self.places.records.iter().map(PathBuf::as_path);
        let paths: Vec<&Path> = paths.chain(self.targets.iter().filter_map(Target::file)).collect();
        for path in paths {
            for pass in 1..=last {
                remove(&of_pass(path, pass))?;
            }
        }
        let key = journal.text("key")?;
        journal.begin()?;
        journal.begin_anew()?;
        journal.commit()?;
        Ok((journal, key))
    }

    /// The first call of a run.
    fn begin(&self, journal: &Journal, fingerprint: &Fingerprint) -> Result<(), FetchError> {
        journal.begin()?;
        journal.set_text("fingerprint", &fingerprint.text())?;
        journal.set_text("key", &format!("{:08x}", fastrand::u32(..)))?;
        journal.set_text("pass", "1")?;
        if let Some(records) = self.record_file() {
            journal.set_text("records", &records)?;
        }
        journal.commit()
    }

    fn check_record_file(&self, journal: &Journal) -> Result<(), FetchError> {
        match (journal.text("records")?, self.record_file()) {
            (Some(kept), Some(records)) if kept != records => Err(FetchError::usage(format!(
                "the records of this run are in `{kept}`: name that file, or another run"
            ))),
            _ => Ok(()),
        }
    }

    /// What the record file is called in the journal: a folder that holds both may be moved.
    fn record_file(&self) -> Option<String> {
        let records = self.places.records.as_deref()?;
        let inside = self.places.run.as_deref().and_then(|run| records.strip_prefix(run).ok());
        Some(inside.map_or_else(|| absolute(records), |inside| inside.to_string_lossy().into_owned()))
    }

    fn reading(&self, journal: &Path, earlier: &Committed, pass: u32) -> Result<Reading, FetchError> {
        let mut reading = Reading::nothing();
        if earlier.total() > 0 && !self.is_crawl {
            reading = reading.of_done(journal)?;
        }
        if self.options.output.if_changed && pass > 1 {
            reading = reading.of_memory(journal)?;
        }
        Ok(reading)
    }
}

fn pass_of(journal: &Journal) -> Result<u32, FetchError> {
    Ok(journal.text("pass")?.and_then(|pass| pass.parse().ok()).unwrap_or(1))
}
