//! One process of a worker: started with nothing but what it was given, and never left behind.
//!
//! It leads a process group of its own, so that what it starts itself is ended with it and a Ctrl-C at the terminal does not reach it
//! before its time. Ending one means a signal to the group first and reaping it afterwards: as long as the leader is not reaped, the
//! number of the group cannot belong to anybody else.

use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command};

use crate::Deadline;

/// Where programs are looked for if the worker has no `PATH`; what a login without any setting has.
const USUAL_PATH: &str = "/usr/local/bin:/usr/bin:/bin";
/// A killed process is gone within milliseconds, unless it has much memory to give back or hangs in a driver.
const REAP_WAIT: Duration = Duration::from_secs(5);

/// What is started.
pub(super) struct Recipe {
    /// An absolute path.
    program: PathBuf,
    arguments: Vec<String>,
    /// The whole environment.
    environment: Vec<(String, String)>,
    /// The working directory.
    directory: PathBuf,
    /// Address space of each process, in bytes.
    memory: Option<u64>,
}

impl Recipe {
    /// Looks the program up. Nothing is started.
    pub(super) fn new(
        command: &[String],
        environment: Vec<(String, String)>,
        directory: Option<&Path>,
        memory: Option<u64>,
    ) -> Result<Self, String> {
        let [program, arguments @ ..] = command else {
            return Err("there is no command: expected a program and its arguments".to_owned());
        };
        let has_nul = |text: &String| text.contains('\0');
        if command.iter().any(has_nul) || environment.iter().any(|(name, value)| has_nul(name) || has_nul(value)) {
            return Err("a NUL cannot be in a command or an environment".to_owned());
        }
        if let Some((name, _)) = environment.iter().find(|(name, _)| name.is_empty() || name.contains('=')) {
            return Err(format!("`{name}` is no name of an environment variable"));
        }
        let directory =
            std::path::absolute(directory.unwrap_or(Path::new("."))).map_err(|error| format!("no working directory: {error}"))?;
        if !directory.is_dir() {
            return Err(format!("`{}` is no directory to work in", directory.display()));
        }
        let path = environment
            .iter()
            .find(|(name, _)| name == "PATH")
            .map_or(USUAL_PATH, |(_, path)| path);
        let program = find(program, path, &directory)?;
        Ok(Recipe {
            program,
            arguments: arguments.to_vec(),
            environment,
            directory,
            memory,
        })
    }

    /// Starts a process, for the runtime this is called in. Takes about a millisecond, during which the thread stands still: the
    /// system has to load the program. Rests between starts keep that rare.
    pub(super) fn start(&self) -> io::Result<(Process, Pipes)> {
        let mut child = Command::new(&self.program)
            .args(&self.arguments)
            .env_clear()
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .current_dir(&self.directory)
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let number = child
            .id()
            .and_then(|id| Pid::from_raw(id.cast_signed()))
            .ok_or(io::ErrorKind::NotFound)?;
        let pipes = child.stdin.take().zip(child.stdout.take()).zip(child.stderr.take());
        // From here on a drop ends it.
        let process = Process {
            child,
            number,
            is_reaped: false,
        };
        restrain(number, self.memory)?;
        let ((input, output), errors) = pipes.ok_or(io::ErrorKind::BrokenPipe)?;
        Ok((process, Pipes { input, output, errors }))
    }

    pub(super) fn program(&self) -> &Path {
        &self.program
    }
}

/// Our ends of a process's standard streams.
pub(super) struct Pipes {
    pub(super) input: ChildStdin,
    pub(super) output: ChildStdout,
    pub(super) errors: ChildStderr,
}

/// A process that runs, or whose end was not seen yet. Dropping it kills its group; the runtime reaps it.
pub(super) struct Process {
    child: Child,
    number: Pid,
    is_reaped: bool,
}

impl Process {
    /// Its number in the system.
    pub(super) fn number(&self) -> u32 {
        self.number.as_raw_pid().cast_unsigned()
    }

    /// Kills the group and waits until its leader is gone. None if that takes unusually long; it is reaped later then.
    pub(super) async fn kill(&mut self) -> Option<ExitStatus> {
        self.signal(Signal::KILL);
        self.reap(REAP_WAIT).await
    }

    /// Waits until the leader, whose input has been closed, ends by itself; reminds it by SIGTERM and at last kills the group. Each of
    /// the two waits takes this long at the most.
    pub(super) async fn stop(&mut self, patience: Duration) {
        let mut is_gone = self.reap(patience).await.is_some();
        if !is_gone {
            self.signal(Signal::TERM);
            is_gone = self.reap(patience).await.is_some();
        }
        if !is_gone {
            self.kill().await;
        }
    }

    /// Waits for the end of the leader, then ends what it left behind in its group. At once, so that its number, which the system
    /// gives out in turn, cannot have come round again.
    async fn reap(&mut self, limit: Duration) -> Option<ExitStatus> {
        if self.is_reaped {
            return None;
        }
        let status = Deadline::after(limit).bound(self.child.wait()).await.ok()?;
        self.signal(Signal::KILL);
        self.is_reaped = true;
        status.ok()
    }

    /// One that nobody is left to receive is no fault.
    fn signal(&self, signal: Signal) {
        if !self.is_reaped {
            let _nobody_left = kill_process_group(self.number, signal);
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.signal(Signal::KILL);
    }
}

/// Kills a process that has not been reaped, and its group.
pub(super) fn kill(number: u32) {
    if let Some(number) = Pid::from_raw(number.cast_signed()) {
        let _nobody_left = kill_process_group(number, Signal::KILL);
    }
}

/// How a process ended, as a fragment.
pub(super) fn describe(status: Option<ExitStatus>) -> String {
    use std::os::unix::process::ExitStatusExt;
    match status {
        Some(status) => match (status.code(), status.signal()) {
            (Some(code), _) => format!("exited with status {code}"),
            (None, Some(signal)) => format!("was ended by signal {signal}"),
            (None, None) => "ended".to_owned(),
        },
        None => "ended".to_owned(),
    }
}

/// A program without a slash is looked for in the directories of the path, another one from the working directory.
fn find(program: &str, path: &str, directory: &Path) -> Result<PathBuf, String> {
    let is_program = |file: &Path| {
        file.metadata()
            .is_ok_and(|about| about.is_file() && about.permissions().mode() & 0o111 != 0)
    };
    if program.contains('/') {
        let file = directory.join(program);
        return if is_program(&file) {
            Ok(file)
        } else {
            Err(format!("`{}` is no program", file.display()))
        };
    }
    let files = std::env::split_paths(path)
        .filter(|_| !program.is_empty())
        .map(|place| directory.join(place).join(program));
    files
        .into_iter()
        .find(|file| is_program(file))
        .ok_or_else(|| format!("no program `{program}` in {path}"))
}

/// Bounds what the process may take: memory as asked for, no core files, and the processor after everybody else.
///
/// It has been running for some microseconds by then, but nobody's job has come near it. What it starts inherits the bounds.
#[cfg(target_os = "linux")]
fn restrain(process: Pid, memory: Option<u64>) -> io::Result<()> {
    use rustix::process::{Resource, Rlimit, getpriority_process, prlimit, setpriority_process};
    /// As far below the loops as the threads that compute.
    const LEVELS_BELOW: i32 = 10;
    let at_most = |most: u64| Rlimit {
        current: Some(most),
        maximum: Some(most),
    };
    if let Some(memory) = memory {
        prlimit(Some(process), Resource::As, at_most(memory))?;
    }
    prlimit(Some(process), Resource::Core, at_most(0))?;
    if let Ok(own) = getpriority_process(None) {
        // If a sandbox forbids that, it works at the usual level.
        let _refused = setpriority_process(Some(process), own.saturating_add(LEVELS_BELOW).min(19));
    }
    Ok(())
}

#[cfg(not(target_os = "linux"))]
fn restrain(_process: Pid, _memory: Option<u64>) -> io::Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recipe(command: &[&str], environment: &[(&str, &str)], directory: Option<&str>) -> Result<Recipe, String> {
        let command: Vec<String> = command.iter().map(ToString::to_string).collect();
        let environment = environment
            .iter()
            .map(|(name, value)| (name.to_string(), value.to_string()))
            .collect();
        Recipe::new(&command, environment, directory.map(Path::new), None)
    }

    #[test]
    fn programs_are_found_in_the_workers_own_path() {
        let found = |command: &str, path: &[(&str, &str)]| recipe(&[command], path, None).map(|recipe| recipe.program);
        assert!(found("sh", &[]).unwrap().ends_with("bin/sh"));
        assert!(found("sh", &[("PATH", "/nowhere:/bin")]).unwrap().ends_with("bin/sh"));
        assert!(
            found("sh", &[("PATH", "/nowhere")])
                .unwrap_err()
                .contains("no program `sh` in /nowhere")
        );
        assert_eq!(recipe(&["./sh"], &[], Some("/bin")).unwrap().program, Path::new("/bin/./sh"));
        assert_eq!(found("/bin/sh", &[("PATH", "/nowhere")]).unwrap(), Path::new("/bin/sh"));
    }

    #[test]
    fn what_cannot_be_started_is_said_before_anybody_asks() {
        for (command, environment, directory, why) in [
            (&[][..], &[][..], None, "no command"),
            (&[""], &[], None, "no program"),
            (&["/etc/passwd"], &[], None, "`/etc/passwd` is no program"),
            (&["sh", "a\0b"], &[], None, "NUL"),
            (&["sh"], &[("A=B", "1")], None, "`A=B` is no name"),
            (&["sh"], &[], Some("/etc/passwd"), "no directory"),
        ] {
            let fault = recipe(command, environment, directory).err().unwrap_or_default();
            assert!(fault.contains(why), "{command:?}: {fault}");
        }
    }
}
