//! Where a run lives: its folder, its lock, and its record file.

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::file::failed;
use crate::FetchError;
use crate::options::{OutputOptions, RecordsTo};

/// Where things of a run are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Places {
    /// The folder of the journal; None for a run that cannot be resumed.
    pub(super) run: Option<PathBuf>,
    /// The record file of the first pass; None where records only go to stdout.
    pub(super) records: Option<PathBuf>,
    /// Something that takes lines and keeps nothing, such as `/dev/null` or a pipe.
    pub(super) device: Option<PathBuf>,
    /// Whether lines go to stdout.
    pub(super) is_stdout: bool,
}

impl Places {
    pub(super) fn of(output: &OutputOptions) -> Places {
        let is_stdout = output.records == RecordsTo::Stdout;
        if let RecordsTo::File(path) = &output.records {
            let is_device = std::fs::metadata(path).is_ok_and(|metadata| !metadata.is_file() && !metadata.is_dir());
            if is_device {
                return Places {
                    run: None,
                    records: None,
                    device: Some(path.clone()),
                    is_stdout,
                };
            }
            return Places {
                run: Some(output.run.clone().unwrap_or_else(|| with_ending(path, ".run"))),
                records: Some(path.clone()),
                device: None,
                is_stdout,
            };
        }
        Places {
            run: output.run.clone(),
            records: output.run.as_ref().map(|run| run.join("records.ndjson")),
            device: None,
            is_stdout,
        }
    }

    /// The name by which a person knows the run.
    pub(super) fn name(&self) -> Option<String> {
        let run = self.run.as_deref()?;
        let name = std::path::absolute(run).unwrap_or_else(|_| run.to_owned());
        let name = name.file_name()?.to_string_lossy().into_owned();
        Some(match name.strip_suffix(".run") {
            Some(bare) if !bare.is_empty() => bare.to_owned(),
            _ => name,
        })
    }
}

/// The file of a later pass: `out.ndjson.2`.
pub(super) fn of_pass(path: &Path, pass: u32) -> PathBuf {
    match pass {
        0 | 1 => path.to_owned(),
        pass => with_ending(path, &format!(".{pass}")),
    }
}

pub(super) fn with_ending(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    name.into()
}

/// How often a held lock is looked at, and the time between: 2 s. A process that was killed holds its lock until the system call that it
/// was in has ended, and a sync may take some time.
const LOOKS: u32 = 100;
const BETWEEN_LOOKS: Duration = Duration::from_millis(20);

/// Held while the file is open; the system gives it back when the process ends, however it ends.
#[derive(Debug)]
pub(super) struct Lock(#[expect(dead_code, reason = "holds the lock")] File);

/// Takes the lock of a run, which may be given back within 2 s. Its file is never removed: two processes could then hold a lock
/// each, on two files of one name.
pub(super) fn lock(run: &Path) -> Result<Lock, FetchError> {
    let path = run.join("lock");
    let file = File::options().write(true).create(true).truncate(false).open(&path);
    let file = file.map_err(|error| failed("opened", &path, &error))?;
    for _look in 0..LOOKS {
        match file.try_lock() {
            Ok(()) => return Ok(Lock(file)),
            Err(TryLockError::Error(error)) => return Err(failed("locked", &path, &error)),
            // There is nothing to be woken by.
            Err(TryLockError::WouldBlock) => std::thread::park_timeout(BETWEEN_LOOKS),
        }
    }
    Err(FetchError::store(format!("run `{}` is in use by another process", run.display())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(records: RecordsTo, run: Option<&str>) -> Places {
        Places::of(&OutputOptions {
            records,
            run: run.map(PathBuf::from),
            ..OutputOptions::default()
        })
    }

    #[test]
    fn the_journal_is_where_it_was_named_or_beside_the_record_file() {
        let file = || RecordsTo::File("/tmp/nowhere/out.ndjson".into());
        assert_eq!(places(file(), None).run.unwrap(), Path::new("/tmp/nowhere/out.ndjson.run"));
        assert_eq!(places(file(), None).name().unwrap(), "out.ndjson");
        let named = places(file(), Some("runs/r1"));
        assert_eq!(named.run.as_deref(), Some(Path::new("runs/r1")));
        assert_eq!(named.records.as_deref(), Some(Path::new("/tmp/nowhere/out.ndjson")));
        assert_eq!(named.name().unwrap(), "r1");
        let stdout = places(RecordsTo::Stdout, Some("r1"));
        assert!(stdout.is_stdout && stdout.records.as_deref() == Some(Path::new("r1/records.ndjson")));
        assert_eq!(places(RecordsTo::Stdout, None).run, None);
    }

    #[test]
    #[cfg(unix)]
    fn a_device_is_no_record_file() {
        let places = places(RecordsTo::File("/dev/null".into()), None);
        assert_eq!((places.run, places.records), (None, None));
        assert_eq!(places.device.unwrap(), Path::new("/dev/null"));
    }

    #[test]
    fn a_run_is_one_process_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let held = lock(folder.path()).unwrap();
        assert!(lock(folder.path()).unwrap_err().to_string().contains("in use"));
        drop(held);
        lock(folder.path()).unwrap();
    }
}
