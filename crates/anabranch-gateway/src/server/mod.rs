//! How requests come in and answers leave: one accepting loop, and per core a loop that serves what it is handed.
//!
//! Nothing here makes a thread. The binary runs one [`accept`] on its control thread and one [`run_core`] on each core's runtime; a
//! library user or a test that wants one runtime calls [`serve_on`].

mod head;
mod body;
mod pieces;
mod connection;
mod passing;
mod date;
mod stop;
mod health;
#[cfg(unix)]
mod admin;
mod cores;

pub use cores::{CoreHandle, CoreInbox, accept, core_inbox, run_core, serve_on};
pub use health::serve_health;
#[cfg(unix)]
pub use admin::serve_admin;
pub use stop::{Stop, StopHandle, stop};

use connection::serve as serve_connection;

use tokio::io::{AsyncRead, AsyncWrite};

use crate::gateway::Core;

/// Serves one connection over any stream until either side closes it, or until the stop is requested and it is idle.
pub async fn serve_stream<I: AsyncRead + AsyncWrite + Unpin + Send>(stream: I, core: Core, stop: Stop) {
    serve_connection(stream, core, None, stop).await;
}
