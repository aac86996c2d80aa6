//! A network in memory: names of hosts instead of addresses, pipes instead of sockets. It needs nothing but tokio's clock, so tests
//! can hold time still, as long as client and network live in the same runtime.

#![expect(clippy::disallowed_methods, reason = "connections are delayed for as long as the test says")]

use crate::{Served, Upstream, serve};
use std::{
    collections::HashMap,
    future, io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::{
    io::{DuplexStream, duplex},
    task::JoinSet,
};

/// What a pipe holds in each direction, in bytes; a writer waits for the reader beyond it.
const PIPE_SIZE: usize = 64 * 1024;

/// A network of scripted upstreams. Clones are the same network; when the last one is dropped, all its servers end.
#[derive(Debug, Clone, Default)]
pub struct MemoryNetwork {
    inner: Arc<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    /// Held for a lookup, never across an await.
    hosts: Mutex<HashMap<String, Host>>,
    /// One task for each connection, aborted when the network is dropped.
    connections: Mutex<JoinSet<()>>,
}

#[derive(Debug, Clone)]
struct Host {
    served: Arc<Served>,
    connecting: Connecting,
}

/// Says what connecting to a host does.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Connecting {
    /// It succeeds at once.
    #[default]
    AtOnce,
    /// It succeeds after a while.
    After(Duration),
    /// It neither succeeds nor fails.
    Never,
    /// It fails at once, as if nobody listened.
    Refused,
}

impl MemoryNetwork {
    /// Makes a network without hosts.
    pub fn new() -> Self {
        Self::default()
    }

    /// Serves an upstream under a name such as `users:80`, in place of what had that name before. Connections to that stay as they are.
    pub fn host(&self, name: impl Into<String>, upstream: Upstream) -> Arc<Served> {
        let served = Served::new(upstream);
        self.host_served(name, served.clone());
        served
    }

    /// Serves an upstream that may be served elsewhere as well; counters and records are shared.
    pub fn host_served(&self, name: impl Into<String>, served: Arc<Served>) {
        self.hosts().insert(
            name.into(),
            Host {
                served,
                connecting: Connecting::default(),
            },
        );
    }

    /// Changes what connecting to a host does from now on; does nothing for a name that is not served.
    pub fn set_connecting(&self, name: &str, connecting: Connecting) {
        if let Some(host) = self.hosts().get_mut(name) {
            host.connecting = connecting;
        }
    }

    /// Takes a host off the network: further connections are refused, those there are stay.
    pub fn remove(&self, name: &str) {
        self.hosts().remove(name);
    }

    /// Returns what is served under a name.
    pub fn served(&self, name: &str) -> Option<Arc<Served>> {
        self.hosts().get(name).map(|host| host.served.clone())
    }

    /// Connects to a host. Must be called within a tokio runtime, where the server's side of the connection then lives.
    ///
    /// Fails with [`io::ErrorKind::ConnectionRefused`] for a name that is not served. May wait for as long as [`Connecting`] says;
    /// cancelling it is safe.
    pub async fn connect(&self, host: &str, port: u16) -> io::Result<DuplexStream> {
        let name = format!("{host}:{port}");
        let found = self.hosts().get(&name).cloned();
        let refused = || io::Error::new(io::ErrorKind::ConnectionRefused, format!("nobody listens at `{name}`"));
        let Host { served, connecting } = found.ok_or_else(refused)?;
        match connecting {
            Connecting::AtOnce => {}
            Connecting::After(delay) => tokio::time::sleep(delay).await,
            Connecting::Never => future::pending().await,
            Connecting::Refused => return Err(refused()),
        }
        let (near, far) = duplex(PIPE_SIZE);
        self.spawn(served, far);
        Ok(near)
    }

    fn spawn(&self, served: Arc<Served>, mut stream: DuplexStream) {
        let mut connections = self.inner.connections.lock().unwrap_or_else(PoisonError::into_inner);
        while connections.try_join_next().is_some() {}
        connections.spawn(async move {
            serve(&served, &mut stream).await;
        });
    }

    fn hosts(&self) -> MutexGuard<'_, HashMap<String, Host>> {
        self.inner.hosts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
