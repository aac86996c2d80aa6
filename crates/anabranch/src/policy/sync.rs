//! The atomics and the lock of the state machines here: std's, or loom's when a test explores their interleavings.
//!
//! Chosen by a cfg of our own, because `cfg(loom)` also changes tokio, which then has no network. The files that use these
//! are `slots.rs` and `budget.rs`; `tests/loom.rs` includes them by path and says how it is run.

#[cfg(anabranch_loom)]
pub(crate) use loom::sync::{
    atomic::{AtomicU64, AtomicUsize},
    Mutex, MutexGuard,
};
#[cfg(not(anabranch_loom))]
pub(crate) use std::sync::{
    atomic::{AtomicU64, AtomicUsize},
    Mutex, MutexGuard,
};
