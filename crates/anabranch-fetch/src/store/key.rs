//! An id as 16 bytes: what the journal stores and compares.

use crate::JobId;

/// Stands for a [`JobId`]. The ids that we make are 16 bytes written in hex and become those again; an id that the user gave becomes the
/// first 16 bytes of its BLAKE3 hash, so two of them meet by chance once in 2^64 jobs or so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Key(pub(crate) [u8; 16]);

impl Key {
    pub(crate) fn of(id: &JobId) -> Key {
        Key::of_text(id.as_str())
    }

    pub(crate) fn of_text(id: &str) -> Key {
        from_hex(id.as_bytes()).unwrap_or_else(|| {
            let mut bytes = [0; 16];
            bytes.copy_from_slice(&blake3::hash(id.as_bytes()).as_bytes()[..16]);
            Key(bytes)
        })
    }

    /// A file name that is safe everywhere, whatever the id is.
    pub(crate) fn to_hex(self) -> String {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let digits = self.0.iter().flat_map(|byte| [byte >> 4, byte & 15]);
        digits.map(|digit| char::from(DIGITS[usize::from(digit)])).collect()
    }
}

fn from_hex(text: &[u8]) -> Option<Key> {
    let mut bytes = [0; 16];
    if text.len() != 32 {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(text.chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(Key(bytes))
}

fn digit(text: u8) -> Option<u8> {
    match text {
        b'0'..=b'9' => Some(text - b'0'),
        b'a'..=b'f' => Some(text - b'a' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own_ids_keep_their_bytes_and_others_are_hashed() {
        let ours = "00112233445566778899aabbccddeeff";
        assert_eq!(Key::of_text(ours).to_hex(), ours);
        assert_ne!(Key::of_text("order-7"), Key::of_text("order-8"));
        assert_ne!(Key::of_text(&ours.to_uppercase()).to_hex(), ours);
        assert_eq!(Key::of_text("../../etc/passwd").to_hex().len(), 32);
    }
}
