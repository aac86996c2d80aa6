//! The gateway from outside.

#![expect(clippy::disallowed_methods, reason = "tests play the peers: they spawn, and wait in real time where sockets are the point")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

mod specs;

mod setup;
mod sockets;
mod framing;
mod nginx;
mod tls;
mod faults;
mod drain;
mod leaks;
