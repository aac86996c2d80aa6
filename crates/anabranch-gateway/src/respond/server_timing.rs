//! `Server-Timing`: how long each call took, for the network panel of a browser (W3C Server Timing).

use std::fmt::Write;
use std::time::Duration;

use http::{HeaderName, HeaderValue};

/// The header's name.
pub const HEADER: HeaderName = HeaderName::from_static("server-timing");

/// The longest header, in bytes; calls that do not fit are left out, the total stays. Reason as for the account's.
pub const HEADER_MAX: usize = 3_072;

/// What one call took.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CallTiming<'a> {
    /// The call's name, a token.
    pub name: &'a str,
    /// From the start of the request to the start of the call.
    pub start: Duration,
    /// From the start of the call to its end.
    pub duration: Duration,
    /// How it ended, a word of the account; `ok` is not written.
    pub outcome: &'a str,
}

/// The value of the header: `total;dur=52.1, cart;dur=40.0;start=12.1;desc="timeout"`, in milliseconds. None when a name cannot stand
/// in a header, which a plan refuses.
pub fn header(total: Duration, calls: &[CallTiming<'_>]) -> Option<HeaderValue> {
    let mut text = format!("total;dur={}", millis(total));
    for call in calls {
        let mut metric = format!(", {};dur={};start={}", call.name, millis(call.duration), millis(call.start));
        if call.outcome != "ok" {
            _ = write!(metric, ";desc=\"{}\"", call.outcome);
        }
        if text.len() + metric.len() > HEADER_MAX {
            break;
        }
        text.push_str(&metric);
    }
    HeaderValue::from_str(&text).ok()
}

fn millis(duration: Duration) -> String {
    format!("{:.1}", duration.as_secs_f64() * 1e3)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(name: &str, outcome: &'static str) -> CallTiming<'static> {
        let name = name.to_string().leak();
        CallTiming {
            name,
            start: Duration::from_micros(12_100),
            duration: Duration::from_millis(40),
            outcome,
        }
    }

    #[test]
    fn each_call_has_its_time_and_what_is_not_ok_its_word() {
        let value = header(Duration::from_micros(52_149), &[call("cart", "timeout"), call("rank", "ok")]).unwrap();
        assert_eq!(
            value,
            "total;dur=52.1, cart;dur=40.0;start=12.1;desc=\"timeout\", rank;dur=40.0;start=12.1"
        );
        assert_eq!(header(Duration::ZERO, &[]).unwrap(), "total;dur=0.0");
    }

    #[test]
    fn a_thousand_calls_do_not_make_a_header_that_proxies_refuse() {
        let calls: Vec<_> = (0..1000).map(|number| call(&format!("call{number}"), "ok")).collect();
        let value = header(Duration::ZERO, &calls).unwrap();
        assert!(value.len() <= HEADER_MAX && value.len() > HEADER_MAX - 100);
        assert!(!value.to_str().unwrap().ends_with([',', ' ']));
    }
}
