//! How an answer came: what a record of it says beside its content.

use std::net::SocketAddr;

use super::body::Coding;

/// How an answer came over the wire.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Facts {
    /// The HTTP that the peer spoke: `1.0`, `1.1` or `2`; empty where the answer came over no wire.
    pub version: &'static str,
    /// The address that was connected to, a proxy's where there is one; none where the stream is not TCP.
    pub remote: Option<SocketAddr>,
    /// Whether the connection had served an exchange before.
    pub reused: bool,
    /// Bytes of the body as sent: before decoding, without their framing. Of a streamed answer, those so far.
    pub wire_bytes: u64,
    /// The content coding that was undone: `gzip`, `deflate`, `br` or `zstd`.
    pub coding: Option<&'static str>,
}

/// The same in half the space: answers are moved often.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct WireFacts {
    pub(super) remote: Option<SocketAddr>,
    pub(super) wire_bytes: u64,
    pub(super) spoken: Spoken,
    pub(super) undone: Coding,
    pub(super) reused: bool,
}

/// The version in the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Spoken {
    Nothing,
    Http10,
    Http11,
    Http2,
}

impl WireFacts {
    /// Of an answer that came over no wire.
    pub(super) const NONE: WireFacts = WireFacts {
        remote: None,
        wire_bytes: 0,
        spoken: Spoken::Nothing,
        undone: Coding::Identity,
        reused: false,
    };

    pub(super) fn told(self) -> Facts {
        Facts {
            version: match self.spoken {
                Spoken::Nothing => "",
                Spoken::Http10 => "1.0",
                Spoken::Http11 => "1.1",
                Spoken::Http2 => "2",
            },
            remote: self.remote,
            reused: self.reused,
            wire_bytes: self.wire_bytes,
            coding: match self.undone {
                Coding::Identity | Coding::Unsupported => None,
                Coding::Gzip => Some("gzip"),
                Coding::Deflate => Some("deflate"),
                Coding::Brotli => Some("br"),
                Coding::Zstd => Some("zstd"),
            },
        }
    }
}
