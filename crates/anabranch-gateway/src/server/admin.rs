//! What only whoever runs the gateway may do, on a unix socket of its own: `POST /purge?source=users&route=GET%20/x&call=y`.
//!
//! Who may connect is the business of the socket's file; there is no other check.

use std::sync::Arc;
use std::time::Duration;

use anabranch::{Background, Deadline};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};

use super::stop::Stop;
use crate::gateway::Gateway;
use crate::purge::Purge;
use crate::render::percent::{Broken, decode};

/// The longest time for one question and its answer.
const LIMIT: Duration = Duration::from_secs(5);
/// The largest question.
const MAX_HEAD: usize = 8 * 1024;
/// Questions at once; who comes beyond that is not answered.
const AT_ONCE: usize = 16;

/// Answers until the stop is requested.
pub async fn serve_admin(listener: UnixListener, gateway: Arc<Gateway>, mut stop: Stop) {
    let connections = Background::new();
    loop {
        let accepted = tokio::select! {
            biased;
            () = stop.requested() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((socket, _)) if connections.count() < AT_ONCE => {
                let gateway = gateway.clone();
                connections.spawn("admin", Deadline::after(LIMIT), async move {
                    let _ = answer(socket, &gateway).await;
                });
            }
            Ok(_) => {}
            Err(_) => {
                Deadline::after(Duration::from_millis(50)).wait().await;
            }
        }
    }
}

async fn answer(mut socket: UnixStream, gateway: &Gateway) -> std::io::Result<()> {
    let mut head = Vec::with_capacity(512);
    while !head.windows(4).any(|end| end == b"\r\n\r\n") {
        if head.len() > MAX_HEAD || socket.read_buf(&mut head).await? == 0 {
            return Ok(());
        }
    }
    let mut words = head.split(|byte| *byte == b' ');
    let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let (status, body) = reply(gateway, method, &String::from_utf8_lossy(target));
    let text = format!(
        "HTTP/1.1 {status}\r\ncontent-type: {}\r\ncache-control: no-store\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
        if body.starts_with('{') { "application/json" } else { "text/plain" },
        body.len()
    );
    socket.write_all(text.as_bytes()).await?;
    socket.shutdown().await
}

fn reply(gateway: &Gateway, method: &[u8], target: &str) -> (&'static str, String) {
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    match (method, path) {
        (b"POST", "/purge") => match purge(query).and_then(|what| gateway.purge(&what).map_err(|bad| bad.to_string())) {
            Ok(dropped) => ("200 OK", format!("{{\"purged\":{dropped}}}\n")),
            Err(why) => ("400 Bad Request", format!("{why}\n")),
        },
        (_, "/purge") => ("405 Method Not Allowed", "expected POST /purge\n".to_string()),
        _ => ("404 Not Found", "expected POST /purge\n".to_string()),
    }
}

/// What a query names; anything else in it is refused, so that a typing error does not drop everything.
fn purge(query: &str) -> Result<Purge, String> {
    let mut what = Purge::default();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let value = decode(value.as_bytes(), Broken::Refuse).and_then(|value| String::from_utf8(value).ok());
        let place = match name {
            "source" => &mut what.source,
            "route" => &mut what.route,
            "call" => &mut what.call,
            other => return Err(format!("`{other}` is none of `source`, `route` and `call`")),
        };
        let Some(value) = value.filter(|value| !value.is_empty()) else {
            return Err(format!("`{name}` needs a percent-encoded value"));
        };
        if place.replace(value).is_some() {
            return Err(format!("`{name}` stands twice"));
        }
    }
    Ok(what)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{MapLookup, compile};

    const CONFIG: &str = "
sources: { shop: { url: http://shop.svc:8000, cache: 1m } }
routes: { 'GET /rules/{id:int}': { calls: { rules: shop /rules/$id } } }
";

    #[track_caller]
    fn check(method: &str, target: &str, expected: &str) {
        let gateway = Gateway::build(compile("gateway.yaml", CONFIG, &MapLookup::new()).unwrap()).unwrap();
        let (status, body) = reply(&gateway, method.as_bytes(), target);
        assert_eq!(format!("{status}: {}", body.trim_end()), expected, "{method} {target}");
    }

    #[test]
    fn what_is_asked_is_done_or_refused_and_never_guessed() {
        check("POST", "/purge", "200 OK: {\"purged\":0}");
        check(
            "POST",
            "/purge?source=shop&route=GET%20/rules/%7Bid:int%7D&call=rules",
            "200 OK: {\"purged\":0}",
        );
        check(
            "POST",
            "/purge?sourc=shop",
            "400 Bad Request: `sourc` is none of `source`, `route` and `call`",
        );
        check("POST", "/purge?source=", "400 Bad Request: `source` needs a percent-encoded value");
        check(
            "POST",
            "/purge?source=%zz",
            "400 Bad Request: `source` needs a percent-encoded value",
        );
        check("POST", "/purge?source=shop&source=shop", "400 Bad Request: `source` stands twice");
        check("POST", "/purge?source=promo", "400 Bad Request: no source is named `promo`");
        check("GET", "/purge", "405 Method Not Allowed: expected POST /purge");
        check("POST", "/", "404 Not Found: expected POST /purge");
    }
}
