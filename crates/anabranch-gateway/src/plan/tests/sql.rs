//! Statements: what is bound, what stays as it is written, and what is refused.

use proptest::prelude::*;

use super::*;

/// A route with a database, parameters, and these calls.
fn with_database(method: &str, calls: &str) -> String {
    format!(
        "sources:\n  db: {{ postgres: 'postgres://app:pw@db/shop', pool: 3 }}\n  shop: {{ url: http://shop:8000 }}\nroutes:\n  {method} /x/{{id:int}}:\n    \
         query: {{ lang: en, s: x, ids: [] }}\n    headers: [Authorization]\n    calls:\n{calls}"
    )
}

/// A call `c` with this statement, as a block. What it refers to beside parameters is the call `posts`.
fn with_statement(verb: &str, statement: &str) -> String {
    let method = if verb == "exec" { "POST" } else { "GET" };
    let indented = statement.replace('\n', "\n          ");
    let posts = "      posts: shop /posts\n";
    with_database(
        method,
        &format!("{posts}      c:\n        sql: db\n        {verb}: |-\n          {indented}\n"),
    )
}

fn action(text: &str) -> SqlAction {
    let call = plan(text).routes.remove(0).calls.pop().unwrap();
    match call.action {
        Action::Sql(action) => action,
        _ => panic!("no statement"),
    }
}

/// A select becomes this text with these parameters.
#[track_caller]
fn check(statement: &str, text: &str, params: &[&str]) {
    let action = action(&with_statement("select", statement));
    let references: Vec<&str> = action.params.iter().map(|reference| reference.text.as_str()).collect();
    assert_eq!((&*action.text, references.as_slice()), (text, params), "{statement}");
}

#[track_caller]
fn check_refused(statement: &str, expected: &str) {
    check_says(&with_statement("select", statement), expected);
}

#[test]
fn references_are_bound_each_once() {
    check(
        "select id from posts\nwhere feed = $id and lang = $lang or feed = ${id}",
        "select id from posts\nwhere feed = $1 and lang = $2 or feed = $1",
        &["$id", "$lang"],
    );
    check(
        "select $id::int, '{}'::jsonb ? $lang",
        "select $1::int, '{}'::jsonb ? $2",
        &["$id", "$lang"],
    );
    check("select 1 where 7 = any($ids)", "select 1 where 7 = any($1)", &["$ids"]);
    check("select $posts[].id,$posts.0.id", "select $1,$2", &["$posts[].id", "$posts.0.id"]);
    check("select ${id}5, ${id}$lang", "select $1 5, $1 $2", &["$id", "$lang"]);
}

#[test]
fn quotes_and_comments_are_left_alone() {
    for same in [
        "select 'it''s $ 5', \"a$\", format('%1$s', 1), '^x$'",
        "select 1 -- of $id, '\n + 2 /* $id /* $lang */ ' */",
        "select $$ a 'b' $$, $q$ $ $q$, x$y",
    ] {
        check(same, same, &[]);
    }
    check("select 'a' -- '\n, $id", "select 'a' -- '\n, $1", &["$id"]);
    check(
        r"select e'a\'b', $id, 'a\', $lang",
        r"select e'a\'b', $1, 'a\', $2",
        &["$id", "$lang"],
    );
}

#[test]
fn a_value_in_quotes_is_a_fault() {
    check_refused(
        "select '$id'",
        "`$id` in quotes is text and no value (a value stands outside of quotes: `'a' || $id`)",
    );
    for quoted in [
        "'%${id}%'",
        "e'\\'$id'",
        "\"$id\"",
        "$$ $id $$",
        "$q$ $id $q$",
        "'a $posts.id'",
        "'$body'",
        "'-$it-'",
    ] {
        check_refused(&format!("select {quoted}"), "in quotes is text and no value");
    }
    check_refused(
        "select '$1'",
        "`$1` in quotes is text and no value (a value stands outside of quotes: `'a' || $name`)",
    );
    check_refused(
        "select posts$id from x",
        "`$id` is a part of the word `posts$id` here (a blank before `$id`)",
    );
}

#[test]
fn what_is_no_reference_is_a_fault() {
    check_refused(
        "select $1",
        "`$1` is no reference (write `$name`: values are numbered by the gateway)",
    );
    check_refused("select $", "`$` is not followed by a name (write `$name` for a value)");
    check_refused("select $idd", "unknown name `$idd` (did you mean `$id`?)");
    check_refused("select $id[1]", "`[1]` after a reference would be text");
    check_refused("select $env.HOME", "`$env.HOME` cannot stand in a statement");
    for (unclosed, what) in [
        ("'a", "a text in quotes"),
        ("\"a", "a name in quotes"),
        ("$id$", "a text in dollar quotes"),
        ("/* a", "a comment"),
    ] {
        check_refused(&format!("select {unclosed}"), &format!("{what} is never closed"));
    }
}

#[test]
fn a_select_reads_and_is_one_statement() {
    for writes in [
        "insert into x values (1)",
        "update x set a = 1",
        "truncate x",
        "with y as (delete from x) select 1",
        "with y as materialized (UPDATE x set a = 1 returning a) select 1",
        "with y as (insert into x values (1)) select 1",
        "select a into y from x",
        "set x = 1",
    ] {
        check_refused(writes, "read (`exec:` for what changes something; a `select:` may be sent twice)");
    }
    for reads in [
        "(select 1)",
        "values (1)",
        "table x",
        "select a from x for update",
        "select f(update), delete, \"into\" from x",
        "-- a\nselect 1;",
    ] {
        check(reads, reads, &[]);
    }
    check_refused("select 1; select 2", "`select`: a second statement in one call");
    check_refused("-- nothing", "no statement");
}

#[test]
fn exec_is_for_routes_that_change_something() {
    let exec = action(&with_statement("exec", "update posts set title = $lang where id = $id"));
    assert_eq!(
        (&*exec.text, exec.want, exec.is_exec),
        ("update posts set title = $1 where id = $2", SqlWant::Count, true)
    );
    for method in ["GET", "HEAD", "OPTIONS"] {
        let text = with_database(method, "      c: { sql: db, exec: delete from x where id = $id }\n");
        check_says(&text, &format!("`exec`: `exec` in a {method} route"));
    }
    for method in ["POST", "PUT", "PATCH", "DELETE"] {
        plan(&with_database(method, "      c: { sql: db, exec: delete from x where id = $id }\n"));
    }
}

#[test]
fn rows_come_as_a_list_as_one_or_as_their_number() {
    let want = |verb: &str, more: &str| {
        let text = with_database("POST", &format!("      c: {{ sql: db, {verb}, {more} }}\n"));
        action(&text).want
    };
    assert_eq!(want("select: select 1", "retry: 0"), SqlWant::Rows);
    assert_eq!(want("select: select 1", "one: true"), SqlWant::One);
    assert_eq!(want("exec: delete from x", "one: false"), SqlWant::Count);
    assert_eq!(want("exec: delete from x Returning id", "timeout: 1s"), SqlWant::Rows);
    assert_eq!(want("exec: insert into x values (1) returning id", "one: true"), SqlWant::One);
    assert_eq!(want("exec: select f($id)", "one: true"), SqlWant::One);
    check_says(
        &with_database("POST", "      c: { sql: db, exec: delete from x, one: true }\n"),
        "`true`: `one` of a statement without rows (`returning` in the statement, or no `one:`)",
    );
}

#[test]
fn a_select_may_be_sent_twice_and_an_exec_may_not() {
    let call = |text: &str| {
        let call = plan(&with_database("POST", &format!("      c: {{ sql: db, {text} }}\n")))
            .routes
            .remove(0)
            .calls
            .remove(0);
        (call.idempotent, call.retry)
    };
    assert_eq!(call("select: select 1"), (true, 1));
    assert_eq!(call("exec: delete from x"), (false, 0));
    assert_eq!(call("exec: delete from x, idempotent: true"), (true, 1));
    check_says(
        &with_database("POST", "      c: { sql: db, exec: delete from x, retry: 1 }\n"),
        "a call that may not be sent twice is never retried",
    );
}

#[test]
fn what_stands_beside_a_statement_is_checked() {
    let says = |call: &str, expected: &str| check_says(&with_database("POST", &format!("      c: {call}\n")), expected);
    says("{ sql: db }", "`sql` without a statement");
    says(
        "{ sql: db, select: select 1, exec: delete from x }",
        "`select` and `exec` in one call",
    );
    says(
        "{ sql: db, select: select 1, query: { a: 1 } }",
        "`query` has no meaning beside `sql`",
    );
    says("{ sql: db, select: select 1, get: shop /x }", "`sql` and `get` in one call");
    says("{ get: shop /x, one: true }", "`one` has no meaning beside `get`");
    says("{ sql: dbb, select: select 1 }", "unknown source `dbb` (did you mean `db`?)");
    says(
        "{ sql: shop, select: select 1 }",
        "`shop` is a service that is asked by HTTP (`get: shop /path`)",
    );
    says(
        "{ get: db /x }",
        "`db` is a Postgres database (a call with `sql: db` and `select:` or `exec:`)",
    );
    says("{ sql: db, select: 7 }", "`select` cannot be `7`");
    says(
        "{ sql: db, select: \"select $header.authorization\" }",
        "is a credential that this source is not passed",
    );
}

#[test]
fn a_database_has_a_pool_and_no_services_keys() {
    let source = plan(&with_database("GET", "      c: { sql: db, select: select 1 }\n      d: shop /\n"))
        .sources
        .remove(0);
    assert_eq!((source.pool, source.queue, source.urls.len()), (3, 3, 0));
    assert!(!format!("{source:?}").contains("pw"));
    let says = |source: &str, expected: &str| {
        check_says(
            &format!("sources:\n  db: {{ {source} }}\nroutes:\n  GET /:\n    calls: {{ c: {{ sql: db, select: select 1 }} }}\n"),
            expected,
        );
    };
    says(
        "postgres: 'postgres://h/d', in_flight: 3",
        "`in_flight` has no meaning beside `postgres` (`pool:` is the number",
    );
    says("postgres: 'postgres://h/d', http: 2", "`http` has no meaning beside `postgres`");
    says("postgres: 'postgres://h/d', url: http://h", "`postgres` and `url` in one source");
    says("postgres: 'postgres://h/d', pool: 0", "`0`: a pool of no sessions");
    says("postgres: http://db", "`http://db`: ");
}

proptest! {
    /// Whatever is written as a statement, it is a plan or faults, and no reference is left in what is sent.
    #[test]
    fn no_statement_makes_it_panic(statement in "(select )?[-a-z0-9 '\"$/*;\\\\eE(){}.\\[\\]ü]{0,40}") {
        let quoted = serde_json::to_string(&statement).unwrap();
        let text = with_database("POST", &format!("      c: {{ sql: db, select: {quoted} }}\n"));
        match config::compile("gateway.yaml", &text, &lookup()) {
            Err(faults) => {
                for fault in faults.sorted() {
                    prop_assert!(text.get(fault.span.start..fault.span.end).is_some(), "{fault:?}\n{text}");
                }
            }
            Ok(plan) => {
                let Action::Sql(action) = &plan.routes[0].calls[0].action else { panic!("no statement") };
                prop_assert!(!action.text.contains("$id") && !action.text.contains("${id"), "{}", action.text);
            }
        }
    }
}

#[test]
fn what_names_a_call_waits_for_it() {
    let route = plan(&with_statement("select", "select $posts[].id")).routes.remove(0);
    assert_eq!(route.calls[1].waits, [0]);
}
