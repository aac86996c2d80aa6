//! Whole files: what is read, and what their faults say. The helpers are here, the tests in the files below.

use std::fmt::Write;

use super::model::Config;
use super::{read, Faults, MapLookup};

mod yaml_faults;
mod key_faults;
mod printed;
mod whole_files;
mod any_text;

/// An activity page, with what exists so far.
pub(super) const ACTIVITY: &str = r#"
listen: 0.0.0.0:8080
defaults:                      # for every call, unless it says otherwise
  timeout: 1s                  # of one attempt
  retry: 1                     # idempotent calls only; jittered; never past the deadline
sources:
  shop:   { url: http://shop.svc:8000, in_flight: 40 }
  user:   { url: ["http://user-1:8000", "http://user-2:8000"], pass: [Authorization] }
  promo:  { url: http://promo.svc:8000, rate: 200/s }
routes:
  GET /activity/{id:int}:
    query: { lang: en, page: 1 }             # the parameters let in, with their defaults
    headers: [Authorization, X-Request-Id]   # let in; credentials go only to sources that pass them
    deadline: 2.5s
    need: [activity, items]                  # without these an error; without others 200 and an account
    calls:
      activity:  shop /activities/$id?lang=$lang
      items:     shop /activities/$id/items?page=$page
      prices:    shop /prices?activity=$id
      coupons:   { get: "promo /coupons?activity=$id",   else: [] }
      profile:   { get: "user /me",                      else: { vip: false } }
      cart:      { get: "user /me/cart",                 timeout: 400ms }
"#;

pub(super) fn lookup() -> MapLookup {
    MapLookup::new()
        .with_env("HOST", "shop.svc")
        .with_env("SECRET", "hunter2$id")
        .with_file("certs/ca.pem", "PEM\n")
}

/// Each fault as `line:column message (help)`.
pub(super) fn listed(faults: &Faults) -> String {
    let mut shown = String::new();
    for fault in faults.sorted() {
        let (line, column) = faults.line_column(fault.span.start);
        let help = fault.help.as_ref().map(|help| format!(" ({help})")).unwrap_or_default();
        writeln!(shown, "{line}:{column} {}{help}", fault.message).unwrap();
    }
    shown
}

pub(super) fn check(text: &str, expected: &str) {
    let mut faults = Faults::new("gateway.yaml", text);
    read(text, &lookup(), &mut faults);
    let expected: String = expected.lines().map(|line| format!("{}\n", line.trim())).collect();
    let start: String = text.chars().take(2_000).collect();
    assert_eq!(listed(&faults), expected, "\n{start}\n{faults}");
}

pub(super) fn read_clean(text: &str) -> Config {
    let mut faults = Faults::new("gateway.yaml", text);
    let config = read(text, &lookup(), &mut faults);
    assert!(faults.is_empty(), "{faults}");
    config.unwrap()
}

/// One call `c` in a file that is right but for it.
pub(super) fn check_call(call: &str, expected: &str) {
    check(&format!("routes:\n  GET /:\n    calls:\n      c: {call}\n"), expected);
}
