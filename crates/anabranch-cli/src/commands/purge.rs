//! `anabranch purge`: asks a gateway that runs, over the unix socket of its config, to drop kept answers.

use crate::cli::PurgeArgs;
use crate::config_file;
use crate::exit::{Exit, Failure};
use crate::terminal::Terminal;

/// Asks, and prints how many were dropped.
pub(crate) fn run(args: &PurgeArgs, terminal: &Terminal) -> Result<Exit, Failure> {
    let plan = match config_file::load(&args.file, terminal)?.or_exit() {
        Ok(plan) => plan,
        Err(exit) => return Ok(exit),
    };
    let Some(socket) = plan.admin else {
        let file = args.file.display();
        return Err(Failure::usage(anyhow::anyhow!(
            "`{file}` has no `admin`: expected `admin: unix:/run/anabranch.sock` at the top of it"
        )));
    };
    ask(args, &socket)
}

#[cfg(unix)]
fn ask(args: &PurgeArgs, socket: &std::path::Path) -> Result<Exit, Failure> {
    use std::io::{ErrorKind, Write};

    let place = socket.display();
    let reply = exchange(socket, &target(args)).map_err(|error| {
        Failure::environment(match error.kind() {
            ErrorKind::NotFound | ErrorKind::ConnectionRefused => {
                anyhow::anyhow!("no gateway listens at `{place}`: none runs with this `admin`")
            }
            _ => anyhow::Error::new(error).context(format!("asking the gateway at `{place}`")),
        })
    })?;
    let (head, body) = reply.split_once("\r\n\r\n").unwrap_or((&reply, ""));
    let body = body.trim();
    if head.starts_with("HTTP/1.1 200 ") {
        writeln!(std::io::stdout(), "{body}").map_err(Failure::output)?;
        return Ok(Exit::Ok);
    }
    if head.starts_with("HTTP/1.1 400 ") {
        return Err(Failure::usage(anyhow::anyhow!("{body}")));
    }
    let status = head.lines().next().unwrap_or("nothing");
    Err(Failure::failed(anyhow::anyhow!("the gateway answered `{status}`: {body}")))
}

#[cfg(not(unix))]
fn ask(_args: &PurgeArgs, _socket: &std::path::Path) -> Result<Exit, Failure> {
    Err(Failure::environment(anyhow::anyhow!("this system has no unix sockets")))
}

#[cfg(unix)]
fn exchange(socket: &std::path::Path, target: &str) -> std::io::Result<String> {
    use std::io::{Read, Write};
    use std::os::unix::net::UnixStream;
    use std::time::Duration;

    /// The gateway answers within as long, or closes.
    const LIMIT: Duration = Duration::from_secs(5);
    /// More than any of its answers.
    const REPLY_MAX: u64 = 64 << 10;

    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(LIMIT))?;
    stream.set_write_timeout(Some(LIMIT))?;
    stream.write_all(format!("POST {target} HTTP/1.1\r\nhost: admin\r\ncontent-length: 0\r\n\r\n").as_bytes())?;
    let mut reply = String::new();
    stream.take(REPLY_MAX).read_to_string(&mut reply)?;
    Ok(reply)
}

#[cfg(unix)]
fn target(args: &PurgeArgs) -> String {
    let pairs = [("source", &args.source), ("route", &args.route), ("call", &args.call)];
    let named = pairs.iter().filter_map(|(name, value)| Some((name, value.as_ref()?)));
    let pairs: Vec<String> = named
        .map(|(name, value)| {
            let mut encoded = Vec::new();
            anabranch_gateway::render::percent::encode(&mut encoded, value);
            format!("{name}={}", String::from_utf8_lossy(&encoded))
        })
        .collect();
    match pairs.is_empty() {
        true => "/purge".to_string(),
        false => format!("/purge?{}", pairs.join("&")),
    }
}
