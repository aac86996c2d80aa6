//! The walk over a document from token to token.
//!
//! Where strings end was found out beforehand ([`super::marks`]); everything else is read byte by byte and in order, so that the first
//! fault the walk meets is the first there is. What ordinary bodies seldom need is marked cold, which keeps the place in registers.

use super::blanks::{after_blanks, chunk, peek};
use super::marks::{Ahead, Marks};
use super::number::{after_minus, after_number};
use super::open::Open;
use super::string::check_odd;
use super::{fault, JsonFault, Limits, Shape};
use crate::json::type_of;

/// Checks everything but UTF-8.
#[inline(never)]
pub(super) fn walk<'a>(bytes: &'a [u8], limits: &Limits, ahead: &mut Ahead<'a>) -> Result<Shape, JsonFault> {
    let mut walk = Walk {
        bytes,
        at: 0,
        byte: peek(bytes, 0),
        marks: Marks::default(),
        ahead,
        open: Open::new(limits.depth),
        nodes_left: limits.nodes,
    };
    walk.skip_blanks();
    let start = walk.at;
    let kind = type_of(&[walk.byte]);
    // Entries and items have loops of their own, so that what surrounds a value need not be asked for each.
    'inside: loop {
        if walk.open.in_object() {
            loop {
                walk.key()?;
                walk.count()?;
                if walk.byte < b':' {
                    walk.text_or_number()?;
                } else if is_opening(walk.byte) {
                    let closing = walk.byte + 2;
                    walk.enter()?;
                    if walk.byte != closing {
                        continue 'inside;
                    }
                    walk.leave();
                } else {
                    walk.word()?;
                }
                if walk.byte != b',' {
                    break;
                }
                walk.go(walk.at + 1);
            }
        } else {
            loop {
                walk.count()?;
                if walk.byte < b':' {
                    walk.text_or_number()?;
                } else if is_opening(walk.byte) {
                    let closing = walk.byte + 2;
                    walk.enter()?;
                    if walk.byte != closing {
                        continue 'inside;
                    }
                    walk.leave();
                } else {
                    walk.word()?;
                }
                if walk.byte != b',' || walk.open.is_empty() {
                    break;
                }
                walk.go(walk.at + 1);
            }
        }
        // A value ended: so may some of its containers, until a comma announces the next value.
        let mut end = walk.at;
        while !walk.open.is_empty() {
            if walk.byte == walk.open.closing() {
                walk.leave();
                end = walk.at;
            } else if walk.byte == b',' {
                walk.go(walk.at + 1);
                continue 'inside;
            } else {
                walk.skip_blanks_or_fail()?;
            }
        }
        walk.skip_blanks();
        if walk.at < bytes.len() {
            return fault(walk.at, "expected the end of the document");
        }
        let nodes = limits.nodes - walk.nodes_left;
        return Ok(Shape { kind, start, end, nodes });
    }
}

/// Whether a container begins with `byte`: the two differ in one bit, and each closes with the byte two after it.
#[inline(always)]
fn is_opening(byte: u8) -> bool {
    byte | 0x20 == b'{'
}

/// A place in a document, and what must be known there.
struct Walk<'a, 'b> {
    bytes: &'a [u8],
    at: usize,
    /// What stands at `at`; 0, which can stand nowhere outside a string, after the end.
    byte: u8,
    marks: Marks,
    /// Apart from the rest: it is handed to functions that are not inlined, and would take the whole struct into memory with it.
    ahead: &'b mut Ahead<'a>,
    open: Open,
    nodes_left: usize,
}

impl Walk<'_, '_> {
    #[inline(always)]
    fn go(&mut self, at: usize) {
        self.at = at;
        self.byte = peek(self.bytes, at);
    }

    /// Goes to the next byte that is no blank, perhaps this one. One space is as far as most ways are: `": "`.
    #[inline(always)]
    fn skip_blanks(&mut self) {
        if self.byte <= b' ' {
            if self.byte == b' ' {
                self.go(self.at + 1);
                if self.byte > b' ' {
                    return;
                }
            }
            (self.at, self.byte) = after_blanks(self.bytes, self.at);
        }
    }

    /// Behind a value, where neither a comma nor the end of its container stands.
    #[inline(always)]
    fn skip_blanks_or_fail(&mut self) -> Result<(), JsonFault> {
        let before = self.at;
        self.skip_blanks();
        if self.at > before {
            return Ok(());
        }
        fault(
            before,
            if self.open.in_object() {
                "expected `,` or `}`"
            } else {
                "expected `,` or `]`"
            },
        )
    }

    /// From before a value, or the blanks before it, to its first byte.
    #[inline(always)]
    fn count(&mut self) -> Result<(), JsonFault> {
        self.skip_blanks();
        let none;
        (self.nodes_left, none) = self.nodes_left.overflowing_sub(1);
        if none { fault(self.at, "more values than allowed") } else { Ok(()) }
    }

    /// Into the container that begins here, to its first token.
    #[inline(always)]
    fn enter(&mut self) -> Result<(), JsonFault> {
        if !self.open.push(self.byte == b'{') {
            return fault(self.at, "containers nested deeper than allowed");
        }
        self.go(self.at + 1);
        self.skip_blanks();
        Ok(())
    }

    /// Out of the container that ends here.
    #[inline(always)]
    fn leave(&mut self) {
        self.open.pop();
        self.go(self.at + 1);
    }

    /// From before a key, or the blanks before it, to behind its colon.
    #[inline(always)]
    fn key(&mut self) -> Result<(), JsonFault> {
        if self.byte != b'"' {
            self.skip_blanks();
            if self.byte != b'"' {
                return fault(self.at, "expected a key in quotes");
            }
        }
        let mark = self.marks.next(self.ahead);
        if let Some(after) = chunk::<3>(self.bytes, mark)
            && after[..2] == *b"\":"
        {
            (self.at, self.byte) = (mark + 2, after[2]);
            return Ok(());
        }
        (self.at, self.byte, self.marks) = after_odd_key(self.bytes, mark, self.marks, self.ahead)?;
        Ok(())
    }

    #[inline(always)]
    fn text_or_number(&mut self) -> Result<(), JsonFault> {
        match self.byte {
            b'"' => {
                let mut mark = self.marks.next(self.ahead);
                while peek(self.bytes, mark) != b'"' {
                    check_odd(self.bytes, mark)?;
                    mark = self.marks.next(self.ahead);
                }
                self.go(mark + 1);
            }
            b'0'..=b'9' => (self.at, self.byte) = after_number(self.bytes, self.at, self.byte)?,
            _ => (self.at, self.byte) = after_minus(self.bytes, self.at)?,
        }
        Ok(())
    }

    #[inline(always)]
    fn word(&mut self) -> Result<(), JsonFault> {
        let length = match self.byte {
            b't' if chunk(self.bytes, self.at) == Some(b"true") => 4,
            b'f' if chunk(self.bytes, self.at) == Some(b"false") => 5,
            b'n' if chunk(self.bytes, self.at) == Some(b"null") => 4,
            _ => return fault(self.at, "expected a value"),
        };
        self.go(self.at + length);
        Ok(())
    }
}

/// Behind the colon of a key in which `mark` is the next mark: a key with escapes, or one with blanks after it.
#[cold]
#[inline(never)]
fn after_odd_key(bytes: &[u8], mut mark: usize, mut marks: Marks, ahead: &mut Ahead<'_>) -> Result<(usize, u8, Marks), JsonFault> {
    while peek(bytes, mark) != b'"' {
        check_odd(bytes, mark)?;
        mark = marks.next(ahead);
    }
    let (colon, byte) = after_blanks(bytes, mark + 1);
    if byte != b':' {
        return fault(colon, "expected `:`");
    }
    Ok((colon + 1, peek(bytes, colon + 1), marks))
}
