//! The age and the rest of an HTTP/1.1 connection: how long it may lie idle, and until when it serves at all.

use std::time::Duration;

use tokio::time::Instant;

use super::connection::Opened;
use super::endpoint::WireSettings;

/// When a connection was opened and how long it may rest.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rest {
    /// What opening it took.
    pub(super) opened: Opened,
    born: Instant,
    /// When it came to rest.
    pub(super) since: Instant,
    /// Past this the peer may close it at any moment. Set when it comes to rest.
    pub(super) until: Instant,
    /// Whether it served an exchange before.
    pub(super) is_reused: bool,
}

impl Rest {
    /// Of a connection that was opened now. If its caller left meanwhile it waits for its first exchange like one between two.
    pub(super) fn new(opened: Opened, settings: &WireSettings) -> Self {
        let now = Instant::now();
        Rest {
            opened,
            born: now,
            since: now,
            until: after(now, settings.idle_timeout.min(settings.max_lifetime)),
            is_reused: false,
        }
    }

    /// Begins a rest; `false` if it would be over at once. The peer's `Keep-Alive: timeout=n` counts as n - 1 seconds, so that we
    /// close first.
    pub(super) fn begin(&mut self, keep_alive: Option<Duration>, settings: &WireSettings, now: Instant) -> bool {
        let idle = keep_alive.map_or(settings.idle_timeout, |timeout| timeout.saturating_sub(Duration::from_secs(1)));
        self.until = after(now, idle).min(after(self.born, settings.max_lifetime));
        self.since = now;
        self.is_reused = true;
        self.until > now
    }
}

/// An instant later, by 30 years at the most: a peer may say any number for its timeout, and an instant out of range is a panic.
fn after(start: Instant, lasts: Duration) -> Instant {
    start + lasts.min(Duration::from_secs(30 * 365 * 24 * 60 * 60))
}
