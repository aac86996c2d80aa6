//! Mock files, good and bad.

use super::*;
use anabranch_testkit::{Fault, Seen};

fn one(route: &str) -> Reply {
    let text = format!("upstreams:\n  shop:\n    routes:\n      GET /x/*: {route}\n");
    let mut file = parse("mocks.yaml", &text).unwrap_or_else(|faults| panic!("{faults}"));
    file.upstreams.remove(0).script.replies.remove(0)
}

fn body(reply: &Reply, target: &str) -> String {
    let bytes = match &reply.body {
        Body::Bytes(bytes) => bytes.clone(),
        Body::Computed(function) => function(&Seen::of(Method::GET, target)),
        other => panic!("{other:?}"),
    };
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn faults(text: &str) -> Vec<String> {
    let faults = parse("mocks.yaml", text).expect_err("a fault");
    faults
        .sorted()
        .iter()
        .map(|fault| format!("{} {}", faults.line_column(fault.span.start).0, fault.message))
        .collect()
}

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

#[test]
fn the_format_as_documented_is_read() {
    let documentation = include_str!("../mocks.rs");
    let text: Vec<&str> = documentation
        .lines()
        .skip_while(|line| *line != "//! ```yaml")
        .skip(1)
        .take_while(|line| *line != "//! ```")
        .map(|line| &line[3..])
        .collect();
    let text = text
        .iter()
        .map(|line| line.strip_prefix(' ').unwrap_or(line))
        .collect::<Vec<_>>()
        .join("\n");
    let file = parse("mocks.yaml", &text).unwrap_or_else(|faults| panic!("{faults}"));
    let shop = &file.upstreams[0];
    assert_eq!(
        (shop.listen.as_str(), shop.script.name.as_str(), shop.script.replies.len()),
        ("127.0.0.1:8000", "shop", 10)
    );
    assert_eq!(shop.script.replies[0].latency, Latency::Uniform { from: ms(10), to: ms(40) });
    assert_eq!(
        shop.script.replies[0].errors,
        Errors {
            rate: 0.01,
            ..Errors::default()
        }
    );
    assert_eq!(shop.script.replies[1].latency, Latency::Fixed(ms(2000)));
    assert_eq!(shop.script.replies[5].times, Some(2));
    assert_eq!(shop.script.replies[9].when.method, None);
}

#[test]
fn a_body_is_json_with_the_digits_as_written() {
    let reply = one("{ body: { id: 7.10, \"quo\\\"te\": [null, true, 'a\"b', ~], big: 123456789012345678901 } }");
    assert_eq!(
        body(&reply, "/"),
        r#"{"id":7.10,"quo\"te":[null,true,"a\"b",null],"big":123456789012345678901}"#
    );
    assert_eq!(reply.headers, [("content-type".to_string(), "application/json".to_string())]);
}

#[test]
fn a_segment_of_the_path_stands_in_the_body() {
    let reply = one("{ body: { id: $path.1, name: 'n-$path.1-$path.0!', none: $path.9 } }");
    assert_eq!(body(&reply, "/x/7?q"), r#"{"id":7,"name":"n-7-x!","none":null}"#);
    assert_eq!(body(&reply, "/x/007"), r#"{"id":"007","name":"n-007-x!","none":null}"#);
    assert_eq!(body(&reply, "/x/a\"b"), r#"{"id":"a\"b","name":"n-a\"b-x!","none":null}"#);
}

#[test]
fn latencies_have_three_forms() {
    assert_eq!(one("{ latency: 20ms }").latency, Latency::Fixed(ms(20)));
    assert_eq!(
        one("{ latency: 10ms..0.04s }").latency,
        Latency::Uniform { from: ms(10), to: ms(40) }
    );
    assert_eq!(
        one("{ latency: { median: 20ms, p99: 200ms } }").latency,
        Latency::LogNormal {
            median: ms(20),
            p99: ms(200)
        }
    );
}

#[test]
fn latencies_scale() {
    let file = parse(
        "f",
        "upstreams: { a: { latency: 10ms..40ms, routes: { GET /: { body: 1 }, GET /x: { latency: 2s } } } }",
    )
    .unwrap()
    .scaled(0.5);
    let latencies: Vec<Latency> = file.upstreams[0].script.replies.iter().map(|reply| reply.latency).collect();
    assert_eq!(latencies, [Latency::Uniform { from: ms(5), to: ms(20) }, Latency::Fixed(ms(1000))]);
}

#[test]
fn faults_take_measures() {
    for (text, fault) in [
        ("hang", Fault::Hang),
        ("reset", Fault::Reset { after: 0 }),
        ("{ reset: 100 }", Fault::Reset { after: 100 }),
        ("{ big: 5M }", Fault::BigBody { size: 5 << 20 }),
        ("{ drip: 5ms }", Fault::DripBody { interval: ms(5) }),
        ("{ raw: 'HTTP/9' }", Fault::RawBytes("HTTP/9".into())),
        (
            "{ header_flood: 300 }",
            Fault::HeaderFlood {
                headers: 300,
                value_length: 100,
            },
        ),
        ("close_after", Fault::CloseAfterReply),
    ] {
        assert_eq!(one(&format!("{{ fault: {text} }}")).fault, Some(fault), "{text}");
    }
}

#[test]
fn errors_have_a_rate_and_more() {
    assert_eq!(
        one("{ errors: 2.5% }").errors,
        Errors {
            rate: 0.025,
            ..Errors::default()
        }
    );
    let errors = one("{ errors: { rate: 100%, status: 429, headers: { Retry-After: 2 } } }").errors;
    assert_eq!(
        (errors.rate, errors.status, errors.headers),
        (1.0, 429, vec![("Retry-After".to_string(), "2".to_string())])
    );
}

#[test]
fn all_faults_come_at_once_with_their_lines() {
    let text = "\
seeed: 1
upstreams:
  a:
    listen: nowhere
    latency: 20
    routes:
      get /x: { body: 1 }
      GET x: { bdoy: 1 }
      GET /x?y=1: { status: 99 }
      GET /{id}: { errors: 5 }
      GET /a*b: { body: 1, text: b }
      GET /f: { fault: hangs }
      GET /g: { fault: { hang: 1 }, latency: 40ms..10ms }
      GET /h: { body: $path.x, latency: 2d }
      GET /i:
  b: { listen: 127.0.0.1:8000, routes: {} }
  c: { listen: 127.0.0.1:8000 }
";
    assert_eq!(
        faults(text),
        [
            "1 unknown key `seeed`",
            "4 `listen` cannot be `nowhere`",
            "5 `latency` cannot be `20`",
            "7 a method is written in capitals: `get /x`",
            "8 a path begins with `/`: `GET x`",
            "8 unknown key `bdoy`",
            "9 a path has no query: `GET /x?y=1`",
            "9 `status` cannot be `99`",
            "10 a mock's path has no names: `GET /{id}`",
            "10 `errors` cannot be `5`",
            "11 `*` stands for a whole segment: `GET /a*b`",
            "11 `text` beside another body",
            "12 unknown fault `hangs`",
            "13 `hang` takes no measure",
            "13 `latency` cannot be `40ms..10ms`",
            "14 `$path.` without a number",
            "14 `latency` cannot be `2d`",
            "15 a reply has no value",
            "17 upstream `c` has no `routes`",
            "17 another upstream listens on `127.0.0.1:8000` already",
        ]
    );
}

#[test]
fn a_file_of_the_wrong_shape_is_one_fault() {
    assert_eq!(faults("- a\n"), ["1 the file cannot be a list"]);
    assert_eq!(faults("seed: 1\n"), ["1 the file has no `upstreams`"]);
    assert_eq!(faults("upstreams: 7\n"), ["1 `upstreams` cannot be `7`"]);
}
