//! Wrong keys and values, section by section: each case is a text and the list of its faults.

use super::super::{Faults, MapLookup, compile, read};
use super::{check, check_call};

#[test]
fn a_file_says_of_each_top_level_key_what_it_expected() {
    let text = "\
listen:
health: [a]
credentials: Cookie
slash: maybe
max_calls: 0
tls: {}
listne: x
sources: [shop]
";
    check(
        text,
        "1:1 the file has no `routes` (expected `routes:` with entries such as `GET /activity/{id:int}:`)
         1:1 `listen` has no value (expected text)
         2:9 `health` cannot be a list (expected text: quote it, or use `|`)
         3:14 `credentials` cannot be `Cookie` (expected a list: write `[Cookie]`)
         4:8 `slash` cannot be `maybe` (expected `strict` or `ignore`)
         5:12 `max_calls` cannot be `0` (expected a whole number from 1 to 1000000)
         6:1 unknown key `tls` in the file (it belongs to a source)
         7:1 unknown key `listne` (did you mean `listen`?)
         8:10 `sources` cannot be a list (expected a mapping of names such as `shop: { url: http://shop.svc:8000 }`)",
    );
}

#[test]
fn a_source_says_of_each_key_what_it_expected() {
    let text = "\
routes: { GET /: { calls: { c: shop / } } }
sources:
  shop: http://x
  user: { url: [], in_flight: auto, rate: 5, pool: -1, http: 3, wire: tcp, breaker: on }
  none: { queue: 1.5, queue_wait: 1 }
  some: { url: [http://x, 5], tls: { cert: x, kye: y }, headers: { X: 5, Z: $id }, timeout: 0s }
  db: { postgres: $env.PG }
";
    check(
        text,
        "3:9 source `shop` cannot be `http://x` (expected a mapping: write `{ url: http://x }`)
         4:16 `url` is an empty list (expected at least one `http://host:port`)
         4:31 `in_flight` cannot be `auto` (expected a whole number from 1 to 1000000)
         4:43 `rate` cannot be `5` (expected a rate `N/s` or `N/m`: write `5/s` or `5/m`)
         4:52 `pool` cannot be `-1` (expected a whole number from 0 to 100000)
         4:62 `http` cannot be `3` (expected `auto`, `1.1` or `2`)
         4:71 `wire` cannot be `tcp` (expected `own` or `hyper`)
         4:76 unknown key `breaker`: not built yet (this version does not know it)
         5:3 source `none` has no `url` (expected `url: http://host:port`, or a list of them; `postgres:` or `redis:` for a database; `run:` for a program)
         5:18 `queue` cannot be `1.5` (expected a whole number from 0 to 1000000)
         5:35 `queue_wait` cannot be `1` (expected a duration with its unit `ms`, `s`, `m`, `h` or `d`: write `1s` or `1ms`)
         6:27 an item of `url` cannot be `5` (expected text: quote it, or use `|`)
         6:38 `cert` without `key` (a client certificate needs both)
         6:47 unknown key `kye` (did you mean `key`?)
         6:71 header `X` cannot be `5` (expected text: quote it, or use `|`)
         6:77 nothing but values read at load can stand here (expected `$env.NAME` or `$file.PATH`; a dollar is `$$`)
         6:93 `timeout` cannot be `0s` (expected a duration above 0)
         7:19 environment variable `PG` is not set",
    );
}

#[test]
fn a_program_says_of_each_key_what_it_expected() {
    let text = "\
routes: { GET /: { calls: { c: { run: fine, body: 1 } } } }
sources:
  fine: { run: [sh, -c, x], count: 4, timeout: 500ms, memory: 256M, env: { A: b }, queue: 0, queue_wait: 1s, start: 1m, recycle: 10 }
  text: { run: python3 score.py }
  none: { run: [] }
  item: { run: [sleep, 5] }
  many: { run: [sh], count: 0, memory: 100, env: [HOME], start: 0s, recycle: 0 }
  tiny: { run: [sh], count: 1025, memory: 4K, env: { A-B: c, 1: d, E: 5, F: $id } }
  both: { run: [sh], url: http://x }
  http: { run: [sh], in_flight: 4, retry: 1, tls: {}, cache: 1s, allow: [x], connect_timeout: 1s }
  url:  { url: http://x, count: 4, env: {} }
  db:   { postgres: postgres://x, memory: 1M }
";
    check(
        text,
        "4:16 `run` cannot be `python3 score.py` (expected the program and its arguments as a list: write `[python3, score.py]`)
         5:16 `run` is an empty list (expected the program and its arguments such as `[python3, score.py]`)
         6:24 an item of `run` cannot be `5` (expected text: quote it, or use `|`)
         7:29 `count` cannot be `0` (expected a whole number from 1 to 1024)
         7:40 `memory` cannot be `100` (expected a size with its unit `K`, `M` or `G` (1024 each): write `100K` or `100M`)
         7:51 environment variable `HOME` is not set
         7:65 `start` cannot be `0s` (expected a duration above 0)
         7:78 `recycle` cannot be `0` (expected a whole number from 1 to 1000000000)
         8:29 `count` cannot be `1025` (expected a whole number from 1 to 1024)
         8:43 `memory` cannot be `4K` (expected at least `1M`)
         8:54 `A-B` is no name of an environment variable (expected `A-Z a-z 0-9 _`)
         8:62 `1` is no name of an environment variable (expected `A-Z a-z 0-9 _`)
         8:71 variable `E` cannot be `5` (expected text: quote it, or use `|`)
         8:77 nothing but values read at load can stand here (expected `$env.NAME` or `$file.PATH`; a dollar is `$$`)
         9:22 `run` and `url` in one source (expected exactly one of `url`, `postgres`, `redis` or `run`)
         10:22 `in_flight` has no meaning beside `run` (`count:` is the number of processes, and with it of jobs at once)
         10:36 `retry` has no meaning beside `run` (a job is done once)
         10:46 `tls` has no meaning beside `run` (it is for sources with `url:`)
         10:55 `cache` has no meaning beside `run` (what a program answers is not kept)
         10:66 `allow` has no meaning beside `run` (it is for sources with `redis:`)
         10:78 `connect_timeout` has no meaning beside `run` (it is for sources with `url:`)
         11:26 `count` has no meaning beside `url` (it is for sources with `run:`)
         11:36 `env` has no meaning beside `url` (it is for sources with `run:`)
         12:35 `memory` has no meaning beside `postgres` (it is for sources with `run:`)",
    );
}

#[test]
fn the_environment_of_a_program_is_never_shown() {
    let text = "\
routes: { GET /: { calls: { c: { run: score, body: 1 } } } }
sources:
  score: { run: [sh], env: { TOKEN: $env.TOKEN } }
";
    let lookup = MapLookup::new().with_env("TOKEN", "hunter2");
    let mut faults = Faults::new("f", text);
    let config = read(text, &lookup, &mut faults).unwrap();
    assert_eq!(config.sources[0].worker.as_ref().unwrap().environment[0].1.value, "hunter2");
    let plan = compile("f", text, &lookup).unwrap();
    let shown = format!("{:?} {:?}", config.sources, plan.sources);
    assert!(shown.contains("TOKEN") && !shown.contains("hunter2"), "{shown}");
}

#[test]
fn a_route_says_of_each_key_what_it_expected() {
    let text = "\
routes:
  /x: { calls: { a: shop / } }
  get /y: { calls: {} }
  GET z: {}
  FETCH /w: null
  GET: { proxy: shop }
  GET /activity/{id:int}:
    query: { lang: { type: string, default: $env.LANG } }
    headers: Authorization
    need: [a, a, [b]]
    deadline: 1
    grace: 0
    body: { mx: 8M }
    status: {}
    errors: keep
    account: bdy
    timing: yes
    reply: { only: a, merge: [b], jq: . }
    stream: false
    timeout: 1s
    calls: [a]
  GET /r1: { reply: {}, calls: { a: shop / } }
  GET /r2: { reply: { merge: a }, calls: { a: shop / } }
  GET /r3: { reply: { jq: [.] }, calls: { a: shop / } }
";
    check(
        text,
        "2:3 route `/x` has no method (expected a method and a path such as `GET /activity/{id:int}`: write `GET /x`)
         3:3 unknown method `get` (write `GET`)
         3:20 `calls` is empty (expected a mapping of calls such as `user: shop /users/$id`)
         4:3 route `GET z` has no `calls` (expected a mapping of calls such as `user: shop /users/$id`)
         4:7 path `z` does not begin with `/` (expected a method and a path such as `GET /activity/{id:int}`)
         5:3 unknown method `FETCH` (expected `GET`, `HEAD`, `POST`, `PUT`, `PATCH`, `DELETE` or `OPTIONS`)
         5:13 route `FETCH /w` has no value (expected a mapping with keys such as `query:`)
         6:3 route `GET` has no path (expected a method and a path such as `GET /activity/{id:int}`)
         8:45 `$env.LANG` cannot stand in a parameter
         9:14 `headers` cannot be `Authorization` (expected a list: write `[Authorization]`)
         10:15 `a` stands twice in `need`
         10:18 an item of `need` cannot be a list (expected text: quote it, or use `|`)
         11:15 `deadline` cannot be `1` (expected a duration with its unit `ms`, `s`, `m`, `h` or `d`: write `1s` or `1ms`)
         12:12 `grace` cannot be `0` (expected a duration with its unit `ms`, `s`, `m`, `h` or `d`: write `0s` or `0ms`)
         13:13 unknown key `mx` (did you mean `max`?)
         14:5 `status` has no `from` (expected `status: { from: CALL }`)
         15:13 `errors` cannot be `keep` (expected `pass`)
         16:14 `account` cannot be `bdy` (expected `header` or `body`)
         17:13 `timing` cannot be `yes` (expected `true` or `false`)
         18:23 `only` and `merge` in one `reply` (expected exactly one of `only`, `value`, `merge` or `jq`)
         19:5 unknown key `stream`: not built yet (this version does not know it)
         20:5 unknown key `timeout` in a route (it belongs to `defaults` or a source or a call)
         21:12 `calls` cannot be a list (expected a mapping of calls such as `user: shop /users/$id`)
         22:21 `reply` says nothing (expected one of `only`, `value`, `merge` or `jq`)
         23:30 `merge` cannot be `a` (expected a list: write `[a]`)
         24:27 `jq` cannot be a list (expected text: quote it, or use `|`)",
    );
}

#[test]
fn a_call_says_of_each_key_what_it_expected() {
    const ONE: &str = "expected exactly one of `get`, `head`, `post`, `put`, `patch`, `delete`, `sql`, `redis`, `run` or `value`";
    const FORMS: &str = "expected a text `source /path`, or a mapping with a key such as `get:`";
    check_call("[shop, /x]", &format!("4:10 call `c` cannot be a list ({FORMS})"));
    check_call("", &format!("4:7 call `c` has no value ({FORMS})"));
    check_call(
        "{ get: shop /x, post: shop /y, value: 1 }",
        &format!("4:26 `get` and `post` in one call ({ONE})\n4:41 `get` and `value` in one call ({ONE})"),
    );
    check_call("{ timeout: 1s }", &format!("4:7 call `c` does nothing ({ONE})"));
    check_call(
        "{ run: score, as: text }",
        "4:12 `run` without `body` (expected `body: { id: $id }` beside it, the job; `body: null` if it needs nothing)\n4:24 unknown key `as`: not built yet (this version does not know it)",
    );
    check_call(
        "{ value: 1, timeout: 1s }",
        "4:22 `timeout` has no meaning beside `value` (a value sends no request)",
    );
    check_call(
        "{ get: { a: b } }",
        "4:17 `get` cannot be a mapping (expected text: quote it, or use `|`)",
    );
    check_call(
        "{ get: shop /x, connect_timeout: 1s }",
        "4:26 unknown key `connect_timeout` in a call (it belongs to `defaults` or a source)",
    );
    check_call(
        "{ get: shop /x, after: x ok }",
        "4:33 `after` cannot be `x ok` (expected a list: write `[x ok]`)",
    );
    check_call(
        "{ get: shop /x, idempotent: no }",
        "4:38 `idempotent` cannot be `no` (expected `true` or `false`)",
    );
    check_call(
        "{ get: shop /x, headers: [A] }",
        "4:35 `headers` cannot be a list (expected a mapping of names and values)",
    );
    check_call(
        "{ get: shop /x, headers: { A: 1 } }",
        "4:40 header `A` cannot be `1` (expected text: quote it, or use `|`)",
    );
    check_call(
        "{ get: shop /x, when: true }",
        "4:32 `when` cannot be `true` (expected text: quote it, or use `|`)",
    );
    check_call(
        "{ get: shop /x, max_body: 8MB }",
        "4:36 `max_body` cannot be `8MB` (expected a size with its unit `K`, `M` or `G` (1024 each), found `MB`)",
    );
    check_call(
        "{ each: [1], get: shop /x }",
        "4:18 `each` cannot be a list (expected text: quote it, or use `|`)",
    );
    check_call(
        "{ each: $a, get: shop /x, into: [x], max_items: 0 }",
        "4:42 `into` cannot be a list (expected text: quote it, or use `|`)\n4:58 `max_items` cannot be `0` (expected a whole number from 1 to 100000)",
    );
    check_call(
        "{ get: shop /x, max_items: 5 }",
        "4:26 `max_items` has no meaning without a list (expected `each:` or `batch:` beside it)",
    );
    check_call("shop /x?key=$env.NOPE", "4:22 environment variable `NOPE` is not set");
    check_call(
        "shop /x?key=${file.no}",
        "4:22 there is no file `no` (a path begins at the folder of the config file)",
    );
    check_call(
        "{ get: shop /x, body: { a: [\"${env.NOPE}\"] } }",
        "4:39 environment variable `NOPE` is not set",
    );
}
