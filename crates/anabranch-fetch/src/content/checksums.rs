//! SHA-256: of what was saved, and what a `SHA256SUMS` file says that it should be.

use std::collections::HashMap;
use std::fmt;

use sha2::{Digest, Sha256};
use url::Url;

use crate::FetchError;

/// A SHA-256 hash, in hex when it is printed.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Checksum([u8; 32]);

impl Checksum {
    /// The hash of these bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Checksum(Sha256::digest(bytes).into())
    }

    /// Reads 64 hex digits, in either case.
    pub fn parse(hex: &str) -> Option<Self> {
        let hex = hex.as_bytes();
        if hex.len() != 64 {
            return None;
        }
        let mut bytes = [0; 32];
        for (byte, pair) in bytes.iter_mut().zip(hex.chunks_exact(2)) {
            let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
            *byte = digit(pair[0])? << 4 | digit(pair[1])?;
        }
        Some(Checksum(bytes))
    }
}

impl fmt::Display for Checksum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Checksum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A hash that is made piece by piece.
#[derive(Clone, Default)]
pub struct Hashing(Sha256);

impl Hashing {
    /// Of nothing yet.
    pub fn new() -> Self {
        Hashing::default()
    }

    /// Takes the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The hash of all of them.
    pub fn finish(self) -> Checksum {
        Checksum(self.0.finalize().into())
    }
}

impl fmt::Debug for Hashing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hashing")
    }
}

/// What files should be, by name.
#[derive(Clone, Debug, Default)]
pub struct Checksums {
    by_name: HashMap<String, Checksum>,
}

impl Checksums {
    /// Reads what `sha256sum` writes: `HASH  NAME`, `HASH *NAME`, or `SHA256 (NAME) = HASH` (its `--tag`, and the BSDs). Blank lines and
    /// those that begin with `#` say nothing.
    ///
    /// # Errors
    /// [`FetchError::Usage`]: a line that is none of these, or a name with two hashes.
    pub fn parse(text: &str) -> Result<Checksums, FetchError> {
        let mut by_name = HashMap::new();
        for (n, line) in text.lines().enumerate() {
            let line = line.trim_end();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let fault = |why: &str| FetchError::usage(format!("line {} of the checksums: {why}", n + 1));
            let (checksum, name) = read_line(line).ok_or_else(|| fault("expected 64 hex digits, two spaces and a name"))?;
            if *by_name.entry(name).or_insert(checksum) != checksum {
                return Err(fault("its name came before with another hash"));
            }
        }
        Ok(Checksums { by_name })
    }

    /// What `url` should give: the entry whose name is the longest end of its path, `dir/a.iso` before `a.iso`.
    pub fn expected(&self, url: &Url) -> Option<Checksum> {
        if self.by_name.is_empty() {
            return None;
        }
        let path = percent_decoded(url.path());
        let path = path.trim_start_matches('/');
        let starts = std::iter::once(0).chain(path.match_indices('/').map(|(at, _)| at + 1));
        starts.filter_map(|at| self.by_name.get(&path[at..])).next().copied()
    }

    /// Whether there are any.
    pub fn has_any(&self) -> bool {
        !self.by_name.is_empty()
    }
}

fn read_line(line: &str) -> Option<(Checksum, String)> {
    // A name with a line break or a backslash in it: the line begins with a backslash, and both are escaped.
    let (line, is_escaped) = line.strip_prefix('\\').map_or((line, false), |line| (line, true));
    let (checksum, name) = match line.strip_prefix("SHA256 (") {
        Some(tagged) => {
            let (name, hex) = tagged.rsplit_once(") = ")?;
            (Checksum::parse(hex)?, name)
        }
        None => {
            let (hex, name) = line.split_at_checked(64)?;
            let name = name.strip_prefix(' ')?.trim_start_matches([' ', '\t']);
            (Checksum::parse(hex)?, name.strip_prefix('*').unwrap_or(name))
        }
    };
    let name = name.strip_prefix("./").unwrap_or(name);
    let name = if is_escaped {
        name.replace("\\n", "\n").replace("\\\\", "\\")
    } else {
        name.to_string()
    };
    (!name.is_empty()).then_some((checksum, name))
}

fn percent_decoded(path: &str) -> String {
    let bytes = path.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let code = bytes.get(at + 1..at + 3).and_then(|pair| std::str::from_utf8(pair).ok());
        match code.and_then(|pair| u8::from_str_radix(pair, 16).ok()) {
            Some(byte) if bytes[at] == b'%' => {
                out.push(byte);
                at += 3;
            }
            _ => {
                out.push(bytes[at]);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const EMPTY: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    const ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    fn expected(sums: &str, url: &str) -> Option<String> {
        let found = Checksums::parse(sums).unwrap().expected(&Url::parse(url).unwrap());
        found.map(|checksum| checksum.to_string())
    }

    #[test]
    fn hashes_are_those_of_the_standard() {
        // FIPS 180-2, appendix B.
        assert_eq!(Checksum::of(b"").to_string(), EMPTY);
        assert_eq!(Checksum::of(b"abc").to_string(), ABC);
        let mut hashing = Hashing::new();
        hashing.update(b"a");
        hashing.update(b"bc");
        assert_eq!(hashing.finish(), Checksum::parse(&ABC.to_uppercase()).unwrap());
    }

    #[test]
    fn the_longest_name_that_ends_the_path_counts() {
        let sums = format!("# of today\n{EMPTY}  a.iso\n{ABC} *./old/a.iso\nSHA256 (b (1).iso) = {ABC}\n\n");
        assert_eq!(expected(&sums, "http://h.test/new/a.iso?x=1").as_deref(), Some(EMPTY));
        assert_eq!(expected(&sums, "http://h.test/pub/old/a.iso").as_deref(), Some(ABC));
        assert_eq!(expected(&sums, "http://h.test/b%20(1).iso").as_deref(), Some(ABC));
        assert_eq!(expected(&sums, "http://h.test/xa.iso"), None);
        assert_eq!(expected(&sums, "http://h.test/a.iso/"), None);
    }

    #[test]
    fn a_line_that_is_none_is_a_fault_with_its_number() {
        for (sums, line) in [
            ("abc  a.iso".to_string(), "line 1"),
            (format!("{ABC}  a\n{ABC}"), "line 2"),
            (format!("{ABC}  a\n{EMPTY}  a"), "line 2"),
            (format!("{}  a", "g".repeat(64)), "line 1"),
            (ABC.to_string(), "line 1"),
        ] {
            let error = Checksums::parse(&sums).unwrap_err();
            assert!(matches!(error, FetchError::Usage(_)) && error.to_string().contains(line), "{error}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "(\\\\?(SHA256 \\()?[0-9a-f]{0,64}(  | \\*|\\) = )?\\PC{0,5}\n?){0,5}", path in "(%[0-9a-f]{0,2}|\\PC){0,10}") {
            if let (Ok(sums), Ok(url)) = (Checksums::parse(&text), Url::parse("http://h.test/").unwrap().join(&path)) {
                sums.expected(&url);
            }
        }
    }
}
