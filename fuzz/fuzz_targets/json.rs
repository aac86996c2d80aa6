//! Arbitrary bytes as JSON: `validate` takes exactly what serde_json takes, but for its limits, and what it took is found again, whole, by
//! those that read it for a reply.
#![no_main]

use anabranch_gateway::json::{JsonType, Limits, entries, items, scalar_text, trim, type_of, validate};
use libfuzzer_sys::fuzz_target;
use serde_json::value::RawValue;

fuzz_target!(|bytes: &[u8]| {
    let limits = Limits::default();
    // Raw, so that serde_json checks the grammar alone: `1e400` and `\"\\ud800\"` are no values that it could make, but they are JSON.
    let reference = serde_json::from_slice::<&RawValue>(bytes);
    match (validate(bytes, &limits), reference) {
        (Ok(shape), Ok(raw)) => {
            assert_eq!(&bytes[shape.start..shape.end], raw.get().as_bytes(), "the value's place");
            walk(&bytes[shape.start..shape.end], shape.nodes);
        }
        (Ok(_), Err(error)) => panic!("accepted, but serde_json says: {error}"),
        (Err(fault), Ok(_)) => assert!(may_be_too_deep(bytes, limits.depth), "refused, but serde_json accepts it: {fault}"),
        (Err(fault), Err(_)) => assert!(fault.at <= bytes.len(), "{fault}"),
    }
});

/// Reads all of it the way a reply does.
fn walk(value: &[u8], nodes: usize) {
    assert_eq!(trim(value), value);
    let mut left = vec![value];
    let mut seen = 0;
    while let Some(value) = left.pop() {
        seen += 1;
        match type_of(value) {
            JsonType::Object => left.extend(entries(value).map(|(_, value)| value)),
            JsonType::List => left.extend(items(value)),
            _ => drop(scalar_text(value)),
        }
    }
    assert_eq!(seen, nodes, "values found again");
}

fn may_be_too_deep(bytes: &[u8], depth: u32) -> bool {
    bytes.iter().filter(|byte| matches!(byte, b'[' | b'{')).count() > depth as usize
}
