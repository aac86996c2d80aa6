//! Jobs of `run:` calls: the source, and what it is given.

use bytes::Bytes;

use super::call::Around;
use super::model::{RunAction, Value};
use super::place::Text;
use super::target::find_source;
use super::value;
use crate::config::faults::Faults;
use crate::config::model::Way;
use crate::config::yaml::{Node, Spanned};
use crate::json;

/// Compiles a call with `run:`; also gives its source, if there is one. What is wrong is reported and left out.
pub(super) fn compile(
    written: &Spanned<String>,
    job: Option<&Node>,
    around: &Around<'_>,
    faults: &mut Faults,
) -> (Option<usize>, RunAction) {
    let source = find_source(Text::of(written).trimmed(), Way::Run, &around.config.sources, faults);
    let job = match job {
        Some(job) => value::compile(job, around.names, faults),
        // The reader has reported that it is missing.
        None => Value::Literal(Bytes::from_static(json::NULL)),
    };
    let action = RunAction {
        source: source.unwrap_or_default(),
        job,
    };
    (source, action)
}
