//! Parameters of queries and paths, and patterns.

use super::*;

fn param(written: &str) -> Param {
    let text = routes(&format!("  GET /:\n    query: {{ p: {written} }}\n    calls: {{ c: shop /?p=$p }}"));
    plan(&text).routes.remove(0).params.remove(0)
}

#[test]
fn query_parameters_have_short_forms_and_a_long_one() {
    use ParamDefault::{Missing, Required, Value};
    let any = ParamKind::Int {
        min: i64::MIN,
        max: i64::MAX,
    };
    let cases = [
        ("1", any.clone(), Value("1".into())),
        ("-7", any.clone(), Value("-7".into())),
        ("1.50", ParamKind::Number, Value("1.50".into())),
        ("true", ParamKind::Bool, Value("true".into())),
        ("en", ParamKind::Text, Value("en".into())),
        ("\"5\"", ParamKind::Text, Value("5".into())),
        ("'int'", ParamKind::Text, Value("int".into())),
        ("'hello!'", ParamKind::Text, Value("hello!".into())),
        ("20..100", ParamKind::Int { min: 1, max: 100 }, Value("20".into())),
        ("int!", any.clone(), Required),
        ("'int?'", any.clone(), Missing),
        ("string?", ParamKind::Text, Missing),
        ("uuid!", ParamKind::Uuid, Required),
        (
            "{ type: int, default: 20, min: 1, max: 100 }",
            ParamKind::Int { min: 1, max: 100 },
            Value("20".into()),
        ),
        ("{ type: int, min: 0 }", ParamKind::Int { min: 0, max: i64::MAX }, Missing),
        ("{ type: date, required: true }", ParamKind::Date, Required),
        ("{ type: date, default: 2024-02-29 }", ParamKind::Date, Value("2024-02-29".into())),
        ("{ type: string, default: 5 }", ParamKind::Text, Value("5".into())),
    ];
    for (written, kind, default) in cases {
        let param = param(written);
        assert_eq!((param.kind, param.default, param.repeats), (kind, default, false), "{written}");
    }
    for repeats in ["[]", "{ type: string, repeats: true }"] {
        let param = param(repeats);
        assert_eq!((param.kind, param.default, param.repeats), (ParamKind::Text, Missing, true));
    }
}

#[test]
fn nonsense_parameters_are_faults() {
    let says = |written: &str, expected: &str| {
        check_says(
            &routes(&format!("  GET /:\n    query: {{ p: {written} }}\n    calls: {{ c: shop /?p=$p }}")),
            expected,
        );
    };
    says("", "`p` says neither a type nor a default");
    says("[1]", "`p` says neither a type nor a default");
    says("int", "`int` alone does not say whether it must be there");
    says("itn!", "unknown type `itn`");
    says("200..100", "the default 200 is outside 1..100");
    says("99999999999999999999", "expected a whole number of 64 bits");
    says("$lang", "a default is fixed");
    says("{ default: 1 }", "the parameter has no `type`");
    says("{ type: itn }", "unknown type `itn` (did you mean `int`?)");
    says("{ type: int, mxa: 1 }", "unknown key `mxa` (did you mean `max`?)");
    says("{ type: int, min: 5, max: 1 }", "no number is from 5 to 1");
    says(
        "{ type: int, default: 7, max: 5 }",
        "a default that the parameter would refuse (expected a whole number up to 5)",
    );
    says("{ type: string, max: 5 }", "only an `int` has bounds");
    says("{ type: int, max: x }", "a bound that is no whole number");
    says("{ type: int, default: 1, required: true }", "a default has no use here");
    says("{ type: int, required: yes }", "neither `true` nor `false`");
    says("{ type: date, default: 2023-02-29 }", "expected a date like");
}

#[test]
fn values_are_made_canonical() {
    let whole = ParamKind::Int { min: -5, max: 5 };
    for (value, expected) in [
        ("5", Some("5")),
        ("-05", Some("-5")),
        ("6", None),
        ("+5", None),
        ("", None),
        ("-", None),
        (" 1", None),
        ("5.0", None),
    ] {
        assert_eq!(whole.canonical(value).ok().as_deref(), expected, "{value:?}");
    }
    for (value, sound) in [
        ("1e3", true),
        ("-0.5", true),
        ("1.", false),
        (" 1", false),
        ("1 ", false),
        ("NaN", false),
        ("1e999", false),
        ("01", false),
    ] {
        assert_eq!(ParamKind::Number.canonical(value).is_ok(), sound, "{value:?}");
    }
    for (value, sound) in [
        ("2024-02-29", true),
        ("1900-02-29", false),
        ("2000-02-29", true),
        ("2024-13-01", false),
        ("2024-1-01", false),
        ("2024-04-31", false),
    ] {
        assert_eq!(ParamKind::Date.canonical(value).is_ok(), sound, "{value:?}");
    }
    let uuid = "0190A9C4-7D3B-7E2A-9C54-0123456789AB";
    assert_eq!(ParamKind::Uuid.canonical(uuid), Ok(uuid.to_lowercase()));
    assert!(ParamKind::Uuid.canonical(&uuid.replace('-', "0")).is_err());
    assert!(ParamKind::Text.canonical("a\u{0}").is_err() && ParamKind::Text.canonical("ü ").is_ok());
    assert!(ParamKind::Bool.canonical("True").is_err());
}

#[test]
fn patterns_have_fixed_segments_parameters_and_a_rest() {
    let text = routes("  GET /aü/{id:int}/{name}/{u:uuid}/{d:date}/*rest:\n    calls: { c: shop /$id/$name/$u/$d/$rest }");
    let route = plan(&text).routes.remove(0);
    let params = |index| Segment::Param(index);
    let expected = [
        Segment::Fixed("a%C3%BC".into()),
        params(0),
        params(1),
        params(2),
        params(3),
        Segment::Rest(4),
    ];
    assert_eq!(route.segments, expected);
    let kinds: Vec<&ParamKind> = route.params.iter().map(|param| &param.kind).collect();
    let any = ParamKind::Int {
        min: i64::MIN,
        max: i64::MAX,
    };
    assert_eq!(
        kinds,
        [&any, &ParamKind::Text, &ParamKind::Uuid, &ParamKind::Date, &ParamKind::Text]
    );
    assert!(
        route
            .params
            .iter()
            .all(|param| param.in_path && param.default == ParamDefault::Required)
    );
    assert!(route.params[4].rest && !route.params[1].rest);
    let empty = Segment::Fixed(String::new());
    let segments = |path: &str| {
        plan(&routes(&format!("  GET {path}:\n    calls: {{ c: shop / }}")))
            .routes
            .remove(0)
            .segments
    };
    assert_eq!(segments("/"), std::slice::from_ref(&empty));
    assert_eq!(segments("/x/"), [Segment::Fixed("x".into()), empty]);
}

#[test]
fn broken_patterns_are_faults() {
    let says = |path: &str, expected: &str| check_says(&routes(&format!("  ? \"GET {path}\"\n  : calls: {{ c: shop / }}")), expected);
    says("/*rest/x", "`*rest` is not the last segment");
    says("/{id:itn}", "unknown type `itn` (did you mean `int`?)");
    says("/{id}.json", "`{` inside the segment `{id}.json`");
    says("/a//b", "an empty segment");
    says("/a/../b", "a path may not hold the segments `.` and `..`");
    says("/{}", "`` cannot be the name of a parameter");
    says("/*", "`` cannot be the name of a parameter");
    says("/{a}/{a}", "two parameters are named `a`");
    says("/$id", "`$` inside the segment `$id`");
    says("/a?b=1", "`?` inside the segment `a?b=1`");
}

#[test]
fn a_default_that_no_path_could_hold_is_a_fault() {
    let says = |default: &str, path: &str, expected: &str| {
        check_says(
            &routes(&format!("  GET /:\n    query: {{ p: {default} }}\n    calls: {{ c: shop {path} }}")),
            expected,
        );
    };
    says("a/b", "/$p", "the default of `p` must not hold a slash or backslash in a path");
    says("'..'", "/x/$p", "the default of `p` must not be `.` or `..` in a path");
    says("''", "/x$p", "the default of `p` must not be empty in a path");
    says("[]", "/$p", "`$p` is a list, and a path takes one value");
    assert!(!param("a/b").in_path);
}

#[test]
fn two_routes_that_take_the_same_requests_are_a_fault() {
    let two = |first: &str, second: &str| {
        routes(&format!(
            "  {first}:\n    calls: {{ c: shop / }}\n  {second}:\n    calls: {{ c: shop / }}"
        ))
    };
    check_says(
        &two("GET /x/{a}", "GET /x/{b:int}"),
        "`/x/{b:int}`: `GET /x/{b:int}` takes the same requests as `GET /x/{a}`",
    );
    check_says(&two("GET /x/*a", "GET /x/*b"), "takes the same requests");
    for (first, second) in [
        ("GET /x/{a}", "PUT /x/{a}"),
        ("GET /x/{a}", "GET /x/y"),
        ("GET /x/{a}", "GET /x/*a"),
        ("GET /x", "GET /x/"),
    ] {
        assert_eq!(plan(&two(first, second)).routes.len(), 2);
    }
    check_says(&format!("slash: ignore\n{}", two("GET /x", "GET /x/")), "takes the same requests");
}
