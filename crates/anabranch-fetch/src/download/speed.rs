//! The least speed of a connection: fewer bytes than that over a while, and it is given up.

use std::time::Duration;

use anabranch::client::StreamedResponse;
use anabranch::{CallError, Deadline};
use bytes::Bytes;
use tokio::time::Instant;

use super::getting::in_body;
use crate::Outcome;
use crate::http::failure::Failed;

/// The least speed of a connection.
pub(super) struct Speed {
    least: Option<(u64, Duration)>,
    since: Instant,
    /// Bytes that had come then.
    bytes: u64,
}

impl Speed {
    pub(super) fn new(least: Option<(u64, Duration)>) -> Self {
        Speed {
            least,
            since: Instant::now(),
            bytes: 0,
        }
    }

    /// Counts from here: the time before was not the peer's.
    pub(super) fn begin_again(&mut self, body: &StreamedResponse) {
        self.since = Instant::now();
        self.bytes = body.facts().wire_bytes;
    }

    /// The next piece of a body, if it comes fast enough.
    pub(super) async fn piece(&mut self, body: &mut StreamedResponse) -> Result<Option<Bytes>, Failed> {
        let failed = |error: CallError| Failed::of(&error);
        let Some((least, over)) = self.least else {
            return body.piece().await.map_err(failed);
        };
        loop {
            let end = Deadline::at(self.since + over);
            let piece = end.bound(body.piece()).await;
            if end.has_passed() {
                let came = body.facts().wire_bytes - self.bytes;
                if came < least && !matches!(piece, Ok(Ok(None))) {
                    return Err(too_slow(came, over));
                }
                self.begin_again(body);
            }
            if let Ok(piece) = piece {
                return piece.map_err(failed);
            }
        }
    }
}

fn too_slow(came: u64, over: Duration) -> Failed {
    let message = format!("{came} bytes came in {over:?}, fewer than `--min-speed` asks for");
    let mut failed = in_body(Failed::ours(Outcome::TooSlow, "min_speed", message));
    failed.blames_host = true;
    failed
}
