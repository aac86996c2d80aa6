//! One open connection: commands go out in the order in which they are taken, answers come back in the same order, and each is
//! given to whoever asked. Many are under way at once; what several callers ask with MGET in one go is asked once.
//!
//! A caller that leaves takes nothing with it: a command that was not written yet is left out, the answer to one that was is read
//! and dropped. A server that is silent for too long is given up, so that it does not hold those who come later.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::command;
use super::connect::Opened;
use super::fault;
use super::link::{Answer, Link, Request};
use super::reply::{Decoder, Reply, ReplyLimits};
use crate::client::Stream;
use crate::deadline::Alarm;
use crate::{CallError, Kind, Phase};

/// What is read at once.
const READ_SIZE: usize = 16 << 10;
/// No more is written out ahead of the socket; larger than any socket takes at once by default (Linux: 208 KiB for a unix socket).
const MOST_OUTGOING: usize = 256 << 10;
/// A buffer that grew larger for one answer is not kept.
const MOST_KEPT: usize = 1 << 20;
/// Commands without an answer, those whose callers left included.
const MOST_UNANSWERED: usize = 65_536;
/// Once the caller of the oldest command is gone, the server may be silent for so long. A server works on one command at a time,
/// so a slow one holds all that came after it; with a deadline longer than this it is waited for.
const SILENCE: Duration = Duration::from_secs(2);
/// Keys of one MGET made of several: about 100 µs of the server's time.
const MOST_JOINED_KEYS: usize = 1_000;
/// The largest answer to it, unless one of the several may be larger alone.
const MOST_JOINED_BODY: usize = 16 << 20;
/// A server that takes no writes leads to a new connection at most so often.
const DEMOTION_AFTER: Duration = Duration::from_secs(5);

/// How a connection ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum End {
    /// We closed it after its last answer: it was old, or its server became a replica, or it is not wanted any more.
    Retired,
    /// The server or the network closed it, or what came was no RESP.
    Lost,
    Silent,
}

enum Event {
    Heard,
    Asked,
    Silent,
    Lost(io::Error),
}

/// One open connection.
pub(super) struct Session<'a> {
    link: &'a Link,
    stream: Stream,
    incoming: BytesMut,
    decoder: Decoder,
    outgoing: BytesMut,
    needs_flush: bool,
    /// Sent, oldest first.
    unanswered: VecDeque<Sent>,
    /// Just taken from the link; kept for its room.
    taken: Vec<Request>,
    /// To be asked again alone: they were joined and something was wrong with one of them.
    again: Vec<Request>,
    /// When the server last sent anything, or was first asked after it had answered all.
    heard: Instant,
    born: Instant,
    max_lifetime: Duration,
    /// Whether it takes no more requests and ends with the last answer.
    is_retired: bool,
}

/// A command on the wire, and who wants its answer.
struct Sent {
    limits: ReplyLimits,
    until: Instant,
    at: Instant,
    askers: Askers,
}

enum Askers {
    Nobody,
    One(oneshot::Sender<Answer>),
    /// Those of a joined MGET, in the order of their keys.
    Many(Vec<Request>),
}

impl<'a> Session<'a> {
    pub(super) fn new(link: &'a Link, opened: Opened, max_lifetime: Duration) -> Self {
        let now = Instant::now();
        Session {
            link,
            stream: opened.stream,
            incoming: opened.incoming,
            decoder: Decoder::new(fault::answer),
            outgoing: BytesMut::new(),
            needs_flush: false,
            unanswered: VecDeque::new(),
            taken: Vec::new(),
            again: Vec::new(),
            heard: now,
            born: now,
            max_lifetime,
            is_retired: false,
        }
    }

    /// Serves until the connection ends.
    pub(super) async fn run(mut self) -> End {
        let mut alarm = pin!(Alarm::new());
        loop {
            self.fill();
            if self.is_retired && self.unanswered.is_empty() && self.outgoing.is_empty() {
                return End::Retired;
            }
            match poll_fn(|cx| self.poll(cx, alarm.as_mut())).await {
                Event::Asked => {}
                Event::Heard => {
                    if let Err(broken) = self.answer() {
                        self.lose(&broken);
                        return End::Lost;
                    }
                }
                Event::Silent => {
                    self.lose(&CallError::new(
                        Kind::Reset,
                        "the server was silent for too long, and the connection to it was given up",
                    ));
                    return End::Silent;
                }
                Event::Lost(error) => {
                    self.lose(&CallError::new(Kind::Reset, format!("the connection was lost: {error}")).caused_by(error));
                    return End::Lost;
                }
            }
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>, alarm: Pin<&mut Alarm>) -> Poll<Event> {
        if let Poll::Ready(Err(error)) = self.poll_send(cx) {
            return Poll::Ready(Event::Lost(error));
        }
        self.incoming.reserve(READ_SIZE);
        match pin!(self.stream.read_buf(&mut self.incoming)).poll(cx) {
            Poll::Ready(Ok(0)) => return Poll::Ready(Event::Lost(io::ErrorKind::UnexpectedEof.into())),
            Poll::Ready(Ok(_)) => {
                self.heard = Instant::now();
                return Poll::Ready(Event::Heard);
            }
            Poll::Ready(Err(error)) => return Poll::Ready(Event::Lost(error)),
            Poll::Pending => {}
        }
        if self.link.poll_asked(self.may_take(), cx).is_ready() {
            return Poll::Ready(Event::Asked);
        }
        let Some(oldest) = self.unanswered.front() else {
            return Poll::Pending;
        };
        ready!(alarm.poll(oldest.until.max(self.heard + SILENCE), cx));
        Poll::Ready(Event::Silent)
    }

    /// Writes what is to be written, as far as the socket takes it.
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.outgoing.has_remaining() {
            let written = ready!(pin!(self.stream.write_buf(&mut self.outgoing)).poll(cx))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.needs_flush = true;
        }
        if self.needs_flush {
            ready!(pin!(self.stream.flush()).poll(cx))?;
            self.needs_flush = false;
            if self.outgoing.capacity() > MOST_KEPT {
                self.outgoing = BytesMut::new();
            }
        }
        Poll::Ready(Ok(()))
    }

    fn may_take(&self) -> bool {
        !self.is_retired && self.outgoing.len() < MOST_OUTGOING && self.unanswered.len() < MOST_UNANSWERED
    }

    /// Takes requests and writes them out, as far as there is room.
    fn fill(&mut self) {
        let mut taken = std::mem::take(&mut self.taken);
        // Those were sent once already, so they are sent even if no others are any more.
        taken.append(&mut self.again);
        let mut bytes = self.outgoing.len();
        while self.may_take() && bytes < MOST_OUTGOING {
            let Some(request) = self.link.take() else { break };
            bytes += request.command.frame.len();
            taken.push(request);
        }
        if !taken.is_empty() {
            let now = Instant::now();
            let is_old = now.duration_since(self.born) >= self.max_lifetime;
            self.is_retired = self.is_retired || is_old;
            self.send(&mut taken, now);
            self.link.count_unanswered(self.unanswered.len());
        }
        self.taken = taken;
        self.is_retired = self.is_retired || self.link.is_finished();
    }

    fn send(&mut self, requests: &mut Vec<Request>, now: Instant) {
        if self.unanswered.is_empty() {
            self.heard = now;
        }
        let (mut joined, mut keys) = (Vec::<Request>::new(), 0);
        for request in requests.drain(..) {
            if request.answer.is_closed() {
                continue;
            }
            request.is_sent.store(true, Ordering::Relaxed);
            let Some(count) = request.command.mget_keys.filter(|_| !request.is_alone) else {
                self.send_one(request, now);
                continue;
            };
            let fits = joined
                .first()
                .is_none_or(|first| first.limits.binary == request.limits.binary && keys + count <= MOST_JOINED_KEYS);
            if !fits {
                self.send_joined(std::mem::take(&mut joined), now);
                keys = 0;
            }
            keys += count;
            joined.push(request);
        }
        self.send_joined(joined, now);
    }

    fn send_one(&mut self, request: Request, now: Instant) {
        if request.is_asking {
            command::write_head(&mut self.outgoing, 1);
            command::write_words(&mut self.outgoing, &["ASKING"]);
            self.unanswered.push_back(Sent {
                limits: request.limits,
                until: request.until,
                at: now,
                askers: Askers::Nobody,
            });
        }
        if let Some(keys) = request.command.mget_keys {
            self.begin_mget(keys);
        }
        self.outgoing.extend_from_slice(&request.command.frame);
        let Request { limits, until, answer, .. } = request;
        self.unanswered.push_back(Sent {
            limits,
            until,
            at: now,
            askers: Askers::One(answer),
        });
    }

    /// Sends several MGETs as one; a single one as it is.
    fn send_joined(&mut self, mut requests: Vec<Request>, now: Instant) {
        if requests.len() < 2 {
            requests.drain(..).for_each(|request| self.send_one(request, now));
            return;
        }
        self.begin_mget(requests.iter().filter_map(|request| request.command.mget_keys).sum());
        let (mut together, mut largest, mut until) = (0_usize, 0, now);
        for request in &requests {
            self.outgoing.extend_from_slice(&request.command.frame);
            together = together.saturating_add(request.limits.max_body);
            largest = largest.max(request.limits.max_body);
            until = until.max(request.until);
        }
        let limits = ReplyLimits {
            max_body: together.min(largest.max(MOST_JOINED_BODY)),
            with_ends: true,
            ..requests[0].limits
        };
        self.unanswered.push_back(Sent {
            limits,
            until,
            at: now,
            askers: Askers::Many(requests),
        });
    }

    fn begin_mget(&mut self, keys: usize) {
        command::write_head(&mut self.outgoing, keys + 1);
        command::write_words(&mut self.outgoing, &["MGET"]);
    }

    /// Gives out what has come.
    fn answer(&mut self) -> Result<(), CallError> {
        loop {
            let limits = self.unanswered.front().map(|sent| sent.limits);
            let Some(reply) = self.decoder.read(&mut self.incoming, limits)? else {
                break;
            };
            let Some(sent) = self.unanswered.pop_front() else { break };
            self.deliver(sent, reply)?;
        }
        self.link.count_unanswered(self.unanswered.len());
        if self.incoming.is_empty() && self.incoming.capacity() > MOST_KEPT {
            self.incoming = BytesMut::new();
        }
        Ok(())
    }

    fn deliver(&mut self, sent: Sent, reply: Result<Reply, CallError>) -> Result<(), CallError> {
        let is_old = self.heard.duration_since(self.born) >= DEMOTION_AFTER;
        if is_old && reply.as_ref().is_err_and(fault::is_demoted) {
            self.is_retired = true;
        }
        match (sent.askers, reply) {
            (Askers::Nobody, _) => {}
            (Askers::One(asker), reply) => give(asker, reply.map(|reply| Bytes::from(reply.json)), sent.at),
            (Askers::Many(requests), Ok(reply)) => return share_out(requests, reply, sent.at),
            // One of them asked for what cannot be given; alone they fail alone.
            (Askers::Many(requests), Err(_)) => self
                .again
                .extend(requests.into_iter().map(|request| Request { is_alone: true, ..request })),
        }
        Ok(())
    }

    /// Tells all who wait for an answer that none will come.
    fn lose(&mut self, error: &CallError) {
        let at = self.heard;
        for sent in self.unanswered.drain(..) {
            let asked = match sent.askers {
                Askers::Nobody => Vec::new(),
                Askers::One(asker) => vec![asker],
                Askers::Many(requests) => requests.into_iter().map(|request| request.answer).collect(),
            };
            asked.into_iter().for_each(|asker| give(asker, Err(error.clone()), at));
        }
        for request in self.again.drain(..) {
            give(request.answer, Err(error.clone()), at);
        }
    }
}

fn give(asker: oneshot::Sender<Answer>, result: Result<Bytes, CallError>, sent: Instant) {
    let result = result.map_err(|error| error.after_send().in_phase(Phase::FirstByte));
    // One who has left wants no answer.
    let _left = asker.send(Answer { result, sent: Some(sent) });
}

/// Cuts the list of a joined MGET into one for each who asked.
fn share_out(requests: Vec<Request>, reply: Reply, sent: Instant) -> Result<(), CallError> {
    let keys: usize = requests.iter().filter_map(|request| request.command.mget_keys).sum();
    if reply.ends.len() != keys {
        return Err(fault::broken("to MGET has another length than was asked for"));
    }
    let (mut first, mut start) = (0, 1);
    for request in requests {
        let count = request.command.mget_keys.unwrap_or(0);
        let end = reply.ends[first + count - 1];
        let elements = &reply.json[start..end];
        // The next one begins behind the comma.
        (first, start) = (first + count, end + 1);
        let max_body = request.limits.max_body;
        let result = if elements.len() + 2 > max_body {
            Err(CallError::new(
                Kind::TooLarge,
                format!("the answer is larger than {max_body} bytes"),
            ))
        } else {
            let mut json = Vec::with_capacity(elements.len() + 2);
            json.push(b'[');
            json.extend_from_slice(elements);
            json.push(b']');
            Ok(Bytes::from(json))
        };
        give(request.answer, result, sent);
    }
    Ok(())
}
