//! An answer that may be kept, gathered while it goes by.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anabranch::policy::{CacheKey, Item, Keep};
use bytes::{Bytes, BytesMut};

use super::{Looking, PAGE_MAX, Page, Pages};

/// An answer that is kept once all of it went by.
pub(crate) struct Storing<'a> {
    looking: Looking<'a>,
    page: Page,
    body: BytesMut,
    filling: Filling<'a>,
    keep: Keep,
    key: CacheKey,
}

/// Bytes counted among those on their way, as long as it lives.
struct Filling<'a>(&'a AtomicU64, u64);

impl Filling<'_> {
    /// Adds some; gives what all of them are now.
    fn add(&mut self, bytes: u64) -> u64 {
        self.1 += bytes;
        self.0.fetch_add(bytes, Ordering::Relaxed) + bytes
    }
}

impl Drop for Filling<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(self.1, Ordering::Relaxed);
    }
}

impl<'a> Storing<'a> {
    /// Begins with what its head says.
    pub(super) fn new(looking: Looking<'a>, page: Page, keep: Keep, key: CacheKey) -> Storing<'a> {
        let pages: &'a Pages = looking.pages;
        Storing {
            looking,
            page,
            body: BytesMut::new(),
            filling: Filling(&pages.filling, 0),
            keep,
            key,
        }
    }

    /// Takes a piece that goes by; None where that makes it too large to be kept.
    pub(crate) fn piece(mut self: Box<Self>, piece: &[u8]) -> Option<Box<Storing<'a>>> {
        let others = self.filling.add(piece.len() as u64);
        if self.body.len() + piece.len() > PAGE_MAX || others > self.looking.pages.filling_max {
            return None;
        }
        self.body.extend_from_slice(piece);
        Some(self)
    }

    /// Keeps it: it went by whole.
    pub(crate) fn finish(mut self) {
        // Bytes of its own, so that what it weighs is what it takes.
        self.page.body = Bytes::copy_from_slice(&self.body);
        let page = Arc::new(self.page);
        let item = Item::new(page.clone(), page.weight(), self.keep).labelled(self.looking.label.clone());
        self.looking.put(self.key, item);
    }
}
