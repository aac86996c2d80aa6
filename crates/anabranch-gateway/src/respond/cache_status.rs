//! `Cache-Status` (RFC 9211): what the store did for a reply that is the answer of one call.
//!
//! A reply of many parts may be a hit, a miss and a stale answer at once, and the field has one member for each cache and not for each
//! part. So it stands only where the reply is one answer; of the parts of others `Server-Timing` and the account tell.

use std::fmt::Write;
use std::time::Duration;

use anabranch::Kind;
use http::{HeaderName, HeaderValue};

/// The header's name.
pub const HEADER: HeaderName = HeaderName::from_static("cache-status");

/// What the store did for a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CacheStatus {
    /// Where the answer came from.
    pub came: Came,
    /// How old it is.
    pub age: Duration,
    /// How much longer it is fresh; zero where it is not, or is not stored.
    pub left: Duration,
}

/// Where an answer came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Came {
    /// It was stored: nobody waited for the source.
    Stored {
        /// Whether its time was over; it is being renewed.
        is_stale: bool,
    },
    /// From the source, now.
    Asked {
        /// Whether an answer was there whose time was over.
        had_stale: bool,
        /// Whether an equal call had asked already.
        with_others: bool,
        /// What the source answered: 304 where the stored answer holds on.
        status: Option<u16>,
    },
    /// The source failed, and the stored answer stands in.
    StoodIn(Kind),
}

/// The value of the header: `anabranch; hit; ttl=42`.
pub fn header(status: &CacheStatus) -> HeaderValue {
    let mut text = "anabranch".to_string();
    match status.came {
        Came::Stored { is_stale: false } => text.push_str("; hit"),
        Came::Stored { is_stale: true } => text.push_str("; hit; detail=stale"),
        Came::StoodIn(kind) => _ = write!(text, "; fwd=stale; detail={kind}"),
        Came::Asked {
            had_stale,
            with_others,
            status: answered,
        } => {
            text.push_str(if had_stale { "; fwd=stale" } else { "; fwd=miss" });
            if let Some(answered) = answered {
                _ = write!(text, "; fwd-status={answered}");
            }
            if !status.left.is_zero() {
                text.push_str("; stored");
            }
            if with_others {
                text.push_str("; collapsed");
            }
        }
    }
    if !status.left.is_zero() {
        _ = write!(text, "; ttl={}", status.left.as_secs());
    }
    HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static("anabranch"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(came: Came, left: u64, expected: &str) {
        let status = CacheStatus {
            came,
            age: Duration::ZERO,
            left: Duration::from_secs(left),
        };
        assert_eq!(header(&status), expected);
    }

    #[test]
    fn each_way_of_an_answer_has_its_words() {
        let asked = |had_stale, with_others, status| Came::Asked {
            had_stale,
            with_others,
            status,
        };
        check(Came::Stored { is_stale: false }, 42, "anabranch; hit; ttl=42");
        check(Came::Stored { is_stale: true }, 0, "anabranch; hit; detail=stale");
        check(
            asked(false, false, Some(200)),
            60,
            "anabranch; fwd=miss; fwd-status=200; stored; ttl=60",
        );
        check(asked(false, true, None), 0, "anabranch; fwd=miss; collapsed");
        check(
            asked(true, false, Some(304)),
            9,
            "anabranch; fwd=stale; fwd-status=304; stored; ttl=9",
        );
        check(Came::StoodIn(Kind::TooLarge), 0, "anabranch; fwd=stale; detail=too_large");
    }
}
