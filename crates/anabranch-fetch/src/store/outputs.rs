//! Where records and bodies of a run go: files and sinks, made or taken up again.

use std::fs;
use std::path::{Path, PathBuf};

use super::echo::Echo;
use super::file::{Appended, Kept, failed};
use super::journal::Journal;
use super::open::Plan;
use super::place::of_pass;
use super::sink::{Csv, Database, FileKind, FileSink, Segments, Target, Warc, remove_all};
use super::writer::RECORDS;
use crate::FetchError;

impl Plan<'_> {
    /// What the journal knows of the files of this pass, where they are now: a run that is moved as a whole goes on.
    pub(super) fn kept_files(&self, journal: &Journal, pass: u32) -> Result<Vec<(i64, Kept)>, FetchError> {
        let mut files = journal.files()?;
        for (slot, kept) in &mut files {
            let path = match *slot {
                RECORDS => self.places.records.as_deref(),
                slot => self
                    .file_targets()
                    .find(|(known, _)| *known == slot)
                    .and_then(|(_, target)| target.file()),
            };
            if let Some(path) = path {
                kept.path = of_pass(path, pass);
            }
        }
        Ok(files)
    }

    /// The files of this pass, made or resumed.
    pub(super) fn files(&self, journal: &Journal, pass: u32) -> Result<(Option<Appended>, Vec<FileSink>), FetchError> {
        let kept = self.kept_files(journal, pass)?;
        let kept = |slot: i64| kept.iter().find(|(known, _)| *known == slot).map(|(_, kept)| kept.clone());
        let records = match (&self.places.records, kept(RECORDS)) {
            (None, _) => None,
            (Some(_), Some(kept)) => Some(Appended::resume(kept)?),
            (Some(path), None) => {
                let file = Appended::create(&of_pass(path, pass), b"")?;
                journal.set_file(RECORDS, &file.kept())?;
                Some(file)
            }
        };
        let mut sinks = Vec::new();
        for (slot, target) in self.file_targets() {
            let Some(path) = target.file() else {
                continue;
            };
            sinks.push(match kept(slot) {
                Some(kept) => FileSink {
                    kind: self.kind_of(target, path)?,
                    file: Appended::resume(kept)?,
                    slot,
                },
                None => {
                    let path = of_pass(path, pass);
                    // A process that is killed between making the file and noting it leaves one that only has its header.
                    let note = format!("making {slot}");
                    if journal.text(&note)?.as_deref() == Some(&absolute(&path)) {
                        remove(&path)?;
                    } else if !path.exists() {
                        journal.set_text(&note, &absolute(&path))?;
                    }
                    let sink = self.new_sink(target, &path, slot)?;
                    journal.set_file(slot, &sink.file.kept())?;
                    sink
                }
            });
        }
        Ok((records, sinks))
    }

    /// Folders of Parquet files, which are made of the record file.
    pub(super) fn segments(&self, journal: Option<&Journal>, pass: u32) -> Result<Vec<Segments>, FetchError> {
        let mut all = Vec::new();
        for (slot, target) in (RECORDS + 1..).zip(self.targets) {
            let Target::Parquet(folder) = target else {
                continue;
            };
            let Some(journal) = journal else {
                return Err(FetchError::usage("a Parquet sink is made of a record file: --run NAME or -o FILE"));
            };
            let run = format!("{}-{pass}", journal.text("key")?.unwrap_or_default());
            let note = format!("parquet {slot} {pass}");
            let reached = journal.text(&note)?.and_then(|reached| reached.parse().ok()).unwrap_or(0);
            all.push(Segments::open(folder, &run, note, reached)?);
        }
        Ok(all)
    }

    /// Takes out of other places what an earlier beginning of this run, of that key, left there.
    pub(super) fn forget_run(&self, key: &str, databases: &mut [Database]) -> Result<(), FetchError> {
        let earlier = format!("{}#{key}.", self.places.name().unwrap_or_default());
        databases.iter_mut().try_for_each(|database| database.forget_run(&earlier))?;
        self.targets.iter().try_for_each(|target| match target {
            Target::Parquet(folder) => remove_all(folder, key),
            _ => Ok(()),
        })
    }

    pub(super) fn new_sink(&self, target: &Target, path: &Path, slot: i64) -> Result<FileSink, FetchError> {
        let kind = self.kind_of(target, path)?;
        let header = match &kind {
            FileKind::Csv(csv) => csv.header(),
            FileKind::Warc(warc) => {
                let now = crate::moment::rfc3339(std::time::SystemTime::now());
                warc.header(&now).map_err(|error| failed("written", path, &error))?
            }
        };
        let file = Appended::create(path, &header)?;
        Ok(FileSink { kind, file, slot })
    }

    fn kind_of(&self, target: &Target, path: &Path) -> Result<FileKind, FetchError> {
        Ok(match target {
            Target::Warc(_) => FileKind::Warc(Warc::new(path)),
            _ => FileKind::Csv(Csv::new(&self.options.output.fields)?),
        })
    }

    /// Sinks that are files, with their numbers in the journal.
    pub(super) fn file_targets(&self) -> impl Iterator<Item = (i64, &Target)> {
        let numbered = (RECORDS + 1..).zip(self.targets);
        numbered.filter(|(_, target)| target.file().is_some())
    }

    /// Connects. On a thread of its own, because the caller's may run a runtime, and two of them cannot wait on one thread.
    pub(super) fn databases(&self, journal: Option<&Journal>, pass: u32) -> Result<Vec<Database>, FetchError> {
        let mut databases = Vec::new();
        for target in self.targets {
            let Target::Postgres(url, table) = target else {
                continue;
            };
            let run = match journal {
                Some(journal) => {
                    let key = journal.text("key")?.unwrap_or_default();
                    Some(format!("{}#{key}.{pass}", self.places.name().unwrap_or_default()))
                }
                None => None,
            };
            let connected = std::thread::scope(|scope| scope.spawn(|| Database::connect(url, table, run)).join());
            databases.push(connected.unwrap_or_else(|_| Err(FetchError::store("the Postgres sink's thread ended")))?);
        }
        Ok(databases)
    }

    pub(super) fn rewritten_slots(&self) -> Vec<i64> {
        let csv = self.file_targets().filter(|(_, target)| matches!(target, Target::Csv(_)));
        csv.map(|(slot, _)| slot).collect()
    }

    /// A new pass writes new files, and begins only where there is room for them.
    pub(super) fn check_files_of(&self, pass: u32) -> Result<(), FetchError> {
        let targets = self.targets.iter().filter_map(Target::file);
        let paths = self.places.records.as_deref().into_iter().chain(targets);
        for path in paths.map(|path| of_pass(path, pass)) {
            if fs::metadata(&path).is_ok_and(|metadata| metadata.len() > 0) {
                return Err(FetchError::usage(format!(
                    "pass {pass} writes `{}`, which is there already: move it away",
                    path.display()
                )));
            }
        }
        Ok(())
    }

    pub(super) fn echo(
        &self,
        stdout: Option<Box<dyn std::io::Write + Send>>,
        replay: Option<(PathBuf, u64)>,
    ) -> Result<Option<Echo>, FetchError> {
        if let Some(path) = &self.places.device {
            let device = fs::OpenOptions::new().write(true).open(path);
            let device = device.map_err(|error| failed("opened", path, &error))?;
            return Ok(Some(Echo {
                out: Box::new(device),
                name: path.display().to_string(),
                replay: None,
            }));
        }
        if !self.places.is_stdout {
            return Ok(None);
        }
        Ok(Some(Echo {
            out: stdout.unwrap_or_else(|| Box::new(std::io::stdout())),
            name: "standard output".to_owned(),
            replay,
        }))
    }
}

pub(super) fn absolute(path: &Path) -> String {
    std::path::absolute(path)
        .unwrap_or_else(|_| path.to_owned())
        .to_string_lossy()
        .into_owned()
}

/// Removes a file of ours, if it is there; never a folder or a device.
pub(super) fn remove(path: &Path) -> Result<(), FetchError> {
    match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_file() || metadata.is_symlink() => {
            fs::remove_file(path).map_err(|error| failed("removed", path, &error))
        }
        _ => Ok(()),
    }
}
