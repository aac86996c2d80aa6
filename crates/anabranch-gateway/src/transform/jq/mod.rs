//! jq in a config: a program is compiled once, and run for each answer or reply.
//!
//! `compile` makes [`Jq`] of text, `run` runs it within the limits that `meter` keeps. What only picks something out by fixed keys
//! (`.a.b[0]`) never reaches the interpreter: `path` finds it in the bytes. The interpreter is jaq's; its values are ours (`value`), so that
//! every operation counts and every digit stays.

mod compile;
mod engine;
mod faults;
mod meter;
mod names;
mod natives;
mod path;
mod recursion;
mod run;
mod value;

use std::fmt;
use std::sync::atomic::{AtomicU32, Ordering};

use bytes::Bytes;

pub(crate) use compile::{Broken, FreeVariable};
pub(crate) use engine::why_missing;
pub(crate) use faults::ProgramFault;
pub(crate) use run::{Failure, Input, Room};

use compile::{Compiled, Path, Program};

/// A compiled program. Two are equal when their texts are.
pub(crate) struct Jq {
    text: String,
    variables: Vec<FreeVariable>,
    looks_at_input: bool,
    items_of_input: Vec<String>,
    form: Form,
    /// Runs that go to the compute pool at once, since the last one on a loop had to be broken off there.
    elsewhere: AtomicU32,
}

/// Runs that are not tried on a loop after one had to be broken off.
const RUNS_ELSEWHERE: u32 = 31;

/// What has to be done for a value.
enum Form {
    /// Find it.
    Path {
        /// The place of a variable, or None for the input.
        variable: Option<usize>,
        hops: Vec<crate::plan::model::Hop>,
    },
    /// Run the interpreter.
    Program(Box<Program>),
}

impl Jq {
    /// Compiles the text of a program. Takes about a millisecond.
    ///
    /// # Errors
    /// Everything that is wrong with it, each with its place in the text; a free variable is no fault.
    pub(crate) fn compile(text: &str) -> Result<Jq, Broken> {
        let Compiled {
            program,
            path,
            variables,
            looks_at_input,
            items_of_input,
        } = compile::compile(text)?;
        let form = match path {
            Some(Path { variable: None, hops }) => Form::Path { variable: None, hops },
            Some(Path {
                variable: Some(name),
                hops,
            }) => Form::Path {
                variable: variables.iter().position(|variable| variable.name == name),
                hops,
            },
            None => Form::Program(Box::new(program)),
        };
        Ok(Jq {
            text: text.to_owned(),
            variables,
            looks_at_input,
            items_of_input,
            form,
            elsewhere: AtomicU32::new(0),
        })
    }

    /// Its free variables, each once, in the order of their first use; values are given in the same order.
    pub(crate) fn variables(&self) -> &[FreeVariable] {
        &self.variables
    }

    /// Whether its output can depend on its input.
    pub(crate) fn looks_at_input(&self) -> bool {
        self.looks_at_input
    }

    /// The keys of its input whose items it takes, which fails where they are null.
    pub(crate) fn items_of_input(&self) -> &[String] {
        &self.items_of_input
    }

    /// Runs it on this thread.
    ///
    /// # Errors
    /// See [`Failure`].
    pub(crate) fn run(&self, input: &Input, variables: &[Bytes], room: &Room<'_>) -> Result<Bytes, Failure> {
        match &self.form {
            Form::Path { variable, hops } => path::find(input, variable.and_then(|at| variables.get(at)), hops),
            Form::Program(program) => run::run(program, input, variables, room),
        }
    }

    /// Whether a run on a loop is worth trying: not where the last one took too long, for a while. Races only change how long.
    pub(crate) fn may_fit_a_loop(&self) -> bool {
        let left = self.elsewhere.load(Ordering::Relaxed);
        if left > 0 {
            self.elsewhere.store(left - 1, Ordering::Relaxed);
        }
        left == 0
    }

    /// Notes that a run took too long for a loop.
    pub(crate) fn did_not_fit_a_loop(&self) {
        self.elsewhere.store(RUNS_ELSEWHERE, Ordering::Relaxed);
    }

    /// Whether it needs the interpreter.
    pub(crate) fn is_program(&self) -> bool {
        matches!(self.form, Form::Program(_))
    }
}

impl PartialEq for Jq {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl fmt::Debug for Jq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Jq({:?})", self.text)
    }
}

#[cfg(test)]
mod tests;
