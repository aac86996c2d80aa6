//! Texts that are no YAML, or YAML that a config may not hold.

use std::fmt::Write;

use super::check;
use crate::config::{yaml, Faults};

#[test]
fn a_file_that_is_no_config_has_one_fault() {
    const HINT: &str = "quote a text that holds `: ` or ` #`, or that begins with one of ``{ } [ ] , & * # ? | - < > = ! % @ ` ``";
    check("", "1:1 the file is empty (expected at least `routes:`)");
    check("# a comment\n", "1:1 the file is empty (expected at least `routes:`)");
    check(
        "---\n",
        "2:1 the file has no value (expected a mapping of keys such as `sources:` and `routes:`)",
    );
    check(
        "just text",
        "1:1 the file cannot be `just text` (expected a mapping of keys such as `sources:` and `routes:`)",
    );
    check(
        "[a, b]",
        "1:1 the file cannot be a list (expected a mapping of keys such as `sources:` and `routes:`)",
    );
    check(
        "a: b: c",
        &format!("1:5 not valid YAML: mapping values are not allowed in this context ({HINT})"),
    );
    check("a: @b", &format!("1:4 not valid YAML: unexpected character: `@' ({HINT})"));
    check(
        "a: \"b",
        "1:4 not valid YAML: while scanning a quoted scalar, found unexpected end of stream (the closing quote is missing)",
    );
    check(
        "routes:\n  a:\n\tb: {}\n",
        "3:2 not valid YAML: tabs disallowed within this context (block indentation) (use blanks, not tabs)",
    );
    check(
        "---\na: 1\n---\nb: 2\n",
        "3:1 a second document begins (expected one document in the file)",
    );
    check(
        "a: \0 b",
        "1:4 found the control character U+0000 (in double quotes write `\\r` or `\\u0000`)",
    );
    check(
        "ä: x\ry",
        "1:5 found a carriage return without a line feed (in double quotes write `\\r` or `\\u0000`)",
    );
    check(&"x".repeat(yaml::TEXT_MAX + 1), "1:1 the file is too large (at most 8 MiB)");
}

#[test]
fn brackets_in_brackets_are_told_to_be_quoted() {
    let text = "routes:\n  GET /a: { calls: { x: { get: shop /x?y=${a.b}z } } }\n";
    let hint = "in the `{` of line 2; inside of it quote a text that holds `{`, `}`, `[`, `]`, `,` or `: `";
    check(
        text,
        &format!("2:43 not valid YAML: while parsing a flow mapping, did not find expected ',' or '}}' ({hint})"),
    );
}

#[test]
fn anchors_and_bombs_made_of_them_have_one_fault() {
    const FAULT: &str = "anchors and aliases are not supported";
    const HELP: &str = "write the value out where it is needed; quote a text that begins with `&` or `*`";
    check("a: &x 1\nb: *x\n", &format!("1:4 {FAULT} ({HELP})"));
    check(
        "a: *x\n",
        &format!("1:4 not valid YAML: while parsing node, found unknown anchor ({FAULT}; quote a text that begins with `*` or `&`)"),
    );
    let mut bomb = "a0: &a0 [x, x, x]\n".to_owned();
    for level in 1..20 {
        let alias = format!("*a{}", level - 1);
        writeln!(bomb, "a{level}: &a{level} [{}]", [alias.as_str(); 9].join(", ")).unwrap();
    }
    check(&bomb, &format!("1:5 {FAULT} ({HELP})"));
}

#[test]
fn deep_nesting_has_one_fault_however_deep() {
    for open in ["[", "{a: ", "- ", "[a, ", "? ", "[[[[["] {
        for levels in [65, 300, 100_000] {
            let text = open.repeat(levels);
            let mut faults = Faults::new("f", &text);
            assert!(yaml::parse(&text, &mut faults).is_none());
            let messages: Vec<&str> = faults.sorted().iter().map(|fault| fault.message.as_str()).collect();
            assert_eq!(messages, ["more than 64 levels inside one another"], "{open}");
        }
    }
    let deepest = format!("{}x{}", "[".repeat(64), "]".repeat(64));
    assert!(yaml::parse(&deepest, &mut Faults::new("f", &deepest)).is_some());
}

#[test]
fn what_yaml_allows_and_people_trip_over_is_a_fault() {
    let text = "\
defaults: { retry: 017 }
defaults: { retry: 1 }
sources:
  <<: { a: 1 }
  shop: !!map { url: http://x }
  [a]: { url: http://x }
  : { url: http://x }
routes: { GET /: { calls: { c: shop / } } }
";
    check(
        text,
        "1:20 number `017` with leading zeros (leave the zeros out, or quote it if it is a text; octal numbers begin with `0o`)
         1:20 `retry` cannot be `17` (expected a whole number from 0 to 10)
         2:1 duplicate key `defaults` (it stands in line 1 already)
         4:3 merge keys are not supported (write the keys out, or use `defaults`)
         5:9 tags are not supported (quote a text that begins with `!`)
         6:3 a list or mapping stands as a key (quote a text that begins with `{` or `[`)
         7:3 a key is missing",
    );
}
