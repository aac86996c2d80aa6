//! The gateway from outside.

#![expect(
    clippy::disallowed_methods,
    reason = "tests play the peers: they spawn, and wait in real time where sockets are the point"
)]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

mod specs;

mod setup;
mod sockets;
mod framing;
mod nginx;
mod proxy;
mod tls;
mod faults;
mod drain;
mod loops;
#[cfg(unix)]
mod workers;
mod leaks;
#[cfg(feature = "postgres")]
#[path = "../../../anabranch/tests/it/postgres_server.rs"]
#[allow(dead_code, reason = "the engine's tests use all of it")]
mod postgres_server;
#[cfg(feature = "postgres")]
mod sql;
#[cfg(feature = "redis")]
#[path = "../../../anabranch/tests/it/redis_server.rs"]
#[allow(dead_code, reason = "the engine's tests use all of it")]
mod redis_server;
#[cfg(feature = "redis")]
mod redis;
#[cfg(all(feature = "postgres", feature = "redis"))]
mod feed;
