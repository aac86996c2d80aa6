//! A request on its way through: its body from the client to the source and the answer back, both piece by piece, neither faster than
//! its taker. Nothing is held but what is on its way, and whoever leaves takes the other side along.

use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anabranch::client::{Upload, UploadWriter};
use anabranch::{CallError, Deadline, StreamedCall};
use bytes::{Buf, BufMut, Bytes, BytesMut};
use futures_util::FutureExt;
use http::{Method, StatusCode, header};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::body::BodyFault;
use super::connection::{Connection, READ_AHEAD, decimal, line};
use super::head::{BadHead, Framing, Head};
use super::pieces::Pieces;
use super::stop::Stop;
use crate::gateway::{Answer, Core};
use crate::proxy::{Body, Heard, Looking, Outgoing, Passed, PassedHead, Ready, Storing, problem};
use crate::respond::cache_status;
use crate::respond::problem::Problem;
use crate::route::Matched;

/// How a passage ended.
enum End {
    /// The answer was passed on to its end; whether the connection may be used again.
    Whole { stays: bool },
    /// Nothing was passed on.
    Failed(Problem),
    /// What is kept is answered.
    Kept(Box<Answer>),
    /// The rest of the answer does not come, or the client does not take it. A connection that closes in the middle tells the client.
    Cut,
    /// The client left.
    Gone,
    /// The client's body is refused.
    Refused(BadHead),
}

/// One passage.
struct Passage<'a> {
    core: &'a Core,
    head: &'a Head,
    outgoing: &'a Outgoing<'a>,
    idle: Duration,
    stop: &'a Stop,
    /// The whole of the client's body was read.
    is_read: AtomicBool,
    /// Something of the answer was written.
    is_begun: AtomicBool,
}

impl<I: AsyncRead + AsyncWrite + Unpin + Send> Connection<I> {
    /// Passes one request through; whether the connection may be used again.
    pub(super) async fn pass(&mut self, head: &Head, matched: &Matched<'_>, core: &Core, peer: Option<IpAddr>, stop: &Stop) -> bool {
        let passed = Passed {
            matched,
            method: &head.method,
            query: &head.query,
            headers: &head.headers,
            peer,
        };
        let admitted = core.admit();
        let outgoing = match (&admitted, refused_body(head, core.body_max(matched))) {
            (Err(problem), _) => Err(problem.clone()),
            (_, Some(problem)) => Err(problem),
            _ => Outgoing::of(core, &passed),
        };
        let is_read = head.body == Framing::Length(0);
        let (outgoing, looking) = match outgoing {
            Ok(Ready::Ask(outgoing, looking)) => (outgoing, looking),
            Ok(Ready::Answer(answer)) => return self.instead(&answer, head, is_read, stop).await,
            Err(problem) => return self.instead(&problem.into_answer(), head, is_read, stop).await,
        };
        let passage = Passage {
            core,
            head,
            outgoing: &outgoing,
            idle: outgoing.proxy.body_idle,
            stop,
            is_read: AtomicBool::new(is_read),
            is_begun: AtomicBool::new(false),
        };
        let whole = passage.run(&mut self.io, &mut self.buffer, &mut self.out, core.body_max(matched), looking);
        let end = Deadline::after(core.deadline(matched)).bound(whole).await;
        let is_read = passage.is_read.load(Ordering::Relaxed);
        let is_begun = passage.is_begun.load(Ordering::Relaxed);
        match end {
            Ok(End::Whole { stays: true }) => true,
            Ok(End::Whole { stays: false }) => {
                self.end_sending().await;
                false
            }
            Ok(End::Cut | End::Gone) => false,
            Ok(End::Failed(problem)) => self.instead(&problem.into_answer(), head, is_read, stop).await,
            Ok(End::Kept(answer)) => self.instead(&answer, head, is_read, stop).await,
            _ if is_begun => false,
            Ok(End::Refused(bad)) => {
                self.refuse(bad).await;
                false
            }
            Err(_) => {
                let problem = Problem::new(StatusCode::GATEWAY_TIMEOUT, "the source did not answer in time");
                self.instead(&problem.into_answer(), head, is_read, stop).await
            }
        }
    }

    /// Answers with what is no stream; the connection stays only where the request was read to its end.
    async fn instead(&mut self, answer: &Answer, head: &Head, is_read: bool, stop: &Stop) -> bool {
        if is_read {
            return self.answer(answer, head, stop).await;
        }
        self.last(answer, head.method == Method::HEAD).await;
        false
    }
}

/// Why a body is not worth reading.
fn refused_body(head: &Head, max: u64) -> Option<Problem> {
    match head.body {
        Framing::Length(0) => None,
        _ if matches!(head.method, Method::GET | Method::HEAD) => {
            Some(Problem::new(StatusCode::BAD_REQUEST, "a request of this method has no body here"))
        }
        Framing::Length(length) if length > max => Some(Problem::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "the body is larger than this route takes",
        )),
        _ => None,
    }
}

impl<'a> Passage<'a> {
    /// Both ways at once. The way of the answer decides; that of the body ends it only by a client that leaves or breaks the rules.
    async fn run<I>(&self, io: &mut I, buffer: &mut BytesMut, out: &mut BytesMut, max: u64, looking: Option<Box<Looking<'a>>>) -> End
    where
        I: AsyncRead + AsyncWrite + Unpin + Send,
    {
        let (mut reader, mut writer) = tokio::io::split(io);
        let (upload_writer, upload) = match self.head.body {
            Framing::Length(0) => (None, None),
            Framing::Length(length) => some_both(Upload::channel(Some(length))),
            Framing::Chunked => some_both(Upload::channel(None)),
        };
        let waits = self.head.expects_continue && buffer.is_empty() && upload.is_some();
        let reading = async {
            if let Some(upload_writer) = upload_writer
                && let Err(end) = self.read(&mut reader, buffer, max, upload_writer).await
            {
                return end;
            }
            watch(&mut reader, buffer).await;
            End::Gone
        };
        let writing = async {
            if waits && !write(&mut writer, &mut &b"HTTP/1.1 100 Continue\r\n\r\n"[..], self.idle).await {
                return End::Gone;
            }
            self.write(&mut writer, out, upload, looking).await
        };
        tokio::select! {
            biased;
            end = writing => end,
            end = reading => end,
        }
    }

    /// The client's body, to whoever writes it to the source. Reads no more than that takes.
    async fn read<R: AsyncRead + Unpin>(
        &self,
        reader: &mut R,
        buffer: &mut BytesMut,
        max: u64,
        mut upload: UploadWriter,
    ) -> Result<(), End> {
        let mut pieces = Pieces::new(self.head.body, max);
        loop {
            let next = Deadline::after(self.idle).bound(pieces.next(reader, buffer)).await;
            match next {
                Ok(Ok(Some(piece))) => {
                    if upload.write(piece).await.is_err() {
                        // The source has heard enough; its answer says why.
                        return std::future::pending().await;
                    }
                }
                Ok(Ok(None)) => break,
                Ok(Err(BodyFault::Gone)) => return Err(End::Gone),
                Ok(Err(BodyFault::Refused(bad))) => return Err(End::Refused(bad)),
                Err(_) => {
                    return Err(End::Refused(BadHead {
                        status: StatusCode::REQUEST_TIMEOUT,
                        why: "the body did not come in time",
                    }));
                }
            }
        }
        self.is_read.store(true, Ordering::Relaxed);
        upload.finish();
        Ok(())
    }

    async fn write<W: AsyncWrite + Unpin>(
        &self,
        writer: &mut W,
        out: &mut BytesMut,
        upload: Option<Upload>,
        looking: Option<Box<Looking<'a>>>,
    ) -> End {
        let outgoing = self.outgoing;
        let opened = outgoing
            .source
            .open(self.core.client(), &outgoing.request, upload, outgoing.settings, Deadline::never());
        let mut call = match opened.await.0 {
            Ok(call) => call,
            Err(error) => {
                let kept = looking.and_then(|looking| looking.stands_in(&self.head.method, error.kind()));
                return kept.map_or_else(|| End::Failed(problem(&error, self.core)), |kept| End::Kept(Box::new(kept)));
            }
        };
        outgoing.note_write(self.core, call.response().status());
        let (said, storing) = match looking.map(|looking| looking.heard(call.response(), &self.head.method)) {
            Some(Heard::Kept(answer)) => {
                // So that its connection can be used again, where nothing follows.
                let _end = call.piece().now_or_never();
                return End::Kept(answer);
            }
            Some(Heard::Passed { said, storing }) => (Some(said), storing),
            None => (None, None),
        };
        let mut head = match PassedHead::of(call.response(), &self.head.method, &outgoing.proxy.forward) {
            Ok(head) => head,
            Err(problem) => return End::Failed(problem),
        };
        if let Some(said) = said {
            head.headers.append(cache_status::HEADER, said);
        }
        let is_chunked = head.body == Body::Unknown;
        if is_chunked && !self.head.is_http_11 {
            // Without chunks only the end of the connection could end it, and a cut answer would look whole.
            let detail = "the answer has no length, and HTTP/1.0 could not tell whether it is whole";
            return End::Failed(Problem::new(StatusCode::BAD_GATEWAY, detail));
        }
        // What is there already goes in one packet with the head; what has failed already is told in place of it.
        let first = call.piece().now_or_never();
        if let Some(Err(error)) = &first {
            return End::Failed(problem(error, self.core));
        }
        // A client that is still sending when the answer is there has to stop.
        let stays = self.head.keep_alive && !self.stop.is_requested() && self.is_read.load(Ordering::Relaxed);
        out.clear();
        write_head(out, &head, connection_header(stays, self.head.is_http_11));
        self.is_begun.store(true, Ordering::Relaxed);
        let body = Answering {
            call,
            next: first,
            is_chunked,
            storing,
        };
        match self.write_body(writer, out, body).await {
            Ok(()) => End::Whole { stays },
            Err(()) => End::Cut,
        }
    }

    /// What is in `out`, then the body. A piece is asked for once the one before was taken.
    async fn write_body<W: AsyncWrite + Unpin>(&self, writer: &mut W, out: &mut BytesMut, mut body: Answering<'_>) -> Result<(), ()> {
        loop {
            let piece = match body.next.take() {
                Some(piece) => piece,
                None => {
                    if !out.is_empty() && !write(writer, out, self.idle).await {
                        return Err(());
                    }
                    body.call.piece().await
                }
            };
            let piece = piece.map_err(drop)?;
            if let Some(piece) = &piece {
                body.storing = body.storing.and_then(|storing| storing.piece(piece));
            }
            match (&piece, body.is_chunked) {
                (Some(piece), true) => {
                    out.extend_from_slice(format!("{:x}\r\n", piece.len()).as_bytes());
                }
                (None, true) => out.extend_from_slice(b"0\r\n\r\n"),
                _ => {}
            }
            let end = if piece.is_some() && body.is_chunked { &b"\r\n"[..] } else { b"" };
            let is_last = piece.is_none();
            let mut all = Buf::chain(Buf::chain(&mut *out, piece.unwrap_or_default()), end);
            if !write(writer, &mut all, self.idle).await {
                return Err(());
            }
            if is_last {
                body.storing.into_iter().for_each(|storing| storing.finish());
                return Ok(());
            }
        }
    }
}

/// The body of an answer on its way.
struct Answering<'a> {
    call: StreamedCall<'a>,
    /// The first of it, where that was there with the head.
    next: Option<Result<Option<Bytes>, CallError>>,
    is_chunked: bool,
    storing: Option<Box<Storing<'a>>>,
}

fn some_both(both: (UploadWriter, Upload)) -> (Option<UploadWriter>, Option<Upload>) {
    (Some(both.0), Some(both.1))
}

/// Reads ahead a little, and ends when the client does.
async fn watch<R: AsyncRead + Unpin>(reader: &mut R, buffer: &mut BytesMut) {
    while buffer.len() < READ_AHEAD {
        buffer.reserve(1024);
        if !matches!(reader.read_buf(buffer).await, Ok(1..)) {
            return;
        }
    }
    std::future::pending().await
}

/// Writes all of it; false when the client took nothing for too long, or is gone.
async fn write<W: AsyncWrite + Unpin>(writer: &mut W, bytes: &mut impl Buf, idle: Duration) -> bool {
    while bytes.has_remaining() {
        let written = Deadline::after(idle).bound(writer.write_buf(bytes)).await;
        if !matches!(written, Ok(Ok(1..))) {
            return false;
        }
    }
    true
}

/// HTTP/1.1 stays unless told otherwise, HTTP/1.0 the other way round.
fn connection_header(stays: bool, is_http_11: bool) -> Option<&'static str> {
    match (stays, is_http_11) {
        (true, true) => None,
        (true, false) => Some("keep-alive"),
        (false, _) => Some("close"),
    }
}

fn write_head(out: &mut BytesMut, head: &PassedHead, connection: Option<&str>) {
    out.put_slice(b"HTTP/1.1 ");
    out.put_slice(head.status.as_str().as_bytes());
    out.put_u8(b' ');
    out.put_slice(head.status.canonical_reason().unwrap_or("").as_bytes());
    for (name, value) in &head.headers {
        line(out, name.as_str(), value.as_bytes());
    }
    match head.body {
        Body::Never => {}
        Body::Length(length) => {
            let mut digits = [0u8; 20];
            line(
                out,
                "content-length",
                decimal(usize::try_from(length).unwrap_or(usize::MAX), &mut digits),
            );
        }
        Body::Unknown => line(out, "transfer-encoding", b"chunked"),
    }
    if !head.headers.contains_key(header::DATE) {
        super::date::with(|date| line(out, "date", date));
    }
    if let Some(connection) = connection {
        line(out, "connection", connection.as_bytes());
    }
    out.put_slice(b"\r\n\r\n");
}
