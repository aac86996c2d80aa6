//! What is done to answers and replies that may take long: they are checked (`check`), their keys are picked, dropped and renamed in the
//! bytes (`keys`), and jq.

mod check;
mod keys;
pub(crate) mod jq;
mod work;

pub(crate) use check::check;
pub(crate) use keys::KeyEdit;
pub(crate) use work::{Judging, Reshaping, judge};
