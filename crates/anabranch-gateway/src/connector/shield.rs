//! Calls that must not be made twice: once begun they run to their own end, whatever becomes of the request.

use std::future::Future;

use anabranch::{CallError, CallReport, Deadline, Kind, Settled};

use crate::gateway::Core;

/// Does the work in the background scope of the client and waits for it. Dropping this future leaves the work alone; it ends by the
/// deadline.
pub(super) async fn shielded<T: Send + 'static>(
    core: &Core,
    deadline: Deadline,
    work: impl Future<Output = (Result<T, CallError>, CallReport)> + Send + 'static,
) -> (Result<T, CallError>, CallReport) {
    let error = match core.client().background().shield("write", deadline.left(), work).await {
        Settled::Done(done) => return done,
        Settled::Panicked(message) => CallError::new(Kind::Panic, message),
        Settled::TimedOut => CallError::new(Kind::Timeout, "no answer before the deadline"),
        Settled::Cancelled(_) => CallError::new(Kind::Cancelled, "the gateway stopped"),
    };
    (Err(error), CallReport::default())
}
