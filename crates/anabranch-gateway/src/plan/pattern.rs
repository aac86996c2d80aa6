//! The pattern of a route: `/activity/{id:int}`, `/files/*rest`.

use super::model::{Param, ParamDefault, ParamKind, Segment};
use super::names;
use super::params::{kind_named, KINDS};
use super::place::{fault, unknown, Text};
use super::template::pattern_text;
use crate::config::faults::Faults;
use crate::config::yaml::Spanned;

/// A pattern and the parameters that it names.
#[derive(Debug, Default)]
pub(super) struct Pattern {
    /// What stands between the slashes behind the first one: `/` is one empty segment, `/x/` is `x` and an empty one.
    pub(super) segments: Vec<Segment>,
    /// Its parameters, in order.
    pub(super) params: Vec<Param>,
}

impl Pattern {
    /// Reads a pattern; what is wrong is reported and left out.
    pub(super) fn read(path: &Spanned<String>, faults: &mut Faults) -> Self {
        let mut pattern = Self::default();
        let text = Text::of(path);
        if !text.text.starts_with('/') {
            fault(faults, path, "a route's path begins with `/`", "write `GET /items/{id:int}`");
            return pattern;
        }
        let written = text.slice(1..text.text.len()).split('/');
        for (at, segment) in written.iter().enumerate() {
            let last = at + 1 == written.len();
            if segment.text.is_empty() && !last {
                fault(faults, path, "an empty segment", "one slash between two segments");
            }
            pattern.push(*segment, last, faults);
        }
        pattern
    }

    /// What decides which requests it takes: two routes with one method and one shape cannot be told apart.
    pub(super) fn shape(segments: &[Segment], ignore_slash: bool) -> String {
        let mut segments = segments;
        if let ([.., _, Segment::Fixed(last)], true) = (segments, ignore_slash) {
            segments = if last.is_empty() {
                &segments[..segments.len() - 1]
            } else {
                segments
            };
        }
        let shape = |segment: &Segment| match segment {
            Segment::Fixed(text) => format!("/{text}"),
            Segment::Param(_) => "/{}".to_owned(),
            Segment::Rest(_) => "/*".to_owned(),
        };
        segments.iter().map(shape).collect()
    }

    fn push(&mut self, segment: Text<'_>, last: bool, faults: &mut Faults) {
        let text = segment.text;
        if text.starts_with('*') {
            let name = segment.slice(1..text.len());
            if !last {
                fault(
                    faults,
                    segment,
                    format!("`{text}` is not the last segment"),
                    "`*rest` takes all that follows, so it stands last",
                );
            }
            let index = self.param(name, ParamKind::Text, true, faults);
            self.segments.push(Segment::Rest(index));
        } else if text.starts_with('{') && text.ends_with('}') {
            let inside = segment.slice(1..text.len() - 1);
            let (name, kind) = match inside.split_once(':') {
                Some((name, kind)) => (name, named_kind(kind, faults)),
                None => (inside, ParamKind::Text),
            };
            let index = self.param(name, kind, false, faults);
            self.segments.push(Segment::Param(index));
        } else {
            self.segments.push(Segment::Fixed(fixed(segment, faults)));
        }
    }

    fn param(&mut self, name: Text<'_>, kind: ParamKind, rest: bool, faults: &mut Faults) -> usize {
        names::check("parameter", name, faults);
        if self.params.iter().any(|param| param.name == name.text) {
            fault(
                faults,
                name,
                format!("two parameters are named `{}`", name.text),
                "another name for one of them",
            );
        }
        let (name, default) = (name.text.to_owned(), ParamDefault::Required);
        self.params.push(Param {
            name,
            kind,
            default,
            repeats: false,
            in_path: false,
            rest,
            may_be_folder: false,
        });
        self.params.len() - 1
    }
}

fn named_kind(kind: Text<'_>, faults: &mut Faults) -> ParamKind {
    let known = match kind.text {
        "u" => Some(ParamKind::Uuid),
        "d" => Some(ParamKind::Date),
        word => kind_named(word),
    };
    known.unwrap_or_else(|| {
        unknown(faults, kind, "type", kind.text, KINDS);
        ParamKind::Text
    })
}

fn fixed(segment: Text<'_>, faults: &mut Faults) -> String {
    let text = segment.text;
    if text == "." || text == ".." {
        fault(
            faults,
            segment,
            "a path may not hold the segments `.` and `..`",
            "no client can ask for them",
        );
    }
    if let Some(wrong) = text.chars().find(|c| "{}*$?\\".contains(*c) || c.is_whitespace()) {
        let what = format!("`{wrong}` inside the segment `{text}`");
        fault(
            faults,
            segment,
            what,
            "a segment is fixed text, `{name}`, `{name:int}`, or `*rest` at the end",
        );
        return text.to_owned();
    }
    pattern_text(segment, faults)
}
