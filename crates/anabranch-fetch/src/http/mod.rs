//! One attempt at a job over HTTP: what is sent, whereto, what limits hold, and what the answer means.

pub(crate) mod origins;
pub(crate) mod headers;
pub(crate) mod redirect;
pub(crate) mod cookies;
pub(crate) mod netrc;
pub(crate) mod hints;
pub(crate) mod failure;
pub(crate) mod origin;
