//! Questions asked of many bytes at once. The answer is a mask: its lowest bit is for the first byte.
//!
//! In terms of sixteen lanes of a byte each, which every x86-64 and every 64-bit ARM has instructions for (`wide` falls back to
//! arithmetic elsewhere). Two comparisons are missing there and made of others: `a <= b` is `min(a, b) == a`, `a >= b` is
//! `max(a, b) == a`.

use wide::u8x16;

/// How many bytes one vector holds.
pub(super) const LANES: usize = 16;

/// How many bytes one mask of a word can speak of.
pub(super) const BLOCK: usize = 64;

/// Which bytes are no digits. Has a bit after the last as well, for those that are all digits.
#[inline(always)]
pub(super) fn non_digits(bytes: &[u8; LANES]) -> u32 {
    // Digits become 0 to 9 and all else more.
    let values = u8x16::new(*bytes) ^ u8x16::splat(b'0');
    values.max(u8x16::splat(10)).simd_eq(values).to_bitmask() | 1 << LANES
}

/// Which bytes are no blanks. Has bits after the last as well, for those that are all blanks.
#[inline(always)]
pub(super) fn non_blanks(bytes: &[u8; LANES]) -> u32 {
    let lanes = u8x16::new(*bytes);
    let equal = |byte| lanes.simd_eq(u8x16::splat(byte));
    !(equal(b' ') | equal(b'\n') | equal(b'\r') | equal(b'\t')).to_bitmask()
}

/// As many bytes as one word has bits.
#[derive(Clone, Copy)]
pub(super) struct Block([u8x16; BLOCK / LANES]);

impl Block {
    #[inline(always)]
    pub(super) fn new(bytes: &[u8; BLOCK]) -> Self {
        let (lanes, _) = bytes.as_chunks::<LANES>();
        Block([0, 1, 2, 3].map(|index| u8x16::new(lanes[index])))
    }

    /// Which bytes are `byte`.
    #[inline(always)]
    pub(super) fn equal(self, byte: u8) -> u64 {
        self.mask(|lanes| lanes.simd_eq(u8x16::splat(byte)))
    }

    /// Which bytes are control characters.
    #[inline(always)]
    pub(super) fn controls(self) -> u64 {
        self.mask(is_control)
    }

    /// Whether any byte is a control character or `byte`: cheaper than two masks.
    #[inline(always)]
    pub(super) fn has_controls_or(self, byte: u8) -> bool {
        let [a, b, c, d] = self.0;
        let least = a.min(b).min(c.min(d));
        let [e, f, g, h] = self.0.map(|lanes| lanes.simd_eq(u8x16::splat(byte)));
        (is_control(least) | (e | f) | (g | h)).to_bitmask() != 0
    }

    /// The union of the bits of the bytes, lane by lane.
    #[inline(always)]
    pub(super) fn union(self) -> u8x16 {
        let [a, b, c, d] = self.0;
        (a | b) | (c | d)
    }

    #[inline(always)]
    fn mask(self, test: impl Fn(u8x16) -> u8x16) -> u64 {
        let [a, b, c, d] = self.0.map(|lanes| u64::from(test(lanes).to_bitmask()));
        a | b << 16 | c << 32 | d << 48
    }
}

#[inline(always)]
fn is_control(lanes: u8x16) -> u8x16 {
    lanes.min(u8x16::splat(0x1f)).simd_eq(lanes)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each byte at each place among others.
    fn each(mut check: impl FnMut(u8, usize, &[u8; BLOCK])) {
        for byte in 0..=255 {
            for place in 0..BLOCK {
                let mut bytes = [b'x'; BLOCK];
                bytes[place] = byte;
                check(byte, place, &bytes);
            }
        }
    }

    #[test]
    fn masks_of_a_block_have_the_bit_of_each_byte() {
        each(|byte, place, bytes| {
            let block = Block::new(bytes);
            let bit = 1u64 << place;
            assert_eq!(block.equal(b'"'), if byte == b'"' { bit } else { 0 });
            assert_eq!(block.controls(), if byte < 0x20 { bit } else { 0 });
            assert_eq!(block.has_controls_or(b'\\'), byte < 0x20 || byte == b'\\');
            assert_eq!(block.union().to_bitmask() != 0, byte >= 0x80);
        });
    }

    #[test]
    fn the_first_that_is_no_digit_or_no_blank_is_found() {
        for byte in 0..=255u8 {
            for place in 0..LANES {
                let mut digits = *b"0123456789012345";
                digits[place] = byte;
                let expected = if byte.is_ascii_digit() { LANES } else { place };
                assert_eq!(non_digits(&digits).trailing_zeros() as usize, expected);
                let mut blanks = *b" \n\r\t \n\r\t \n\r\t \n\r\t";
                blanks[place] = byte;
                let expected = if matches!(byte, b' ' | b'\n' | b'\r' | b'\t') {
                    LANES
                } else {
                    place
                };
                assert_eq!(non_blanks(&blanks).trailing_zeros() as usize, expected);
            }
        }
    }
}
