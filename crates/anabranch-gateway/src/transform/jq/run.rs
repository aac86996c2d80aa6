//! One evaluation: inputs in, exactly one output out, within limits.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use anabranch::{CallError, JobContext, Kind};
use bytes::Bytes;
use jaq_core::{Ctx, Vars};

use super::compile::Program;
use super::engine::{Data, Engine};
use super::meter::{self, Cut, Limits, Stopped};
use super::value::{self, Error, Key, Unwritable, Value};
use crate::json;

/// Real time of an evaluation on the compute pool; as long as a job may take there unless said.
const TIME_MAX: Duration = Duration::from_millis(250);
/// Steps of an evaluation on a loop that has others to serve: at about 100 ns each half a millisecond.
const LOOP_STEPS: u64 = 5_000;
/// Real time of one there, for steps that take longer.
const LOOP_TIME: Duration = Duration::from_millis(2);
/// Bytes of stack of an evaluation on a loop, of whose 2 MiB the loop itself needs some.
const LOOP_STACK: usize = 256 << 10;
/// The same on a thread of the compute pool, which has 8 MiB; as much again is left for what is dropped at the end.
const POOL_STACK: usize = 4 << 20;
/// The same for a pool without threads, where the caller's stack is all there is.
const INLINE_STACK: usize = 1 << 20;
/// Bytes that the values of any program may hold.
const MEMORY: usize = 32 << 20;
/// Beside that, so many bytes for each byte of the inputs: `[0,0,...]` takes eight as a tree.
const MEMORY_PER_BYTE: usize = 16;

/// What `.` is.
#[derive(Clone, Debug)]
pub(crate) enum Input {
    /// Null.
    Null,
    /// One validated document.
    Value(Bytes),
    /// The object of all parts, in order; None is null.
    Parts(Vec<(Arc<str>, Option<Bytes>)>),
}

impl Input {
    /// How many bytes it is.
    pub(crate) fn len(&self) -> usize {
        match self {
            Input::Null => 0,
            Input::Value(value) => value.len(),
            Input::Parts(parts) => parts.iter().map(|(_, value)| value.as_ref().map_or(4, Bytes::len)).sum(),
        }
    }

    /// As one document.
    pub(super) fn to_json(&self) -> Bytes {
        match self {
            Input::Null => Bytes::from_static(json::NULL),
            Input::Value(value) => value.clone(),
            Input::Parts(parts) => {
                let parts: Vec<(&str, Option<&[u8]>)> = parts.iter().map(|(name, value)| (&**name, value.as_deref())).collect();
                Bytes::from(crate::respond::splice::object(&parts, None))
            }
        }
    }

    fn read(&self) -> Value {
        match self {
            Input::Null => Value::NULL,
            Input::Value(document) => value::read(document),
            Input::Parts(parts) => {
                let part = |(name, document): &(Arc<str>, Option<Bytes>)| {
                    let value = document.as_ref().map_or(Value::NULL, |document| value::read(document));
                    (Key::of(name), value)
                };
                Value::object(parts.iter().map(part))
            }
        }
    }
}

/// Where an evaluation runs, and so what it may take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Room<'a> {
    place: Place<'a>,
    /// Bytes of the output.
    most: usize,
}

#[derive(Clone, Copy, Debug)]
enum Place<'a> {
    Loop,
    Pool { job: &'a JobContext, has_threads: bool },
    Elsewhere,
}

impl<'a> Room<'a> {
    /// On a loop that has others to serve: little.
    pub(crate) fn on_loop(most: usize) -> Self {
        Room { place: Place::Loop, most }
    }

    /// In a job of the compute pool.
    pub(crate) fn on_pool(job: &'a JobContext, has_threads: bool, most: usize) -> Self {
        Room {
            place: Place::Pool { job, has_threads },
            most,
        }
    }

    /// On a thread of whoever calls, of whose stack no more is known than that it is an ordinary one.
    pub(crate) fn elsewhere(most: usize) -> Self {
        Room {
            place: Place::Elsewhere,
            most,
        }
    }

    fn limits(&self, inputs: usize) -> Limits {
        let memory = MEMORY + MEMORY_PER_BYTE * inputs;
        match self.place {
            Place::Loop => Limits {
                steps: Some(LOOP_STEPS),
                time: LOOP_TIME,
                memory,
                stack: LOOP_STACK,
            },
            Place::Pool { has_threads, .. } => {
                let stack = if has_threads { POOL_STACK } else { INLINE_STACK };
                Limits {
                    steps: None,
                    time: TIME_MAX,
                    memory,
                    stack,
                }
            }
            Place::Elsewhere => Limits {
                steps: None,
                time: TIME_MAX,
                memory,
                stack: INLINE_STACK,
            },
        }
    }

    fn job(&self) -> Option<&'a JobContext> {
        match self.place {
            Place::Loop | Place::Elsewhere => None,
            Place::Pool { job, .. } => Some(job),
        }
    }
}

/// Why an evaluation gave no value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// It is more than a loop has time or stack for; nothing is wrong with it yet.
    NotHere,
    /// The program failed, or gave no output or several; the message may show values.
    Program(String),
    /// The limit of time.
    TooSlow(String),
    /// A limit of size: of the output, of the values, of recursion.
    TooLarge(String),
    /// The interpreter panicked.
    Broken(String),
}

impl Failure {
    /// The same as the failure of a call.
    pub(crate) fn into_error(self) -> CallError {
        let kind = match &self {
            Failure::NotHere | Failure::TooSlow(_) => Kind::Timeout,
            Failure::Program(_) => Kind::Value,
            Failure::TooLarge(_) => Kind::TooLarge,
            Failure::Broken(_) => Kind::Panic,
        };
        CallError::new(kind, self.to_string())
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::NotHere => f.write_str("the jq program takes longer than a loop can wait"),
            Failure::Program(message) => write!(f, "the jq program failed: {message}"),
            Failure::TooSlow(why) | Failure::TooLarge(why) => write!(f, "the jq program was cut: {why}"),
            Failure::Broken(message) => write!(f, "the jq interpreter panicked: {message}"),
        }
    }
}

/// Runs a program; `variables` are validated documents in the order of the program's.
pub(super) fn run(program: &Program, input: &Input, variables: &[Bytes], room: &Room<'_>) -> Result<Bytes, Failure> {
    let inputs = input.len() + variables.iter().map(Bytes::len).sum::<usize>();
    let ended = meter::within(&room.limits(inputs), || {
        let variables = Vars::new(variables.iter().map(|document| value::read(document)));
        let data = Data {
            terms: &program.filter.lut,
            job: room.job(),
        };
        let context = Ctx::<Engine>::new(data, variables);
        let outputs = program.filter.id.run((context, input.read()));
        let value = only(outputs)?;
        value::write(&value, room.most).map_err(|unwritable| match unwritable {
            Unwritable::TooLong => Failure::TooLarge(format!("its output is longer than {} bytes", room.most)),
            Unwritable::TooDeep => Failure::Program("its output is nested deeper than 64 levels".to_owned()),
        })
    });
    match ended {
        Ok(Ok(output)) => Ok(Bytes::from(output)),
        Ok(Err(failure)) => Err(failure),
        Err(Stopped::Cut(Cut::Steps)) => Err(Failure::NotHere),
        Err(Stopped::Cut(Cut::Recursion | Cut::Time)) if matches!(room.place, Place::Loop) => Err(Failure::NotHere),
        Err(Stopped::Cut(cut @ (Cut::Time | Cut::Unwanted))) => Err(Failure::TooSlow(cut.to_string())),
        Err(Stopped::Cut(cut)) => Err(Failure::TooLarge(cut.to_string())),
        Err(Stopped::Panicked(message)) => Err(Failure::Broken(message)),
    }
}

/// The one output.
fn only(mut outputs: jaq_core::ValXs<'_, Value>) -> Result<Value, Failure> {
    let mut next = || {
        outputs
            .next()
            .map(|output| output.map_err(|error| Failure::Program(message(error.get_err()))))
    };
    let value = next().ok_or_else(|| Failure::Program("it gave no output, and exactly one is needed".to_owned()))??;
    match next() {
        None => Ok(value),
        Some(Ok(_)) => Err(Failure::Program(
            "it gave several outputs, and exactly one is needed; `[...]` makes a list of them".to_owned(),
        )),
        Some(Err(failure)) => Err(failure),
    }
}

fn message(error: Result<Error, jaq_core::Exn<'_, Value>>) -> String {
    // The other way out, `halt`, is not known to programs.
    error.map_or_else(|_| "it broke off".to_owned(), |error| error.to_string())
}
