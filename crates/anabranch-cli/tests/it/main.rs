//! The binary as a person or a script meets it: arguments in, exit code, stdout and stderr out.

mod support;
mod check;
mod mock;
mod try_;
mod demo;
mod command_line;
