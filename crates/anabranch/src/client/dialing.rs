//! Opening a connection, from nothing to HTTP: stream, TLS, protocol.

use std::sync::{Arc, Weak};

use tokio::time::Instant;

use super::connection::Opened;
use super::dial::{Dial, DialLimits, Dialled};
use super::endpoint::{Endpoint, HttpVersion};
use super::http1::Http1;
use super::http2::Http2;
use super::pool::Pool;
use super::proxy::ProxyKind;
use super::tls::Protocol;
use super::tunnel::{self, Target};
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
        let dialled = Deadline::after(at_most).bound(self.dial(&limits)).await.map_err(late)??;
        let deadline = Deadline::after(settings.connect_timeout.saturating_sub(dialled.connect.unwrap_or_default()));
        let mut opened = Opened {
            remote: dialled.stream.remote(),
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
            return Http1::connect(transport, opened, settings).await.map(Dialed::Http1);
        }
        let hello = Http2::open(transport, opened, self.streams, &self.background, self.pool.clone());
        let late = |_elapsed| CallError::new(Kind::Connect, "HTTP/2 did not begin within the connect timeout").in_phase(Phase::Connect);
        deadline.bound(hello).await.map_err(late)?.map(Dialed::Http2)
    }

    /// A stream to the endpoint, or to a proxy that passes on what it says.
    async fn dial(&self, limits: &DialLimits) -> Result<Dialled, CallError> {
        let (endpoint, settings) = (&self.endpoint, self.endpoint.settings());
        if let Some(proxy) = endpoint.absolute_form_reader() {
            return self.dial.dial(proxy.host(), proxy.port(), limits.clone()).await;
        }
        let guarded = limits.clone().guarded(settings.guard.clone());
        let Some(proxy) = endpoint.tunnel() else {
            return self.dial.dial(endpoint.host(), endpoint.port(), guarded).await;
        };
        let started = Instant::now();
        let address = match settings.guard.is_some() || proxy.kind() == ProxyKind::Socks {
            true => self.dial.lookup(endpoint.host(), endpoint.port(), guarded).await?,
            false => None,
        };
        if settings.guard.is_some() && address.is_none() {
            return Err(CallError::new(Kind::PrivateAddress, "the address behind the proxy cannot be judged").in_phase(Phase::Dns));
        }
        let looked_up = address.map(|_| started.elapsed());
        let mut dialled = self.dial.dial(proxy.host(), proxy.port(), limits.clone()).await?;
        let opening = Instant::now();
        let left = settings.connect_timeout.saturating_sub(dialled.connect.unwrap_or_default());
        let target = Target {
            host: endpoint.host(),
            address,
            port: endpoint.port(),
        };
        let late =
            |_elapsed| CallError::new(Kind::Connect, format!("no tunnel through the proxy {proxy} in time")).in_phase(Phase::Connect);
        Deadline::after(left)
            .bound(tunnel::open(&mut dialled.stream, proxy, target))
            .await
            .map_err(late)??;
        dialled.connect = Some(dialled.connect.unwrap_or_default() + opening.elapsed());
        dialled.dns = [looked_up, dialled.dns].into_iter().flatten().reduce(|one, other| one + other);
        Ok(dialled)
    }
}

/// What a dial brought.
pub(super) enum Dialed {
    Http1(Box<Http1>),
    Http2(Http2),
}
