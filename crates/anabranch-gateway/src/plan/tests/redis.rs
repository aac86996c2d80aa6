//! Commands: how they are split, and what may be sent.

use super::*;

const HEAD: &str = "sources:\n  hot: { redis: 'redis://app:pw@cache:6379/0' }\n  odd: { redis: 'redis://cache', allow: [KEYS] }\n  \
                    shop: { url: http://shop:8000 }\n";

fn with_command(call: &str) -> String {
    format!(
        "{HEAD}routes:\n  GET /x/{{id:int}}:\n    query: {{ lang: en, ids: [] }}\n    headers: [Authorization]\n    calls:\n      posts: shop /posts\n      c: {call}\n"
    )
}

fn call(command: &str) -> CallPlan {
    let quoted = serde_json::to_string(command).unwrap();
    plan(&with_command(&format!("{{ redis: {quoted} }}")))
        .routes
        .remove(0)
        .calls
        .pop()
        .unwrap()
}

#[track_caller]
fn check(command: &str, words: &[&str]) {
    let Action::Redis(action) = call(command).action else {
        panic!("no command")
    };
    let shown: Vec<String> = action.words.iter().map(shown).collect();
    assert_eq!(shown, words, "{command}");
}

#[track_caller]
fn check_refused(command: &str, expected: &str) {
    let quoted = serde_json::to_string(command).unwrap();
    check_says(&with_command(&format!("{{ redis: {quoted} }}")), expected);
}

#[test]
fn a_command_is_split_at_blanks_before_it_is_filled() {
    check("hot SMEMBERS seen:$id", &["SMEMBERS", "seen:<$id>"]);
    check(
        "hot  MGET\t$ids $posts[].id ${lang}x",
        &["MGET", "<$ids>", "<$posts[].id>", "<$lang>x"],
    );
    check(
        "hot SET 'a b' \"it's $lang\" '' x'y z'$id",
        &["SET", "a b", "it's <$lang>", "", "xy z<$id>"],
    );
    check("hot GET $$id", &["GET", "$id"]);
    check("hot DBSIZE", &["DBSIZE"]);
}

#[test]
fn only_safe_commands_and_those_that_are_allowed_may_be_sent() {
    check("odd keys *", &["keys", "*"]);
    check_refused(
        "hot KEYS *",
        "`KEYS`: `KEYS` is not among the commands that are safe (one that reads or writes the keys it names; `allow: [KEYS]`",
    );
    check_refused("hot flushall", "`FLUSHALL` is not among the commands that are safe");
    check_refused(
        "hot SMEMBER x",
        "`SMEMBER` is not among the commands that are safe (did you mean `SMEMBERS`?)",
    );
    check_refused("hot $lang x", "the name of a command is one fixed word");
    check_refused("hot G'E'T x", "the name of a command is one fixed word");
}

#[test]
fn a_broken_command_is_a_fault() {
    check_refused("hot", "`hot` is no command");
    check_refused("hot GET 'x", "a quote is never closed");
    check_refused("hot GET x:$ids", "`$ids` is a list, and a part of a word takes one value");
    check_refused(
        "hot GET x:$posts[].id",
        "`$posts[].id` is a list, and a part of a word takes one value",
    );
    check_refused("hot GET $idd", "unknown name `$idd`");
    check_refused("hott GET x", "unknown source `hott` (did you mean `hot`?)");
    check_refused("shop GET x", "`shop` is a service that is asked by HTTP");
    check_refused("hot GET $header.authorization", "is a credential that this source is not passed");
    check_says(
        &with_command("hot /x"),
        "`hot` is a Redis server (a call with `redis: hot GET name`)",
    );
    check_says(
        &with_command("{ redis: hot GET x, ok: [404] }"),
        "`ok` has no meaning beside `redis`",
    );
    check_says(
        &with_command("{ redis: hot GET x, select: select 1 }"),
        "`select` has no meaning beside `redis`",
    );
}

#[test]
fn what_reads_may_be_sent_twice_and_what_writes_may_not() {
    let sent = |command: &str| (call(command).idempotent, call(command).retry);
    assert_eq!(sent("hot get x"), (true, 1));
    assert_eq!(sent("hot INCR x"), (false, 0));
}

#[test]
fn a_server_has_no_services_keys() {
    let sources = plan(&with_command("{ redis: hot GET x }")).sources;
    assert_eq!((sources[0].in_flight, sources[0].queue, sources[0].urls.len()), (256, 256, 0));
    assert!(!format!("{:?}", sources[0]).contains("pw"));
    let says = |source: &str, expected: &str| {
        check_says(
            &format!("sources:\n  hot: {{ {source} }}\nroutes:\n  GET /:\n    calls: {{ c: {{ redis: hot GET x }} }}\n"),
            expected,
        );
    };
    says(
        "redis: 'redis://h', pool: 3",
        "`pool` has no meaning beside `redis` (one connection for each core",
    );
    says("redis: 'redis://h', allow: [SUBSCRIBE]", "cannot be allowed");
    says("url: http://h, allow: [KEYS]", "`allow` has no meaning beside `url`");
    says("redis: http://h", "`http://h`: ");
}
