//! A file that is only ever appended to, and cut back to what the journal knows of it.

use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use crate::FetchError;

/// What the journal knows of a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Kept {
    pub(super) path: PathBuf,
    /// Its committed length.
    pub(super) length: u64,
    /// What tells the file from another one of its name; zero where the system has no such numbers.
    pub(super) device: u64,
    pub(super) inode: u64,
    /// How much of its beginning belongs to no record.
    pub(super) header: u64,
}

/// Appended to by this process alone, which holds the run's lock.
#[derive(Debug)]
pub(super) struct Appended {
    file: File,
    kept: Kept,
    /// What is written, committed or not.
    written: u64,
    /// What of it the system has not been given.
    buffer: Vec<u8>,
}

/// What is gathered before the system is asked to write.
const BUFFER: usize = 256 << 10;

impl Appended {
    /// Makes the file, with `header` in it. One that is there already must be empty.
    ///
    /// # Errors
    /// It holds something, or cannot be written.
    pub(super) fn create(path: &Path, header: &[u8]) -> Result<Appended, FetchError> {
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)
            .map_err(|error| failed("written", path, &error))?;
        let metadata = file.metadata().map_err(|error| failed("read", path, &error))?;
        if metadata.len() > 0 {
            return Err(FetchError::usage(format!(
                "`{}` is there already and belongs to no run: --fresh overwrites it",
                path.display()
            )));
        }
        let write = file
            .write_all(header)
            .and_then(|()| file.sync_all())
            .and_then(|()| sync_folder_of(path));
        write.map_err(|error| failed("written", path, &error))?;
        let (device, inode) = identity(&metadata);
        let length = header.len() as u64;
        let kept = Kept {
            path: path.to_owned(),
            length,
            device,
            inode,
            header: length,
        };
        Ok(Appended {
            file,
            kept,
            written: length,
            buffer: Vec::new(),
        })
    }

    /// Opens the file as the journal knows it, and cuts what is beyond.
    ///
    /// # Errors
    /// It is gone, another one, or shorter than what is committed: `Store`, because going on would lose records.
    pub(super) fn resume(kept: Kept) -> Result<Appended, FetchError> {
        let path = &kept.path;
        let file = OpenOptions::new().read(true).write(true).open(path);
        let mut file = file.map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => FetchError::store(format!(
                "`{}`, which this run wrote, is gone: put it back, or begin anew with --fresh",
                path.display()
            )),
            _ => failed("opened to go on", path, &error),
        })?;
        let metadata = file.metadata().map_err(|error| failed("read", path, &error))?;
        if identity(&metadata) != (kept.device, kept.inode) {
            return Err(FetchError::store(format!(
                "`{}` is not the file that this run wrote: put that one back, or begin anew with --fresh",
                path.display()
            )));
        }
        if metadata.len() < kept.length {
            return Err(FetchError::store(format!(
                "`{}` has {} bytes and this run committed {}: records are missing; begin anew with --fresh",
                path.display(),
                metadata.len(),
                kept.length
            )));
        }
        let cut = file.set_len(kept.length).and_then(|()| file.seek(SeekFrom::End(0)));
        cut.map_err(|error| failed("cut", path, &error))?;
        Ok(Appended {
            file,
            written: kept.length,
            kept,
            buffer: Vec::new(),
        })
    }

    /// Makes what was written outlive a power failure. It counts once [`kept`](Appended::kept) is committed by the journal.
    pub(super) fn sync(&mut self) -> Result<(), FetchError> {
        let is_new = self.written > self.kept.length;
        let result = self.flush().and_then(|()| if is_new { self.file.sync_data() } else { Ok(()) });
        result.map_err(|error| self.give_up(&error))
    }

    /// What went wrong. Nothing more is written.
    pub(super) fn give_up(&mut self, error: &io::Error) -> FetchError {
        self.buffer.clear();
        failed("written", &self.kept.path, error)
    }

    /// Cuts what is not committed, if the journal knows of that much and no more.
    pub(super) fn cut_if(&mut self, known: Option<u64>) {
        self.buffer.clear();
        if known == Some(self.kept.length) {
            let _tried = self.file.set_len(self.kept.length);
        }
    }

    /// What the journal is to store.
    pub(super) fn kept(&self) -> Kept {
        Kept {
            length: self.written,
            ..self.kept.clone()
        }
    }

    /// The journal has stored it.
    pub(super) fn committed(&mut self) {
        self.kept.length = self.written;
    }

    /// What is written so far.
    pub(super) fn written(&self) -> u64 {
        self.written
    }
}

impl Write for Appended {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.buffer.extend_from_slice(bytes);
        self.written += bytes.len() as u64;
        if self.buffer.len() >= BUFFER {
            self.flush()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.write_all(&self.buffer)?;
        self.buffer.clear();
        Ok(())
    }
}

/// Device and inode: the same for one file whatever its name is.
pub(super) fn identity(metadata: &Metadata) -> (u64, u64) {
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        (metadata.dev(), metadata.ino())
    }
    #[cfg(not(unix))]
    {
        let _ = metadata;
        (0, 0)
    }
}

/// Makes a new or changed name in a folder outlive a power failure.
pub(super) fn sync_folder_of(path: &Path) -> io::Result<()> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    if cfg!(unix) { File::open(folder)?.sync_all() } else { Ok(()) }
}

pub(super) fn failed(what: &str, path: &Path, error: &io::Error) -> FetchError {
    FetchError::store(format!("`{}` could not be {what}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file_with(lines: &[u8]) -> (tempfile::TempDir, Kept) {
        let folder = tempfile::tempdir().unwrap();
        let mut file = Appended::create(&folder.path().join("records"), b"").unwrap();
        append(&mut file, lines);
        file.committed();
        let kept = file.kept();
        (folder, kept)
    }

    fn append(file: &mut Appended, bytes: &[u8]) {
        file.write_all(bytes).unwrap();
        file.sync().unwrap();
    }

    #[test]
    fn what_was_not_committed_is_cut() {
        let (_folder, kept) = file_with(b"one\n");
        let mut file = Appended::resume(kept.clone()).unwrap();
        append(&mut file, b"tw");
        drop(file);
        let mut file = Appended::resume(kept.clone()).unwrap();
        append(&mut file, b"two\n");
        assert_eq!(std::fs::read(&kept.path).unwrap(), b"one\ntwo\n");
    }

    #[test]
    fn a_file_that_lost_something_or_is_another_one_is_refused() {
        let (_folder, kept) = file_with(b"one\n");
        std::fs::write(&kept.path, b"one").unwrap();
        assert!(
            Appended::resume(kept.clone())
                .unwrap_err()
                .to_string()
                .contains("records are missing")
        );
        let other = kept.path.with_extension("other");
        std::fs::write(&other, b"one\nand more\n").unwrap();
        std::fs::rename(&other, &kept.path).unwrap();
        assert!(Appended::resume(kept.clone()).unwrap_err().to_string().contains("not the file"));
        std::fs::remove_file(&kept.path).unwrap();
        assert!(matches!(Appended::resume(kept), Err(FetchError::Store(_))));
    }

    #[test]
    fn a_file_of_somebody_else_is_not_written_over() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("mine");
        std::fs::write(&path, b"dear diary").unwrap();
        assert!(matches!(Appended::create(&path, b""), Err(FetchError::Usage(_))));
        assert_eq!(std::fs::read(&path).unwrap(), b"dear diary");
    }
}
