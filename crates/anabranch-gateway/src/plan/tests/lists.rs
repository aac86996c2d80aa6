//! `each`, `batch` and `into`: who waits for whom, what is a part, and what a reference goes to.

use super::*;

/// A page of posts with authors, teams of authors, and media.
const PAGE: &str = "      posts: shop /posts\n      \
     authors: { batch: \"$posts.items[].author\", get: \"shop /users?ids=$keys\", match: id, into: \"posts.items[].author\" }\n      \
     teams: { batch: \"$authors[].team\", get: \"shop /teams?ids=$keys\", match: \"teams[].ref.id\", into: \"authors[].team\", width: 2 }\n      \
     media: { each: \"$posts.items[]\", when: $it.media, get: shop /media/$it.media, into: \"posts.items[].meta.media\", max_items: 7 }\n";

fn page(calls: &str) -> RoutePlan {
    plan(&graph("", &format!("{PAGE}{calls}"))).routes.remove(0)
}

fn list(route: &RoutePlan, call: usize) -> &ListPlan {
    route.calls[call].list.as_deref().unwrap()
}

fn field(name: &str) -> Hop {
    Hop::Field(name.to_string())
}

#[test]
fn what_adds_to_a_part_is_none_and_the_account_tells_of_it() {
    let route = page("      other: { each: \"$posts.items[].tags[]\", get: shop /tags/$it }\n");
    assert_eq!((route.parts.as_slice(), route.joins.as_slice()), (&[0, 4][..], &[2, 1, 3][..]));
    let told: Vec<bool> = route.calls.iter().map(|call| call.is_told).collect();
    assert_eq!(told, [true; 5]);
    let into = list(&route, 3).into.as_ref().unwrap();
    assert_eq!((into.call, into.list.as_slice()), (0, &[field("items"), Hop::Each][..]));
    assert_eq!((into.inside.as_slice(), into.key.as_str()), (&[field("meta")][..], "media"));
    assert_eq!((list(&route, 3).width, list(&route, 3).max_items), (8, 7));
    assert_eq!((list(&route, 2).width, list(&route, 2).max_items), (2, 1000));
    assert!(matches!(list(&route, 3).kind, ListKind::Each { when_by_item: true }));
    assert!(matches!(list(&route, 4).kind, ListKind::Each { when_by_item: false }));
    let ListKind::Batch(matching) = &list(&route, 2).kind else {
        panic!("a batch")
    };
    let expected = Matching::Field {
        list: vec![field("teams")],
        key: vec![field("ref"), field("id")],
    };
    assert_eq!(*matching, expected);
}

#[test]
fn a_reply_that_does_not_hold_the_target_does_not_tell_of_what_adds_to_it() {
    let calls = format!("{PAGE}      names: {{ value: \"$posts.items[].author.name\" }}\n");
    let route = plan(&graph(
        "    reply: { only: names }\n",
        &calls
            .replace(", into: \"posts.items[].meta.media\"", "")
            .replace("get: shop /media", "post: shop /media")
            .replace("      teams:", "      #"),
    ))
    .routes
    .remove(0);
    assert_eq!(route.parts, [3]);
    assert!(!route.calls[1].is_told && route.calls[3].is_told);
}

#[test]
fn what_goes_to_a_place_waits_for_the_call_that_fills_it() {
    let route = page(
        "      name: shop /a?x=$posts.items.0.author.name\n      team: shop /b?x=$posts.items[].author.team.name\n      \
         ids: { value: \"$posts.items[].author_id\" }\n      whole: { value: $posts }\n      meta: { value: \"$posts.items[].meta\" }\n",
    );
    let waits: Vec<&[usize]> = route.calls.iter().map(|call| call.waits.as_slice()).collect();
    // A call's own place is for itself what was there before.
    assert_eq!(waits, [&[][..], &[0], &[1], &[0], &[1], &[2], &[0], &[0], &[0]]);
    let roots: Vec<Root> = route.calls[4..].iter().map(|call| call.references()[0].root.clone()).collect();
    assert_eq!(
        roots,
        [Root::Joined(1), Root::Joined(2), Root::Call(0), Root::Call(0), Root::Call(0)]
    );
    let entered: Vec<bool> = (1..4).map(|call| list(&route, call).is_entered).collect();
    assert_eq!(entered, [true, true, false]);
    assert_eq!(route.levels(), [0, 1, 2, 1, 2, 3, 1, 1, 1]);
}

#[test]
fn in_a_reply_everything_is_seen_with_what_was_added() {
    let route = plan(&graph("    reply: { value: { names: \"$posts.items[].author.name\" } }\n", PAGE))
        .routes
        .remove(0);
    let Reply::Value(value) = &route.reply else { panic!("a value") };
    assert_eq!(value.references()[0].root, Root::Call(0));
    assert_eq!(route.parts, [0]);
    assert!(route.calls.iter().all(|call| call.is_told));
}

#[test]
fn an_item_of_a_parameter_stands_in_a_path_like_the_parameter() {
    let route = plan(&with_call("{ each: $tag, get: shop /tags/$it, headers: { X-A: $it } }"))
        .routes
        .remove(0);
    let in_path: Vec<bool> = route.params.iter().map(|param| param.in_path).collect();
    assert_eq!(in_path, [false, false, false, true]);
    let route = plan(&with_call("{ batch: $tag, get: \"shop /tags?t=$keys\", match: \"[].key\" }"))
        .routes
        .remove(0);
    assert!(!route.params[3].in_path);
    let ListKind::Batch(matching) = &list(&route, 0).kind else {
        panic!("a batch")
    };
    assert_eq!(
        *matching,
        Matching::Field {
            list: Vec::new(),
            key: vec![field("key")]
        }
    );
}

#[test]
fn items_and_keys_have_their_names_where_requests_are_made() {
    let keys = "{ batch: \"$body[].id\", post: shop /x, body: { ids: $keys }, match: key, XXX }";
    for (what, fault) in [("when: $keys", "`$keys`"), ("else: $keys", "`$keys`"), ("else: $it", "`$it`")] {
        let text = routes(&format!("  POST /x:\n    calls:\n      c: {}\n", keys.replace("XXX", what)));
        check_says(&text, &format!("{fault}: `{}` has no meaning here", fault.trim_matches('`')));
    }
    let route = plan(&with_call(
        "{ each: \"$tag[]\", get: shop /x/$it, when: $it == \"a\", else: { of: $it } }",
    ))
    .routes
    .remove(0);
    let Some(Otherwise::Value { value, .. }) = &route.calls[0].otherwise else {
        panic!("a value")
    };
    assert_eq!(value.references()[0].root, Root::It);
}

#[test]
fn places_that_do_not_fit_are_faults() {
    let other = |into: &str| {
        graph(
            "",
            &format!("{PAGE}      c: {{ each: \"$posts.items[]\", get: shop /x/$it.id, into: \"{into}\" }}\n"),
        )
    };
    for (into, what) in [
        ("posts.items[].author", "`authors` adds to the same place"),
        ("posts.items[].author.team", "`authors` adds to the same place"),
        ("posts.items[].meta", "`media` adds to the same place"),
        ("posts.items.0.author", "`posts.items.0.author` is no key of the items of a list"),
        ("posts.items[].tags.0", "`posts.items[].tags.0` is no key of the items of a list"),
        ("posts.items[]", "`posts.items[]` is no key of the items of a list"),
        ("posts[].x", "`posts[].x` has other items than `$posts.items[]`"),
        ("authors[].x", "`authors[].x` has other items than `$posts.items[]`"),
        ("post.items[].x", "unknown call `post` (did you mean `posts`?)"),
        ("posts.items[].x y", "`posts.items[].x y` is no place in an answer"),
    ] {
        check_says(&other(into), what);
    }
    assert!(plan(&other("posts.items[].x")).routes[0].joins.contains(&4));
    // What was added is a list of its own, in the answer that it was added to.
    let inner = format!("{PAGE}      c: {{ each: \"$posts.items[].author.posts[]\", get: shop /x/$it }}\n");
    assert_eq!(list(&plan(&graph("", &inner)).routes[0], 4).over.root, Root::Joined(1));
}

#[test]
fn calls_that_add_to_one_another_are_a_cycle() {
    let text = graph(
        "",
        "      a: { each: \"$b[]\", get: shop /a/$it.id, into: \"b[].x\" }\n      b: { each: \"$a[]\", get: shop /b/$it.id, into: \"a[].x\" }\n",
    );
    check_says(&text, "calls wait for one another: a -> b -> a");
}

#[test]
fn a_batch_that_sends_no_keys_is_remarked() {
    let warnings = |request: &str| {
        let calls = format!("      posts: shop /posts\n      a: {{ batch: \"$posts[].id\", match: id, {request} }}\n");
        plan(&graph("", &calls)).warnings
    };
    let remark = "no request of `a` names `$keys`, so that all of them ask for the same";
    for blind in ["get: shop /users", "post: shop /users, body: { of: $posts }"] {
        let found = warnings(blind);
        assert!(found.iter().any(|warning| warning.ends_with(remark)), "{blind}: {found:?}");
    }
    for told in [
        "get: \"shop /users?ids=$keys\"",
        "post: shop /users, body: { ids: $keys }",
        "get: shop /users, query: { ids: $keys }",
        "get: shop /users, headers: { X-Ids: $keys }",
    ] {
        let found = warnings(told);
        assert!(!found.iter().any(|warning| warning.contains("$keys")), "{told}: {found:?}");
    }
}
