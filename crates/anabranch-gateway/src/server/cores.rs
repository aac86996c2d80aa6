//! Sockets on their way: accepted once, handed to the core with the fewest connections, served there for good.
//!
//! One listener and a hand-over rather than `SO_REUSEPORT`: the kernel's hash leaves cores uneven with few connections, and hangs what
//! lands on a core that is stuck.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anabranch::{Background, Deadline};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

use super::stop::Stop;
use crate::gateway::Core;

/// Sockets that may wait for a core to take them.
const INBOX: usize = 1024;
/// The most clients that are taken from the listener's queue at the end: as many as it holds.
const LATE: usize = 1024;
/// The rest after an accept that failed for want of file descriptors or memory, so that the loop does not spin.
const ACCEPT_REST: Duration = Duration::from_millis(50);

/// The accepting side of a core.
#[derive(Clone, Debug)]
pub struct CoreHandle {
    sockets: mpsc::Sender<(std::net::TcpStream, IpAddr)>,
    open: Arc<AtomicUsize>,
}

/// The serving side of a core.
#[derive(Debug)]
pub struct CoreInbox {
    sockets: mpsc::Receiver<(std::net::TcpStream, IpAddr)>,
    open: Arc<AtomicUsize>,
}

/// One connection counted for as long as it lives.
struct Counted(Arc<AtomicUsize>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A way to hand sockets to a core.
pub fn core_inbox() -> (CoreHandle, CoreInbox) {
    let (sender, receiver) = mpsc::channel(INBOX);
    let open = Arc::new(AtomicUsize::new(0));
    (
        CoreHandle {
            sockets: sender,
            open: open.clone(),
        },
        CoreInbox { sockets: receiver, open },
    )
}

impl CoreHandle {
    /// Connections handed to this core and still open.
    pub fn connections(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    fn hand_over(&self, socket: TcpStream, peer: SocketAddr) {
        let Ok(socket) = socket.into_std() else { return };
        self.open.fetch_add(1, Ordering::Relaxed);
        if self.sockets.try_send((socket, peer.ip())).is_err() {
            self.open.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

/// Accepts until the stop is requested. Whoever had connected by then is still handed over; then the listener closes, the kernel
/// refuses clients, and the cores, whose handles end with this, know that nobody else comes.
pub async fn accept(listener: TcpListener, cores: Vec<CoreHandle>, stop: Stop) {
    let mut door = Door::new(listener, stop);
    while let Some((socket, peer)) = door.next().await {
        // A core whose thread has died would look idle for ever.
        let alive = cores.iter().filter(|core| !core.sockets.is_closed());
        if let Some(core) = alive.min_by_key(|core| core.connections()) {
            core.hand_over(socket, peer);
        }
    }
}

/// A listener up to its stop.
struct Door {
    /// Gone once the stop was requested.
    listener: Option<TcpListener>,
    stop: Stop,
    /// Who waited at the door when it closed, last first.
    late: Vec<(TcpStream, SocketAddr)>,
}

impl Door {
    fn new(listener: TcpListener, stop: Stop) -> Door {
        Door {
            listener: Some(listener),
            stop,
            late: Vec::new(),
        }
    }

    /// The next client; None once the stop is requested and nobody waits any more.
    async fn next(&mut self) -> Option<(TcpStream, SocketAddr)> {
        while let Some(listener) = &self.listener {
            let accepted = tokio::select! {
                biased;
                () = self.stop.requested() => break,
                accepted = listener.accept() => accepted,
            };
            match accepted {
                Ok((socket, peer)) => {
                    let _ = socket.set_nodelay(true);
                    return Some((socket, peer));
                }
                Err(error) => rest_after(&error).await,
            }
        }
        if let Some(listener) = self.listener.take() {
            self.late = close(listener).unwrap_or_default();
        }
        self.late.pop()
    }
}

/// Closes a listener and gives the clients that it had let in without our having seen them: for all they know, we are there. Asked
/// of the system itself, since the runtime knows only what it saw when it last looked.
fn close(listener: TcpListener) -> io::Result<Vec<(TcpStream, SocketAddr)>> {
    let listener = listener.into_std()?;
    let mut late = Vec::new();
    while late.len() < LATE
        && let Ok(accepted) = listener.accept()
    {
        late.push(accepted);
    }
    drop(listener);
    let ready = |(socket, peer): (std::net::TcpStream, SocketAddr)| {
        socket.set_nonblocking(true).ok()?;
        socket.set_nodelay(true).ok()?;
        Some((TcpStream::from_std(socket).ok()?, peer))
    };
    Ok(late.into_iter().rev().filter_map(ready).collect())
}

/// A connection that died in the queue is no reason to rest; a lack of descriptors is (EMFILE would spin).
async fn rest_after(error: &io::Error) {
    if !matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::Interrupted
    ) {
        Deadline::after(ACCEPT_REST).wait().await;
    }
}

/// Serves what is handed over until the accepting side has ended, then waits for the requests under way until `grace` has passed.
/// `stop` is the accepting side's: once it is requested, connections end with the request that they are at.
/// Gives the number of connections that had to be cut.
pub async fn run_core(core: Core, mut inbox: CoreInbox, stop: Stop, grace: Duration) -> usize {
    let connections = Background::new();
    while let Some((socket, peer)) = inbox.sockets.recv().await {
        let counted = Counted(inbox.open.clone());
        let Ok(socket) = TcpStream::from_std(socket) else { continue };
        let (core, stop) = (core.clone(), stop.clone());
        connections.spawn("connection", Deadline::never(), async move {
            super::serve_connection(socket, core, Some(peer), stop).await;
            drop(counted);
        });
    }
    drain(&core, &connections, grace).await
}

/// Serves a listener on this runtime alone until the stop is requested and the requests under way have ended, or `grace` has passed.
/// Gives the number of connections that had to be cut.
pub async fn serve_on(core: Core, listener: TcpListener, stop: Stop, grace: Duration) -> usize {
    core.start(1);
    let connections = Background::new();
    let mut door = Door::new(listener, stop.clone());
    while let Some((socket, peer)) = door.next().await {
        let (core, stop) = (core.clone(), stop.clone());
        connections.spawn(
            "connection",
            Deadline::never(),
            super::serve_connection(socket, core, Some(peer.ip()), stop),
        );
    }
    drain(&core, &connections, grace).await
}

async fn drain(core: &Core, connections: &Background, grace: Duration) -> usize {
    let deadline = Deadline::after(grace);
    let cut = connections.drain(deadline).await.len();
    core.drain(deadline).await;
    cut
}
