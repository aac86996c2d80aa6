//! What is wrong with a program: the words for it, and its place in the text.

use std::ops::Range;

use jaq_core::compile::Undefined;
use jaq_core::load::lex::{self, Token};
use jaq_core::load::parse;

use super::engine;
use crate::config::nearest;

/// What is wrong with a program, and where in its text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ProgramFault {
    pub(crate) at: Range<usize>,
    pub(crate) message: String,
    pub(crate) help: String,
}

/// A program that cannot be compiled, though no part of it can be named for that.
pub(super) fn of_whole(text: &str) -> ProgramFault {
    ProgramFault {
        at: 0..text.len(),
        message: "the program could not be compiled".to_owned(),
        help: "the system gave no thread for it, or it is more than the compiler can bear".to_owned(),
    }
}

/// Where a part of the text stands in it; the end of the text for one that is not of it.
pub(super) fn place(text: &str, part: &str) -> Range<usize> {
    let start = part.as_ptr().addr().wrapping_sub(text.as_ptr().addr());
    if start > text.len() || start + part.len() > text.len() {
        return text.len()..text.len();
    }
    start..start + part.len()
}

/// What the lexer stumbled over.
pub(super) fn of_lexer(text: &str, (expected, rest): lex::Error<&str>) -> ProgramFault {
    if let lex::Expect::Delim(open) = &expected {
        let message = format!("`{open}` is never closed");
        return ProgramFault {
            at: place(text, open),
            message,
            help: format!("expected {}", in_words(expected.as_str())),
        };
    }
    let start = place(text, rest).start;
    let found = text[start..].chars().next();
    let message = found.map_or("the program ends too early".to_owned(), |found| {
        format!("`{found}` is not understood here")
    });
    ProgramFault {
        at: start..start + found.map_or(0, char::len_utf8),
        message,
        help: format!("expected {}", in_words(expected.as_str())),
    }
}

/// What the parser did not expect.
pub(super) fn of_parser(text: &str, (expected, found): parse::Error<&str, Option<&Token<&str>>>) -> ProgramFault {
    let found = found.map(|token| place(text, token.as_str()));
    let (at, message) = match found {
        // Of something in brackets the opening one is shown.
        Some(at) => {
            let shown = text[at.clone()].lines().next().unwrap_or_default();
            let shown: String = shown.chars().take(30).collect();
            (at, format!("`{shown}` is not understood here"))
        }
        None => {
            let end = text.trim_end().len();
            (end..end, "the program ends too early".to_owned())
        }
    };
    ProgramFault {
        at,
        message,
        help: format!("expected {}", in_words(expected.as_str())),
    }
}

/// What the reader expected, as a reader of messages does.
fn in_words(expected: &str) -> String {
    let words = match expected {
        "nothing" => "the end, or an operator such as `|`",
        "term" => "a value or a filter",
        "token" => "a value, a filter or an operator",
        "else or end" => "`else` or `end`",
        "comma or right bracket" => "`,` or `]`",
        "comma or right brace" => "`,` or `}`",
        "semicolon or right parenthesis" => "`;` or `)`",
        "closing parenthesis" => "`)`",
        "closing bracket" => "`]`",
        "closing brace" => "`}`",
        "closing quote" => "`\"`",
        "identifier" => "a name",
        "argument" => "the name of an argument",
        "variable" => "a variable such as `$x`",
        "pattern" => "a variable such as `$x`, `[$x]` or `{$x}`",
        "key" => "a key: `.name` or `[...]`",
        "string" => "a text in quotes",
        "digit" => "a digit",
        "string escape sequence" => "an escape such as `\\n`, `\\\"` or `\\(...)`",
        "4-digit hexadecimal UTF-8 code point" => "four hexadecimal digits of a character",
        sign => return format!("`{sign}`"),
    };
    words.to_owned()
}

/// A name that stands for nothing.
pub(super) fn of_name(text: &str, name: &str, what: &Undefined) -> ProgramFault {
    let at = place(text, name);
    let (shown, known) = match what {
        Undefined::Filter(0) => (name.to_owned(), engine::names()),
        Undefined::Filter(arguments) => (format!("{name}/{arguments}"), engine::names()),
        _ => (name.to_owned(), Vec::new()),
    };
    let help = match engine::why_missing(name) {
        Some(why) => why.to_owned(),
        None if known.contains(&name) => "it is known with another number of arguments".to_owned(),
        None => match nearest(name, known.iter().copied()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => "the filters of jq 1.7 are known, see docs/reference/jq.md for the few that are not".to_owned(),
        },
    };
    ProgramFault {
        at,
        message: format!("unknown {} `{shown}`", what.as_str()),
        help,
    }
}
