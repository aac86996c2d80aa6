//! The services for HTTP/2 and TLS. They cost more than the plain ones, but on the other core. The certificate is made at the start;
//! its own root is put into a file for the gateway.

use std::convert::Infallible;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls;

use crate::page::Body;
use crate::service::{self, BACKLOG, COUNTS_PATH, Counts, Settings, Wire};

/// Serves until it is killed; writes the root's certificate to `root_file` first.
pub fn serve(settings: &Settings, root_file: &Path) {
    let tls = match settings.wire {
        Wire::Http1Tls => Some(acceptor(b"http/1.1", root_file)),
        Wire::Http2Tls => Some(acceptor(b"h2", root_file)),
        Wire::Http1 | Wire::Http2 => None,
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let shared = Arc::new(Shared {
            body: Body::new(settings.body_bytes),
            delay: Duration::from_micros(settings.delay_us),
            requests: AtomicU64::new(0),
            odd: AtomicU64::new(0),
            connections: AtomicU64::new(0),
        });
        // The counts are asked for in the clear, on a port of their own.
        let mut ports: Vec<(u16, Option<TlsAcceptor>)> = (0..settings.count).map(|n| (settings.first_port + n, tls.clone())).collect();
        ports.push((settings.first_port + settings.count, None));
        for (port, tls) in ports {
            let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], port))).expect("a free port");
            rustix::net::listen(&listener, BACKLOG).expect("a listening port");
            listener.set_nonblocking(true).expect("a nonblocking port");
            let listener = tokio::net::TcpListener::from_std(listener).expect("a runtime");
            tokio::spawn(accept(listener, tls, shared.clone()));
        }
        println!("ready");
        std::future::pending::<()>().await;
    });
}

struct Shared {
    body: Body,
    delay: Duration,
    requests: AtomicU64,
    odd: AtomicU64,
    connections: AtomicU64,
}

async fn accept(listener: tokio::net::TcpListener, tls: Option<TlsAcceptor>, shared: Arc<Shared>) {
    while let Ok((socket, _)) = listener.accept().await {
        let _ = socket.set_nodelay(true);
        shared.connections.fetch_add(1, Ordering::Relaxed);
        let (tls, shared) = (tls.clone(), shared.clone());
        tokio::spawn(async move {
            let answer = service_fn(move |request| answer(request, shared.clone()));
            let server = auto::Builder::new(TokioExecutor::new());
            let _ = match tls {
                Some(tls) => match tls.accept(socket).await {
                    Ok(socket) => server.serve_connection(TokioIo::new(socket), answer).await,
                    Err(_) => Ok(()),
                },
                None => server.serve_connection(TokioIo::new(socket), answer).await,
            };
        });
    }
}

async fn answer(request: Request<Incoming>, shared: Arc<Shared>) -> Result<Response<Full<Bytes>>, Infallible> {
    let path = request.uri().path();
    if path == COUNTS_PATH {
        let counts = Counts {
            requests: shared.requests.load(Ordering::Relaxed),
            odd: shared.odd.load(Ordering::Relaxed),
            // This one does not count.
            connections: shared.connections.fetch_sub(1, Ordering::Relaxed) - 1,
            ..Counts::default()
        };
        return Ok(Response::new(Full::from(serde_json::to_vec(&counts).unwrap_or_default())));
    }
    if service::path_of(format!("GET {path} ").as_bytes()).is_none() {
        shared.odd.fetch_add(1, Ordering::Relaxed);
        let missing = Response::builder().status(404).body(Full::default());
        return Ok(missing.unwrap_or_default());
    }
    shared.requests.fetch_add(1, Ordering::Relaxed);
    if !shared.delay.is_zero() {
        tokio::time::sleep(shared.delay).await;
    }
    let body = shared.body.whole(&path.as_bytes()[1..]);
    let whole = Response::builder()
        .header("content-type", "application/json")
        .body(Full::from(body));
    Ok(whole.unwrap_or_default())
}

fn acceptor(protocol: &[u8], root_file: &Path) -> TlsAcceptor {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    std::fs::write(root_file, made.cert.pem()).expect("a writable folder");
    let key = rustls::pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).expect("a key");
    let config = rustls::ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key);
    let mut config = config.expect("a certificate that fits its key");
    config.alpn_protocols = vec![protocol.to_vec()];
    TlsAcceptor::from(Arc::new(config))
}
