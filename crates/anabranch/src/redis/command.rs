//! Which commands may be sent, and how they are put on the wire.
//!
//! One connection serves all calls of a client, so a command that waits in the server or changes what the connection is would
//! harm the others; those are never sent. Of the rest, commands that read or write keys and take a time that the caller can see
//! are safe; the others (whole-keyspace, admin, scripts, publishing) have to be allowed by name.

use bytes::{BufMut, Bytes, BytesMut};

use crate::{CallError, Kind};

/// Commands that only read. Sorted. From the command table of Redis 7.2 (`COMMAND`, flag `readonly`), without those that walk all keys
/// at once (KEYS), copy a key out in the server's own form (DUMP) or sort.
#[rustfmt::skip]
const READS: &[&str] = &[
    "BITCOUNT", "BITFIELD_RO", "BITPOS", "DBSIZE", "ECHO", "EXISTS", "EXPIRETIME", "GEODIST", "GEOHASH", "GEOPOS", "GEORADIUSBYMEMBER_RO",
    "GEORADIUS_RO", "GEOSEARCH", "GET", "GETBIT", "GETRANGE", "HEXISTS", "HEXPIRETIME", "HGET", "HGETALL", "HKEYS", "HLEN", "HMGET",
    "HPEXPIRETIME", "HPTTL", "HRANDFIELD", "HSCAN", "HSTRLEN", "HTTL", "HVALS", "LINDEX", "LLEN", "LPOS", "LRANGE", "MGET", "OBJECT",
    "PEXPIRETIME", "PFCOUNT", "PING", "PTTL", "SCAN", "SCARD", "SDIFF", "SINTER", "SINTERCARD", "SISMEMBER", "SMEMBERS", "SMISMEMBER",
    "SRANDMEMBER", "SSCAN", "STRLEN", "SUBSTR", "SUNION", "TIME", "TOUCH", "TTL", "TYPE", "XINFO", "XLEN", "XPENDING", "XRANGE", "XREAD",
    "XREVRANGE", "ZCARD", "ZCOUNT", "ZDIFF", "ZINTER", "ZINTERCARD", "ZLEXCOUNT", "ZMSCORE", "ZRANDMEMBER", "ZRANGE", "ZRANGEBYLEX",
    "ZRANGEBYSCORE", "ZRANK", "ZREVRANGE", "ZREVRANGEBYLEX", "ZREVRANGEBYSCORE", "ZREVRANK", "ZSCAN", "ZSCORE", "ZUNION",
];

/// Commands that write what they name. Sorted.
#[rustfmt::skip]
const WRITES: &[&str] = &[
    "APPEND", "BITFIELD", "DECR", "DECRBY", "DEL", "EXPIRE", "EXPIREAT", "GEOADD", "GETDEL", "GETEX", "GETSET", "HDEL", "HEXPIRE",
    "HEXPIREAT", "HGETDEL", "HGETEX", "HINCRBY", "HINCRBYFLOAT", "HMSET", "HPERSIST", "HPEXPIRE", "HPEXPIREAT", "HSET", "HSETEX",
    "HSETNX", "INCR", "INCRBY", "INCRBYFLOAT", "LINSERT", "LPOP", "LPUSH", "LPUSHX", "LREM", "LSET", "LTRIM", "MSET", "MSETNX", "PERSIST",
    "PEXPIRE", "PEXPIREAT", "PFADD", "PSETEX", "RPOP", "RPUSH", "RPUSHX", "SADD", "SET", "SETBIT", "SETEX", "SETNX", "SETRANGE", "SPOP",
    "SREM", "UNLINK", "XACK", "XADD", "XDEL", "XTRIM", "ZADD", "ZINCRBY", "ZPOPMAX", "ZPOPMIN", "ZREM", "ZREMRANGEBYLEX",
    "ZREMRANGEBYRANK", "ZREMRANGEBYSCORE",
];

/// Commands that no setting allows: they wait in the server, or change what a connection is, and the connection is everybody's.
/// Sorted.
#[rustfmt::skip]
const NEVER: &[&str] = &[
    "ASKING", "AUTH", "BLMOVE", "BLMPOP", "BLPOP", "BRPOP", "BRPOPLPUSH", "BZMPOP", "BZPOPMAX", "BZPOPMIN", "CLIENT", "DISCARD", "EXEC",
    "HELLO", "MONITOR", "MULTI", "PSUBSCRIBE", "PSYNC", "PUNSUBSCRIBE", "QUIT", "READONLY", "READWRITE", "REPLCONF", "RESET", "SELECT",
    "SSUBSCRIBE", "SUBSCRIBE", "SUNSUBSCRIBE", "SYNC", "UNSUBSCRIBE", "UNWATCH", "WAIT", "WAITAOF", "WATCH",
];

/// Longer than any command's name, modules' included.
const LONGEST_NAME: usize = 32;

/// Whether a command may be sent without being allowed by name; in any case of letters. `XREAD` may, but not with `BLOCK`.
pub fn is_safe(command: &str) -> bool {
    is_read(command) || Name::new(command.as_bytes()).is_some_and(|name| name.is_in(WRITES))
}

/// Whether a command is safe and only reads, so that it may be sent twice; in any case of letters.
pub fn is_read(command: &str) -> bool {
    Name::new(command.as_bytes()).is_some_and(|name| name.is_in(READS))
}

/// Whether no setting can allow a command.
pub(super) fn is_never(command: &str) -> bool {
    Name::new(command.as_bytes()).is_none_or(|name| name.is_in(NEVER))
}

/// A command that passed, ready to be sent.
#[derive(Clone, Debug)]
pub(super) struct Command {
    /// The arguments behind the name, or for others than MGET the whole command, as on the wire.
    pub(super) frame: Bytes,
    /// How many keys an MGET asks for; several of them can be sent as one.
    pub(super) mget_keys: Option<usize>,
    pub(super) is_read: bool,
}

impl Command {
    /// Checks a command and its size, `largest` bytes at the most, and writes it out.
    pub(super) fn new(words: &[Bytes], allowed: &[String], largest: u64) -> Result<Command, CallError> {
        let Some(name) = Name::of(words) else {
            return Err(refused("the command's name is none".to_owned()));
        };
        let is_read = name.is_in(READS);
        let is_allowed = is_read || name.is_in(WRITES) || allowed.iter().any(|other| other == name.as_str());
        let name = name.as_str();
        if !is_allowed {
            return Err(refused(format!("`{name}` is not among the commands that are allowed here")));
        }
        if matches!(name, "XREAD" | "XREADGROUP") && has_block(words) {
            return Err(refused(format!("`{name}` may not wait (`BLOCK`): the connection is shared")));
        }
        let size: u64 = words.iter().map(|word| word.len() as u64 + 16).sum();
        if size > largest {
            return Err(CallError::new(Kind::Value, format!("the command is larger than {largest} bytes")));
        }
        if name == "MGET" && words.len() > 1 {
            return Ok(Command::mget(&words[1..]));
        }
        Ok(Command {
            is_read,
            ..Command::unchecked(words)
        })
    }

    /// A command of our own.
    pub(super) fn unchecked<W: AsRef<[u8]>>(words: &[W]) -> Command {
        let mut frame = BytesMut::with_capacity(frame_size(words));
        write_head(&mut frame, words.len());
        write_words(&mut frame, words);
        Command {
            frame: frame.freeze(),
            mget_keys: None,
            is_read: false,
        }
    }

    /// Asks for these keys.
    pub(super) fn mget(keys: &[Bytes]) -> Command {
        let mut frame = BytesMut::with_capacity(frame_size(keys));
        write_words(&mut frame, keys);
        Command {
            frame: frame.freeze(),
            mget_keys: Some(keys.len()),
            is_read: true,
        }
    }
}

/// About what words take on the wire, with their lengths and ends of lines.
fn frame_size<W: AsRef<[u8]>>(words: &[W]) -> usize {
    words.iter().map(|word| word.as_ref().len() + 16).sum::<usize>() + 16
}

/// `BLOCK` among the options, which end where the keys begin.
fn has_block(words: &[Bytes]) -> bool {
    let options = words.iter().take_while(|word| !word.eq_ignore_ascii_case(b"STREAMS"));
    options.skip(1).any(|word| word.eq_ignore_ascii_case(b"BLOCK"))
}

/// Begins a command of so many words, its name included.
pub(super) fn write_head(out: &mut BytesMut, words: usize) {
    write_length(out, b'*', words);
}

/// Writes words, each with its length ahead, so that nothing in them can end a command.
pub(super) fn write_words<W: AsRef<[u8]>>(out: &mut BytesMut, words: &[W]) {
    for word in words {
        let word = word.as_ref();
        write_length(out, b'$', word.len());
        out.put_slice(word);
        out.put_slice(b"\r\n");
    }
}

fn write_length(out: &mut BytesMut, sign: u8, length: usize) {
    let mut digits = [0; 20];
    let mut at = digits.len();
    let mut rest = length;
    loop {
        at -= 1;
        digits[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    out.put_u8(sign);
    out.put_slice(&digits[at..]);
    out.put_slice(b"\r\n");
}

fn refused(detail: String) -> CallError {
    CallError::new(Kind::Value, detail)
}

/// A command's name in upper case.
pub(super) struct Name {
    letters: [u8; LONGEST_NAME],
    length: usize,
}

impl Name {
    /// The name of a command.
    pub(super) fn of(words: &[Bytes]) -> Option<Name> {
        words.first().and_then(|word| Name::new(word))
    }

    pub(super) fn new(word: &[u8]) -> Option<Name> {
        let is_name = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-');
        if word.is_empty() || word.len() > LONGEST_NAME || !word.iter().all(is_name) {
            return None;
        }
        let mut letters = [0; LONGEST_NAME];
        letters[..word.len()].copy_from_slice(word);
        letters.make_ascii_uppercase();
        Some(Name {
            letters,
            length: word.len(),
        })
    }

    pub(super) fn as_str(&self) -> &str {
        std::str::from_utf8(&self.letters[..self.length]).unwrap_or_default()
    }

    fn is_in(&self, names: &[&str]) -> bool {
        names.binary_search(&self.as_str()).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<Bytes> {
        text.split(' ').map(|word| Bytes::copy_from_slice(word.as_bytes())).collect()
    }

    fn refusal(text: &str) -> Option<String> {
        Command::new(&words(text), &["KEYS".to_owned()], 1 << 20)
            .err()
            .map(|error| error.detail().to_owned())
    }

    #[test]
    fn the_lists_are_sorted_and_apart() {
        for list in [READS, WRITES, NEVER] {
            assert!(list.is_sorted(), "{list:?}");
        }
        assert!(!READS.iter().chain(WRITES).any(|name| NEVER.contains(name)));
        assert!(!READS.iter().any(|name| WRITES.contains(name)));
    }

    #[test]
    fn reads_and_writes_are_safe_and_the_rest_is_not() {
        assert!(is_safe("get") && is_read("Get") && is_safe("SET") && !is_read("SET"));
        for name in [
            "KEYS",
            "FLUSHALL",
            "CONFIG",
            "EVAL",
            "DEBUG",
            "BLPOP",
            "SUBSCRIBE",
            "MULTI",
            "PUBLISH",
            "SORT",
            "",
            "GET ",
            "GET\r\n",
            "É",
        ] {
            assert!(!is_safe(name) && !is_read(name), "{name}");
        }
        assert!(is_never("client") && is_never("two words") && !is_never("KEYS"));
    }

    #[test]
    fn what_may_not_be_sent_is_said_without_the_values() {
        assert_eq!(refusal("KEYS *"), None);
        assert!(refusal("flushall secret").unwrap().contains("`FLUSHALL`"));
        assert!(refusal("XREAD COUNT 1 block 0 STREAMS secret 0").unwrap().contains("BLOCK"));
        assert_eq!(refusal("XREAD COUNT 1 STREAMS BLOCK 0"), None);
        for text in ["", "a\u{e9}b", "flush\nall"] {
            assert!(refusal(text).unwrap().contains("none"), "{text}");
        }
        let large = Command::new(&words("SET key value"), &[], 20).unwrap_err();
        assert_eq!((large.kind(), large.detail().contains("value")), (Kind::Value, false));
    }

    #[test]
    fn nothing_in_a_word_can_end_a_command() {
        let command = Command::new(
            &[Bytes::from_static(b"set"), Bytes::from_static(b"a\r\n$1"), Bytes::new()],
            &[],
            1 << 20,
        )
        .unwrap();
        assert_eq!(command.frame, "*3\r\n$3\r\nset\r\n$5\r\na\r\n$1\r\n$0\r\n\r\n");
        assert_eq!((command.mget_keys, command.is_read), (None, false));
    }

    #[test]
    fn an_mget_is_kept_without_its_head() {
        let command = Command::new(&words("mget a bc"), &[], 1 << 20).unwrap();
        assert_eq!((&command.frame[..], command.mget_keys), (&b"$1\r\na\r\n$2\r\nbc\r\n"[..], Some(2)));
        assert_eq!(Command::new(&words("MGET"), &[], 1 << 20).unwrap().mget_keys, None);
    }
}
