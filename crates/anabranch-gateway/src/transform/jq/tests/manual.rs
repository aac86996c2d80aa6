//! The examples of the jq manual, which lie in `tests/jq-manual.txt`. The pass rate stands in `docs/reference/jq.md`.

use super::*;
use crate::json;

/// One example.
struct Example<'a> {
    /// Why it fails here, where it does.
    known: Option<&'a str>,
    program: &'a str,
    input: &'a str,
    outputs: Vec<&'a str>,
}

fn examples(text: &str) -> Vec<Example<'_>> {
    let mut examples = Vec::new();
    for block in text.split("\n\n") {
        let (notes, lines): (Vec<&str>, Vec<&str>) = block
            .lines()
            .filter(|line| !line.starts_with('#'))
            .partition(|line| line.starts_with("%%"));
        if let [program, input, outputs @ ..] = lines.as_slice() {
            let known = notes.first().map(|note| note.trim_start_matches("%%").trim());
            examples.push(Example {
                known,
                program,
                input,
                outputs: outputs.to_vec(),
            });
        } else {
            assert!(lines.is_empty(), "{block}");
        }
    }
    examples
}

/// What is wrong with the outputs of an example; None when they are as in the manual.
fn wrong(example: &Example<'_>) -> Option<String> {
    // A list of all outputs is one output.
    let jq = match Jq::compile(&format!("[\n{}\n]", example.program)) {
        Ok(jq) => jq,
        Err(broken) => return Some(format!("{:?}", broken.faults[0].message)),
    };
    if let [variable, ..] = jq.variables() {
        return Some(format!("unknown variable `${}`", variable.name));
    }
    let input = Input::Value(Bytes::copy_from_slice(example.input.as_bytes()));
    match on_pool(&jq, &input, &[], 1 << 20) {
        Err(failure) => Some(failure.to_string()),
        Ok(output) => {
            let expected = format!("[{}]", example.outputs.join(","));
            json::compare(output.as_bytes(), expected.as_bytes())
                .is_ne()
                .then(|| format!("{output} instead of {expected}"))
        }
    }
}

#[test]
fn the_examples_of_the_manual_hold() {
    let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/jq-manual.txt")).unwrap();
    let examples = examples(&text);
    assert!(examples.len() >= 200, "only {}", examples.len());
    let mut held = 0;
    let mut surprises = Vec::new();
    for example in &examples {
        match (wrong(example), example.known) {
            (None, None) => held += 1,
            (Some(_), Some(_)) => {}
            (Some(wrong), None) => surprises.push(format!("{}: {wrong}", example.program)),
            (None, Some(known)) => surprises.push(format!("{} holds, though {known}", example.program)),
        }
    }
    assert!(surprises.is_empty(), "{} surprises\n{}", surprises.len(), surprises.join("\n"));
    let rate = format!("{held} of {} examples", examples.len());
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/reference/jq.md")).unwrap();
    assert!(page.contains(&rate), "docs/reference/jq.md does not say `{rate}`");
}
