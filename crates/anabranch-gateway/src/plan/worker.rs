//! Sources with `run:`: what is started, and whether it can be.

use std::path::Path;

use super::model::{SourceKind, SourcePlan, WorkerPlan};
use super::place::fault;
use super::settings;
use crate::config::faults::Faults;
use crate::config::model::{SourceConfig, WorkerConfig};
use crate::source::GatewaySource;

/// What a file of code is called; an argument that is, and is not there, was meant to be another one.
const CODE: &[&str] = &["py", "js", "mjs", "cjs", "ts", "rb", "pl", "lua", "php", "sh", "jar", "R"];

/// Compiles a program.
pub(super) fn compile(worker: &WorkerConfig) -> WorkerPlan {
    let text = |(name, value): &(crate::config::Spanned<String>, crate::config::Spanned<String>)| (name.value.clone(), value.value.clone());
    WorkerPlan {
        command: worker.command.iter().map(|word| word.value.clone()).collect(),
        environment: worker.environment.iter().map(text).collect(),
        folder: worker.folder.clone(),
        count: worker.count.as_ref().map_or(settings::PROCESSES, |count| count.value) as usize,
        memory: worker.memory.as_ref().map(|memory| memory.value),
        start: worker.start.as_ref().map_or(settings::START, |limit| limit.value),
        recycle: u64::from(worker.recycle.as_ref().map_or(settings::RECYCLE, |jobs| jobs.value)),
    }
}

/// Asks the engine whether it could be started. Nothing is; and nothing is asked where there is no disk to look at, or where something
/// has been reported of this source already, which ends before the byte `end`.
pub(super) fn check(source: &SourceConfig, plan: &SourcePlan, end: usize, faults: &mut Faults) {
    let Some(worker) = &source.worker else { return };
    let is_sound = !faults.has_within(source.name.span.start..end);
    let (Some(program), true) = (worker.command.first(), is_sound) else {
        return;
    };
    if cfg!(not(unix)) {
        fault(faults, program, "programs are run on Unix only", "a source with `url:`");
        return;
    }
    if let (Some(memory), true) = (&worker.memory, cfg!(not(target_os = "linux"))) {
        fault(faults, memory, "memory can be limited on Linux only", "no `memory:`");
        return;
    }
    if worker.folder.is_some()
        && let Err(bad) = GatewaySource::build(plan)
    {
        let help = if program.value.contains('/') {
            "a file that may be executed; a relative path begins at the folder of this file"
        } else {
            "a program that is there, or its path; it is looked for in `PATH` of `env:`, else in /usr/local/bin, /usr/bin and /bin"
        };
        fault(faults, program, bad.to_string(), help);
    }
}

/// What probably ends each process at once: its code is not where the command says.
pub(super) fn warning(plan: &SourcePlan) -> Option<String> {
    let SourceKind::Run(worker) = &plan.kind else { return None };
    let folder = worker.folder.as_deref()?;
    let missing = worker.command.iter().skip(1).find(|word| {
        let path = Path::new(word);
        let is_code = path.extension().is_some_and(|ending| CODE.iter().any(|code| ending == *code));
        is_code && !word.starts_with('-') && !folder.join(path).exists()
    })?;
    Some(format!("source `{}`: there is no `{}`", plan.name, folder.join(missing).display()))
}
