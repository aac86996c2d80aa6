//! Exit codes, all of them, and the one error type that commands return: what went wrong and which code that is.

use std::fmt::Display;
use std::io;
use std::process::ExitCode;

/// How the process ends. Scripts rely on these numbers; `anabranch --help` lists them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(crate) enum Exit {
    /// It did what was asked.
    Ok = 0,
    /// It ran, and the result is bad: the reply of `try` is an error, `demo --once` was too slow.
    Failed = 1,
    /// The command line or a file has a fault. Nothing was started. clap uses the same number.
    Usage = 2,
    /// The machine refused: a file cannot be read, an address cannot be listened on, output cannot be written.
    Environment = 3,
    /// A limit of the whole run ended it early; `fetch` goes on from there when it is called again.
    Stopped = 4,
    /// Ctrl-C before the work was done: 128 + SIGINT, as shells report it.
    Interrupted = 130,
    /// Whoever read the records has gone: 128 + SIGPIPE.
    Closed = 141,
    /// SIGTERM before the work was done: 128 + SIGTERM.
    Terminated = 143,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(exit as u8)
    }
}

/// Why a command stopped early. `main` prints it after `error: ` and exits with its code.
#[derive(Debug)]
pub(crate) struct Failure {
    exit: Exit,
    error: Option<anyhow::Error>,
}

impl Failure {
    /// The command line or a file has a fault.
    pub(crate) fn usage(error: impl Into<anyhow::Error>) -> Failure {
        Failure {
            exit: Exit::Usage,
            error: Some(error.into()),
        }
    }

    /// The machine refused.
    pub(crate) fn environment(error: impl Into<anyhow::Error>) -> Failure {
        Failure {
            exit: Exit::Environment,
            error: Some(error.into()),
        }
    }

    /// An address cannot be listened on: `what` is the address, or more. Who has a port is what everybody looks for then.
    pub(crate) fn listening(what: &str, error: io::Error) -> Failure {
        let why = match error.kind() {
            io::ErrorKind::AddrInUse => "another process listens there".to_string(),
            io::ErrorKind::AddrNotAvailable => "it is no address of this machine".to_string(),
            io::ErrorKind::PermissionDenied => format!("only root may listen there ({error})"),
            _ => error.to_string(),
        };
        Failure::environment(anyhow::anyhow!("cannot listen on {what}: {why}"))
    }

    /// It ran and failed.
    pub(crate) fn failed(error: impl Into<anyhow::Error>) -> Failure {
        Failure {
            exit: Exit::Failed,
            error: Some(error.into()),
        }
    }

    /// Standard output refused data. A closed pipe is a normal end (`anabranch try ... | head -1`).
    pub(crate) fn output(error: io::Error) -> Failure {
        if error.kind() == io::ErrorKind::BrokenPipe {
            return Failure {
                exit: Exit::Ok,
                error: None,
            };
        }
        Failure::environment(anyhow::Error::new(error).context("writing to standard output"))
    }

    /// What `main` exits with.
    pub(crate) fn exit(&self) -> Exit {
        self.exit
    }

    /// What `main` prints; None ends quietly.
    pub(crate) fn message(&self) -> Option<impl Display> {
        self.error.as_ref().map(|error| format!("{error:#}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_closed_pipe_is_a_normal_end_and_a_full_disk_is_not() {
        let closed = Failure::output(io::Error::from(io::ErrorKind::BrokenPipe));
        assert_eq!(closed.exit(), Exit::Ok);
        assert!(closed.message().is_none());
        let full = Failure::output(io::Error::from(io::ErrorKind::StorageFull));
        assert_eq!(full.exit(), Exit::Environment);
        assert!(full.message().is_some());
    }

    #[test]
    fn the_worst_of_several_files_decides() {
        assert_eq!(
            [Exit::Ok, Exit::Environment, Exit::Usage].into_iter().max(),
            Some(Exit::Environment)
        );
    }
}
