//! Answers put together from pieces of HTTP, sound and odd ones, by a list of choices. Bytes at random are hardly ever so much as a status
//! line, and what there is to differ about comes after it. The fuzz target `answers` has this file as well.

/// Most answers begin soundly, so that what follows is looked at.
const BEGINNINGS: [&[u8]; 16] = [
    b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n",
    b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n",
    b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n",
    b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n",
    b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n",
    b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello",
    b"HTTP/1.1 200 OK\r\ncontent-length: ",
    b"HTTP/1.1 200 OK\r\n",
    b"HTTP/1.0 200 OK\r\nconnection: keep-alive\r\ncontent-length: 5\r\n",
    b"HTTP/1.0 200 OK\r\n",
    b"HTTP/1.1 204 No Content\r\n",
    b"HTTP/1.1 304 Not Modified\r\n",
    b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 5\r\n",
    b"HTTP/1.1 ",
    b"\r\n",
    b"",
];

const LINES: [&[u8]; 32] = [
    b"\r\n",
    b"\r\n",
    b"\r\n",
    b"\n",
    b"content-length: 5\r\n",
    b"Content-Length: 05\r\n",
    b"content-length: 5, 5\r\n",
    b"content-length: 6\r\n",
    b"transfer-encoding: chunked\r\n",
    b"Transfer-Encoding: \tChunked \r\n",
    b"transfer-encoding: gzip, chunked\r\n",
    b"transfer-encoding: identity\r\n",
    b"transfer-encoding:",
    b"connection: close\r\n",
    b"connection: keep-alive\r\n",
    b"Connection: x, Keep-Alive",
    b"keep-alive: timeout=5\r\n",
    b"keep-alive: timeout=1\r\n",
    b"content-encoding: identity\r\n",
    b"content-encoding: gzip\r\n",
    b"x: y\r\n",
    b"x:\r\n",
    b"X-Y: z\n",
    b"x : y\r\n",
    b": y\r\n",
    b"x\r\n",
    b" folded\r\n",
    b"x: \xff\r\n",
    b"x: \0\r\n",
    b"HTTP/1.1 200 OK\r\n",
    b"HTTP/1.1 100 Continue\r\n\r\n",
    b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
];

const SMALL: [&[u8]; 32] = [
    b"5\r\nhello\r\n",
    b"A\r\n0123456789\r\n",
    b"0\r\n\r\n",
    b"0\r\n",
    b"\r\n",
    b"\r\n",
    b"\r",
    b"\n",
    b" ",
    b"\t",
    b"\0",
    b"\xff",
    b":",
    b": ",
    b";",
    b";x=\"y\"",
    b",",
    b"x",
    b"X",
    b"=",
    b"\"",
    b"0",
    b"1",
    b"5",
    b"05",
    b"f",
    b"ffffffffffffffff",
    b"-",
    b"+",
    b"0x",
    b"hello",
    b"200 OK",
];

/// The answer of these choices: the first is of a beginning, each of the others of a line or of something smaller.
pub(crate) fn put_together(choices: &[u8]) -> Vec<u8> {
    let [beginning, choices @ ..] = choices else { return Vec::new() };
    let mut answer = BEGINNINGS[usize::from(*beginning) % BEGINNINGS.len()].to_vec();
    for choice in choices {
        let (table, at) = (if choice & 0x80 == 0 { &SMALL } else { &LINES }, usize::from(*choice) % 32);
        answer.extend_from_slice(table[at]);
    }
    answer
}
