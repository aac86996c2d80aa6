//! The record of a job: schema v1, one line of JSON for each job, in order of completion.

use bytes::Bytes;
use serde::Serialize;
use serde_json::value::RawValue;

use crate::JobId;

/// How a job ended. A closed set; what it was exactly is in [`Failure`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// An answer with a status that was expected, whole, stored.
    Ok,
    /// 304: what was stored before still holds.
    NotModified,
    /// An answer with another status.
    HttpError,
    /// No answer, or not all of it, in time.
    Timeout,
    /// The name has no address.
    Dns,
    /// No connection.
    Connect,
    /// The TLS handshake failed.
    Tls,
    /// The peer closed or reset the connection before the answer began.
    Reset,
    /// The peer did not speak HTTP.
    Protocol,
    /// The body ended early.
    Truncated,
    /// Too many redirects, a loop, or one that leads nowhere we go.
    Redirect,
    /// A body, decoded or not, beyond the limits.
    TooLarge,
    /// Slower than `--min-speed`.
    TooSlow,
    /// Not in the charset or compression that it says.
    Decode,
    /// A selector or jq program failed on the body.
    Extract,
    /// The body's hash is not the one that was given.
    Checksum,
    /// robots.txt says no.
    Robots,
    /// Left out by the rules of the crawl.
    Filtered,
    /// A private address, refused by `--deny-private`.
    PrivateAddress,
    /// Not a job: no URL, or one that we do not fetch.
    Invalid,
    /// The id of an earlier job.
    Duplicate,
    /// Its host failed for so long that it was given up.
    HostGaveUp,
    /// It ended the process again and again.
    CrashLoop,
    /// Cancelled by hand.
    Cancelled,
}

impl Outcome {
    /// All of them, in the order in which the documentation lists them.
    pub const ALL: [Outcome; 24] = [
        Outcome::Ok,
        Outcome::NotModified,
        Outcome::HttpError,
        Outcome::Timeout,
        Outcome::Dns,
        Outcome::Connect,
        Outcome::Tls,
        Outcome::Reset,
        Outcome::Protocol,
        Outcome::Truncated,
        Outcome::Redirect,
        Outcome::TooLarge,
        Outcome::TooSlow,
        Outcome::Decode,
        Outcome::Extract,
        Outcome::Checksum,
        Outcome::Robots,
        Outcome::Filtered,
        Outcome::PrivateAddress,
        Outcome::Invalid,
        Outcome::Duplicate,
        Outcome::HostGaveUp,
        Outcome::CrashLoop,
        Outcome::Cancelled,
    ];

    /// As it stands in records.
    pub fn as_str(self) -> &'static str {
        match self {
            Outcome::Ok => "ok",
            Outcome::NotModified => "not_modified",
            Outcome::HttpError => "http_error",
            Outcome::Timeout => "timeout",
            Outcome::Dns => "dns",
            Outcome::Connect => "connect",
            Outcome::Tls => "tls",
            Outcome::Reset => "reset",
            Outcome::Protocol => "protocol",
            Outcome::Truncated => "truncated",
            Outcome::Redirect => "redirect",
            Outcome::TooLarge => "too_large",
            Outcome::TooSlow => "too_slow",
            Outcome::Decode => "decode",
            Outcome::Extract => "extract",
            Outcome::Checksum => "checksum",
            Outcome::Robots => "robots",
            Outcome::Filtered => "filtered",
            Outcome::PrivateAddress => "private_address",
            Outcome::Invalid => "invalid",
            Outcome::Duplicate => "duplicate",
            Outcome::HostGaveUp => "host_gave_up",
            Outcome::CrashLoop => "crash_loop",
            Outcome::Cancelled => "cancelled",
        }
    }

    /// Whether the job did what it was for, or was left out on purpose: these make exit code 0.
    pub fn is_fine(self) -> bool {
        matches!(
            self,
            Outcome::Ok | Outcome::NotModified | Outcome::Filtered | Outcome::Robots | Outcome::Duplicate
        )
    }
}

/// Why a job failed, in more detail than its outcome.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Failure {
    /// One word: a limit's name where one fired (`first_byte_timeout`), else the outcome's.
    pub kind: String,
    /// Where it was: `dns`, `connect`, `tls`, `first_byte`, `body`...
    #[serde(skip_serializing_if = "Option::is_none")]
    pub phase: Option<String>,
    /// For a person. Holds no secrets: no userinfo, no header values.
    pub message: String,
    /// Whether the same request may succeed later.
    pub retryable: bool,
}

/// An attempt that was followed by another.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Try {
    /// How it ended.
    pub outcome: Outcome,
    /// The status, where there was an answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// From its start to its end, in milliseconds.
    pub total_ms: f64,
    /// The wait after it, in milliseconds.
    pub wait_ms: f64,
    /// What the wait follows: `retry-after`, `backoff`.
    pub why: &'static str,
}

/// Phases of the last attempt in milliseconds; `queue` and `host_wait` are sums over the whole job. What did not happen is left out.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Times {
    /// Waiting for a free place among all jobs.
    pub queue: f64,
    /// Waiting because the host may not be asked yet: rate, delay, backoff, its own places.
    pub host_wait: f64,
    /// Waiting for a connection.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pool: Option<f64>,
    /// Looking up the name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dns: Option<f64>,
    /// Connecting.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connect: Option<f64>,
    /// Shaking hands.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<f64>,
    /// From the request to the head of the answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ttfb: Option<f64>,
    /// From the head to the end of the body.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body: Option<f64>,
}

/// One line of the record file. Fields that say nothing are left out, but for those that every record has: `v`, `id`, `url`, `method`,
/// `outcome`, `attempts`, `total_ms`, `ts`, and `error`, which is null for what did not fail.
#[derive(Clone, Debug, Serialize)]
pub struct Record {
    /// The version of this schema: 1. Fields are added, never changed.
    pub v: u8,
    /// The name of the run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run: Option<String>,
    /// The place of the job in the input; null for what was discovered.
    pub seq: Option<u64>,
    /// The job.
    #[serde(serialize_with = "as_text")]
    pub id: JobId,
    /// As it was asked for, without userinfo and fragment.
    pub url: String,
    /// The method.
    pub method: String,
    /// How it ended.
    pub outcome: Outcome,
    /// The last status.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// Where redirects led, when that is not `url`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub final_url: Option<String>,
    /// Requests made, redirects not counted.
    pub attempts: u32,
    /// Every attempt but the last.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tries: Vec<Try>,
    /// From the first attempt's start to the end, in milliseconds.
    pub total_ms: f64,
    /// Phases.
    pub t_ms: Times,
    /// `1.1` or `2`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub http: Option<&'static str>,
    /// The address that answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remote: Option<String>,
    /// Whether the connection had been used before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reused: Option<bool>,
    /// Bytes of the body as sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wire_bytes: Option<u64>,
    /// Bytes of the body as decoded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body_bytes: Option<u64>,
    /// The content coding that was undone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub encoding: Option<String>,
    /// The media type, without parameters.
    #[serde(skip_serializing_if = "Option::is_none", rename = "type")]
    pub media_type: Option<String>,
    /// The charset, of the head or of the document.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub charset: Option<String>,
    /// The ETag of the answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub etag: Option<String>,
    /// Its Last-Modified.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_modified: Option<String>,
    /// `hit`, `miss`, `revalidated`, where there is a cache.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cache: Option<&'static str>,
    /// Whether it differs from what an earlier pass saw.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub changed: Option<bool>,
    /// SHA-256, in hex, of the saved bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    /// The file of the body.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// What selectors or jq took from the body.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data: Option<Box<RawValue>>,
    /// Headers that were asked for, names in lower case.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub headers: Option<Box<RawValue>>,
    /// The body, where it was asked for: text, or base64 where `body_base64` is true.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
    /// Whether `body` is base64.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body_base64: Option<bool>,
    /// The URLs that redirects led through, `url` left out.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub redirects: Vec<String>,
    /// Links that became jobs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub links: Option<u32>,
    /// Links followed to get here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub depth: Option<u32>,
    /// The job whose page named this one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parent: Option<String>,
    /// Why it failed.
    pub error: Option<Failure>,
    /// What the input said besides.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub meta: Option<Box<RawValue>>,
    /// When it ended: RFC 3339, UTC, milliseconds.
    pub ts: String,
}

fn as_text<S: serde::Serializer>(id: &JobId, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(id.as_str())
}

/// What the run hands to the store when a job has ended: committed as one.
#[derive(Debug)]
pub struct Finished {
    /// The record.
    pub record: Record,
    /// What is to be saved.
    pub body: SavedBody,
    /// Jobs that were found in the page.
    pub found: Vec<crate::Job>,
    /// Where the body is to be, below the folder for bodies: as [rendered](crate::content::names). The store settles collisions and
    /// writes the place that came of it into the record's `path`.
    pub name: Option<std::path::PathBuf>,
    /// The exchange as it was on the wire, where a sink [wants](crate::store::Store::wants_archive) it.
    pub archive: Option<Box<Archive>>,
}

impl Finished {
    /// A job that ended and left nothing but its record.
    pub fn new(record: Record) -> Self {
        Finished {
            record,
            body: SavedBody::None,
            found: Vec::new(),
            name: None,
            archive: None,
        }
    }
}

/// The last exchange of a job, for a web archive.
#[derive(Clone, Debug)]
pub struct Archive {
    /// The request as sent: request line, headers, empty line, body.
    pub request: Bytes,
    /// The status line and the headers of the answer, without the empty line that ends them.
    pub head: Bytes,
    /// The body, decoded. Empty where it went to a file; it is then read from there.
    pub body: Bytes,
}

/// A body on its way to where it is kept.
#[derive(Debug, Default)]
pub enum SavedBody {
    /// Nothing is kept.
    #[default]
    None,
    /// In memory: small.
    Bytes(Bytes),
    /// In a file under `DIR/.part`, complete, not yet synced.
    Part(std::path::PathBuf),
}
