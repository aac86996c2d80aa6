//! Where `$env.NAME` and `$file.PATH` are looked up.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// Where a config's references to the outside are looked up. The binary reads the process and the disk, tests read a map.
pub trait Lookup {
    /// The value of an environment variable; None when it is not set.
    fn env(&self, name: &str) -> Option<String>;

    /// The content of a file; a relative path begins at the folder of the config file.
    fn file(&self, path: &str) -> io::Result<String>;

    /// The content of a file that is no secret, such as a schema: messages may quote it, and everybody may read it.
    fn public_file(&self, path: &str) -> io::Result<String> {
        self.file(path)
    }

    /// The folder that workers run in and that relative paths of their programs begin at: that of the config file. None where there is
    /// no disk to look at; then nothing is said about whether a program is there.
    fn folder(&self) -> Option<&Path> {
        None
    }
}

/// A lookup in fixed values, for tests and examples. It holds nothing unless told.
#[derive(Clone, Default)]
pub struct MapLookup {
    env: BTreeMap<String, String>,
    files: BTreeMap<String, String>,
    folder: Option<PathBuf>,
}

impl MapLookup {
    /// Starts without any value.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds an environment variable.
    pub fn with_env(mut self, name: &str, value: &str) -> Self {
        self.env.insert(name.to_owned(), value.to_owned());
        self
    }

    /// Says in which folder the programs of workers are looked for; without it they are not looked for.
    pub fn with_folder(mut self, folder: impl Into<PathBuf>) -> Self {
        self.folder = Some(folder.into());
        self
    }

    /// Adds a file.
    pub fn with_file(mut self, path: &str, content: &str) -> Self {
        self.files.insert(path.to_owned(), content.to_owned());
        self
    }
}

/// Shows the names and not the values.
impl fmt::Debug for MapLookup {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = (self.env.keys().collect::<Vec<_>>(), self.files.keys().collect::<Vec<_>>());
        formatter
            .debug_struct("MapLookup")
            .field("env", &names.0)
            .field("files", &names.1)
            .finish()
    }
}

impl Lookup for MapLookup {
    fn env(&self, name: &str) -> Option<String> {
        self.env.get(name).cloned()
    }

    fn file(&self, path: &str) -> io::Result<String> {
        self.files
            .get(path)
            .cloned()
            .ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "no such file"))
    }

    fn folder(&self) -> Option<&Path> {
        self.folder.as_deref()
    }
}
