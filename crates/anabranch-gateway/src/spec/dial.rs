//! The engine's way into a network in memory.

use std::future::Future;
use std::io::ErrorKind;
use std::pin::Pin;

use anabranch::client::{Dial, DialLimits, Dialled, Stream};
use anabranch::{CallError, Deadline, Kind, Phase};
use anabranch_testkit::MemoryNetwork;
use tokio::time::Instant;

/// Opens streams to the hosts of a [`MemoryNetwork`]. There are no addresses, hence no look-ups.
#[derive(Clone, Debug)]
pub struct MemoryDial {
    network: MemoryNetwork,
}

impl MemoryDial {
    /// Dials the hosts of this network.
    pub fn new(network: MemoryNetwork) -> Self {
        MemoryDial { network }
    }

    async fn open(&self, host: &str, port: u16, limits: DialLimits) -> Result<Dialled, CallError> {
        limits.enter(Phase::Connect);
        let started = Instant::now();
        let failed = |detail: String| CallError::new(Kind::Connect, detail).in_phase(Phase::Connect);
        match Deadline::after(limits.connect).bound(self.network.connect(host, port)).await {
            Ok(Ok(stream)) => Ok(Dialled {
                stream: Stream::Boxed(Box::new(stream)),
                dns: None,
                connect: Some(started.elapsed()),
            }),
            Ok(Err(error)) if error.kind() == ErrorKind::ConnectionRefused => Err(failed(format!("{host}:{port} refused the connection"))),
            Ok(Err(error)) => Err(failed(format!("no connection to {host}:{port}: {error}"))),
            Err(_elapsed) => Err(failed(format!("no connection to {host}:{port} within {:?}", limits.connect))),
        }
    }
}

impl Dial for MemoryDial {
    fn dial<'a>(
        &'a self,
        host: &'a str,
        port: u16,
        limits: DialLimits,
    ) -> Pin<Box<dyn Future<Output = Result<Dialled, CallError>> + Send + 'a>> {
        Box::pin(self.open(host, port, limits))
    }
}
