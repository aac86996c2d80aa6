//! Why a call failed: one opaque error with its kind, the phase it was in, and what the caller may want to know.

use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// What went wrong, in one word. The words are the same in the account of a reply, in metrics and in the docs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// No answer before the deadline, the attempt timeout or the limit of a phase.
    Timeout,
    /// No connection: refused, unreachable, or not there in time.
    Connect,
    /// The TLS handshake failed: certificate, name or protocol.
    Tls,
    /// The host name has no address.
    Dns,
    /// The host's address is private or otherwise not of the public Internet, and only such ones may be connected to.
    PrivateAddress,
    /// The peer reset or closed the connection before the answer began or while it came.
    Reset,
    /// The answer ended before the length it announced.
    Truncated,
    /// The peer did not speak HTTP, or broke its framing or limits on heads.
    Protocol,
    /// The answer's status is not one the caller takes for success.
    Status,
    /// The body is not what it says it is: broken JSON, charset or compression.
    Decode,
    /// The body, decoded or not, is larger than allowed.
    TooLarge,
    /// More items or calls than allowed.
    TooMany,
    /// A value cannot stand where it is needed, for example `..` in a path.
    Value,
    /// The compute pool is full.
    Busy,
    /// Our own limits on calls in flight or on the rate refused the call.
    Limit,
    /// The circuit breaker refuses calls to this source for now.
    Breaker,
    /// The call was cancelled before it ended.
    Cancelled,
    /// Our own code panicked; the panic was contained.
    Panic,
}

impl Kind {
    /// All kinds, in the order in which the documentation lists them.
    pub const ALL: [Kind; 18] = [
        Kind::Timeout,
        Kind::Connect,
        Kind::Tls,
        Kind::Dns,
        Kind::PrivateAddress,
        Kind::Reset,
        Kind::Truncated,
        Kind::Protocol,
        Kind::Status,
        Kind::Decode,
        Kind::TooLarge,
        Kind::TooMany,
        Kind::Value,
        Kind::Busy,
        Kind::Limit,
        Kind::Breaker,
        Kind::Cancelled,
        Kind::Panic,
    ];

    /// The kind as the account, metrics and docs spell it.
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::Timeout => "timeout",
            Kind::Connect => "connect",
            Kind::Tls => "tls",
            Kind::Dns => "dns",
            Kind::PrivateAddress => "private_address",
            Kind::Reset => "reset",
            Kind::Truncated => "truncated",
            Kind::Protocol => "protocol",
            Kind::Status => "status",
            Kind::Decode => "decode",
            Kind::TooLarge => "too_large",
            Kind::TooMany => "too_many",
            Kind::Value => "value",
            Kind::Busy => "busy",
            Kind::Limit => "limit",
            Kind::Breaker => "breaker",
            Kind::Cancelled => "cancelled",
            Kind::Panic => "panic",
        }
    }

    /// Whether the refusal was our own: our limits, our compute pool or our breaker, not the source's answer.
    pub fn is_local(self) -> bool {
        matches!(self, Kind::Busy | Kind::Limit | Kind::Breaker)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Where an attempt was when it ended; also the names of its timings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Phase {
    /// Waiting for a token of the source's rate.
    Rate,
    /// Waiting for a slot of the source's in-flight limit.
    Queue,
    /// Waiting for a connection or an HTTP/2 stream.
    Pool,
    /// Looking up the host.
    Dns,
    /// Opening the TCP connection.
    Connect,
    /// Shaking hands over TLS.
    Tls,
    /// Sending the request and waiting for the first byte of the answer.
    FirstByte,
    /// Reading the body.
    Body,
}

impl Phase {
    /// The phase as timings and messages spell it.
    pub fn as_str(self) -> &'static str {
        match self {
            Phase::Rate => "rate",
            Phase::Queue => "queue",
            Phase::Pool => "pool",
            Phase::Dns => "dns",
            Phase::Connect => "connect",
            Phase::Tls => "tls",
            Phase::FirstByte => "first byte",
            Phase::Body => "body",
        }
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How a call failed. Ask it with [`kind`](CallError::kind) and its sisters; its text names the source and the phase, never a
/// value of a request.
#[derive(Clone)]
pub struct CallError(Box<Inner>);

#[derive(Clone)]
struct Inner {
    kind: Kind,
    phase: Option<Phase>,
    source: Option<Arc<str>>,
    attempts: u32,
    elapsed: Duration,
    retry_after: Option<Duration>,
    detail: String,
    cause: Option<Arc<dyn Error + Send + Sync>>,
    /// Whether a byte of the request may have reached the peer.
    sent: bool,
}

impl CallError {
    /// A failure of this kind; `detail` is a lower-case fragment for whoever reads the log.
    pub fn new(kind: Kind, detail: impl Into<String>) -> Self {
        let detail = detail.into();
        CallError(Box::new(Inner {
            kind,
            phase: None,
            source: None,
            attempts: 0,
            elapsed: Duration::ZERO,
            retry_after: None,
            detail,
            cause: None,
            sent: false,
        }))
    }

    /// The same, with the phase in which it happened.
    pub fn in_phase(mut self, phase: Phase) -> Self {
        self.0.phase = Some(phase);
        self
    }

    /// The same, with its cause for [`Error::source`].
    pub fn caused_by(mut self, cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.0.cause = Some(Arc::from(cause.into()));
        self
    }

    /// The same, marked as raised after bytes of the request may have left.
    pub fn after_send(mut self) -> Self {
        self.0.sent = true;
        self
    }

    /// The same, with the wait that the peer or our limits ask for.
    pub fn retry_in(mut self, wait: Duration) -> Self {
        self.0.retry_after = Some(wait);
        self
    }

    /// The same, with what only the whole call knows.
    pub(crate) fn of_call(mut self, source: &Arc<str>, attempts: u32, elapsed: Duration) -> Self {
        self.0.source = Some(source.clone());
        self.0.attempts = attempts;
        self.0.elapsed = elapsed;
        self
    }

    /// What went wrong.
    pub fn kind(&self) -> Kind {
        self.0.kind
    }

    /// The phase it happened in, where one is known.
    pub fn phase(&self) -> Option<Phase> {
        self.0.phase
    }

    /// The name of the source that was asked.
    pub fn source_name(&self) -> Option<&str> {
        self.0.source.as_deref()
    }

    /// How many attempts were made; 0 when the call was refused before the first.
    pub fn attempts(&self) -> u32 {
        self.0.attempts
    }

    /// The time from the start of the call to this error.
    pub fn elapsed(&self) -> Duration {
        self.0.elapsed
    }

    /// How long to wait before asking again, where the peer or our limits said so.
    pub fn retry_after(&self) -> Option<Duration> {
        self.0.retry_after
    }

    /// Whether time ran out.
    pub fn is_timeout(&self) -> bool {
        self.0.kind == Kind::Timeout
    }

    /// Whether bytes of the request may have reached the peer.
    pub fn was_sent(&self) -> bool {
        self.0.sent
    }

    /// Whether another attempt could end otherwise. Whether one is made is the matter of the source's retry settings.
    pub fn is_retryable(&self) -> bool {
        matches!(self.0.kind, Kind::Timeout | Kind::Connect | Kind::Reset | Kind::Truncated)
    }

    /// What happened, as a fragment; without the source and the phase.
    pub fn detail(&self) -> &str {
        &self.0.detail
    }
}

impl fmt::Display for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let inner = &self.0;
        write!(f, "{}", inner.kind)?;
        if let Some(source) = &inner.source {
            write!(f, " from `{source}`")?;
        }
        if let Some(phase) = inner.phase {
            write!(f, " in phase {phase}")?;
        }
        if !inner.detail.is_empty() {
            write!(f, ": {}", inner.detail)?;
        }
        Ok(())
    }
}

impl fmt::Debug for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CallError({self})")
    }
}

impl Error for CallError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.0.cause.as_ref().map(|cause| cause.as_ref() as &(dyn Error + 'static))
    }
}
