//! `--jq`: the gateway's jq on the bodies of a run.

use anabranch_fetch::run::Transform;
use anabranch_gateway::jq::Program;
use anyhow::anyhow;
use serde_json::value::RawValue;

use crate::exit::Failure;

/// Bytes that a program may make of one body.
const MADE_MAX: usize = 8 << 20;

/// A program that is run on each body.
pub(crate) struct JqTransform(Program);

impl JqTransform {
    /// Compiles it.
    ///
    /// # Errors
    /// Usage: the program has faults; the message shows them with their places.
    pub(crate) fn compile(text: &str) -> Result<JqTransform, Failure> {
        Program::compile("--jq", text).map(JqTransform).map_err(|faults| {
            let rendered = faults.render(false);
            let shown = rendered.trim_end();
            Failure::usage(anyhow!("{}", shown.strip_prefix("error: ").unwrap_or(shown)))
        })
    }
}

impl Transform for JqTransform {
    fn apply(&self, body: &[u8]) -> Result<Box<RawValue>, String> {
        let made = self.0.apply(body, MADE_MAX)?;
        let text = String::from_utf8(made.to_vec()).map_err(|_| "the jq program made text that is not UTF-8".to_string())?;
        RawValue::from_string(text).map_err(|error| format!("the jq program made no JSON: {error}"))
    }
}
