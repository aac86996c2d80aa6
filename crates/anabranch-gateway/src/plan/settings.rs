//! Settings that a call, its source and `defaults` share: the nearest wins. What is built in stands here.

use std::time::Duration;

use super::place::fault;
use crate::config::faults::Faults;
use crate::config::model::CallSettings;
use crate::config::yaml::Spanned;

/// Of a whole reply.
pub(super) const DEADLINE: Duration = Duration::from_secs(5);
/// Of a proxy, which has limits of idleness instead: none.
pub(super) const NO_DEADLINE: Duration = Duration::from_secs(30 * 365 * 24 * 3600);
/// Attempts after the first, where a second one is safe.
pub(super) const RETRY: u32 = 1;
/// The largest answer of a source, decoded, in bytes.
pub(super) const MAX_BODY: u64 = 8 << 20;
/// The largest body of a client's request, in bytes.
pub(super) const REQUEST_BODY: u64 = 1 << 20;
/// Between two pieces of an answer's body.
pub(super) const BODY_IDLE: Duration = Duration::from_secs(5);
/// Connecting, the TLS handshake included.
pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// Attempts at once of one source.
pub(super) const IN_FLIGHT: u32 = 64;
/// Commands at once of one Redis server, which one connection carries.
pub(super) const REDIS_IN_FLIGHT: u32 = 256;
/// Sessions of one Postgres database, over all cores.
pub(super) const SESSIONS: u32 = 10;
/// Processes of one program, over all cores.
pub(super) const PROCESSES: u32 = 1;
/// Jobs that may wait, for each process.
pub(super) const QUEUE_PER_PROCESS: u32 = 64;
/// Up to the first line of a process.
pub(super) const START: Duration = Duration::from_secs(5);
/// Jobs after which a process is replaced.
pub(super) const RECYCLE: u32 = 1_000;
/// Waiting for a place in flight.
pub(super) const QUEUE_WAIT: Duration = Duration::from_millis(250);
/// Idle connections kept per endpoint and core.
pub(super) const POOL: u32 = 64;
/// Calls that one request may start.
pub(super) const MAX_CALLS: u32 = 1_000;
/// Requests at once of a call that is made for a list.
pub(super) const WIDTH: u32 = 8;
/// Items that such a list may have.
pub(super) const MAX_ITEMS: u32 = 1_000;

/// What the kept answers of all calls may take together, in bytes.
pub(super) const CACHE_SIZE: u64 = 64 << 20;

/// The three places where a setting may stand, nearest first.
pub(super) struct Layers<'a> {
    /// The call's own.
    pub(super) call: &'a CallSettings,
    /// Those of its source.
    pub(super) source: Option<&'a CallSettings>,
    /// Those of `defaults`.
    pub(super) defaults: &'a CallSettings,
}

impl<'a> Layers<'a> {
    /// Finds the nearest that says something.
    pub(super) fn nearest<T: Copy>(&self, get: fn(&'a CallSettings) -> &'a Option<Spanned<T>>) -> Option<T> {
        let inherited = || {
            self.source
                .and_then(|source| get(source).as_ref())
                .or_else(|| get(self.defaults).as_ref())
        };
        get(self.call).as_ref().or_else(inherited).map(|setting| setting.value)
    }

    /// Finds a limit of time, never above the route's deadline: one written on the call above it is a fault, an inherited one is
    /// cut in silence.
    pub(super) fn limit(
        &self,
        name: &str,
        get: fn(&'a CallSettings) -> &'a Option<Spanned<Duration>>,
        deadline: Duration,
        faults: &mut Faults,
    ) -> Option<Duration> {
        if let Some(own) = get(self.call).as_ref().filter(|own| own.value > deadline) {
            let what = format!("`{name}` of {:?} can never pass: the route ends after {deadline:?}", own.value);
            fault(
                faults,
                own,
                what,
                format!("`{name}` not above the route's `deadline`, or leave it out"),
            );
        }
        self.nearest(get).map(|limit| limit.min(deadline))
    }
}
