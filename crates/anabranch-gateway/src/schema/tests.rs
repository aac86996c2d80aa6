//! What schemas accept and refuse, what is wrong with a schema, and that nothing takes for ever.

use std::sync::Arc;

use anabranch::{Compute, Deadline};
use bytes::Bytes;
use proptest::prelude::*;
use std::time::Duration;

use super::*;
use crate::config::faults::Faults;
use crate::config::model::SchemaConfig;
use crate::config::yaml;

fn compiled(schema: &str) -> Result<Arc<Schema>, String> {
    let mut faults = Faults::new("f", schema);
    let node = yaml::parse(schema, &mut faults).unwrap();
    let written = SchemaConfig { node, outside: None };
    let compiled = compile(&written, &mut faults);
    let listed = |fault: &&crate::config::Fault| {
        let (line, column) = faults.line_column(fault.span.start);
        let help = fault.help.as_ref().map(|help| format!(" ({help})")).unwrap_or_default();
        format!("{line}:{column} {}{help}", fault.message)
    };
    compiled.ok_or_else(|| faults.sorted().iter().map(listed).collect::<Vec<_>>().join("\n"))
}

fn refusal(schema: &str, body: &str) -> Option<String> {
    let schema = compiled(schema).unwrap_or_else(|faults| panic!("{schema}\n{faults}"));
    match schema.judge(body.as_bytes(), &Room::INLINE) {
        Verdict::Fits => None,
        Verdict::Misfits(misfits) => {
            let told = |misfit: &Misfit| format!("{} {}: {}", misfit.pointer, misfit.rule, misfit.detail);
            Some(misfits.iter().map(told).collect::<Vec<_>>().join("; "))
        }
        other => Some(format!("{other:?}")),
    }
}

#[track_caller]
fn check(schema: &str, fits: &[&str], misfits: &[(&str, &str)]) {
    for body in fits {
        assert_eq!(refusal(schema, body), None, "{schema} and {body}");
    }
    for (body, told) in misfits {
        assert_eq!(refusal(schema, body).as_deref(), Some(*told), "{schema} and {body}");
    }
}

#[test]
fn types_and_values() {
    check(
        "{ type: integer }",
        &["1", "1.0", "-3"],
        &[("1.5", " type: must be an integer"), ("\"1\"", " type: must be an integer")],
    );
    check(
        "{ type: [string, 'null'] }",
        &["\"x\"", "null"],
        &[("1", " type: must be null or a string")],
    );
    check(
        "{ enum: [a, 2] }",
        &["\"a\"", "2", "2.0"],
        &[("\"b\"", " enum: must be one of the values that are allowed")],
    );
    check(
        "{ const: { a: [1] } }",
        &[r#"{"a":[1]}"#],
        &[("{}", " const: must be the one value that is allowed")],
    );
    check("true", &["1"], &[]);
    check("false", &[], &[("1", " false: must not be there")]);
}

#[test]
fn numbers_and_texts() {
    check(
        "{ minimum: 1, exclusiveMaximum: 10 }",
        &["1", "9.99"],
        &[
            ("0", " minimum: must be at least 1"),
            ("10", " exclusiveMaximum: must be less than 10"),
        ],
    );
    check(
        "{ multipleOf: 0.01 }",
        &["4.02", "0"],
        &[("0.005", " multipleOf: must be a multiple of 0.01")],
    );
    check(
        "{ minLength: 2, maxLength: 3 }",
        &["\"äö\"", "7"],
        &[
            ("\"a\"", " minLength: must have at least 2 characters"),
            ("\"abcd\"", " maxLength: must have at most 3 characters"),
        ],
    );
    check(
        "{ pattern: '^[a-z]+-\\d{2}$' }",
        &["\"ab-12\""],
        &[("\"ab-1x\"", " pattern: must match the pattern")],
    );
    check(
        "{ format: date-time }",
        &["\"2026-11-20T18:00:00Z\"", "5"],
        &[("\"soon\"", " format: must have the format `date-time`")],
    );
    check(
        "{ format: uuid }",
        &["\"f81d4fae-7dec-11d0-a765-00a0c91e6bf6\""],
        &[("\"x\"", " format: must have the format `uuid`")],
    );
}

#[test]
fn lists() {
    check(
        "{ items: { type: string }, maxItems: 3 }",
        &["[]", "[\"a\"]"],
        &[(
            "[\"a\",1,2,3]",
            " maxItems: must have at most 3 items; /1 type: must be a string; /2 type: must be a string; /3 type: must be a string",
        )],
    );
    check(
        "{ prefixItems: [{ type: string }], items: false }",
        &["[\"a\"]"],
        &[("[1]", "/0 type: must be a string")],
    );
    check(
        "{ uniqueItems: true }",
        &["[1,2]", "{}"],
        &[("[1,1.0]", " uniqueItems: must not hold an item twice")],
    );
    check(
        "{ contains: { const: 1 }, maxContains: 1 }",
        &["[1,2]"],
        &[("[2]", " contains: must hold as many items of one form as are asked for")],
    );
    check(
        "{ prefixItems: [true], unevaluatedItems: false }",
        &["[1]"],
        &[("[1,2]", " unevaluatedItems: must have no items but those that are described")],
    );
}

#[test]
fn objects() {
    let order = "{ type: object, required: [id, lines], properties: { id: { type: integer }, lines: { type: array, items: { required: [sku] } } }, additionalProperties: false }";
    check(
        order,
        &[r#"{"id":1,"lines":[{"sku":"a"}]}"#],
        &[
            (
                r#"{"id":"secret","lines":[{}]}"#,
                "/id type: must be an integer; /lines/0 required: must have the member `sku`",
            ),
            (
                r#"{"id":1,"lines":[],"secret":1}"#,
                " additionalProperties: must have no members but those that are named",
            ),
        ],
    );
    check(
        "{ patternProperties: { '^x-': { type: integer } } }",
        &[r#"{"x-a":1,"y":"z"}"#],
        &[(r#"{"x-a/b":"z"}"#, "/x-a~1b type: must be an integer")],
    );
    check(
        "{ propertyNames: { maxLength: 2 } }",
        &[r#"{"ab":1}"#],
        &[(r#"{"abc":1}"#, " propertyNames: must have no member with such a name")],
    );
    check(
        "{ dependentRequired: { a: [b] } }",
        &[r#"{"a":1,"b":2}"#],
        &[(r#"{"a":1}"#, " required: must have the member `b`")],
    );
    check(
        "{ minProperties: 1 }",
        &[r#"{"a":1}"#],
        &[("{}", " minProperties: must have at least 1 member")],
    );
    check(
        "{ properties: { a: true }, unevaluatedProperties: false }",
        &[r#"{"a":1}"#],
        &[(
            r#"{"b":1}"#,
            " unevaluatedProperties: must have no members but those that are named",
        )],
    );
}

#[test]
fn schemas_of_schemas() {
    check(
        "{ allOf: [{ minimum: 1 }, { maximum: 3 }] }",
        &["2"],
        &[("4", " maximum: must be at most 3")],
    );
    check(
        "{ anyOf: [{ type: string }, { minimum: 3 }] }",
        &["\"a\"", "3"],
        &[("1", " anyOf: must have at least one of the forms")],
    );
    check(
        "{ oneOf: [{ minimum: 1 }, { minimum: 3 }] }",
        &["2"],
        &[
            ("5", " oneOf: must have one of the forms, and has several"),
            ("0", " oneOf: must have one of the forms"),
        ],
    );
    check(
        "{ not: { type: 'null' } }",
        &["1"],
        &[("null", " not: must not have the form that is ruled out")],
    );
    check(
        "{ if: { type: string }, then: { minLength: 1 }, else: { minimum: 1 } }",
        &["\"a\"", "1"],
        &[("\"\"", " minLength: must have at least 1 character")],
    );
    check(
        "{ $defs: { id: { type: integer } }, properties: { a: { $ref: '#/$defs/id' } } }",
        &["{}"],
        &[(r#"{"a":"x"}"#, "/a type: must be an integer")],
    );
    let tree = "{ $defs: { node: { $anchor: node, required: [v], properties: { kids: { items: { $ref: '#node' } } } } }, $ref: '#node' }";
    check(
        tree,
        &[r#"{"v":1,"kids":[{"v":2,"kids":[]}]}"#],
        &[(
            r#"{"v":1,"kids":[{"v":1,"kids":[{}]}]}"#,
            "/kids/0/kids/0 required: must have the member `v`",
        )],
    );
    check(
        "{ $dynamicAnchor: n, type: [object, array], items: { $dynamicRef: '#n' } }",
        &["[[],{}]"],
        &[("[[1]]", "/0/0 type: must be an array or an object")],
    );
}

#[test]
fn a_schema_that_is_wrong_is_a_fault_at_its_place() {
    #[track_caller]
    fn faults(schema: &str, told: &str) {
        assert_eq!(compiled(schema).map(|_| ()).unwrap_err(), told, "{schema}");
    }
    let must = "`type` must be a type of JSON, or a list of several";
    faults("{ type: nteger }", &format!("1:9 {must} (did you mean `integer`?)"));
    let expected = "(expected `array`, `boolean`, `integer`, `null`, `number`, `object` or `string`)";
    faults("{ type: [string, 5] }", &format!("1:9 {must} {expected}"));
    faults("{ properties: { a: { minLength: -1 } } }", "1:33 `minLength` must be at least 0");
    faults("{ properties: { a: 5 } }", "1:20 `a` must be a boolean or an object");
    faults("{ minLenght: 5 }", "1:3 unknown keyword `minLenght` (did you mean `minLength`?)");
    faults("{ format: datetime }", "1:11 unknown format `datetime` (did you mean `date-time`?)");
    faults(
        "{ pattern: '(?=a)b' }",
        "1:12 a pattern that cannot be used (expected a regular expression without look-around and back-references, so that a match takes linear time)",
    );
    let inside = "(expected a place in this schema such as `#/$defs/item`; other documents are not fetched)";
    faults(
        "{ $ref: 'https://example.com/x.json' }",
        &format!("1:9 a reference to another document {inside}"),
    );
    faults(
        "{ $ref: 'file:///etc/passwd' }",
        &format!("1:9 a reference to another document {inside}"),
    );
    faults(
        "{ items: { $ref: '#/$defs/x' } }",
        &format!("1:18 reference `#/$defs/x` leads nowhere {inside}"),
    );
    faults("{ $ref: '#x' }", &format!("1:9 reference `#x` leads nowhere {inside}"));
    faults(
        "{ $schema: 'http://json-schema.org/draft-07/schema#' }",
        "1:12 a schema of another draft (expected `https://json-schema.org/draft/2020-12/schema`, or no `$schema`)",
    );
    faults(
        "{ maximum: 1e999 }",
        "1:12 a number out of range (expected a number up to 1e308)\n1:12 `maximum` must be a number",
    );
    // Remarks that are no keywords, and names that look like some.
    assert!(compiled("{ x-owner: shop, properties: { minLenght: { type: string } }, const: { typ: 1 } }").is_ok());
}

#[test]
fn what_is_told_is_bounded_and_holds_nothing_of_the_value() {
    let told = refusal("{ items: { type: string } }", &format!("[{}]", vec!["12345"; 5_000].join(","))).unwrap();
    assert_eq!(told.split("; ").count(), 10, "{told}");
    assert!(!told.contains("12345"), "{told}");
    // Too many to gather: the first is told.
    let told = refusal("{ items: { type: string } }", &format!("[{}]", vec!["12345"; 100_000].join(","))).unwrap();
    assert_eq!(told, "/0 type: must be a string");
    let long = format!("{{\"{}\":1}}", "k".repeat(10_000));
    let told = refusal("{ additionalProperties: false, patternProperties: { k: { type: string } } }", &long).unwrap();
    assert!(told.len() < 400, "{told}");
}

#[test]
fn a_check_that_would_take_for_ever_is_broken_off() {
    // Each level is looked at by both forms, and each of them by both of the next.
    let schema = compiled("{ $defs: { n: { oneOf: [{ items: { $ref: '#/$defs/n' }, minItems: 1 }, { items: { $ref: '#/$defs/n' }, maxItems: 9 }] } }, $ref: '#/$defs/n' }").unwrap();
    let body = format!("{}1{}", "[".repeat(60), "]".repeat(60));
    let began = std::time::SystemTime::now();
    let verdict = schema.judge(body.as_bytes(), &Room::INLINE);
    assert!(began.elapsed().unwrap() < Duration::from_secs(5));
    assert!(matches!(verdict, Verdict::Misfits(_) | Verdict::TooMuch), "{verdict:?}");
    // A reference to itself asks nothing.
    check("{ $ref: '#' }", &["1"], &[]);
    check("{ anyOf: [{ $ref: '#' }, { type: string }] }", &["\"x\""], &[]);
    // A thousand references, one behind the other, at each of sixty levels.
    let links: Vec<String> = (0..1000).map(|at| format!("d{at}: {{ $ref: '#/$defs/d{}' }}", at + 1)).collect();
    let schema = format!(
        "{{ $ref: '#/$defs/d0', $defs: {{ {}, d1000: {{ items: {{ $ref: '#/$defs/d0' }} }} }} }}",
        links.join(", ")
    );
    let verdict = compiled(&schema).unwrap().judge(body.as_bytes(), &Room::INLINE);
    assert!(matches!(verdict, Verdict::Fits | Verdict::TooMuch), "{verdict:?}");
    // A pattern that takes others exponential time.
    check(
        "{ pattern: '^(a+)+$' }",
        &[],
        &[(&format!("\"{}!\"", "a".repeat(50_000)), " pattern: must match the pattern")],
    );
}

#[tokio::test]
async fn a_long_body_is_checked_on_the_pool() {
    let compute = Compute::new(anabranch::ComputeSettings {
        threads: 1,
        ..Default::default()
    });
    let schema = compiled("{ items: { type: integer } }").unwrap();
    let soon = Deadline::after(Duration::from_secs(10));
    let on_pool = async |items: usize| {
        let before = compute.counts().submitted;
        let body = Bytes::from(format!("[{}]", vec!["1"; items].join(",")));
        schema.check(&body, &compute, "here", soon).await.unwrap();
        compute.counts().submitted - before
    };
    assert_eq!(on_pool(10).await, 0);
    assert_eq!(on_pool(33_000).await, 1);
    // Short, but more than a loop may do.
    assert_eq!(on_pool(20_000).await, 1);
}

fn any_json() -> impl Strategy<Value = serde_json::Value> {
    let keyword = prop::sample::select(super::walk::keywords().collect::<Vec<_>>());
    let text = prop_oneof![
        Just("#".to_owned()),
        Just("object".to_owned()),
        Just("#/$defs/a".to_owned()),
        Just("^(a|b)*$".to_owned()),
        "[a-z(\\[#/*+?]{0,6}"
    ];
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        (-3i64..70).prop_map(Into::into),
        any::<f64>().prop_map(Into::into),
        text.prop_map(Into::into),
    ];
    leaf.prop_recursive(5, 40, 5, move |inner| {
        let name = prop_oneof![4 => keyword.clone().prop_map(str::to_owned), 1 => "[a-b]".prop_map(|name: String| name)];
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Into::into),
            prop::collection::vec((name, inner), 0..5).prop_map(|members| serde_json::Value::Object(members.into_iter().collect())),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    /// Whatever is written as a schema is a fault or a schema, and whatever is sent gets a verdict.
    #[test]
    fn no_schema_and_no_body_panics(schema in any_json(), body in any_json()) {
        if let Ok(schema) = compiled(&schema.to_string()) {
            schema.judge(body.to_string().as_bytes(), &Room::INLINE);
        }
    }
}
