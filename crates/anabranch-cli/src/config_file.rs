//! A file named on the command line: read it, compile it, say what is wrong with it.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use anabranch_gateway::{compile, Faults, Plan};

use crate::exit::{Exit, Failure};
use crate::lookup::ProcessLookup;
use crate::terminal::{Tag, Terminal};

/// The largest file read; a config of 1,000 routes has about 1 MB.
const FILE_MAX: u64 = 64 << 20;

/// What came of a config.
pub(crate) enum Loaded {
    /// It is sound.
    Sound(Plan),
    /// It has faults; they are on stderr. The command ends with [`Exit::Usage`].
    Faulty,
}

impl Loaded {
    /// The plan, or the exit code where faults end the command.
    pub(crate) fn or_exit(self) -> Result<Plan, Exit> {
        match self {
            Loaded::Sound(plan) => Ok(plan),
            Loaded::Faulty => Err(Exit::Usage),
        }
    }
}

/// Reads and compiles a config. Warnings and faults go to stderr.
///
/// # Errors
/// The file cannot be read.
pub(crate) fn load(path: &Path, terminal: &Terminal) -> Result<Loaded, Failure> {
    Ok(compile_text(path, &read(path)?, terminal))
}

/// The same of a text that was read already.
pub(crate) fn compile_text(path: &Path, text: &str, terminal: &Terminal) -> Loaded {
    let name = path.display().to_string();
    let lookup = ProcessLookup::new(path.parent().unwrap_or(Path::new("")));
    let compiled = compile(&name, text, &lookup);
    for warning in lookup.into_warnings() {
        terminal.tagged(Tag::Warning, format!("{name}: {warning}"));
    }
    match compiled {
        Ok(plan) => {
            for warning in &plan.warnings {
                terminal.tagged(Tag::Warning, format!("{name}: {warning}"));
            }
            Loaded::Sound(plan)
        }
        Err(faults) => {
            print_faults(&faults, terminal);
            Loaded::Faulty
        }
    }
}

/// Prints faults, all of them, and gives the exit code of a file with faults.
pub(crate) fn print_faults(faults: &Faults, terminal: &Terminal) -> Exit {
    terminal.say(faults.render(terminal.color).trim_end());
    Exit::Usage
}

/// Reads a text file; `-` is stdin.
///
/// # Errors
/// It is not there, may not be read, is no UTF-8, or is larger than 64 MiB.
pub(crate) fn read(path: &Path) -> Result<String, Failure> {
    read_text(path).map_err(|error| {
        // Bytes that are no text are the file's fault, not the machine's.
        let failure = if error.kind() == io::ErrorKind::InvalidData {
            Failure::usage
        } else {
            Failure::environment
        };
        failure(anyhow::Error::new(error).context(format!("reading `{}`", path.display())))
    })
}

fn read_text(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    let read = if path == Path::new("-") {
        io::stdin().lock().take(FILE_MAX + 1).read_to_string(&mut text)?
    } else {
        File::open(path)?.take(FILE_MAX + 1).read_to_string(&mut text)?
    };
    if read as u64 > FILE_MAX {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "larger than 64 MiB"));
    }
    Ok(text)
}
