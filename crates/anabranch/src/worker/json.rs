//! Whether what a worker writes is one JSON value, looked at as it comes.
//!
//! A worker that writes something else is out of step, and what follows could be taken for the answer to somebody else's job. So
//! its bytes are checked while they are read: garbage is known at its first byte and not at the end of a line that may never come,
//! and no answer, however large, is gone through in one piece on the loop.

/// Containers that may be open at once; as deep as bodies of other sources may be.
const DEPTH_MAX: u32 = 64;

/// The state between two bytes of a value (RFC 8259).
pub(super) struct Check {
    expects: Expects,
    /// One bit for each open container, the innermost lowest: 1 is an object.
    objects: u64,
    depth: u32,
    /// How far the structure was followed, and how far the bytes are known to be UTF-8.
    followed: usize,
    utf8: usize,
}

#[derive(Clone, Copy)]
enum Expects {
    Value,
    /// A value or the end of the list.
    FirstItem,
    /// A key or the end of the object.
    FirstKey,
    Key,
    Colon,
    /// A comma or the end of the container; behind the outermost value nothing.
    More,
    Text {
        is_key: bool,
    },
    Escaped {
        is_key: bool,
    },
    Hex {
        is_key: bool,
        left: u8,
    },
    /// What is left of `true`, `false`, `null`.
    Word(&'static [u8]),
    Number(Number),
}

/// Where in a number.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Number {
    Minus,
    Zero,
    Integer,
    Point,
    Fraction,
    E,
    ESign,
    Exponent,
}

/// What is wrong, as a fragment.
pub(super) type Fault = &'static str;

impl Check {
    pub(super) fn new() -> Self {
        Check {
            expects: Expects::Value,
            objects: 0,
            depth: 0,
            followed: 0,
            utf8: 0,
        }
    }

    /// Looks at what has been added to the line since the last time.
    pub(super) fn follow(&mut self, line: &[u8]) -> Result<(), Fault> {
        while self.followed < line.len() {
            let rest = &line[self.followed..];
            let taken = match self.expects {
                Expects::Text { .. } => plain(rest),
                _ => 0,
            };
            self.followed += taken;
            if let Some(&byte) = rest.get(taken) {
                self.expects = self.after(byte)?;
                self.followed += 1;
            }
        }
        self.follow_utf8(line)
    }

    /// Whether the whole line, which has been followed, is a value.
    pub(super) fn finish(&self, line: &[u8]) -> Result<(), Fault> {
        let is_whole = match self.expects {
            Expects::More => true,
            Expects::Number(at) => at.may_end(),
            _ => false,
        };
        if is_whole && self.depth == 0 && self.utf8 == line.len() {
            Ok(())
        } else {
            Err("a value that is cut off")
        }
    }

    fn follow_utf8(&mut self, line: &[u8]) -> Result<(), Fault> {
        match std::str::from_utf8(&line[self.utf8..]) {
            Ok(_) => self.utf8 = line.len(),
            // The last letter may be half there.
            Err(fault) if fault.error_len().is_none() => self.utf8 += fault.valid_up_to(),
            Err(_) => return Err("bytes that are no UTF-8"),
        }
        Ok(())
    }

    /// What is expected behind this byte.
    fn after(&mut self, byte: u8) -> Result<Expects, Fault> {
        match self.expects {
            Expects::Text { is_key } => after_text(byte, is_key),
            Expects::Escaped { is_key } => match byte {
                b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => Ok(Expects::Text { is_key }),
                b'u' => Ok(Expects::Hex { is_key, left: 4 }),
                _ => Err("an escape that JSON does not know"),
            },
            Expects::Hex { is_key, left } => match byte.is_ascii_hexdigit() {
                true if left == 1 => Ok(Expects::Text { is_key }),
                true => Ok(Expects::Hex { is_key, left: left - 1 }),
                false => Err("an escape that JSON does not know"),
            },
            Expects::Word([next, rest @ ..]) if *next == byte => Ok(if rest.is_empty() { Expects::More } else { Expects::Word(rest) }),
            Expects::Word(_) => Err("a word that JSON does not know"),
            Expects::Number(at) => match at.after(byte) {
                Some(next) => Ok(Expects::Number(next)),
                None if at.may_end() => self.after_value(byte),
                None => Err("a number that JSON does not know"),
            },
            expects if is_blank(byte) => Ok(expects),
            Expects::Value => self.value(byte),
            Expects::FirstItem if byte == b']' => Ok(self.close()),
            Expects::FirstItem => self.value(byte),
            Expects::FirstKey if byte == b'}' => Ok(self.close()),
            Expects::FirstKey | Expects::Key if byte == b'"' => Ok(Expects::Text { is_key: true }),
            Expects::FirstKey | Expects::Key => Err("an object without a key"),
            Expects::Colon if byte == b':' => Ok(Expects::Value),
            Expects::Colon => Err("a key without a colon"),
            Expects::More => self.after_value(byte),
        }
    }

    /// The first byte of a value.
    fn value(&mut self, byte: u8) -> Result<Expects, Fault> {
        match byte {
            b'{' => self.open(true),
            b'[' => self.open(false),
            b'"' => Ok(Expects::Text { is_key: false }),
            b't' => Ok(Expects::Word(b"rue")),
            b'f' => Ok(Expects::Word(b"alse")),
            b'n' => Ok(Expects::Word(b"ull")),
            b'-' => Ok(Expects::Number(Number::Minus)),
            b'0' => Ok(Expects::Number(Number::Zero)),
            b'1'..=b'9' => Ok(Expects::Number(Number::Integer)),
            _ => Err("what is no JSON"),
        }
    }

    /// The byte behind a value.
    fn after_value(&mut self, byte: u8) -> Result<Expects, Fault> {
        let is_object = self.objects & 1 == 1;
        match byte {
            _ if is_blank(byte) => Ok(Expects::More),
            _ if self.depth == 0 => Err("more than one value in a line"),
            b',' if is_object => Ok(Expects::Key),
            b',' => Ok(Expects::Value),
            b'}' if is_object => Ok(self.close()),
            b']' if !is_object => Ok(self.close()),
            _ => Err("a container without its end"),
        }
    }

    fn open(&mut self, is_object: bool) -> Result<Expects, Fault> {
        if self.depth == DEPTH_MAX {
            return Err("containers more than 64 deep");
        }
        self.depth += 1;
        self.objects = self.objects << 1 | u64::from(is_object);
        Ok(if is_object { Expects::FirstKey } else { Expects::FirstItem })
    }

    fn close(&mut self) -> Expects {
        self.depth -= 1;
        self.objects >>= 1;
        Expects::More
    }
}

/// How many bytes at the front are plain text inside a string.
fn plain(bytes: &[u8]) -> usize {
    let is_special = |&byte: &u8| byte == b'"' || byte == b'\\' || byte < 0x20;
    bytes.iter().position(is_special).unwrap_or(bytes.len())
}

fn after_text(byte: u8, is_key: bool) -> Result<Expects, Fault> {
    match byte {
        b'"' => Ok(if is_key { Expects::Colon } else { Expects::More }),
        b'\\' => Ok(Expects::Escaped { is_key }),
        0..0x20 => Err("a control character in a string"),
        _ => Ok(Expects::Text { is_key }),
    }
}

fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\n')
}

impl Number {
    fn after(self, byte: u8) -> Option<Number> {
        match (self, byte) {
            (Number::Minus, b'0') => Some(Number::Zero),
            (Number::Minus, b'1'..=b'9') | (Number::Integer, b'0'..=b'9') => Some(Number::Integer),
            (Number::Zero | Number::Integer, b'.') => Some(Number::Point),
            (Number::Point | Number::Fraction, b'0'..=b'9') => Some(Number::Fraction),
            (Number::Zero | Number::Integer | Number::Fraction, b'e' | b'E') => Some(Number::E),
            (Number::E, b'+' | b'-') => Some(Number::ESign),
            (Number::E | Number::ESign | Number::Exponent, b'0'..=b'9') => Some(Number::Exponent),
            _ => None,
        }
    }

    fn may_end(self) -> bool {
        matches!(self, Number::Zero | Number::Integer | Number::Fraction | Number::Exponent)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Follows the line in pieces of this length.
    fn check(line: &[u8], piece: usize) -> Result<(), Fault> {
        let mut check = Check::new();
        for end in (0..line.len()).step_by(piece).skip(1).chain([line.len()]) {
            check.follow(&line[..end])?;
        }
        check.finish(line)
    }

    #[test]
    fn values_are_values_however_they_are_cut() {
        let deep = ["[".repeat(64), "]".repeat(64)].concat();
        for line in [
            "1",
            "-0",
            "0.5e-10",
            "1E+5",
            "\"\"",
            "\"a\\u00e9\\\"\u{e9}\u{1f600}\"",
            "true",
            " false ",
            "null\r",
            "[]",
            "{}",
            "[1,[2,{}],\"3\"]",
            "{\"a\":{\"b\":[null,-1.25]},\"a\":0}",
            "\t[ 1 , 2 ]\r",
            &deep,
        ] {
            for piece in 1..9 {
                assert_eq!(check(line.as_bytes(), piece), Ok(()), "{line}");
            }
        }
    }

    #[test]
    fn what_is_no_value_is_seen_however_it_is_cut() {
        let deep = "[".repeat(65);
        let lines: [&[u8]; 30] = [
            b"",
            b" ",
            b"hello",
            b"nul",
            b"nulll",
            b"01",
            b"-",
            b"1.",
            b".5",
            b"1e",
            b"+1",
            b"NaN",
            b"Infinity",
            b"'a'",
            b"\"a",
            b"\"\\x\"",
            b"\"\\u12g4\"",
            b"\"\x01\"",
            b"\"\xff\"",
            b"\"\xc3",
            b"\xef\xbb\xbf1",
            b"[1",
            b"[1,]",
            b"[,]",
            b"{\"a\"}",
            b"{\"a\":1,}",
            b"{1:2}",
            b"[}",
            b"1 2",
            deep.as_bytes(),
        ];
        for line in lines {
            for piece in 1..9 {
                assert!(check(line, piece).is_err(), "{}", String::from_utf8_lossy(line));
            }
        }
    }

    #[test]
    fn garbage_is_known_at_its_first_byte() {
        assert!(Check::new().follow(b"Traceback").is_err());
        let mut check = Check::new();
        assert!(check.follow(b"{\"a\":1}").is_ok() && check.follow(b"{\"a\":1}x").is_err());
    }

    proptest! {
        /// Small alphabets reach the corners sooner than all of Unicode does.
        #[test]
        fn it_agrees_with_serde_json(line in "[\\[\\]{}:,\"\\\\ truefalsn0123.eE+-]{0,12}|\"[ -~é\\\\u]{0,8}\"", piece in 1_usize..5) {
            let expected = serde_json::from_str::<serde::de::IgnoredAny>(&line).is_ok();
            prop_assert_eq!(check(line.as_bytes(), piece).is_ok(), expected, "{}", line);
        }
    }
}
