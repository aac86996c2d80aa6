//! One page of twelve calls, answered again and again with nothing around it: no sockets, no kernel, no other process. Run under
//! callgrind by `scripts/instructions`, which compares the cost of a request with what is on record.
//!
//! ```text
//! instructions REQUESTS
//! ```

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use anabranch::client::{Dial, DialLimits, Dialled, Stream};
use anabranch::{CallError, Client};
use anabranch_gateway::config::MapLookup;
use anabranch_gateway::{Core, CoreOptions, Gateway, compile, server};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

const PARTS: [&str; 12] = [
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

fn main() {
    let requests = std::env::args().nth(1).and_then(|text| text.parse().ok()).unwrap_or(100);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let plan = compile("page.yaml", &config(), &MapLookup::new()).expect("a sound config");
        let client = Client::builder().dial(Arc::new(Canned(answer()))).build();
        let core = Core::new(Gateway::build(plan).expect("sources"), client, CoreOptions::default());
        let (_handle, stop) = server::stop();
        let mut browser = Browser {
            left: requests,
            is_due: true,
            answers: 0,
            seen: Vec::new(),
        };
        server::serve_stream(&mut browser, core, stop).await;
        assert_eq!(browser.answers, requests, "every request was answered with a whole page");
    });
}

fn config() -> String {
    let mut sources = String::new();
    let mut calls = String::new();
    for part in PARTS {
        sources.push_str(&format!("  {part}: {{ url: \"http://{part}.svc:8000\" }}\n"));
        calls.push_str(&format!("      {part}: {part} /{part}/$id?lang=$lang\n"));
    }
    format!(
        "defaults: {{ timeout: 1s, retry: 1 }}\nsources:\n{sources}routes:\n  GET /page/{{id:int}}:\n    query: {{ lang: en }}\n    headers: [Accept-Language]\n    deadline: 2s\n    need: [activity, items]\n    calls:\n{calls}"
    )
}

/// An answer with a body of about 1 KB, as an API gives it.
fn answer() -> Vec<u8> {
    let items: Vec<String> = (0..8)
        .map(|id| {
            format!(
                r#"{{"id":{},"name":"item number {id} of a list","price":{}.25,"tags":["red","small"],"on":true}}"#,
                1000 + id,
                10 + id
            )
        })
        .collect();
    let body = format!(r#"{{"total":8,"items":[{}],"note":null}}"#, items.join(","));
    format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

/// A network whose every connection gives the same answer to every request.
struct Canned(Vec<u8>);

impl Dial for Canned {
    fn dial<'a>(
        &'a self,
        _host: &'a str,
        _port: u16,
        _limits: DialLimits,
    ) -> Pin<Box<dyn Future<Output = Result<Dialled, CallError>> + Send + 'a>> {
        let service = Service {
            answer: self.0.clone(),
            state: State::Idle,
        };
        Box::pin(async move {
            Ok(Dialled {
                stream: Stream::Boxed(Box::new(service)),
                dns: None,
                connect: None,
            })
        })
    }
}

/// A connection to a service that answers, as one across a network does, only after it was waited for.
struct Service {
    answer: Vec<u8>,
    state: State,
}

#[derive(Clone, Copy, PartialEq)]
enum State {
    Idle,
    Asked,
    WaitedFor,
}

impl AsyncRead for Service {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.state {
            State::Idle => Poll::Pending,
            State::Asked => {
                self.state = State::WaitedFor;
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            State::WaitedFor => {
                self.state = State::Idle;
                buf.put_slice(&self.answer);
                Poll::Ready(Ok(()))
            }
        }
    }
}

impl AsyncWrite for Service {
    fn poll_write(mut self: Pin<&mut Self>, _cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        if buf.ends_with(b"\r\n\r\n") {
            self.state = State::Asked;
        }
        Poll::Ready(Ok(buf.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// A client that asks for the page, takes the answer, and asks again, until it has asked often enough and closes.
struct Browser {
    left: usize,
    /// Whether the next read gives a request.
    is_due: bool,
    answers: usize,
    seen: Vec<u8>,
}

const REQUEST: &[u8] = b"GET /page/7?lang=de HTTP/1.1\r\nHost: shop.example\r\nAccept: application/json\r\nAccept-Language: de\r\n\r\n";

impl AsyncRead for Browser {
    fn poll_read(mut self: Pin<&mut Self>, _cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if !self.is_due {
            return Poll::Pending;
        }
        self.is_due = false;
        if self.left > 0 {
            self.left -= 1;
            buf.put_slice(REQUEST);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Browser {
    fn poll_write(mut self: Pin<&mut Self>, _cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.seen.extend_from_slice(buf);
        if self.seen.ends_with(b"\"note\":null}}") {
            self.answers += usize::from(self.seen.starts_with(b"HTTP/1.1 200"));
            self.seen.clear();
            self.is_due = true;
        }
        Poll::Ready(Ok(buf.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
