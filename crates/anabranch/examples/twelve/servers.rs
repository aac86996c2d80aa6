//! Twelve HTTP servers on free ports of this machine.

use std::io;
use std::time::Duration;

use anabranch_testkit::{Fault, Reply, TcpUpstream, Upstream};

const NAMES: [&str; 12] = [
    "activity",
    "items",
    "prices",
    "stock",
    "rules",
    "banners",
    "coupons",
    "profile",
    "cart",
    "rank",
    "comments",
    "recommend",
];

/// A server and the name of its service.
pub(crate) type Named = (&'static str, TcpUpstream);

/// Starts them. Each answers 20 ms later than the one before; `cart` never does, and `rules` answers 500.
pub(crate) async fn start() -> io::Result<Vec<Named>> {
    let mut servers = Vec::new();
    for (at, name) in NAMES.into_iter().enumerate() {
        let latency = Duration::from_millis(20) * (at as u32 + 1);
        let reply = Reply::get("/page/*").json(format!(r#"{{"part":"{name}"}}"#)).delay(latency);
        let reply = match name {
            "cart" => reply.fault(Fault::Hang),
            "rules" => reply.status(500),
            _ => reply,
        };
        servers.push((name, TcpUpstream::start(Upstream::new(name).reply(reply), "127.0.0.1:0").await?));
    }
    Ok(servers)
}
