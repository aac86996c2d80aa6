//! What a run came to, in a few lines for a person or one object for a program.

use std::time::Duration;

use anabranch_fetch::run::{Ended, Summary};
use anabranch_fetch::Outcome;
use serde_json::{Value, json};

use super::Signal;

/// The lines at the end. `again` is the command that goes on, where something is left.
pub(crate) fn lines(summary: &Summary, signal: Option<Signal>, again: Option<String>) -> Vec<String> {
    if summary.total == 0 && summary.ended == Ended::Complete {
        return vec![match summary.earlier {
            0 => "no jobs in the input".to_string(),
            earlier => format!(
                "all {} done before, {} failed; nothing was requested",
                counted(earlier, "job"),
                summary.earlier_failed
            ),
        }];
    }
    let mut lines = vec![format!(
        "{} in {}: {}",
        counted(summary.total, "job"),
        span_f64(summary.seconds),
        parts(summary).join("; ")
    )];
    if !summary.slowest_hosts.is_empty() && summary.total > 1 {
        let hosts: Vec<String> = summary
            .slowest_hosts
            .iter()
            .map(|(host, mean, _)| format!("{host} {}", milliseconds(*mean)))
            .collect();
        lines.push(format!("slowest hosts: {}", hosts.join(", ")));
    }
    if let Some(why) = why(summary, signal) {
        lines.push(why.to_string());
    }
    match again {
        Some(again) => lines.push(format!("go on with: {again}")),
        None if summary.ended != Ended::Complete => {
            lines.push("this run cannot go on: there is no journal, which `--run DIR` or `-o FILE` would keep".into())
        }
        None => {}
    }
    lines
}

/// The same for a program.
pub(crate) fn object(summary: &Summary, again: Option<String>) -> Value {
    let outcomes: serde_json::Map<_, _> = summary
        .by_outcome
        .iter()
        .map(|(outcome, count)| (outcome.as_str().to_string(), json!(count)))
        .collect();
    let slowest: Vec<Value> = summary
        .slowest_hosts
        .iter()
        .map(|(host, mean, jobs)| json!({"host": host, "mean_ms": mean, "jobs": jobs}))
        .collect();
    json!({
        "ended": ended(summary.ended),
        "total": summary.total,
        "failed": summary.failed(),
        "outcomes": outcomes,
        "earlier": summary.earlier,
        "earlier_failed": summary.earlier_failed,
        "retried": summary.retried,
        "bytes": summary.bytes,
        "p50_ms": summary.p50_ms,
        "p99_ms": summary.p99_ms,
        "slowest_hosts": slowest,
        "seconds": summary.seconds,
        "again": again,
    })
}

fn ended(ended: Ended) -> &'static str {
    match ended {
        Ended::Complete => "complete",
        Ended::Deadline => "deadline",
        Ended::FailFast => "fail_fast",
        Ended::MaxFailures => "max_failures",
        Ended::Interrupted => "interrupted",
    }
}

fn why(summary: &Summary, signal: Option<Signal>) -> Option<&'static str> {
    match (summary.ended, signal) {
        (Ended::Complete, _) => None,
        (Ended::Deadline, _) => Some("stopped: the time of --deadline is over"),
        (Ended::FailFast, _) => Some("stopped: a job failed (--fail-fast)"),
        (Ended::MaxFailures, _) => Some("stopped: too many jobs failed (--max-failures)"),
        (Ended::Interrupted, Some(Signal::Terminate)) => Some("stopped: SIGTERM"),
        (Ended::Interrupted, _) => Some("stopped: SIGINT"),
    }
}

/// `19988 ok`, `12 failed (http_error 9, timeout 3)`, ...
fn parts(summary: &Summary) -> Vec<String> {
    let fine: Vec<String> = summary
        .by_outcome
        .iter()
        .filter(|(outcome, _)| outcome.is_fine())
        .map(|(outcome, count)| format!("{count} {outcome}", outcome = outcome.as_str()))
        .collect();
    let failed: Vec<(Outcome, u64)> = summary
        .by_outcome
        .iter()
        .filter(|(outcome, _)| !outcome.is_fine())
        .copied()
        .collect();
    let mut ended = fine;
    if !failed.is_empty() {
        ended.push(format!("{} failed ({})", summary.failed(), by_outcome(&failed)));
    }
    let mut parts = vec![ended.join(", ")];
    if summary.retried > 0 {
        parts.push(format!("{} tried again", summary.retried));
    }
    parts.push(bytes(summary.bytes));
    if summary.p99_ms > 0.0 {
        parts.push(format!(
            "half within {}, 99 % within {}",
            milliseconds(summary.p50_ms),
            milliseconds(summary.p99_ms)
        ));
    }
    if summary.earlier > 0 {
        parts.push(format!(
            "{} before, {} failed",
            counted(summary.earlier, "job"),
            summary.earlier_failed
        ));
    }
    parts.retain(|part| !part.is_empty());
    parts
}

/// `http_error 9, timeout 3`, the most first.
pub(crate) fn by_outcome(counts: &[(Outcome, u64)]) -> String {
    let mut counts = counts.to_vec();
    counts.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    let words: Vec<String> = counts
        .iter()
        .map(|(outcome, count)| format!("{} {count}", outcome.as_str()))
        .collect();
    words.join(", ")
}

/// `1 job`, `2 jobs`.
pub(crate) fn counted(number: u64, noun: &str) -> String {
    if number == 1 {
        format!("1 {noun}")
    } else {
        format!("{number} {noun}s")
    }
}

/// `412 MB`, in powers of 1000 as disks have them.
pub(crate) fn bytes(number: u64) -> String {
    const UNITS: [(f64, &str); 4] = [(1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB")];
    let value = number as f64;
    match UNITS.iter().find(|(scale, _)| value >= *scale) {
        Some((scale, unit)) if value / scale < 100.0 => format!("{:.1} {unit}", value / scale),
        Some((scale, unit)) => format!("{:.0} {unit}", value / scale),
        None => counted(number, "byte"),
    }
}

/// `820 ms`, `41 s`, `12 min`, `3.5 h`.
pub(crate) fn span(time: Duration) -> String {
    span_f64(time.as_secs_f64())
}

fn span_f64(seconds: f64) -> String {
    match seconds {
        s if s < 1.0 => milliseconds(s * 1000.0),
        s if s < 10.0 => format!("{s:.1} s"),
        s if s < 180.0 => format!("{s:.0} s"),
        s if s < 3600.0 * 3.0 => format!("{:.0} min", s / 60.0),
        s => format!("{:.1} h", s / 3600.0),
    }
}

fn milliseconds(number: f64) -> String {
    match number {
        ms if ms < 10.0 => format!("{ms:.1} ms"),
        ms if ms < 10_000.0 => format!("{ms:.0} ms"),
        ms => format!("{:.1} s", ms / 1000.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn summary() -> Summary {
        Summary {
            total: 20_000,
            by_outcome: vec![(Outcome::Ok, 19_988), (Outcome::HttpError, 9), (Outcome::Timeout, 3)],
            earlier: 0,
            earlier_failed: 0,
            retried: 31,
            bytes: 412_345_678,
            p50_ms: 82.4,
            p99_ms: 640.2,
            slowest_hosts: vec![("images.example.com".into(), 312.0, 90), ("example.com".into(), 9.94, 10)],
            ended: Ended::Complete,
            resume: None,
            cookies: None,
            seconds: 41.2,
        }
    }

    #[test]
    fn a_run_is_summed_up() {
        assert_eq!(
            lines(&summary(), None, None),
            [
                "20000 jobs in 41 s: 19988 ok, 12 failed (http_error 9, timeout 3); 31 tried again; 412 MB; half within 82 ms, 99 % within 640 ms",
                "slowest hosts: images.example.com 312 ms, example.com 9.9 ms",
            ]
        );
    }

    #[test]
    fn what_ended_it_early_and_how_to_go_on_is_said() {
        let stopped = Summary {
            ended: Ended::Interrupted,
            ..summary()
        };
        let said = lines(&stopped, Some(Signal::Interrupt), Some("anabranch fetch -i a --run r".into()));
        assert_eq!(said[2..], ["stopped: SIGINT", "go on with: anabranch fetch -i a --run r"]);
        assert!(lines(&stopped, None, None)[3].contains("no journal"));
        assert_eq!(object(&stopped, None)["ended"], "interrupted");
    }

    #[test]
    fn nothing_to_do_is_said_too() {
        let nothing = Summary {
            total: 0,
            by_outcome: Vec::new(),
            ..summary()
        };
        assert_eq!(lines(&nothing, None, None), ["no jobs in the input"]);
        let done = Summary {
            earlier: 41,
            earlier_failed: 1,
            ..nothing
        };
        assert_eq!(
            lines(&done, None, None),
            ["all 41 jobs done before, 1 failed; nothing was requested"]
        );
    }

    #[test]
    fn numbers_are_short() {
        assert_eq!(
            [bytes(1), bytes(999), bytes(12_345), bytes(412_000_000)],
            ["1 byte", "999 bytes", "12.3 kB", "412 MB"]
        );
        let spans = [0.0042, 0.82, 4.21, 61.0, 720.0, 12_600.0].map(|seconds| span(Duration::from_secs_f64(seconds)));
        assert_eq!(spans, ["4.2 ms", "820 ms", "4.2 s", "61 s", "12 min", "3.5 h"]);
    }
}
