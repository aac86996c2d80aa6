//! A gateway's trace of a request, as rows to draw.

use std::time::Duration;

use anabranch::client::Timings;
use anabranch::{Attempt, Kind};
use anabranch_gateway::gateway::{CallTrace, RequestTrace};

use super::{span_text, Mark, Piece, Row, Waterfall};

/// The whole request.
pub(crate) fn of_trace(trace: &RequestTrace) -> Waterfall {
    Waterfall {
        took: trace.took,
        rows: trace.calls.iter().map(row).collect(),
    }
}

fn row(call: &CallTrace) -> Row {
    let started = call.started.unwrap_or_default();
    Row {
        name: call.name.to_string(),
        waits: call.waits.iter().map(ToString::to_string).collect(),
        started: call.started,
        took: call.took,
        outcome: call.outcome.clone(),
        note: note(call),
        pieces: pieces(started, &call.attempts),
    }
}

/// Why it ended so, and its attempts where there was more than one.
fn note(call: &CallTrace) -> String {
    let mut notes = Vec::new();
    if call.outcome != "ok" && !call.detail.is_empty() {
        notes.push(call.detail.clone());
    }
    if call.attempts.len() > 1 {
        let attempts = call.attempts.iter().enumerate();
        notes.push(
            attempts
                .map(|(at, attempt)| format!("attempt {}: {} after {}", at + 1, end(attempt), span_text(attempt.took)))
                .collect::<Vec<_>>()
                .join(", "),
        );
    }
    notes.join("; ")
}

fn end(attempt: &Attempt) -> String {
    match (attempt.status, attempt.kind) {
        (Some(status), _) => status.to_string(),
        (None, Some(kind)) => kind.as_str().to_string(),
        (None, None) => "ended".to_string(),
    }
}

/// All attempts of a call, with the rests between them.
fn pieces(call_started: Duration, attempts: &[Attempt]) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let mut ended = None;
    for attempt in attempts {
        let start = call_started + attempt.started;
        if let Some(at) = ended
            && at < start
        {
            pieces.push(Piece {
                at,
                length: start - at,
                mark: Mark::Between,
            });
        }
        pieces.extend(attempt_pieces(call_started, attempt));
        ended = Some(start + attempt.took);
    }
    pieces
}

/// The phases of one attempt of a call that started at `call_started`, one behind the other.
fn attempt_pieces(call_started: Duration, attempt: &Attempt) -> Vec<Piece> {
    let end = call_started + attempt.started + attempt.took;
    let mut at = call_started + attempt.started;
    let mut pieces = Vec::new();
    for (mark, length) in phases(&attempt.timings) {
        let length = length.unwrap_or_default().min(end.saturating_sub(at));
        if !length.is_zero() {
            pieces.push(Piece { at, length, mark });
            at += length;
        }
    }
    // The phase that an attempt ended in has no length of its own when it failed there.
    if at < end {
        pieces.push(Piece {
            at,
            length: end - at,
            mark: unfinished(attempt),
        });
    }
    let failed = attempt.kind.is_some() || attempt.status.is_some_and(|status| status >= 500);
    if failed {
        pieces.push(Piece {
            at: end,
            length: Duration::ZERO,
            mark: Mark::Failed,
        });
    }
    pieces
}

/// The phases in the order in which they happen.
fn phases(timings: &Timings) -> [(Mark, Option<Duration>); 8] {
    [
        (Mark::Rate, timings.rate),
        (Mark::Queue, timings.queue),
        (Mark::Pool, timings.pool),
        (Mark::Dns, timings.dns),
        (Mark::Connect, timings.connect),
        (Mark::Tls, timings.tls),
        (Mark::FirstByte, timings.first_byte),
        (Mark::Body, timings.body),
    ]
}

/// The phase that an attempt was in when it ended, as far as it can be told.
fn unfinished(attempt: &Attempt) -> Mark {
    let timings = &attempt.timings;
    match attempt.kind {
        Some(Kind::Limit) => Mark::Queue,
        Some(Kind::Dns) => Mark::Dns,
        Some(Kind::Connect) => Mark::Connect,
        Some(Kind::Tls) => Mark::Tls,
        _ if timings.first_byte.is_some() => Mark::Body,
        Some(Kind::Timeout) if !timings.reused && timings.connect.is_none() => Mark::Connect,
        _ => Mark::FirstByte,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    fn attempt(started: u64, took: u64, status: Option<u16>, kind: Option<Kind>, timings: Timings) -> Attempt {
        Attempt {
            started: ms(started),
            took: ms(took),
            endpoint: Some(0),
            status,
            kind,
            timings,
        }
    }

    fn marks(pieces: &[Piece]) -> Vec<(Mark, u64, u64)> {
        pieces
            .iter()
            .map(|piece| (piece.mark, piece.at.as_millis() as u64, piece.length.as_millis() as u64))
            .collect()
    }

    #[test]
    fn phases_stand_one_behind_the_other() {
        let timings = Timings {
            connect: Some(ms(2)),
            first_byte: Some(ms(20)),
            body: Some(ms(3)),
            ..Timings::default()
        };
        let pieces = attempt_pieces(ms(100), &attempt(5, 25, Some(200), None, timings));
        assert_eq!(
            marks(&pieces),
            [(Mark::Connect, 105, 2), (Mark::FirstByte, 107, 20), (Mark::Body, 127, 3)]
        );
    }

    #[test]
    fn the_rest_between_attempts_is_a_piece_of_its_own() {
        let timings = Timings {
            first_byte: Some(ms(10)),
            ..Timings::default()
        };
        let attempts = [attempt(0, 10, Some(503), None, timings), attempt(35, 10, Some(200), None, timings)];
        let expected = [
            (Mark::FirstByte, 100, 10),
            (Mark::Failed, 110, 0),
            (Mark::Between, 110, 25),
            (Mark::FirstByte, 135, 10),
        ];
        assert_eq!(marks(&pieces(ms(100), &attempts)), expected);
    }

    #[test]
    fn a_timeout_fills_the_phase_that_it_ended() {
        let timings = Timings {
            connect: Some(ms(2)),
            ..Timings::default()
        };
        let pieces = attempt_pieces(ms(0), &attempt(0, 50, None, Some(Kind::Timeout), timings));
        assert_eq!(
            marks(&pieces),
            [(Mark::Connect, 0, 2), (Mark::FirstByte, 2, 48), (Mark::Failed, 50, 0)]
        );
        let pieces = attempt_pieces(ms(0), &attempt(0, 50, None, Some(Kind::Timeout), Timings::default()));
        assert_eq!(marks(&pieces), [(Mark::Connect, 0, 50), (Mark::Failed, 50, 0)]);
    }

    #[test]
    fn phases_never_reach_beyond_the_attempt() {
        let timings = Timings {
            connect: Some(ms(40)),
            first_byte: Some(ms(40)),
            ..Timings::default()
        };
        let pieces = attempt_pieces(ms(0), &attempt(0, 50, Some(200), None, timings));
        assert_eq!(marks(&pieces), [(Mark::Connect, 0, 40), (Mark::FirstByte, 40, 10)]);
    }
}
