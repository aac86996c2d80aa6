//! One HTTP/1.1 connection, spoken by our own code or by hyper's: same behaviour, chosen by `wire`.

use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use super::connection::{Answer, Begun, Exchange, Failure, Opened};
use super::endpoint::{Codec, WireSettings};
use super::hyper1::{Hyper1, Hyper1Reading};
use super::own::{Own, OwnReading};
use super::rest::Rest;
use super::timings::Timings;
use super::upload::Upload;
use super::wire::Transport;
use crate::CallError;

/// One HTTP/1.1 connection. Whoever holds it is the only one to use it; dropping it closes it.
pub(super) enum Http1 {
    Own(Own),
    /// In a box of its own: it is six times as large.
    Hyper(Box<Hyper1>),
}

/// The state of a body that is read piece by piece.
pub(super) enum Http1Reading {
    Own(OwnReading),
    Hyper(Hyper1Reading),
}

impl Http1 {
    pub(super) async fn connect(transport: Transport, opened: Opened, settings: &WireSettings) -> Result<Box<Self>, CallError> {
        let rest = Rest::new(opened, settings);
        Ok(Box::new(match settings.codec {
            Codec::Own => Http1::Own(Own::new(transport, rest)),
            Codec::Hyper => Http1::Hyper(Box::new(Hyper1::connect(transport, rest).await?)),
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

    pub(super) fn opened(&self) -> &Opened {
        &self.rest().opened
    }

    pub(super) fn rests_since(&self) -> Instant {
        self.rest().since
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

    /// Sends the request and reads the answer's head.
    pub(super) async fn open(
        &mut self,
        exchange: Exchange<'_>,
        upload: &mut Option<Upload>,
        timings: &mut Timings,
    ) -> Result<Begun, Failure> {
        match self {
            Http1::Own(connection) => connection.open(exchange, upload, timings).await,
            Http1::Hyper(connection) => connection.open(exchange, upload, timings).await,
        }
    }

    /// The next piece of the body.
    pub(super) fn poll_piece(&mut self, reading: &mut Http1Reading, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, CallError>> {
        match (self, reading) {
            (Http1::Own(connection), Http1Reading::Own(reading)) => connection.poll_piece(reading, cx),
            (Http1::Hyper(connection), Http1Reading::Hyper(reading)) => connection.poll_piece(reading, cx),
            _ => unreachable!("a body is read from the connection that began it"),
        }
    }
}
