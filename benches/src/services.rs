//! The services: keep-alive HTTP/1.1 on ports in a row, JSON after a delay that is the same for all. One thread, as cheap as it gets,
//! so that what is measured is the gateway. Any path `/name/id` is answered; they count what they are asked.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

use crate::page::Body;
use crate::poll::Poll;
use crate::service::{BACKLOG, COUNTS_PATH, Counts, Settings, path_of};

/// The longest head of a request that is read.
const HEAD_MAX: usize = 16 * 1024;

/// Serves until it is killed.
pub fn serve(settings: &Settings) {
    let mut services = Services::bind(settings).expect("free ports");
    println!("ready");
    loop {
        services.turn();
    }
}

struct Services {
    poll: Poll,
    listeners: Vec<TcpListener>,
    connections: Vec<Option<Connection>>,
    free: Vec<usize>,
    /// Answers that wait for their time. The delay is the same for all, so this is in order.
    due: VecDeque<Due>,
    delay: Duration,
    answers: Answers,
    counts: Counts,
    late_us: Vec<u32>,
    ready: Vec<u64>,
    scratch: Vec<u8>,
    born: u64,
}

struct Connection {
    socket: TcpStream,
    /// Tells this connection from an earlier one in the same place.
    born: u64,
    /// The beginning of a request that has not come whole.
    partial: Vec<u8>,
    /// What could not be written at once.
    unsent: Unsent,
}

#[derive(Default)]
struct Unsent {
    front: Vec<u8>,
    rest: &'static [u8],
}

struct Due {
    at: Instant,
    place: usize,
    born: u64,
    path: Vec<u8>,
}

/// Makes the answers; the front of one is written anew each time.
struct Answers {
    body: Body,
    head: Vec<u8>,
    front: Vec<u8>,
}

impl Services {
    fn bind(settings: &Settings) -> io::Result<Services> {
        let poll = Poll::new();
        let mut listeners = Vec::new();
        for offset in 0..settings.count {
            let listener = TcpListener::bind(("127.0.0.1", settings.first_port + offset))?;
            rustix::net::listen(&listener, BACKLOG)?;
            listener.set_nonblocking(true)?;
            poll.watch(&listener, offset.into());
            listeners.push(listener);
        }
        let body = Body::new(settings.body_bytes);
        let head = format!(
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
            body.bytes
        )
        .into_bytes();
        Ok(Services {
            poll,
            listeners,
            connections: Vec::new(),
            free: Vec::new(),
            due: VecDeque::new(),
            delay: Duration::from_micros(settings.delay_us),
            answers: Answers {
                body,
                head,
                front: Vec::with_capacity(1024),
            },
            counts: Counts::default(),
            late_us: Vec::new(),
            ready: Vec::new(),
            scratch: vec![0; HEAD_MAX],
            born: 0,
        })
    }

    fn turn(&mut self) {
        let mut ready = std::mem::take(&mut self.ready);
        self.poll.wait(self.due.front().map(|due| due.at), &mut ready);
        for token in &ready {
            match usize::try_from(*token).unwrap_or(usize::MAX) {
                listener if listener < self.listeners.len() => self.accept(listener),
                place => self.on_ready(place - self.listeners.len()),
            }
        }
        self.ready = ready;
        self.answer_due();
    }

    fn accept(&mut self, listener: usize) {
        while let Ok((socket, _)) = self.listeners[listener].accept() {
            let _ = socket.set_nodelay(true);
            let _ = socket.set_nonblocking(true);
            // A gateway that ends closes thousands of connections; ending ours with a reset keeps its ports free for the next one.
            let _ = rustix::net::sockopt::set_socket_linger(&socket, Some(Duration::ZERO));
            let place = self.free.pop().unwrap_or_else(|| {
                self.connections.push(None);
                self.connections.len() - 1
            });
            self.poll.watch(&socket, (place + self.listeners.len()) as u64);
            self.born += 1;
            self.counts.connections += 1;
            self.connections[place] = Some(Connection {
                socket,
                born: self.born,
                partial: Vec::new(),
                unsent: Unsent::default(),
            });
        }
    }

    fn on_ready(&mut self, place: usize) {
        if self.flush(place).and_then(|()| self.read(place)).is_err() {
            self.connections[place] = None;
            self.free.push(place);
        }
    }

    fn read(&mut self, place: usize) -> io::Result<()> {
        let Some(connection) = self.connections[place].as_mut() else {
            return Ok(());
        };
        let count = match connection.socket.read(&mut self.scratch) {
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Ok(count) => count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error),
        };
        let mut input = std::mem::take(&mut connection.partial);
        input.extend_from_slice(&self.scratch[..count]);
        let mut at = 0;
        while let Some(end) = memchr::memmem::find(&input[at..], b"\r\n\r\n") {
            self.request(place, &input[at..at + end])?;
            at += end + 4;
        }
        input.drain(..at);
        if input.len() > HEAD_MAX {
            return Err(ErrorKind::InvalidData.into());
        }
        if let Some(connection) = self.connections[place].as_mut() {
            connection.partial = input;
        }
        Ok(())
    }

    fn request(&mut self, place: usize, head: &[u8]) -> io::Result<()> {
        let Some(path) = path_of(head) else {
            self.counts.odd += 1;
            return self.send(place, b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n".to_vec(), &[]);
        };
        if path == &COUNTS_PATH.as_bytes()[1..] {
            return self.send_counts(place);
        }
        self.counts.requests += 1;
        if self.delay.is_zero() {
            return self.send_part(place, path);
        }
        let born = self.connections[place].as_ref().map_or(0, |connection| connection.born);
        self.due.push_back(Due {
            at: Instant::now() + self.delay,
            place,
            born,
            path: path.to_vec(),
        });
        Ok(())
    }

    fn answer_due(&mut self) {
        while self.due.front().is_some_and(|due| due.at <= Instant::now()) {
            let Some(due) = self.due.pop_front() else { return };
            let same = self.connections[due.place]
                .as_ref()
                .is_some_and(|connection| connection.born == due.born);
            if same {
                self.late_us.push(u32::try_from(due.at.elapsed().as_micros()).unwrap_or(u32::MAX));
                if self.send_part(due.place, &due.path).is_err() {
                    self.connections[due.place] = None;
                    self.free.push(due.place);
                }
            }
        }
    }

    fn send_part(&mut self, place: usize, path: &[u8]) -> io::Result<()> {
        let Some(connection) = self.connections[place].as_mut() else {
            return Ok(());
        };
        let answers = &mut self.answers;
        answers.front.clear();
        answers.front.extend_from_slice(&answers.head);
        answers.body.write_front(path, &mut answers.front);
        let rest = answers.body.rest(path);
        if !connection.unsent.is_empty() {
            return Err(ErrorKind::InvalidData.into());
        }
        let sent = match connection
            .socket
            .write_vectored(&[IoSlice::new(&answers.front), IoSlice::new(rest)])
        {
            Ok(sent) => sent,
            Err(error) if error.kind() == ErrorKind::WouldBlock => 0,
            Err(error) => return Err(error),
        };
        if sent < answers.front.len() + rest.len() {
            connection.unsent = Unsent {
                front: answers.front.clone(),
                rest,
            };
            connection.unsent.drop_sent(sent);
            self.poll
                .watch_room(&connection.socket, (place + self.listeners.len()) as u64, true);
        }
        Ok(())
    }

    fn send_counts(&mut self, place: usize) -> io::Result<()> {
        // The one who asks is not one of those that are counted.
        self.counts.connections -= 1;
        self.late_us.sort_unstable();
        let late = |share: f64| self.late_us.get((self.late_us.len() as f64 * share) as usize).copied().unwrap_or(0);
        (self.counts.late_p50_us, self.counts.late_p99_us) = (late(0.5), late(0.99));
        self.late_us.clear();
        let counts = serde_json::to_string(&self.counts)?;
        let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{counts}", counts.len());
        self.send(place, answer.into_bytes(), &[])
    }

    fn send(&mut self, place: usize, front: Vec<u8>, rest: &'static [u8]) -> io::Result<()> {
        if let Some(connection) = self.connections[place].as_mut() {
            connection.unsent = Unsent { front, rest };
        }
        self.flush(place)
    }

    fn flush(&mut self, place: usize) -> io::Result<()> {
        let Some(connection) = self.connections[place].as_mut() else {
            return Ok(());
        };
        let had = !connection.unsent.is_empty();
        while !connection.unsent.is_empty() {
            let slices = [IoSlice::new(&connection.unsent.front), IoSlice::new(connection.unsent.rest)];
            match connection.socket.write_vectored(&slices) {
                Ok(sent) => connection.unsent.drop_sent(sent),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        if had {
            self.poll
                .watch_room(&connection.socket, (place + self.listeners.len()) as u64, false);
        }
        Ok(())
    }
}

impl Unsent {
    fn is_empty(&self) -> bool {
        self.front.is_empty() && self.rest.is_empty()
    }

    fn drop_sent(&mut self, sent: usize) {
        let of_front = sent.min(self.front.len());
        self.front.drain(..of_front);
        self.rest = &self.rest[sent - of_front..];
    }
}
