//! One HTTP/1.1 connection, spoken by our own code or by hyper's: same behaviour, chosen by `wire`.

use std::time::Duration;

use tokio::time::Instant;

use super::connection::{Answer, Exchange, Failure, Opened};
use super::endpoint::{Codec, WireSettings};
use super::hyper1::Hyper1;
use super::own::Own;
use super::rest::Rest;
use super::timings::Timings;
use super::wire::Transport;
use crate::CallError;

/// One HTTP/1.1 connection. Whoever holds it is the only one to use it; dropping it closes it.
pub(super) enum Http1 {
    Own(Own),
    /// In a box of its own: it is six times as large.
    Hyper(Box<Hyper1>),
}

impl Http1 {
    pub(super) async fn open(transport: Transport, opened: Opened, settings: &WireSettings) -> Result<Box<Self>, CallError> {
        let rest = Rest::new(opened, settings);
        Ok(Box::new(match settings.codec {
            Codec::Own => Http1::Own(Own::new(transport, rest)),
            Codec::Hyper => Http1::Hyper(Box::new(Hyper1::open(transport, rest).await?)),
        }))
    }

    fn rest(&self) -> &Rest {
        match self {
            Http1::Own(connection) => connection.rest(),
            Http1::Hyper(connection) => connection.rest(),
        }
    }

    pub(super) fn is_reused(&self) -> bool {
        self.rest().is_reused
    }

    pub(super) fn opened(&self) -> Opened {
        self.rest().opened
    }

    pub(super) fn rests_until(&self) -> Instant {
        self.rest().until
    }

    /// Whether it is still open, by one look at the socket's readiness: an end of file or a stray byte closes it.
    pub(super) fn is_alive(&mut self) -> bool {
        match self {
            Http1::Own(connection) => connection.is_alive(),
            Http1::Hyper(connection) => connection.is_alive(),
        }
    }

    /// Prepares to wait for the next exchange; `false` if it cannot serve one.
    pub(super) fn begin_rest(&mut self, keep_alive: Option<Duration>, settings: &WireSettings, now: Instant) -> bool {
        match self {
            Http1::Own(connection) => connection.begin_rest(keep_alive, settings, now),
            Http1::Hyper(connection) => connection.begin_rest(keep_alive, settings, now),
        }
    }

    /// Sends the request and reads the answer to its end.
    pub(super) async fn exchange(&mut self, exchange: Exchange<'_>, timings: &mut Timings) -> Result<Answer, Failure> {
        match self {
            Http1::Own(connection) => connection.exchange(exchange, timings).await,
            Http1::Hyper(connection) => Box::pin(connection.exchange(exchange, timings)).await,
        }
    }
}
