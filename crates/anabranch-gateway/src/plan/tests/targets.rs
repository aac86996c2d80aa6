//! References, and targets made of them.

use proptest::prelude::*;

use super::*;

#[test]
fn a_reference_goes_as_far_as_it_can() {
    check_target("shop /a/$id/$id-x", "/a/<$id>/<$id>-x?");
    check_target("shop /a/${id}.json", "/a/<$id>.json?");
    check_target("shop /a/$tag.0?t=$tag&u=$tag[]", "/a/<$tag.0>?t=<$tag>&u=<$tag[]>");
    check_says(&with_call("shop /a?t=$tag.x"), "`tag` is a parameter and has no fields");
    check_target("shop /a/$id.?x=$$5", "/a/<$id>.?x=$5");
    check_target("shop /a?b=$lang,$page&c=$header.x-beta", "/a?b=<$lang>,<$page>&c=<$header.x-beta>");
    let text = with_calls("      a: shop /a\n      b: shop /b/$a.x.0.y?ids=$a.list[].id&z=${a.n}9\n");
    let route = plan(&text).routes.remove(0);
    let Action::Http(action) = &route.calls[1].action else {
        panic!("no request")
    };
    assert_eq!(shown(&action.path), "/b/<$a.x.0.y>");
    let reference = action.query[0].1.whole().unwrap();
    assert_eq!(reference.path, [Hop::Field("list".into()), Hop::Each, Hop::Field("id".into())]);
    assert_eq!(shown(&action.query[1].1), "<$a.n>9");
    assert_eq!(route.calls[1].waits, [0]);
}

#[test]
fn broken_references_are_faults() {
    check_call_fault(
        "shop /a?b=$ 5",
        "`$ `: `$` is not followed by a name (write `$name` for a value, `$$` for a dollar)",
    );
    check_call_fault(
        "shop /a?b=x$",
        "`$`: `$` is not followed by a name (write `$name` for a value, `$$` for a dollar)",
    );
    check_call_fault(
        "shop /a?b=$1",
        "`$1`: `$` is not followed by a name (write `$name` for a value, `$$` for a dollar)",
    );
    check_call_fault("'shop /a?b=${id'", "`${id`: `${` is never closed (write `${name.field}`)");
    check_says(&with_call("'shop /a?b=${id x}'"), "`${id x}`: `${id x}` is not a reference");
    check_says(&with_call("'shop /a?b=${}'"), "`${}`: `${}` is not a reference");
    check_says(&with_call("shop /a?b=$id[0]"), "`[0]`: `[0]` after a reference would be text");
    check_says(&with_call("shop /a/$idd"), "`$idd`: unknown name `$idd` (did you mean `$id`?)");
    check_says(&with_call("shop /a?b=$lang.x"), "`lang` is a parameter and has no fields");
    check_says(&with_call("shop /a?b=$it"), "`$it` has no meaning here");
    check_says(&with_call("shop /a?b=$claims.sub"), "`$claims` has no meaning here");
    check_says(&with_call("shop /a?b=$body.x"), "a request of this route has no body");
}

#[test]
fn a_header_must_be_let_in_before_it_is_named() {
    assert_eq!(call("shop /a?b=$header.X-BETA").references()[0].root, Root::Header(1));
    let help = "the header `x-thing` is not let in (add `headers: [x-thing]` to the route)";
    check_call_fault("shop /a?b=$header.x-thing", &format!("`$header.x-thing`: {help}"));
    check_says(&with_call("shop /a?b=$header"), "`$header` is not a header");
}

#[test]
fn fixed_text_is_encoded_for_its_place() {
    check_target("shop /a b/ü?x=a b&y=%20&z=a/b?c&&flag", "/a%20b/%C3%BC?x=a%20b&y=%20&z=a/b?c&flag=");
    check_target(
        "{ get: shop /a, query: { 'a b': \"1&2+$id\", n: 3, yes: true } }",
        "/a?a%20b=1%262%2B<$id>&n=3&yes=true",
    );
    check_says(&with_call("shop /a%2"), "`%` is not followed by two hexadecimal digits");
    check_says(&with_call("'shop /a#b'"), "`#` ends a URL for the client");
    check_says(
        &with_call("'shop /a/{id}'"),
        "braces have no meaning here (write `$name` or `${name}` for a value",
    );
    check_says(&with_call("\"shop /a\\tb\""), "a URL holds a control character");
}

#[test]
fn a_target_is_a_source_and_a_path() {
    check_says(&with_call("shop"), "`shop` is not a target");
    check_says(&with_call("shop a/b"), "a path begins with `/`");
    check_says(&with_call("shop $id"), "a path begins with `/`");
    for dots in ["/..", "/a/../b", "/./a", "/%2e%2E/a", "/a/."] {
        check_says(&with_call(&format!("shop {dots}")), "a path may not hold the segments `.` and `..`");
    }
    check_target("shop /a/..$id/...", "/a/..<$id>/...?");
    check_says(
        &with_calls("      a: shop /a\n      b: shop /b/$a[].id\n"),
        "`$a[].id` is a list, and a path takes one value",
    );
    check_says(
        &with_call("{ get: shop /a?x=1, query: { x: 2 } }"),
        "`x` is in the target's query too",
    );
    check_says(
        &with_call("{ get: shop /a, query: { x: [1] } }"),
        "the value of a query pair is text",
    );
    check_says(&with_call("{ get: shop /a, query: { x: } }"), "the value of a query pair is text");
    check_says(&with_call("shop /a?$lang=1"), "the name of a query pair is fixed text");
}

proptest! {
    /// Whatever is written in a call, a condition or a parameter, it is a plan or faults, all of them inside the file.
    #[test]
    fn no_text_makes_it_panic(target in "(shop )?[ -~ü$./{}\\[\\]?&=%a]{0,24}", when in "[$a.\\[\\]\"|()=<>! 0-9ornt{}-]{0,24}", param in "\\PC{0,12}") {
        let quoted = |text: &str| serde_json::to_string(text).unwrap();
        let call = format!("{{ get: {}, when: {} }}", quoted(&target), quoted(&when));
        let text = with_call(&call).replace("lang: en", &format!("lang: {}", quoted(&param)));
        if let Err(faults) = config::compile("gateway.yaml", &text, &lookup()) {
            for fault in faults.sorted() {
                prop_assert!(text.get(fault.span.start..fault.span.end).is_some(), "{fault:?}\n{text}");
            }
        }
    }

    /// What is sent is always a URL: nothing written can put a blank, a control character or a fragment into it.
    #[test]
    fn what_compiles_is_a_url(path in "[ -~üß]{0,20}") {
        let text = with_call(&serde_json::to_string(&format!("shop /{path}")).unwrap());
        if let Ok(plan) = config::compile("gateway.yaml", &text, &lookup()) {
            let Action::Http(action) = &plan.routes[0].calls[0].action else { panic!("no request") };
            let pairs = action.query.iter().map(|(name, value)| format!("{name}={}", shown(value).replace(['<', '>', '$'], "")));
            let url = format!("{}?{}", shown(&action.path).replace(['<', '>'], ""), pairs.collect::<Vec<String>>().join("&"));
            prop_assert!(url.parse::<http::uri::PathAndQuery>().is_ok_and(|parsed| parsed.as_str() == url), "{url}");
        }
    }
}
