//! The form that the body of a request must have: a JSON Schema of draft 2020-12, compiled when the config is loaded.
//!
//! The rules are those of the `jsonschema` crate. What is ours is around them: faults with their places (`compile`, `walk`), limits of
//! time, memory and stack (`meter`, `metered`), and words that never hold what was sent (`misfit`).

mod compile;
mod walk;
mod meter;
mod metered;
mod tree;
mod misfit;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;

use anabranch::{Compute, Deadline, JobContext};
use bytes::Bytes;
use http::StatusCode;
use jsonschema::Validator;
use serde_json::Value;

use crate::respond::Problem;
use crate::respond::problem::Errors;
use meter::{Room, within};
use metered::{Metered, MeteredNode};
use misfit::Misfit;

pub(crate) use compile::compile;

/// Bytes of a body that is checked on the loop; read into a tree that takes about a third of a millisecond.
const BODY_ON_LOOP: usize = 64 << 10;
/// Misfits that are told of one body.
const MISFITS_TOLD: usize = 10;
/// Steps for finding all misfits rather than the first. About every fifth may put one down, of half a kilobyte: 5 MiB at the most.
const STEPS_FOR_ALL: u32 = 50_000;

/// A compiled schema. Immutable, shared by all cores.
pub struct Schema {
    validator: Validator<Metered>,
}

impl fmt::Debug for Schema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Schema")
    }
}

/// What became of a check.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Fits,
    /// The first of them, by place.
    Misfits(Vec<Misfit>),
    /// It is no tree: why.
    Unreadable(&'static str),
    /// It took more than the room allows.
    TooMuch,
}

impl Schema {
    /// Checks a body that is JSON already: on the loop where it is short, else on the compute pool, in the turn of `label`.
    ///
    /// # Errors
    /// A 400 that says where the body does not fit and by which rule, or that it takes too long to find out; a 503 when the pool is busy.
    pub(crate) async fn check(self: &Arc<Self>, body: &Bytes, compute: &Compute, label: &str, deadline: Deadline) -> Result<(), Problem> {
        if body.len() <= BODY_ON_LOOP {
            match self.judge(body, &Room::LOOP) {
                Verdict::TooMuch => {}
                verdict => return verdict.into_result(),
            }
        }
        let room = if compute.counts().threads > 0 { Room::POOL } else { Room::INLINE };
        let (schema, body) = (self.clone(), body.clone());
        let job = move |_: &JobContext| schema.judge(&body, &room);
        let verdict = compute.run(label, deadline, job).await.map_err(|_| {
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, "too much is being computed").retry_in(std::time::Duration::from_secs(1))
        })?;
        verdict.into_result()
    }

    fn judge(&self, body: &[u8], room: &Room) -> Verdict {
        let value = match tree::read(body) {
            Ok(value) => value,
            Err(why) => return Verdict::Unreadable(why),
        };
        match within(room, || self.validator.is_valid(MeteredNode(&value))) {
            Some(true) => Verdict::Fits,
            Some(false) => self.misfits(&value, room).map_or(Verdict::TooMuch, Verdict::Misfits),
            None => Verdict::TooMuch,
        }
    }

    /// All misfits, sorted and cut, or the first one where finding all takes too long; None where that does too.
    fn misfits(&self, value: &Value, room: &Room) -> Option<Vec<Misfit>> {
        let all = || {
            self.validator
                .iter_errors(MeteredNode(value))
                .map(|error| Misfit::of(&error))
                .collect()
        };
        let first = || self.validator.validate(MeteredNode(value)).err().iter().map(Misfit::of).collect();
        let short = Room {
            steps: room.steps.min(STEPS_FOR_ALL),
            ..*room
        };
        let mut misfits: Vec<Misfit> = within(&short, all).or_else(|| within(room, first))?;
        misfits.sort();
        misfits.dedup();
        misfits.truncate(MISFITS_TOLD);
        Some(misfits)
    }
}

impl Verdict {
    fn into_result(self) -> Result<(), Problem> {
        let refused = |detail: String| Err(Problem::new(StatusCode::BAD_REQUEST, detail));
        match self {
            Verdict::Fits => Ok(()),
            Verdict::Unreadable(why) => refused(format!("the body must {why}")),
            Verdict::TooMuch => refused("the body is too involved to be checked".to_owned()),
            Verdict::Misfits(misfits) => Err(Problem {
                errors: Some(Box::new(Errors(misfit::json(&misfits)))),
                ..Problem::new(StatusCode::BAD_REQUEST, "the body does not have the form that this route takes")
            }),
        }
    }
}
