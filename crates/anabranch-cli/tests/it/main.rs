//! The binary as a person or a script meets it: arguments in, exit code, stdout and stderr out.

#![allow(clippy::unwrap_used, reason = "a test fails where it stands")]

mod support;
mod check;
mod plan;
#[cfg(target_os = "linux")]
mod programs;
mod mock;
mod try_;
mod demo;
mod serve;
#[cfg(unix)]
mod purge;
mod fetch;
mod command_line;
