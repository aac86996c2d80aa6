//! Reshaping of answers and replies: keys picked, dropped and renamed in the bytes (`keys`), and jq.

mod keys;
pub(crate) mod jq;
mod work;

pub(crate) use keys::KeyEdit;
pub(crate) use work::{Judging, Reshaping, judge};
