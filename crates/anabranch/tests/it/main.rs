//! Tests of the engine through its public face, on a clock that stands still unless a test says otherwise.
#![expect(
    clippy::disallowed_methods,
    reason = "tests play the peers and the callers: they spawn, and sleep on the paused clock"
)]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

mod cancel;
mod deadline;
mod gather;
mod gathering;
mod scope;
mod background;
mod compute;
#[cfg(unix)]
mod worker;
mod client;
mod corpus;
mod client_http2;
mod client_streams;
mod client_streams_http2;
mod client_uploads;
mod open;
mod client_proxies;
mod client_guard;
mod client_many;
mod client_sockets;
#[cfg(feature = "postgres")]
mod postgres;
#[cfg(feature = "postgres")]
mod postgres_server;
#[cfg(feature = "redis")]
mod redis;
#[cfg(feature = "redis")]
mod redis_server;
