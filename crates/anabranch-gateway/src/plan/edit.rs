//! What becomes of a good answer: `pick`, `drop`, `rename`, then `jq`.

use std::sync::Arc;

use super::model::EditPlan;
use super::names::Names;
use super::place::{fault, Text};
use super::program;
use crate::config::faults::Faults;
use crate::config::model::CallConfig;
use crate::config::yaml::Spanned;
use crate::transform::KeyEdit;

/// Compiles what a call does to its answer; None where that is nothing.
pub(super) fn compile(call: &CallConfig, names: &Names<'_>, faults: &mut Faults) -> Option<EditPlan> {
    check(call, faults);
    let keys = keys(call);
    let program = call.jq.as_ref().and_then(|text| program::compile(Text::of(text), names, faults));
    (keys.is_some() || program.is_some()).then_some(EditPlan { keys, program })
}

fn keys(call: &CallConfig) -> Option<Arc<KeyEdit>> {
    if call.pick.is_none() && call.drop.is_empty() && call.rename.is_empty() {
        return None;
    }
    let names = |written: &[Spanned<String>]| written.iter().map(|name| name.value.clone()).collect();
    Some(Arc::new(KeyEdit {
        pick: call.pick.as_deref().map(names),
        drop: names(&call.drop),
        rename: call
            .rename
            .iter()
            .map(|(old, new)| (old.value.clone(), new.value.clone()))
            .collect(),
    }))
}

/// Reports what would have no effect, or an effect that depends on the order of keys.
fn check(call: &CallConfig, faults: &mut Faults) {
    let picks = |name: &str| call.pick.as_ref().is_none_or(|pick| pick.iter().any(|kept| kept.value == name));
    let drops = |name: &str| call.drop.iter().any(|dropped| dropped.value == name);
    if let (Some(_), Some(first)) = (&call.pick, call.drop.first()) {
        fault(
            faults,
            first,
            "`pick` and `drop` in one call",
            "`pick` alone says what stays, `drop` alone what goes",
        );
        return;
    }
    for (at, (old, new)) in call.rename.iter().enumerate() {
        if !picks(&old.value) || drops(&old.value) {
            let what = format!("`{}` is renamed and does not stay", old.value);
            fault(faults, old, what, "`pick` and `drop` name keys as the answer has them");
        }
        if call.rename[..at].iter().any(|(_, other)| other.value == new.value) {
            fault(
                faults,
                new,
                format!("two keys are renamed to `{}`", new.value),
                "another name for one of them",
            );
        }
    }
}
