//! The head of an answer, parsed as strictly as hyper does or more so.

use crate::client::body::Framing;
use crate::client::connection::{MAX_HEAD, MAX_HEADERS};
use crate::client::facts::Spoken;

/// What stands at the start of some bytes.
pub(super) enum Parsed {
    /// Not a whole head yet.
    Partial,
    /// An interim answer (1xx) with a head of this length; the answer proper follows.
    Interim(usize),
    /// The head of the answer, of this length.
    Final(AnswerHead, usize),
}

/// The head of an answer.
pub(super) struct AnswerHead {
    pub(super) status: u16,
    pub(super) framing: Framing,
    /// Whether the peer keeps the connection open after the answer.
    pub(super) keeps_open: bool,
    pub(super) spoken: Spoken,
    /// The header lines, names in lower case.
    pub(super) lines: Box<[u8]>,
}

/// Parses. The error says what is wrong, for whoever reads the log.
pub(super) fn parse(bytes: &[u8]) -> Result<Parsed, &'static str> {
    let mut lines = [const { std::mem::MaybeUninit::uninit() }; MAX_HEADERS];
    let mut answer = httparse::Response::new(&mut []);
    let length = match httparse::ParserConfig::default().parse_response_with_uninit_headers(&mut answer, bytes, &mut lines) {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) if bytes.len() >= MAX_HEAD => return Err("the answer's head is larger than 64 KiB"),
        Ok(httparse::Status::Partial) => return Ok(Parsed::Partial),
        Err(httparse::Error::TooManyHeaders) => return Err("the answer has more than 100 headers"),
        Err(_) => return Err("the answer's head is not HTTP/1.1"),
    };
    if length > MAX_HEAD {
        return Err("the answer's head is larger than 64 KiB");
    }
    if has_bare_line_feed(&bytes[..length]) {
        return Err("a line of the answer's head ends with a bare line feed");
    }
    let status = answer.code.unwrap_or(0);
    // RFC 9110 section 15: three digits, the first of 1 to 5; some servers go to 9.
    match status {
        101 => return Err("the peer changed the protocol without being asked"),
        100..200 => return Ok(Parsed::Interim(length)),
        200..1000 => {}
        _ => return Err("the answer's status is no status"),
    }
    let named = || answer.headers.iter().map(|line| (line.name.as_bytes(), line.value));
    let framing = Framing::read(named())?;
    let is_http_11 = answer.version == Some(1);
    if framing.is_chunked && !is_http_11 {
        return Err("the answer has chunks in HTTP/1.0");
    }
    let keeps_open = if is_http_11 {
        !framing.says_close
    } else {
        framing.says_keep_alive && !framing.says_close
    };
    let lines = lower_case_lines(answer.headers);
    Ok(Parsed::Final(
        AnswerHead {
            status,
            framing,
            keeps_open,
            spoken: if is_http_11 { Spoken::Http11 } else { Spoken::Http10 },
            lines,
        },
        length,
    ))
}

/// The header lines, `name:value` with the name in lower case, each ended by a line feed.
fn lower_case_lines(headers: &[httparse::Header<'_>]) -> Box<[u8]> {
    let size = headers.iter().map(|header| header.name.len() + header.value.len() + 2).sum();
    let mut lines = Vec::with_capacity(size);
    for header in headers {
        let name_at = lines.len();
        lines.extend_from_slice(header.name.as_bytes());
        lines[name_at..].make_ascii_lowercase();
        lines.push(b':');
        lines.extend_from_slice(header.value);
        lines.push(b'\n');
    }
    lines.into_boxed_slice()
}

/// httparse takes a line feed alone for the end of a line, and not everybody splits a head there.
fn has_bare_line_feed(head: &[u8]) -> bool {
    // It takes a return nowhere but before a line feed, so two counts tell; each is a loop over words, not bytes.
    let count = |wanted: u8| head.iter().filter(|byte| **byte == wanted).count();
    count(b'\n') != count(b'\r')
}

/// The first value of a header in lines as [`parse`] leaves them. The name's case does not matter.
pub(crate) fn find<'l>(lines: &'l [u8], name: &str) -> Option<&'l [u8]> {
    iter(lines)
        .find(|(other, _)| other.eq_ignore_ascii_case(name))
        .map(|(_, value)| value)
}

/// All headers in lines as [`parse`] leaves them.
pub(crate) fn iter(lines: &[u8]) -> impl Iterator<Item = (&str, &[u8])> {
    lines.split(|byte| *byte == b'\n').filter_map(|line| {
        let colon = line.iter().position(|byte| *byte == b':')?;
        let name = std::str::from_utf8(&line[..colon]).ok()?;
        Some((name, line[colon + 1..].trim_ascii()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn last(text: &str) -> AnswerHead {
        match parse(text.as_bytes()) {
            Ok(Parsed::Final(head, length)) => {
                assert_eq!(length, text.len());
                head
            }
            Ok(_) => panic!("not final: {text:?}"),
            Err(what) => panic!("{what}: {text:?}"),
        }
    }

    fn refused(text: &str) -> bool {
        parse(text.as_bytes()).is_err()
    }

    #[test]
    fn a_usual_head_is_read() {
        let head = last("HTTP/1.1 200 OK\r\nContent-Length: 12\r\nX-Y:  a b \r\n\r\n");
        assert_eq!((head.status, head.framing.length, head.keeps_open), (200, Some(12), true));
        assert_eq!(find(&head.lines, "x-y"), Some(&b"a b"[..]));
        assert_eq!(
            iter(&head.lines).map(|(name, _)| name).collect::<Vec<_>>(),
            ["content-length", "x-y"]
        );
    }

    #[test]
    fn connections_close_when_the_peer_says_so() {
        assert!(!last("HTTP/1.1 200 OK\r\nConnection: Close\r\n\r\n").keeps_open);
        assert!(!last("HTTP/1.1 200 OK\r\nConnection: keep-alive, close\r\n\r\n").keeps_open);
        assert!(!last("HTTP/1.0 200 OK\r\n\r\n").keeps_open);
        assert!(last("HTTP/1.0 200 OK\r\nConnection: Keep-Alive\r\n\r\n").keeps_open);
    }

    #[test]
    fn an_incomplete_head_is_partial_at_every_byte() {
        let text = "HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\n";
        for end in 0..text.len() {
            assert!(matches!(parse(&text.as_bytes()[..end]), Ok(Parsed::Partial)), "{end}");
        }
    }

    #[test]
    fn interim_heads_are_told_apart_and_a_change_of_protocol_is_refused() {
        assert!(matches!(
            parse(b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1"),
            Ok(Parsed::Interim(37))
        ));
        assert!(refused("HTTP/1.1 101 Switching Protocols\r\n\r\n"));
    }

    #[test]
    fn what_two_readers_could_frame_in_two_ways_is_refused() {
        for lines in [
            "Content-Length: 5\r\nContent-Length: 5",
            "Content-Length: 5, 5",
            "Content-Length: +5",
            "Content-Length: 0x5",
            "Content-Length:",
            "Content-Length: 5\r\nTransfer-Encoding: chunked",
            "Transfer-Encoding: gzip, chunked",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
            "X: a\r\n folded",
            "X: a\nY: b",
            "X : a",
            "X: a\0b",
            ": a",
        ] {
            assert!(refused(&format!("HTTP/1.1 200 OK\r\n{lines}\r\n\r\n")), "{lines:?}");
        }
        assert!(refused("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"));
        assert!(refused("HTTP/1.1 200 OK\nX: y\n\n"));
        assert!(refused("HTTP/2 200 OK\r\n\r\n"));
        assert!(refused("HTTP/1.1 000 OK\r\n\r\n"));
        assert!(refused(&format!("HTTP/1.1 200 OK\r\n{}\r\n", "X: y\r\n".repeat(101))));
    }
}
