//! The note beside a file that is not complete: what is missing of it, and of which version of which URL it is.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use url::Url;

use super::missing::Missing;
use super::range::{Ranged, Validator};
use crate::job::normalised;

/// A note is a few hundred bytes.
const NOTE_MAX: u64 = 1 << 20;

/// As it stands in the file.
#[derive(Debug, Serialize, Deserialize)]
struct Note {
    v: u8,
    url: String,
    validator: String,
    total: u64,
    missing: Vec<(u64, u64)>,
}

/// What an earlier attempt left: what to ask for, and the file to go on with.
#[derive(Debug)]
pub(crate) struct Resume {
    pub(super) validator: Validator,
    pub(super) missing: Missing,
}

impl Resume {
    /// Reads the note of the file at `part`. None where there is none, or not one of this URL and of the file that is there. Reads two
    /// small things off the disk.
    pub(crate) fn load(part: &Path, url: &Url) -> Option<Resume> {
        let mut text = String::new();
        File::open(note_path(part)).ok()?.take(NOTE_MAX).read_to_string(&mut text).ok()?;
        let note: Note = serde_json::from_str(&text).ok()?;
        let is_of_file = fs::metadata(part).is_ok_and(|file| file.is_file() && file.len() == note.total);
        if note.v != 1 || note.url != normalised(url) || !is_of_file {
            return None;
        }
        let mut missing = Missing::read(note.total, &note.missing)?;
        if missing.is_complete() {
            // It was complete, and then the process was killed. One byte is asked for again, so that there is an answer to tell of.
            missing = Missing::read(note.total, &[(note.total.checked_sub(1)?, note.total)])?;
        }
        Some(Resume {
            validator: Validator::read(&note.validator)?,
            missing,
        })
    }

    /// What the first request asks for.
    pub(crate) fn ask(&self) -> Ranged {
        let total = self.missing.total();
        let (start, end) = self.missing.ranges().first().copied().unwrap_or((0, total));
        self.validator.ask_for(&(start..end), total)
    }
}

/// Writes the note of the file at `part` in one step: the old one or the new one is there, never half of it. What the note says is there
/// has to be on disk before.
pub(super) fn save(part: &Path, url: &Url, validator: &Validator, missing: &Missing) -> io::Result<()> {
    let note = Note {
        v: 1,
        url: normalised(url).to_string(),
        validator: validator.as_str().to_string(),
        total: missing.total(),
        missing: missing.ranges(),
    };
    let path = note_path(part);
    let fresh = path.with_extension("state.new");
    let mut file = File::create(&fresh)?;
    file.write_all(&serde_json::to_vec(&note)?)?;
    drop(file);
    fs::rename(fresh, path)
}

/// Forgets what was noted of the file at `part`.
pub(super) fn forget(part: &Path) -> io::Result<()> {
    match fs::remove_file(note_path(part)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn note_path(part: &Path) -> PathBuf {
    let mut name = part.as_os_str().to_owned();
    name.push(".state");
    name.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn url(text: &str) -> Url {
        Url::parse(text).unwrap()
    }

    fn part(length: u64) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let part = folder.path().join("abc");
        File::create(&part).unwrap().set_len(length).unwrap();
        (folder, part)
    }

    #[test]
    fn a_note_says_what_to_ask_for() {
        let (_folder, part) = part(100);
        let validator = Validator::read("\"a\"").unwrap();
        let missing = Missing::read(100, &[(10, 20), (50, 100)]).unwrap();
        save(&part, &url("http://h.test/x"), &validator, &missing).unwrap();
        let resume = Resume::load(&part, &url("http://h.test/x#y")).unwrap();
        assert_eq!(
            (resume.ask().range, resume.ask().if_range),
            ("bytes=10-19".parse().unwrap(), "\"a\"".parse().unwrap())
        );
        assert_eq!(resume.missing.ranges(), [(10, 20), (50, 100)]);

        assert!(Resume::load(&part, &url("http://h.test/y")).is_none(), "another URL");
        File::options().write(true).open(&part).unwrap().set_len(99).unwrap();
        assert!(Resume::load(&part, &url("http://h.test/x")).is_none(), "another file");
        forget(&part).unwrap();
        forget(&part).unwrap();
    }

    #[test]
    fn of_what_is_complete_one_byte_is_asked_for_again() {
        let (_folder, part) = part(100);
        save(
            &part,
            &url("http://h.test/"),
            &Validator::read("\"a\"").unwrap(),
            &Missing::read(100, &[]).unwrap(),
        )
        .unwrap();
        let resume = Resume::load(&part, &url("http://h.test/")).unwrap();
        assert_eq!(resume.ask().range, "bytes=99-");
    }

    proptest! {
        #[test]
        fn no_note_makes_it_panic(text in "\\PC{0,30}|\\{(\"(v|url|validator|total|missing)\":([0-9]{1,20}|\"http://h.test/\"|\\[(\\[[0-9]{1,3},[0-9]{1,3}\\],?){0,3}\\]),?){0,5}\\}") {
            let (_folder, part) = part(100);
            fs::write(note_path(&part), &text).unwrap();
            if let Some(resume) = Resume::load(&part, &url("http://h.test/")) {
                resume.ask();
            }
        }
    }
}
