//! `latency:` of a mock: `20ms`, `10ms..40ms`, or `{ median: 20ms, p99: 200ms }`.

use anabranch_testkit::Latency;

use super::read::Reader;
use crate::config::{Node, NodeKind};

/// Reads it; a fault gives None.
pub(super) fn read(node: &Node, reader: &mut Reader<'_>) -> Option<Latency> {
    let what = "`latency`";
    if let NodeKind::Map(_) = node.kind {
        return log_normal(node, reader);
    }
    let text = match &node.kind {
        NodeKind::Text(text, _) => text,
        NodeKind::Number(text) => text,
        _ => {
            reader.wrong(node, what, "`20ms`, `10ms..40ms` or `{ median: 20ms, p99: 200ms }`");
            return None;
        }
    };
    let Some((from, to)) = text.split_once("..") else {
        return reader.duration_text(node, what, text).map(Latency::Fixed);
    };
    let from = reader.duration_text(node, what, from.trim())?;
    let to = reader.duration_text(node, what, to.trim())?;
    if to < from {
        reader.wrong(node, what, "the shorter one first");
        return None;
    }
    Some(Latency::Uniform { from, to })
}

fn log_normal(node: &Node, reader: &mut Reader<'_>) -> Option<Latency> {
    let section = reader.section(node, "`latency`", &["median", "p99"]);
    let (Some(median), Some(p99)) = (section.get("median"), section.get("p99")) else {
        reader.fault(
            node.span,
            "`latency` needs both `median` and `p99`",
            "expected `{ median: 20ms, p99: 200ms }`",
        );
        return None;
    };
    let (median, p99_node) = (reader.duration(median, "`median`")?, p99);
    let p99 = reader.duration(p99_node, "`p99`")?;
    if p99 < median {
        reader.wrong(p99_node, "`p99`", "not less than `median`");
        return None;
    }
    Some(Latency::LogNormal { median, p99 })
}

/// The same latency, shorter or longer.
pub(super) fn scaled(latency: Latency, factor: f64) -> Latency {
    match latency {
        Latency::Fixed(delay) => Latency::Fixed(delay.mul_f64(factor)),
        Latency::Uniform { from, to } => Latency::Uniform {
            from: from.mul_f64(factor),
            to: to.mul_f64(factor),
        },
        Latency::LogNormal { median, p99 } => Latency::LogNormal {
            median: median.mul_f64(factor),
            p99: p99.mul_f64(factor),
        },
    }
}
