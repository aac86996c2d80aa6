//! jq programs of a config: compiled, their free variables given a meaning. These are what the program depends on.

use std::sync::Arc;

use super::model::{Action, CallPlan, Hop, Need, Program, Reference, Reply, Root, RoutePlan, Variable};
use super::names::Names;
use super::place::{fault, Text};
use super::reference::Written;
use crate::config::faults::Faults;
use crate::transform::jq::{self, FreeVariable, Jq, ProgramFault};

/// Compiles a program; what is wrong is reported and gives None.
pub(super) fn compile(text: Text<'_>, names: &Names<'_>, faults: &mut Faults) -> Option<Program> {
    match Jq::compile(text.text) {
        Ok(jq) => bind(jq, text, names, faults),
        Err(broken) => {
            for ProgramFault { at, message, help } in broken.faults {
                fault(faults, text.slice(at), message, help);
            }
            // Its names are looked at as well, so that all faults come at once.
            for variable in &broken.variables {
                bind_one(variable, text, names, faults);
            }
            None
        }
    }
}

/// Gives the variables of a compiled program their meaning.
fn bind(jq: Jq, text: Text<'_>, names: &Names<'_>, faults: &mut Faults) -> Option<Program> {
    let variables: Vec<Option<Variable>> = jq
        .variables()
        .iter()
        .map(|variable| bind_one(variable, text, names, faults))
        .collect();
    Some(Program {
        variables: variables.into_iter().collect::<Option<Vec<_>>>()?,
        jq: Arc::new(jq),
    })
}

fn bind_one(variable: &FreeVariable, text: Text<'_>, names: &Names<'_>, faults: &mut Faults) -> Option<Variable> {
    let dollar_name = format!("${}", variable.name);
    if let Some(why) = jq::why_missing(&dollar_name).or(outside(&variable.name)) {
        let first = variable.uses.first().map_or(text, |first| text.slice(first.at.clone()));
        fault(faults, first, format!("unknown variable `{dollar_name}`"), why);
        return None;
    }
    if variable.name == "header" {
        return headers(variable, text, names, faults).map(Variable::Headers);
    }
    // One value is seen at all its uses. Where one of them goes to what another call adds, it is the answer with that in it.
    let mut bound: Option<Reference> = None;
    for one in &variable.uses {
        let whole = text.slice(one.at.clone());
        let reference = names.resolve(&written(whole, names, &variable.name, &one.path), faults)?;
        let joined = matches!(reference.root, Root::Joined(_));
        if bound.is_none() || joined {
            bound = Some(Reference {
                root: reference.root,
                path: Vec::new(),
                text: dollar_name.clone(),
            });
        }
    }
    bound.map(Variable::Value)
}

/// Why what is read at load is no variable.
fn outside(name: &str) -> Option<&'static str> {
    matches!(name, "env" | "file").then_some("values read at load do not go into programs; put one into a `value:` call and name that")
}

/// A variable with the way into it, as the names know references. A plain parameter has no inside, and jq says so when it runs.
fn written<'a>(whole: Text<'a>, names: &Names<'_>, name: &str, path: &[Hop]) -> Written<'a> {
    let is_param = names.params.iter().any(|param| param.name == name);
    Written {
        whole,
        name: whole.slice(1..whole.text.len()),
        tail: whole.slice(whole.text.len()..whole.text.len()),
        hops: if is_param || name == "keys" { Vec::new() } else { path.to_vec() },
    }
}

/// The headers that a program asks for: those that it names, or all where it does not say.
fn headers(variable: &FreeVariable, text: Text<'_>, names: &Names<'_>, faults: &mut Faults) -> Option<Vec<(String, Reference)>> {
    let mut headers: Vec<(String, Reference)> = Vec::new();
    for one in &variable.uses {
        let whole = text.slice(one.at.clone());
        match one.path.first() {
            Some(Hop::Field(name)) => {
                let found = names.resolve(&written(whole, names, "header", &[Hop::Field(name.clone())]), faults)?;
                headers.push((
                    name.clone(),
                    Reference {
                        text: format!("$header[{name:?}]"),
                        ..found
                    },
                ));
            }
            _ => headers.extend(names.headers.iter().enumerate().map(|(index, name)| {
                let reference = Reference {
                    root: Root::Header(index),
                    path: Vec::new(),
                    text: format!("$header[{:?}]", name.as_str()),
                };
                (name.as_str().to_owned(), reference)
            })),
        }
    }
    headers.sort_by(|(one, _), (other, _)| one.cmp(other));
    headers.dedup_by(|(one, _), (other, _)| one == other);
    Some(headers)
}

/// Programs that take the items of a part which may be null: they fail then.
pub(super) fn warnings(route: &RoutePlan) -> Vec<String> {
    let mut warnings = Vec::new();
    let mut look = |place: String, program: &Program, is_reply: bool| {
        for call in items_of(program, route, is_reply) {
            let call = &route.calls[call];
            warnings.push(format!(
                "`{} {}`: {place} takes the items of `{}`, which is null when that fails: give it an `else`, name it in `need`, or write `[]?`",
                route.method, route.pattern, call.name
            ));
        }
    };
    for call in &route.calls {
        let programs = [
            ("when", call.when_program.as_deref()),
            ("jq", call.edit.as_ref().and_then(|edit| edit.program.as_ref())),
        ];
        for (key, program) in programs {
            if let Some(program) = program {
                look(format!("`{key}` of `{}`", call.name), program, false);
            }
        }
    }
    if let Reply::Jq(program) = &route.reply {
        look("`reply`".to_owned(), program, true);
    }
    warnings
}

/// Calls that may be null and whose items a program takes, each once.
fn items_of(program: &Program, route: &RoutePlan, is_reply: bool) -> Vec<usize> {
    let by_variable = program
        .jq
        .variables()
        .iter()
        .zip(&program.variables)
        .filter_map(|(variable, bound)| match bound {
            Variable::Value(Reference {
                root: Root::Call(call) | Root::Joined(call),
                ..
            }) if variable.uses.iter().any(|one| one.takes_items) => Some(*call),
            _ => None,
        });
    let keys = if is_reply { program.jq.items_of_input() } else { &[] };
    let by_input = keys
        .iter()
        .filter_map(|key| route.calls.iter().position(|call| *call.name == **key));
    let mut calls: Vec<usize> = by_variable.chain(by_input).filter(|call| may_be_null(route, *call)).collect();
    calls.sort_unstable();
    calls.dedup();
    calls
}

fn may_be_null(route: &RoutePlan, call: usize) -> bool {
    let needed = matches!(&route.need, Need::All(needs) if needs.contains(&call));
    !needed && route.calls[call].otherwise.is_none() && !is_fixed(&route.calls[call])
}

/// Whether it is a value without conditions, references and programs, which does not fail.
fn is_fixed(call: &CallPlan) -> bool {
    let is_unconditional = call.when.is_none() && call.when_program.is_none() && call.waits.is_empty();
    let is_as_written = call.edit.is_none() && call.list.is_none();
    matches!(call.action, Action::Value(_)) && is_unconditional && is_as_written && call.references().is_empty()
}
