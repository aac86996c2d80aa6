//! What is sent: credentials, headers, bodies, retries, and what counts as success.

use super::*;

#[test]
fn credentials_go_only_where_they_are_passed() {
    assert_eq!(http("shop /").pass, [1]);
    assert_eq!(http("auth /").pass, [0, 1]);
    assert_eq!(http("{ get: auth /, headers: { X-BETA: own } }").pass, [0]);
    let refused = "`$header.authorization` is a credential that this source is not passed";
    check_says(&with_call("shop /?t=$header.authorization"), refused);
    check_says(&with_call("{ get: shop /, headers: { X-Token: $header.authorization } }"), refused);
    check_says(
        &with_call("{ post: auth /, body: { t: $header.cookie } }"),
        "`$header.cookie` is a credential",
    );
    assert_eq!(http("auth /?t=$header.authorization").source, 1);
    let text = format!("credentials: [X-Session]\n{}", with_call("auth /").replace("X-Beta", "X-Session"));
    let plan = plan(&text);
    assert!(plan.credentials.contains(&HeaderName::from_static("x-session")));
    assert!(matches!(&plan.routes[0].calls[0].action, Action::Http(action) if action.pass == [0]));
    assert!(
        plan.warnings
            .iter()
            .any(|warning| warning.contains("the header `x-session` is let in, and no call is sent it")),
        "{:?}",
        plan.warnings
    );
    check_says(
        &with_call("auth /").replace("pass: [Authorization]", "pass: [X-Plain]"),
        "`X-Plain` is no credential",
    );
}

#[test]
fn what_frames_a_message_is_never_passed_nor_written() {
    let let_in = "[Host, Content-Length, TE, Connection, Upgrade, Proxy-Connection, User-Agent, Traceparent, X-Forwarded-For, Accept-Language, Content-Type]";
    let text = routes(&format!("  GET /:\n    headers: {let_in}\n    calls: {{ c: shop / }}"));
    let route = plan(&text).routes.remove(0);
    assert!(
        matches!(&route.calls[0].action, Action::Http(action) if action.pass == [9]),
        "{:?}",
        route.calls[0].action
    );
    for name in [
        "Host",
        "Content-Length",
        "Transfer-Encoding",
        "Connection",
        "TE",
        "Upgrade",
        "Trailer",
        "Proxy-Authorization",
        "Keep-Alive",
        "Content-Type",
    ] {
        let refused = format!("`{name}`: the header `{name}` belongs to the connection or the body");
        check_says(&with_call(&format!("{{ get: shop /, headers: {{ {name}: x }} }}")), &refused);
        let text = routes("  GET /:\n    calls: { c: shop / }").replace("shop:8000 }", &format!("shop:8000, headers: {{ {name}: x }} }}"));
        check_says(&text, &refused);
    }
    check_says(
        &with_call("{ get: shop /, forward: [Content-Length] }"),
        "`Content-Length` belongs to the source's answer",
    );
}

#[test]
fn headers_are_checked() {
    assert_eq!(shown(&http("{ get: shop /, headers: { X-A: \"a $id\" } }").headers[0].1), "a <$id>");
    check_says(
        &with_call("{ get: shop /, headers: { 'X A': b } }"),
        "`X A` cannot be the name of a header",
    );
    check_says(
        &with_call("{ get: shop /, headers: { X-A: \"a\\nb\" } }"),
        "holds a character that headers cannot",
    );
    check_says(
        &with_call("{ get: shop /, headers: { X-A: a, x-a: b } }"),
        "`x-a` stands here twice",
    );
    check_says(
        &with_call("shop /").replace("X-Beta", "x-beta, X-Beta"),
        "`X-Beta` stands here twice",
    );
    let text = with_call("{ get: shop /, headers: { X-Key: $env.TOKEN } }");
    let Action::Http(action) = &plan(&text).routes[0].calls[0].action else {
        panic!("no request")
    };
    assert_eq!(shown(&action.headers[0].1), "s3cret$x");
    let text = with_call("shop /").replace("shop:8000 }", "shop:8000, headers: { X-Key: $env.TOKEN } }");
    let plan = plan(&text);
    assert_eq!(plan.sources[0].headers[0].1, "s3cret$x");
    assert!(!format!("{plan:?}").contains("s3cret"));
}

#[test]
fn writes_are_sent_once_unless_told_otherwise() {
    let text = "{ post: shop /, body: { id: $id } }";
    assert_eq!((call(text).retry, call(text).idempotent), (0, false));
    let retried = call("{ put: shop /, idempotent: true, retry: 2 }");
    assert_eq!((retried.retry, retried.idempotent), (2, true));
    assert_eq!(call("{ get: shop /, idempotent: false }").retry, 0);
    let help = "(write `idempotent: true` if sending it twice does no harm, or leave `retry` out)";
    check_call_fault(
        "{ post: shop /, retry: 2 }",
        &format!("`2`: a call that may not be sent twice is never retried {help}"),
    );
    assert_eq!(call("{ delete: shop /, retry: 0 }").retry, 0);
}

#[test]
fn bodies_are_json_with_references() {
    let body = |written: &str| http(&format!("{{ post: shop /, body: {written} }}")).body.unwrap();
    assert_eq!(
        body("{ a: [1, null, true, 1.50], b: \"x\\\"$$\" }"),
        Value::Literal(r#"{"a":[1,null,true,1.50],"b":"x\"$"}"#.into())
    );
    let Value::Object(fields) = body("{ id: $id, text: \"n $id\", fixed: [1] }") else {
        panic!("no object")
    };
    assert!(matches!(&fields[0].1, Value::Ref(reference) if reference.root == Root::Param(0)));
    assert!(matches!(&fields[1].1, Value::Text(template) if shown(template) == "n <$id>"));
    assert_eq!(fields[2].1, Value::Literal("[1]".into()));
    assert_eq!(body("''"), Value::Literal("\"\"".into()));
    for method in ["get", "head"] {
        check_says(&with_call(&format!("{{ {method}: shop /, body: {{}} }}")), "request has no body");
    }
    let text = routes("  POST /:\n    body: { max: 2M }\n    calls: { c: { post: shop /, body: { n: $body.items.0.name } } }");
    let route = plan(&text).routes.remove(0);
    assert_eq!((route.reads_body, route.body_max), (true, 2 << 20));
    check_says(
        &routes("  GET /:\n    body: { max: 2M }\n    calls: { c: shop / }"),
        "a GET request has no body",
    );
}

#[test]
fn ok_lists_what_is_a_success() {
    let ok = |written: &str| call(&format!("{{ get: shop /, ok: {written} }}")).ok;
    let set = ok("[2xx, {404: null}, {410: {gone: true}}, 500..503]");
    let value = |status: u16| set.find(status).map(|entry| entry.value.clone());
    assert_eq!((value(204), value(404)), (Some(None), Some(Some("null".into()))));
    assert_eq!(
        (value(410), value(502), value(504)),
        (Some(Some(r#"{"gone":true}"#.into())), Some(None), None)
    );
    assert!(ok("200").find(201).is_none() && ok("[200..204]").find(204).is_some());
    for wrong in [
        "[6xx]",
        "[99]",
        "[204..200]",
        "[600]",
        "[null]",
        "[{200: 1, 404: 2}]",
        "[2x]",
        "1xx",
    ] {
        check_says(
            &with_call(&format!("{{ get: shop /, ok: {wrong} }}")),
            "expected `2xx`, `404`, `200..204`",
        );
    }
    check_says(&with_call("{ get: shop /, ok: [404] }"), "no 2xx status would be a success");
    check_says(&with_call("{ get: shop /, ok: [2xx, { 404: $id }] }"), "a value in `ok` is fixed");
}
