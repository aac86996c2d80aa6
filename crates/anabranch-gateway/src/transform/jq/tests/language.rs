//! What programs give, beyond the manual: digits, variables, paths without the interpreter, limits of a program that means well.

use super::*;

#[test]
fn digits_stay_until_somebody_computes_with_them() {
    let input = r#"{"id":9007199254740993,"big":123456789012345678901234567890,"price":1.10,"e":1E+2,"zero":-0}"#;
    check(".", input, input);
    check(
        "[.id, .big, .price]",
        input,
        "[9007199254740993,123456789012345678901234567890,1.10]",
    );
    check("{price} | tojson", input, r#""{\"price\":1.10}""#);
    check(".id + 1", input, "9007199254740994");
    check(".price + 0", input, "1.1");
    check(".big * 1", input, "1.2345678901234568e+29");
    check("[.id == 9007199254740992, .price == 1.1, .e == 100]", input, "[false,true,true]");
    check("123456789012345678901234567890", "null", "123456789012345678901234567890");
    check("[.[] | tostring]", "[1.0,\"1.0\"]", r#"["1.0","1.0"]"#);
    check("tonumber", "\"9007199254740993\"", "9007199254740993");
}

#[test]
fn objects_keep_the_order_of_their_keys() {
    check(". | .", r#"{"b":1,"a":2,"b":3}"#, r#"{"b":3,"a":2}"#);
    check(".c = 1 | .b = 2 | del(.a)", r#"{"b":1,"a":2}"#, r#"{"b":2,"c":1}"#);
    check("{b: 1} + {a: 2} + {b: 3}", "null", r#"{"b":3,"a":2}"#);
    check("to_entries | map(.key)", r#"{"b":1,"a":2}"#, r#"["b","a"]"#);
    check("[keys, keys_unsorted]", r#"{"b":1,"a":2}"#, r#"[["a","b"],["b","a"]]"#);
}

#[test]
fn variables_are_given_in_the_order_of_their_first_use() {
    let given = |program: &str, values: &[&str]| run_with(program, "null", values).unwrap();
    assert_eq!(
        given("{u: $uid, p: [$posts[].id]}", &["7", "[{\"id\":1},{\"id\":2}]"]),
        r#"{"u":7,"p":[1,2]}"#
    );
    assert_eq!(given("$b - $a", &["10", "3"]), "7");
    assert_eq!(given("$posts[1].id", &["[{\"id\":1},{\"id\":2.0}]"]), "2.0");
    assert_eq!(given("def f($a): $a + $x; [$x, f(1)]", &["5"]), "[5,6]");
    assert_eq!(given("$x as $y | [1, 2] | map(. as $x | $x + $y)", &["10"]), "[11,12]");
}

#[test]
fn exactly_one_output_is_needed() {
    check_fails("empty", "null", "no output");
    check_fails(".[]", "[]", "no output");
    check_fails(".[]", "[1,2]", "several outputs");
    check_fails("1, error(\"late\")", "null", "late");
    check("first(.[])", "[1,2]", "1");
}

#[test]
fn errors_are_those_of_the_program() {
    check_fails(".a | .", "[1]", "cannot index [1] with \"a\"");
    check_fails(".a", "[1]", "cannot index a list with `a`");
    check_fails(".[0]", "{\"a\":1}", "cannot index an object with a number");
    check_fails(".[]", "1", "cannot use 1 as iterable");
    check_fails("1 / 0", "null", "divisor is zero");
    check_fails(". + 1", "\"a\"", "cannot calculate \"a\" + 1");
    check_fails("error", "\"own\"", "own");
    check_fails("error({a: 1})", "null", "{\"a\":1}");
    check_fails("{(1): 2}", "null", "object keys must be strings");
    check_fails("fromjson", "\"{\"", "cannot parse as JSON");
    check_fails("tonumber", "\"12x\"", "cannot be parsed as a number");
    // A message shows the begin of a value, not a megabyte of it.
    let long = format!("\"{}\"", "x".repeat(100_000));
    let Err(Failure::Program(message)) = run(".a | .", &long) else {
        panic!("no error")
    };
    assert!(message.len() < 200, "{message}");
}

#[test]
fn paths_without_the_interpreter_give_what_it_would() {
    let documents = [
        "null",
        "1",
        "\"a\"",
        "[]",
        "{}",
        "[[1,{\"a\":2}],null]",
        r#"{"a":{"b":[1.50]},"b":null,"a b":1}"#,
        "{\"a\":[]}",
    ];
    for path in [
        ".",
        ".a",
        ".a.b",
        ".a.b[0]",
        ".[0]",
        ".[0][1].a",
        ".[\"a b\"]",
        ".b.c.d",
        ".[7]",
        ".a[0]",
    ] {
        for document in documents {
            let plain = run(path, document).map_err(|_| ());
            // The same with something behind it that needs the interpreter.
            let program = run(&format!("{path} | ."), document).map_err(|_| ());
            assert_eq!(plain, program, "{path} of {document}");
        }
    }
}

#[test]
fn the_input_may_be_the_object_of_all_parts() {
    let part = |name: &str, value: Option<&'static str>| (Arc::from(name), value.map(|value| Bytes::from_static(value.as_bytes())));
    let parts = Input::Parts(vec![part("user", Some("{\"id\":7}")), part("gone", None)]);
    let made = |program: &str| on_pool(&Jq::compile(program).unwrap(), &parts, &[], 1 << 20).map_err(|failure| failure.to_string());
    assert_eq!(made(".").unwrap(), r#"{"user":{"id":7},"gone":null}"#);
    assert_eq!(made("{u: .user.id, g: .gone}").unwrap(), r#"{"u":7,"g":null}"#);
    assert_eq!(made(".user.id").unwrap(), "7");
    assert_eq!(made(".gone.x").unwrap(), "null");
    assert_eq!(made(".other").unwrap(), "null");
    assert_eq!(made("keys").unwrap(), r#"["gone","user"]"#);
    assert!(made(".[0]").is_err());
}

#[test]
fn the_output_is_bounded_in_length_and_depth() {
    let jq = Jq::compile("[range(1000)]").unwrap();
    assert!(matches!(on_pool(&jq, &Input::Null, &[], 1000), Err(Failure::TooLarge(_))));
    assert!(on_pool(&jq, &Input::Null, &[], 3891).is_ok());
    check_fails("reduce range(65) as $i (0; [.])", "null", "deeper than 64 levels");
    let deepest = run("reduce range(64) as $i (0; [.])", "null").unwrap();
    assert!(crate::json::validate(deepest.as_bytes(), &crate::json::Limits::default()).is_ok());
    // What was deep once and is not any more may leave.
    check("reduce range(100) as $i (0; [.]) | [.] | .[0] = 1", "null", "[1]");
}

#[test]
fn recursion_that_means_well_has_room() {
    check(
        "def fac: if . <= 1 then 1 else . * (. - 1 | fac) end; 18 | fac",
        "null",
        "6402373705728000",
    );
    check(
        "def sum(f): if length == 0 then 0 else (.[0] | f) + (.[1:] | sum(f)) end; [range(20)] | sum(. * 2)",
        "null",
        "380",
    );
    check("[limit(3; range(1e9))]", "null", "[0,1,2]");
    check(
        "def down: if . == 0 then \"done\" else . - 1 | down end; 5000 | down",
        "null",
        "\"done\"",
    );
    check("[range(2000)] | until(length < 2; .[1:]) | .[0]", "null", "1999");
    check("reduce range(1000) as $i (null; .a) | . == null", "null", "true");
    check("[range(20000)] | map(. + 1) | add", "null", "200010000");
}

#[test]
fn what_has_no_end_may_be_cut_by_the_program_itself() {
    check("first(repeat(. + 1))", "1", "1");
    check("[label $out | range(10) | if . == 3 then break $out else . end]", "null", "[0,1,2]");
    check("[limit(4; recurse(. + 1))]", "0", "[0,1,2,3]");
}

#[test]
fn regular_expressions_count_characters() {
    check("[match(\"ü\"; \"g\").offset]", "\"aüäü\"", "[1,3]");
    check("[scan(\"[a-z]+\")]", "\"ab cd\"", r#"["ab","cd"]"#);
    check("test(\"A\"; \"i\")", "\"a\"", "true");
    check("test([\"A\", \"i\"])", "\"a\"", "true");
    check("gsub(\"(?<d>[0-9])\"; \"<\\(.d)>\")", "\"a1b22\"", r#""a<1>b<2><2>""#);
    check("[splits(\", *\")]", "\"a, b,c\"", r#"["a","b","c"]"#);
    check("capture(\"(?<a>x)?(?<b>y)\")", "\"y\"", r#"{"a":null,"b":"y"}"#);
    check_fails("test(\"(\")", "\"a\"", "is not a valid regex");
    check_fails("test(\"a\"; \"q\")", "\"a\"", "is not a valid modifier string");
    check_fails("test(1)", "\"a\"", "cannot be matched");
    check_fails("test(\"a\")", "1", "cannot be matched");
}

#[test]
fn updates_reach_what_they_name() {
    check(".a.b.c = 1", "null", r#"{"a":{"b":{"c":1}}}"#);
    check(".[2] = 1", "null", "[null,null,1]");
    check(".[-1] = 9", "[1,2]", "[1,9]");
    check_fails(".[-3] = 9", "[1,2]", "out of bounds");
    check(".[1:] = [9, 9]", "[1,2]", "[1,9,9]");
    check(".[:1] |= map(. * 10)", "[1,2]", "[10,2]");
    check("(.a, .b) += 1", r#"{"a":1,"b":2}"#, r#"{"a":2,"b":3}"#);
    check("del(.[0, 2], .[-1])", "[1,2,3,4]", "[2]");
    check("del(.a.x?, .b)", r#"{"a":1,"b":2}"#, r#"{"a":1}"#);
    check("del(.[1:3])", "[1,2,3,4]", "[1,4]");
    check("delpaths([[\"a\", \"b\"], [\"c\"]])", r#"{"a":{"b":1},"c":2}"#, r#"{"a":{}}"#);
    check("map_values(select(. > 1))", r#"{"a":1,"b":2}"#, r#"{"b":2}"#);
    check_fails(".[1e9] = 1", "[]", "too large");
    check("limit(1; .[] |= . + 1)", "[1]", "[2]");
}

#[test]
fn the_prelude_fills_the_gaps() {
    check("[GROUP_BY(.k)[] | length]", r#"[{"k":"a"},{"k":"b"},{"k":"a"}]"#, "[2,1]");
    check("GROUP_BY(.[]; .k)", r#"[{"k":1}]"#, r#"{"1":[{"k":1}]}"#);
    check("INDEX(.id) | keys", r#"[{"id":1},{"id":"x"}]"#, r#"["1","x"]"#);
    check("[.[] | IN([1, 3][])]", "[1,2,3]", "[true,false,true]");
    check(
        "fromstream(tostream)",
        r#"{"a":[1,{"b":null}],"c":[]}"#,
        r#"{"a":[1,{"b":null}],"c":[]}"#,
    );
    check("[leaf_paths]", r#"{"a":[1]}"#, r#"[["a",0]]"#);
    check("[@csv, @tsv]", r#"[1,"a\"b\tc",null]"#, r#"["1,\"a\"\"b\tc\",","1\ta\"b\\tc\t"]"#);
    check(
        "walk(if type == \"number\" then . + 1 else . end)",
        r#"[1,{"a":2}]"#,
        r#"[2,{"a":3}]"#,
    );
    check(
        "pick(.a.b, .c[1])",
        r#"{"a":{"b":1,"x":2},"c":[1,2]}"#,
        r#"{"a":{"b":1},"c":[null,2]}"#,
    );
    check(
        "[splits(\"a\"), ascii_downcase, @uri, @html, @sh, @base64]",
        "\"Aab\"",
        r#"["A","b","aab","Aab","Aab","'Aab'","QWFi"]"#,
    );
    check("[limit(3; repeat(. * 2))]", "1", "[1,2,4]");
    check("with_entries(.value += 1)", r#"{"a":1}"#, r#"{"a":2}"#);
    check(
        "from_entries",
        r#"[{"name":"a","v":1},{"k":"b","value":null},{"key":false}]"#,
        r#"{"a":1,"b":null,"false":null}"#,
    );
    check("[.[] | tojson | fromjson]", r#"[1.10,"a",null]"#, r#"[1.10,"a",null]"#);
    check("[combinations] | length", "[[1,2],[3,4],[5,6]]", "8");
    check("[(1,2) as $x | $x * 10]", "null", "[10,20]");
    check("[[.[] | isvalid(error)], toarray]", "[1]", "[[false],[1]]");
}

/// Definitions of the library would win over filters of ours of the same name.
#[test]
fn nothing_stands_in_front_of_our_own_filters() {
    let definitions = engine::definitions();
    for (name, arguments, _) in natives::all() {
        let hidden = definitions
            .iter()
            .any(|definition| definition.name == name && definition.args.len() == arguments.len());
        assert!(!hidden, "{name}/{}", arguments.len());
    }
}

/// Not a benchmark: says what a step and a typical program cost where somebody wonders (`--release -- --ignored --nocapture`).
#[test]
#[ignore = "prints times"]
#[expect(clippy::disallowed_methods, reason = "real time is the point")]
fn times() {
    let orders: Vec<String> = (0..6)
        .map(|id| format!("{{\"id\":{id},\"price\":{id}.50,\"user\":{{\"name\":\"Ada {id}\",\"vip\":true}},\"tags\":[\"a\",\"b\"]}}"))
        .collect();
    let orders = Bytes::from(format!("[{}]", orders.join(",")));
    for program in [
        ".[0].user.name",
        "length > 3",
        "[.[] | select(.price > 2) | {id, name: .user.name, tags}]",
        "map(.price) | add",
        "[range(1000)] | map(. + 1) | add",
        "reduce range(1000) as $i (0; . + $i)",
    ] {
        let began = std::time::Instant::now();
        let jq = Jq::compile(program).unwrap();
        let compiled = began.elapsed();
        let input = Input::Value(orders.clone());
        let context = anabranch::JobContext::default();
        let began = std::time::Instant::now();
        for _ in 0..200 {
            jq.run(&input, &[], &Room::on_pool(&context, false, 1 << 20)).unwrap();
        }
        let took = began.elapsed() / 200;
        let here = jq.run(&input, &[], &Room::on_loop(1 << 20)).is_ok();
        println!(
            "{program}: compiled in {compiled:?}, {took:?} on {} bytes, on the loop: {here}",
            orders.len()
        );
    }
    let spin = Jq::compile("def f: f; f").unwrap();
    let began = std::time::Instant::now();
    let _ = spin.run(&Input::Null, &[], &Room::on_loop(1 << 20));
    println!("a loop was cut after {:?}", began.elapsed());
    let deepest = std::thread::Builder::new().stack_size(8 << 20).spawn(|| {
        let context = anabranch::JobContext::default();
        let goes = |levels: &u32| {
            let jq = Jq::compile(&format!("def f: if . == 0 then 0 else 1 + (. - 1 | f) end; {levels} | f")).unwrap();
            jq.run(&Input::Null, &[], &Room::on_pool(&context, true, 100)).is_ok()
        };
        (0..14).map(|power| 1 << power).take_while(goes).last()
    });
    println!("levels of recursion on the pool: {:?}", deepest.unwrap().join().unwrap());
}
