//! Requests as clients send them, good and bad.

use proptest::prelude::*;

use super::*;
use crate::route::testing::{param, route};

fn int(name: &str, default: ParamDefault) -> Param {
    param(name, ParamKind::Int { min: 1, max: 100 }, default)
}

/// `/a/{x}?page=&lang=&tag=` with headers and a body that calls read.
fn shop() -> RoutePlan {
    let mut shop = route("POST /a/{x}");
    shop.params.push(int("page", ParamDefault::Value("1".to_string())));
    shop.params.push(param("lang", ParamKind::Text, ParamDefault::Missing));
    shop.params.push(Param {
        repeats: true,
        ..param("tag", ParamKind::Text, ParamDefault::Missing)
    });
    shop.headers = vec![HeaderName::from_static("x-thing"), COOKIE, AUTHORIZATION];
    shop.reads_body = true;
    shop
}

fn read(route: &RoutePlan, capture: &str, query: &str) -> Result<Inputs, Problem> {
    Inputs::read(
        route,
        &Matched {
            index: 0,
            captures: vec![capture],
        },
        query,
        &HeaderMap::new(),
        None,
    )
}

/// The parameters in one line, or the detail of the 400.
fn check(route: &RoutePlan, capture: &str, query: &str, expected: &str) {
    let line = match read(route, capture, query) {
        Ok(inputs) => {
            let texts = inputs.params.iter().map(|value| match value {
                None => "-".to_string(),
                Some(ParamValue::One(text)) => text.clone(),
                Some(ParamValue::List(texts)) => format!("[{}]", texts.join(",")),
            });
            texts.collect::<Vec<_>>().join(" ")
        }
        Err(problem) => {
            assert_eq!(problem.status, 400);
            problem.detail
        }
    };
    assert_eq!(line, expected, "{capture} {query}");
}

#[test]
fn parameters_are_decoded_and_have_defaults() {
    let shop = shop();
    check(&shop, "7", "", "7 1 - -");
    check(&shop, "a%20b%2Fc", "page=007&lang=de+DE%2B", "a b/c 7 de DE+ -");
    check(&shop, "7", "tag=a&tag=&tag=b%26c", "7 1 - [a,,b&c]");
    check(&shop, "7", "p%61ge=9&lang", "7 9  -");
    check(&shop, "7", "&&other=%zz&%ff=1&page=2&", "7 2 - -");
    check(&shop, "%C3%A9", "lang=%F0%9F%98%80", "é 1 😀 -");
}

#[test]
fn what_is_not_as_it_must_be_is_refused_by_name() {
    let shop = shop();
    check(&shop, "7", "page=0", "parameter `page` must be a whole number from 1 to 100");
    check(&shop, "7", "page=101", "parameter `page` must be a whole number from 1 to 100");
    check(&shop, "7", "page=", "parameter `page` must be a whole number from 1 to 100");
    check(&shop, "7", "page=1e1", "parameter `page` must be a whole number from 1 to 100");
    check(&shop, "7", "page=%2B1", "parameter `page` must be a whole number from 1 to 100");
    check(
        &shop,
        "7",
        "page=99999999999999999999",
        "parameter `page` must be a whole number from 1 to 100",
    );
    check(&shop, "7", "page=1&page=1", "parameter `page` must be sent once");
    check(&shop, "7", "lang=%00", "parameter `lang` must be text without control characters");
    check(
        &shop,
        "7",
        "tag=a&tag=%0a",
        "parameter `tag` must be text without control characters",
    );
    check(&shop, "7", "lang=%ff", "parameter `lang` must be UTF-8");
    check(
        &shop,
        "7",
        "lang=100%",
        "parameter `lang` must be percent-encoded, `%25` for a percent sign",
    );
    check(&shop, "%e9", "", "parameter `x` must be UTF-8");
    check(&shop, "%7f", "", "parameter `x` must be text without control characters");
    let mut strict = shop;
    strict.params[2].default = ParamDefault::Required;
    check(&strict, "7", "", "parameter `lang` must be sent");
    assert_eq!(read(&strict, "7", "").unwrap_err().param.as_deref(), Some("lang"));
}

#[test]
fn parameters_that_go_into_a_path_are_checked_also_encoded() {
    let mut shop = shop();
    shop.params[0].in_path = true;
    shop.params[2].in_path = true;
    check(&shop, "a.b", "lang=x", "a.b 1 x -");
    for bad in ["..", ".", "%2e%2E", "a%2Fb", "a%5cb", "%252e%252e", "a%252fb"] {
        let problem = read(&shop, bad, "").unwrap_err();
        assert_eq!((problem.status.as_u16(), problem.param.as_deref()), (400, Some("x")), "{bad}");
        let problem = read(&shop, "ok", &format!("lang={bad}")).unwrap_err();
        assert_eq!((problem.status.as_u16(), problem.param.as_deref()), (400, Some("lang")), "{bad}");
    }
    check(&shop, "ok", "lang=", "parameter `lang` must not be empty in a path");
}

#[test]
fn the_rest_of_a_path_keeps_its_slashes_and_no_others() {
    let mut files = route("GET /f/*path");
    files.params[0].in_path = true;
    check(&files, "a/b%20c/d.css", "", "a/b c/d.css");
    for bad in ["a/../b", "a//b", "a/", "a/%2e%2e/b", "a%2fb", "a/b%5C"] {
        assert_eq!(read(&files, bad, "").unwrap_err().param.as_deref(), Some("path"), "{bad}");
    }
    let inputs = read(&files, "a/b", "").unwrap();
    assert_eq!(inputs.params[0].as_ref().unwrap().given(&files.params[0]), Given::Rest("a/b"));
}

fn with_headers(pairs: &[(&str, &[u8])]) -> Result<Inputs, Problem> {
    let mut headers = HeaderMap::new();
    for (name, value) in pairs {
        headers.append(
            HeaderName::from_bytes(name.as_bytes()).unwrap(),
            HeaderValue::from_bytes(value).unwrap(),
        );
    }
    Inputs::read(
        &shop(),
        &Matched {
            index: 0,
            captures: vec!["7"],
        },
        "",
        &headers,
        None,
    )
}

#[test]
fn only_headers_let_in_are_kept_and_repeats_join() {
    let inputs = with_headers(&[
        ("X-Thing", b"a"),
        ("x-thing", "é\t".as_bytes()),
        ("cookie", b"a=1"),
        ("cookie", b"b=2"),
        ("x-other", b"\xff"),
    ])
    .unwrap();
    assert_eq!(
        inputs.headers,
        [
            Some(HeaderValue::from_bytes("a, é\t".as_bytes()).unwrap()),
            Some(HeaderValue::from_static("a=1; b=2")),
            None
        ]
    );
    let refused = |pairs: &[(&str, &[u8])]| with_headers(pairs).unwrap_err().detail;
    assert_eq!(
        refused(&[("authorization", b"a"), ("authorization", b"b")]),
        "header `authorization` must be sent once"
    );
    assert_eq!(refused(&[("x-thing", b"\xff")]), "header `x-thing` must be UTF-8");
    assert_eq!(
        refused(&[("x-thing", b"a\xc2\x85b")]),
        "header `x-thing` must not hold control characters"
    );
}

fn with_body(shop: &RoutePlan, media_type: &str, body: &'static str) -> Result<Option<Bytes>, u16> {
    let mut headers = HeaderMap::new();
    if !media_type.is_empty() {
        headers.insert(CONTENT_TYPE, media_type.parse().unwrap());
    }
    let matched = Matched {
        index: 0,
        captures: vec!["7"],
    };
    let inputs = Inputs::read(shop, &matched, "", &headers, Some(Bytes::from_static(body.as_bytes())));
    inputs.map(|inputs| inputs.body).map_err(|problem| problem.status.as_u16())
}

#[test]
fn a_body_that_calls_read_must_be_json() {
    let mut shop = shop();
    let json = Ok(Some(Bytes::from_static(b" {\"a\":1} ")));
    assert_eq!(with_body(&shop, "application/json", " {\"a\":1} "), json);
    assert_eq!(with_body(&shop, "Application/JSON; charset=utf-8", " {\"a\":1} "), json);
    assert_eq!(with_body(&shop, "application/merge-patch+json", " {\"a\":1} "), json);
    assert_eq!(with_body(&shop, "", ""), Ok(None));
    assert_eq!(with_body(&shop, "text/plain", "{}"), Err(415));
    assert_eq!(with_body(&shop, "", "{}"), Err(415));
    assert_eq!(with_body(&shop, "application/json", "{"), Err(400));
    shop.body_max = 3;
    assert_eq!(with_body(&shop, "application/json", "null"), Err(413));
    shop.body_max = 4;
    assert_eq!(with_body(&shop, "application/json", "null"), Ok(Some(Bytes::from_static(b"null"))));
    shop.reads_body = false;
    assert_eq!(with_body(&shop, "text/plain", "abc"), Ok(None));
    shop.body_max = 2;
    assert_eq!(with_body(&shop, "text/plain", "abc"), Err(413));
}

#[test]
fn a_compressed_body_is_refused() {
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    let status = |headers: &HeaderMap| {
        let matched = Matched {
            index: 0,
            captures: vec!["7"],
        };
        Inputs::read(&shop(), &matched, "", headers, Some(Bytes::from_static(b"{}"))).map_err(|problem| problem.status.as_u16())
    };
    headers.insert(CONTENT_ENCODING, HeaderValue::from_static("identity"));
    assert!(status(&headers).is_ok());
    headers.append(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    assert_eq!(status(&headers), Err(415));
}

fn reference(root: Root, path: Vec<Hop>) -> Reference {
    Reference {
        root,
        path,
        text: "$x".to_string(),
    }
}

#[test]
fn references_reach_what_was_sent() {
    let mut shop = shop();
    shop.params.push(Param {
        repeats: true,
        ..int("ids", ParamDefault::Missing)
    });
    shop.params.push(param("vip", ParamKind::Bool, ParamDefault::Missing));
    let mut headers = HeaderMap::new();
    headers.insert("x-thing", HeaderValue::from_static("t"));
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    let matched = Matched {
        index: 0,
        captures: vec!["a\"b"],
    };
    let body = Bytes::from_static(br#"{"user":{"id":9},"none":null}"#);
    let inputs = Inputs::read(&shop, &matched, "tag=a&tag=b&ids=1&ids=02&vip=true", &headers, Some(body)).unwrap();
    let get = |root, path: &[Hop]| inputs.get(&shop, &reference(root, path.to_vec())).json().into_owned();
    let field = |name: &str| Hop::Field(name.to_string());
    assert_eq!(get(Root::Param(0), &[]), br#""a\"b""#);
    assert_eq!(get(Root::Param(1), &[]), b"1");
    assert_eq!(get(Root::Param(2), &[]), b"null");
    assert_eq!(get(Root::Param(3), &[Hop::Each]), br#"["a","b"]"#);
    assert_eq!(get(Root::Param(3), &[Hop::Index(1)]), br#""b""#);
    assert_eq!(get(Root::Param(3), &[Hop::Index(2)]), b"null");
    assert_eq!(get(Root::Param(4), &[]), b"[1,2]");
    assert_eq!(get(Root::Param(4), &[Hop::Index(0)]), b"1");
    assert_eq!(get(Root::Param(5), &[]), b"true");
    assert_eq!(get(Root::Param(0), &[field("x")]), b"null");
    assert_eq!(get(Root::Param(99), &[]), b"null");
    assert_eq!(get(Root::Header(0), &[]), b"\"t\"");
    assert_eq!(get(Root::Header(1), &[]), b"null");
    assert_eq!(get(Root::Body, &[field("user"), field("id")]), b"9");
    assert_eq!(get(Root::Body, &[field("none")]), b"null");
    assert_eq!(get(Root::Call(0), &[]), b"null");
}

proptest! {
    /// Whatever a client sends, a problem never repeats it: the canary is in every input.
    #[test]
    fn no_problem_repeats_what_was_sent(before in "[ -~]{0,6}", after in "[%./\\\\a-f0-9]{0,6}", header in "[\\x20-\\x7e]{0,9}") {
        let canary = format!("{before}c4n4ry{after}");
        let mut shop = shop();
        shop.params[0].in_path = true;
        let mut headers = HeaderMap::new();
        headers.append(AUTHORIZATION, HeaderValue::from_str(&format!("c4n4ry{header}")).unwrap());
        headers.append(AUTHORIZATION, HeaderValue::from_str(&header).unwrap());
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let matched = Matched { index: 0, captures: vec![&canary] };
        let queries = [format!("page={canary}"), format!("lang={canary}&lang={canary}"), canary.clone()];
        for query in &queries {
            let body = Bytes::from(canary.clone());
            let problem = Inputs::read(&shop, &matched, query, &headers, Some(body)).unwrap_err();
            let text = String::from_utf8(problem.body().to_vec()).unwrap();
            prop_assert!(!text.contains("c4n4ry"), "{}", text);
        }
    }
}
