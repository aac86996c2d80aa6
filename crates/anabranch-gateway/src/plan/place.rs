//! Text and where it stands in the file, so that a fault underlines the piece that is wrong and not the whole value.

use std::ops::Range;

use crate::config::faults::Faults;
use crate::config::yaml::{Span, Spanned};

/// A piece of one scalar of the file.
#[derive(Clone, Copy, Debug)]
pub(super) struct Text<'a> {
    /// The piece.
    pub(super) text: &'a str,
    /// The value of the whole scalar.
    whole: &'a str,
    /// Where the piece begins in it.
    start: usize,
    /// Place of the whole scalar, quotes included.
    span: Span,
}

impl<'a> Text<'a> {
    /// Takes a whole scalar.
    pub(super) fn of(spanned: &'a Spanned<String>) -> Self {
        Self::new(&spanned.value, spanned.span)
    }

    /// Takes a whole scalar with its place.
    pub(super) fn new(text: &'a str, span: Span) -> Self {
        Self {
            text,
            whole: text,
            start: 0,
            span,
        }
    }

    /// Cuts out a piece; the range is in bytes of this piece.
    pub(super) fn slice(&self, range: Range<usize>) -> Text<'a> {
        Text {
            text: &self.text[range.clone()],
            start: self.start + range.start,
            ..*self
        }
    }

    /// Cuts off blanks at both ends.
    pub(super) fn trimmed(&self) -> Text<'a> {
        let start = self.text.len() - self.text.trim_start().len();
        let end = self.text.trim_end().len().max(start);
        self.slice(start..end)
    }

    /// Cuts at the first `separator`, which is in neither half.
    pub(super) fn split_once(&self, separator: char) -> Option<(Text<'a>, Text<'a>)> {
        let at = self.text.find(separator)?;
        Some((self.slice(0..at), self.slice(at + separator.len_utf8()..self.text.len())))
    }

    /// Cuts at every `separator`.
    pub(super) fn split(&self, separator: char) -> Vec<Text<'a>> {
        let mut pieces = Vec::new();
        let mut rest = *self;
        while let Some((piece, behind)) = rest.split_once(separator) {
            pieces.push(piece);
            rest = behind;
        }
        pieces.push(rest);
        pieces
    }
}

/// What a fault can underline.
pub(super) trait Place {
    /// Tells where it stands in the file.
    fn span(&self, faults: &Faults) -> Span;
}

impl Place for Span {
    fn span(&self, _: &Faults) -> Span {
        *self
    }
}

impl<T> Place for Spanned<T> {
    fn span(&self, _: &Faults) -> Span {
        self.span
    }
}

/// The piece alone where the scalar stands in the file as its value does; else the whole scalar.
impl Place for Text<'_> {
    fn span(&self, faults: &Faults) -> Span {
        faults.within(self.span, self.whole, self.start, self.start + self.text.len())
    }
}

impl<P: Place> Place for &P {
    fn span(&self, faults: &Faults) -> Span {
        (**self).span(faults)
    }
}

/// Reports a fault; `help` says what was expected.
pub(super) fn fault(faults: &mut Faults, place: impl Place, message: impl Into<String>, help: impl Into<String>) {
    let span = place.span(faults);
    faults.add_with_help(span, message, help);
}

/// Reports a name that nothing has, and suggests the nearest.
pub(super) fn unknown<'a>(faults: &mut Faults, place: impl Place, what: &str, name: &str, known: impl IntoIterator<Item = &'a str>) {
    let span = place.span(faults);
    faults.add_unknown(span, what, name, known);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_piece_of_a_plain_or_quoted_scalar_knows_its_place() {
        let faults = Faults::new("f", "get: shop /x/$id\nput: \"shop /x/$id\"\n");
        let plain = Text::new("shop /x/$id", Span { start: 5, end: 16 });
        let quoted = Text::new("shop /x/$id", Span { start: 22, end: 35 });
        assert_eq!(plain.slice(8..11).span(&faults), Span { start: 13, end: 16 });
        assert_eq!(quoted.slice(8..11).span(&faults), Span { start: 31, end: 34 });
    }

    #[test]
    fn pieces_keep_their_place_when_cut_again() {
        let faults = Faults::new("f", "  a=1&b=2 ");
        let text = Text::new("  a=1&b=2 ", Span { start: 0, end: 10 }).trimmed();
        let pieces = text.split('&');
        assert_eq!(pieces.len(), 2);
        let (name, value) = pieces[1].split_once('=').unwrap();
        assert_eq!((name.text, name.span(&faults).start), ("b", 6));
        assert_eq!((value.text, value.span(&faults).start), ("2", 8));
    }
}
