//! Conditions.

use super::*;

fn condition(text: &str) -> String {
    let text = text.replace('\'', "''");
    let plan = plan(&with_calls(&format!(
        "      a: shop /a\n      c: {{ get: shop /, when: '{text}' }}\n"
    )));
    plan.routes[0].calls[1].when.as_ref().map(show).unwrap()
}

fn show(condition: &Condition) -> String {
    let operand = |operand: &Operand| match operand {
        Operand::Ref(reference) => reference.text.clone(),
        Operand::Literal(json) => String::from_utf8_lossy(json).into_owned(),
    };
    match condition {
        Condition::Truth(reference) => reference.text.clone(),
        Condition::Compare(left, how, right) => format!("{how:?}({} {})", operand(left), operand(right)),
        Condition::And(left, right) => format!("and({} {})", show(left), show(right)),
        Condition::Or(left, right) => format!("or({} {})", show(left), show(right)),
        Condition::Not(inner) => format!("not({})", show(inner)),
    }
}

#[test]
fn conditions_bind_as_in_jq() {
    for (written, expected) in [
        ("$a.ok", "$a.ok"),
        ("$a.n >= 1.5", "GreaterOrEqual($a.n 1.5)"),
        ("$lang==\"e\\\"n\"", "Equal($lang \"e\\\"n\")"),
        ("null != $a.list.0", "NotEqual(null $a.list.0)"),
        ("$a and $page or $lang and $id", "or(and($a $page) and($lang $id))"),
        ("$a or $page | not", "not(or($a $page))"),
        ("$a and ($page | not)", "and($a not($page))"),
        ("$a | not | not", "not(not($a))"),
        (
            "$id < $page and ($lang == \"de\" or $lang == \"en\")",
            "and(Less($id $page) or(Equal($lang \"de\") Equal($lang \"en\")))",
        ),
        ("$a > -1", "Greater($a -1)"),
        ("$header.x-beta == true", "Equal($header.x-beta true)"),
        ("$header[\"x-beta\"] and $a[0].b", "and($header[\"x-beta\"] $a[0].b)"),
        ("${a.x} <= false", "LessOrEqual($a.x false)"),
    ] {
        assert_eq!(condition(written), expected, "{written}");
    }
}

#[test]
fn what_a_condition_does_not_understand_is_said() {
    let says = |written: &str, expected: &str| {
        check_says(
            &with_calls(&format!("      a: shop /a\n      c: {{ get: shop /, when: '{written}' }}\n")),
            expected,
        );
    };
    says("$a == ", "the program ends too early (expected a value or a filter)");
    says("", "the condition ends too early");
    says("($a", "`(`: `(` is never closed (expected `)`)");
    says("$a)", "`)` is not understood here");
    says("$a $a", "`$a` is not understood here");
    says("true", "`true`: this is always the same");
    says("not", "`not`: this is always the same");
    says("1 + 1 == 2", "`1 + 1 == 2`: this is always the same");
    says("$a = 1", "`=` is not understood here");
    says("$a | lenght > 1", "`lenght`: unknown filter `lenght` (did you mean `length`?)");
    says("$a | any(.x == $b)", "`$b`: unknown name `$b`");
    says(
        "any($a[]; env.HOME)",
        "`env`: unknown filter `env` (programs do not see the environment)",
    );
    says("1 < $a < 3", "`<` is not understood here");
    says("$a[].x", "`$a[].x` gives many values, and a condition takes one");
    says("$b", "unknown name `$b`");
    says("$a == \"x", "`\"`: `\"` is never closed");
    says("ü", "`ü` is not understood here");
    says(
        &format!("{}$a{}", "(".repeat(251), ")".repeat(251)),
        "more than 250 brackets inside one another",
    );
    condition(&format!("{}$a{}", "(".repeat(64), ")".repeat(64)));
}

#[test]
fn what_is_not_of_the_small_language_is_a_program() {
    for written in [
        "$a | length > 1",
        "$a + 1 > $page",
        "($a) == 1",
        "$a == 1-2",
        "$a == [1]",
        "any($a[]; .x == $lang)",
        "$a as $b | $b.x",
        "$header[\"x-beta\"] | test(\"^b\")",
        "$a[]? // false",
        &format!("{}$a{}", "(".repeat(65), ")".repeat(65)),
    ] {
        let text = written.replace('\'', "''");
        let plan = plan(&with_calls(&format!(
            "      a: shop /a\n      c: {{ get: shop /, when: '{text}' }}\n"
        )));
        let call = &plan.routes[0].calls[1];
        assert!(call.when.is_none() && call.when_program.is_some(), "{written}");
        let waits = usize::from(written.contains("$a"));
        assert_eq!(call.waits.len(), waits, "{written}");
    }
}
