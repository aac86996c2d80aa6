//! Where documents are checked: at once where that is short, on the compute pool where a loop could not wait for it.

use anabranch::{CallError, Compute, ComputeError, Deadline};
use bytes::Bytes;

use crate::json::{self, JsonFault, Limits};

/// Bytes of a document that is checked on the loop; checking takes less than a microsecond for each KiB of it.
const ON_LOOP: usize = 64 << 10;
/// Bytes of a document that is checked on the loop when the pool is full: one millisecond at the most, which is better than no answer.
const ON_LOOP_AT_NEED: usize = 1 << 20;

/// Checks that a document is JSON within the limits of one. A large one is checked in the turn of `label`.
///
/// # Errors
/// Outside: `busy` where the pool is full and the document too large to be checked here, `timeout` where its turn or its end did not
/// come in time. Inside: what is wrong with it.
pub(crate) async fn check(
    document: &Bytes,
    compute: &Compute,
    label: &str,
    deadline: Deadline,
) -> Result<Result<(), JsonFault>, CallError> {
    if document.len() <= ON_LOOP {
        return Ok(here(document));
    }
    // In a box, so that the many small documents do not carry its size.
    Box::pin(on_pool(document, compute, label, deadline)).await
}

async fn on_pool(document: &Bytes, compute: &Compute, label: &str, deadline: Deadline) -> Result<Result<(), JsonFault>, CallError> {
    let shared = document.clone();
    match compute.run(label, deadline, move |_job| here(&shared)).await {
        Err(ComputeError::Busy) if document.len() <= ON_LOOP_AT_NEED => Ok(here(document)),
        checked => Ok(checked?),
    }
}

fn here(document: &[u8]) -> Result<(), JsonFault> {
    json::validate(document, &Limits::default()).map(|_shape| ())
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::Duration;

    use anabranch::compute::ComputeCounts;
    use anabranch::{ComputeSettings, Kind};

    use super::*;

    fn document(bytes: usize) -> Bytes {
        Bytes::from(format!("\"{}\"", "x".repeat(bytes - 2)))
    }

    fn one_thread(queue: usize) -> Compute {
        Compute::new(ComputeSettings {
            threads: 1,
            queue_per_thread: queue,
            limit: Duration::from_secs(60),
        })
    }

    fn soon() -> Deadline {
        Deadline::after(Duration::from_secs(10))
    }

    #[tokio::test]
    async fn small_documents_stay_on_the_loop_and_large_ones_leave_it() {
        let compute = one_thread(8);
        for (bytes, jobs) in [(2, 0), (ON_LOOP, 0), (ON_LOOP + 1, 1), (5 << 20, 2)] {
            assert!(check(&document(bytes), &compute, "here", soon()).await.unwrap().is_ok());
            assert_eq!(compute.counts().submitted, jobs, "{bytes} bytes");
        }
        let broken = Bytes::from(format!("[{}", "1,".repeat(ON_LOOP)));
        let fault = check(&broken, &compute, "here", soon()).await.unwrap().unwrap_err();
        assert_eq!(fault.at, broken.len());
    }

    #[tokio::test]
    async fn when_the_pool_is_full_what_takes_a_millisecond_is_checked_here() {
        let compute = one_thread(1);
        let (open, gate) = mpsc::sync_channel::<()>(0);
        let held = compute.run("other", soon(), move |_job| gate.recv());
        let waits = compute.run("other", soon(), |_job| ());
        // The first must run before the second is handed in, so that the second is all that the queue holds.
        let second = async {
            until(&compute, |counts| counts.running == 1).await;
            waits.await
        };
        let checks = async {
            until(&compute, |counts| counts.running == 1 && counts.waiting == 1).await;
            let short = check(&document(ON_LOOP_AT_NEED), &compute, "here", soon()).await;
            assert!(short.unwrap().is_ok());
            let refused = check(&document(ON_LOOP_AT_NEED + 1), &compute, "here", soon()).await;
            assert_eq!(refused.unwrap_err().kind(), Kind::Busy);
            drop(open);
        };
        let (_, second, ()) = tokio::join!(held, second, checks);
        assert!(second.is_ok());
    }

    async fn until(compute: &Compute, holds: impl Fn(ComputeCounts) -> bool) {
        while !holds(compute.counts()) {
            tokio::task::yield_now().await;
        }
    }

    /// The loop goes on while a document waits for a thread.
    #[tokio::test]
    async fn a_document_that_waits_holds_nobody_up() {
        let compute = one_thread(8);
        let (open, gate) = mpsc::sync_channel::<()>(0);
        let held = compute.run("other", soon(), move |_job| gate.recv());
        let large = document(2 << 20);
        let late = async {
            let checked = check(&large, &compute, "here", Deadline::after(Duration::from_millis(50))).await;
            assert_eq!(checked.unwrap_err().kind(), Kind::Timeout);
            assert!(check(&document(100), &compute, "here", soon()).await.unwrap().is_ok());
            drop(open);
        };
        let (held, ()) = tokio::join!(held, late);
        assert!(held.is_ok());
        assert_eq!(compute.counts().dropped, 1, "it never ran");
    }
}
