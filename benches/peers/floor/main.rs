//! The floor: what the twelve calls cost when nothing is done but to move the bytes. Sockets and epoll on one thread; no runtime, no timers,
//! no limits, no retries, no validation, and no answer but the expected one. Nobody could run this; it tells what a gateway adds.

#[path = "../../src/poll.rs"]
#[expect(dead_code, reason = "it writes little enough never to wait for room")]
mod poll;

use std::io::{ErrorKind, IoSlice, Read, Write};
use std::net::{TcpListener, TcpStream};

use crate::poll::Poll;

const LISTEN: &str = "127.0.0.1:19200";
const FIRST_SERVICE: u16 = 19100;
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
const LISTENER: u64 = u64::MAX;

fn main() {
    let listener = TcpListener::bind(LISTEN).expect("a free port");
    rustix::net::listen(&listener, 4096).expect("a listening socket");
    listener.set_nonblocking(true).expect("a socket that does not block");
    let poll = Poll::new();
    poll.watch(&listener, LISTENER);
    let mut floor = Floor {
        poll,
        sockets: Vec::new(),
        free: Vec::new(),
        resting: Default::default(),
        scratch: vec![0; 64 << 10],
    };
    let mut ready = Vec::new();
    loop {
        floor.poll.wait(None, &mut ready);
        for token in &ready {
            match *token {
                LISTENER => floor.accept(&listener),
                place => floor.on_ready(usize::try_from(place).expect("a place")),
            }
        }
    }
}

struct Floor {
    poll: Poll,
    sockets: Vec<Option<Socket>>,
    free: Vec<usize>,
    /// Connections to each service that nobody uses.
    resting: [Vec<usize>; PARTS.len()],
    scratch: Vec<u8>,
}

struct Socket {
    stream: TcpStream,
    /// The beginning of what has not come whole.
    partial: Vec<u8>,
    role: Role,
}

enum Role {
    Client { parts: Vec<Vec<u8>>, left: usize },
    Service { part: usize, client: usize },
}

impl Floor {
    fn accept(&mut self, listener: &TcpListener) {
        while let Ok((stream, _)) = listener.accept() {
            let parts = vec![Vec::new(); PARTS.len()];
            self.add(stream, Role::Client { parts, left: 0 });
        }
    }

    fn add(&mut self, stream: TcpStream, role: Role) -> usize {
        stream.set_nonblocking(true).expect("a socket that does not block");
        stream.set_nodelay(true).expect("a socket that does not wait");
        let place = self.free.pop().unwrap_or_else(|| {
            self.sockets.push(None);
            self.sockets.len() - 1
        });
        self.poll.watch(&stream, place as u64);
        self.sockets[place] = Some(Socket {
            stream,
            partial: Vec::new(),
            role,
        });
        place
    }

    fn on_ready(&mut self, place: usize) {
        let Some(socket) = self.sockets[place].as_mut() else { return };
        let mut scratch = std::mem::take(&mut self.scratch);
        match socket.stream.read(&mut scratch) {
            Ok(0) => self.close(place),
            Ok(count) if socket.partial.is_empty() => self.take(place, &scratch[..count]),
            Ok(count) => {
                let mut all = std::mem::take(&mut socket.partial);
                all.extend_from_slice(&scratch[..count]);
                self.take(place, &all);
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(_) => self.close(place),
        }
        self.scratch = scratch;
    }

    fn close(&mut self, place: usize) {
        if let Some(Role::Service { part, .. }) = self.sockets[place].take().map(|socket| socket.role) {
            self.resting[part].retain(|other| *other != place);
        }
        self.free.push(place);
    }

    fn take(&mut self, place: usize, bytes: &[u8]) {
        let socket = self.sockets[place].as_mut().expect("an open socket");
        let Some(end) = memchr::memmem::find(bytes, b"\r\n\r\n") else {
            socket.partial = bytes.to_vec();
            return;
        };
        let (head, body) = (&bytes[..end], &bytes[end + 4..]);
        match socket.role {
            Role::Client { .. } => self.ask_all(place, head),
            Role::Service { part, client } => {
                if body.len() < length_of(head) {
                    socket.partial = bytes.to_vec();
                    return;
                }
                self.resting[part].push(place);
                self.put(client, part, body);
            }
        }
    }

    fn ask_all(&mut self, client: usize, head: &[u8]) {
        let path = head.split(|byte| *byte == b' ').nth(1).unwrap_or_default();
        let id = path.strip_prefix(b"/page/").expect("a page");
        let id = std::str::from_utf8(id).expect("an id");
        if let Some(Role::Client { left, .. }) = self.sockets[client].as_mut().map(|socket| &mut socket.role) {
            *left = PARTS.len();
        }
        for part in 0..PARTS.len() {
            let place = self.resting[part].pop().unwrap_or_else(|| {
                let port = FIRST_SERVICE + u16::try_from(part).expect("few parts");
                let stream = TcpStream::connect(("127.0.0.1", port)).expect("a service");
                self.add(stream, Role::Service { part, client })
            });
            let socket = self.sockets[place].as_mut().expect("an open socket");
            socket.role = Role::Service { part, client };
            let (name, host) = (PARTS[part], "127.0.0.1");
            let request = format!("GET /{name}/{id} HTTP/1.1\r\nhost: {host}\r\naccept: application/json\r\n\r\n");
            socket.stream.write_all(request.as_bytes()).expect("a service that reads");
        }
    }

    fn put(&mut self, client: usize, part: usize, body: &[u8]) {
        let Some(socket) = self.sockets[client].as_mut() else { return };
        let Role::Client { parts, left } = &mut socket.role else { return };
        parts[part].clear();
        parts[part].extend_from_slice(body);
        *left -= 1;
        if *left > 0 {
            return;
        }
        let mut joined = Vec::with_capacity(16 << 10);
        for (name, body) in PARTS.iter().zip(parts) {
            joined.extend_from_slice(if joined.is_empty() { b"{\"" } else { b",\"" });
            joined.extend_from_slice(name.as_bytes());
            joined.extend_from_slice(b"\":");
            joined.extend_from_slice(body);
        }
        joined.push(b'}');
        let length = joined.len();
        let head = format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n");
        let written = socket.stream.write_vectored(&[IoSlice::new(head.as_bytes()), IoSlice::new(&joined)]);
        // What a socket does not take at once is beyond what this is for.
        assert_eq!(written.ok(), Some(head.len() + length), "a client that reads");
    }
}

fn length_of(head: &[u8]) -> usize {
    let name = b"content-length: ";
    let at = memchr::memmem::find(head, name).expect("a length") + name.len();
    let digits = head[at..].iter().take_while(|byte| byte.is_ascii_digit());
    digits.fold(0, |length, digit| length * 10 + usize::from(digit - b'0'))
}
