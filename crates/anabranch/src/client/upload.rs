//! The body of a request that is not there as a whole: pieces from somewhere, sent as they come.

use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::stream::{self, Stream};
use http_body::{Body, Frame, SizeHint};
use http_body_util::Full;
use tokio::sync::mpsc;

use super::watch::{Stage, Watch};
use crate::{CallError, Kind, Phase};

/// Pieces that a writer may be ahead of the wire.
const AHEAD: usize = 2;

type Pieces = Pin<Box<dyn Stream<Item = Result<Bytes, CallError>> + Send>>;

/// A request's body that is sent piece by piece; of any size, never held as a whole. Of its pieces one at a time is in memory here.
pub struct Upload {
    pieces: Pieces,
    length: Option<u64>,
    taken: u64,
    is_over: bool,
    watch: Arc<Watch>,
}

impl Upload {
    /// A body out of a stream. With a length it is sent under `Content-Length`, and a source that gives more or less is a
    /// [`Kind::Value`]; without one it is sent in chunks, or as HTTP/2 has it.
    ///
    /// An error of the source aborts the request and is returned as it is.
    pub fn new(length: Option<u64>, pieces: impl Stream<Item = Result<Bytes, CallError>> + Send + 'static) -> Self {
        Upload {
            pieces: Box::pin(pieces),
            length,
            taken: 0,
            is_over: length == Some(0),
            watch: Arc::new(Watch::new(length == Some(0))),
        }
    }

    /// A body that somebody writes who runs beside the request. At most 2 pieces wait to be sent.
    pub fn channel(length: Option<u64>) -> (UploadWriter, Self) {
        let (sender, mut receiver) = mpsc::channel(AHEAD);
        let end = Arc::new(OnceLock::new());
        let writer = UploadWriter { sender, end: end.clone() };
        let pieces = stream::poll_fn(move |cx| {
            receiver.poll_recv(cx).map(|piece| match (piece, end.get()) {
                (Some(piece), _) => Some(Ok(piece)),
                (None, Some(Ok(()))) => None,
                (None, Some(Err(error))) => Some(Err(CallError::clone(error))),
                (None, None) => Some(Err(CallError::new(Kind::Cancelled, "the body's writer left before its end"))),
            })
        });
        (writer, Upload::new(length, pieces))
    }

    /// The length, where it is known.
    pub fn length(&self) -> Option<u64> {
        self.length
    }

    /// Whether all of it was taken.
    pub(super) fn is_over(&self) -> bool {
        self.is_over
    }

    pub(super) fn watch(&self) -> &Arc<Watch> {
        &self.watch
    }

    /// The next piece, never empty. Not to be polled after its error.
    pub(super) fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, CallError>>> {
        while !self.is_over {
            let Poll::Ready(piece) = self.pieces.as_mut().poll_next(cx) else {
                self.watch.set(Stage::Source, false);
                return Poll::Pending;
            };
            match piece {
                Some(Ok(piece)) if piece.is_empty() => {}
                Some(Ok(piece)) => {
                    self.taken += piece.len() as u64;
                    if self.length.is_some_and(|length| self.taken > length) {
                        return self.fail(wrong_length("more"));
                    }
                    // Nobody asks again behind a length that is reached.
                    self.is_over = self.length == Some(self.taken);
                    self.watch.set(if self.is_over { Stage::Over } else { Stage::Peer }, true);
                    return Poll::Ready(Some(Ok(piece)));
                }
                Some(Err(error)) => return self.fail(error),
                None if self.length.is_some() => return self.fail(wrong_length("fewer")),
                None => {
                    self.is_over = true;
                    self.watch.set(Stage::Over, true);
                }
            }
        }
        Poll::Ready(None)
    }

    fn fail(&mut self, error: CallError) -> Poll<Option<Result<Bytes, CallError>>> {
        self.is_over = true;
        self.watch.fail(error.clone());
        Poll::Ready(Some(Err(error)))
    }
}

impl std::fmt::Debug for Upload {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Upload")
            .field("length", &self.length)
            .field("taken", &self.taken)
            .finish_non_exhaustive()
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        self.watch.set_gone();
    }
}

fn wrong_length(what: &str) -> CallError {
    CallError::new(Kind::Value, format!("the body to send has {what} bytes than its length")).in_phase(Phase::FirstByte)
}

/// Writes an [`Upload`]. Dropped before [`finish`](UploadWriter::finish), it aborts the request.
#[derive(Debug)]
pub struct UploadWriter {
    sender: mpsc::Sender<Bytes>,
    end: Arc<OnceLock<Result<(), CallError>>>,
}

/// Nobody sends the body any more: the request has ended, for example because the peer answered without waiting for all of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UploadClosed;

impl std::fmt::Display for UploadClosed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the request has ended before its body")
    }
}

impl std::error::Error for UploadClosed {}

impl UploadWriter {
    /// Hands over the next piece; waits while two are waiting. Dropping the future before it is ready hands over nothing.
    ///
    /// # Errors
    /// The request has ended.
    pub async fn write(&mut self, piece: Bytes) -> Result<(), UploadClosed> {
        self.sender.send(piece).await.map_err(|_closed| UploadClosed)
    }

    /// Says that this was all.
    pub fn finish(self) {
        let _first = self.end.set(Ok(()));
    }

    /// Aborts the request with this error.
    pub fn fail(self, error: CallError) {
        let _first = self.end.set(Err(error));
    }
}

/// A request's body as hyper takes it.
pub(super) enum Outgoing {
    Whole(Full<Bytes>),
    Upload(Box<Upload>),
}

impl Outgoing {
    /// The upload, if it is one of which nothing was taken.
    pub(super) fn into_untouched(self) -> Option<Upload> {
        match self {
            Outgoing::Upload(upload) if !upload.watch.was_taken() => Some(*upload),
            _ => None,
        }
    }
}

impl Body for Outgoing {
    type Data = Bytes;
    /// Only what HTTP/2 is to tell the peer; why it failed stands in the watch.
    type Error = h2::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, h2::Error>>> {
        match self.get_mut() {
            Outgoing::Whole(body) => Pin::new(body).poll_frame(cx).map_err(|never| match never {}),
            Outgoing::Upload(upload) => {
                if upload.watch.is_aborted(cx) {
                    return Poll::Ready(Some(Err(h2::Reason::CANCEL.into())));
                }
                let piece = std::task::ready!(upload.poll_piece(cx));
                Poll::Ready(piece.map(|piece| piece.map(Frame::data).map_err(|_told_by_watch| h2::Reason::CANCEL.into())))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Outgoing::Whole(body) => body.is_end_stream(),
            Outgoing::Upload(upload) => upload.is_over && upload.watch.stage() == Stage::Over,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Outgoing::Whole(body) => body.size_hint(),
            Outgoing::Upload(upload) => match upload.length {
                Some(length) => SizeHint::with_exact(length - upload.taken.min(length)),
                None => SizeHint::default(),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::poll_fn;

    async fn all(upload: &mut Upload) -> Vec<Result<Bytes, Kind>> {
        let mut pieces = Vec::new();
        while let Some(piece) = poll_fn(|cx| upload.poll_piece(cx)).await {
            pieces.push(piece.map_err(|error| error.kind()));
        }
        pieces
    }

    fn of(length: Option<u64>, pieces: &[&'static str]) -> Upload {
        let pieces: Vec<_> = pieces.iter().map(|piece| Ok(Bytes::from_static(piece.as_bytes()))).collect();
        Upload::new(length, stream::iter(pieces))
    }

    #[tokio::test]
    async fn empty_pieces_are_left_out_and_the_length_is_held() {
        let (ab, c) = (Ok(Bytes::from_static(b"ab")), Ok(Bytes::from_static(b"c")));
        assert_eq!(all(&mut of(None, &["ab", "", "c"])).await, [ab.clone(), c.clone()]);
        assert_eq!(all(&mut of(Some(3), &["ab", "c"])).await, [ab.clone(), c]);
        assert_eq!(all(&mut of(Some(4), &["ab"])).await, [ab.clone(), Err(Kind::Value)]);
        assert_eq!(all(&mut of(Some(1), &["ab"])).await, [Err(Kind::Value)]);
        assert_eq!(all(&mut of(Some(0), &[])).await, []);
    }

    #[tokio::test]
    async fn a_writer_that_leaves_early_is_no_end() {
        let (mut writer, mut upload) = Upload::channel(None);
        writer.write(Bytes::from_static(b"a")).await.unwrap();
        writer.finish();
        assert_eq!(all(&mut upload).await, [Ok(Bytes::from_static(b"a"))]);

        let (mut writer, mut upload) = Upload::channel(None);
        writer.write(Bytes::from_static(b"a")).await.unwrap();
        drop(writer);
        assert_eq!(all(&mut upload).await, [Ok(Bytes::from_static(b"a")), Err(Kind::Cancelled)]);

        let (writer, mut upload) = Upload::channel(None);
        writer.fail(CallError::new(Kind::TooLarge, "too much"));
        assert_eq!(all(&mut upload).await, [Err(Kind::TooLarge)]);
        assert!(upload.watch().was_taken());
        assert_eq!(upload.watch().take_fault().unwrap().kind(), Kind::TooLarge);

        let (mut writer, upload) = Upload::channel(None);
        drop(upload);
        assert_eq!(writer.write(Bytes::from_static(b"a")).await, Err(UploadClosed));
    }

    #[tokio::test]
    async fn the_stage_says_who_is_waited_for() {
        let (mut writer, mut upload) = Upload::channel(None);
        let watch = upload.watch().clone();
        assert_eq!(watch.stage(), Stage::Peer);
        assert!(poll_fn(|cx| Poll::Ready(upload.poll_piece(cx).is_pending())).await);
        assert_eq!((watch.stage(), watch.was_taken()), (Stage::Source, false));
        let waiting = watch.stamp();
        writer.write(Bytes::from_static(b"a")).await.unwrap();
        assert!(poll_fn(|cx| upload.poll_piece(cx)).await.unwrap().is_ok());
        assert_eq!((watch.stage(), watch.was_taken()), (Stage::Peer, true));
        assert_ne!(watch.stamp(), waiting);
        writer.finish();
        assert!(poll_fn(|cx| upload.poll_piece(cx)).await.is_none());
        assert_eq!(watch.stage(), Stage::Over);
    }
}
