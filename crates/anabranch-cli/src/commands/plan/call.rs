//! A call in words.

use std::time::Duration;

use anabranch_gateway::plan::{CallBounds, CallPlan, Need, Otherwise, RoutePlan};

/// `1`; `up to 20`, with the width of a list; nothing for a value.
pub(super) fn requests(bounds: CallBounds) -> String {
    match bounds {
        CallBounds { requests: 0, .. } => String::new(),
        CallBounds { requests, at_once, .. } if at_once < requests => format!("up to {requests}, {at_once} at once"),
        CallBounds { requests: 1, .. } => "1".to_owned(),
        CallBounds { requests, .. } => format!("up to {requests} at once"),
    }
}

/// `2 x 400ms`; `2` where an attempt may take what is left of the deadline.
pub(super) fn attempts(call: &CallPlan, bounds: CallBounds) -> String {
    match (bounds.attempts, call.timeout) {
        (0, _) => String::new(),
        (attempts, Some(timeout)) => format!("{attempts} x {}", brief(timeout)),
        (attempts, None) => attempts.to_string(),
    }
}

/// What else decides whether and when it starts, and what becomes of it.
pub(super) fn remarks(route: &RoutePlan, index: usize) -> Vec<String> {
    let call = &route.calls[index];
    let name = |index: &usize| route.calls[*index].name.to_string();
    let names = |indices: &[usize]| indices.iter().map(name).collect::<Vec<_>>().join(", ");
    let stands_in_for: Vec<usize> = (0..route.calls.len()).filter(|&other| is_else_of(route, index, other)).collect();
    let mut remarks = Vec::new();
    if is_needed(route, index) {
        remarks.push("needed".to_owned());
    }
    if !call.waits.is_empty() {
        remarks.push(format!("after {}", names(&call.waits)));
    }
    if call.only_else {
        remarks.push(format!(
            "only if {} fails",
            stands_in_for.iter().map(name).collect::<Vec<_>>().join(" or ")
        ));
    }
    if call.when.is_some() || call.when_program.is_some() {
        remarks.push("when".to_owned());
    }
    match &call.otherwise {
        Some(Otherwise::Call(other)) => remarks.push(format!("else {}", name(other))),
        Some(Otherwise::Value { .. }) => remarks.push("else a value".to_owned()),
        None => {}
    }
    if let Some(into) = call.list.as_ref().and_then(|list| list.into.as_ref()) {
        remarks.push(format!("into {}", name(&into.call)));
    }
    if let Some(keep) = call.keep.as_ref().filter(|keep| !keep.times.fresh.is_zero()) {
        remarks.push(format!("cache {}", brief(keep.times.fresh)));
    }
    remarks
}

/// Whether a call starts only if this other one fails.
pub(super) fn is_else_of(route: &RoutePlan, call: usize, other: usize) -> bool {
    let is_named = matches!(route.calls[other].otherwise, Some(Otherwise::Call(named)) if named == call);
    route.calls[call].only_else && is_named
}

pub(super) fn is_needed(route: &RoutePlan, call: usize) -> bool {
    matches!(&route.need, Need::All(needs) if needs.contains(&call))
}

/// As a config spells it: `30ms`, `2.5s`, `4m20s`, `3h`.
pub(super) fn brief(span: Duration) -> String {
    let seconds = span.as_secs();
    match span.as_millis() {
        0..1_000 => format!("{}ms", span.as_micros() as f64 / 1e3),
        // Two digits behind the point, unless they are zeros.
        1_000..60_000 => format!("{}s", (span.as_secs_f64() * 100.0).round() / 100.0),
        _ if seconds < 3_600 => two(seconds / 60, "m", seconds % 60, "s"),
        _ if seconds < 86_400 => two(seconds / 3_600, "h", seconds % 3_600 / 60, "m"),
        _ => two(seconds / 86_400, "d", seconds % 86_400 / 3_600, "h"),
    }
}

fn two(large: u64, large_unit: &str, small: u64, small_unit: &str) -> String {
    if small == 0 {
        format!("{large}{large_unit}")
    } else {
        format!("{large}{large_unit}{small}{small_unit}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_spelled_as_in_a_config() {
        let times = [
            (0, "0ms"),
            (30, "30ms"),
            (2_500, "2.5s"),
            (59_999, "60s"),
            (60_000, "1m"),
            (260_000, "4m20s"),
            (10_800_000, "3h"),
            (93_600_000, "1d2h"),
        ];
        for (milliseconds, text) in times {
            assert_eq!(brief(Duration::from_millis(milliseconds)), text);
        }
        assert_eq!(brief(Duration::from_micros(1_500)), "1.5ms");
    }
}
