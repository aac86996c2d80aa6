//! Odd HTTP/1.1 answers, each given to our codec and to hyper's, whole, byte by byte and in other pieces. What is written at an answer is
//! what a client must make of it. Both codecs do, except where the answer says `ours_alone` and why: ours then refuses, or does not keep
//! the connection, where hyper does. The other way round is a fault.

mod both;
mod status_lines;
mod interim;
mod headers;
mod lengths;
mod chunks;
mod endings;
mod codings;

use anabranch::Kind;
use anabranch::client::Codec;
use http::Method;

use self::both::{Script, Seen, as_strict, ask};
use crate::gather::paused;

/// One answer and what becomes of it.
struct Case {
    name: &'static str,
    method: Method,
    answer: Vec<u8>,
    /// Whether the peer closes after it.
    closes: bool,
    expected: Expected,
    ours_alone: Option<&'static str>,
}

#[derive(Debug, PartialEq, Eq)]
enum Expected {
    Answer { status: u16, body: Vec<u8>, is_kept: bool },
    Refused(Kind),
}

/// An answer to GET of a peer that then waits for the next request.
fn case(name: &'static str, answer: impl Into<Vec<u8>>) -> Case {
    let expected = Expected::Refused(Kind::Protocol);
    Case { name, method: Method::GET, answer: answer.into(), closes: false, expected, ours_alone: None }
}

impl Case {
    fn to_head(mut self) -> Self {
        self.method = Method::HEAD;
        self
    }

    /// The peer closes after the last byte.
    fn closes(mut self) -> Self {
        self.closes = true;
        self
    }

    /// It is accepted, and the connection serves on.
    fn gives(mut self, status: u16, body: impl Into<Vec<u8>>) -> Self {
        self.expected = Expected::Answer { status, body: body.into(), is_kept: !self.closes };
        self
    }

    /// It is accepted, and the connection is not used again.
    fn gives_once(mut self, status: u16, body: impl Into<Vec<u8>>) -> Self {
        self.expected = Expected::Answer { status, body: body.into(), is_kept: false };
        self
    }

    fn refused(mut self, kind: Kind) -> Self {
        self.expected = Expected::Refused(kind);
        self
    }

    /// The client waits for more.
    fn waits(self) -> Self {
        self.refused(Kind::Timeout)
    }

    /// hyper accepts it, or keeps the connection.
    fn ours_alone(mut self, because: &'static str) -> Self {
        self.ours_alone = Some(because);
        self
    }

    /// Gives the answer in these pieces to both codecs.
    fn check(&self, pieces: Vec<Vec<u8>>) {
        let count = pieces.len();
        let script = Script { method: self.method.clone(), pieces, closes: self.closes };
        let ours = paused(ask(Codec::Own, script.clone()));
        let hypers = paused(ask(Codec::Hyper, script));
        let told = || format!("`{}` in {count} pieces\nours: {ours:?}\nhyper's: {hypers:?}", self.name);
        as_strict(&ours, &hypers).unwrap_or_else(|what| panic!("{what}: {}", told()));
        assert_eq!(Expected::of(&ours), self.expected, "ours: {}", told());
        match self.ours_alone {
            None => assert_eq!(Expected::of(&hypers), self.expected, "hyper's: {}", told()),
            Some(because) => {
                assert!(hypers.answer.is_ok(), "hyper refuses it as well, so nothing is ours alone: {}", told());
                assert_ne!(Expected::of(&hypers), self.expected, "no difference any more ({because}): {}", told());
            }
        }
    }
}

impl Expected {
    fn of(seen: &Seen) -> Self {
        match &seen.answer {
            Ok(answer) => Expected::Answer { status: answer.status, body: answer.body.clone(), is_kept: seen.is_kept },
            Err(error) => Expected::Refused(error.kind()),
        }
    }
}

/// All answers.
fn corpus() -> Vec<Case> {
    [
        status_lines::cases(),
        interim::cases(),
        headers::cases(),
        lengths::cases(),
        chunks::cases(),
        endings::cases(),
        codings::cases(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// An answer up to this size is also given byte by byte, and cut in two at every byte.
const SMALL: usize = 2 << 10;

#[test]
fn the_corpus_is_large_and_its_names_are_unique() {
    let mut names: Vec<_> = corpus().iter().map(|case| case.name).collect();
    assert!(names.len() >= 160, "{}", names.len());
    names.sort_unstable();
    let twice: Vec<_> = names.windows(2).filter(|pair| pair[0] == pair[1]).collect();
    assert!(twice.is_empty(), "{twice:?}");
}

#[test]
fn whole_answers_are_taken_alike_or_refused_by_ours() {
    for case in corpus() {
        case.check(vec![case.answer.clone()]);
    }
}

#[test]
fn answers_that_come_byte_by_byte_are_taken_alike_or_refused_by_ours() {
    for case in corpus() {
        let size = if case.answer.len() <= SMALL { 1 } else { 61 };
        case.check(case.answer.chunks(size).map(<[u8]>::to_vec).collect());
    }
}

#[test]
fn answers_cut_in_two_anywhere_are_taken_alike_or_refused_by_ours() {
    for case in corpus() {
        let step = if case.answer.len() <= SMALL { 3 } else { case.answer.len() / 20 };
        // Which third of the bytes is cut at depends on the name, so that all kinds of places are among them.
        for at in (1 + case.name.len() % 3..case.answer.len()).step_by(step) {
            case.check(vec![case.answer[..at].to_vec(), case.answer[at..].to_vec()]);
        }
    }
}

#[test]
fn answers_in_random_pieces_are_taken_alike_or_refused_by_ours() {
    let mut random = fastrand::Rng::with_seed(11);
    for case in corpus() {
        for _ in 0..4 {
            let mut rest = &case.answer[..];
            let mut pieces = Vec::new();
            let most = if random.bool() { 8 } else { case.answer.len().max(1) };
            while !rest.is_empty() {
                let (piece, others) = rest.split_at(random.usize(1..=most).min(rest.len()));
                pieces.push(piece.to_vec());
                rest = others;
            }
            case.check(pieces);
        }
    }
}

#[test]
fn answers_cut_off_anywhere_are_refused_by_both_unless_whole() {
    let whole = [
        &b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello"[..],
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3;x=\"y\"\r\nhel\r\n2\r\nlo\r\n0\r\nx-sum: 1\r\n\r\n",
        b"HTTP/1.1 204 No Content\r\nx: y\r\n\r\n",
        b"HTTP/1.0 200 OK\r\nconnection: keep-alive\r\ncontent-length: 5\r\n\r\nhello",
    ];
    for answer in whole {
        for end in 0..answer.len() {
            let kind = if answer[..end].windows(12).any(|bytes| bytes == b"HTTP/1.1 200" || bytes == b"HTTP/1.0 200")
                && answer[..end].ends_with(b"\r\n\r\n") | answer[..end].windows(5).any(|bytes| bytes == b"\r\n\r\nh" || bytes == b"\r\n\r\n3")
            {
                Kind::Truncated
            } else {
                Kind::Reset
            };
            case("cut off", &answer[..end]).closes().refused(kind).check(vec![answer[..end].to_vec()]);
        }
        let status = if answer.windows(3).any(|bytes| bytes == b"204") { 204 } else { 200 };
        let body = if status == 204 { "" } else { "hello" };
        case("whole", answer).closes().gives(status, body).check(vec![answer.to_vec()]);
    }
}
