//! What an upstream can do wrongly. A rule's status, headers, body, framing and latency still hold where a fault sends a reply.

use bytes::Bytes;
use std::time::Duration;

/// Says what an upstream does wrongly with a request. Each comes after the rule's latency.
///
/// Over HTTP/2, faults of HTTP/1.1's own making (`Reset`, `CloseBefore`, `RawBytes`, `BadChunks`, `Interim`) reset the stream,
/// `Truncate` resets it after the bytes, and `DripHeaders` and `CloseAfterReply` do nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// Never answers, and keeps the connection open until the peer leaves.
    Hang,
    /// Sends the first bytes of the reply, head included, then resets the connection: RST on TCP (SO_LINGER 0); in memory, where no
    /// such thing exists, it closes without a word.
    Reset {
        /// How many bytes are sent first; 0 resets before the reply begins.
        after: usize,
    },
    /// Closes the connection in place of a reply.
    CloseBefore,
    /// Sends the head and the first bytes of the body, then closes. With [`Framing::Chunked`](crate::Framing) the bytes are counted
    /// with the chunks' own, and the last chunk is missing.
    Truncate {
        /// How many bytes of the body are sent.
        after: usize,
    },
    /// Sends the head one byte at a time, then the body.
    DripHeaders {
        /// The pause before each byte.
        interval: Duration,
    },
    /// Sends the body one byte at a time.
    DripBody {
        /// The pause between two bytes.
        interval: Duration,
    },
    /// Writes these bytes as they are, with no head before them, then closes: for HTTP that no script can express.
    RawBytes(Bytes),
    /// Sends a body of this size: one JSON string of the letter x, made as it is sent. The rule's framing says whether its length is told.
    BigBody {
        /// The size in bytes, quotes included.
        size: u64,
    },
    /// Sends a gzip body, about a thousandth of its decoded size, that decodes to spaces and the JSON number 1.
    GzipBomb {
        /// The decoded size in bytes, at most 16 GiB.
        decoded: u64,
    },
    /// Adds headers to the reply.
    HeaderFlood {
        /// How many.
        headers: usize,
        /// How long the value of each is, in bytes.
        value_length: usize,
    },
    /// Sends `103` interim replies before the reply.
    Interim {
        /// How many.
        count: usize,
    },
    /// Sends a body of chunks that does not end before the peer leaves.
    EndlessChunks,
    /// Sends a complete reply that announces `connection: keep-alive`, then closes the connection.
    CloseAfterReply,
    /// Announces chunks, sends half of the body as one, then a chunk size that is no number, then closes.
    BadChunks,
}
