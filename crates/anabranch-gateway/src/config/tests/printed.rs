//! Faults as they are printed: all at once, with their places, without secrets.

use super::lookup;
use crate::config::compile;

/// Ten faults of ten kinds, with tabs and letters of several bytes before some of them.
#[test]
fn ten_faults_are_printed_at_once_each_with_its_place() {
    let text = "\
defaults:
  timeout: 5
sources:
  größe: { ur: http://x,\turl: $env.NOPE }
  shop:  { url: http://shop, \"rate\": \t200 }
routes:
  GET /äöü/{id:int}:
    deadline: 2.5
    need: activity
    calls:
      activity: { get: größe /x, hedge: 1m }
      prices:   { gte: shop /y }
      über:
  POST /x: { calls: { \"日本\": { post: shop /x, retry: -1 } } }
";
    let faults = compile("gateway.yaml", text, &lookup()).unwrap_err();
    let shown = faults.render(false);
    let expected = [
        (2, 12, "`timeout` cannot be `5`"),
        (4, 12, "unknown key `ur`"),
        (4, 31, "environment variable `NOPE` is not set"),
        (5, 39, "`rate` cannot be `200`"),
        (8, 15, "`deadline` cannot be `2.5`"),
        (9, 11, "`need` cannot be `activity`"),
        (11, 34, "unknown key `hedge`: not built yet"),
        (12, 7, "call `prices` does nothing"),
        (12, 19, "unknown key `gte`"),
        (13, 7, "call `über` has no value"),
        (14, 53, "`retry` cannot be `-1`"),
    ];
    let mut rest = shown.as_str();
    for (line, column, message) in expected {
        let header = rest
            .find(&format!("error: {message}\n"))
            .unwrap_or_else(|| panic!("{message} in\n{shown}"));
        rest = &rest[header..];
        let place = rest.lines().nth(1).unwrap().trim();
        assert_eq!(place, format!("--> gateway.yaml:{line}:{column}"), "{message}");
    }
    assert!(
        shown.contains("4 |   größe: { ur: http://x,    url: $env.NOPE }\n  |                                  ^^^^^^^^^\n"),
        "{shown}"
    );
}

#[test]
fn faults_of_the_graph_come_together_with_those_of_the_text() {
    let text = "sources:\n  shop: { url: http://x, rat: 1/s }\nroutes:\n  GET /:\n    calls: { a: shop /$nope }\n";
    let shown = compile("f", text, &lookup()).unwrap_err().render(false);
    assert!(
        shown.contains("f:2:26") && shown.contains("f:5:23") && shown.contains("2 faults"),
        "{shown}"
    );
}

#[test]
fn secrets_are_in_no_fault() {
    let text = "\
listen: $env.SECRET
sources:
  shop: { url: $env.SECRET, headers: { \"bad name\": $env.SECRET } }
routes:
  GET /:
    calls:
      a: { get: $env.SECRET /x, when: $env.SECRET ==, headers: { X: $env.SECRET $nope } }
      b: { value: [\"$env.SECRET $nope\"] }
";
    let faults = compile("f", text, &lookup()).unwrap_err();
    let shown = format!("{} {faults:?}", faults.render(true));
    assert!(!shown.contains("hunter2"), "{shown}");
}
