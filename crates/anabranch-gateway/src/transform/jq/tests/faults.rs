//! What is said of a program that does not compile, and where.

use super::*;

/// The faults of a program: the piece of text that each underlines, what is wrong, what was expected.
fn faults(program: &str) -> String {
    let Broken { faults, .. } = Jq::compile(program).expect_err(program);
    assert!(!faults.is_empty(), "{program}");
    let shown: Vec<String> = faults
        .iter()
        .map(|ProgramFault { at, message, help }| format!("`{}` {message} ({help})", &program[at.clone()]))
        .collect();
    shown.join("\n")
}

fn check(program: &str, expected: &str) {
    assert_eq!(faults(program), expected, "{program}");
}

#[test]
fn unknown_filters_are_named_with_the_nearest_known_one() {
    check(".items | lenght", "`lenght` unknown filter `lenght` (did you mean `length`?)");
    check(
        "map(.x; .y)",
        "`map` unknown filter `map/2` (it is known with another number of arguments)",
    );
    check(
        "def f(x): x; f",
        "`f` unknown filter `f` (the filters of jq 1.7 are known, see docs/reference/jq.md for the few that are not)",
    );
    check(
        "[.[] | slect(.a)] | sort_bye(.b)",
        "`slect` unknown filter `slect/1` (did you mean `select`?)\n`sort_bye` unknown filter `sort_bye/1` (did you mean `sort_by`?)",
    );
}

#[test]
fn what_reaches_out_of_a_config_is_unknown_and_the_reason_is_said() {
    for (program, reason) in [
        ("env.HOME", "programs do not see the environment"),
        ("input", "a program has one input, which is `.`"),
        ("[inputs]", "a program has one input, which is `.`"),
        ("input_filename", "a program has one input, which is `.`"),
        ("halt", "a program cannot end the gateway; `error(...)` fails it"),
        ("1 | halt_error", "a program cannot end the gateway; `error(...)` fails it"),
        ("halt_error(1)", "a program cannot end the gateway; `error(...)` fails it"),
        ("halt(1)", "a program cannot end the gateway; `error(...)` fails it"),
        (". | debug", "programs write nothing but their output"),
        ("debug(\"x\")", "programs write nothing but their output"),
        ("stderr", "programs write nothing but their output"),
        (
            "localtime",
            "the zone of the machine is not known here; `gmtime` and `strftime` are in UTC",
        ),
        (
            "now | strflocaltime(\"%H\")",
            "the zone of the machine is not known here; `gmtime` and `strftime` are in UTC",
        ),
    ] {
        assert!(faults(program).ends_with(&format!("({reason})")), "{program}: {}", faults(program));
    }
    check("import \"a\" as a; .", "`import` `import` is not known (there are no modules)");
    check("include \"a\"; .", "`include` `include` is not known (there are no modules)");
    check(
        "a::b",
        "`a` unknown module `a` (the filters of jq 1.7 are known, see docs/reference/jq.md for the few that are not)",
    );
    // Bessel functions of a large order would hold a thread for seconds.
    assert!(faults("jn(2000000000; 1.5)").contains("unknown filter"));
    // Names of the library's own that stand for the same.
    for program in ["stderr_empty", "debug_empty", "escape_sh | halt(0)"] {
        assert!(faults(program).contains("unknown filter"), "{program}");
    }
}

#[test]
fn broken_text_is_underlined_where_it_breaks() {
    check(".a | ", "`` the program ends too early (expected a value or a filter)");
    check(
        ".a + ) ",
        "`)` `)` is not understood here (expected a value, a filter or an operator)",
    );
    check("{a: (1}", "`(` `(` is never closed (expected `)`)");
    check("\"abc", "`\"` `\"` is never closed (expected `\"`)");
    check("if . then 1", "`` the program ends too early (expected `else` or `end`)");
    check(".a ü", "`ü` `ü` is not understood here (expected a value, a filter or an operator)");
    check(
        "\"\\q\"",
        "`q` `q` is not understood here (expected an escape such as `\\n`, `\\\"` or `\\(...)`)",
    );
    check(
        "reduce .[] as $x (0)",
        "`reduce` unknown filter `reduce/1` (the filters of jq 1.7 are known, see docs/reference/jq.md for the few that are not)",
    );
    check(". as [$a] ?// $a | $a", "`?` `?` is not understood here (expected `|`)");
    check("", "`` the program ends too early (expected a value or a filter)");
    check(
        ".a b",
        "`b` `b` is not understood here (expected the end, or an operator such as `|`)",
    );
    check(
        "break $x",
        "`$x` unknown label `$x` (the filters of jq 1.7 are known, see docs/reference/jq.md for the few that are not)",
    );
}

#[test]
fn no_text_makes_the_compiler_panic() {
    use proptest::prelude::*;
    let pieces = prop::sample::select(vec![
        ".", "a", "$x", "|", "(", ")", "[", "]", "{", "}", "\"", "\\(", "as", "def", "f", ":", ";", "if", "then", "else", "end", "reduce",
        "foreach", "try", "catch", "label", "break", "1", "1.5e3", ",", "+", "-", "//", "?", "..", "=", "|=", "@csv", "ü", "\n", "#",
        "and", "not", "import", "?//",
    ]);
    proptest!(ProptestConfig::with_cases(64), |(words in prop::collection::vec(pieces, 0..20), glue in prop::sample::select(vec!["", " "]))| {
        let text = words.join(glue);
        match Jq::compile(&text) {
            Err(Broken { faults, .. }) => {
                prop_assert!(!faults.is_empty());
                for fault in faults {
                    prop_assert!(text.get(fault.at).is_some());
                }
            }
            Ok(jq) => {
                let variables = vec![Bytes::from_static(b"1"); jq.variables().len()];
                let _ended = jq.run(&Input::Null, &variables, &Room::on_loop(1 << 16));
            }
        }
    });
}

#[test]
fn variables_are_found_with_the_way_into_them() {
    let jq = Jq::compile(
        "$posts[].author.id as $id | {$uid, x: $uid, y: $header[\"x-a\"], z: [$posts[0:2]], \"\\($q)\": $id} \
         | def f($a; g): $a + g + $b; f($c; $d) | reduce .[] as {a: $e, ($f): [$g]} ($h; $e + $g + $i) | . as [$j] | $j",
    );
    let jq = jq.unwrap();
    let names: Vec<&str> = jq.variables().iter().map(|variable| variable.name.as_str()).collect();
    assert_eq!(names, ["posts", "uid", "header", "q", "b", "c", "d", "f", "h", "i"]);
    let posts = &jq.variables()[0].uses;
    let field = |name: &str| crate::plan::Hop::Field(name.to_owned());
    assert_eq!(posts[0].path, [crate::plan::Hop::Each, field("author"), field("id")]);
    assert_eq!((posts[0].at.clone(), posts[0].takes_items), (0..6, true));
    assert_eq!((posts[1].path.len(), posts[1].takes_items), (0, false));
    assert_eq!(jq.variables()[2].uses[0].path, [field("x-a")]);
}

#[test]
fn taking_items_is_noticed_in_its_usual_forms() {
    for (program, takes) in [
        ("$a[]", true),
        ("$a.b[].c", true),
        ("[$a[] | .x]", true),
        ("$a | .[]", true),
        ("$a | map(.x)", true),
        ("$a | [.[] | .x]", true),
        ("$a.b | map(.x) | add", true),
        ("$a[]?", false),
        ("$a | length", false),
        ("$a[0]", false),
        ("$a | .[]?", false),
    ] {
        let jq = Jq::compile(program).unwrap();
        assert_eq!(jq.variables()[0].uses[0].takes_items, takes, "{program}");
    }
    for (program, keys) in [
        (".posts[]", &["posts"][..]),
        ("{a: [.posts[].id], b: (.users | map(.x))}", &["posts", "users"]),
        (".a | .posts[]", &[]),
        (".posts[]?", &[]),
        (". as $all | [.posts[]]", &["posts"]),
    ] {
        assert_eq!(Jq::compile(program).unwrap().items_of_input(), keys, "{program}");
    }
}

#[test]
fn what_does_not_look_at_its_input_is_known() {
    for (program, looks) in [
        (".", true),
        ("$a", false),
        ("{u: $a, f: [$b[] | select(.x) | {id}]}", false),
        ("{a}", true),
        ("{$a}", false),
        ("$a | .x", false),
        ("$a[.x]", true),
        ("length", true),
        ("if $a then 1 else 2 end", false),
        ("if $a then 1 end", true),
        ("\"\\($a)\"", false),
        ("$a as $b | .", true),
        ("reduce $a[] as $x (0; . + $x)", true),
    ] {
        assert_eq!(Jq::compile(program).unwrap().looks_at_input(), looks, "{program}");
    }
}

#[test]
fn plain_paths_need_no_interpreter() {
    for (program, plain) in [
        (".", true),
        (".a.b[0]", true),
        (".[\"a b\"][12].c", true),
        ("$posts[0].title", true),
        ("$posts", true),
        (".a?", false),
        (".a[]", false),
        (".a[1:2]", false),
        (".a[-1]", false),
        (".a[\"\\(1)\"]", false),
        (".a | .b", false),
        ("1", false),
    ] {
        assert_eq!(!Jq::compile(program).unwrap().is_program(), plain, "{program}");
    }
}
