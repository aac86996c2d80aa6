//! The kinds of time in a waterfall, each with its sign, colour and meaning.

/// A kind of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mark {
    /// Waiting for the calls that it refers to.
    Calls,
    /// Waiting for a token of the source's rate.
    Rate,
    /// Waiting for a place in flight.
    Queue,
    /// Waiting for a connection from the pool.
    Pool,
    /// Looking up the host.
    Dns,
    /// Connecting.
    Connect,
    /// The TLS handshake.
    Tls,
    /// From sending to the head of the answer: the source's own time.
    FirstByte,
    /// The body.
    Body,
    /// An attempt failed here.
    Failed,
    /// Resting between two attempts.
    Between,
    /// A call without attempts: a value, or refused before the first.
    Own,
}

impl Mark {
    /// In the order of the legend.
    pub(crate) const ALL: [Mark; 12] = [
        Mark::Calls,
        Mark::Rate,
        Mark::Queue,
        Mark::Pool,
        Mark::Dns,
        Mark::Connect,
        Mark::Tls,
        Mark::FirstByte,
        Mark::Body,
        Mark::Failed,
        Mark::Between,
        Mark::Own,
    ];

    /// What is drawn.
    pub(crate) fn sign(self) -> char {
        match self {
            Mark::Calls => '.',
            Mark::Rate => 'r',
            Mark::Queue => 'q',
            Mark::Pool => 'p',
            Mark::Dns => 'd',
            Mark::Connect => 'c',
            Mark::Tls => 't',
            Mark::FirstByte => '=',
            Mark::Body => '#',
            Mark::Failed => 'x',
            Mark::Between => '~',
            Mark::Own => '*',
        }
    }

    /// What the legend says.
    pub(crate) fn meaning(self) -> &'static str {
        match self {
            Mark::Calls => "waits for calls",
            Mark::Rate => "rate",
            Mark::Queue => "queue",
            Mark::Pool => "pool",
            Mark::Dns => "dns",
            Mark::Connect => "connect",
            Mark::Tls => "tls",
            Mark::FirstByte => "first byte",
            Mark::Body => "body",
            Mark::Failed => "attempt failed",
            Mark::Between => "between attempts",
            Mark::Own => "no attempt",
        }
    }

    /// Its SGR code.
    pub(crate) fn color(self) -> &'static str {
        match self {
            Mark::Calls => "2",
            Mark::Rate | Mark::Queue | Mark::Pool => "33",
            Mark::Dns | Mark::Connect | Mark::Tls => "36",
            Mark::FirstByte => "34",
            Mark::Body => "32",
            Mark::Failed => "1;31",
            Mark::Between | Mark::Own => "35",
        }
    }
}
