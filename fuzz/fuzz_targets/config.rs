//! Arbitrary text as a config: it compiles, or it has faults that can be shown; it never panics.
#![no_main]

use anabranch_gateway::config::{MapLookup, compile};
use anabranch_gateway::gateway::Gateway;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let lookup = MapLookup::new().with_env("NAME", "value");
    match compile("gateway.yaml", text, &lookup) {
        // What compiles may still not be built, for example for a URL that is none; that is an error and no panic either.
        Ok(plan) => drop(Gateway::build(plan)),
        Err(faults) => assert!(!faults.render(false).is_empty() && !faults.is_empty()),
    }
});
