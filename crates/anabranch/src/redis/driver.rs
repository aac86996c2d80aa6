//! The task behind a link: one connection at a time, opened anew when it is lost, with growing rests where that fails.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{Either, select};
use tokio::time::Instant;

use super::connect::{Opened, Server};
use super::link::Link;
use super::session::{End, Session};
use crate::policy::Backoff;
use crate::{CallError, Deadline, Kind, Phase};

/// The bounds of the rest after a failed try; a server that comes back is found within the second.
const REST: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));
/// A connection that is lost sooner counts as a failed try, so that a server that accepts and hangs up is not dialled in a loop.
const SHORT_LIFE: Duration = Duration::from_secs(1);

/// A link's task. Dropped, at its end or before its beginning, it ends the link, and whoever finds that makes another one.
pub(super) struct Driver {
    pub(super) link: Arc<Link>,
    pub(super) server: Arc<Server>,
    pub(super) max_lifetime: Duration,
}

impl Driver {
    /// Keeps a connection up for as long as it is wanted, until the link is closed.
    pub(super) async fn run(self) {
        let link = &*self.link;
        let mut failures = 0;
        while link.wanted().await {
            link.dialing();
            let failure = match select(pin!(self.server.open()), pin!(link.until_closed())).await {
                Either::Left((Ok(opened), _)) => use_up(link, opened, self.max_lifetime).await,
                Either::Left((Err(error), _)) => Some(error),
                Either::Right(_) => return,
            };
            let Some(error) = failure else {
                failures = 0;
                continue;
            };
            failures += 1;
            let rest = rest(failures);
            link.failed(&error, rest);
            let _closed = Deadline::after(rest).bound(link.until_closed()).await;
        }
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        self.link.count_unanswered(0);
        self.link.end();
    }
}

/// Serves over a connection until it ends. None if the next one may be opened at once; else why it should rest before.
async fn use_up(link: &Link, opened: Opened, max_lifetime: Duration) -> Option<CallError> {
    let born = Instant::now();
    link.opened();
    let end = Session::new(link, opened, max_lifetime).run().await;
    link.count_unanswered(0);
    let failed = |what: &str| Some(CallError::new(Kind::Connect, what).in_phase(Phase::Connect));
    match end {
        End::Silent => failed("the server was silent for too long, and the connection to it was given up"),
        End::Lost if born.elapsed() < SHORT_LIFE => failed("the connection was lost soon after it was opened"),
        End::Lost | End::Retired => {
            link.lost();
            None
        }
    }
}

/// Between half of the bound and all of it: never at once, and no two clients in step.
fn rest(failures: u32) -> Duration {
    let backoff = Backoff::new(REST.0, REST.1);
    (backoff.longest(failures) + backoff.wait(failures)) / 2
}
