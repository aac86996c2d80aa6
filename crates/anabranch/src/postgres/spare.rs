//! A session with its place in the pool, and the place of a session among those that are open.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::OwnedSemaphorePermit;

use super::pool::Pool;
use super::session::Session;

/// The right to use one session; dropping it lets the next caller in.
pub(super) type Place = OwnedSemaphorePermit;

/// A place among the open sessions, held by the session.
pub(super) struct OpenSlot(Arc<AtomicUsize>);

impl OpenSlot {
    pub(super) fn take(open: &Arc<AtomicUsize>) -> Self {
        open.fetch_add(1, Ordering::Relaxed);
        OpenSlot(open.clone())
    }
}

impl Drop for OpenSlot {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A session with its place. Dropped, it goes back to rest.
pub(super) struct Spare {
    pool: Arc<Pool>,
    /// Gone only while this is taken apart or dropped.
    session: Option<Box<Session>>,
    place: Option<Place>,
}

impl Spare {
    pub(super) fn new(pool: Arc<Pool>, session: Box<Session>, place: Place) -> Self {
        Spare {
            pool,
            session: Some(session),
            place: Some(place),
        }
    }

    pub(super) fn session(&mut self) -> &mut Session {
        self.session.as_mut().expect("it is taken only by what consumes it")
    }

    /// Takes it apart, for one that may not go back as it is. The session has to go before the place.
    pub(super) fn into_parts(mut self) -> (Box<Session>, Place, Arc<Pool>) {
        let session = self.session.take().expect("it is taken only here");
        let place = self.place.take().expect("it is taken only here");
        (session, place, self.pool.clone())
    }
}

impl Drop for Spare {
    fn drop(&mut self) {
        if let Some(session) = self.session.take() {
            self.pool.give_back(session);
        }
        self.place = None;
    }
}
