//! What programs give, what they are told, and that none of them takes the process down.

mod abuse;
mod faults;
mod language;
mod manual;

use std::sync::Arc;

use bytes::Bytes;

use super::*;

/// The output of a program, or why there is none, in the room of a loop with much patience.
fn run(program: &str, input: &str) -> Result<String, Failure> {
    run_with(program, input, &[])
}

fn run_with(program: &str, input: &str, variables: &[&str]) -> Result<String, Failure> {
    let jq = Jq::compile(program).unwrap_or_else(|faults| panic!("{program}: {faults:#?}"));
    let variables: Vec<Bytes> = variables.iter().map(|value| Bytes::copy_from_slice(value.as_bytes())).collect();
    on_pool(&jq, &Input::Value(Bytes::copy_from_slice(input.as_bytes())), &variables, 1 << 20)
}

/// Runs as on the compute pool, with what stack a test has.
fn on_pool(jq: &Jq, input: &Input, variables: &[Bytes], most: usize) -> Result<String, Failure> {
    let context = anabranch::JobContext::default();
    let output = jq.run(input, variables, &Room::on_pool(&context, false, most))?;
    Ok(String::from_utf8(output.to_vec()).expect("outputs are UTF-8"))
}

/// The one output of a program.
fn check(program: &str, input: &str, expected: &str) {
    match run(program, input) {
        Ok(output) => assert_eq!(output, expected, "{program} on {input}"),
        Err(failure) => panic!("{program} on {input}: {failure}"),
    }
}

/// What a program says when it fails.
fn check_fails(program: &str, input: &str, expected: &str) {
    match run(program, input) {
        Err(Failure::Program(message)) => assert!(message.contains(expected), "{program} on {input}: {message}"),
        other => panic!("{program} on {input} gave {other:?}"),
    }
}
