//! jq in calls, conditions and replies: what a program waits for, what is a part, what is remarked.

use super::*;

fn route(reply: &str, calls: &str) -> RoutePlan {
    plan(&graph(reply, calls)).routes.remove(0)
}

fn waits(route: &RoutePlan) -> Vec<&[usize]> {
    route.calls.iter().map(|call| call.waits.as_slice()).collect()
}

#[test]
fn a_program_waits_for_what_it_names() {
    let route = route(
        "",
        "      a: shop /a\n      b: { get: shop /b, jq: '. + $a as $x | $x' }\n      c: { value: 1, jq: '$a[0] + ($b | length)' }\n      \
         d: { get: shop /d, when: '$c | . > 1', jq: '. as $a | $a' }\n",
    );
    assert_eq!(waits(&route), [&[][..], &[0], &[0, 1], &[2]]);
    assert_eq!(route.parts, [0, 1, 2, 3]);
    let cycle = faults(&graph(
        "",
        "      a: { get: shop /a, jq: '$b' }\n      b: { get: shop /b, when: '$a | not | not | length' }\n",
    ));
    assert!(cycle.contains("calls wait for one another: a -> b -> a"), "{cycle}");
    let itself = faults(&graph("", "      a: { get: shop /a, jq: '$a' }\n"));
    assert!(itself.contains("`a` waits for itself"), "{itself}");
}

#[test]
fn the_parts_of_a_reply_are_all_or_those_that_are_named() {
    let calls = "      a: shop /a\n      b: shop /b\n";
    assert_eq!(route("    reply: { jq: '{x: .a}' }\n", calls).parts, [0, 1]);
    assert_eq!(route("    reply: { jq: '{a: $a, b: $b}' }\n", calls).parts, [0, 1]);
    let unseen = faults(&graph("    reply: { jq: '{a: $a}' }\n", calls));
    assert!(unseen.contains("nobody would see the call `b`"), "{unseen}");
    // A program that names nothing is a fixed reply, and nobody sees the calls.
    assert!(faults(&graph("    reply: { jq: '{a: 1}' }\n", calls)).contains("nobody would see the call `a`"));
}

#[test]
fn headers_and_items_are_variables_where_they_mean_something() {
    let plan = plan(&with_calls(
        "      a: shop /a\n      c: { each: '$a[]', get: shop /c/$it.id, jq: '{id: $it.id, beta: $header[\"X-Beta\"]}', when: '$it | has(\"id\")' }\n      \
         d: { batch: '$a[].id', get: 'shop /d?ids=$keys', match: id, jq: 'map(select(.id | IN($keys[])))' }\n      e: { get: auth /e, jq: '$header' }\n",
    ));
    let calls = &plan.routes[0].calls;
    assert!(matches!(
        calls[1].list.as_ref().unwrap().kind,
        ListKind::Each { when_by_item: true }
    ));
    let variables = |call: usize| calls[call].edit.as_ref().unwrap().program.as_ref().unwrap().variables.clone();
    let Variable::Headers(named) = &variables(1)[1] else {
        panic!("headers")
    };
    assert_eq!(named.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["X-Beta"]);
    let Variable::Headers(all) = &variables(3)[0] else {
        panic!("headers")
    };
    assert_eq!(
        all.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(),
        ["authorization", "cookie", "x-beta"]
    );
    let says = |call: &str, expected: &str| check_says(&with_call(call), expected);
    says("{ get: shop /c, jq: '$it' }", "`$it`: `$it` has no meaning here");
    says("{ get: shop /c, jq: '$header[\"x-none\"]' }", "the header `x-none` is not let in");
    says("{ get: shop /c, jq: '$body' }", "a request of this route has no body");
    says("{ get: shop /c, jq: '$file.x' }", "unknown variable `$file`");
    says(
        "{ get: shop /c, jq: '$ENV.x' }",
        "unknown variable `$ENV` (programs do not see the environment)",
    );
    says("{ get: shop /c, jq: '$lagn' }", "unknown name `$lagn` (did you mean `$lang`?)");
}

#[test]
fn what_goes_to_a_place_that_is_filled_sees_it_filled() {
    let calls = "      posts: shop /posts\n      authors: { batch: '$posts[].author', get: 'shop /users?ids=$keys', match: id, into: 'posts[].author' }\n      \
                 names: { value: null, jq: '[$posts[].author.name]' }\n      ids: { value: null, jq: '[$posts[].id]' }\n";
    let route = route("", calls);
    assert_eq!(waits(&route), [&[][..], &[0], &[1], &[0]]);
    let root = |call: usize| route.calls[call].references()[0].root.clone();
    assert_eq!((root(2), root(3)), (Root::Joined(1), Root::Call(0)));
}

#[test]
fn items_of_what_may_be_null_are_remarked() {
    let warnings = |route: &str, calls: &str| plan(&graph(route, calls)).warnings;
    let calls = "      a: shop /a\n      b: { get: shop /b, else: [] }\n";
    let remark = "takes the items of `a`, which is null when that fails";
    for reply in ["[$a[], $b[]]", "[.a[], .b[]]", "$a | map(1)", "{x: [.a[].id]}"] {
        let reply = format!("    reply: {{ jq: '. as $all | {reply}' }}\n");
        let found = warnings(&reply, calls);
        assert!(found.iter().any(|warning| warning.contains(remark)), "{reply}: {found:?}");
        assert!(!found.iter().any(|warning| warning.contains("items of `b`")), "{found:?}");
        let needed = warnings(&format!("    need: [a]\n{reply}"), calls);
        assert!(!needed.iter().any(|warning| warning.contains("takes the items")), "{needed:?}");
    }
    assert!(
        !warnings("    reply: { jq: '. as $all | [$a[]?, .b[]]' }\n", calls)
            .iter()
            .any(|warning| warning.contains("takes the items"))
    );
    let reply = "    reply: { jq: '[$a[], $b[]]' }\n";
    let fixed = warnings(reply, "      a: { value: [1] }\n      b: { value: [{ x: 2 }], drop: [x] }\n");
    assert!(!fixed.iter().any(|warning| warning.contains("items of `a`")), "{fixed:?}");
    let made = warnings(reply, "      a: { value: $b }\n      b: { get: shop /b, else: [] }\n");
    assert!(made.iter().any(|warning| warning.contains(remark)), "{made:?}");
    let found = warnings(
        "",
        "      a: shop /a\n      c: { get: shop /c, when: 'any($a[]; .x)', jq: 'map($a[])' }\n",
    );
    assert!(
        found.iter().any(|warning| warning.contains("`when` of `c` takes the items of `a`")),
        "{found:?}"
    );
    assert!(
        found.iter().any(|warning| warning.contains("`jq` of `c` takes the items of `a`")),
        "{found:?}"
    );
}
