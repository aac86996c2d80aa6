//! What may be written where: words to stderr (coloured or not, in place or not, how wide), data to stdout.

use std::io::{self, IsTerminal, Write};

use crate::cli::ColorWhen;
use crate::exit::Failure;

/// Columns when neither `COLUMNS` nor a terminal says how many there are.
const WIDTH_UNKNOWN: usize = 100;
/// Below this nothing can be drawn; above it bars get no more readable.
const WIDTH_RANGE: std::ops::RangeInclusive<usize> = 40..=180;

/// What is known of stderr, found out once.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Terminal {
    /// Whether words are coloured. Colour never carries meaning alone.
    pub(crate) color: bool,
    /// How many columns there are.
    pub(crate) width: usize,
    /// Whether a line can be written over, so that progress can be shown in place.
    pub(crate) in_place: bool,
}

impl Terminal {
    /// Looks at stderr, `COLUMNS`, `NO_COLOR` and `TERM`.
    pub(crate) fn find(color: ColorWhen) -> Terminal {
        let in_place = io::stderr().is_terminal() && !is_dumb();
        let color = match color {
            ColorWhen::Always => true,
            ColorWhen::Never => false,
            ColorWhen::Auto => in_place && !no_color(),
        };
        Terminal {
            color,
            width: width(),
            in_place,
        }
    }

    /// One line of words, to stderr. A stderr that is closed loses them, which is what whoever closed it wanted.
    pub(crate) fn say(&self, words: impl AsRef<str>) {
        let _ = writeln!(io::stderr().lock(), "{}", words.as_ref());
    }

    /// A line with a coloured tag in front: `warning: ...`.
    pub(crate) fn tagged(&self, tag: Tag, words: impl AsRef<str>) {
        let (word, code) = match tag {
            Tag::Error => ("error", "1;31"),
            Tag::Warning => ("warning", "1;33"),
            Tag::Note => ("note", "1;36"),
        };
        self.say(format!("{}: {}", paint(self.color, code, word), words.as_ref()));
    }

    /// Writes this over the line that is there, if stderr is a terminal; else nothing.
    pub(crate) fn say_in_place(&self, words: &str) {
        if self.in_place {
            let shown: String = words.chars().take(self.width.saturating_sub(1)).collect();
            let mut stderr = io::stderr().lock();
            let _ = write!(stderr, "\r\x1b[K{shown}").and_then(|()| stderr.flush());
        }
    }
}

/// What a line to stderr is.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Tag {
    /// The command stops.
    Error,
    /// It goes on, but somebody should look.
    Warning,
    /// It helps with the line before.
    Note,
}

/// Writes data to stdout and flushes it, so that a reader at the other end of a pipe has it now.
pub(crate) fn data(bytes: &[u8]) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(bytes).and_then(|()| stdout.flush()).map_err(Failure::output)
}

/// Puts an SGR sequence (ECMA-48) around text.
pub(crate) fn paint(color: bool, code: &str, text: &str) -> String {
    if color && !text.is_empty() {
        format!("\x1b[{code}m{text}\x1b[0m")
    } else {
        text.to_string()
    }
}

/// <https://no-color.org>: present and not empty.
fn no_color() -> bool {
    std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
}

fn is_dumb() -> bool {
    std::env::var_os("TERM").is_some_and(|term| term == "dumb")
}

fn width() -> usize {
    let from_env = std::env::var_os("COLUMNS").and_then(|columns| columns.to_str()?.trim().parse::<usize>().ok());
    let columns = from_env
        .or_else(|| terminal_size::terminal_size_of(io::stderr()).map(|(width, _)| usize::from(width.0)))
        .unwrap_or(WIDTH_UNKNOWN);
    columns.clamp(*WIDTH_RANGE.start(), *WIDTH_RANGE.end())
}
