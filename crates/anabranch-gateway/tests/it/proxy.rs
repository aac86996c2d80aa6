//! Routes that are passed through, over real sockets: what goes along and what stays behind, bodies larger than any buffer, sides that
//! are slow, cut off or gone.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use anabranch_testkit::{Reply as Scripted, Upstream};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;

use crate::setup::{Peer, Running, alone, ms, soon, until, upstream};

const CHUNK: usize = 64 << 10;

/// A source that is a function of a connection.
async fn raw<F, T>(serve: F) -> SocketAddr
where
    F: Fn(TcpStream) -> T + Send + Sync + 'static,
    T: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream));
        }
    });
    address
}

/// Reads up to the end of a head; gives it and what came behind it.
async fn head(stream: &mut TcpStream) -> (String, Vec<u8>) {
    let mut read = Vec::new();
    loop {
        if let Some(at) = read.windows(4).position(|end| end == b"\r\n\r\n") {
            let rest = read.split_off(at + 4);
            return (String::from_utf8(read).unwrap(), rest);
        }
        if !matches!(stream.read_buf(&mut read).await, Ok(1..)) {
            return (String::new(), read);
        }
    }
}

async fn gateway(source: &str, routes: &str) -> Running {
    Running::start(&format!("sources:\n  media: {{ {source} }}\nroutes:\n{routes}")).await
}

fn request(line: &str, headers: &str) -> String {
    format!("{line} HTTP/1.1\r\nhost: gateway\r\n{headers}\r\n")
}

#[tokio::test]
async fn what_describes_the_request_goes_along_and_the_rest_stays_behind() {
    let media = upstream(Upstream::new("media").reply(Scripted::path("/**").json("1"))).await;
    let routes = "
  GET /assets/*path:
    headers: [X-Request-Id, Authorization]
    proxy: media /files/$path
  GET /search/{id:int}:
    query: { lang: en }
    proxy: { to: media /find/$id?l=$lang, query: pass, headers: { X-Id: $id } }
  GET /own/{name}/*rest: { headers: [User-Agent], proxy: media }
";
    let running = gateway(&format!("url: {}", media.url()), routes).await;
    let mut peer = running.connect().await;
    let ask = async |peer: &mut Peer, line: &str, headers: &str| {
        peer.send(request(line, headers)).await;
        peer.reply().await
    };
    let sent = "accept: text/css\r\nrange: bytes=0-9\r\nif-none-match: \"a\"\r\nx-request-id: 7\r\nauthorization: Bearer s\r\n\
                cookie: a=1\r\nx-other: 1\r\nconnection: keep-alive, x-request-id2\r\nte: trailers\r\nx-forwarded-for: 1.2.3.4\r\nvia: 1.1 x\r\n";
    assert_eq!(ask(&mut peer, "GET /assets/css/a%20b.css?x=1", sent).await.status, 200);
    let seen = media.seen();
    assert_eq!(seen[0].path_and_query, "/files/css/a%20b.css");
    let mut names: Vec<String> = seen[0]
        .headers
        .iter()
        .map(|(name, value)| format!("{name}={}", value.to_str().unwrap()))
        .collect();
    names.retain(|line| !line.starts_with("traceparent=") && !line.starts_with("user-agent=anabranch/") && !line.starts_with("host="));
    names.sort();
    assert_eq!(
        names,
        [
            "accept=text/css",
            "if-none-match=\"a\"",
            "range=bytes=0-9",
            "via=1.1 anabranch",
            "x-forwarded-for=127.0.0.1",
            "x-forwarded-host=gateway",
            "x-forwarded-proto=http",
            "x-request-id=7",
        ]
    );
    assert_eq!(ask(&mut peer, "GET /search/7?q=a%26b&lang=de", "").await.status, 200);
    assert_eq!(ask(&mut peer, "GET /own/x/a/b/", "user-agent: me\r\n").await.status, 200);
    // What the config says of the query stands, however the client spells it.
    assert_eq!(ask(&mut peer, "GET /search/7?l=xx&q=1&&%6C=yy&l", "").await.status, 200);
    let seen = media.seen();
    assert_eq!(seen[3].path_and_query, "/find/7?l=en&q=1");
    assert_eq!(seen[1].path_and_query, "/find/7?l=de&q=a%26b&lang=de");
    assert_eq!(seen[1].header("x-id"), Some("7"));
    assert_eq!(seen[2].path_and_query, "/own/x/a/b/");
    assert_eq!(seen[2].headers.get_all("user-agent").iter().collect::<Vec<_>>(), ["me"]);
    // The last slash may stand; what would leave the folder may not.
    for path in [
        "/assets/../x",
        "/assets/a/%2e%2e/b",
        "/assets/a//b",
        "/assets/a%2fb",
        "/assets//",
        "/assets/%5c",
        "/assets/a%00",
    ] {
        let reply = ask(&mut peer, &format!("GET {path}"), "").await;
        assert!(matches!(reply.status, 400 | 404), "{path}: {}", reply.status);
    }
    assert_eq!(media.seen().len(), 4);
}

#[tokio::test]
async fn a_credential_goes_only_where_the_source_passes_it() {
    let media = upstream(Upstream::new("media").reply(Scripted::path("/**").json("1"))).await;
    let routes = "  GET /a: { headers: [Authorization], proxy: media /a }\n";
    let running = gateway(&format!("url: {}, pass: [Authorization]", media.url()), routes).await;
    let mut peer = running.connect().await;
    peer.send(request("GET /a", "authorization: Bearer s\r\ncookie: b=2\r\n")).await;
    assert_eq!(peer.reply().await.status, 200);
    assert_eq!(media.seen()[0].header("authorization"), Some("Bearer s"));
    assert_eq!(media.seen()[0].header("cookie"), None);
}

#[tokio::test]
async fn answers_keep_status_and_headers_but_not_those_of_their_connection() {
    let address = raw(async |mut stream| {
        let (head, _) = head(&mut stream).await;
        let answer = match head.split(' ').nth(1).unwrap() {
            "/none" => "HTTP/1.1 204 No Content\r\netag: \"a\"\r\n\r\n".to_owned(),
            "/same" => "HTTP/1.1 304 Not Modified\r\netag: \"a\"\r\ncontent-length: 10\r\n\r\n".to_owned(),
            "/part" => "HTTP/1.1 206 Partial Content\r\ncontent-range: bytes 0-1/10\r\ncontent-length: 2\r\n\r\nab".to_owned(),
            "/gone" => "HTTP/1.1 302 Found\r\nlocation: /else\r\ncontent-length: 0\r\n\r\n".to_owned(),
            "/early" => "HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\nHTTP/1.1 404 Not Found\r\ncontent-length: 3\r\n\r\nnot".to_owned(),
            _ if head.starts_with("HEAD") => "HTTP/1.1 200 OK\r\ncontent-length: 10\r\nx-a: 1\r\n\r\n".to_owned(),
            _ => "HTTP/1.1 200 OK\r\ncontent-length: 10\r\nset-cookie: s=1\r\nserver: x/1\r\nconnection: x-hop, close\r\nx-hop: 1\r\nx-a: 1\r\n\
                  cache-control: max-age=5\r\ndate: Fri, 20 Nov 2026 10:00:00 GMT\r\n\r\n0123456789"
                .to_owned(),
        };
        let _ = stream.write_all(answer.as_bytes()).await;
    })
    .await;
    let routes = "  GET /*path: { proxy: media /$path }\n  GET /cookies/a: { proxy: { to: media /a, forward: [Set-Cookie] } }\n";
    let running = gateway(&format!("url: http://{address}"), routes).await;
    let mut peer = running.connect().await;
    let ask = async |peer: &mut Peer, line: &str| {
        peer.send(request(line, "")).await;
        if line.starts_with("HEAD") || line.ends_with("/same") {
            peer.reply_to_head().await
        } else {
            peer.reply().await
        }
    };
    let reply = ask(&mut peer, "GET /a").await;
    assert_eq!((reply.status, reply.text(), reply.header("x-a")), (200, "0123456789", Some("1")));
    assert_eq!(reply.header("date"), Some("Fri, 20 Nov 2026 10:00:00 GMT"));
    assert_eq!(
        (reply.header("cache-control"), reply.header("via")),
        (Some("max-age=5"), Some("1.1 anabranch"))
    );
    for name in ["set-cookie", "server", "x-hop", "connection"] {
        assert_eq!(reply.header(name), None, "{name}");
    }
    assert_eq!(ask(&mut peer, "GET /cookies/a").await.header("set-cookie"), Some("s=1"));
    let reply = ask(&mut peer, "HEAD /a").await;
    assert_eq!((reply.status, reply.header("content-length")), (200, Some("10")));
    let reply = ask(&mut peer, "GET /none").await;
    assert_eq!(
        (reply.status, reply.header("content-length"), reply.header("etag")),
        (204, None, Some("\"a\""))
    );
    let reply = ask(&mut peer, "GET /same").await;
    assert_eq!((reply.status, reply.header("content-length")), (304, Some("10")));
    let reply = ask(&mut peer, "GET /part").await;
    assert_eq!(
        (reply.status, reply.header("content-range"), reply.text()),
        (206, Some("bytes 0-1/10"), "ab")
    );
    assert_eq!(ask(&mut peer, "GET /gone").await.header("location"), Some("/else"));
    let reply = ask(&mut peer, "GET /early").await;
    assert_eq!((reply.status, reply.text(), reply.header("link")), (404, "not", None));
}

/// The most memory that this process has used, in KiB.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

const LARGE: u64 = 200 << 20;

/// A source that sends and takes 200 MB.
async fn large() -> SocketAddr {
    raw(async |mut stream| {
        let (head, rest) = head(&mut stream).await;
        let chunk = vec![b'x'; CHUNK];
        if head.starts_with("GET /length") {
            let _ = stream
                .write_all(format!("HTTP/1.1 200 OK\r\ncontent-length: {LARGE}\r\n\r\n").as_bytes())
                .await;
            for _ in 0..LARGE / CHUNK as u64 {
                stream.write_all(&chunk).await.unwrap();
            }
        } else if head.starts_with("GET /chunks") {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").await;
            for _ in 0..LARGE / CHUNK as u64 {
                stream.write_all(b"10000\r\n").await.unwrap();
                stream.write_all(&chunk).await.unwrap();
                stream.write_all(b"\r\n").await.unwrap();
            }
            stream.write_all(b"0\r\n\r\n").await.unwrap();
        } else {
            let mut count = rest.len() as u64;
            let mut buffer = vec![0; CHUNK];
            while count < LARGE {
                count += stream.read(&mut buffer).await.unwrap() as u64;
            }
            let text = count.to_string();
            let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{text}", text.len());
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
    })
    .await
}

#[tokio::test]
async fn two_hundred_megabytes_each_way_need_no_memory() {
    if !alone("proxy::two_hundred_megabytes_each_way_need_no_memory").await {
        return;
    }
    let source = large().await;
    let routes = "  GET /*path: { proxy: media /$path }\n  PUT /in: { proxy: media /in, body: { max: 1G } }\n";
    let running = gateway(&format!("url: http://{source}"), routes).await;
    let before = peak();
    let mut buffer = vec![0; CHUNK];
    for path in ["/length", "/chunks"] {
        let mut stream = TcpStream::connect(running.address).await.unwrap();
        stream
            .write_all(request(&format!("GET {path}"), "connection: close\r\n").as_bytes())
            .await
            .unwrap();
        let mut count = 0;
        loop {
            match tokio::time::timeout(ms(10_000), stream.read(&mut buffer)).await.unwrap().unwrap() {
                0 => break,
                read => count += read as u64,
            }
        }
        assert!(count > LARGE && count < LARGE + (1 << 20), "{path}: {count}");
    }
    let mut stream = TcpStream::connect(running.address).await.unwrap();
    stream
        .write_all(request("PUT /in", &format!("content-length: {LARGE}\r\n")).as_bytes())
        .await
        .unwrap();
    for _ in 0..LARGE / CHUNK as u64 {
        stream.write_all(&buffer).await.unwrap();
    }
    let mut peer = Peer::over(stream);
    let reply = peer.reply().await;
    assert_eq!((reply.status, reply.text()), (200, LARGE.to_string().as_str()));
    let grown = peak() - before;
    assert!(grown < 16 << 10, "grew by {grown} KiB");
}

#[tokio::test]
async fn a_client_that_does_not_read_stops_the_source_and_nothing_is_held() {
    let sent = Arc::new(AtomicU64::new(0));
    let counted = sent.clone();
    let source = raw(move |mut stream| {
        let sent = counted.clone();
        async move {
            head(&mut stream).await;
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").await;
            let chunk = [b"10000\r\n".as_slice(), &vec![b'x'; CHUNK], b"\r\n"].concat();
            while stream.write_all(&chunk).await.is_ok() {
                sent.fetch_add(CHUNK as u64, Ordering::Relaxed);
            }
        }
    })
    .await;
    let running = gateway(
        &format!("url: http://{source}"),
        "  GET /a: { proxy: { to: media /a, body_idle: 2s } }\n",
    )
    .await;
    let mut peer = running.connect().await;
    peer.send(request("GET /a", "")).await;
    // The buffers of the system's sockets fill, and then nothing more is read.
    let mut last = 0;
    let settled = async {
        loop {
            tokio::time::sleep(ms(200)).await;
            let now = sent.load(Ordering::Relaxed);
            if now > 0 && now == last {
                return now;
            }
            last = now;
        }
    };
    let settled = soon(settled).await;
    assert!(settled < 32 << 20, "the source could send {settled} bytes");
    // It takes nothing for longer than it may: the place in flight is given back, and the source learns it.
    until("the place is free", || running.gateway.sources()[0].in_flight() == 0).await;
}

#[tokio::test]
async fn an_answer_that_is_cut_never_looks_whole() {
    let source = raw(async |mut stream| {
        let (head, _) = head(&mut stream).await;
        let answer: &[u8] = match head.split(' ').nth(1).unwrap() {
            "/length" => b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nonly this",
            "/chunks" | "/broken" => b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n9\r\nonly this\r\n",
            _ => b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nonly this",
        };
        let _ = stream.write_all(answer).await;
        if head.starts_with("GET /broken") {
            tokio::time::sleep(ms(50)).await;
            let _ = stream.write_all(b"zz\r\n").await;
            tokio::time::sleep(ms(3_000)).await;
        }
        if head.starts_with("GET /reset") {
            tokio::time::sleep(ms(50)).await;
            stream.set_zero_linger().unwrap();
        }
        if head.starts_with("GET /silent") {
            tokio::time::sleep(ms(3_000)).await;
        }
    })
    .await;
    let routes = "  GET /*path: { proxy: { to: media /$path, body_idle: 200ms, retry: 0 } }\n";
    let running = gateway(&format!("url: http://{source}"), routes).await;
    for path in ["/length", "/chunks", "/broken", "/reset", "/silent"] {
        let mut peer = running.connect().await;
        peer.send(request(&format!("GET {path}"), "")).await;
        let began = Instant::now();
        let rest = String::from_utf8(peer.rest().await).unwrap();
        assert!(began.elapsed() < ms(1_500), "{path}: {:?}", began.elapsed());
        assert!(rest.starts_with("HTTP/1.1 200 OK\r\n"), "{path}: {rest}");
        assert!(rest.contains("only this") && !rest.ends_with("0\r\n\r\n"), "{path}: {rest}");
    }
    until("all places are free", || running.gateway.sources()[0].in_flight() == 0).await;
}

#[tokio::test]
async fn a_client_that_leaves_takes_its_request_along() {
    let gone = Arc::new(AtomicUsize::new(0));
    let counted = gone.clone();
    let source = raw(move |mut stream| {
        let gone = counted.clone();
        async move {
            let (head, _) = head(&mut stream).await;
            if head.starts_with("GET /begun") {
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nbegun").await;
            }
            // Everything that still comes, up to the end.
            let mut rest = Vec::new();
            let _ = stream.read_to_end(&mut rest).await;
            assert!(!rest.ends_with(b"0\r\n\r\n"), "half a body must not look whole");
            gone.fetch_add(1, Ordering::Relaxed);
        }
    })
    .await;
    let routes = "  GET /*path: { proxy: media /$path }\n  POST /in: { proxy: media /in }\n";
    let running = gateway(&format!("url: http://{source}"), routes).await;
    let begun = [
        request("GET /waits", ""),
        request("GET /begun", ""),
        request("POST /in", "content-length: 100\r\n") + "half",
        request("POST /in", "transfer-encoding: chunked\r\n") + "4\r\nhalf\r\n",
    ];
    for (at, text) in begun.iter().enumerate() {
        let mut peer = running.connect().await;
        peer.send(text).await;
        until("the source is asked", || running.gateway.sources()[0].in_flight() == 1).await;
        tokio::time::sleep(ms(30)).await;
        let left = Instant::now();
        drop(peer);
        until("the source's connection ends", || gone.load(Ordering::Relaxed) == at + 1).await;
        assert!(left.elapsed() < ms(500), "{text}: {:?}", left.elapsed());
        until("the place is free", || running.gateway.sources()[0].in_flight() == 0).await;
    }
}

#[tokio::test]
async fn bodies_of_requests_go_through_framed_anew() {
    let media = upstream(Upstream::new("media").reply(Scripted::post("/in").echo())).await;
    let running = gateway(
        &format!("url: {}", media.url()),
        "  POST /in: { proxy: media /in, body: { max: 100K } }\n",
    )
    .await;
    let mut peer = running.connect().await;
    // Two requests at once over one connection, the first in chunks.
    let first = request("POST /in", "transfer-encoding: chunked\r\ncontent-type: text/plain\r\n")
        + "3;a=b\r\nabc\r\n2\r\nde\r\n0\r\nx-t: 1\r\n\r\n";
    let second = request("POST /in", "content-length: 3\r\n") + "fgh";
    peer.send(first + &second).await;
    assert_eq!(peer.reply().await.status, 200);
    assert_eq!(peer.reply().await.status, 200);
    peer.send(request("POST /in", "content-length: 0\r\n")).await;
    assert_eq!(peer.reply().await.status, 200);
    let seen = media.seen();
    let bodies: Vec<&[u8]> = seen.iter().map(|seen| &seen.body[..]).collect();
    assert_eq!(bodies, [&b"abcde"[..], b"fgh", b""]);
    assert_eq!(seen[0].header("content-type"), Some("text/plain"));
    assert_eq!(
        (seen[0].header("transfer-encoding"), seen[0].header("x-t")),
        (Some("chunked"), None)
    );
    assert_eq!(seen[1].header("content-length"), Some("3"));
    // A client that asks first is told to go on.
    peer.send(request("POST /in", "content-length: 3\r\nexpect: 100-continue\r\n"))
        .await;
    let told = peer.reply_to_head().await;
    assert_eq!(told.status, 100);
    peer.send("abc").await;
    assert_eq!(peer.reply().await.status, 200);
}

#[tokio::test]
async fn what_two_readers_could_frame_in_two_ways_is_refused() {
    let media = upstream(Upstream::new("media").reply(Scripted::path("/**").json("1"))).await;
    let routes = "  POST /in: { proxy: media /in, body: { max: 1K } }\n  GET /get: { proxy: media /get }\n";
    let running = gateway(&format!("url: {}", media.url()), routes).await;
    let hidden = "GET /get HTTP/1.1\r\nhost: gateway\r\n\r\n";
    let cases = [
        (400, request("POST /in", "content-length: 3\r\ntransfer-encoding: chunked\r\n")),
        (400, request("POST /in", "content-length: 3\r\ncontent-length: 3\r\n")),
        (501, request("POST /in", "transfer-encoding: gzip, chunked\r\n")),
        (400, request("POST /in", "transfer-encoding: chunked\r\n") + "3\nabc\r\n0\r\n\r\n"),
        (
            400,
            request("POST /in", "transfer-encoding: chunked\r\n") + "3\r\nabcd\r\n0\r\n\r\n",
        ),
        (
            400,
            request("POST /in", "transfer-encoding: chunked\r\n") + "0x3\r\nabc\r\n0\r\n\r\n",
        ),
        (
            400,
            request("POST /in", "transfer-encoding: chunked\r\n") + "3\r\nabc\r\n0\r\nt: 1\n\r\n",
        ),
        (413, request("POST /in", "content-length: 1025\r\n")),
        (413, request("POST /in", "transfer-encoding: chunked\r\n") + "401\r\n"),
        (400, request("GET /get", "content-length: 3\r\n") + "abc"),
    ];
    for (status, text) in &cases {
        let mut peer = running.connect().await;
        peer.send_if_taken(format!("{text}{hidden}{hidden}").as_bytes()).await;
        let reply = peer.reply().await;
        assert_eq!((reply.status, reply.closes()), (*status, true), "{text:?}: {}", reply.text());
        let rest = peer.rest().await;
        assert!(rest.is_empty(), "{text:?}: {}", String::from_utf8_lossy(&rest));
    }
    assert!(
        media.seen().iter().all(|seen| seen.path() == "/in" && seen.cancelled()),
        "{:?}",
        media.seen()
    );
}

#[tokio::test]
async fn an_early_answer_ends_the_upload() {
    let source = raw(async |mut stream| {
        head(&mut stream).await;
        let _ = stream
            .write_all(b"HTTP/1.1 403 Forbidden\r\ncontent-length: 2\r\nconnection: close\r\n\r\nno")
            .await;
        let _ = stream.shutdown().await;
        let mut rest = vec![0; 1024];
        let _ = tokio::time::timeout(ms(300), stream.read(&mut rest)).await;
    })
    .await;
    let running = gateway(
        &format!("url: http://{source}"),
        "  POST /in: { proxy: media /in, body: { max: 1G } }\n",
    )
    .await;
    let mut peer = running.connect().await;
    peer.send(request("POST /in", "content-length: 100000000\r\n") + "begin").await;
    let reply = peer.reply().await;
    assert_eq!((reply.status, reply.text(), reply.closes()), (403, "no", true));
    until("the place is free", || running.gateway.sources()[0].in_flight() == 0).await;
}

#[tokio::test]
async fn what_fails_before_the_first_byte_is_a_problem() {
    let source = raw(async |mut stream| {
        let (head, _) = head(&mut stream).await;
        if head.starts_with("GET /protocol") {
            let _ = stream.write_all(b"SMTP hello\r\n\r\n").await;
        } else {
            tokio::time::sleep(ms(2_000)).await;
        }
    })
    .await;
    let closed = anabranch_testkit::closed_port().await.unwrap();
    let config = format!(
        "
sources:
  media: {{ url: http://{source}, in_flight: 1, queue: 0, retry: 0 }}
  none: {{ url: http://{closed}, retry: 0 }}
routes:
  GET /slow: {{ proxy: {{ to: media /slow, first_byte: 300ms }} }}
  GET /late: {{ deadline: 200ms, proxy: media /slow }}
  GET /protocol: {{ proxy: media }}
  GET /none: {{ proxy: none }}
"
    );
    let running = Running::start(&config).await;
    let status = async |path: &str| running.get(path).await.status;
    assert_eq!(status("/none").await, 502);
    assert_eq!(status("/protocol").await, 502);
    assert_eq!(status("/late").await, 504);
    let waits = async { running.get("/slow").await };
    let refused = async {
        until("the place is taken", || running.gateway.sources()[0].in_flight() == 1).await;
        running.get("/slow").await
    };
    let (late, refused) = tokio::join!(waits, refused);
    assert_eq!((late.status, late.header("content-type")), (504, Some("application/problem+json")));
    assert_eq!((refused.status, refused.header("retry-after")), (503, Some("1")));
    assert!(!late.text().contains("127.0.0.1"), "{}", late.text());
}

#[tokio::test]
async fn only_what_may_be_repeated_is() {
    let media = upstream(
        Upstream::new("media")
            .reply(Scripted::path("/**").status(503).times(1))
            .reply(Scripted::path("/**").json("1")),
    )
    .await;
    let routes = "  GET /a: { proxy: media }\n  POST /b: { proxy: media }\n";
    let running = gateway(&format!("url: {}", media.url()), routes).await;
    assert_eq!(running.get("/a").await.status, 200);
    assert_eq!(media.seen().len(), 2);
    media.served().follow(
        Upstream::new("media")
            .reply(Scripted::path("/**").status(503).times(1))
            .reply(Scripted::path("/**").json("1")),
    );
    let mut peer = running.connect().await;
    peer.send(request("POST /b", "content-length: 1\r\n") + "x").await;
    assert_eq!(peer.reply().await.status, 503);
}

#[tokio::test]
async fn a_client_of_http_1_0_is_told_the_length_or_that_there_is_none() {
    let source = raw(async |mut stream| {
        let (head, _) = head(&mut stream).await;
        let answer: &[u8] = if head.starts_with("GET /length") {
            b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
        } else {
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"
        };
        let _ = stream.write_all(answer).await;
    })
    .await;
    let running = gateway(&format!("url: http://{source}"), "  GET /*path: { proxy: media /$path }\n").await;
    let mut peer = running.connect().await;
    peer.send("GET /length HTTP/1.0\r\n\r\n").await;
    let reply = peer.reply().await;
    assert_eq!((reply.status, reply.text(), reply.closes()), (200, "ok", true));
    let mut peer = running.connect().await;
    peer.send("GET /chunks HTTP/1.0\r\n\r\n").await;
    assert_eq!(peer.reply().await.status, 502);
    let mut peer = running.connect().await;
    peer.send(request("GET /chunks", "connection: close\r\n")).await;
    let rest = String::from_utf8(peer.rest().await).unwrap();
    assert!(rest.ends_with("\r\n\r\n2\r\nok\r\n0\r\n\r\n"), "{rest}");
}

#[tokio::test]
async fn pieces_come_through_as_they_are_made() {
    let source = raw(async |mut stream| {
        head(&mut stream).await;
        let _ = stream
            .write_all(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
            .await;
        for _ in 0..3 {
            let _ = stream.write_all(b"8\r\ndata: x\n\r\n").await;
            tokio::time::sleep(ms(300)).await;
        }
        let _ = stream.write_all(b"0\r\n\r\n").await;
    })
    .await;
    let running = gateway(&format!("url: http://{source}"), "  GET /events: { proxy: media }\n").await;
    let mut stream = TcpStream::connect(running.address).await.unwrap();
    let began = Instant::now();
    stream.write_all(request("GET /events", "").as_bytes()).await.unwrap();
    let mut read = Vec::new();
    while !String::from_utf8_lossy(&read).contains("data: x") {
        assert!(soon(stream.read_buf(&mut read)).await.unwrap() > 0);
    }
    assert!(began.elapsed() < Duration::from_millis(250), "{:?}", began.elapsed());
}

#[tokio::test]
async fn a_source_that_speaks_http_2_is_passed_to_as_well() {
    let long = "x".repeat(300_000);
    let media = upstream(
        Upstream::new("media")
            .reply(Scripted::get("/a").body(long.clone()).header("connection", "close"))
            .reply(Scripted::post("/in").echo()),
    )
    .await;
    let routes = "  GET /a: { proxy: media }\n  POST /in: { proxy: media, body: { max: 10M } }\n";
    let running = gateway(&format!("url: {}, http: 2", media.url()), routes).await;
    let mut peer = running.connect().await;
    peer.send(request("GET /a", "connection: close\r\n")).await;
    let rest = peer.rest().await;
    assert_eq!(rest.iter().filter(|byte| **byte == b'x').count(), long.len());
    assert!(rest.ends_with(b"\r\n0\r\n\r\n"));
    let mut peer = running.connect().await;
    peer.send(request("POST /in", "transfer-encoding: chunked\r\n") + &format!("{:x}\r\n{long}\r\n0\r\n\r\n", long.len()))
        .await;
    assert_eq!(peer.reply().await.status, 200);
    assert_eq!(media.seen()[1].body.len(), long.len());
    // Who leaves in the middle resets the stream and not the connection.
    until("the place is free", || running.gateway.sources()[0].in_flight() == 0).await;
}

#[tokio::test]
async fn only_what_went_by_whole_and_is_not_too_large_is_kept() {
    let asked = Arc::new(AtomicUsize::new(0));
    let counted = asked.clone();
    let source = raw(move |mut stream| {
        let asked = counted.clone();
        async move {
            let (head, _) = head(&mut stream).await;
            let nth = asked.fetch_add(1, Ordering::Relaxed);
            let (length, body) = match head.split(' ').nth(1).unwrap() {
                "/cut" => (100, "only this".to_owned()),
                "/large" => (9 << 20, "x".repeat(9 << 20)),
                "/left" => (4 << 20, "x".repeat(4 << 20)),
                _ => (4, format!("n{nth:03}")),
            };
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\ncache-control: max-age=60\r\nconnection: close\r\n\r\n");
            let _ = stream.write_all((head + &body).as_bytes()).await;
        }
    })
    .await;
    let routes = "  GET /*path: { proxy: { to: media /$path, cache: http, retry: 0 } }\n";
    let running = gateway(&format!("url: http://{source}"), routes).await;
    for path in ["/cut", "/large"] {
        for times in 1..=2 {
            let mut peer = running.connect().await;
            peer.send(request(&format!("GET {path}"), "connection: close\r\n")).await;
            let rest = peer.rest().await;
            assert!(rest.starts_with(b"HTTP/1.1 200 OK\r\n"), "{path}");
            let before = if path == "/cut" { 0 } else { 2 };
            assert_eq!(asked.load(Ordering::Relaxed), before + times, "{path}");
        }
    }
    // A client that leaves in the middle leaves nothing behind.
    let mut peer = running.connect().await;
    peer.send(request("GET /left", "")).await;
    until("it is asked", || asked.load(Ordering::Relaxed) == 5).await;
    peer.reset();
    until("the place is free", || running.gateway.sources()[0].in_flight() == 0).await;
    running.get("/left").await;
    assert_eq!(asked.load(Ordering::Relaxed), 6);
    // What is whole is kept, and served over a connection that stays.
    let mut peer = running.connect().await;
    for age in [None, Some("0"), Some("0")] {
        peer.send(request("GET /small", "")).await;
        let reply = peer.reply().await;
        assert_eq!((reply.text(), reply.header("age")), ("n006", age));
    }
    peer.send(request("GET /small", "range: bytes=1-2\r\n")).await;
    let reply = peer.reply().await;
    assert_eq!(
        (reply.status, reply.text(), reply.header("content-range")),
        (206, "00", Some("bytes 1-2/4"))
    );
    peer.send(request("GET /small", "if-none-match: *\r\n")).await;
    assert_eq!(peer.reply().await.text(), "n006", "without a tag there is nothing to compare");
    peer.send(request("HEAD /small", "")).await;
    let reply = peer.reply_to_head().await;
    assert_eq!((reply.status, reply.header("content-length")), (200, Some("4")));
    assert_eq!(asked.load(Ordering::Relaxed), 7);
}

/// An answer that was on its way when its address was written to may be from before.
#[tokio::test]
async fn what_was_asked_for_before_a_write_is_not_kept_after_it() {
    let asked = Arc::new(AtomicUsize::new(0));
    let (counted, goes_on) = (asked.clone(), Arc::new(tokio::sync::Notify::new()));
    let gate = goes_on.clone();
    let source = raw(move |mut stream| {
        let (asked, gate) = (counted.clone(), gate.clone());
        async move {
            let (head, _) = head(&mut stream).await;
            let is_put = head.starts_with("PUT");
            let nth = asked.fetch_add(1, Ordering::Relaxed);
            if nth == 0 {
                gate.notified().await;
            }
            let status = if is_put {
                "204 No Content\r\n"
            } else {
                "200 OK\r\ncontent-length: 4\r\n"
            };
            let body = if is_put { String::new() } else { format!("n{nth:03}") };
            let head = format!("HTTP/1.1 {status}cache-control: max-age=60\r\nconnection: close\r\n\r\n");
            let _ = stream.write_all((head + &body).as_bytes()).await;
        }
    })
    .await;
    let routes = "  GET /*path: { proxy: { to: media /$path, cache: http, retry: 0 } }\n  PUT /*path: { proxy: media /$path }\n";
    let running = gateway(&format!("url: http://{source}"), routes).await;
    let mut early = running.connect().await;
    early.send(request("GET /page", "")).await;
    until("it is asked", || asked.load(Ordering::Relaxed) == 1).await;
    let mut peer = running.connect().await;
    peer.send(request("PUT /page", "content-length: 0\r\n")).await;
    assert_eq!(peer.reply().await.status, 204);
    goes_on.notify_one();
    assert_eq!(early.reply().await.text(), "n000");
    for _ in 0..2 {
        peer.send(request("GET /page", "")).await;
        assert_eq!(peer.reply().await.text(), "n002", "asked for after the write, and kept");
    }
}
