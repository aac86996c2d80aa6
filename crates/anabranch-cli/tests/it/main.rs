//! The binary as a person or a script meets it: arguments in, exit code, stdout and stderr out.

#![allow(clippy::unwrap_used, reason = "a test fails where it stands")]

mod support;
mod check;
mod plan;
mod mock;
mod try_;
mod demo;
mod serve;
mod command_line;
