//! Bodies on their way into the folder: written beside, synced, and renamed once the journal knows them.
//!
//! A name belongs to one job. The journal reserves it in the transaction that says that the job is done, and the rename follows, so a
//! file of that name is either ours and whole or not ours at all. A crash between the two is made good when the run is opened again.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Component, Path, PathBuf};

use super::file::{failed, sync_folder_of};
use super::journal::Journal;
use super::key::Key;
use crate::options::OnExists;
use crate::record::{Failure, Finished, SavedBody};
use crate::{FetchError, JobId, Outcome};

/// Where bodies are until they are complete, below the folder.
const PART: &str = ".part";
/// Files that one thread syncs before another helps.
const SYNCED_BY_ONE: usize = 4;
/// Threads that sync at once.
const SYNCERS: usize = 8;

/// The file of a body that is not complete.
pub(super) fn part_path(folder: &Path, id: &JobId) -> PathBuf {
    folder.join(PART).join(Key::of(id).to_hex())
}

/// Puts bodies where they belong.
#[derive(Debug)]
pub(super) struct Bodies {
    folder: PathBuf,
    on_exists: OnExists,
    /// Bodies of the batch: from where to where.
    moves: Vec<(PathBuf, PathBuf)>,
    /// Folders in which the batch before renamed: to be synced before the journal forgets those renames.
    renamed: BTreeSet<PathBuf>,
}

impl Bodies {
    /// Makes the folder, and does the renames that a crash left undone.
    pub(super) fn open(folder: &Path, on_exists: OnExists, journal: &Journal) -> Result<Bodies, FetchError> {
        let parts = folder.join(PART);
        fs::create_dir_all(&parts).map_err(|error| failed("made", &parts, &error))?;
        let mut bodies = Bodies {
            folder: folder.to_owned(),
            on_exists,
            moves: Vec::new(),
            renamed: BTreeSet::new(),
        };
        for (place, id) in journal.pending()? {
            let part = parts.join(id.to_hex());
            // One that is not there any more was renamed.
            if part.is_file() {
                bodies.moves.push((part, folder.join(place)));
            }
        }
        bodies.rename()?;
        Ok(bodies)
    }

    /// Writes the body of a job beside its place, reserves the place and names it in the record. A job that may not have its place
    /// fails.
    pub(super) fn stage(&mut self, finished: &mut Finished, journal: &Journal) -> Result<(), FetchError> {
        let id = finished.record.id.clone();
        let part = match &finished.body {
            SavedBody::None => return Ok(()),
            SavedBody::Part(part) => part.clone(),
            SavedBody::Bytes(_) => part_path(&self.folder, &id),
        };
        let name = finished.name.take().unwrap_or_else(|| id_name(&id));
        let Some(place) = self.place(&name, &id, journal)? else {
            refuse(finished, &name, self.on_exists);
            let _gone = fs::remove_file(part);
            return Ok(());
        };
        if let SavedBody::Bytes(bytes) = &finished.body {
            let write = File::create(&part).and_then(|mut file| file.write_all(bytes));
            write.map_err(|error| failed("written", &part, &error))?;
        }
        let text = place.to_string_lossy().into_owned();
        journal.reserve(&reserved(&place), &text, Key::of(&id))?;
        let target = self.folder.join(&place);
        finished.record.path = Some(target.to_string_lossy().into_owned());
        self.moves.push((part, target));
        Ok(())
    }

    /// Syncs what the batch wrote, and what the one before renamed. After this the journal may say that it is there.
    pub(super) fn sync(&mut self) -> Result<(), FetchError> {
        let folders = std::mem::take(&mut self.renamed);
        sync_all(self.moves.iter().map(|(part, _)| part).chain(&folders))
    }

    /// Renames what the batch wrote.
    pub(super) fn rename(&mut self) -> Result<(), FetchError> {
        for (part, target) in self.moves.drain(..) {
            if let Some(parent) = target.parent() {
                fs::create_dir_all(parent).map_err(|error| failed("made", parent, &error))?;
                self.renamed.insert(parent.to_owned());
            }
            fs::rename(&part, &target).map_err(|error| failed("put in its place", &target, &error))?;
        }
        Ok(())
    }

    /// The run has come to its end: nothing beside is wanted any more.
    pub(super) fn finish(&self) -> Result<(), FetchError> {
        let parts = self.folder.join(PART);
        match fs::remove_dir_all(&parts) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed("removed", &parts, &error)),
            _ => sync_folder_of(&parts).map_err(|error| failed("synced", &self.folder, &error)),
        }
    }

    /// Where the body of this job may be, below the folder; None if nowhere.
    fn place(&self, name: &Path, id: &JobId, journal: &Journal) -> Result<Option<PathBuf>, FetchError> {
        let name = safe(name).unwrap_or_else(|| id_name(id));
        let wanted = self.without_files_above(name, id, journal)?;
        let verdict = self.verdict(&wanted, id, journal)?;
        let other = match verdict {
            Verdict::Ours => return Ok(Some(wanted)),
            // The name of another job of this run is never taken from it, whatever the option says of strangers' files.
            Verdict::OtherJob => with_id(&wanted, id),
            Verdict::Stranger => match self.on_exists {
                OnExists::Overwrite => return Ok(Some(wanted)),
                OnExists::Fail | OnExists::Skip => return Ok(None),
                OnExists::Unique => with_id(&wanted, id),
            },
        };
        let is_ours = matches!(self.verdict(&other, id, journal)?, Verdict::Ours);
        Ok(is_ours.then_some(other))
    }

    fn verdict(&self, name: &Path, id: &JobId, journal: &Journal) -> Result<Verdict, FetchError> {
        match journal.owner_of(&reserved(name))? {
            Some(owner) if owner == Key::of(id) => return Ok(Verdict::Ours),
            Some(_) => return Ok(Verdict::OtherJob),
            None if journal.is_folder(&reserved(name))? => return Ok(Verdict::OtherJob),
            None => {}
        }
        let path = self.folder.join(name);
        match fs::symlink_metadata(&path) {
            Err(_) => Ok(Verdict::Ours),
            Ok(metadata) if metadata.is_dir() => Ok(Verdict::OtherJob),
            // A name that holds a hashed id cannot be meant for anything else.
            Ok(_) if holds_id(name, id) => Ok(Verdict::Ours),
            Ok(_) => Ok(Verdict::Stranger),
        }
    }

    /// Where a folder of the name is a file already (`a` and `a/b` are both pages), the whole name becomes one file's.
    fn without_files_above(&self, name: PathBuf, id: &JobId, journal: &Journal) -> Result<PathBuf, FetchError> {
        for above in name.ancestors().skip(1).filter(|above| !above.as_os_str().is_empty()) {
            let is_file = journal.owner_of(&reserved(above))?.is_some()
                || fs::symlink_metadata(self.folder.join(above)).is_ok_and(|metadata| !metadata.is_dir());
            if is_file {
                let flat: Vec<_> = name.iter().map(|part| part.to_string_lossy()).collect();
                return Ok(with_id(Path::new(&flat.join("_")), id));
            }
        }
        Ok(name)
    }
}

enum Verdict {
    Ours,
    OtherJob,
    Stranger,
}

/// The record says why nothing was kept.
fn refuse(finished: &mut Finished, name: &Path, on_exists: OnExists) {
    finished.body = SavedBody::None;
    let record = &mut finished.record;
    record.outcome = match on_exists {
        OnExists::Skip => Outcome::Filtered,
        _ => Outcome::Invalid,
    };
    record.path = None;
    record.error = Some(Failure {
        kind: "exists".to_owned(),
        phase: Some("store".to_owned()),
        message: format!("a file `{}` that is not of this run is there already", name.display()),
        retryable: false,
    });
}

/// By which a name is reserved: file systems that take `A` and `a` for one name must not make two jobs share a file.
fn reserved(name: &Path) -> String {
    name.to_string_lossy().to_lowercase()
}

/// A relative name that stays below the folder and out of what is ours there.
fn safe(name: &Path) -> Option<PathBuf> {
    let is_plain = name.components().all(|part| matches!(part, Component::Normal(_)));
    let first = name.components().next()?;
    let is_ours = first.as_os_str().eq_ignore_ascii_case(PART);
    (is_plain && !is_ours).then(|| name.to_owned())
}

fn id_name(id: &JobId) -> PathBuf {
    Key::of(id).to_hex().into()
}

fn holds_id(name: &Path, id: &JobId) -> bool {
    let hex = Key::of(id).to_hex();
    name.file_name().is_some_and(|name| name.to_string_lossy().contains(&hex))
}

/// `page.html` becomes `page-<id>.html`: the same for this job always, never a counter.
fn with_id(name: &Path, id: &JobId) -> PathBuf {
    let hex = Key::of(id).to_hex();
    let stem = name.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    // Names have at most 255 bytes on common file systems; the ending stays whole.
    let ending = name
        .extension()
        .map(|ending| format!(".{}", ending.to_string_lossy()))
        .unwrap_or_default();
    let room = 255_usize.saturating_sub(hex.len() + ending.len() + 1);
    let mut end = stem.len().min(room);
    while !stem.is_char_boundary(end) {
        end -= 1;
    }
    name.with_file_name(format!("{}-{hex}{ending}", &stem[..end]))
}

/// Syncs files and folders, some at once: file systems commit what several threads wait for together, which took a tenth of the time of
/// one after the other (300 files on ext4: 30 ms, and 300 to 800). A sync of the whole file system took as little, and seconds where other
/// programs were writing.
fn sync_all<'a>(paths: impl Iterator<Item = &'a PathBuf>) -> Result<(), FetchError> {
    let paths: Vec<&PathBuf> = paths.collect();
    let sync = |paths: &[&PathBuf]| {
        paths.iter().try_for_each(|path| {
            let synced = File::open(path).and_then(|file| file.sync_all());
            synced.map_err(|error| failed("synced", path, &error))
        })
    };
    let threads = paths.len().div_ceil(SYNCED_BY_ONE).min(SYNCERS);
    if threads <= 1 {
        return sync(&paths);
    }
    std::thread::scope(|scope| {
        let (own, others) = paths.split_at(paths.len() / threads);
        let share = others.len().div_ceil(threads - 1);
        let mut started = Vec::new();
        for paths in others.chunks(share) {
            match std::thread::Builder::new()
                .name("fetch-sync".to_owned())
                .spawn_scoped(scope, move || sync(paths))
            {
                Ok(thread) => started.push(thread),
                // No thread is to be had: it takes longer, and is as safe.
                Err(_) => sync(paths)?,
            }
        }
        sync(own)?;
        let ended = started.into_iter().map(|thread| thread.join());
        ended
            .into_iter()
            .try_for_each(|result| result.unwrap_or_else(|_| Err(FetchError::store("a thread that syncs ended"))))
    })
}
