//! The marks of a document: closing quotes of strings, and whatever in strings needs a look before.
//!
//! Found in blocks of 64 bytes without a branch for each byte, as in the first stage of simdjson (Langdale and Lemire, "Parsing Gigabytes
//! of JSON per Second", The VLDB Journal 28, 2019). The walk takes them one by one, so that a string costs it one jump however long
//! it is, and the next string need not wait until this one has been read.
//!
//! Marks are right up to the first fault of the document, which is all the walk asks for: it reads every byte outside strings
//! itself, and every mark inside them.

use std::num::NonZeroU64;

use wide::u8x16;

use super::block::{Block, BLOCK};

/// How many blocks are looked at in one go: 1 KiB of document, for 128 bytes of marks.
const WORDS: usize = 16;

/// The marks of one block that are still to come.
#[derive(Clone, Copy, Default)]
pub(super) struct Marks {
    bits: Option<NonZeroU64>,
    /// Offset of the block.
    base: usize,
}

impl Marks {
    /// Offset of the next mark. At or after the end of the document when there is none, again and again.
    #[inline(always)]
    pub(super) fn next(&mut self, ahead: &mut Ahead<'_>) -> usize {
        let bits = match self.bits {
            Some(bits) => bits,
            None => {
                let bits;
                (bits, self.base) = ahead.next().unwrap_or_else(|| ahead.next_of_many());
                bits
            }
        };
        self.bits = NonZeroU64::new(bits.get() & (bits.get() - 1));
        self.base + bits.trailing_zeros() as usize
    }
}

/// The marks of the blocks after this one.
pub(super) struct Ahead<'a> {
    bytes: &'a [u8],
    words: [u64; WORDS],
    /// Index of the next word.
    next: usize,
    /// Offset of its block.
    base: usize,
    scan: Scan,
}

impl<'a> Ahead<'a> {
    /// Looks at nothing yet: a document without strings never needs marks.
    #[inline(always)]
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Ahead {
            bytes,
            words: [0; WORDS],
            next: WORDS,
            base: 0,
            scan: Scan {
                is_escaped: 0,
                inside: 0,
                union: u8x16::splat(0),
            },
        }
    }

    /// Whether all bytes looked at are ASCII, which is all bytes of all strings whose marks were taken.
    #[inline(always)]
    pub(super) fn is_ascii(&self) -> bool {
        self.scan.union.to_bitmask() == 0
    }

    /// The marks of the next block, with its offset. None when it has none or was not looked at.
    #[inline(always)]
    fn next(&mut self) -> Option<(NonZeroU64, usize)> {
        let bits = NonZeroU64::new(*self.words.get(self.next)?);
        let base = self.base;
        self.next += 1;
        self.base += BLOCK;
        bits.map(|bits| (bits, base))
    }

    /// The marks of the next block that has any, or one at the end of the document.
    #[cold]
    #[inline(never)]
    fn next_of_many(&mut self) -> (NonZeroU64, usize) {
        loop {
            while self.next < WORDS {
                if let Some(found) = self.next() {
                    return found;
                }
            }
            if self.base >= self.bytes.len() {
                return (NonZeroU64::MIN, self.bytes.len());
            }
            self.look();
        }
    }

    /// Looks at the next blocks. Words of blocks after the end stay as they are: a mark there is no worse than none, since either way
    /// a string has no end.
    fn look(&mut self) {
        let (blocks, tail) = self.bytes[self.base..].as_chunks::<BLOCK>();
        let mut scan = self.scan;
        for (word, block) in self.words.iter_mut().zip(blocks) {
            *word = scan.marks(block, 0);
        }
        if !tail.is_empty()
            && let Some(word) = self.words.get_mut(blocks.len())
        {
            *word = scan.marks_of_tail(self.bytes, tail);
        }
        self.scan = scan;
        self.next = 0;
    }
}

/// What one block must know of those before it.
#[derive(Clone, Copy)]
struct Scan {
    /// 1 when the first byte of the block is escaped by the last one before it.
    is_escaped: u64,
    /// All ones when the block begins inside a string.
    inside: u64,
    /// The bits of all bytes so far, lane by lane.
    union: u8x16,
}

impl Scan {
    /// The marks of a block of which the first `done` bytes were looked at before.
    #[inline(always)]
    fn marks(&mut self, bytes: &[u8; BLOCK], done: u32) -> u64 {
        let block = Block::new(bytes);
        self.union |= block.union();
        let quotes = block.equal(b'"') >> done;
        if self.is_escaped == 0 && !block.has_controls_or(b'\\') {
            return quotes & !self.inside(quotes);
        }
        let backslashes = block.equal(b'\\') >> done;
        let escaped = self.escaped(backslashes);
        let quotes = quotes & !escaped;
        let odd = block.controls() >> done | backslashes & !escaped;
        let inside = self.inside(quotes);
        quotes & !inside | odd & inside
    }

    /// The marks of `tail`, the last bytes of `document`, which are less than a block.
    #[inline(always)]
    fn marks_of_tail(&mut self, document: &[u8], tail: &[u8]) -> u64 {
        if let Some(last) = document.last_chunk() {
            return self.marks(last, (BLOCK - tail.len()) as u32);
        }
        let mut block = [b' '; BLOCK];
        block[..tail.len()].copy_from_slice(tail);
        self.marks(&block, 0)
    }

    /// Which bytes are inside strings, opening quotes included and closing ones not: those with an odd number of quotes before them
    /// or at them (the paper's prefix xor, here by shifts).
    #[inline(always)]
    fn inside(&mut self, quotes: u64) -> u64 {
        let mut inside = quotes;
        for shift in [1, 2, 4, 8, 16, 32] {
            inside ^= inside << shift;
        }
        inside ^= self.inside;
        self.inside = (inside as i64 >> 63) as u64;
        inside
    }

    /// Which bytes are escaped: those after an odd number of backslashes. The addition carries each run of backslashes that begins at
    /// an odd place to its end, and so tells apart the runs of odd and of even length (section 3.1.1 of the paper).
    #[inline(always)]
    fn escaped(&mut self, backslashes: u64) -> u64 {
        const EVEN: u64 = 0x5555_5555_5555_5555;
        let backslashes = backslashes & !self.is_escaped;
        let after = backslashes << 1 | self.is_escaped;
        let odd_starts = backslashes & !EVEN & !after;
        let (ends, over) = odd_starts.overflowing_add(backslashes);
        self.is_escaped = u64::from(over);
        (EVEN ^ ends << 1) & after
    }
}
