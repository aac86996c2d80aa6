//! What the driver and the server report, as errors of calls; and what an error leaves of the session.
//!
//! The server's own words may quote values (`invalid input syntax for type integer: "..."`), so they are kept only where no
//! value has been sent yet: while connecting and while preparing. Later it is the SQLSTATE, its meaning, and names of the
//! schema.

use std::io;

use tokio_postgres::error::{DbError, ErrorPosition, SqlState};

use super::wire::Meter;
use crate::{CallError, Kind, Phase};

/// A failed use of a session, and what is left of it.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) error: CallError,
    pub(super) after: After,
    /// The statement was prepared against a schema that has changed since; preparing it anew helps.
    pub(super) is_outdated: bool,
}

/// What an error leaves of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum After {
    /// It waits for the next statement.
    Usable,
    /// The server may still be at work.
    Busy,
    /// It is gone, or nobody knows where it stands.
    Broken,
}

impl Failure {
    pub(super) fn new(error: CallError, after: After) -> Self {
        Failure {
            error,
            after,
            is_outdated: false,
        }
    }

    /// The values do not fit the statement; nothing was sent.
    pub(super) fn value(detail: String) -> Self {
        Failure::new(CallError::new(Kind::Value, detail), After::Usable)
    }

    /// The server or the driver failed while the statement was prepared: before any value was sent.
    pub(super) fn preparing(error: tokio_postgres::Error, meter: &Meter) -> Self {
        Failure::of(error, meter, Words::Keep)
    }

    /// The server or the driver failed while the statement ran.
    pub(super) fn running(error: tokio_postgres::Error, meter: &Meter) -> Self {
        let mut failure = Failure::of(error, meter, Words::Drop);
        failure.error = failure.error.after_send();
        failure
    }

    fn of(error: tokio_postgres::Error, meter: &Meter, words: Words) -> Self {
        if meter.ran_out() {
            return Failure::new(CallError::new(Kind::TooLarge, "the answer is larger than allowed"), After::Broken);
        }
        let Some(fault) = error.as_db_error() else {
            return Failure::new(lost(error), After::Broken);
        };
        let (kind, after) = kind_of(fault.code());
        let is_outdated = matches!(
            *fault.code(),
            SqlState::FEATURE_NOT_SUPPORTED | SqlState::INVALID_SQL_STATEMENT_NAME
        );
        Failure {
            error: CallError::new(kind, detail(fault, words)),
            after,
            is_outdated,
        }
    }
}

/// Connecting failed: the server refused us, or spoke no Postgres, or went away.
pub(super) fn not_connected(error: tokio_postgres::Error) -> CallError {
    if let Some(fault) = error.as_db_error() {
        // The password or the database will be as wrong a moment later; a server that starts, stops or is full will not.
        let is_refusal = kind_of(fault.code()).0 != Kind::Reset;
        let kind = if is_refusal { Kind::Status } else { Kind::Connect };
        return CallError::new(kind, detail(fault, Words::Keep)).in_phase(Phase::Connect);
    }
    let text = with_cause(&error);
    let is_tls = text.starts_with("error performing TLS handshake");
    let reset = cause(&error).is_some_and(|cause| cause.kind() != io::ErrorKind::InvalidData && !is_rustls(cause));
    let (kind, phase) = match (is_tls, reset) {
        (true, false) => (Kind::Tls, Phase::Tls),
        (true, true) => (Kind::Connect, Phase::Tls),
        (false, _) if text.starts_with("authentication error") || text.starts_with("invalid configuration") => {
            (Kind::Status, Phase::Connect)
        }
        (false, _) => (Kind::Connect, Phase::Connect),
    };
    CallError::new(kind, text).in_phase(phase).caused_by(error)
}

/// The connection ended, or the driver lost its way in what came.
fn lost(error: tokio_postgres::Error) -> CallError {
    let is_end = error.is_closed() || cause(&error).is_some();
    let kind = if is_end { Kind::Reset } else { Kind::Protocol };
    CallError::new(kind, with_cause(&error)).caused_by(error)
}

fn cause(error: &tokio_postgres::Error) -> Option<&io::Error> {
    std::error::Error::source(error).and_then(|cause| cause.downcast_ref::<io::Error>())
}

fn is_rustls(error: &io::Error) -> bool {
    error.get_ref().is_some_and(|inner| inner.is::<rustls::Error>())
}

fn with_cause(error: &tokio_postgres::Error) -> String {
    match std::error::Error::source(error) {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    }
}

/// Whether the server's own words may be repeated.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Words {
    Keep,
    Drop,
}

/// What an SQLSTATE means for the call and for the session ("PostgreSQL Error Codes" in the server's manual).
fn kind_of(code: &SqlState) -> (Kind, After) {
    match code.code() {
        // A value that its type cannot hold or read.
        "22P02" | "22P03" | "22P05" | "22003" | "22007" | "22008" | "22001" | "22021" | "22015" | "22009" => (Kind::Value, After::Usable),
        // Stopped on request; the caller knows whether its time was up.
        "57014" => (Kind::Cancelled, After::Usable),
        // The server shuts down, crashed, starts, or ended this session (57P05: idle for too long).
        "57P01" | "57P02" | "57P03" | "57P04" | "57P05" => (Kind::Reset, After::Broken),
        // Too many sessions.
        "53300" => (Kind::Reset, After::Broken),
        // The connection (class 08), or a transaction that idled for too long and took its session with it.
        code if code.starts_with("08") => (Kind::Reset, After::Broken),
        "25P03" | "25P04" => (Kind::Reset, After::Broken),
        // Internal errors may be anything.
        code if code.starts_with("XX") => (Kind::Status, After::Broken),
        _ => (Kind::Status, After::Usable),
    }
}

fn detail(fault: &DbError, words: Words) -> String {
    let code = fault.code().code();
    if words == Words::Keep {
        let at = match fault.position() {
            Some(ErrorPosition::Original(position)) => format!(" (at character {position} of the statement)"),
            _ => String::new(),
        };
        return format!("SQLSTATE {code}: {}{at}", fault.message());
    }
    let mut detail = format!("SQLSTATE {code}: {}", meaning(code));
    let names = [
        ("constraint", fault.constraint()),
        ("table", fault.table()),
        ("column", fault.column()),
    ];
    for (what, name) in names.into_iter().filter_map(|(what, name)| name.map(|name| (what, name))) {
        detail.push_str(&format!(", {what} `{name}`"));
    }
    detail
}

/// A few words for the codes and classes that are met in practice; the code itself says the rest.
fn meaning(code: &str) -> &'static str {
    match code {
        "22P02" | "22P03" | "22007" => "a value is not one of its type",
        "22003" | "22008" => "a value is out of range",
        "22001" => "a value is too long",
        "22012" => "division by zero",
        "23502" => "a null where none may be",
        "23503" => "a foreign key does not hold",
        "23505" => "a unique key exists already",
        "23514" => "a check does not hold",
        "40001" => "the transaction lost against another one",
        "40P01" => "deadlock",
        "42501" => "permission denied",
        "55P03" => "a lock was not to be had in time",
        "57014" => "the statement was cancelled",
        "57P01" | "57P02" | "57P03" | "57P04" => "the server ended the session",
        "53300" => "too many sessions",
        _ => match &code[..code.len().min(2)] {
            "22" => "data exception",
            "23" => "a constraint does not hold",
            "25" => "invalid transaction state",
            "40" => "the transaction was rolled back",
            "42" => "the statement is wrong or not allowed",
            "53" => "the server is short of something",
            "57" => "the server was told to stop this",
            "P0" => "raised by a function",
            _ => "the server refused the statement",
        },
    }
}
