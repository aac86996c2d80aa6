//! Where `$env.NAME` and `$file.NAME` of a config come from: the environment, and files beside the config.

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use anabranch_gateway::Lookup;

/// The largest file that `$file.` reads; certificates and tokens are far below.
const FILE_MAX: u64 = 1 << 20;

/// The process environment, and files named relative to the config's folder.
pub(crate) struct ProcessLookup {
    folder: PathBuf,
    warnings: Mutex<Vec<String>>,
}

impl ProcessLookup {
    /// For a config in that folder.
    pub(crate) fn new(folder: impl Into<PathBuf>) -> ProcessLookup {
        ProcessLookup {
            folder: folder.into(),
            warnings: Mutex::default(),
        }
    }

    /// What was seen on the way that is no fault: secrets that everybody on this machine may read.
    pub(crate) fn into_warnings(self) -> Vec<String> {
        self.warnings.into_inner().unwrap_or_else(PoisonError::into_inner)
    }

    fn read(&self, path: &str) -> io::Result<String> {
        let mut text = String::new();
        fs::File::open(self.folder.join(path))?
            .take(FILE_MAX + 1)
            .read_to_string(&mut text)?;
        if text.len() as u64 > FILE_MAX {
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, "larger than 1 MiB"));
        }
        Ok(text)
    }

    fn warn(&self, warning: String) {
        let mut warnings = self.warnings.lock().unwrap_or_else(PoisonError::into_inner);
        if !warnings.contains(&warning) {
            warnings.push(warning);
        }
    }
}

impl Lookup for ProcessLookup {
    fn env(&self, name: &str) -> Option<String> {
        // A value that is not UTF-8 cannot stand in a URL or a header: as good as missing.
        std::env::var_os(name)?.into_string().ok()
    }

    fn file(&self, path: &str) -> io::Result<String> {
        let mut text = self.read(path)?;
        let path = self.folder.join(path);
        if is_secret(&text) && everybody_may_read(&path) {
            self.warn(format!(
                "everybody on this machine may read `{}`; `chmod o-r` it if it is a secret",
                path.display()
            ));
        }
        // `echo token > file` ends in a newline that is not part of the token.
        let end = text.trim_end_matches(['\n', '\r']).len();
        text.truncate(end);
        Ok(text)
    }

    fn public_file(&self, path: &str) -> io::Result<String> {
        self.read(path)
    }

    fn folder(&self) -> Option<&Path> {
        // The folder of a bare file name is this one.
        let is_here = self.folder.as_os_str().is_empty();
        Some(if is_here { Path::new(".") } else { &self.folder })
    }
}

/// Certificates are public; anything else is taken for a secret.
fn is_secret(text: &str) -> bool {
    !text.contains("-----BEGIN CERTIFICATE") || text.contains("PRIVATE KEY-----")
}

#[cfg(unix)]
fn everybody_may_read(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    fs::metadata(path).is_ok_and(|metadata| metadata.permissions().mode() & 0o004 != 0)
}

#[cfg(not(unix))]
fn everybody_may_read(_path: &Path) -> bool {
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder_with(name: &str, text: &str, mode: u32) -> tempfile::TempDir {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        folder
    }

    #[test]
    fn a_file_stands_beside_the_config_and_loses_its_last_newline() {
        let folder = folder_with("token", "s3cret\n", 0o600);
        let lookup = ProcessLookup::new(folder.path());
        assert_eq!(lookup.file("token").unwrap(), "s3cret");
        assert_eq!(lookup.into_warnings(), Vec::<String>::new());
    }

    #[test]
    fn a_secret_that_everybody_may_read_is_used_with_one_warning() {
        let folder = folder_with("token", "s3cret\n", 0o644);
        let lookup = ProcessLookup::new(folder.path());
        assert_eq!(lookup.file("token").unwrap(), "s3cret");
        assert_eq!(lookup.file("token").unwrap(), "s3cret");
        let warnings = lookup.into_warnings();
        assert_eq!(warnings.len(), 1);
        assert!(warnings[0].contains("token") && !warnings[0].contains("s3cret"), "{warnings:?}");
    }

    #[test]
    fn a_certificate_is_no_secret_but_its_key_is() {
        assert!(!is_secret("-----BEGIN CERTIFICATE-----\nMIIB\n"));
        assert!(is_secret("-----BEGIN CERTIFICATE-----\nMIIB\n-----BEGIN PRIVATE KEY-----\n"));
        assert!(is_secret("{}"));
    }

    #[test]
    fn what_is_read_as_no_secret_may_be_read_by_everybody() {
        let folder = folder_with("order.json", "{}", 0o644);
        let lookup = ProcessLookup::new(folder.path());
        assert_eq!(lookup.public_file("order.json").unwrap(), "{}");
        assert_eq!(lookup.into_warnings(), Vec::<String>::new());
    }

    #[test]
    fn a_missing_or_huge_file_is_an_error() {
        let folder = folder_with("huge", &"x".repeat(FILE_MAX as usize + 1), 0o600);
        let lookup = ProcessLookup::new(folder.path());
        assert_eq!(lookup.file("huge").unwrap_err().kind(), io::ErrorKind::FileTooLarge);
        assert_eq!(lookup.file("none").unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
