//! From an endpoint's host and port to a byte stream: the seam where tests and proxies put their own network.

use std::collections::{HashMap, VecDeque};
use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::stream::{FuturesUnordered, StreamExt};
use futures_util::task::AtomicWaker;
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Instant;

use super::dns::Resolver;
use super::guard::AddressGuard;
use crate::{CallError, Deadline, Kind, Phase};

/// The head start of an address over the next one (RFC 8305 section 5: 250 ms).
const HEAD_START: Duration = Duration::from_millis(250);
/// A peer that is gone without a word is noticed after 15 s of silence and as many probes as the system sends (Linux: 9).
const KEEPALIVE_AFTER: Duration = Duration::from_secs(15);
const KEEPALIVE_EVERY: Duration = Duration::from_secs(5);

/// Opens byte streams. TLS and HTTP come on top of what it returns.
pub trait Dial: Send + Sync {
    /// Opens a stream to a host and port. Runs in the client's background scope: nobody but its limits cancels it.
    ///
    /// # Errors
    /// [`Kind::Dns`], [`Kind::Connect`], [`Kind::Timeout`] or [`Kind::Limit`].
    fn dial<'a>(
        &'a self,
        host: &'a str,
        port: u16,
        limits: DialLimits,
    ) -> Pin<Box<dyn Future<Output = Result<Dialled, CallError>> + Send + 'a>>;

    /// The address to tell a proxy in place of a host's name, where it is to be told one: because the endpoint is guarded, or because its
    /// names are looked up on this side. None leaves the name to the proxy; to a guard that is a refusal.
    ///
    /// # Errors
    /// [`Kind::Dns`], [`Kind::Timeout`], [`Kind::Limit`] or [`Kind::PrivateAddress`].
    fn lookup<'a>(
        &'a self,
        host: &'a str,
        port: u16,
        limits: DialLimits,
    ) -> Pin<Box<dyn Future<Output = Result<Option<IpAddr>, CallError>> + Send + 'a>> {
        let _unknown = (host, port, limits);
        Box::pin(std::future::ready(Ok(None)))
    }
}

/// How long a dial may take, which addresses it must not reach, and where it says what it is doing.
#[derive(Clone, Debug)]
pub struct DialLimits {
    /// Looking up the host.
    pub dns: Duration,
    /// Opening the connection.
    pub connect: Duration,
    guard: Option<AddressGuard>,
    progress: Arc<Progress>,
}

impl DialLimits {
    /// Limits whose progress nobody watches.
    pub fn new(dns: Duration, connect: Duration) -> Self {
        DialLimits {
            dns,
            connect,
            guard: None,
            progress: Arc::default(),
        }
    }

    pub(super) fn watched(dns: Duration, connect: Duration, progress: Arc<Progress>) -> Self {
        DialLimits {
            dns,
            connect,
            guard: None,
            progress,
        }
    }

    /// The same under a guard.
    pub fn guarded(mut self, guard: Option<AddressGuard>) -> Self {
        self.guard = guard;
        self
    }

    /// What every address that is connected to has to be asked for.
    pub fn guard(&self) -> Option<&AddressGuard> {
        self.guard.as_ref()
    }

    /// Says which phase begins, so that a call that times out meanwhile can name it.
    pub fn enter(&self, phase: Phase) {
        self.progress.enter(phase);
    }
}

/// The phase of a dial, watched by the call that waits for it.
#[derive(Debug, Default)]
pub(super) struct Progress {
    phase: AtomicU8,
    watcher: AtomicWaker,
}

impl Progress {
    pub(super) fn enter(&self, phase: Phase) {
        let code = match phase {
            Phase::Dns => 1,
            Phase::Connect => 2,
            Phase::Tls => 3,
            // No dial any more: what is waited for now is a stream.
            Phase::Pool => 4,
            _ => return,
        };
        self.phase.store(code, Ordering::Release);
        self.watcher.wake();
    }

    /// The phase now; the task is woken when it changes.
    pub(super) fn watch(&self, cx: &mut Context<'_>) -> Option<Phase> {
        self.watcher.register(cx.waker());
        match self.phase.load(Ordering::Acquire) {
            1 => Some(Phase::Dns),
            2 => Some(Phase::Connect),
            3 => Some(Phase::Tls),
            4 => Some(Phase::Pool),
            _ => None,
        }
    }
}

/// An open stream and what opening it took.
pub struct Dialled {
    /// The stream.
    pub stream: Stream,
    /// Looking up the host, where that was done.
    pub dns: Option<Duration>,
    /// Opening the connection, where that was done.
    pub connect: Option<Duration>,
}

/// What HTTP or TLS can be spoken over.
pub trait Io: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// A byte stream. TCP is a case of its own because it is the common one and need not be boxed.
pub enum Stream {
    /// A TCP connection.
    Tcp(TcpStream),
    /// Anything else: memory in tests, a unix socket, a tunnel.
    Boxed(Box<dyn Io>),
}

impl Stream {
    /// The address at the other end, where it is TCP.
    pub(super) fn remote(&self) -> Option<SocketAddr> {
        match self {
            Stream::Tcp(stream) => stream.peer_addr().ok(),
            Stream::Boxed(_) => None,
        }
    }
}

/// Opens TCP connections: looks the host up and tries its addresses by Happy Eyeballs (RFC 8305).
#[derive(Clone)]
pub struct TcpDial {
    resolver: Resolver,
    /// Addresses of hosts and ports that nobody is asked for.
    fixed: HashMap<(String, u16), Vec<IpAddr>>,
}

impl TcpDial {
    /// Dials what this resolver finds.
    pub fn new(resolver: Resolver) -> Self {
        TcpDial {
            resolver,
            fixed: HashMap::new(),
        }
    }

    /// The same, with these addresses for one host and port in place of what the resolver finds. A guard judges them as well.
    pub fn resolve(mut self, host: &str, port: u16, addresses: Vec<IpAddr>) -> Self {
        self.fixed.insert((host.to_ascii_lowercase(), port), addresses);
        self
    }

    /// The addresses of a host that may be connected to; there is at least one.
    async fn addresses(&self, host: &str, port: u16, limits: &DialLimits) -> Result<Vec<IpAddr>, CallError> {
        limits.enter(Phase::Dns);
        let is_fixed = !self.fixed.is_empty();
        let fixed = is_fixed.then(|| self.fixed.get(&(host.to_ascii_lowercase(), port))).flatten();
        let mut addresses = match fixed {
            Some(addresses) => addresses.clone(),
            None => self.resolver.lookup(host, limits.dns).await?.to_vec(),
        };
        if let Some(guard) = &limits.guard {
            let refused = addresses.extract_if(.., |address| guard.refuses(*address)).last();
            if let (true, Some(refused)) = (addresses.is_empty(), refused) {
                return Err(CallError::new(
                    Kind::PrivateAddress,
                    format!("the host's address {refused} is not of the public Internet"),
                )
                .in_phase(Phase::Dns));
            }
        }
        Ok(addresses)
    }

    async fn open(&self, host: &str, port: u16, limits: DialLimits) -> Result<Dialled, CallError> {
        let started = Instant::now();
        let addresses = self.addresses(host, port, &limits).await?;
        let looked_up = Instant::now();
        limits.enter(Phase::Connect);
        let addresses = interleave(&addresses, port);
        let stream = race(addresses, limits.connect)
            .await
            .map_err(|error| error.in_phase(Phase::Connect))?;
        let is_literal = host.parse::<IpAddr>().is_ok();
        let dns = (!is_literal).then(|| looked_up.duration_since(started));
        Ok(Dialled {
            stream: Stream::Tcp(stream),
            dns,
            connect: Some(looked_up.elapsed()),
        })
    }
}

impl Dial for TcpDial {
    fn dial<'a>(
        &'a self,
        host: &'a str,
        port: u16,
        limits: DialLimits,
    ) -> Pin<Box<dyn Future<Output = Result<Dialled, CallError>> + Send + 'a>> {
        Box::pin(self.open(host, port, limits))
    }

    fn lookup<'a>(
        &'a self,
        host: &'a str,
        port: u16,
        limits: DialLimits,
    ) -> Pin<Box<dyn Future<Output = Result<Option<IpAddr>, CallError>> + Send + 'a>> {
        Box::pin(async move { Ok(self.addresses(host, port, &limits).await?.first().copied()) })
    }
}

/// Alternates between IPv6 and IPv4, beginning with the family that the resolver prefers (RFC 8305 section 4).
fn interleave(addresses: &[IpAddr], port: u16) -> VecDeque<SocketAddr> {
    let prefers_v6 = addresses.first().is_some_and(IpAddr::is_ipv6);
    let (mut preferred, mut others): (VecDeque<IpAddr>, VecDeque<IpAddr>) =
        addresses.iter().copied().partition(|address| address.is_ipv6() == prefers_v6);
    let mut mixed = VecDeque::with_capacity(addresses.len());
    while !preferred.is_empty() || !others.is_empty() {
        mixed.extend(preferred.pop_front());
        mixed.extend(others.pop_front());
    }
    mixed.into_iter().map(|address| SocketAddr::new(address, port)).collect()
}

/// Connects to the first address that answers. The next one starts when the last failed, or after its head start.
async fn race(mut addresses: VecDeque<SocketAddr>, limit: Duration) -> Result<TcpStream, CallError> {
    let deadline = Deadline::after(limit);
    let mut attempts = FuturesUnordered::new();
    let mut failure = CallError::new(Kind::Dns, "the host has no address");
    loop {
        if let Some(address) = addresses.pop_front() {
            attempts.push(connect(address));
        }
        let wait = if addresses.is_empty() {
            deadline
        } else {
            deadline.within(HEAD_START)
        };
        match wait.bound(attempts.next()).await {
            Ok(Some(Ok(stream))) => return Ok(stream),
            Ok(Some(Err(error))) => failure = error,
            Ok(None) => return Err(failure),
            Err(_elapsed) if deadline.has_passed() => return Err(CallError::new(Kind::Connect, format!("no connection within {limit:?}"))),
            Err(_elapsed) => {}
        }
    }
}

async fn connect(address: SocketAddr) -> Result<TcpStream, CallError> {
    let stream = TcpStream::connect(address).await.map_err(|error| not_connected(address, error))?;
    // Failing to set an option leaves a connection that works, only slower to send or to notice a lost peer.
    let _ = stream.set_nodelay(true);
    let keepalive = TcpKeepalive::new().with_time(KEEPALIVE_AFTER).with_interval(KEEPALIVE_EVERY);
    let _ = SockRef::from(&stream).set_tcp_keepalive(&keepalive);
    Ok(stream)
}

/// Running out of descriptors or ports is our own shortage; a breaker must not count it against the peer.
fn not_connected(address: SocketAddr, error: io::Error) -> CallError {
    const EMFILE: i32 = 24;
    const ENFILE: i32 = 23;
    let is_ours = matches!(error.raw_os_error(), Some(EMFILE | ENFILE)) || error.kind() == io::ErrorKind::AddrNotAvailable;
    let kind = if is_ours { Kind::Limit } else { Kind::Connect };
    CallError::new(kind, format!("no connection to {address}: {error}")).caused_by(error)
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Tcp(stream) => Pin::new(stream).poll_read(cx, buf),
            Stream::Boxed(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Stream::Tcp(stream) => Pin::new(stream).poll_write(cx, buf),
            Stream::Boxed(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_write_vectored(self: Pin<&mut Self>, cx: &mut Context<'_>, bufs: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Stream::Tcp(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
            Stream::Boxed(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Stream::Tcp(stream) => stream.is_write_vectored(),
            Stream::Boxed(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Tcp(stream) => Pin::new(stream).poll_flush(cx),
            Stream::Boxed(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Tcp(stream) => Pin::new(stream).poll_shutdown(cx),
            Stream::Boxed(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(text: &[&str]) -> Vec<IpAddr> {
        text.iter().map(|address| address.parse().unwrap()).collect()
    }

    #[test]
    fn families_take_turns_beginning_with_the_preferred_one() {
        let mixed = interleave(&addresses(&["::1", "::2", "127.0.0.1", "127.0.0.2", "127.0.0.3"]), 80);
        let order: Vec<String> = mixed.iter().map(|address| address.ip().to_string()).collect();
        assert_eq!(order, ["::1", "127.0.0.1", "::2", "127.0.0.2", "127.0.0.3"]);
    }

    #[tokio::test]
    async fn a_refused_address_gives_way_to_the_next_at_once() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let dial = TcpDial::new(Resolver::table([("shop", addresses(&["127.0.0.2", "127.0.0.3", "127.0.0.1"]))]));
        let started = Instant::now();
        let dialled = dial
            .dial("shop", port, DialLimits::new(Duration::from_secs(1), Duration::from_secs(1)))
            .await
            .unwrap();
        assert!(started.elapsed() < HEAD_START, "a refusal must not wait for the head start");
        assert!(dialled.connect.is_some() && dialled.dns.is_some());
    }

    #[tokio::test]
    async fn each_dial_asks_the_guard_again() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let asked = std::sync::atomic::AtomicUsize::new(0);
        let answers = move |_: &str| {
            let nth = asked.fetch_add(1, Ordering::SeqCst);
            Ok(addresses(&[["127.0.0.1", "10.0.0.1"][nth.min(1)]]))
        };
        let dial = TcpDial::new(Resolver::asking(1, Box::new(answers)));
        let guard = AddressGuard::public_only().allow(addresses(&["127.0.0.1"])[0], 32);
        let limits = || DialLimits::new(Duration::from_secs(1), Duration::from_secs(1)).guarded(Some(guard.clone()));
        assert!(dial.dial("shop", port, limits()).await.is_ok());
        tokio::time::pause();
        tokio::time::advance(Duration::from_secs(11)).await;
        tokio::time::resume();
        let error = dial.dial("shop", port, limits()).await.err().unwrap();
        assert_eq!((error.kind(), error.phase()), (Kind::PrivateAddress, Some(Phase::Dns)), "{error}");
    }

    #[tokio::test]
    async fn every_address_refused_is_a_connect_error() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        drop(listener);
        let dial = TcpDial::new(Resolver::table([("shop", addresses(&["127.0.0.1", "127.0.0.2"]))]));
        let result = dial
            .dial("shop", port, DialLimits::new(Duration::from_secs(1), Duration::from_secs(1)))
            .await;
        let error = result.err().unwrap();
        assert_eq!(
            (error.kind(), error.phase(), error.was_sent()),
            (Kind::Connect, Some(Phase::Connect), false)
        );
    }

    #[tokio::test]
    async fn no_answer_is_a_connect_error_after_the_limit() {
        // A full backlog drops further SYNs: the black hole that a firewall makes.
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let listener = socket.listen(1).unwrap();
        let address = listener.local_addr().unwrap();
        let mut held = Vec::new();
        for _ in 0..8 {
            if let Ok(Ok(stream)) = Deadline::after(Duration::from_millis(50)).bound(TcpStream::connect(address)).await {
                held.push(stream);
            }
        }
        let error = race(VecDeque::from([address]), Duration::from_millis(100)).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Connect);
        drop(held);
    }
}
