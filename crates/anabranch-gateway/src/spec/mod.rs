//! Behaviour as data: a Markdown file says what the sources answer, what is asked, and what comes back. It is a page of the
//! documentation, a test, and a bug report that can be run.
//!
//! A file begins with `# Title` and a paragraph that says what the reader should learn. Then come sections, each with one fenced block:
//!
//! | section | its block |
//! |---|---|
//! | `## Config` | the config of the gateway, YAML |
//! | `## Environment` | what `$env.NAME` finds, `NAME=value` line by line |
//! | `## Sources` | what the sources answer, YAML in the form of a [mock file](mocks)'s `upstreams:`; a key is the name of a source of the config, for all its endpoints, or `host:port` for one of them; a source that is not there refuses connections; one with `run` is sent each job by `POST /` |
//! | `## Network` | what connecting does, `host:port: 500ms`, `never` or `refused` line by line |
//! | `## Request` | `GET /feed/7?x=1`, headers, an empty line, the body; `## Request after 61s` is sent so long after the reply before it |
//! | `## Reply` | status, headers, an empty line, the body: what the request above must get |
//! | `## Took` | the time that it must take: `120 ms` |
//! | `## Asked` | what the sources were asked since the last such section, by source, then by time: `shop GET /x?y=1`, then the body if there was one |
//! | `## Faults` | in place of requests: what is wrong with the config, as `anabranch check` shows it |
//!
//! Requests follow each other on one gateway. `## Reply` leaves out `date`, `vary`, `content-length` and `content-type: application/json`
//! and `## Asked` leaves out all headers, unless they are named: `## Asked with headers: authorization, x-request-id`. Random ids in a
//! `traceparent` are numbered: `00-{trace 1}-{span 2}-00`. A request that its caller dropped ends with ` (cancelled)`. In every block but
//! the network's and the environment's `{{ "x" * 2000 }}` stands for so many repeats, so that a large body needs no large file.
//!
//! A run needs a current-thread runtime with a paused clock, which its caller makes: gateway, network and sources live in it, time is
//! virtual, and every duration is exact.

pub mod mocks;
mod document;
mod file;
mod request;
mod repeat;
mod dial;
mod run;
mod shown;
mod compare;
mod diff;
#[cfg(test)]
mod tests;

pub use compare::Mismatch;
pub use dial::MemoryDial;
pub use file::{BadSpec, Spec};
pub use run::Ran;
