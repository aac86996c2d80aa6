//! Scripted upstreams as a client sees them: over memory with the clock held still, over loopback, over HTTP/2.
//!
//! Replies are read byte by byte by the helpers here where the bytes matter, and by hyper where another opinion does.

#![expect(clippy::disallowed_methods, reason = "tests give up after a while and look at the real clock")]
#![expect(clippy::unwrap_used, reason = "tests")]

mod rules;
mod faults;
mod connections;
mod memory;
mod tcp;
mod http2;

use anabranch_testkit::{MemoryNetwork, Reply, Served, Upstream};
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::{body::Incoming, client::conn::http1};
use hyper_util::rt::TokioIo;
use std::{io, sync::Arc};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream},
    task::JoinSet,
};

/// A network with one host, `x:80`, whose only rule is given.
fn host(reply: Reply) -> (MemoryNetwork, Arc<Served>) {
    let network = MemoryNetwork::new();
    let served = network.host("x:80", Upstream::new("x").reply(reply));
    (network, served)
}

/// Connects to `x:80` and sends these bytes.
async fn sent(network: &MemoryNetwork, bytes: &str) -> DuplexStream {
    let mut stream = network.connect("x", 80).await.unwrap();
    stream.write_all(bytes.as_bytes()).await.unwrap();
    stream
}

/// Sends a GET that keeps the connection, and returns all that comes until the upstream closes it.
async fn until_closed(network: &MemoryNetwork, path: &str) -> String {
    let mut stream = sent(network, &get(path)).await;
    text(&mut stream).await
}

/// Returns what a rule answers to one GET, until the upstream closes the connection.
async fn raw(reply: Reply) -> String {
    until_closed(&host(reply).0, "/").await
}

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n")
}

async fn text(stream: &mut (impl AsyncReadExt + Unpin)) -> String {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).await.unwrap();
    String::from_utf8(bytes).unwrap()
}

/// Reads one reply with a `content-length` and leaves the connection open.
async fn one_reply(stream: &mut (impl AsyncReadExt + Unpin)) -> String {
    let mut reply = Vec::new();
    while !reply.ends_with(b"\r\n\r\n") {
        reply.push(stream.read_u8().await.unwrap());
    }
    let head = String::from_utf8(reply.clone()).unwrap();
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "))
        .unwrap()
        .parse()
        .unwrap();
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.unwrap();
    head + &String::from_utf8(body).unwrap()
}

fn body_of(reply: &str) -> &str {
    reply.split_once("\r\n\r\n").unwrap().1
}

/// A hyper client on one HTTP/1.1 connection, which lives as long as the client: keep it until the body has been read.
struct Client {
    sender: http1::SendRequest<Full<Bytes>>,
    _connection: JoinSet<()>,
}

impl Client {
    async fn on(network: &MemoryNetwork, name: &str) -> Self {
        let stream = network.connect(name, 80).await.unwrap();
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let _ = connection.await;
        });
        Self {
            sender,
            _connection: tasks,
        }
    }

    async fn send(&mut self, request: Request<Full<Bytes>>) -> hyper::Result<Response<Incoming>> {
        self.sender.ready().await?;
        self.sender.send_request(request).await
    }

    /// Sends a GET and reads the whole reply.
    async fn get(&mut self, path: &str) -> hyper::Result<(u16, Bytes)> {
        let request = Request::get(path).header("host", "x").body(Full::default()).unwrap();
        let response = self.send(request).await?;
        let status = response.status().as_u16();
        Ok((status, response.into_body().collect().await?.to_bytes()))
    }
}

fn is_refused<T>(result: io::Result<T>) -> bool {
    matches!(result, Err(error) if error.kind() == io::ErrorKind::ConnectionRefused)
}
