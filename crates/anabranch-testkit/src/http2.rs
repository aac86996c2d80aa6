//! Serves an upstream over HTTP/2 with prior knowledge, by hyper. Faults of HTTP/1.1's own making reset the stream.

#![expect(clippy::disallowed_methods, reason = "a scripted upstream sleeps for as long as the script says")]

use crate::{Ended, Fault, Seen, Served, answer::Answer, flow::Flow, request::BODY_MAX, served::Exchange};
use bytes::Bytes;
use http::{HeaderName, HeaderValue, Request, Response, StatusCode};
use http_body_util::{BodyExt, Limited};
use hyper::{
    body::{Body, Frame, Incoming},
    rt::Executor,
    server::conn::http2,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use std::{
    future, io,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, ready},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    task::JoinSet,
    time::{Instant, Sleep},
};

/// Serves the connection until it ends. `prefix` is what has been read from it already.
pub(crate) async fn serve<S>(served: &Arc<Served>, connection: u64, prefix: Bytes, stream: &mut S)
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    let io = TokioIo::new(Rewound { prefix, stream });
    let service = service_fn(|request| answer(served.clone(), connection, request));
    // A connection that ends in an error has ended; what its requests came to is in their records.
    let _ = http2::Builder::new(Tasks::default()).serve_connection(io, service).await;
}

async fn answer(served: Arc<Served>, connection: u64, request: Request<Incoming>) -> io::Result<Response<Sending>> {
    let (head, body) = request.into_parts();
    let limit = usize::try_from(BODY_MAX).unwrap_or(usize::MAX);
    let body = Limited::new(body, limit).collect().await.map_err(io::Error::other)?.to_bytes();
    let (exchange, answer) = served.begin(Seen {
        at: Instant::now(),
        method: head.method,
        path_and_query: head
            .uri
            .path_and_query()
            .map_or_else(|| "*".to_owned(), |target| target.as_str().to_owned()),
        headers: head.headers,
        body,
        connection,
        ended: Ended::Pending,
    });
    if !answer.delay.is_zero() {
        tokio::time::sleep(answer.delay).await;
    }
    play(exchange, answer).await
}

/// Does what the answer says, as far as HTTP/2 can; an error resets the stream.
async fn play(exchange: Exchange, answer: Answer) -> io::Result<Response<Sending>> {
    let left = match answer.fault {
        Some(Fault::Hang) => future::pending().await,
        Some(Fault::Reset { .. } | Fault::CloseBefore | Fault::RawBytes(_) | Fault::BadChunks | Fault::Interim { .. }) => {
            exchange.answered();
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        Some(Fault::Truncate { after }) => Some(after),
        _ => None,
    };
    let mut response = Response::new(Sending {
        flow: answer.flow,
        pause: None,
        left,
        exchange: Some(exchange),
    });
    *response.status_mut() = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    for (name, value) in &answer.headers {
        // What HTTP/2 cannot carry is left out.
        if let (Ok(name), Ok(value)) = (name.parse::<HeaderName>(), HeaderValue::from_bytes(value.as_bytes())) {
            response.headers_mut().append(name, value);
        }
    }
    Ok(response)
}

/// The body of a reply; hyper polls it as fast as the client takes it.
struct Sending {
    flow: Flow,
    /// The pause before the next piece.
    pause: Option<Pin<Box<Sleep>>>,
    /// How many bytes are sent before the stream is reset, where a fault cuts the reply.
    left: Option<usize>,
    /// Taken when the body is complete; dropped with the body before that, it is recorded as cancelled.
    exchange: Option<Exchange>,
}

impl Sending {
    fn complete(&mut self) {
        if let Some(exchange) = self.exchange.take() {
            exchange.answered();
        }
    }

    /// Cuts a piece to what may still be sent.
    fn cut(&mut self, mut piece: Bytes) -> Bytes {
        if let Some(left) = &mut self.left {
            piece.truncate(*left);
            *left -= piece.len();
        }
        piece
    }
}

impl Body for Sending {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        if let Some(pause) = &mut self.pause {
            ready!(pause.as_mut().poll(context));
            self.pause = None;
        }
        if self.left == Some(0) {
            self.complete();
            return Poll::Ready(Some(Err(io::ErrorKind::ConnectionReset.into())));
        }
        let Some(piece) = self.flow.next() else {
            self.complete();
            return Poll::Ready(None);
        };
        if !self.flow.interval.is_zero() {
            self.pause = Some(Box::pin(tokio::time::sleep(self.flow.interval)));
        }
        let piece = self.cut(piece);
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }
}

/// The tasks of one connection's streams; they end with it.
#[derive(Clone, Default)]
struct Tasks(Arc<Mutex<JoinSet<()>>>);

impl<F> Executor<F> for Tasks
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, future: F) {
        let mut tasks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        while tasks.try_join_next().is_some() {}
        tasks.spawn(future);
    }
}

/// A stream of which the first bytes have been read and are read again.
struct Rewound<'a, S> {
    prefix: Bytes,
    stream: &'a mut S,
}

impl<S: AsyncRead + Unpin> AsyncRead for Rewound<'_, S> {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.prefix.is_empty() {
            return Pin::new(&mut *self.stream).poll_read(context, buffer);
        }
        let length = self.prefix.len().min(buffer.remaining());
        buffer.put_slice(&self.prefix.split_to(length));
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Rewound<'_, S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut *self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.stream).poll_shutdown(context)
    }
}
