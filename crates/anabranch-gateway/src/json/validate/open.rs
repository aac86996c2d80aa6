//! The containers around a place.

/// One bit for each, so that a bomb of `[` costs nothing: 64 at the most.
pub(super) struct Open {
    /// The lowest bit is the innermost, 1 for an object.
    kinds: u64,
    /// As many ones as are open.
    depth: u64,
    /// As many ones as may be open.
    most: u64,
}

impl Open {
    pub(super) fn new(most: u32) -> Self {
        Open {
            kinds: 0,
            depth: 0,
            most: u64::MAX.checked_shr(64 - most.min(64)).unwrap_or(0),
        }
    }

    /// False when one more is too many.
    #[inline(always)]
    pub(super) fn push(&mut self, object: bool) -> bool {
        if self.depth >= self.most {
            return false;
        }
        self.depth = self.depth << 1 | 1;
        self.kinds = self.kinds << 1 | u64::from(object);
        true
    }

    #[inline(always)]
    pub(super) fn pop(&mut self) {
        self.depth >>= 1;
        self.kinds >>= 1;
    }

    #[inline(always)]
    pub(super) fn is_empty(&self) -> bool {
        self.depth == 0
    }

    #[inline(always)]
    pub(super) fn in_object(&self) -> bool {
        self.kinds & 1 == 1
    }

    /// The byte that ends the innermost.
    #[inline(always)]
    pub(super) fn closing(&self) -> u8 {
        if self.in_object() { b'}' } else { b']' }
    }
}
