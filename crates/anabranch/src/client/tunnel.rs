//! A tunnel through a proxy: what is said before the stream belongs to the endpoint.

use std::io;
use std::net::IpAddr;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::proxy::{Proxy, ProxyKind};
use crate::{CallError, Kind, Phase};

/// A proxy's answer to CONNECT, with whatever it has to say.
const MAX_ANSWER: usize = 16 << 10;
/// RFC 1928 section 5: a name is told in one byte of length.
const MAX_NAME: usize = 255;

/// Where a tunnel leads.
pub(super) struct Target<'a> {
    pub(super) host: &'a str,
    /// What was looked up for it, if it was.
    pub(super) address: Option<IpAddr>,
    pub(super) port: u16,
}

/// Asks the proxy at the other end for a tunnel. Has no deadline of its own.
///
/// # Errors
/// [`Kind::Connect`]: the proxy refuses, is no proxy, or does not reach the target.
pub(super) async fn open(stream: &mut (impl AsyncRead + AsyncWrite + Unpin), proxy: &Proxy, target: Target<'_>) -> Result<(), CallError> {
    let opened = match proxy.kind() {
        ProxyKind::Http => connect(stream, proxy, target).await,
        ProxyKind::Socks | ProxyKind::SocksNames => socks(stream, proxy, target).await,
    };
    opened.map_err(|refused| {
        CallError::new(Kind::Connect, format!("no tunnel through the proxy {proxy}: {}", refused.0)).in_phase(Phase::Connect)
    })
}

/// Why there is no tunnel.
struct NoTunnel(String);

impl From<io::Error> for NoTunnel {
    fn from(error: io::Error) -> Self {
        NoTunnel(match error.kind() {
            io::ErrorKind::UnexpectedEof => "it closed the connection".to_string(),
            _ => error.to_string(),
        })
    }
}

fn no(what: &str) -> NoTunnel {
    NoTunnel(what.to_string())
}

async fn connect(stream: &mut (impl AsyncRead + AsyncWrite + Unpin), proxy: &Proxy, target: Target<'_>) -> Result<(), NoTunnel> {
    let host = match target.address {
        Some(IpAddr::V4(address)) => address.to_string(),
        Some(IpAddr::V6(address)) => format!("[{address}]"),
        None if target.host.contains(':') => format!("[{}]", target.host),
        None => target.host.to_string(),
    };
    let port = target.port;
    let mut asked = format!("CONNECT {host}:{port} HTTP/1.1\r\nhost: {host}:{port}\r\n");
    if let Some(authorization) = proxy.authorization() {
        asked.push_str(&format!("proxy-authorization: {authorization}\r\n"));
    }
    asked.push_str("\r\n");
    stream.write_all(asked.as_bytes()).await?;
    stream.flush().await?;
    // Byte by byte: what follows the head is the endpoint's.
    let mut head = Vec::with_capacity(256);
    while !head.ends_with(b"\r\n\r\n") {
        if head.len() >= MAX_ANSWER {
            return Err(no("its answer has more than 16 KiB"));
        }
        head.push(stream.read_u8().await?);
    }
    let mut headers = [httparse::EMPTY_HEADER; 64];
    let mut answer = httparse::Response::new(&mut headers);
    match (answer.parse(&head), answer.code) {
        (Ok(httparse::Status::Complete(_)), Some(200..300)) => Ok(()),
        (Ok(httparse::Status::Complete(_)), Some(407)) if proxy.login().is_some() => {
            Err(no("it does not accept the user and password (407)"))
        }
        (Ok(httparse::Status::Complete(_)), Some(407)) => Err(no("it wants a user and password (407)")),
        (Ok(httparse::Status::Complete(_)), Some(code)) => Err(NoTunnel(format!("it answered {code}"))),
        _ => Err(no("it does not speak HTTP")),
    }
}

const VERSION: u8 = 5;
const NO_LOGIN: u8 = 0;
const WITH_LOGIN: u8 = 2;
const NAME: u8 = 3;

async fn socks(stream: &mut (impl AsyncRead + AsyncWrite + Unpin), proxy: &Proxy, target: Target<'_>) -> Result<(), NoTunnel> {
    let methods: &[u8] = match proxy.login() {
        Some(_) => &[VERSION, 2, NO_LOGIN, WITH_LOGIN],
        None => &[VERSION, 1, NO_LOGIN],
    };
    stream.write_all(methods).await?;
    stream.flush().await?;
    match (stream.read_u8().await?, stream.read_u8().await?) {
        (VERSION, NO_LOGIN) => {}
        (VERSION, WITH_LOGIN) => log_in(stream, proxy).await?,
        (VERSION, _) if proxy.login().is_none() => return Err(no("it wants a user and password")),
        (VERSION, _) => return Err(no("it accepts none of our ways to log in")),
        _ => return Err(no("it does not speak SOCKS5")),
    }
    let mut asked = vec![VERSION, 1, 0];
    match target.address.or_else(|| target.host.parse().ok()) {
        Some(IpAddr::V4(address)) => {
            asked.push(1);
            asked.extend_from_slice(&address.octets());
        }
        Some(IpAddr::V6(address)) => {
            asked.push(4);
            asked.extend_from_slice(&address.octets());
        }
        None => {
            let length = u8::try_from(target.host.len().min(MAX_NAME + 1)).map_err(|_| no("the host's name is longer than 255 bytes"))?;
            asked.extend_from_slice(&[NAME, length]);
            asked.extend_from_slice(target.host.as_bytes());
        }
    }
    asked.extend_from_slice(&target.port.to_be_bytes());
    stream.write_all(&asked).await?;
    stream.flush().await?;
    let mut answer = [0; 4];
    stream.read_exact(&mut answer).await?;
    let [version, reply, _, kind] = answer;
    if version != VERSION {
        return Err(no("it does not speak SOCKS5"));
    }
    if reply != 0 {
        return Err(no(refusal(reply)));
    }
    // The address that it connects from, and its port; nobody needs them.
    let length = match kind {
        1 => 4,
        4 => 16,
        NAME => usize::from(stream.read_u8().await?),
        _ => return Err(no("it does not speak SOCKS5")),
    };
    let mut bound = [0; MAX_NAME + 2];
    stream.read_exact(&mut bound[..length + 2]).await?;
    Ok(())
}

/// RFC 1929.
async fn log_in(stream: &mut (impl AsyncRead + AsyncWrite + Unpin), proxy: &Proxy) -> Result<(), NoTunnel> {
    let Some(login) = proxy.login() else {
        return Err(no("it wants a user and password"));
    };
    let mut said = vec![1];
    for text in [&login.user, &login.password] {
        said.push(u8::try_from(text.len()).map_err(|_| no("the user or password is longer than 255 bytes"))?);
        said.extend_from_slice(text.as_bytes());
    }
    stream.write_all(&said).await?;
    stream.flush().await?;
    match (stream.read_u8().await?, stream.read_u8().await?) {
        (_, 0) => Ok(()),
        _ => Err(no("it does not accept the user and password")),
    }
}

/// RFC 1928 section 6.
fn refusal(reply: u8) -> &'static str {
    match reply {
        1 => "it failed",
        2 => "its rules do not allow it",
        3 => "the network is unreachable from it",
        4 => "the host is unreachable from it, or has no address",
        5 => "the host refused its connection",
        6 => "it gave up waiting",
        7 => "it does not open connections for others",
        8 => "it does not know this kind of address",
        _ => "it refused without saying why",
    }
}
