//! A database being set up: its limits and how it is reached.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::connect::{BadDatabase, ConnectLimits, Connector};
use super::pool::{Pool, PoolLimits};
use super::{Postgres, Shared, SqlSettings};
use crate::client::{Dial, Resolver, TcpDial, TlsSettings};
use crate::policy::Budget;

/// A [`Postgres`] being set up.
pub struct PostgresBuilder {
    name: Arc<str>,
    url: String,
    pool: PoolLimits,
    queue: Option<usize>,
    limits: ConnectLimits,
    tls: TlsSettings,
    dial: Option<Arc<dyn Dial>>,
    settings: SqlSettings,
}

impl PostgresBuilder {
    pub(super) fn new(name: &str, url: &str) -> Self {
        PostgresBuilder {
            name: Arc::from(name),
            url: url.to_owned(),
            pool: PoolLimits {
                sessions: 10,
                queue: 10,
                queue_wait: Duration::from_millis(250),
                idle_timeout: Duration::from_secs(300),
                max_lifetime: Duration::from_secs(1800),
            },
            queue: None,
            limits: ConnectLimits {
                dns: Duration::from_secs(2),
                connect: Duration::from_secs(1),
            },
            tls: TlsSettings::default(),
            dial: None,
            settings: SqlSettings::default(),
        }
    }

    /// Sessions, over all threads; at least 1, 10 unless said.
    pub fn pool(mut self, sessions: usize) -> Self {
        self.pool.sessions = sessions.clamp(1, 10_000);
        self
    }

    /// Calls that may wait for a session; as many as there may be sessions unless said.
    pub fn queue(mut self, max: usize) -> Self {
        self.queue = Some(max);
        self
    }

    /// The longest wait for a session in use by others; 250 ms unless said, and never more than a quarter of what is left.
    pub fn queue_wait(mut self, limit: Duration) -> Self {
        self.pool.queue_wait = limit;
        self
    }

    /// How long a session may rest, 5 minutes unless said; and the age at which it is not used again, 30 minutes unless said.
    pub fn lifetimes(mut self, idle: Duration, max: Duration) -> Self {
        (self.pool.idle_timeout, self.pool.max_lifetime) = (idle, max);
        self
    }

    /// Opening a session: connection, TLS and login; 1 s unless said, and `connect_timeout` of the URL comes first.
    pub fn connect_timeout(mut self, limit: Duration) -> Self {
        self.limits.connect = limit;
        self
    }

    /// How the server is verified.
    pub fn tls(mut self, settings: TlsSettings) -> Self {
        self.tls = settings;
        self
    }

    /// Opens streams by this in place of TCP with the system's resolver. Unix sockets of the URL are opened as they are.
    pub fn dial(mut self, dial: Arc<dyn Dial>) -> Self {
        self.dial = Some(dial);
        self
    }

    /// How statements are sent unless they say otherwise.
    pub fn settings(mut self, settings: SqlSettings) -> Self {
        self.settings = settings;
        self
    }

    /// Makes the source. Nothing is opened.
    ///
    /// # Errors
    /// As [`Postgres::new`].
    pub fn build(self) -> Result<Postgres, BadDatabase> {
        let dial = self.dial.unwrap_or_else(|| Arc::new(TcpDial::new(Resolver::system())));
        let connector = Connector::new(&self.url, &self.tls, dial, self.limits)?;
        let pool = PoolLimits {
            queue: self.queue.unwrap_or(self.pool.sessions),
            ..self.pool
        };
        Ok(Postgres(Arc::new(Shared {
            name: self.name,
            pool: Pool::new(connector, pool),
            budget: Budget::new(),
            settings: self.settings,
        })))
    }
}

impl fmt::Debug for PostgresBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresBuilder").field("name", &self.name).finish_non_exhaustive()
    }
}
