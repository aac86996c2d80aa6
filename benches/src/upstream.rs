//! Twelve services on twelve ports: keep-alive HTTP/1.1, about 1 KB of JSON each, after a delay. One thread, as cheap as it gets, so
//! that what is measured is the gateway.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// The names of the parts, which are the paths of the services.
pub const PARTS: [&str; 12] =
    ["activity", "items", "prices", "stock", "rules", "banners", "coupons", "profile", "cart", "rank", "comments", "recommend"];

/// One body: a small object and a list of records, 977 bytes.
pub fn body(part: &str) -> String {
    let mut items = Vec::new();
    for id in 0..8 {
        items.push(format!(r#"{{"id":{},"name":"item number {id} of a list","price":{}.25,"tags":["red","small"],"on":true}}"#, 1000 + id, 10 + id));
    }
    let mut body = format!(r#"{{"part":"{part}","total":8,"items":[{}],"note":""#, items.join(","));
    while body.len() < 975 {
        body.push('x');
    }
    body.push_str("\"}");
    body
}

/// Serves until it is killed.
pub fn serve(port: u16, delay_ms: u64) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let mut listeners = Vec::new();
        for (offset, part) in PARTS.iter().enumerate() {
            let listener = TcpListener::bind(("127.0.0.1", port + offset as u16)).await.expect("a free port");
            let body = body(part);
            let answer: &'static [u8] =
                format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}", body.len()).into_bytes().leak();
            listeners.push(tokio::spawn(accept(listener, answer, Duration::from_millis(delay_ms))));
        }
        println!("ready");
        for listener in listeners {
            let _ = listener.await;
        }
    });
}

async fn accept(listener: TcpListener, answer: &'static [u8], delay: Duration) {
    while let Ok((socket, _)) = listener.accept().await {
        let _ = socket.set_nodelay(true);
        tokio::spawn(connection(socket, answer, delay));
    }
}

async fn connection(mut socket: TcpStream, answer: &'static [u8], delay: Duration) {
    let mut buffer = vec![0u8; 8192];
    let mut filled = 0;
    loop {
        match socket.read(&mut buffer[filled..]).await {
            Ok(0) | Err(_) => return,
            Ok(read) => filled += read,
        }
        while let Some(end) = buffer[..filled].windows(4).position(|bytes| bytes == b"\r\n\r\n") {
            buffer.copy_within(end + 4..filled, 0);
            filled -= end + 4;
            if !delay.is_zero() {
                tokio::time::sleep(delay).await;
            }
            if socket.write_all(answer).await.is_err() {
                return;
            }
        }
    }
}
