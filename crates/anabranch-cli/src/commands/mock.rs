//! `mock`: the upstreams of a file, until Ctrl-C.

use anabranch_gateway::spec::mocks::{self, Mock};
use anabranch_testkit::TcpUpstream;

use super::runtime;
use crate::cli::MockArgs;
use crate::config_file;
use crate::exit::{Exit, Failure};
use crate::signals::Signals;
use crate::terminal::{self, Terminal};

/// Starts all of them, says where they listen, and waits.
pub(crate) fn run(args: &MockArgs, terminal: &Terminal) -> Result<Exit, Failure> {
    let text = config_file::read(&args.file)?;
    let file = match mocks::parse(&args.file.display().to_string(), &text) {
        Ok(file) => file,
        Err(faults) => return Ok(config_file::print_faults(&faults, terminal)),
    };
    runtime()?.block_on(serve(file.upstreams, terminal))
}

async fn serve(mocks: Vec<Mock>, terminal: &Terminal) -> Result<Exit, Failure> {
    let mut signals = Signals::install().map_err(Failure::environment)?;
    let mut started = Vec::with_capacity(mocks.len());
    for mock in mocks {
        started.push(start(mock).await?);
    }
    let lines: String = started
        .iter()
        .map(|(name, upstream)| format!("{name} {}\n", upstream.url()))
        .collect();
    terminal::data(lines.as_bytes())?;
    terminal.say("Ctrl-C ends");
    signals.next().await;
    Ok(Exit::Ok)
}

/// Serves one upstream on its address.
///
/// # Errors
/// The address is taken or not of this machine.
pub(crate) async fn start(mock: Mock) -> Result<(String, TcpUpstream), Failure> {
    let name = mock.script.name.clone();
    let upstream = TcpUpstream::start(mock.script, &mock.listen).await;
    let upstream = upstream.map_err(|error| Failure::listening(&format!("`{}` for `{name}`", mock.listen), error))?;
    Ok((name, upstream))
}
