//! Starts the threads of a compute pool: names, stacks, priority.

use std::io;

/// What Linux gives a main thread, and twice as deep as any bound on nesting in this project needs.
const STACK_BYTES: usize = 8 << 20;
/// How far below the loops the threads run. With 100 jobs of 5 to 10 ms on 2 cores, the same threads at the loops' own level
/// made timers up to 16 ms late, with this 4 to 14 ms; it costs the jobs nothing while a core is free.
#[cfg(target_os = "linux")]
const LEVELS_BELOW: i32 = 10;

/// A nice level for the threads, or none where a thread has no level of its own.
pub(super) type Level = Option<i32>;

/// The level for threads that compute, from that of the current thread.
#[cfg(target_os = "linux")]
pub(super) fn level_below() -> Level {
    let own = rustix::process::getpriority_process(None).ok()?;
    Some(own.saturating_add(LEVELS_BELOW).min(19))
}

/// Elsewhere the level belongs to the whole process, which must keep its own.
#[cfg(not(target_os = "linux"))]
pub(super) fn level_below() -> Level {
    None
}

/// Starts one thread, which ends when `body` returns.
pub(super) fn start(name: String, level: Level, body: impl FnOnce() + Send + 'static) -> io::Result<()> {
    let thread = std::thread::Builder::new().name(name).stack_size(STACK_BYTES).spawn(move || {
        lower(level);
        body();
    })?;
    drop(thread); // nobody joins it: a job that does not end must not hold up whoever drops the pool
    Ok(())
}

/// Linux takes process 0 for the calling thread (setpriority(2), under "C library/kernel differences").
#[cfg(target_os = "linux")]
fn lower(level: Level) {
    if let Some(level) = level {
        // Going down is always allowed; if a sandbox forbids the call as such, the thread computes at the usual level.
        let _refused = rustix::process::setpriority_process(None, level);
    }
}

#[cfg(not(target_os = "linux"))]
fn lower(_level: Level) {}
