//! Values to JSON text.

use std::fmt;

use super::super::meter::{self, Charge};
use super::Value;
use crate::json::write_string;

/// Levels of a document that leaves an evaluation; all that reads it later counts on that.
const DEPTH_MAX: u16 = 64;
/// Characters of a value in a message.
const SHOWN: usize = 100;

/// Why a value cannot leave an evaluation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::transform::jq) enum Unwritable {
    /// It is longer than allowed.
    TooLong,
    /// It is nested deeper than 64 levels.
    TooDeep,
}

/// Writes a value of at most `most` bytes.
pub(in crate::transform::jq) fn write(value: &Value, most: usize) -> Result<Vec<u8>, Unwritable> {
    let mut writer = Writer {
        out: Vec::new(),
        most,
        charge: Charge::default(),
    };
    // A value may hold something empty deeper down than it says; what it says is never less.
    if value.depth() > DEPTH_MAX && real_depth(value) > DEPTH_MAX {
        return Err(Unwritable::TooDeep);
    }
    match writer.value(value) {
        Ok(()) => Ok(writer.out),
        Err(Full) => Err(Unwritable::TooLong),
    }
}

/// Writes a value for the program itself, however long, within what it may hold.
pub(super) fn to_text(value: &Value) -> String {
    let mut writer = Writer {
        out: Vec::new(),
        most: usize::MAX,
        charge: Charge::default(),
    };
    let _never_full = writer.value(value);
    String::from_utf8(writer.out).unwrap_or_default()
}

/// Writes what has room in a message.
pub(super) fn shortened(value: &Value, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let mut writer = Writer {
        out: Vec::new(),
        most: 4 * SHOWN,
        charge: Charge::default(),
    };
    let whole = writer.value(value).is_ok();
    let text = String::from_utf8_lossy(&writer.out);
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => write!(f, "{}...", &text[..end]),
        None if whole => f.write_str(&text),
        None => write!(f, "{text}..."),
    }
}

/// The depth of what is there now; a value's own note of it only ever grows.
fn real_depth(value: &Value) -> u16 {
    meter::work(1);
    let inside = match value {
        Value::List(list) => list.items().iter().map(real_depth).max(),
        Value::Object(object) => object.entries().values().map(real_depth).max(),
        _ => return 0,
    };
    inside.unwrap_or(0) + 1
}

/// No room for more.
struct Full;

struct Writer {
    out: Vec<u8>,
    most: usize,
    charge: Charge,
}

impl Writer {
    fn value(&mut self, value: &Value) -> Result<(), Full> {
        self.look()?;
        match value {
            Value::Null(_) => self.out.extend_from_slice(crate::json::NULL),
            Value::Bool(yes) => self.out.extend_from_slice(if *yes { b"true" } else { b"false" }),
            Value::Number(number) => self.out.extend_from_slice(number.text().as_bytes()),
            Value::Text(text) => self.text(text.as_str())?,
            Value::List(list) => {
                self.out.push(b'[');
                for (index, item) in list.items().iter().enumerate() {
                    if index > 0 {
                        self.out.push(b',');
                    }
                    self.value(item)?;
                }
                self.out.push(b']');
            }
            Value::Object(object) => {
                self.out.push(b'{');
                for (index, (key, value)) in object.entries().iter().enumerate() {
                    if index > 0 {
                        self.out.push(b',');
                    }
                    self.text(key.as_str())?;
                    self.out.push(b':');
                    self.value(value)?;
                }
                self.out.push(b'}');
            }
        }
        self.look()
    }

    fn text(&mut self, text: &str) -> Result<(), Full> {
        if self.out.len() + text.len() > self.most {
            return Err(Full);
        }
        meter::work(text.len() / 64);
        write_string(&mut self.out, text);
        Ok(())
    }

    /// Shared values can be written out to far more than they hold, so the text is counted while it grows.
    fn look(&mut self) -> Result<(), Full> {
        meter::work(1);
        if self.out.len() > self.most {
            return Err(Full);
        }
        if self.out.capacity() > 4096 {
            self.charge.set(self.out.capacity());
        }
        Ok(())
    }
}
