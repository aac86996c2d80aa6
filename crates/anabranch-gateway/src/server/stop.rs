//! How the parts of a server learn that it stops, and how it learns that they have.

use tokio::sync::watch;

/// Held by whoever may stop a server. Dropping it stops the server too.
#[derive(Debug)]
pub struct StopHandle(watch::Sender<bool>);

/// Held by whatever stops: cheap to clone.
#[derive(Clone, Debug)]
pub struct Stop(watch::Receiver<bool>);

/// A handle and what listens to it.
pub fn stop() -> (StopHandle, Stop) {
    let (sender, receiver) = watch::channel(false);
    (StopHandle(sender), Stop(receiver))
}

impl StopHandle {
    /// Asks everything that listens to stop: no new requests; those under way may end.
    pub fn request(&self) {
        self.0.send_replace(true);
    }
}

impl Stop {
    /// Whether the stop was asked for.
    pub fn is_requested(&self) -> bool {
        *self.0.borrow() || self.0.has_changed().is_err()
    }

    /// Waits until it is.
    pub async fn requested(&mut self) {
        let _ = self.0.wait_for(|requested| *requested).await;
    }
}
