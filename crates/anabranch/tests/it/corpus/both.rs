//! One answer given to a client, and what the client makes of it; then the two codecs side by side. The fuzz target `answers`
//! is built from this file as well, so it uses the public face of the engine only.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anabranch::client::{Codec, Dial, DialLimits, Dialled, Endpoint, Stream, Timings, WireLimits, WireSettings};
use anabranch::{CallError, Client, Deadline, Kind, Marks, Request};
use http::Method;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::time::sleep;

/// What a peer does on its first connection; over later ones it gives [`HELLO`].
#[derive(Clone)]
pub(crate) struct Script {
    /// Of the request that it answers.
    pub(crate) method: Method,
    /// The bytes of the answer, written one piece a millisecond.
    pub(crate) pieces: Vec<Vec<u8>>,
    /// Whether it closes after the last piece; else it gives [`HELLO`] to every request that follows.
    pub(crate) closes: bool,
}

/// What a client made of an answer.
#[derive(Debug)]
pub(crate) struct Seen {
    /// The answer, or why there is none; [`Kind::Timeout`] where the client still waits long after the last piece.
    pub(crate) answer: Result<Answer, CallError>,
    /// Whether the next request went over the same connection.
    pub(crate) is_kept: bool,
}

/// An answer that was accepted.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// Sorted by name, and the values of one name in the order in which they came.
    pub(crate) headers: Vec<(String, Vec<u8>)>,
    pub(crate) body: Vec<u8>,
}

const HELLO: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello";

/// Asks such a peer, and asks again once it has played its part.
///
/// # Panics
/// The second request must be answered with [`HELLO`], whatever the first answer was: on a connection that stands clean, or a new one.
pub(crate) async fn ask(codec: Codec, script: Script) -> Seen {
    let method = script.method.clone();
    let played = Duration::from_millis(script.pieces.len() as u64 + 10);
    let dial = Arc::new(Stage(Mutex::new(Some(script))));
    let client = Client::builder().dial(dial).build();
    let settings = WireSettings {
        codec,
        max_lifetime: Duration::from_secs(3600),
        idle_timeout: Duration::from_secs(3600),
        ..WireSettings::default()
    };
    let endpoint = Endpoint::new("http://shop.test", settings).expect("the URL is right");
    let started = tokio::time::Instant::now();
    let (answer, _) = exchange(&client, &endpoint, method, played).await;
    let until = Deadline::at(started + played + Duration::from_millis(10));
    sleep(until.left()).await;
    let (next, is_kept) = exchange(&client, &endpoint, Method::GET, played).await;
    let next = next.unwrap_or_else(|error| panic!("{codec:?}: the next request failed: {error}"));
    assert_eq!(
        (next.status, &next.body[..]),
        (200, &b"hello"[..]),
        "{codec:?}: what the next request got"
    );
    assert_eq!(client.counts().repeated, 0, "{codec:?}: a request was repeated");
    Seen { answer, is_kept }
}

/// Whether ours made of an answer what hyper did, or refused it; else what is wrong.
pub(crate) fn as_strict(ours: &Seen, hypers: &Seen) -> Result<(), String> {
    match (&ours.answer, &hypers.answer) {
        (Err(error), Ok(_)) if error.kind() == Kind::Timeout => Err("ours waits for more of what is complete".to_string()),
        (Err(_), _) => Ok(()),
        (Ok(_), Err(error)) => Err(format!("ours accepts what hyper refuses: {error}")),
        (Ok(answer), Ok(reference)) if answer != reference => Err("they read different answers".to_string()),
        (Ok(_), Ok(_)) if ours.is_kept && !hypers.is_kept => Err("ours keeps a connection that hyper does not".to_string()),
        (Ok(_), Ok(_)) => Ok(()),
    }
}

async fn exchange(client: &Client, endpoint: &Endpoint, method: Method, played: Duration) -> (Result<Answer, CallError>, bool) {
    let request = Request::new(method, "/".to_string()).expect("the path is right");
    let (limits, marks, mut timings) = (WireLimits::default(), Marks::new(), Timings::default());
    let exchange = client.exchange(endpoint, &request, &limits, &marks, &mut timings);
    // Far less than what ends an idle connection, far more than a play takes.
    let bounded = Deadline::after(played + Duration::from_secs(60)).bound(exchange).await;
    let answer = bounded
        .unwrap_or_else(|_elapsed| Err(CallError::new(Kind::Timeout, "the client waits")))
        .map(|response| {
            let mut headers: Vec<_> = response.headers().map(|(name, value)| (name.to_string(), value.to_vec())).collect();
            headers.sort_by(|(name, _), (other, _)| name.cmp(other));
            Answer {
                status: response.status(),
                headers,
                body: response.body().to_vec(),
            }
        });
    (answer, timings.reused)
}

/// Dials peers that play the script, the first of them, or say hello.
struct Stage(Mutex<Option<Script>>);

impl Dial for Stage {
    fn dial<'a>(
        &'a self,
        _host: &'a str,
        _port: u16,
        _limits: DialLimits,
    ) -> Pin<Box<dyn Future<Output = Result<Dialled, CallError>> + Send + 'a>> {
        Box::pin(async {
            let (ours, theirs) = duplex(16 << 10);
            let script = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
            tokio::spawn(play(theirs, script));
            Ok(Dialled {
                stream: Stream::Boxed(Box::new(ours)),
                dns: None,
                connect: None,
            })
        })
    }
}

async fn play(mut stream: DuplexStream, script: Option<Script>) {
    if let Some(script) = script {
        let mut is_there = read_head(&mut stream).await;
        for piece in script.pieces {
            is_there = is_there && stream.write_all(&piece).await.is_ok();
            sleep(Duration::from_millis(1)).await;
        }
        if script.closes || !is_there {
            return;
        }
    }
    while read_head(&mut stream).await && stream.write_all(HELLO).await.is_ok() {}
}

/// Reads a request; `false` if the client closed the connection.
async fn read_head(stream: &mut DuplexStream) -> bool {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_closed) => return false,
        }
    }
    true
}
