//! `anabranch serve`: the one place that makes threads for the gateway. A control thread (this one) has the signals, the accepting
//! and the health; each core has a thread with a runtime, a client and connections of its own.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anabranch::client::Resolver;
use anabranch::{Client, Compute, ComputeSettings, Deadline};
use anabranch_gateway::server::{self, CoreHandle, CoreInbox, Stop};
use anabranch_gateway::{Core, CoreOptions, Gateway, NoteListener};
use anyhow::Context;
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};

use crate::cli::ServeArgs;
#[cfg(unix)]
use super::admin_socket::AdminSocket;
use super::check::counted;
use crate::config_file::{self, Loaded};
use crate::exit::{Exit, Failure};
use crate::signals::Signals;
use crate::terminal::{Tag, Terminal};

/// Connections that the kernel holds for us before they are accepted.
const BACKLOG: i32 = 1024;

/// Runs the gateway until it is told to stop.
pub(crate) fn run(args: &ServeArgs, terminal: &Terminal) -> Result<Exit, Failure> {
    let Loaded::Sound(plan) = config_file::load(&args.file, terminal)? else {
        return Ok(Exit::Usage);
    };
    let listen = args.listen.clone().unwrap_or_else(|| plan.listen.clone());
    let health = plan.health.clone();
    let gateway = Gateway::build_with_notes(plan, notes(terminal)).map_err(Failure::usage)?;
    let control = runtime().map_err(Failure::environment)?;
    control.block_on(serve(args, terminal, &gateway, &listen, health.as_deref()))
}

/// Puts what becomes of programs on stderr.
pub(super) fn notes(terminal: &Terminal) -> NoteListener {
    let terminal = *terminal;
    Arc::new(move |note| terminal.tagged(Tag::Note, note))
}

async fn serve(args: &ServeArgs, terminal: &Terminal, gateway: &Arc<Gateway>, listen: &str, health: Option<&str>) -> Result<Exit, Failure> {
    let mut signals = Signals::install().context("taking over signals").map_err(Failure::environment)?;
    let listener = bind(listen).await?;
    let health = match health {
        Some(address) => Some(bind(address).await?),
        None => None,
    };
    let admin = open_admin(gateway)?;
    let (stop_accepting, accepting) = server::stop();
    let (stop_health, health_stop) = server::stop();
    let health_stop_of_admin = health_stop.clone();
    let options = CoreOptions {
        dev: args.dev,
        trace: false,
    };
    let (cores, threads) = start_cores(args, gateway, options, &accepting)?;
    announce(terminal, gateway, &listener, health.as_ref(), threads.len());

    let accept = server::accept(listener, cores, accepting);
    let health = async {
        match health {
            Some(listener) => server::serve_health(listener, gateway.clone(), health_stop).await,
            None => std::future::pending().await,
        }
    };
    let admin = serve_admin(admin, gateway.clone(), health_stop_of_admin);
    let until_stopped = async {
        let name = signals.next().await;
        gateway.announce_stop();
        let under_way = counted(gateway.health().requests(), "request");
        let latest = args.settle + args.grace;
        terminal.tagged(
            Tag::Note,
            format!("{name}: {under_way} in flight; ends with the last one, at the latest in {latest:?}; once more ends now"),
        );
        tokio::select! {
            biased;
            _ = signals.next() => return Exit::Ok,
            () = Deadline::after(args.settle).wait() => {}
        }
        stop_accepting.request();
        tokio::select! {
            biased;
            _ = signals.next() => {}
            cut = joined(threads) => if cut > 0 {
                terminal.tagged(Tag::Warning, format!("cut after {:?}: {}", args.grace, counted(cut, "connection")));
            }
        }
        Exit::Ok
    };
    // The door stays shut once the accepting ended, and health answers "not ready" to the end.
    let accept_then_rest = async {
        accept.await;
        std::future::pending::<()>().await
    };
    let exit = tokio::select! {
        biased;
        exit = until_stopped => exit,
        () = accept_then_rest => Exit::Ok,
        () = health => Exit::Ok,
        () = admin => Exit::Ok,
    };
    stop_health.request();
    // Where it ends at once; else none are left.
    gateway.kill();
    Ok(exit)
}

/// The socket of `admin:`, where the config has one.
#[cfg(unix)]
fn open_admin(gateway: &Gateway) -> Result<Option<(AdminSocket, tokio::net::UnixListener)>, Failure> {
    let Some(path) = &gateway.plan().admin else { return Ok(None) };
    let opened = AdminSocket::listen(path).with_context(|| format!("cannot listen on `{}`", path.display()));
    opened.map(Some).map_err(Failure::environment)
}

#[cfg(not(unix))]
fn open_admin(gateway: &Gateway) -> Result<Option<std::convert::Infallible>, Failure> {
    match gateway.plan().admin {
        None => Ok(None),
        Some(_) => Err(Failure::environment(anyhow::anyhow!("this system has no unix sockets for `admin`"))),
    }
}

/// Takes orders until the stop is requested; for ever where there is no socket.
#[cfg(unix)]
async fn serve_admin(admin: Option<(AdminSocket, tokio::net::UnixListener)>, gateway: Arc<Gateway>, stop: Stop) {
    match admin {
        Some((_file, listener)) => server::serve_admin(listener, gateway, stop).await,
        None => std::future::pending().await,
    }
}

#[cfg(not(unix))]
async fn serve_admin(_admin: Option<std::convert::Infallible>, _gateway: Arc<Gateway>, _stop: Stop) {
    std::future::pending().await
}

fn announce(terminal: &Terminal, gateway: &Gateway, listener: &TcpListener, health: Option<&TcpListener>, cores: usize) {
    let plan = gateway.plan();
    let address = |listener: &TcpListener| listener.local_addr().map_or_else(|_| String::new(), |address| address.to_string());
    let [routes, sources, cores] =
        [(plan.routes.len(), "route"), (plan.sources.len(), "source"), (cores, "core")].map(|(number, noun)| counted(number, noun));
    let health = health.map_or_else(String::new, |health| format!("; health on http://{}/readyz", address(health)));
    terminal.say(format!(
        "listening on http://{} with {routes}, {sources}, {cores}{health}",
        address(listener)
    ));
}

/// One address or host and port; the listener can be bound again at once after a restart.
async fn bind(address: &str) -> Result<TcpListener, Failure> {
    let bound = async {
        let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
        for candidate in tokio::net::lookup_host(address).await? {
            match listen_on(candidate) {
                Ok(listener) => return Ok(listener),
                Err(error) => last = error,
            }
        }
        Err(last)
    };
    bound.await.map_err(|error| match error.kind() {
        io::ErrorKind::InvalidInput => Failure::usage(anyhow::anyhow!(
            "`{address}` is no address to listen on, expected `host:port` such as `127.0.0.1:8080`"
        )),
        _ => Failure::listening(&format!("`{address}`"), error),
    })
}

fn listen_on(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = socket2::Socket::new(
        socket2::Domain::for_address(address),
        socket2::Type::STREAM,
        Some(socket2::Protocol::TCP),
    )?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

type CoreThread = JoinHandle<usize>;

fn start_cores(
    args: &ServeArgs,
    gateway: &Arc<Gateway>,
    options: CoreOptions,
    stop: &Stop,
) -> Result<(Vec<CoreHandle>, Vec<CoreThread>), Failure> {
    let count = args
        .cores
        .map(usize::from)
        .unwrap_or_else(|| thread::available_parallelism().map_or(1, usize::from));
    let shared = Shared {
        gateway: gateway.clone(),
        options,
        // A name is looked up once, by at most four threads.
        names: Resolver::system(),
        compute: Compute::new(ComputeSettings::default()),
        cores: count,
    };
    let mut handles = Vec::new();
    let mut threads = Vec::new();
    for number in 0..count {
        let (handle, inbox) = server::core_inbox();
        let (shared, stop, grace) = (shared.clone(), stop.clone(), args.grace);
        let thread = thread::Builder::new()
            .name(format!("core-{number}"))
            .spawn(move || run_core(shared, inbox, stop, grace))
            .with_context(|| format!("starting the thread of core {number}"))
            .map_err(Failure::environment)?;
        handles.push(handle);
        threads.push(thread);
    }
    Ok((handles, threads))
}

/// What all cores have in common.
#[derive(Clone)]
struct Shared {
    gateway: Arc<Gateway>,
    options: CoreOptions,
    names: Resolver,
    compute: Compute,
    /// How many there are.
    cores: usize,
}

/// The life of a core's thread; gives the number of connections that had to be cut.
fn run_core(shared: Shared, inbox: CoreInbox, stop: Stop, grace: Duration) -> usize {
    let Ok(runtime) = runtime() else { return 0 };
    runtime.block_on(async {
        let client = Client::builder().resolver(shared.names).build();
        let core = Core::with_compute(shared.gateway, client, shared.options, shared.compute);
        core.start(shared.cores);
        server::run_core(core, inbox, stop, grace).await
    })
}

fn runtime() -> io::Result<Runtime> {
    Builder::new_current_thread().enable_all().build()
}

/// Waits for the cores' threads without blocking the control thread, which still has signals and health to serve.
async fn joined(threads: Vec<CoreThread>) -> usize {
    while !threads.iter().all(JoinHandle::is_finished) {
        Deadline::after(Duration::from_millis(5)).wait().await;
    }
    threads.into_iter().filter_map(|thread| thread.join().ok()).sum()
}
