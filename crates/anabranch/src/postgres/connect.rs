//! From a URL to a session, and the side connection that asks the server to stop one.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{Either, select};
use std::pin::pin;
use tokio::io::AsyncReadExt;
use tokio::time::Instant;
use tokio_postgres::config::{Host as ConfigHost, SslMode, TargetSessionAttrs};
use tokio_postgres::tls::NoTls;
use tokio_postgres::{CancelToken, Client, Config, Connection, SimpleQueryMessage};

use super::fault;
use super::tls::{self, Encrypted, Tls};
use super::wire::{Meter, Wire};
use crate::client::{Dial, DialLimits, Stream, TlsSettings, Timings};
use crate::{CallError, Deadline, Kind, Phase};

/// Where unix sockets are, below their folder: `.s.PGSQL.5432`.
const SOCKET_NAME: &str = ".s.PGSQL.";
const DEFAULT_PORT: u16 = 5432;

/// A URL that no database can have. Its text never contains the password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadDatabase(String);

impl fmt::Display for BadDatabase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for BadDatabase {}

/// Opens sessions: the hosts of a URL, tried in order.
pub(super) struct Connector {
    hosts: Vec<Host>,
    dial: Arc<dyn Dial>,
    limits: ConnectLimits,
    /// `target_session_attrs`: pass over servers that only read, or that write.
    wants: Option<Wants>,
}

/// How long opening a session may take.
#[derive(Clone, Copy, Debug)]
pub(super) struct ConnectLimits {
    pub(super) dns: Duration,
    /// Connection, TLS and login together.
    pub(super) connect: Duration,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Wants {
    ReadWrite,
    ReadOnly,
}

struct Host {
    address: Address,
    config: Config,
    tls: Option<Tls>,
}

enum Address {
    Tcp { host: String, port: u16 },
    Unix(PathBuf),
}

/// The connection's own future, plain or in TLS: it does the reading and writing.
pub(super) enum Link {
    Plain(Box<Connection<Wire, tokio_postgres::tls::NoTlsStream>>),
    Tls(Box<Connection<Wire, Encrypted<Wire>>>),
}

/// A session that was opened.
pub(super) struct Opened {
    pub(super) client: Client,
    pub(super) link: Link,
    pub(super) meter: Arc<Meter>,
    /// Which host it is with.
    pub(super) host: usize,
    pub(super) timings: Timings,
}

impl Connector {
    pub(super) fn new(url: &str, settings: &TlsSettings, dial: Arc<dyn Dial>, limits: ConnectLimits) -> Result<Self, BadDatabase> {
        let config = parse(url)?;
        let limits = ConnectLimits {
            connect: config.get_connect_timeout().copied().unwrap_or(limits.connect),
            ..limits
        };
        let wants = match config.get_target_session_attrs() {
            TargetSessionAttrs::ReadWrite => Some(Wants::ReadWrite),
            TargetSessionAttrs::ReadOnly => Some(Wants::ReadOnly),
            _ => None,
        };
        Ok(Connector {
            hosts: hosts(&config, settings)?,
            dial,
            limits,
            wants,
        })
    }

    /// Opens a session with the first host that gives one. Each host has the limits anew.
    pub(super) async fn open(&self) -> Result<Opened, CallError> {
        let mut failure = None;
        for index in 0..self.hosts.len() {
            match self.open_host(index).await {
                Ok(opened) => return Ok(opened),
                Err(error) => failure = Some(error),
            }
        }
        Err(failure.expect("a URL without a host was refused"))
    }

    async fn open_host(&self, index: usize) -> Result<Opened, CallError> {
        let host = &self.hosts[index];
        let (stream, mut timings) = self.stream(host).await?;
        let deadline = Deadline::after(self.limits.connect.saturating_sub(timings.connect.unwrap_or_default()));
        let started = Instant::now();
        let meter = Meter::new();
        let login = async {
            let (client, mut link) = log_in(host, Wire::new(stream, meter.clone())).await.map_err(fault::not_connected)?;
            self.check_role(&client, &mut link).await?;
            Ok::<_, CallError>((client, link))
        };
        let late = |_elapsed| CallError::new(Kind::Connect, "the login did not end within the connect timeout").in_phase(Phase::Connect);
        let (client, link) = deadline.bound(login).await.map_err(late)??;
        timings.connect = Some(timings.connect.unwrap_or_default() + started.elapsed());
        Ok(Opened {
            client,
            link,
            meter,
            host: index,
            timings,
        })
    }

    async fn stream(&self, host: &Host) -> Result<(Stream, Timings), CallError> {
        let mut timings = Timings::default();
        let stream = match &host.address {
            Address::Tcp { host, port } => {
                let dialled = self
                    .dial
                    .dial(host, *port, DialLimits::new(self.limits.dns, self.limits.connect))
                    .await?;
                (timings.dns, timings.connect) = (dialled.dns, dialled.connect);
                dialled.stream
            }
            Address::Unix(path) => unix(path, self.limits.connect).await?,
        };
        Ok((stream, timings))
    }

    /// Asks the server whether it takes writes, where the URL says which kind is wanted.
    async fn check_role(&self, client: &Client, link: &mut Link) -> Result<(), CallError> {
        let Some(wants) = self.wants else { return Ok(()) };
        let question = pin!(client.simple_query("show transaction_read_only"));
        let rows = match select(question, pin!(link.run())).await {
            Either::Left((rows, _link)) => rows.map_err(fault::not_connected)?,
            Either::Right(_ended) => {
                return Err(CallError::new(Kind::Connect, "the connection ended during the login").in_phase(Phase::Connect));
            }
        };
        let is_read_only = rows
            .iter()
            .any(|row| matches!(row, SimpleQueryMessage::Row(row) if row.get(0) == Some("on")));
        let role = if is_read_only { Wants::ReadOnly } else { Wants::ReadWrite };
        if role == wants {
            return Ok(());
        }
        let only = if is_read_only { "only reads" } else { "takes writes" };
        Err(CallError::new(
            Kind::Connect,
            format!("the server {only}, which `target_session_attrs` does not want"),
        )
        .in_phase(Phase::Connect))
    }

    /// Asks the server to stop what a session does, over a connection of its own, and waits until the request was carried out.
    /// The caller bounds it. Whether there was anything to stop is not said.
    pub(super) async fn cancel(&self, host: usize, token: &CancelToken) -> Result<(), CallError> {
        let host = &self.hosts[host];
        let (stream, _) = self.stream(host).await?;
        let mut wire = Wire::new(stream, Meter::new());
        let sent = match &host.tls {
            Some(tls) => token.cancel_query_raw(&mut wire, tls.clone()).await,
            None => token.cancel_query_raw(&mut wire, NoTls).await,
        };
        sent.map_err(fault::not_connected)?;
        // The server closes the connection after it has told the session to stop. Before that, a session that seems free
        // could still have its next statement stopped.
        let mut rest = [0; 64];
        while matches!(wire.read(&mut rest).await, Ok(1..)) {}
        Ok(())
    }
}

impl Link {
    /// Reads and writes until the connection ends or its client is gone and has nothing under way.
    pub(super) async fn run(&mut self) -> Result<(), tokio_postgres::Error> {
        match self {
            Link::Plain(connection) => connection.await,
            Link::Tls(connection) => connection.await,
        }
    }
}

async fn log_in(host: &Host, wire: Wire) -> Result<(Client, Link), tokio_postgres::Error> {
    match &host.tls {
        Some(tls) => {
            let (client, connection) = host.config.connect_raw(wire, tls.clone()).await?;
            Ok((client, Link::Tls(Box::new(connection))))
        }
        None => {
            let (client, connection) = host.config.connect_raw(wire, NoTls).await?;
            Ok((client, Link::Plain(Box::new(connection))))
        }
    }
}

#[cfg(unix)]
async fn unix(path: &PathBuf, limit: Duration) -> Result<Stream, CallError> {
    let failed = |what: &dyn fmt::Display| {
        CallError::new(Kind::Connect, format!("no connection to `{}`: {what}", path.display())).in_phase(Phase::Connect)
    };
    match Deadline::after(limit).bound(tokio::net::UnixStream::connect(path)).await {
        Ok(Ok(stream)) => Ok(Stream::Boxed(Box::new(stream))),
        Ok(Err(error)) => Err(failed(&error)),
        Err(elapsed) => Err(failed(&elapsed)),
    }
}

#[cfg(not(unix))]
async fn unix(path: &PathBuf, _: Duration) -> Result<Stream, CallError> {
    Err(CallError::new(
        Kind::Connect,
        format!("`{}` is a unix socket, which this system has not", path.display()),
    ))
}

/// Reads a URL or a `key=value` text. `verify-full` is what `require` means here.
fn parse(url: &str) -> Result<Config, BadDatabase> {
    let url = url
        .replace("sslmode=verify-full", "sslmode=require")
        .replace("sslmode=verify-ca", "sslmode=require");
    let mut config = Config::from_str(&url).map_err(|error| {
        // Only a text that is known not to come out of the URL may be repeated: a password with a `?` in it would be.
        let cause = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
        let about = cause
            .strip_prefix("invalid value for option ")
            .map(|option| format!(": the value of {option} cannot be used"));
        let about = about.unwrap_or_default();
        BadDatabase(format!(
            "the database's URL cannot be read{about}, expected `postgres://user:password@host:5432/database`"
        ))
    })?;
    if config.get_application_name().is_none() {
        config.application_name("anabranch");
    }
    Ok(config)
}

fn hosts(config: &Config, settings: &TlsSettings) -> Result<Vec<Host>, BadDatabase> {
    let ports = config.get_ports();
    let port = |index: usize| ports.get(index).or(ports.first()).copied().unwrap_or(DEFAULT_PORT);
    let named = config.get_hosts();
    let literal = config.get_hostaddrs();
    if named.is_empty() && literal.is_empty() {
        return Err(BadDatabase(
            "the database's URL has no host, expected `postgres://user:password@host:5432/database`".to_owned(),
        ));
    }
    let is_encrypted = config.get_ssl_mode() != SslMode::Disable;
    let has_tcp = !literal.is_empty() || named.iter().any(|host| matches!(host, ConfigHost::Tcp(_)));
    // Reading the system's roots takes milliseconds: once for all hosts, and not for who needs none.
    let shared = if is_encrypted && has_tcp {
        Some(tls::config(settings).map_err(BadDatabase)?)
    } else {
        None
    };
    let mut hosts = Vec::new();
    for index in 0..named.len().max(literal.len()) {
        let mut config = config.clone();
        let address = literal.get(index).map(ToString::to_string);
        let (address, name) = match (named.get(index), address) {
            #[cfg(unix)]
            (Some(ConfigHost::Unix(folder)), None) => (Address::Unix(folder.join(format!("{SOCKET_NAME}{}", port(index)))), None),
            (Some(ConfigHost::Tcp(name)), address) => (
                Address::Tcp {
                    host: address.unwrap_or_else(|| name.clone()),
                    port: port(index),
                },
                Some(name.clone()),
            ),
            (_, Some(address)) => (
                Address::Tcp {
                    host: address.clone(),
                    port: port(index),
                },
                Some(address),
            ),
            _ => return Err(BadDatabase("the database's URL has a host that is none".to_owned())),
        };
        let name = settings.server_name.clone().or(name);
        let tls = match (&shared, &address, name) {
            (Some(shared), Address::Tcp { .. }, Some(name)) => Some(Tls::new(shared.clone(), &name).map_err(BadDatabase)?),
            _ => None,
        };
        if tls.is_none() {
            // The driver would ask a unix socket for TLS too.
            config.ssl_mode(SslMode::Disable);
        }
        hosts.push(Host { address, config, tls });
    }
    Ok(hosts)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(url: &str) -> Result<Vec<String>, String> {
        let config = parse(url).map_err(|error| error.to_string())?;
        let hosts = hosts(&config, &TlsSettings::default()).map_err(|error| error.to_string())?;
        let show = |host: &Host| {
            let tls = if host.tls.is_some() { "tls" } else { "plain" };
            match &host.address {
                Address::Tcp { host, port } => format!("{host} {port} {tls}"),
                Address::Unix(path) => format!("{} {tls}", path.display()),
            }
        };
        Ok(hosts.iter().map(show).collect())
    }

    #[test]
    fn hosts_are_taken_from_urls_and_from_pairs() {
        assert_eq!(read("postgres://u:p@a:1,b:2/d").unwrap(), ["a 1 tls", "b 2 tls"]);
        assert_eq!(read("postgres://u@a/d?sslmode=disable").unwrap(), ["a 5432 plain"]);
        assert_eq!(read("postgres://u@a/d?sslmode=verify-full").unwrap(), ["a 5432 tls"]);
        assert_eq!(
            read("host=/run/pg port=7 user=u sslmode=require").unwrap(),
            ["/run/pg/.s.PGSQL.7 plain"]
        );
        assert_eq!(read("host=db hostaddr=10.0.0.1 user=u").unwrap(), ["10.0.0.1 5432 tls"]);
    }

    #[test]
    fn what_cannot_be_read_is_said_without_the_password() {
        for url in [
            "postgres://u:secret@a:port/d",
            "postgres://u@a/d?secret=1",
            "postgres://u:secret@a/d?sslmode=maybe",
            "user=u password=secret",
            "host=a password='secret",
        ] {
            let error = read(url).unwrap_err();
            assert!(!error.contains("secret") && error.contains("database"), "{error}");
        }
        assert!(read("postgres://u@a/d?sslmode=maybe").unwrap_err().contains("sslmode"));
    }
}
