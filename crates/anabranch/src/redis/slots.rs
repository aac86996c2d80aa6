//! The slots of a cluster: which one a key is in, and which server has which ("Redis cluster specification").

use bytes::Bytes;

use super::address::Place;
use super::command::Name;
use crate::{CallError, Kind};

/// How many slots the keys of a cluster are spread over.
pub(super) const SLOTS: u16 = 16_384;

/// Where a command belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Target {
    Slot(u16),
    /// It names no key.
    Any,
    /// An MGET whose keys are in different slots.
    Split,
}

impl Target {
    /// Where a command belongs, by its first key; for an MGET by all of them, since one that is split is asked key by key.
    pub(super) fn of(words: &[Bytes]) -> Result<Target, CallError> {
        let Some(name) = Name::of(words) else { return Ok(Target::Any) };
        let key = match name.as_str() {
            "PING" | "ECHO" | "TIME" => None,
            "SCAN" | "DBSIZE" | "KEYS" | "RANDOMKEY" => {
                let what = format!("`{}` sees the keys of one server only, and this is a cluster", name.as_str());
                return Err(CallError::new(Kind::Value, what));
            }
            "MGET" => return Ok(of_all(&words[1..])),
            "OBJECT" | "XINFO" => words.get(2),
            "SINTERCARD" | "ZDIFF" | "ZINTER" | "ZINTERCARD" | "ZUNION" | "LMPOP" | "ZMPOP" => words.get(2),
            "EVAL" | "EVALSHA" | "EVAL_RO" | "EVALSHA_RO" | "FCALL" | "FCALL_RO" => words.get(3).filter(|_| words[2] != "0"),
            "XREAD" | "XREADGROUP" => {
                let streams = words.iter().position(|word| word.eq_ignore_ascii_case(b"STREAMS"));
                streams.and_then(|at| words.get(at + 1))
            }
            _ => words.get(1),
        };
        Ok(key.map_or(Target::Any, |key| Target::Slot(slot(key))))
    }
}

fn of_all(keys: &[Bytes]) -> Target {
    let Some((first, others)) = keys.split_first() else {
        return Target::Any;
    };
    let first = slot(first);
    if others.iter().all(|key| slot(key) == first) {
        Target::Slot(first)
    } else {
        Target::Split
    }
}

/// The slot of a key: of what is between its first braces, if that is not empty, so that keys can be kept together.
pub(super) fn slot(key: &[u8]) -> u16 {
    let open = key.iter().position(|byte| *byte == b'{');
    let tag = open.and_then(|open| {
        let inside = &key[open + 1..];
        let close = inside.iter().position(|byte| *byte == b'}')?;
        Some(&inside[..close]).filter(|tag| !tag.is_empty())
    });
    crc16(tag.unwrap_or(key)) % SLOTS
}

/// CRC-16/XMODEM: polynomial 0x1021, from 0, nothing reflected.
fn crc16(bytes: &[u8]) -> u16 {
    bytes
        .iter()
        .fold(0, |crc, byte| (crc << 8) ^ CRC_TABLE[usize::from((crc >> 8) as u8 ^ byte)])
}

const CRC_TABLE: [u16; 256] = {
    let mut table = [0; 256];
    let mut at = 0;
    while at < 256 {
        let mut crc = (at as u16) << 8;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 0x8000 == 0 { crc << 1 } else { (crc << 1) ^ 0x1021 };
            bit += 1;
        }
        table[at] = crc;
        at += 1;
    }
    table
};

/// A server and the slots that it has, first and last of each range.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Share {
    pub(super) place: Place,
    pub(super) ranges: Vec<(u16, u16)>,
}

/// Reads the answer to `CLUSTER NODES`: the masters that have slots. `asked` is the host that said so, for a server that does not
/// know its own. With `by_name`, servers that announce a host name are known by it.
pub(super) fn shares(answer: &str, asked: &str, by_name: bool) -> Vec<Share> {
    answer.lines().filter_map(|line| share(line, asked, by_name)).collect()
}

/// `<id> <ip:port@cport[,hostname]> <flags> <master> <ping> <pong> <epoch> <link-state> <slot>...`
fn share(line: &str, asked: &str, by_name: bool) -> Option<Share> {
    let mut words = line.split(' ');
    let address = words.nth(1)?;
    let flags = words.next()?;
    let is_master =
        flags.split(',').any(|flag| flag == "master") && !flags.split(',').any(|flag| matches!(flag, "fail" | "noaddr" | "handshake"));
    if !is_master {
        return None;
    }
    let mut address = address.split(',');
    let (ip, port) = address.next()?.split('@').next()?.rsplit_once(':')?;
    let name = address.next().filter(|name| by_name && !name.is_empty());
    let host = name.unwrap_or(if ip.is_empty() { asked } else { ip });
    let port = port.parse().ok().filter(|port| *port != 0)?;
    // A range in brackets is one that moves; it is listed as a plain one too for as long as it is here.
    let ranges: Vec<(u16, u16)> = words.skip(5).filter(|range| !range.starts_with('[')).filter_map(range).collect();
    let place = Place::Tcp {
        host: host.to_owned(),
        port,
    };
    (!ranges.is_empty()).then_some(Share { place, ranges })
}

fn range(text: &str) -> Option<(u16, u16)> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last) = (first.parse().ok()?, last.parse().ok()?);
    (first <= last && last < SLOTS).then_some((first, last))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(command: &str) -> Target {
        let words: Vec<Bytes> = command.split(' ').map(|word| Bytes::copy_from_slice(word.as_bytes())).collect();
        Target::of(&words).unwrap()
    }

    #[test]
    fn slots_are_those_of_the_specification() {
        // "Appendix A" of the specification for the sum, `CLUSTER KEYSLOT` of a server for the rest.
        assert_eq!(crc16(b"123456789"), 0x31C3);
        assert_eq!((slot(b"foo"), slot(b"bar"), slot(b"")), (12182, 5061, 0));
        assert_eq!(slot(b"{user1000}.following"), slot(b"{user1000}.followers"));
        assert_eq!(slot(b"foo{}{bar}"), crc16(b"foo{}{bar}") % SLOTS);
        assert_eq!(slot(b"foo{{bar}}zap"), slot(b"{bar"));
        assert_eq!(slot(b"foo{bar}{zap}"), slot(b"bar"));
        assert_eq!(slot(b"foo{bar"), crc16(b"foo{bar") % SLOTS);
    }

    #[test]
    fn a_command_belongs_where_its_keys_are() {
        let foo = Target::Slot(slot(b"foo"));
        let commands = [
            "GET foo",
            "set foo bar",
            "OBJECT ENCODING foo",
            "XINFO STREAM foo",
            "ZUNION 2 foo bar",
            "EVALSHA abc 1 foo",
            "XREAD COUNT 1 STREAMS foo 0",
            "MGET foo {foo}1 {foo}2",
            "MGET foo",
            "SUNION foo bar",
        ];
        for command in commands {
            assert_eq!(target(command), foo, "{command}");
        }
        assert_eq!(target("MGET foo bar"), Target::Split);
        for command in ["PING", "TIME", "MGET", "GET", "EVAL x 0 foo", "XREAD"] {
            assert_eq!(target(command), Target::Any, "{command}");
        }
        assert!(Target::of(&[Bytes::from_static(b"scan"), Bytes::from_static(b"0")]).is_err());
    }

    #[test]
    fn the_map_has_the_masters_and_their_slots() {
        let nodes = "\
07c37dfeb235213a872192d90877d0cd55635b91 127.0.0.1:30004@31004,hostname4 slave e7d1eecce10fd6bb5eb35b9f99a514335d9ba9ca 0 1426238317239 4 connected
67ed2db8d677e59ec4a4cefb06858cf2a1a89fa1 127.0.0.1:30002@31002,hostname2 master - 0 1426238316232 2 connected 5461-10922 16000
292f8b365bb7edb5e285caf0b7e6ddc7265d2f4f 127.0.0.1:30003@31003,hostname3 master,fail - 0 1426238318243 3 connected 10923-15999
6ec23923021cf3ffec47632106199cb7f496ce01 ::1:30005@31005, master - 0 1426238316232 5 connected
e7d1eecce10fd6bb5eb35b9f99a514335d9ba9ca :30001@31001 myself,master - 0 0 1 connected 0-5460 [5461-<-67ed2db8d677e59ec4a4cefb06858cf2a1a89fa1] 99999 x
broken
";
        let at = |host: &str, port| Place::Tcp {
            host: host.to_owned(),
            port,
        };
        let read = shares(nodes, "asked", false);
        assert_eq!(
            read[0],
            Share {
                place: at("127.0.0.1", 30002),
                ranges: vec![(5461, 10922), (16000, 16000)]
            }
        );
        assert_eq!(
            read[1],
            Share {
                place: at("asked", 30001),
                ranges: vec![(0, 5460)]
            }
        );
        assert_eq!(read.len(), 2);
        assert_eq!(shares(nodes, "asked", true)[0].place, at("hostname2", 30002));
        assert!(shares("", "asked", true).is_empty());
    }
}
