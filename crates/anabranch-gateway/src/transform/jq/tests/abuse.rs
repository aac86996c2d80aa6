//! Programs that loop, grow or recurse are cut and named, and the process lives. Each of these ended a process, or a thread for good,
//! before there was a limit for it.

use std::time::{Duration, Instant};

use anabranch::{Compute, ComputeSettings, Deadline, Kind};

use super::*;
use crate::transform::Reshaping;

/// Programs without an end or without measure, and what may be said of them.
const ABUSES: &[(&str, &[Kind])] = &[
    // Loops.
    ("def f: f; f", &[Kind::Timeout]),
    ("def f: . | f; f", &[Kind::Timeout]),
    ("last(range(1e12))", &[Kind::Timeout]),
    ("last(repeat(1))", &[Kind::Timeout]),
    ("reduce range(1e12) as $i (0; . + $i)", &[Kind::Timeout]),
    ("until(false; .)", &[Kind::Timeout]),
    ("first(range(infinite) | select(false))", &[Kind::Timeout]),
    ("[limit(2; repeat(empty))] | until(false; .)", &[Kind::Timeout]),
    ("any(repeat(1); . == 2)", &[Kind::Timeout]),
    ("isempty(range(1e12) | empty)", &[Kind::Timeout]),
    ("def f: (try error catch .) | f; f", &[Kind::Timeout]),
    ("def f: try f catch f; f", &[Kind::Timeout, Kind::TooLarge]),
    ("label $out | foreach repeat(1) as $x (0; 1; empty)", &[Kind::Timeout]),
    (
        "[range(30)] | [combinations(30)] | length",
        &[Kind::Timeout, Kind::TooLarge, Kind::Value],
    ),
    // Growth.
    ("[range(1e12)]", &[Kind::TooLarge, Kind::Timeout]),
    ("[repeat(1)]", &[Kind::TooLarge, Kind::Timeout]),
    ("\"a\" * 1e9", &[Kind::TooLarge]),
    ("\"a\" * 1e300", &[Kind::TooLarge]),
    ("reduce range(100) as $i (\"a\"; . + .)", &[Kind::TooLarge]),
    ("reduce range(100) as $i ([1]; . + .)", &[Kind::TooLarge, Kind::Timeout]),
    ("reduce range(200) as $i ([1]; [., .])", &[Kind::Timeout, Kind::TooLarge]),
    ("reduce range(60) as $i ([1]; [., .]) | tojson", &[Kind::Timeout, Kind::TooLarge]),
    (
        "reduce range(60) as $i ([1]; [., .]) | . == (. | map(.))",
        &[Kind::Timeout, Kind::TooLarge],
    ),
    ("reduce range(60) as $i ([1]; [., .]) | [..]", &[Kind::Timeout, Kind::TooLarge]),
    (
        "reduce range(1e9) as $i ({}; .[$i | tostring] = $i)",
        &[Kind::Timeout, Kind::TooLarge],
    ),
    ("[range(1e9) | tostring] | join(\",\")", &[Kind::Timeout, Kind::TooLarge]),
    ("def f: f, 1; f", &[Kind::Timeout, Kind::TooLarge]),
    ("def f: (., .) | f; f", &[Kind::Timeout, Kind::TooLarge]),
    (
        "[1] | .[1e6] = 1 | map([., .]) | add | add",
        &[Kind::Value, Kind::TooLarge, Kind::Timeout],
    ),
    ("sort_by(range(1e12))", &[Kind::Value, Kind::Timeout]),
    ("[1, 2] | sort_by(range(1e12))", &[Kind::Timeout]),
    ("[1, 2] | group_by(repeat(1))", &[Kind::Timeout]),
    ("(\"a\" * 100000) | [match(\"\"; \"g\")] | length", &[Kind::Timeout, Kind::TooLarge]),
    ("(\"a\" * 300000) | test(\"(a|aa|aaa)*b\")", &[Kind::Value]),
    ("\"a\" | test(\"((a{100}){100}){100}\")", &[Kind::Value]),
    ("(\"A\" * 20000) | [match(\".*[^A-Z]|[A-Z]\"; \"g\")]", &[Kind::Timeout]),
    ("gsub(\"\"; \"x\" * 1000000)", &[Kind::Value, Kind::TooLarge]),
    ("(\"ab\" * 100000) | gsub(\"a\"; \"x\" * 100000)", &[Kind::TooLarge, Kind::Timeout]),
    (
        "(\"a\" * 1000000) / \"\" | map(. * 100) | add | . / \"\" | length",
        &[Kind::TooLarge, Kind::Timeout],
    ),
    ("(\"a\" * 4000000) | indices(\"a\" * 2000000)", &[Kind::Timeout]),
    ("(\"a\" * 4000000) as $t | [range(100000) | $t] | sort", &[Kind::Timeout]),
    (
        "([range(3000) | {(tostring): 1}] | add) as $o | [range(10000) | $o] | sort | unique",
        &[Kind::Timeout],
    ),
    (
        "(\"a\" * 1000000) as $k | {($k): 1} as $o | [range(1e9) | $o[$k]]",
        &[Kind::Timeout],
    ),
    ("[range(200000)] | until(length == 0; del(.[0]))", &[Kind::Timeout]),
    // Recursion.
    ("def f: 1 + f; f", &[Kind::TooLarge]),
    ("def f: [f]; f", &[Kind::TooLarge]),
    ("def f: {a: f}; f", &[Kind::TooLarge]),
    ("def f: f | .; f", &[Kind::TooLarge]),
    ("def f(g): 1 + f(g); f(1)", &[Kind::TooLarge]),
    ("def f(g): f(g | .); f(.)", &[Kind::TooLarge, Kind::Timeout]),
    ("def f(g): f(g); f(.)", &[Kind::TooLarge, Kind::Timeout]),
    ("def f(g): def h: f(g); h; f(.)", &[Kind::TooLarge, Kind::Timeout]),
    ("def f(g): def h(i): f(i); h(g); f(.)", &[Kind::TooLarge, Kind::Timeout]),
    ("def a(g): g; def f: a(f); f", &[Kind::TooLarge, Kind::Timeout]),
    ("def f($x; g): f($x + 1; g | .); f(0; .)", &[Kind::TooLarge, Kind::Timeout]),
    ("reduce range(1e6) as $i (0; [.])", &[Kind::TooLarge]),
    ("reduce range(1e6) as $i (0; {a: .})", &[Kind::TooLarge]),
    ("last(recurse([.]))", &[Kind::TooLarge]),
    ("[recurse(if . == null then [null] else [.] end)]", &[Kind::TooLarge]),
    // Paths without end.
    ("last(path(recurse(.a?)))", &[Kind::TooLarge, Kind::Timeout]),
    ("path(def r: .a | r; r)", &[Kind::TooLarge, Kind::Timeout]),
    ("path(until(false; .a))", &[Kind::TooLarge, Kind::Timeout]),
    ("last(path(repeat(.[0:])))", &[Kind::TooLarge, Kind::Timeout]),
    ("[path(reduce range(1000000) as $i (.; .a))]", &[Kind::TooLarge, Kind::Timeout]),
    ("[path(getpath([range(1000000) | \"a\"]))]", &[Kind::TooLarge, Kind::Timeout]),
    ("pick(getpath([range(1000000) | \"a\"]))", &[Kind::TooLarge, Kind::Timeout]),
    (
        "[1] | path(reduce range(1000000) as $i (.; .[0:]))",
        &[Kind::TooLarge, Kind::Timeout],
    ),
    ("setpath([range(1000000) | \"a\"]; 1)", &[Kind::TooLarge, Kind::Timeout]),
    ("setpath([range(1000000)]; 1)", &[Kind::TooLarge, Kind::Timeout]),
    ("def f: .a | f; f |= 1", &[Kind::TooLarge, Kind::Timeout]),
];

/// What became of a program within a second, in kind; Ok where it ended by itself.
async fn ended(compute: &Compute, program: &str) -> Result<Bytes, Kind> {
    let jq = Jq::compile(program).unwrap_or_else(|faults| panic!("{program}: {faults:#?}"));
    let reshaping = Reshaping {
        keys: None,
        jq: Some(Arc::new(jq)),
        variables: Vec::new(),
        most: 8 << 20,
    };
    let input = Input::Value(Bytes::from_static(b"null"));
    let ended = reshaping
        .apply(input, compute, "abuse", Deadline::after(Duration::from_secs(5)))
        .await;
    ended.map_err(|error| {
        assert!(!error.to_string().is_empty());
        error.kind()
    })
}

#[expect(clippy::disallowed_methods, reason = "how long a program takes is real time")]
fn now() -> Instant {
    Instant::now()
}

#[tokio::test]
async fn every_abuse_is_cut_on_the_pool_and_the_process_lives() {
    let compute = Compute::new(ComputeSettings {
        threads: 1,
        ..ComputeSettings::default()
    });
    let (mut wrong, mut longest) = (Vec::new(), Duration::ZERO);
    for (program, kinds) in ABUSES {
        let began = now();
        let ended = ended(&compute, program).await;
        let took = began.elapsed();
        longest = longest.max(took);
        match ended {
            // On a slow machine time may be up before anything has grown.
            Err(kind) if (kinds.contains(&kind) || kind == Kind::Timeout) && took < Duration::from_secs(3) => {}
            Err(kind) => wrong.push(format!("{program} ended as {kind} after {took:?}")),
            Ok(output) => wrong.push(format!("{program} gave {} bytes", output.len())),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    println!("the longest took {longest:?}");
    assert_eq!(run("1 + 1", "null").unwrap(), "2");
    assert_eq!(compute.counts().panicked, 0);
}

#[tokio::test]
async fn every_abuse_is_cut_without_a_pool_as_well() {
    let compute = Compute::inline();
    // Loops end by the same clock here; what grows and recurses meets a smaller stack.
    for (program, _) in ABUSES.iter().filter(|(_, kinds)| kinds.contains(&Kind::TooLarge)) {
        assert!(ended(&compute, program).await.is_err(), "{program}");
    }
}

#[test]
fn what_a_loop_has_no_time_for_is_told_within_a_moment() {
    for (program, _) in ABUSES {
        let jq = Jq::compile(program).unwrap();
        let began = now();
        let ended = jq.run(&Input::Null, &[], &Room::on_loop(1 << 20));
        let took = began.elapsed();
        assert!(ended.is_err(), "{program}");
        // Without optimisation and beside other tests this says only that none of them goes on.
        assert!(took < Duration::from_secs(1), "{program} took {took:?}");
    }
}

#[test]
fn a_program_larger_than_any_that_is_meant_is_refused_when_it_is_compiled() {
    let repeated = |open: &str, middle: &str, close: &str, times: usize| format!("{}{middle}{}", open.repeat(times), close.repeat(times));
    for program in [
        repeated("(", ".", ")", 10_000),
        repeated("[", ".", "]", 10_000),
        repeated("{a:", ".", "}", 5_000),
        repeated("\"\\(", "1", ")\"", 5_000),
        repeated("(", "", "", 10_000),
        " ".repeat(40_000),
        "1+".repeat(10_000),
    ] {
        assert!(Jq::compile(&program).is_err(), "{}", &program[..20]);
    }
    // The deepest that are not refused compile and run, or are cut.
    for program in [
        repeated("(", ".", ")", 250),
        repeated("\"\\(", "1", ")\"", 200),
        format!("{}.", ".|".repeat(2_400)),
        format!("{}1", "- ".repeat(4_900)),
        format!("{}.", ". as $x|".repeat(1_200)),
        format!("{}1", "1+".repeat(2_400)),
        format!("[{}1]", "1,".repeat(2_400)),
        format!("{}1{}", "if 1 then ".repeat(1_200), " end".repeat(1_200)),
        format!("{}1", "try ".repeat(4_900)),
        format!("{}f", "def f: 1; ".repeat(900)),
        format!("{}1{}", "def f: ".repeat(900), "; f".repeat(900)),
    ] {
        let jq = Jq::compile(&program).unwrap_or_else(|faults| panic!("{}: {faults:?}", &program[..20]));
        let _ended = on_pool(&jq, &Input::Null, &[], 1 << 20);
        let _not_here = jq.run(&Input::Null, &[], &Room::on_loop(1 << 20));
    }
}

#[test]
fn nothing_that_a_program_held_is_held_afterwards() {
    let limits = meter::Limits {
        steps: None,
        time: Duration::from_secs(10),
        memory: usize::MAX,
        stack: 1 << 20,
    };
    for program in [
        "[range(1000)] | map({a: .}) | add",
        "reduce range(1000) as $i (\"\"; . + \"x\")",
        "[range(10) | [.]] | .[2:5] = [1] | del(.[0])",
    ] {
        let jq = Jq::compile(program).unwrap();
        let Form::Program(program) = &jq.form else { panic!("a program") };
        let held = meter::within(&limits, || {
            let data = engine::Data {
                terms: &program.filter.lut,
                job: None,
            };
            let context = jaq_core::Ctx::<engine::Engine>::new(data, jaq_core::Vars::new([]));
            program.filter.id.run((context, value::Value::NULL)).for_each(drop);
            meter::held()
        });
        assert_eq!(held.unwrap(), 0);
    }
}
