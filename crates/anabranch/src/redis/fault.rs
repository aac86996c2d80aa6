//! What a server refuses, as errors of calls. Its own words may quote values (`ERR unknown command 'x', with args beginning with:
//! 'secret'`), so only the code, its first word, is repeated, and what we know of it.

use std::error::Error;
use std::fmt;
use std::time::Duration;

use super::slots::SLOTS;
use crate::{CallError, Kind, Phase};

/// An error reply to a command. Kind `status`; the text begins with the code, for example `WRONGTYPE`.
pub(super) fn answer(line: &[u8]) -> CallError {
    let code = code(line);
    let error = CallError::new(Kind::Status, described(code, line));
    match Redirect::read(code, line) {
        Some(redirect) => error.caused_by(redirect),
        None if is_passing(code) => error.retry_in(Duration::from_secs(1)),
        None => error,
    }
}

/// Where a server of a cluster says that a key is: the cause of a `MOVED` or `ASK` error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Redirect {
    pub(super) slot: u16,
    /// None if it is the host that said so.
    pub(super) host: Option<String>,
    pub(super) port: u16,
    /// The slot is on its way there: only this command is to be sent there, announced with `ASKING`.
    pub(super) is_ask: bool,
}

impl Redirect {
    /// `MOVED 3999 127.0.0.1:6381` ("Redis cluster specification").
    fn read(code: &str, line: &[u8]) -> Option<Redirect> {
        let is_ask = match code {
            "MOVED" => false,
            "ASK" => true,
            _ => return None,
        };
        let mut words = std::str::from_utf8(line).ok()?.split(' ').skip(1);
        let slot = words.next()?.parse().ok().filter(|slot| *slot < SLOTS)?;
        let (host, port) = words.next()?.rsplit_once(':')?;
        let host = Some(host.to_owned()).filter(|host| !host.is_empty() && host != "?");
        let port = port.parse().ok().filter(|port| *port != 0)?;
        Some(Redirect { slot, host, port, is_ask })
    }

    /// The redirect that an error is about.
    pub(super) fn of(error: &CallError) -> Option<&Redirect> {
        error.source()?.downcast_ref()
    }
}

impl fmt::Display for Redirect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "slot {} is elsewhere", self.slot)
    }
}

impl Error for Redirect {}

/// An error reply to our login. A wrong password stays wrong; a server that is loading or full will not be for long.
pub(super) fn login(line: &[u8]) -> CallError {
    let code = code(line);
    let is_full = line.starts_with(b"ERR max number of clients");
    let speaks_no_resp3 = code == "NOPROTO" || line.starts_with(b"ERR unknown command");
    let kind = match code {
        _ if speaks_no_resp3 => {
            return CallError::new(
                Kind::Protocol,
                "the server does not speak RESP3: expected Redis 6 or later, or Valkey",
            )
            .in_phase(Phase::Connect);
        }
        _ if is_full || is_passing(code) => Kind::Connect,
        _ => Kind::Status,
    };
    CallError::new(kind, format!("the server refused the login: {}", described(code, line))).in_phase(Phase::Connect)
}

/// What came is no RESP, or no answer to anything.
pub(super) fn broken(what: &str) -> CallError {
    CallError::new(Kind::Protocol, format!("the server's answer {what}"))
}

/// Whether an error says that the server takes no writes any more: it became a replica, and its name may lead elsewhere by now.
pub(super) fn is_demoted(error: &CallError) -> bool {
    error.detail().starts_with("READONLY")
}

fn code(line: &[u8]) -> &str {
    let end = line.iter().position(|byte| *byte == b' ').unwrap_or(line.len());
    let is_code = |word: &&[u8]| {
        (1..=24).contains(&word.len())
            && word
                .iter()
                .all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || *byte == b'_')
    };
    // A script or module may answer anything; a server that has no code for an error says ERR.
    Some(&line[..end])
        .filter(is_code)
        .and_then(|word| std::str::from_utf8(word).ok())
        .unwrap_or("ERR")
}

/// Whether the server will answer otherwise after a moment.
fn is_passing(code: &str) -> bool {
    matches!(code, "LOADING" | "BUSY" | "TRYAGAIN" | "CLUSTERDOWN" | "MASTERDOWN")
}

fn described(code: &str, line: &[u8]) -> String {
    match meaning(code, line) {
        "" => code.to_owned(),
        meaning => format!("{code}: {meaning}"),
    }
}

/// A few words for the codes that are met in practice.
fn meaning(code: &str, line: &[u8]) -> &'static str {
    match code {
        "WRONGTYPE" => "the key holds another type than the command works on",
        "LOADING" => "the server is still loading its data",
        "BUSY" => "the server is busy with a script",
        "TRYAGAIN" => "the keys are being moved",
        "CLUSTERDOWN" => "the cluster does not serve this key for now",
        "MASTERDOWN" => "the replica has no link to its master",
        "READONLY" => "the server is a replica",
        "OOM" => "the server's memory is full",
        "MISCONF" => "the server cannot save and takes no writes",
        "NOREPLICAS" => "the server has too few replicas to take writes",
        "NOAUTH" => "the server wants a password",
        "WRONGPASS" => "the user or the password is wrong, or the user is disabled",
        "NOPERM" => "the user may not run this command or use this key",
        "DENIED" => "the server is in protected mode",
        "CROSSSLOT" => "the keys are in different slots of the cluster",
        "MOVED" | "ASK" => "the key is on another server of the cluster",
        "NOSCRIPT" => "the server does not know the script",
        "NOGROUP" => "there is no such consumer group or key",
        "ERR" => error_meaning(line),
        _ => "",
    }
}

/// The beginnings of messages without a code of their own that contain no value (server.c and t_*.c of Redis 7).
fn error_meaning(line: &[u8]) -> &'static str {
    const KNOWN: [(&str, &str); 13] = [
        ("ERR wrong number of arguments", "wrong number of arguments"),
        ("ERR unknown command", "the server does not know this command"),
        ("ERR unknown subcommand", "the server does not know this subcommand"),
        ("ERR syntax error", "syntax error"),
        ("ERR value is not an integer", "a value is not an integer, or out of range"),
        ("ERR hash value is not an integer", "the hash's value is not an integer"),
        ("ERR value is not a valid float", "a value is not a number"),
        ("ERR hash value is not a float", "the hash's value is not a number"),
        ("ERR increment or decrement would overflow", "the result would overflow"),
        ("ERR index out of range", "index out of range"),
        ("ERR no such key", "no such key"),
        ("ERR invalid expire time", "invalid expire time"),
        ("ERR DB index is out of range", "the server has no such database"),
    ];
    KNOWN
        .iter()
        .find(|(beginning, _)| line.starts_with(beginning.as_bytes()))
        .map_or("", |(_, meaning)| meaning)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_code_is_told_and_values_are_not() {
        for (line, detail) in [
            (
                "WRONGTYPE Operation against a key holding the wrong kind of value",
                "WRONGTYPE: the key holds another type than the command works on",
            ),
            (
                "ERR unknown command 'secret', with args beginning with: 'secret'",
                "ERR: the server does not know this command",
            ),
            ("ERR something with secret", "ERR"),
            ("secret", "ERR"),
            ("SECRET!", "ERR"),
            ("MYMODULE secret", "MYMODULE"),
            ("", "ERR"),
        ] {
            let error = answer(line.as_bytes());
            assert_eq!((error.kind(), error.detail()), (Kind::Status, detail), "{line}");
            assert!(!error.is_retryable());
        }
    }

    #[test]
    fn a_redirect_says_where_to() {
        let told = |line: &str| Redirect::of(&answer(line.as_bytes())).cloned();
        let to = |slot, host: Option<&str>, port, is_ask| {
            Some(Redirect {
                slot,
                host: host.map(str::to_owned),
                port,
                is_ask,
            })
        };
        assert_eq!(told("MOVED 3999 127.0.0.1:6381"), to(3999, Some("127.0.0.1"), 6381, false));
        assert_eq!(told("ASK 0 ::1:6381"), to(0, Some("::1"), 6381, true));
        assert_eq!(told("MOVED 16383 :7"), to(16383, None, 7, false));
        for line in [
            "MOVED",
            "MOVED 16384 a:1",
            "MOVED x a:1",
            "MOVED 1 a",
            "MOVED 1 a:0",
            "MOVED 1 a:x",
            "ERR 1 a:1",
        ] {
            assert_eq!(told(line), None, "{line}");
        }
    }

    #[test]
    fn what_passes_says_when_to_come_back() {
        assert!(answer(b"LOADING Redis is loading the dataset in memory").retry_after().is_some());
        assert!(answer(b"WRONGTYPE x").retry_after().is_none());
    }

    #[test]
    fn a_login_is_refused_for_good_or_for_now() {
        for (line, kind) in [
            ("WRONGPASS invalid username-password pair or user is disabled.", Kind::Status),
            ("NOAUTH HELLO must be called with the client already authenticated", Kind::Status),
            ("ERR DB index is out of range", Kind::Status),
            ("LOADING Redis is loading", Kind::Connect),
            ("ERR max number of clients reached", Kind::Connect),
            ("NOPROTO unsupported protocol version", Kind::Protocol),
            ("ERR unknown command `HELLO`, with args beginning with: `3`, ", Kind::Protocol),
        ] {
            assert_eq!(login(line.as_bytes()).kind(), kind, "{line}");
        }
    }
}
