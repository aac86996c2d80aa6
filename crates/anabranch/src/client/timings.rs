//! How long each phase of an attempt took.

use std::time::Duration;

use crate::Phase;

/// The length of each phase of one attempt; `None` where the phase did not happen, for example `connect` over a reused connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timings {
    /// Waiting for a token of the rate.
    pub rate: Option<Duration>,
    /// Waiting for a slot of the in-flight limit.
    pub queue: Option<Duration>,
    /// Waiting for a connection that others opened or gave back, or for an HTTP/2 stream.
    pub pool: Option<Duration>,
    /// Looking up the host.
    pub dns: Option<Duration>,
    /// Opening the TCP connection.
    pub connect: Option<Duration>,
    /// Shaking hands over TLS.
    pub tls: Option<Duration>,
    /// From handing over the request to the whole head of the answer.
    pub first_byte: Option<Duration>,
    /// Reading the body, without decoding it.
    pub body: Option<Duration>,
    /// Whether the connection had served an exchange before.
    pub reused: bool,
}

impl Timings {
    /// The phases that happened, in the order in which they happen.
    pub fn iter(&self) -> impl Iterator<Item = (Phase, Duration)> {
        [
            (Phase::Rate, self.rate),
            (Phase::Queue, self.queue),
            (Phase::Pool, self.pool),
            (Phase::Dns, self.dns),
            (Phase::Connect, self.connect),
            (Phase::Tls, self.tls),
            (Phase::FirstByte, self.first_byte),
            (Phase::Body, self.body),
        ]
        .into_iter()
        .filter_map(|(phase, took)| took.map(|took| (phase, took)))
    }
}
