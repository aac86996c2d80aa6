//! `fault:` of a mock: what it does wrongly. A name alone takes the measure in brackets; `{ name: measure }` takes another.
//!
//! | name | what happens |
//! |---|---|
//! | `hang` | no answer, ever |
//! | `close` | the connection is closed in place of an answer |
//! | `reset` (0) | that many bytes of the answer, then a reset |
//! | `truncate` (1) | that many bytes of the body, then closed |
//! | `drip` (100ms) | the body byte by byte, with this pause |
//! | `drip_head` (100ms) | the head byte by byte |
//! | `raw` | this text as it is, then closed |
//! | `big` (1G) | a body of this size |
//! | `gzip_bomb` (1G) | a small gzip body that decodes to this size |
//! | `header_flood` (200) | that many more headers, of 100 bytes each |
//! | `interim` (100) | that many `103` replies first |
//! | `endless` | chunks without end |
//! | `close_after` | a good answer that promises to keep the connection, then closed |
//! | `bad_chunks` | chunks with a size that is no number |

use std::time::Duration;

use anabranch_testkit::Fault;

use super::read::Reader;
use crate::config::{Node, NodeKind};

const NAMES: [&str; 14] = [
    "hang",
    "close",
    "reset",
    "truncate",
    "drip",
    "drip_head",
    "raw",
    "big",
    "gzip_bomb",
    "header_flood",
    "interim",
    "endless",
    "close_after",
    "bad_chunks",
];
const GIB: u64 = 1 << 30;
/// What the test kit's gzip encoder can announce.
const BODY_MAX: u64 = 16 * GIB;
const DRIP: Duration = Duration::from_millis(100);
const FLOOD_VALUE_BYTES: usize = 100;

/// Reads it; a fault of the file gives None.
pub(super) fn read(node: &Node, reader: &mut Reader<'_>) -> Option<Fault> {
    let (name, measure) = match &node.kind {
        NodeKind::Text(name, _) => (name.as_str(), None),
        NodeKind::Map(entries) if entries.len() == 1 => (entries[0].0.value.as_str(), Some(&entries[0].1)),
        _ => {
            reader.wrong(node, "`fault`", "a name such as `hang`, or `{ truncate: 20 }`");
            return None;
        }
    };
    let what = format!("`{name}`");
    let mut bytes = |default: u64| measure.map_or(Some(default), |node| reader.size(node, &what, BODY_MAX));
    Some(match name {
        "reset" => Fault::Reset { after: bytes(0)? as usize },
        "truncate" => Fault::Truncate { after: bytes(1)? as usize },
        "big" => Fault::BigBody { size: bytes(GIB)? },
        "gzip_bomb" => Fault::GzipBomb { decoded: bytes(GIB)? },
        "drip" => Fault::DripBody {
            interval: interval(measure, &what, reader)?,
        },
        "drip_head" => Fault::DripHeaders {
            interval: interval(measure, &what, reader)?,
        },
        "header_flood" => Fault::HeaderFlood {
            headers: count(measure, &what, 200, reader)?,
            value_length: FLOOD_VALUE_BYTES,
        },
        "interim" => Fault::Interim {
            count: count(measure, &what, 100, reader)?,
        },
        "raw" => match measure {
            Some(node) => Fault::RawBytes(reader.text(node, &what)?.into()),
            None => {
                reader.wrong(node, "`fault`", "`{ raw: \"what to send\" }`");
                return None;
            }
        },
        _ => without_measure(name, measure, node, reader)?,
    })
}

fn without_measure(name: &str, measure: Option<&Node>, node: &Node, reader: &mut Reader<'_>) -> Option<Fault> {
    let fault = match name {
        "hang" => Fault::Hang,
        "close" => Fault::CloseBefore,
        "endless" => Fault::EndlessChunks,
        "close_after" => Fault::CloseAfterReply,
        "bad_chunks" => Fault::BadChunks,
        _ => {
            let near = crate::config::nearest(name, NAMES).map_or_else(
                || format!("expected one of `{}`", NAMES.join("`, `")),
                |near| format!("did you mean `{near}`?"),
            );
            reader.fault(node.span, format!("unknown fault `{name}`"), near);
            return None;
        }
    };
    if let Some(measure) = measure {
        reader.fault(
            measure.span,
            format!("`{name}` takes no measure"),
            format!("expected `fault: {name}`"),
        );
        return None;
    }
    Some(fault)
}

fn interval(measure: Option<&Node>, what: &str, reader: &mut Reader<'_>) -> Option<Duration> {
    measure.map_or(Some(DRIP), |node| reader.duration(node, what))
}

fn count(measure: Option<&Node>, what: &str, default: usize, reader: &mut Reader<'_>) -> Option<usize> {
    measure.map_or(Some(default), |node| {
        reader.whole(node, what, 1..=100_000).map(|count| count as usize)
    })
}
