//! Names of calls, who waits for whom, and how parts join.

use super::*;

#[test]
fn names_are_plain_and_name_one_thing() {
    check_says(&with_calls("      a-b: shop /a\n"), "`a-b` cannot be the name of a call");
    check_says(&with_calls("      1a: shop /a\n"), "`1a` cannot be the name of a call");
    check_says(&with_calls("      _a: shop /a\n"), "the name of a call does not begin with `_`");
    check_says(&with_calls("      id: shop /a\n"), "both a parameter and a call are named `id`");
    check_says(
        &with_calls("      cartItems: shop /a\n      cartitems: shop /b\n"),
        "`cartItems` and `cartitems` differ only in case",
    );
    for taken in ["it", "keys", "body", "header", "env", "file", "claims"] {
        check_says(
            &with_calls(&format!("      {taken}: shop /a\n")),
            &format!("the name `{taken}` is taken"),
        );
        check_says(
            &routes(&format!("  GET /{{{taken}}}:\n    calls: {{ c: shop / }}")),
            &format!("the name `{taken}` is taken"),
        );
    }
    check_says(
        &routes("  GET /{id}:\n    query: { id: 1 }\n    calls: { c: shop / }"),
        "two parameters are named `id`",
    );
    assert_eq!(
        plan(&with_calls("      cartItems: shop /a\n")).routes[0].calls[0].account_key,
        "cartitems"
    );
}

#[test]
fn calls_wait_for_those_that_they_name() {
    let text = graph(
        "",
        "      a: shop /a\n      b: { get: shop /b, when: $a.ok, after: [d ok] }\n      c: { post: shop /c, body: { x: [$b.id] }, after: [a] }\n      \
         d: { get: shop /d, headers: { X-A: $a.t } }\n      e: { value: { all: $c } }\n",
    );
    let route = plan(&text).routes.remove(0);
    let waits: Vec<&[usize]> = route.calls.iter().map(|call| call.waits.as_slice()).collect();
    assert_eq!(waits, [&[][..], &[0, 3], &[0, 1], &[0], &[2]]);
    assert_eq!(route.calls[1].waits_ok, [3]);
    assert_eq!(route.levels(), [0, 2, 3, 1, 4]);
}

#[test]
fn cycles_are_named_whole() {
    let three = "      a: shop /a?x=$c\n      b: shop /b?x=$a\n      c: { get: shop /c, when: $b }\n";
    check_says(&graph("", three), "`a`: calls wait for one another: a -> c -> b -> a");
    check_says(&graph("", "      a: shop /a?x=$a\n"), "`a` waits for itself");
    check_says(
        &graph("", "      a: { get: shop /a, else: $b }\n      b: shop /b?x=$a\n"),
        "calls wait for one another: a -> b -> a",
    );
    check_says(
        &graph(
            "",
            "      a: { get: shop /a, else: { x: $b.y } }\n      b: { get: shop /b, after: [a] }\n",
        ),
        "a -> b -> a",
    );
    // Two cycles, one fault each.
    let two = "      a: shop /a?x=$b\n      b: shop /b?x=$a\n      c: shop /c?x=$d&y=$b\n      d: shop /d?x=$c\n";
    let faults = faults(&graph("", two));
    assert_eq!(faults.lines().count(), 2, "{faults}");
}

#[test]
fn a_long_chain_needs_no_stack() {
    let mut calls = String::from("      c0: shop /\n");
    for at in 1..5_000 {
        writeln!(calls, "      c{at}: shop /?x=$c{}", at - 1).unwrap();
    }
    let plan = plan(&format!("max_calls: 5000\n{}", graph("", &calls)));
    assert_eq!(plan.routes[0].calls[4_999].waits, [4_998]);
}

#[test]
fn a_call_named_only_in_else_starts_only_when_needed() {
    let text = graph(
        "",
        "      a: { get: shop /a, else: $b }\n      b: shop /b\n      c: { get: shop /c, else: $d }\n      d: shop /d\n      e: shop /e?x=$d\n",
    );
    let route = plan(&text).routes.remove(0);
    assert!(matches!(route.calls[0].otherwise, Some(Otherwise::Call(1))));
    let only_else: Vec<bool> = route.calls.iter().map(|call| call.only_else).collect();
    assert_eq!(only_else, [false, true, false, false, false]);
    assert_eq!((route.parts.clone(), route.calls[1].is_part), (vec![0, 2, 3, 4], false));
    assert_eq!(route.levels()[1], 1);
    // A value that refers into a call makes it an ordinary one, which has ended before the value is made.
    let text = graph("", "      a: { get: shop /a, else: { x: $b.y, z: $id } }\n      b: shop /b\n");
    let route = plan(&text).routes.remove(0);
    assert!(matches!(&route.calls[0].otherwise, Some(Otherwise::Value { waits, .. }) if *waits == [1]));
    assert!(!route.calls[1].only_else && route.calls[0].waits.is_empty());
    check_says(
        &graph("    need: [b]\n", "      a: { get: shop /a, else: $b }\n      b: shop /b\n"),
        "`b`: `b` starts only in place of another call, so the reply cannot need it",
    );
}

#[test]
fn a_call_that_nobody_sees_is_a_fault() {
    let only = "    reply: { only: a }\n";
    check_says(
        &graph(only, "      a: shop /a\n      b: shop /b\n"),
        "`b`: nobody would see the call `b`",
    );
    check_says(
        &graph("    reply: { merge: [a] }\n", "      a: shop /a\n      b: shop /b\n"),
        "nobody would see the call `b`",
    );
    check_says(
        &graph("    reply: { value: { x: $a } }\n", "      a: shop /a\n      b: { value: 1 }\n"),
        "nobody would see the call `b`",
    );
    for seen in [
        "      a: shop /a?x=$b\n      b: shop /b\n",
        "      a: shop /a\n      b: { post: shop /b }\n",
        "      a: { get: shop /a, after: [b] }\n      b: shop /b\n",
        "      a: { get: shop /a, else: $b }\n      b: shop /b\n",
        "      a: { get: shop /a, when: $b }\n      b: shop /b\n",
    ] {
        assert_eq!(plan(&graph(only, seen)).routes[0].parts, [0], "{seen}");
    }
    plan(&graph(
        "    reply: { only: a }\n    need: [b]\n",
        "      a: shop /a\n      b: shop /b\n",
    ));
}

#[test]
fn unknown_calls_are_faults_with_the_nearest_name() {
    let calls = "      items: { get: shop /a, after: [itms] }\n";
    let route = "    need: [item]\n    status: { from: itemz }\n";
    let found = faults(&graph(route, calls));
    for name in ["item", "itemz", "itms"] {
        assert!(
            found.contains(&format!("`{name}`: unknown call `{name}` (did you mean `items`?)")),
            "{found}"
        );
    }
    check_says(&graph("    reply: { only: x }\n", calls), "unknown call `x`");
    check_says(&graph("    reply: { merge: [items, itms] }\n", calls), "unknown call `itms`");
    check_says(&graph("", "      a: { get: shop /a, else: $bb }\n"), "unknown name `$bb`");
    check_says(
        &graph("", "      a: shop /a\n      b: { get: shop /b, after: [a failed] }\n"),
        "`a failed` does not say what to wait for",
    );
}

#[test]
fn a_reply_needs_what_it_is_made_of() {
    let calls = "      a: shop /a\n      b: { get: shop /b?x=$a }\n";
    let need = |head: &str| plan(&graph(head, calls)).routes.remove(0).need;
    assert_eq!(need(""), Need::OnePart);
    assert_eq!(need("    need: []\n"), Need::All(vec![]));
    assert_eq!(need("    reply: { only: b }\n"), Need::All(vec![1]));
    assert_eq!(need("    reply: { only: b }\n    need: [a]\n"), Need::All(vec![0, 1]));
    assert_eq!(need("    reply: { only: b }\n    need: []\n"), Need::All(vec![]));
    let fixed = plan(&graph(
        "    reply: { value: { id: $id, at: [1, x] } }\n",
        "      a: { post: shop /a }\n",
    ))
    .routes
    .remove(0);
    assert_eq!((fixed.need, fixed.parts.len()), (Need::All(vec![]), 0));
    let merged = plan(&graph("    reply: { merge: [b, a] }\n", calls)).routes.remove(0);
    assert!(matches!(merged.reply, Reply::Merge(order) if order == [1, 0]));
    assert_eq!(merged.parts, [0, 1]);
}

#[test]
fn status_errors_and_grace_need_a_need() {
    let calls = "      a: shop /a\n      b: shop /b\n";
    let plan = plan(&graph(
        "    need: [a]\n    status: { from: a }\n    errors: pass\n    grace: 50ms\n",
        calls,
    ));
    assert_eq!((plan.routes[0].status_from, plan.routes[0].errors_pass), (Some(0), true));
    check_says(
        &graph("    need: [a]\n    status: { from: b }\n", calls),
        "the reply does not need `b`, so its status is never taken",
    );
    check_says(&graph("    errors: pass\n", calls), "`errors: pass` does not say whose");
    check_says(
        &graph("    grace: 50ms\n", calls),
        "`grace` counts from the last needed call, and none is needed",
    );
}
