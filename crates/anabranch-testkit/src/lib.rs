//! Upstreams that follow a script: for tests, for `anabranch mock`, `anabranch demo` and `anabranch test`.
//!
//! An [`Upstream`] is a name and a list of [`Reply`] rules. A rule says which requests it answers ([`When`]), with what, how late
//! ([`Latency`]), how often wrongly ([`Errors`]), and how badly ([`Fault`]). The same script is served on loopback by a
//! [`TcpUpstream`], in memory by a [`MemoryNetwork`] (which works while tokio's clock is paused), or on any other stream by [`serve`].
//! HTTP/1.1 and HTTP/2 with prior knowledge are told apart by the first bytes of a connection.
//!
//! A [`Served`] upstream remembers each request as a [`Seen`] and counts connections and requests ([`Counts`]).
//!
//! ```
//! use anabranch_testkit::{MemoryNetwork, Reply, Upstream};
//! use std::time::Duration;
//! use tokio::io::{AsyncReadExt, AsyncWriteExt};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> std::io::Result<()> {
//! let network = MemoryNetwork::new();
//! let users = network.host(
//!     "users:80",
//!     Upstream::new("users").reply(Reply::get("/user/*").json(r#"{"id":7}"#).delay(Duration::from_millis(5))),
//! );
//!
//! let mut stream = network.connect("users", 80).await?;
//! stream.write_all(b"GET /user/7 HTTP/1.1\r\nhost: users\r\nconnection: close\r\n\r\n").await?;
//! let mut reply = String::new();
//! stream.read_to_string(&mut reply).await?;
//!
//! assert!(reply.ends_with(r#"{"id":7}"#));
//! assert_eq!(users.seen()[0].path_and_query, "/user/7");
//! # Ok(())
//! # }
//! ```

mod script;
mod when;
mod latency;
mod fault;
mod answer;
mod ranges;
mod flow;
mod echo;
mod gzip;
mod seen;
mod served;
mod serve;
mod wire;
mod request;
mod http2;
mod tcp;
mod memory;

pub use script::{Body, Errors, Framing, Reply, Upstream};
pub use when::When;
pub use latency::Latency;
pub use fault::Fault;
pub use seen::{Counts, Ended, Seen};
pub use served::Served;
pub use serve::{End, serve};
pub use tcp::{BlackHole, TcpUpstream, closed_port};
pub use memory::{Connecting, MemoryNetwork};
