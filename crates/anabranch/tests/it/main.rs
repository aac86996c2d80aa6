//! Tests of the engine through its public face, on a clock that stands still unless a test says otherwise.
#![expect(clippy::disallowed_methods, reason = "tests play the peers and the callers: they spawn, and sleep on the paused clock")]

mod cancel;
mod deadline;
mod gather;
mod gathering;
mod scope;
mod background;
