//! Odd HTTP/1.1 answers, each given to our codec and to hyper's, whole, byte by byte and in other pieces. What is written at an answer is
//! what a client must make of it. Both codecs do, except where the answer says `ours_alone` and why: ours then refuses, or does not keep
//! the connection, where hyper does. The other way round is a fault.

mod both;
mod fragments;
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
    Case {
        name,
        method: Method::GET,
        answer: answer.into(),
        closes: false,
        expected,
        ours_alone: None,
    }
}

impl Case {
    fn for_head(mut self) -> Self {
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
        self.expected = Expected::Answer {
            status,
            body: body.into(),
            is_kept: !self.closes,
        };
        self
    }

    /// It is accepted, and the connection is not used again.
    fn gives_once(mut self, status: u16, body: impl Into<Vec<u8>>) -> Self {
        self.expected = Expected::Answer {
            status,
            body: body.into(),
            is_kept: false,
        };
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

    /// Gives the answer in these pieces to both codecs, and says what is wrong.
    fn check(&self, pieces: Vec<Vec<u8>>) -> Result<(), String> {
        let count = pieces.len();
        let script = Script {
            method: self.method.clone(),
            pieces,
            closes: self.closes,
        };
        let ours = paused(ask(Codec::Own, script.clone()));
        let hypers = paused(ask(Codec::Hyper, script));
        self.judge(&ours, &hypers).map_err(|what| {
            format!(
                "`{}` in {count} pieces: {what}\n  ours: {ours:.200?}\n  hyper's: {hypers:.200?}",
                self.name
            )
        })
    }

    fn judge(&self, ours: &Seen, hypers: &Seen) -> Result<(), String> {
        as_strict(ours, hypers)?;
        if Expected::of(ours) != self.expected {
            return Err("ours makes something else of it than it should".to_string());
        }
        let (made, expected) = (Expected::of(hypers), &self.expected);
        // How a refusal is called may differ: hyper parses a head that came in pieces once it is whole, ours while it comes.
        let is_alike = made == *expected || matches!((&made, expected), (Expected::Refused(_), Expected::Refused(_)));
        match self.ours_alone {
            Some(because) if is_alike => Err(format!("hyper does the same, though ours was thought to be alone: {because}")),
            None if !is_alike => Err("hyper's makes something else of it, and nothing says so".to_string()),
            _ => Ok(()),
        }
    }
}

impl Expected {
    fn of(seen: &Seen) -> Self {
        match &seen.answer {
            Ok(answer) => Expected::Answer {
                status: answer.status,
                body: answer.body.clone(),
                is_kept: seen.is_kept,
            },
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

/// An answer up to this size is also given byte by byte, and cut in two at every third byte.
const SMALL: usize = 2 << 10;

/// Checks every answer in each of the ways that `cut` gives for it, and names all that is wrong.
fn check_all(mut cut: impl FnMut(&Case) -> Vec<Vec<Vec<u8>>>) {
    let mut wrong = Vec::new();
    for case in corpus() {
        wrong.extend(cut(&case).into_iter().find_map(|pieces| case.check(pieces).err()));
    }
    assert!(wrong.is_empty(), "{} answers:\n{}", wrong.len(), wrong.join("\n"));
}

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
    check_all(|case| vec![vec![case.answer.clone()]]);
}

#[test]
fn answers_that_come_byte_by_byte_are_taken_alike_or_refused_by_ours() {
    check_all(|case| {
        let size = if case.answer.len() <= SMALL {
            1
        } else {
            case.answer.len() / 1000 + 1
        };
        vec![case.answer.chunks(size).map(<[u8]>::to_vec).collect()]
    });
}

#[test]
fn answers_cut_in_two_are_taken_alike_or_refused_by_ours() {
    check_all(|case| {
        let step = if case.answer.len() <= SMALL { 3 } else { case.answer.len() / 20 };
        // Each third is the turn of some, so that every kind of place is among them.
        let cuts = (1 + case.name.len() % 3..case.answer.len()).step_by(step);
        cuts.map(|at| vec![case.answer[..at].to_vec(), case.answer[at..].to_vec()])
            .collect()
    });
}

#[test]
fn answers_in_random_pieces_are_taken_alike_or_refused_by_ours() {
    let mut random = fastrand::Rng::with_seed(11);
    check_all(|case| (0..5).map(|_| in_pieces(&case.answer, &mut random)).collect());
}

fn in_pieces(mut answer: &[u8], random: &mut fastrand::Rng) -> Vec<Vec<u8>> {
    let most = if random.bool() {
        answer.len() / 100 + 8
    } else {
        answer.len().max(1)
    };
    let mut pieces = Vec::new();
    while !answer.is_empty() {
        let (piece, rest) = answer.split_at(random.usize(1..=most).min(answer.len()));
        pieces.push(piece.to_vec());
        answer = rest;
    }
    pieces
}

/// As the fuzz target does it, but the same ones each time, and few.
#[test]
fn answers_put_together_at_random_are_taken_alike_or_refused_by_ours() {
    let mut random = fastrand::Rng::with_seed(7);
    let mut wrong = Vec::new();
    for _ in 0..4000 {
        let choices: Vec<u8> = (0..random.usize(1..9)).map(|_| random.u8(..)).collect();
        let answer = fragments::put_together(&choices);
        let method = if random.u8(..) < 32 { Method::HEAD } else { Method::GET };
        let script = Script {
            method,
            pieces: in_pieces(&answer, &mut random),
            closes: random.bool(),
        };
        let ours = paused(ask(Codec::Own, script.clone()));
        let hypers = paused(ask(Codec::Hyper, script));
        if let Err(what) = as_strict(&ours, &hypers) {
            wrong.push(format!(
                "{what}: {:?}\n  ours: {ours:?}\n  hyper's: {hypers:?}",
                String::from_utf8_lossy(&answer)
            ));
        }
    }
    assert!(wrong.is_empty(), "{} answers:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn answers_cut_off_anywhere_are_refused_by_both() {
    let whole: [(&[u8], &[u8]); 4] = [
        (
            b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n",
            b"hello",
        ),
        (
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n",
            b"3;x=\"y\"\r\nhel\r\n2\r\nlo\r\n0\r\nx-sum: 1\r\n\r\n",
        ),
        (b"HTTP/1.0 200 OK\r\nconnection: keep-alive\r\ncontent-length: 5\r\n\r\n", b"hello"),
        (b"\r\nHTTP/1.1 204 No Content\r\nx: y\r\n\r\n", b""),
    ];
    for (head, body) in whole {
        let answer = [head, body].concat();
        for end in 0..answer.len() {
            let kind = if end < head.len() { Kind::Reset } else { Kind::Truncated };
            case("cut off", &answer[..end])
                .closes()
                .refused(kind)
                .check(vec![answer[..end].to_vec()])
                .unwrap();
        }
    }
}
