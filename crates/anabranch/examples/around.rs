//! Retry and timing around any async function: `cargo run --example around`. The function here is no HTTP call: it reads a greeting
//! from a TCP server that comes up 120 ms late, so that the first attempts are refused.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use anabranch::policy::{Backoff, RetrySettings};
use anabranch::{Deadline, retry_if, timed};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// The function that is wrapped; it knows nothing of it.
async fn greeting(address: SocketAddr) -> io::Result<String> {
    let mut text = String::new();
    TcpStream::connect(address).await?.read_to_string(&mut text).await?;
    Ok(text)
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> io::Result<()> {
    let address = anabranch_testkit::closed_port().await?;
    let backoff = Backoff::new(Duration::from_millis(10), Duration::from_millis(80));
    let settings = RetrySettings {
        retries: 20,
        backoff,
        ..RetrySettings::NONE
    };
    let is_refused = |error: &io::Error| error.kind() == io::ErrorKind::ConnectionRefused;

    let asking = timed(retry_if(settings, Deadline::after(Duration::from_secs(2)), is_refused, || {
        greeting(address)
    }));
    let ((result, took), served) = tokio::join!(asking, serve_late(address));
    served?;
    match result {
        Ok(text) => println!("{text:?} after {} ms", took.as_millis()),
        Err(error) => println!("gave up after {} ms: {error}", took.as_millis()),
    }
    Ok(())
}

async fn serve_late(address: SocketAddr) -> io::Result<()> {
    Deadline::after(Duration::from_millis(120)).wait().await;
    let (mut socket, _) = TcpListener::bind(address).await?.accept().await?;
    socket.write_all(b"hello").await
}
