//! `/livez` and `/readyz` on a listener of their own, served from the control thread, so that they answer while the cores are busy.

use std::sync::Arc;
use std::time::Duration;

use anabranch::{Background, Deadline};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::stop::Stop;
use crate::gateway::Gateway;

/// The longest time for one question and its answer.
const LIMIT: Duration = Duration::from_secs(5);
/// The largest question.
const MAX_HEAD: usize = 8 * 1024;

/// Answers until the stop is requested: `/livez` 200 while the process turns, `/readyz` 200 while the gateway takes requests, else 503.
pub async fn serve_health(listener: TcpListener, gateway: Arc<Gateway>, mut stop: Stop) {
    let connections = Background::new();
    loop {
        let accepted = tokio::select! {
            biased;
            () = stop.requested() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((socket, _)) => {
                let gateway = gateway.clone();
                connections.spawn("health", Deadline::after(LIMIT), async move {
                    let _ = answer(socket, &gateway).await;
                });
            }
            Err(_) => {
                Deadline::after(Duration::from_millis(50)).wait().await;
            }
        }
    }
}

async fn answer(mut socket: TcpStream, gateway: &Gateway) -> std::io::Result<()> {
    let mut head = Vec::with_capacity(512);
    while !head.windows(4).any(|end| end == b"\r\n\r\n") {
        if head.len() > MAX_HEAD || socket.read_buf(&mut head).await? == 0 {
            return Ok(());
        }
    }
    let path = head.split(|byte| *byte == b' ').nth(1).unwrap_or_default();
    let (status, body) = match path {
        b"/livez" => ("200 OK", "ok\n".to_string()),
        b"/readyz" => match gateway.health().not_ready() {
            None => ("200 OK", "ready\n".to_string()),
            Some(why) => ("503 Service Unavailable", format!("not ready: {why}\n")),
        },
        _ => ("404 Not Found", "expected /livez or /readyz\n".to_string()),
    };
    let text = format!(
        "HTTP/1.1 {status}\r\ncontent-type: text/plain\r\ncache-control: no-store\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    );
    socket.write_all(text.as_bytes()).await?;
    socket.shutdown().await
}
