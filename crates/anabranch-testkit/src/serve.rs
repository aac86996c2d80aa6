//! Serves an upstream on one connection: requests in, answers out, faults as the script says. Telling HTTP/2 apart happens here;
//! serving it is left to `http2.rs`.

use crate::{
    Ended, Fault, Framing, Seen, Served,
    answer::Answer,
    http2,
    request::{Head, Refusal},
    served::OpenConnection,
    wire::{Received, Stopped, Wire},
};
use bytes::Bytes;
use http::{Method, StatusCode};
use std::{fmt::Write, sync::Arc, time::Duration};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::Instant,
};

/// Says how a connection wants to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// Nothing is left to do but to drop the stream.
    Close,
    /// The peer should see a reset, which only the owner of the stream can give: SO_LINGER 0 on a TCP socket, then drop.
    Reset,
}

/// Serves an upstream on one connection until the peer leaves or the script closes it, and says how the stream should end.
///
/// It has no limit of its own but [`Upstream::idle`](crate::Upstream::idle). Dropping it is safe: a pending request then counts as
/// cancelled.
pub async fn serve<S>(served: &Arc<Served>, stream: &mut S) -> End
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    let connection = served.open();
    let mut wire = Wire::new(stream);
    loop {
        let idle = served.upstream().idle;
        match wire.receive(idle).await {
            Received::Request(head, body) => match exchange(served, &connection, &mut wire, head, body).await {
                After::KeepAlive => {}
                After::Close => break,
                After::Reset => return End::Reset,
            },
            Received::Refused(refusal) => {
                served.malformed();
                let _ = refuse(&mut wire, refusal).await;
                break;
            }
            Received::Http2 => {
                let (prefix, stream) = wire.into_parts();
                http2::serve(served, connection.number, prefix, stream).await;
                return End::Close;
            }
            Received::Ended => break,
        }
    }
    wire.close().await;
    End::Close
}

/// What becomes of the connection after an exchange.
enum After {
    KeepAlive,
    Close,
    Reset,
}

async fn exchange<S>(served: &Arc<Served>, connection: &OpenConnection, wire: &mut Wire<'_, S>, head: Head, body: Bytes) -> After
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let client = Client {
        is_head: head.method == Method::HEAD,
        old: head.old,
        keep_alive: head.keep_alive,
    };
    let seen = Seen {
        at: Instant::now(),
        method: head.method,
        path_and_query: head.target,
        headers: head.headers,
        body,
        connection: connection.number,
        ended: Ended::Pending,
    };
    let (exchange, answer) = served.begin(seen);
    match play(wire, client, answer).await {
        Ok(after) => {
            exchange.answered();
            after
        }
        // The exchange is dropped, which records it as cancelled.
        Err(_gone) => After::Close,
    }
}

/// What of a request shapes the reply on the wire.
#[derive(Clone, Copy)]
struct Client {
    is_head: bool,
    old: bool,
    keep_alive: bool,
}

/// Does what the answer says.
async fn play<S>(wire: &mut Wire<'_, S>, client: Client, answer: Answer) -> Result<After, Stopped>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    wire.wait(answer.delay).await?;
    match answer.fault.clone() {
        Some(Fault::Hang) => Err(wire.until_gone().await),
        Some(Fault::CloseBefore) => Ok(After::Close),
        Some(Fault::RawBytes(bytes)) => {
            wire.send(&bytes).await?;
            wire.flush().await?;
            Ok(After::Close)
        }
        Some(Fault::Reset { after }) => {
            wire.allow(after);
            spent_is_fine(reply(wire, client, answer).await)?;
            Ok(After::Reset)
        }
        Some(Fault::Truncate { .. } | Fault::BadChunks | Fault::CloseAfterReply) => {
            spent_is_fine(reply(wire, client, answer).await)?;
            Ok(After::Close)
        }
        _ => reply(wire, client, answer).await,
    }
}

/// A reply cut where the fault wanted it is as complete as it gets.
fn spent_is_fine(result: Result<After, Stopped>) -> Result<(), Stopped> {
    match result {
        Ok(_) | Err(Stopped::Spent) => Ok(()),
        Err(Stopped::Gone) => Err(Stopped::Gone),
    }
}

/// Sends head and body.
async fn reply<S>(wire: &mut Wire<'_, S>, client: Client, mut answer: Answer) -> Result<After, Stopped>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    if matches!(answer.fault, Some(Fault::BadChunks)) {
        answer.framing = Framing::Chunked;
    }
    let framing = wire_framing(&answer, client);
    let keeps = client.keep_alive && framing != Framing::UntilClose && header(&answer, "connection") != Some("close");

    if let Some(Fault::Interim { count }) = answer.fault {
        for _ in 0..count {
            wire.send(b"HTTP/1.1 103 Early Hints\r\n\r\n").await?;
        }
    }
    send_head(wire, &render_head(&answer, framing, client, keeps), &answer.fault).await?;
    if has_body(answer.status, client) {
        if let Some(Fault::Truncate { after }) = answer.fault {
            wire.allow(after);
        }
        send_body(wire, framing, answer).await?;
    }
    wire.flush().await?;
    Ok(if keeps { After::KeepAlive } else { After::Close })
}

async fn send_head<S>(wire: &mut Wire<'_, S>, head: &str, fault: &Option<Fault>) -> Result<(), Stopped>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let Some(Fault::DripHeaders { interval }) = fault else {
        return wire.send(head.as_bytes()).await;
    };
    for byte in head.as_bytes() {
        wire.wait(*interval).await?;
        wire.send(&[*byte]).await?;
    }
    Ok(())
}

async fn send_body<S>(wire: &mut Wire<'_, S>, framing: Framing, mut answer: Answer) -> Result<(), Stopped>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    if matches!(answer.fault, Some(Fault::BadChunks)) {
        return send_bad_chunks(wire, answer).await;
    }
    let mut pause = Duration::ZERO;
    while let Some(piece) = answer.flow.next() {
        if !pause.is_zero() {
            wire.wait(pause).await?;
        }
        match framing {
            Framing::Chunked => send_chunk(wire, &piece).await?,
            Framing::Length | Framing::UntilClose => wire.send(&piece).await?,
        }
        pause = answer.flow.interval;
    }
    if framing == Framing::Chunked {
        wire.send(b"0\r\n\r\n").await?;
    }
    Ok(())
}

async fn send_chunk<S>(wire: &mut Wire<'_, S>, piece: &[u8]) -> Result<(), Stopped>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    wire.send(format!("{:x}\r\n", piece.len()).as_bytes()).await?;
    wire.send(piece).await?;
    wire.send(b"\r\n").await
}

async fn send_bad_chunks<S>(wire: &mut Wire<'_, S>, mut answer: Answer) -> Result<(), Stopped>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let body = answer.flow.next().unwrap_or_default();
    let half = &body[..body.len() / 2];
    if !half.is_empty() {
        send_chunk(wire, half).await?;
    }
    wire.send(b"xyz\r\n").await
}

/// Answers what could not be read as a request. The connection is closed after it.
async fn refuse<S>(wire: &mut Wire<'_, S>, refusal: Refusal) -> Result<(), Stopped>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let Refusal { status, reason } = refusal;
    let head = format!(
        "HTTP/1.1 {status}\r\ncontent-type: text/plain\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        reason.len()
    );
    wire.send(head.as_bytes()).await?;
    wire.send(reason.as_bytes()).await?;
    wire.flush().await
}

/// Chooses the framing: what the script asks for, as far as the client's version and the body's length allow.
fn wire_framing(answer: &Answer, client: Client) -> Framing {
    let wanted = match answer.framing {
        Framing::Length if answer.flow.length.is_none() => Framing::Chunked,
        framing => framing,
    };
    if wanted == Framing::Chunked && client.old {
        Framing::UntilClose
    } else {
        wanted
    }
}

fn render_head(answer: &Answer, framing: Framing, client: Client, keeps: bool) -> String {
    let reason = StatusCode::from_u16(answer.status)
        .ok()
        .and_then(|status| status.canonical_reason())
        .unwrap_or_default();
    let mut head = format!("HTTP/1.1 {} {reason}\r\n", answer.status);
    let mut line = |name: &str, value: &str| {
        let _ = write!(head, "{name}: {value}\r\n");
    };
    for (name, value) in &answer.headers {
        line(name, value);
    }
    let framed_by_script = header(answer, "content-length").is_some() || header(answer, "transfer-encoding").is_some();
    if !framed_by_script && may_have_body(answer.status) {
        match (framing, answer.flow.length) {
            (Framing::Length, Some(length)) => line("content-length", &length.to_string()),
            (Framing::Chunked, _) => line("transfer-encoding", "chunked"),
            _ => {}
        }
    }
    if header(answer, "connection").is_none() {
        match answer.fault {
            Some(Fault::CloseAfterReply) => line("connection", "keep-alive"),
            _ if !keeps => line("connection", "close"),
            _ if client.old => line("connection", "keep-alive"),
            _ => {}
        }
    }
    head.push_str("\r\n");
    head
}

fn header<'a>(answer: &'a Answer, name: &str) -> Option<&'a str> {
    answer
        .headers
        .iter()
        .find(|(found, _)| found.eq_ignore_ascii_case(name))
        .map(|(_, value)| value.as_str())
}

fn has_body(status: u16, client: Client) -> bool {
    may_have_body(status) && !client.is_head
}

/// Tells the statuses that never have a body (RFC 9112, section 6.3) from the others.
fn may_have_body(status: u16) -> bool {
    !matches!(status, 100..=199 | 204 | 304)
}
