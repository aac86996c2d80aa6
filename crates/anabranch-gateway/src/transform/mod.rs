//! Reshaping of answers and replies.

pub(crate) mod jq;
