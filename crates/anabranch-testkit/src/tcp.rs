//! Upstreams on real sockets: a server on loopback, and the two addresses at which nobody answers.

#![expect(
    clippy::disallowed_methods,
    reason = "the server's task is its own, and it sleeps when the system is out of sockets"
)]

use crate::{Counts, End, Seen, Served, Upstream, serve};
use std::{io, net::SocketAddr, sync::Arc, time::Duration};
use tokio::{
    net::{TcpListener, TcpSocket, TcpStream},
    sync::oneshot,
    task::{JoinHandle, JoinSet},
};

/// The most connections served at once; more wait in the listener's backlog.
const CONNECTIONS_MAX: usize = 16_384;

/// The pause after a failed accept, which mostly means that the process is out of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(10);

/// An upstream served on a TCP port. Dropping it closes the port and all connections; [`TcpUpstream::shutdown`] waits for that.
#[derive(Debug)]
pub struct TcpUpstream {
    served: Arc<Served>,
    address: SocketAddr,
    /// Told to stop; dropping it tells the same.
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<()>,
}

impl TcpUpstream {
    /// Serves an upstream on an address such as `127.0.0.1:0`, where port 0 picks a free one.
    ///
    /// Fails when the address cannot be parsed or bound.
    pub async fn start(upstream: Upstream, address: &str) -> io::Result<Self> {
        Self::start_served(Served::new(upstream), address).await
    }

    /// Serves an upstream that may be served elsewhere as well; counters and records are shared.
    pub async fn start_served(served: Arc<Served>, address: &str) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(accept(listener, served.clone(), stopped));
        Ok(Self {
            served,
            address,
            stop: Some(stop),
            task,
        })
    }

    /// Returns the address it listens on.
    pub fn addr(&self) -> SocketAddr {
        self.address
    }

    /// Returns the URL of it, such as `http://127.0.0.1:4711`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Returns what is served, to count, inspect or change it.
    pub fn served(&self) -> &Arc<Served> {
        &self.served
    }

    /// Returns the requests seen so far; see [`Served::seen`].
    pub fn seen(&self) -> Vec<Seen> {
        self.served.seen()
    }

    /// Returns the counters.
    pub fn counts(&self) -> Counts {
        self.served.counts()
    }

    /// Closes the port and all connections, pending replies included, and waits until they are closed.
    pub async fn shutdown(mut self) {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
        // The task cannot fail but by a panic, which the test's own output shows.
        let _ = (&mut self.task).await;
    }
}

impl Drop for TcpUpstream {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn accept(listener: TcpListener, served: Arc<Served>, mut stopped: oneshot::Receiver<()>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            _ = &mut stopped => break,
            Some(_) = connections.join_next() => {}
            accepted = listener.accept(), if connections.len() < CONNECTIONS_MAX => match accepted {
                Ok((stream, _)) => {
                    connections.spawn(serve_tcp(served.clone(), stream));
                }
                Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
            },
        }
    }
    drop(listener);
    connections.shutdown().await;
}

async fn serve_tcp(served: Arc<Served>, mut stream: TcpStream) {
    // Dripped bytes must leave one by one, and nothing may be unsent when a reset throws away what is.
    let _ = stream.set_nodelay(true);
    if serve(&served, &mut stream).await == End::Reset {
        let _ = stream.set_zero_linger();
    }
}

/// Finds a loopback address at which connections are refused: a port that was free a moment ago.
pub async fn closed_port() -> io::Result<SocketAddr> {
    TcpListener::bind("127.0.0.1:0").await?.local_addr()
}

/// An address at which connecting neither succeeds nor fails: a listener that accepts nothing, its backlog full, so that the system
/// drops further SYNs. It stays so until it is dropped.
#[derive(Debug)]
pub struct BlackHole {
    address: SocketAddr,
    _listener: TcpListener,
    /// The connections that fill the backlog.
    _fill: Vec<TcpStream>,
}

impl BlackHole {
    /// Opens a black hole on loopback; takes about 100 ms of real time, so the clock must not be paused.
    ///
    /// Fails when no port can be bound, or when the system goes on accepting.
    pub async fn start() -> io::Result<Self> {
        let socket = TcpSocket::new_v4()?;
        socket.bind(SocketAddr::from(([127, 0, 0, 1], 0)))?;
        let listener = socket.listen(0)?;
        let address = listener.local_addr()?;
        let mut fill = Vec::new();
        // Linux takes one connection more than the backlog says; other systems a few more.
        while fill.len() < 256 {
            match tokio::time::timeout(Duration::from_millis(100), TcpStream::connect(address)).await {
                Ok(connected) => fill.push(connected?),
                Err(_elapsed) => {
                    return Ok(Self {
                        address,
                        _listener: listener,
                        _fill: fill,
                    });
                }
            }
        }
        Err(io::Error::other(
            "listener with backlog 0 took 256 connections, expected it to fill",
        ))
    }

    /// Returns the address.
    pub fn addr(&self) -> SocketAddr {
        self.address
    }
}
