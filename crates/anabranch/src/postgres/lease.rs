//! A session in the hands of one caller, and how it goes back: as it is, freed of what it was doing, or not at all.

use std::time::Duration;

use super::answer::{Answer, Asked};
use super::fault::{After, Failure};
use super::pool::Doing;
use super::session::{Session, Trace};
use super::spare::Spare;
use crate::client::Timings;
use crate::{CallError, Client, Deadline, Kind, Marks};

/// How long freeing a session may take: a connection to ask the server to stop, and the answers until it has.
const FREEING: Duration = Duration::from_secs(2);

/// A session in use. Dropping it gives it back: at once where nothing is left in it, after the server was asked to stop and has
/// where it was busy. What breaks is closed. None of this holds up the one who drops it.
pub(super) struct Lease<'a> {
    client: &'a Client,
    spare: Option<Spare>,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// As it was taken.
    Clean,
    /// Free, but with a transaction, a setting or the like left in it.
    Traced,
    /// A statement is under way.
    Busy,
    Broken,
}

impl<'a> Lease<'a> {
    pub(super) fn new(client: &'a Client, spare: Spare) -> Self {
        Lease {
            client,
            spare: Some(spare),
            state: State::Clean,
        }
    }

    /// Runs a statement. Dropping the future leaves the session busy; the lease then knows what to do.
    pub(super) async fn run(
        &mut self,
        asked: Asked<'_>,
        deadline: Deadline,
        marks: &Marks,
        timings: &mut Timings,
    ) -> Result<Answer, CallError> {
        self.work(async |session| session.run(asked, deadline.left(), marks, timings).await)
            .await
    }

    /// Does anything with the session that ends with it free again, unless the failure says otherwise.
    pub(super) async fn work<T>(&mut self, work: impl AsyncFnOnce(&mut Session) -> (Result<T, Failure>, Trace)) -> Result<T, CallError> {
        let before = self.begin()?;
        let session = self.spare.as_mut().expect("it is there until the drop").session();
        let (result, trace) = work(session).await;
        let after = if trace == Trace::Left { State::Traced } else { before };
        self.state = match &result {
            Ok(_) => after,
            Err(failure) => match failure.after {
                After::Usable => after,
                After::Busy => State::Busy,
                After::Broken => State::Broken,
            },
        };
        result.map_err(|failure| failure.error)
    }

    /// Marks the session as busy, and says what it was before.
    fn begin(&mut self) -> Result<State, CallError> {
        match self.state {
            State::Clean | State::Traced => Ok(std::mem::replace(&mut self.state, State::Busy)),
            State::Busy => Err(CallError::new(
                Kind::Cancelled,
                "the session is busy with a statement that was given up",
            )),
            State::Broken => Err(CallError::new(Kind::Reset, "the session has ended")),
        }
    }

    /// The session, for uses that nobody here can follow: it is reset before anybody else gets it.
    pub(super) fn raw(&mut self) -> &mut Session {
        if self.state == State::Clean {
            self.state = State::Traced;
        }
        self.spare.as_mut().expect("it is there until the drop").session()
    }
}

impl Drop for Lease<'_> {
    fn drop(&mut self) {
        let Some(spare) = self.spare.take() else { return };
        let doing = match self.state {
            State::Clean => return drop(spare),
            State::Traced => Doing::Nothing,
            State::Busy => Doing::Statement,
            State::Broken => {
                let (session, place, pool) = spare.into_parts();
                pool.gave_up(&session);
                drop(session);
                return drop(place);
            }
        };
        let (session, place, pool) = spare.into_parts();
        // Refused or ended from outside, the task drops the session, which closes it.
        self.client.background().spawn(
            "freeing a postgres session",
            Deadline::after(FREEING),
            pool.free(session, place, doing),
        );
    }
}
