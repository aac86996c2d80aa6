//! A peer in memory that answers commands as a test says. It lives in the test's runtime, so the clock may stand still.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use anabranch::client::{Dial, DialLimits, Dialled, Stream};
use anabranch::redis::{Redis, RedisBuilder};
use anabranch::{CallError, Kind};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, DuplexStream, duplex};

/// What the peer does when a command has come.
#[derive(Clone, Debug)]
pub(crate) enum Does {
    Answer(&'static str),
    /// Reads on without a word.
    Nothing,
    HangUp,
    AnswerAndHangUp(&'static str),
}

/// A command, and where it stands.
pub(crate) struct Asked<'a> {
    /// Which connection it came over; 0 is the first.
    pub(crate) connection: usize,
    pub(crate) name: &'a str,
}

type Script = dyn Fn(Asked<'_>) -> Does + Send + Sync;

pub(crate) struct Peer {
    script: Arc<Script>,
    dials: AtomicUsize,
    /// The connections from this one on are refused, up to the other one.
    refuses: std::ops::Range<usize>,
    hello: Does,
}

impl Peer {
    pub(crate) fn new(script: impl Fn(Asked<'_>) -> Does + Send + Sync + 'static) -> Self {
        Peer {
            script: Arc::new(script),
            dials: AtomicUsize::new(0),
            refuses: 0..0,
            hello: Does::Answer("%1\r\n$5\r\nproto\r\n:3\r\n"),
        }
    }

    /// Refuses these dials.
    pub(crate) fn refusing(mut self, dials: std::ops::Range<usize>) -> Self {
        self.refuses = dials;
        self
    }

    /// Does this with the greeting.
    pub(crate) fn greeting(mut self, hello: Does) -> Self {
        self.hello = hello;
        self
    }

    pub(crate) fn source(self) -> (Redis, Arc<Peer>) {
        self.source_with(|builder| builder)
    }

    pub(crate) fn source_with(self, change: impl FnOnce(RedisBuilder) -> RedisBuilder) -> (Redis, Arc<Peer>) {
        let peer = Arc::new(self);
        let builder = Redis::builder("hot", "redis://peer").dial(Arc::new(PeerDial(peer.clone())));
        (change(builder).build().unwrap(), peer)
    }

    pub(crate) fn dials(&self) -> usize {
        self.dials.load(Ordering::SeqCst)
    }
}

struct PeerDial(Arc<Peer>);

impl Dial for PeerDial {
    fn dial<'a>(
        &'a self,
        _host: &'a str,
        _port: u16,
        _limits: DialLimits,
    ) -> Pin<Box<dyn Future<Output = Result<Dialled, CallError>> + Send + 'a>> {
        Box::pin(async move {
            let connection = self.0.dials.fetch_add(1, Ordering::SeqCst);
            if self.0.refuses.contains(&connection) {
                return Err(CallError::new(Kind::Connect, "refused"));
            }
            let (ours, theirs) = duplex(64 << 10);
            tokio::spawn(serve(theirs, connection, self.0.script.clone(), self.0.hello.clone()));
            Ok(Dialled {
                stream: Stream::Boxed(Box::new(ours)),
                dns: None,
                connect: None,
            })
        })
    }
}

async fn serve(stream: DuplexStream, connection: usize, script: Arc<Script>, hello: Does) {
    let mut stream = BufReader::new(stream);
    while let Some(words) = command(&mut stream).await {
        let does = if words[0] == "HELLO" {
            hello.clone()
        } else {
            script(Asked {
                connection,
                name: &words[0],
            })
        };
        match does {
            Does::Answer(answer) => stream.write_all(answer.as_bytes()).await.unwrap_or(()),
            Does::Nothing => {}
            Does::HangUp => return,
            Does::AnswerAndHangUp(answer) => {
                let _gone = stream.write_all(answer.as_bytes()).await;
                return;
            }
        }
    }
}

async fn command(stream: &mut BufReader<DuplexStream>) -> Option<Vec<String>> {
    let count = number(stream, '*').await?;
    let mut words = Vec::new();
    for _ in 0..count {
        let length = number(stream, '$').await?;
        let mut word = vec![0; length + 2];
        stream.read_exact(&mut word).await.ok()?;
        words.push(String::from_utf8(word[..length].to_vec()).unwrap());
    }
    Some(words)
}

async fn number(stream: &mut BufReader<DuplexStream>, sign: char) -> Option<usize> {
    let mut line = String::new();
    stream.read_line(&mut line).await.ok().filter(|read| *read > 0)?;
    let number = line.strip_prefix(sign).and_then(|line| line.strip_suffix("\r\n"));
    Some(
        number
            .unwrap_or_else(|| panic!("expected a length after `{sign}`, not {line:?}"))
            .parse()
            .unwrap(),
    )
}
