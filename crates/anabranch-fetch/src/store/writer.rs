//! The writer: a thread that takes batches of ended jobs and makes them last.

use std::io::Write;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use super::bodies::{Bodies, part_path};
use super::echo::Echo;
use super::file::Appended;
use super::journal::{Done, Journal};
use super::place::Lock;
use super::queue::{Queue, Work};
use super::shape::Shape;
use super::sink::{Database, FileSink, Segments};
use super::{Committed, Ending, Key, Observer};
use crate::FetchError;
use crate::record::{Finished, SavedBody};

/// The number of the record file in the journal.
pub(super) const RECORDS: i64 = 0;

/// All that the writer holds. The lock of the run goes last.
pub(super) struct Writer {
    pub(super) queue: Arc<Queue>,
    pub(super) counts: Arc<Mutex<Committed>>,
    /// What the writer alone uses but while a crawl's input is read.
    pub(super) journal: Option<Arc<Mutex<Journal>>>,
    /// Whether the journal is the run's, and not one that ends with the process.
    pub(super) is_durable: bool,
    pub(super) shape: Shape,
    pub(super) records: Option<Appended>,
    /// What takes lines after they are committed: stdout, or a device.
    pub(super) echo: Option<Echo>,
    pub(super) sinks: Vec<FileSink>,
    pub(super) databases: Vec<Database>,
    /// Made of the record file as it grows.
    pub(super) segments: Vec<Segments>,
    pub(super) bodies: Option<Bodies>,
    /// The folder for bodies.
    pub(super) folder: Option<PathBuf>,
    /// How many jobs the crawl may have; None where nothing is crawled.
    pub(super) crawl: Option<u64>,
    pub(super) observer: Option<Observer>,
    /// The name of the run, which records have.
    pub(super) run: Option<String>,
    /// Whether the journal says that the run is finished.
    pub(super) is_marked_finished: bool,
    pub(super) _lock: Option<Lock>,
}

/// What a batch leads to, besides what the journal keeps.
#[derive(Default)]
struct Batch {
    /// The lines of all records that are written.
    lines: Vec<u8>,
    /// The length of each record's line.
    line_lengths: Vec<u64>,
    /// For each record the lengths of its rows.
    rows: Vec<Vec<u8>>,
}

impl Writer {
    /// Works until the store is closed, and says how that went.
    pub(super) fn run(mut self, ended: watch::Sender<Option<Result<(), FetchError>>>) {
        let result = self.work();
        let queue = self.queue.clone();
        // Files and lock are given back before anybody hears of the end.
        drop(self);
        queue.fail(result.clone().err().unwrap_or_else(|| FetchError::store("the store is closed")));
        let _nobody = ended.send(Some(result));
    }

    fn work(&mut self) -> Result<(), FetchError> {
        if let Some(echo) = &mut self.echo {
            echo.replay()?;
        }
        loop {
            let work = self.queue.next();
            if let Some(ending) = self.serve(work)? {
                return self.finish(ending);
            }
        }
    }

    fn serve(&mut self, work: Work) -> Result<Option<Ending>, FetchError> {
        let records = work.finished.len();
        let mut unserved = Vec::new();
        for taker in work.takers {
            let jobs = self.next_found(taker.limit)?;
            match jobs.is_empty() {
                true => unserved.push(taker),
                false => drop(taker.reply.send(jobs)),
            }
        }
        if records > 0 {
            let result = self.commit(work.finished);
            if result.is_err() {
                self.abandon();
            }
            result?;
            self.queue.committed(records);
        }
        for taker in unserved {
            let jobs = self.next_found(taker.limit)?;
            drop(taker.reply.send(jobs));
        }
        Ok(work.ending)
    }

    fn next_found(&self, limit: usize) -> Result<Vec<crate::Job>, FetchError> {
        match &self.journal {
            Some(journal) => lock(journal).next_found(limit),
            None => Ok(Vec::new()),
        }
    }

    /// In this order: what the journal will say is on disk before it says so, and what only the journal can make good comes after.
    fn commit(&mut self, mut finished: Vec<Finished>) -> Result<(), FetchError> {
        if let Some(run) = &self.run {
            finished.iter_mut().for_each(|finished| finished.record.run = Some(run.clone()));
        }
        let journal = self.journal.clone();
        let mut journal = journal.as_ref().map(lock);
        if let Some(journal) = journal.as_deref_mut() {
            journal.begin()?;
            if self.bodies.is_some() {
                // Those of the batch before were renamed.
                journal.run("delete from pending")?;
            }
            self.add_found(&mut finished, journal)?;
            self.stage_bodies(&mut finished, journal)?;
        }
        self.store_in_databases(&finished)?;
        let batch = self.write_files(&finished)?;
        if let Some(journal) = journal.as_deref_mut() {
            self.tell(journal, &finished, &batch)?;
            journal.commit()?;
        }
        drop(journal);
        if let Some(records) = &mut self.records {
            records.committed();
        }
        self.sinks.iter_mut().for_each(|sink| sink.file.committed());
        if let Some(bodies) = &mut self.bodies {
            bodies.rename()?;
        }
        self.extend_segments(false)?;
        // With a journal they are safe now, whoever listens; without one they are what was said.
        if self.is_durable {
            self.count(&finished);
        }
        if let Some(echo) = &mut self.echo {
            echo.say(&batch.lines)?;
        }
        if !self.is_durable {
            self.count(&finished);
        }
        if let Some(observer) = &mut self.observer {
            finished.iter().for_each(|finished| observer(&finished.record));
        }
        Ok(())
    }

    /// Takes back what a batch wrote before it failed: nobody should read of what is not stored, though a resumed run would cut it too.
    /// Whether the journal has the batch is for the journal to say, since it may have failed after its commit.
    fn abandon(&mut self) {
        let known = match &self.journal {
            Some(journal) => {
                let journal = lock(journal);
                let _none_is_open = journal.run("rollback");
                journal.files().unwrap_or_default()
            }
            None => Vec::new(),
        };
        let length_of = |slot: i64| known.iter().find(|(known, _)| *known == slot).map(|(_, kept)| kept.length);
        if let Some(records) = &mut self.records {
            records.cut_if(length_of(RECORDS));
        }
        for sink in &mut self.sinks {
            sink.file.cut_if(length_of(sink.slot));
        }
    }

    /// Jobs that were found become the crawl's; each record says how many of them were new.
    fn add_found(&mut self, finished: &mut [Finished], journal: &mut Journal) -> Result<(), FetchError> {
        let Some(most) = self.crawl else {
            return Ok(());
        };
        let mut added = 0_u64;
        for finished in finished {
            let mut links = 0_u32;
            for job in finished.found.drain(..) {
                links += u32::from(journal.add_found(&job, most)?);
            }
            if links > 0 || finished.record.links.is_some() {
                finished.record.links = Some(links);
            }
            added += u64::from(links);
        }
        self.counts().waiting += added;
        Ok(())
    }

    fn stage_bodies(&mut self, finished: &mut [Finished], journal: &Journal) -> Result<(), FetchError> {
        let Some(bodies) = &mut self.bodies else {
            return Ok(());
        };
        for finished in finished {
            bodies.stage(finished, journal)?;
        }
        bodies.sync()
    }

    fn store_in_databases(&mut self, finished: &[Finished]) -> Result<(), FetchError> {
        let mut suppressed = 0;
        for database in &mut self.databases {
            let records = finished.iter().map(|finished| &finished.record);
            let records: Vec<_> = records.filter(|record| self.shape.takes(record)).collect();
            suppressed += database.store(&records)?;
        }
        self.counts().suppressed += suppressed;
        Ok(())
    }

    /// Lines into the record file, rows into the sinks, and all of it synced.
    fn write_files(&mut self, finished: &[Finished]) -> Result<Batch, FetchError> {
        let mut batch = Batch::default();
        for finished in finished {
            let before = batch.lines.len();
            self.shape.line(&finished.record, &mut batch.lines)?;
            batch.line_lengths.push((batch.lines.len() - before) as u64);
            batch.rows.push(self.write_sinks(finished)?);
        }
        if let Some(records) = &mut self.records {
            records.write_all(&batch.lines).map_err(|error| records.give_up(&error))?;
            records.sync()?;
        }
        for sink in &mut self.sinks {
            sink.file.sync()?;
        }
        Ok(batch)
    }

    fn write_sinks(&mut self, finished: &Finished) -> Result<Vec<u8>, FetchError> {
        let mut rows = Vec::new();
        if self.sinks.is_empty() || !self.shape.takes(&finished.record) {
            let silent = self.sinks.iter().filter(|sink| sink.is_rewritten());
            silent.for_each(|_| rows.extend_from_slice(&0_u32.to_le_bytes()));
            return Ok(rows);
        }
        let body = match (&finished.body, &self.folder) {
            (SavedBody::Part(part), _) => Some(part.clone()),
            (SavedBody::Bytes(_), Some(folder)) => Some(part_path(folder, &finished.record.id)),
            _ => None,
        };
        for sink in &mut self.sinks {
            let length = sink.write(finished, body.as_deref())?;
            if sink.is_rewritten() {
                // A row of 4 GiB cannot be: bodies have limits far below.
                rows.extend_from_slice(&u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes());
            }
        }
        Ok(rows)
    }

    /// The journal hears what is done and how long the files are.
    fn tell(&mut self, journal: &mut Journal, finished: &[Finished], batch: &Batch) -> Result<(), FetchError> {
        let mut ended = 0_u64;
        for (place, finished) in finished.iter().enumerate() {
            let record = &finished.record;
            let id = Key::of(&record.id);
            if self.is_durable {
                journal.add_done(&Done {
                    id,
                    record,
                    line: batch.line_lengths[place],
                    rows: &batch.rows[place],
                })?;
            }
            if self.crawl.is_some() {
                journal.end_found(id, record.outcome)?;
                ended += u64::from(record.depth.is_some_and(|depth| depth > 0));
            }
        }
        let mut counts = self.counts();
        counts.waiting = counts.waiting.saturating_sub(ended);
        drop(counts);
        if !self.is_durable {
            return Ok(());
        }
        if let Some(records) = &self.records {
            journal.set_file(RECORDS, &records.kept())?;
        }
        for sink in &self.sinks {
            journal.set_file(sink.slot, &sink.file.kept())?;
        }
        if std::mem::take(&mut self.is_marked_finished) {
            journal.set_text("finished", "no")?;
        }
        Ok(())
    }

    /// Makes segments of what is committed: of all of it, or where it has become enough for one.
    fn extend_segments(&mut self, is_last: bool) -> Result<(), FetchError> {
        let (Some(records), Some(journal)) = (&self.records, &self.journal) else {
            return Ok(());
        };
        let kept = records.kept();
        for segments in &mut self.segments {
            if (is_last || segments.wants(kept.length)) && segments.extend(&kept.path, kept.length)? {
                let (name, reached) = segments.note();
                lock(journal).set_text(name, &reached)?;
            }
        }
        Ok(())
    }

    fn count(&self, finished: &[Finished]) {
        let mut counts = self.counts();
        finished.iter().for_each(|finished| counts.count(&finished.record));
    }

    fn counts(&self) -> MutexGuard<'_, Committed> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn finish(&mut self, ending: Ending) -> Result<(), FetchError> {
        self.extend_segments(true)?;
        let Some(journal) = self.journal.clone() else {
            return Ok(());
        };
        let journal = lock(&journal);
        if ending == Ending::Complete {
            if let Some(bodies) = &mut self.bodies {
                bodies.sync()?;
                bodies.finish()?;
            }
            if self.is_durable {
                journal.begin()?;
                journal.run("delete from pending")?;
                journal.set_text("finished", "yes")?;
                journal.commit()?;
            }
        }
        if self.is_durable {
            journal.run("pragma wal_checkpoint(truncate)")?;
        }
        Ok(())
    }
}

fn lock(journal: &Arc<Mutex<Journal>>) -> MutexGuard<'_, Journal> {
    journal.lock().unwrap_or_else(PoisonError::into_inner)
}
