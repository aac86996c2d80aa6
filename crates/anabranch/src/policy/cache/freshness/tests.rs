//! The table of RFC 9111: what a source says, and what follows. The clock stands at noon.

use super::*;
use NotStored::{Authorized, NoStore, Private, SetsCookie, Status, Varies};

const NOON: &str = "Sun, 06 Nov 1994 12:00:00 GMT";
const GET: Method = Method::GET;

fn noon() -> SystemTime {
    httpdate::parse_http_date(NOON).unwrap()
}

fn anyone() -> Asked<'static> {
    Asked {
        method: &GET,
        authorized: false,
        reader: Reader::Anyone,
        delay: Duration::ZERO,
    }
}

fn one_identity() -> Asked<'static> {
    Asked {
        reader: Reader::OneIdentity,
        ..anyone()
    }
}

/// `name: value` lines as the wire gives them.
fn of(asked: Asked<'_>, status: u16, lines: &[&str]) -> Result<Freshness, NotStored> {
    let headers = lines.iter().map(|line| {
        let (name, value) = line.split_once(": ").unwrap();
        (name, value.as_bytes())
    });
    Freshness::of(asked, status, headers, noon())
}

fn seconds(keep: Duration) -> u64 {
    keep.as_secs()
}

/// Fresh for this many seconds as a shared cache sees it.
#[track_caller]
fn fresh(lines: &[&str], expected: u64, section: &str) {
    let keep = of(anyone(), 200, lines).unwrap().keep(Duration::ZERO);
    assert_eq!(seconds(keep.fresh), expected, "section {section}: {lines:?}");
}

#[test]
fn lifetimes() {
    fresh(&["cache-control: max-age=60"], 60, "5.2.2.1");
    fresh(&["cache-control: max-age=60, s-maxage=10"], 10, "5.2.2.10");
    fresh(&["cache-control: s-maxage=0", "cache-control: max-age=60"], 0, "5.2.2.10");
    fresh(&["cache-control: max-age=60", "expires: Sun, 06 Nov 1994 13:00:00 GMT"], 60, "5.3");
    fresh(&["expires: Sun, 06 Nov 1994 12:01:00 GMT"], 60, "5.3");
    fresh(
        &["expires: Sun, 06 Nov 1994 12:01:00 GMT", "date: Sun, 06 Nov 1994 12:00:30 GMT"],
        30,
        "4.2.1",
    );
    fresh(
        &["expires: Sun, 06 Nov 1994 11:01:00 GMT", "date: Sun, 06 Nov 1994 11:00:00 GMT"],
        0,
        "4.2.3: an hour old on arrival",
    );
    fresh(
        &["expires: Sunday, 06-Nov-94 12:01:00 GMT"],
        60,
        "RFC 9110 5.6.7: obsolete dates are read",
    );
    fresh(&["expires: 0"], 0, "5.3");
    fresh(&["expires: tomorrow"], 0, "5.3");
    fresh(
        &["expires: Sun, 06 Nov 1994 12:01:00 GMT", "expires: Sun, 06 Nov 1994 12:02:00 GMT"],
        0,
        "4.2.1",
    );
    fresh(&["cache-control: max-age=60, max-age=600"], 0, "4.2.1");
    fresh(&["cache-control: max-age=\"60\""], 60, "5.2");
    fresh(
        &["cache-control: public", "last-modified: Sun, 06 Nov 1983 12:00:00 GMT"],
        0,
        "4.2.2: no heuristics",
    );
    fresh(&[], 0, "4.2.2: no heuristics");
    fresh(&["cache-control: max-age=60, no-cache"], 0, "5.2.2.4");
    fresh(
        &["pragma: no-cache", "cache-control: max-age=60"],
        60,
        "5.4: Pragma means nothing in an answer",
    );
}

#[test]
fn ages_are_taken_off() {
    fresh(&["cache-control: max-age=60", "age: 20"], 40, "4.2.3");
    fresh(&["cache-control: max-age=60", "age: 80"], 0, "4.2.3");
    fresh(&["cache-control: max-age=60", "age: 20, 50"], 40, "5.1");
    fresh(&["cache-control: max-age=60", "age: soon"], 60, "5.1");
    fresh(&["cache-control: max-age=60", "date: Sun, 06 Nov 1994 11:59:30 GMT"], 30, "4.2.3");
    fresh(
        &["cache-control: max-age=60", "date: Sun, 06 Nov 1994 11:59:30 GMT", "age: 40"],
        20,
        "4.2.3: the larger",
    );
    fresh(
        &["cache-control: max-age=60", "date: Sun, 06 Nov 1994 12:59:30 GMT"],
        60,
        "4.2.3: a clock that is ahead",
    );
    let slow = Asked {
        delay: Duration::from_secs(5),
        ..anyone()
    };
    let old = of(slow, 200, &["cache-control: max-age=60", "age: 20"]).unwrap();
    assert_eq!(
        (seconds(old.age), seconds(old.keep(Duration::ZERO).fresh)),
        (25, 35),
        "4.2.3: the time on the way counts"
    );
    assert_eq!(old.keep(Duration::ZERO).age, old.age);
}

#[test]
fn a_private_cache_may_keep_more_and_leaves_s_maxage_alone() {
    assert_eq!(of(anyone(), 200, &["cache-control: private, max-age=60"]), Err(Private), "5.2.2.7");
    assert_eq!(
        of(anyone(), 200, &["cache-control: private=\"x-user\", max-age=60"]),
        Err(Private),
        "5.2.2.7"
    );
    let mine = of(
        one_identity(),
        200,
        &["cache-control: private, max-age=60, s-maxage=5, proxy-revalidate"],
    )
    .unwrap();
    assert_eq!((seconds(mine.lifetime), mine.never_stale), (60, false), "5.2.2.8, 5.2.2.10");
}

#[test]
fn what_must_not_be_kept() {
    let max_age = "cache-control: max-age=60";
    let post = Asked {
        method: &Method::POST,
        ..anyone()
    };
    let authorized = Asked {
        authorized: true,
        ..anyone()
    };
    let refused = |asked, status, lines: &[&str]| of(asked, status, lines).unwrap_err();
    assert_eq!(refused(anyone(), 200, &["cache-control: No-Store, max-age=60"]), NoStore, "5.2.2.5");
    assert_eq!(
        refused(one_identity(), 200, &[max_age, "cache-control: no-store"]),
        NoStore,
        "5.2.2.5"
    );
    assert_eq!(
        refused(anyone(), 200, &["cache-control: max-age=60, x=\"a, b"]),
        NoStore,
        "nobody knows what the quote swallowed"
    );
    assert_eq!(refused(post, 200, &[max_age]), NotStored::Method, "3");
    assert_eq!(refused(anyone(), 206, &[max_age]), Status, "3.3");
    assert_eq!(refused(anyone(), 304, &[max_age]), Status, "3");
    assert_eq!(refused(anyone(), 103, &[max_age]), Status, "3");
    assert_eq!(refused(anyone(), 200, &[max_age, "vary: accept, *"]), Varies, "4.1");
    assert_eq!(refused(anyone(), 200, &[max_age, "set-cookie: a=b"]), SetsCookie, "7.3 warns of it");
    assert_eq!(refused(authorized, 200, &[max_age]), Authorized, "3.5");
    for permission in ["public", "must-revalidate", "s-maxage=60"] {
        let line = format!("cache-control: max-age=60, {permission}");
        assert!(of(authorized, 200, &[&line]).is_ok(), "3.5: {permission}");
    }
    assert!(
        of(
            Asked {
                authorized: true,
                ..one_identity()
            },
            200,
            &[max_age]
        )
        .is_ok(),
        "3.5 is about shared caches"
    );
    for status in [200, 203, 204, 301, 404, 410, 500, 503] {
        assert!(
            of(anyone(), status, &[max_age]).is_ok(),
            "3: any final status with a lifetime of its own: {status}"
        );
    }
}

#[test]
fn stale_is_served_as_the_source_permits_and_the_call_adds() {
    /// Seconds while renewed and if failed, where the call adds 100 s.
    #[track_caller]
    fn stale(asked: Asked<'_>, control: &str, expected: (u64, u64)) {
        let keep = of(asked, 200, &[&format!("cache-control: {control}")])
            .unwrap()
            .keep(Duration::from_secs(100));
        assert_eq!((seconds(keep.while_renewed), seconds(keep.if_failed)), expected, "{control}");
    }
    stale(anyone(), "max-age=60", (0, 100));
    stale(anyone(), "max-age=60, stale-while-revalidate=30", (30, 100));
    stale(anyone(), "max-age=60, stale-while-revalidate=30, stale-if-error=600", (30, 600));
    stale(anyone(), "max-age=60, stale-while-revalidate, stale-if-error=x", (0, 100));
    stale(anyone(), "max-age=60, stale-if-error=600, must-revalidate", (0, 0)); // section 5.2.2.2
    stale(anyone(), "max-age=60, stale-if-error=600, no-cache", (0, 0)); // section 5.2.2.4
    stale(anyone(), "max-age=60, stale-if-error=600, proxy-revalidate", (0, 0)); // section 5.2.2.8
    stale(one_identity(), "max-age=60, stale-if-error=600, proxy-revalidate", (0, 600));
    stale(anyone(), "s-maxage=60", (0, 0)); // section 5.2.2.10
    stale(anyone(), "s-maxage=60, stale-while-revalidate=30", (30, 100));
    stale(one_identity(), "s-maxage=60", (0, 100));
    stale(anyone(), "public", (0, 100));
}

#[test]
fn what_came_stale_has_used_up_some_of_its_stale_time() {
    let late = of(
        anyone(),
        200,
        &["cache-control: max-age=60, stale-while-revalidate=30, stale-if-error=90", "age: 80"],
    )
    .unwrap();
    let keep = late.keep(Duration::ZERO);
    assert_eq!(
        (seconds(keep.fresh), seconds(keep.while_renewed), seconds(keep.if_failed)),
        (0, 10, 70)
    );
}

#[test]
fn what_has_a_validator_is_kept_to_compare_by_who_compares() {
    for validator in ["etag: \"a\"", "last-modified: Sun, 06 Nov 1983 12:00:00 GMT"] {
        let freshness = of(anyone(), 200, &["cache-control: no-cache", validator]).unwrap();
        assert_eq!(seconds(freshness.keep_to_compare(Duration::ZERO).to_compare), 86_400);
        assert_eq!(freshness.keep(Duration::ZERO).to_compare, Duration::ZERO);
    }
    let without = of(anyone(), 200, &["cache-control: no-cache"]).unwrap();
    assert_eq!(
        without.keep_to_compare(Duration::ZERO).to_compare,
        Duration::ZERO,
        "4.3.1: nothing to compare by"
    );
}

#[test]
fn a_lifetime_set_by_the_source_is_never_exceeded() {
    assert_eq!(
        of(anyone(), 200, &["cache-control: max-age=60"])
            .unwrap()
            .keep(Duration::ZERO)
            .jitter,
        Jitter::Below
    );
}
