//! Setting a source up.

use std::fmt;
use std::sync::atomic::AtomicU64;
use std::sync::Arc;
use std::time::Duration;

use super::address::{Address, BadRedis};
use super::command::{self, Name};
use super::cluster::Cluster;
use super::connect::{ConnectLimits, Connector, Server};
use super::node::Node;
use super::{Redis, RedisSettings, Servers, Shared};
use crate::client::{Dial, Resolver, TcpDial, TlsSettings};
use crate::policy::{Budget, Limiter, Rate};

/// A [`Redis`] being set up.
#[derive(Clone)]
pub struct RedisBuilder {
    name: Arc<str>,
    url: String,
    allowed: Vec<String>,
    in_flight: usize,
    queue: Option<usize>,
    queue_wait: Duration,
    rate: Option<f64>,
    limits: ConnectLimits,
    max_lifetime: Duration,
    tls: TlsSettings,
    dial: Option<Arc<dyn Dial>>,
    settings: RedisSettings,
}

impl RedisBuilder {
    pub(super) fn new(name: &str, url: &str) -> Self {
        RedisBuilder {
            name: Arc::from(name),
            url: url.to_owned(),
            allowed: Vec::new(),
            in_flight: 256,
            queue: None,
            queue_wait: Duration::from_millis(250),
            rate: None,
            limits: ConnectLimits {
                dns: Duration::from_secs(2),
                connect: Duration::from_secs(1),
            },
            max_lifetime: Duration::from_secs(1800),
            tls: TlsSettings::default(),
            dial: None,
            settings: RedisSettings::default(),
        }
    }

    /// Lets a command be sent that is not [safe](super::is_safe): `KEYS`, `EVALSHA`, `PUBLISH`.
    pub fn allow(mut self, command: &str) -> Self {
        self.allowed.push(command.to_ascii_uppercase());
        self
    }

    /// Calls at once, over all threads; at least 1, 256 unless said. They share one connection for each client.
    pub fn in_flight(mut self, max: usize) -> Self {
        self.in_flight = max.max(1);
        self
    }

    /// Calls that may wait for a place; as many as may be in flight unless said.
    pub fn queue(mut self, max: usize) -> Self {
        self.queue = Some(max);
        self
    }

    /// The longest wait for a place in flight or a token; 250 ms unless said, and never more than a quarter of what is left.
    pub fn queue_wait(mut self, limit: Duration) -> Self {
        self.queue_wait = limit;
        self
    }

    /// Attempts a second, over all threads, with room for a burst of a tenth of a second.
    pub fn rate(mut self, per_second: f64) -> Self {
        self.rate = Some(per_second);
        self
    }

    /// Opening a connection: TCP, TLS and login; 1 s unless said.
    pub fn connect_timeout(mut self, limit: Duration) -> Self {
        self.limits.connect = limit;
        self
    }

    /// The age at which a connection gets no more calls, so that changes behind a name are seen; 30 minutes unless said.
    pub fn max_lifetime(mut self, limit: Duration) -> Self {
        self.max_lifetime = limit;
        self
    }

    /// How the server is verified, for `rediss` URLs.
    pub fn tls(mut self, settings: TlsSettings) -> Self {
        self.tls = settings;
        self
    }

    /// Opens streams by this in place of TCP with the system's resolver. Unix sockets are opened as they are.
    pub fn dial(mut self, dial: Arc<dyn Dial>) -> Self {
        self.dial = Some(dial);
        self
    }

    /// How commands are sent unless they say otherwise.
    pub fn settings(mut self, settings: RedisSettings) -> Self {
        self.settings = settings;
        self
    }

    /// Makes the source. Nothing is opened.
    ///
    /// # Errors
    /// The URL is none of Redis; the TLS settings cannot be used; a command cannot be allowed, because the connection is shared.
    pub fn build(self) -> Result<Redis, BadRedis> {
        for command in &self.allowed {
            if Name::new(command.as_bytes()).is_none() {
                return Err(BadRedis(format!(
                    "`{command}` cannot be allowed: expected the name of a command, without arguments"
                )));
            }
            if command::is_never(command) {
                return Err(BadRedis(format!(
                    "`{command}` cannot be allowed: it waits in the server or changes the connection, which all calls share"
                )));
            }
        }
        let address = Address::parse(&self.url)?;
        let dial = self.dial.unwrap_or_else(|| Arc::new(TcpDial::new(Resolver::system())));
        let connector = Connector::new(&address, &self.tls, dial, self.limits)?;
        let dials = Arc::new(AtomicU64::new(0));
        let mut places = address.places;
        let servers = match places.pop() {
            Some(place) if !address.is_cluster => {
                let server = Server::new(&Arc::new(connector), place)?;
                Servers::One(Node::new(server, self.max_lifetime, dials.clone()))
            }
            last => {
                places.extend(last);
                Servers::Cluster(Cluster::new(connector, places, self.max_lifetime, dials.clone())?)
            }
        };
        Ok(Redis(Arc::new(Shared {
            name: self.name,
            servers,
            allowed: self.allowed,
            in_flight: Limiter::new(self.in_flight, self.queue.unwrap_or(self.in_flight)),
            queue_wait: self.queue_wait,
            rate: self.rate.map(|per_second| Rate::per_second(per_second, None)),
            budget: Budget::new(),
            settings: self.settings,
            dials,
        })))
    }
}

impl fmt::Debug for RedisBuilder {
    /// Without the URL, which may have a password in it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisBuilder")
            .field("name", &self.name)
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_allowed_is_said() {
        for (command, why) in [
            ("blpop", "share"),
            ("SUBSCRIBE", "share"),
            ("CLIENT", "share"),
            ("CONFIG GET", "without arguments"),
            ("", "name of a command"),
        ] {
            let error = Redis::builder("hot", "redis://cache")
                .allow(command)
                .build()
                .expect_err(command)
                .to_string();
            assert!(error.contains(why), "{error}");
        }
        assert!(
            Redis::builder("hot", "redis://cache")
                .allow("keys")
                .allow("FT.SEARCH")
                .build()
                .is_ok()
        );
    }

    #[test]
    fn nothing_shows_the_password() {
        let builder = Redis::builder("hot", "redis://app:secret@cache");
        assert!(!format!("{builder:?}").contains("secret"));
        assert!(!format!("{:?}", builder.build().unwrap()).contains("secret"));
    }
}
