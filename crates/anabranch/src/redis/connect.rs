//! From an address to a connection that has logged in.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::address::{Address, BadRedis, Place};
use super::command::{self, Command};
use super::fault;
use super::reply::{Binary, Decoder, ReplyLimits};
use super::tls::{Tls, Trust};
use crate::client::{Dial, DialLimits, Stream, TlsSettings};
use crate::{CallError, Deadline, Kind, Phase};

/// The answer to a login is a short map.
const LOGIN_LIMITS: ReplyLimits = ReplyLimits {
    max_body: 64 << 10,
    binary: Binary::Base64,
    with_ends: false,
};
/// The name under which a server lists our connections (`CLIENT LIST`).
const CLIENT_NAME: &str = "anabranch";

/// How long opening a connection may take.
#[derive(Clone, Copy, Debug)]
pub(super) struct ConnectLimits {
    pub(super) dns: Duration,
    /// Connection, TLS and login together.
    pub(super) connect: Duration,
}

/// Opens connections to the servers of a source.
pub(super) struct Connector {
    trust: Option<Trust>,
    dial: Arc<dyn Dial>,
    limits: ConnectLimits,
    login: Login,
}

/// One of the servers.
pub(super) struct Server {
    connector: Arc<Connector>,
    place: Place,
    tls: Option<Tls>,
}

/// What is sent first, and how many answers it has.
struct Login {
    frame: Bytes,
    answers: usize,
}

/// A connection that has logged in.
pub(super) struct Opened {
    pub(super) stream: Stream,
    /// What came behind the login's answers.
    pub(super) incoming: BytesMut,
}

impl Connector {
    pub(super) fn new(address: &Address, settings: &TlsSettings, dial: Arc<dyn Dial>, limits: ConnectLimits) -> Result<Self, BadRedis> {
        let trust = if address.is_encrypted {
            Some(Trust::new(settings).map_err(BadRedis)?)
        } else {
            None
        };
        Ok(Connector {
            trust,
            dial,
            limits,
            login: Login::new(address),
        })
    }

    pub(super) fn is_encrypted(&self) -> bool {
        self.trust.is_some()
    }
}

impl Server {
    pub(super) fn new(connector: &Arc<Connector>, place: Place) -> Result<Self, BadRedis> {
        let tls = match (&place, &connector.trust) {
            (Place::Tcp { host, .. }, Some(trust)) => Some(trust.host(host).map_err(BadRedis)?),
            _ => None,
        };
        Ok(Server {
            connector: connector.clone(),
            place,
            tls,
        })
    }

    pub(super) fn place(&self) -> &Place {
        &self.place
    }

    /// Opens a connection. Ends by its own limits.
    pub(super) async fn open(&self) -> Result<Opened, CallError> {
        // A dial keeps its limits; one that does not must not hold those who wait.
        let at_most = self.connector.limits.dns + self.connector.limits.connect;
        let late = |_elapsed| CallError::new(Kind::Connect, format!("no connection within {at_most:?}")).in_phase(Phase::Connect);
        let (stream, took) = Deadline::after(at_most).bound(self.stream()).await.map_err(late)??;
        let rest = Deadline::after(self.connector.limits.connect.saturating_sub(took));
        let late = |_elapsed| CallError::new(Kind::Connect, "the login did not end within the connect timeout").in_phase(Phase::Connect);
        rest.bound(self.greet(stream)).await.map_err(late)?
    }

    async fn stream(&self) -> Result<(Stream, Duration), CallError> {
        match &self.place {
            Place::Tcp { host, port } => {
                let dialled = self
                    .connector
                    .dial
                    .dial(
                        host,
                        *port,
                        DialLimits::new(self.connector.limits.dns, self.connector.limits.connect),
                    )
                    .await?;
                Ok((dialled.stream, dialled.connect.unwrap_or_default()))
            }
            Place::Unix(path) => Ok((unix(path).await?, Duration::ZERO)),
        }
    }

    async fn greet(&self, stream: Stream) -> Result<Opened, CallError> {
        let mut stream = match &self.tls {
            Some(tls) => tls.connect(stream).await?,
            None => stream,
        };
        let login = &self.connector.login;
        let mut incoming = BytesMut::new();
        let mut decoder = Decoder::new(fault::login);
        exchange(&mut stream, &mut incoming, &mut decoder, &login.frame, login.answers, LOGIN_LIMITS).await?;
        Ok(Opened { stream, incoming })
    }

    /// Asks one thing over a connection of its own. The caller bounds it.
    pub(super) async fn ask_once(&self, words: &[&str], limits: ReplyLimits) -> Result<Vec<u8>, CallError> {
        let mut opened = self.open().await?;
        let command = Command::unchecked(words);
        let mut decoder = Decoder::new(fault::answer);
        exchange(&mut opened.stream, &mut opened.incoming, &mut decoder, &command.frame, 1, limits).await
    }
}

/// Writes, and reads so many answers; the last one.
async fn exchange(
    stream: &mut Stream,
    incoming: &mut BytesMut,
    decoder: &mut Decoder,
    frame: &[u8],
    answers: usize,
    limits: ReplyLimits,
) -> Result<Vec<u8>, CallError> {
    stream.write_all(frame).await.map_err(lost)?;
    stream.flush().await.map_err(lost)?;
    let mut missing = answers;
    loop {
        match decoder
            .read(incoming, Some(limits))
            .map_err(|error| error.in_phase(Phase::Connect))?
        {
            Some(Ok(answer)) if missing == 1 => return Ok(answer.json),
            Some(Ok(_answer)) => missing -= 1,
            Some(Err(error)) => return Err(error),
            None if stream.read_buf(incoming).await.map_err(lost)? == 0 => return Err(lost(io::ErrorKind::UnexpectedEof.into())),
            None => {}
        }
    }
}

impl Login {
    /// `HELLO 3` says who we are and asks for RESP3 (Redis 6); `SELECT` where the database is not the first.
    fn new(address: &Address) -> Login {
        let mut hello = vec!["HELLO", "3"];
        if let Some(password) = &address.password {
            hello.extend(["AUTH", address.user.as_deref().unwrap_or("default"), password]);
        }
        hello.extend(["SETNAME", CLIENT_NAME]);
        let database = address.database.to_string();
        let mut frame = BytesMut::new();
        let mut answers = 0;
        let select: &[&str] = if address.database == 0 { &[] } else { &["SELECT", &database] };
        for words in [hello.as_slice(), select].into_iter().filter(|words| !words.is_empty()) {
            command::write_head(&mut frame, words.len());
            command::write_words(&mut frame, words);
            answers += 1;
        }
        Login {
            frame: frame.freeze(),
            answers,
        }
    }
}

fn lost(error: io::Error) -> CallError {
    let is_tls = error.get_ref().is_some_and(|cause| cause.is::<rustls::Error>());
    let kind = if is_tls { Kind::Tls } else { Kind::Connect };
    CallError::new(kind, format!("the connection was lost during the login: {error}"))
        .in_phase(Phase::Connect)
        .caused_by(error)
}

#[cfg(unix)]
async fn unix(path: &std::path::Path) -> Result<Stream, CallError> {
    let stream = tokio::net::UnixStream::connect(path).await;
    let failed = |error: io::Error| {
        CallError::new(Kind::Connect, format!("no connection to `{}`: {error}", path.display())).in_phase(Phase::Connect)
    };
    Ok(Stream::Boxed(Box::new(stream.map_err(failed)?)))
}

#[cfg(not(unix))]
async fn unix(path: &std::path::Path) -> Result<Stream, CallError> {
    Err(CallError::new(
        Kind::Connect,
        format!("`{}` is a unix socket, which this system has not", path.display()),
    ))
}
