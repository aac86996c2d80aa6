//! Opening a connection, from nothing to HTTP: stream, TLS, protocol.

use std::sync::{Arc, Weak};

use tokio::time::Instant;

use super::connection::Opened;
use super::dial::{Dial, DialLimits};
use super::endpoint::{Endpoint, HttpVersion};
use super::http1::Http1;
use super::http2::Http2;
use super::pool::Pool;
use super::tls::Protocol;
use super::wire::Transport;
use crate::{Background, CallError, Deadline, Kind, Phase};

/// What opening a connection needs, apart from the pool it is for.
pub(super) struct Dialing {
    pub(super) endpoint: Endpoint,
    pub(super) dial: Arc<dyn Dial>,
    pub(super) background: Weak<Background>,
    pub(super) pool: Weak<Pool>,
    /// How many streams the peer is assumed to take: what it took over another connection.
    pub(super) streams: usize,
}

impl Dialing {
    /// Stream, TLS, HTTP. The connect timeout covers all but looking up.
    pub(super) async fn run(self, limits: DialLimits) -> Result<Dialed, CallError> {
        let settings = self.endpoint.settings();
        // A dial keeps its limits; one that does not, for example somebody's own, must not hold those who wait.
        let at_most = settings.dns_timeout + settings.connect_timeout;
        let late = |_elapsed| CallError::new(Kind::Connect, format!("no connection within {at_most:?}")).in_phase(Phase::Connect);
        let dial = self.dial.dial(self.endpoint.host(), self.endpoint.port(), limits.clone());
        let dialled = Deadline::after(at_most).bound(dial).await.map_err(late)??;
        let deadline = Deadline::after(settings.connect_timeout.saturating_sub(dialled.connect.unwrap_or_default()));
        let mut opened = Opened {
            dns: dialled.dns,
            connect: dialled.connect,
            tls: None,
        };
        let (transport, protocol) = match self.endpoint.tls() {
            None => (Transport::Plain(dialled.stream), Protocol::Http1),
            Some(tls) => {
                limits.enter(Phase::Tls);
                let started = Instant::now();
                let (stream, protocol) = tls.connect(dialled.stream, deadline).await?;
                opened.tls = Some(started.elapsed());
                (Transport::Tls(Box::new(stream)), protocol)
            }
        };
        let speaks_http2 = protocol == Protocol::Http2 || settings.http == HttpVersion::Http2;
        if !speaks_http2 {
            return Http1::open(transport, opened, settings).await.map(Dialed::Http1);
        }
        let hello = Http2::open(transport, opened, self.streams, &self.background, self.pool.clone());
        let late = |_elapsed| CallError::new(Kind::Connect, "HTTP/2 did not begin within the connect timeout").in_phase(Phase::Connect);
        deadline.bound(hello).await.map_err(late)?.map(Dialed::Http2)
    }
}

/// What a dial brought.
pub(super) enum Dialed {
    Http1(Box<Http1>),
    Http2(Http2),
}
