//! SQL as tokens, as far as it matters where a dollar means something: the lexer of the server ("Lexical Structure" in its manual, and
//! scan.l in its source), with references of our own in between.

use std::ops::Range;

/// A token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Token {
    /// A keyword or a name without quotes.
    Word,
    /// A number.
    Number,
    /// `'text'`, `e'text'`, `"name"`, `$$text$$` or `$tag$text$tag$`.
    Quoted,
    /// `-- to the end of the line`, or `/* ... */`.
    Comment,
    /// The dollar that a reference begins with; where it ends, its reader says, see [`Tokens::go_on_at`].
    Reference,
    /// `$1`
    Position,
    /// A dollar that begins nothing.
    Dollar,
    /// Any other character.
    Sign(char),
    /// What ends with the text, although something is missing: its name for messages.
    Unclosed(&'static str),
}

/// Reads a text token by token; blanks are passed over.
pub(super) struct Tokens<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Tokens<'a> {
    /// From the beginning of a text.
    pub(super) fn of(text: &'a str) -> Self {
        Tokens { text, at: 0 }
    }

    /// Goes on from here, in bytes of the text.
    pub(super) fn go_on_at(&mut self, at: usize) {
        self.at = at;
    }

    fn token(&self) -> Option<(Token, usize)> {
        let rest = &self.text[self.at..];
        let first = rest.chars().next()?;
        let escaped = rest.starts_with("e'") || rest.starts_with("E'");
        Some(match first {
            '\'' => quoted(rest, 0, '\'', false),
            '"' => quoted(rest, 0, '"', false),
            'e' | 'E' if escaped => quoted(rest, 1, '\'', true),
            '-' if rest.starts_with("--") => (Token::Comment, rest.find(['\n', '\r']).unwrap_or(rest.len())),
            '/' if rest.starts_with("/*") => comment(rest),
            '$' => dollar(rest),
            _ if first.is_ascii_digit() => (
                Token::Number,
                length_of(rest, |character| character == '.' || (is_in_word(character) && character != '$')),
            ),
            _ if begins_word(first) => (Token::Word, length_of(rest, is_in_word)),
            _ => (Token::Sign(first), first.len_utf8()),
        })
    }
}

impl Iterator for Tokens<'_> {
    type Item = (Token, Range<usize>);

    fn next(&mut self) -> Option<Self::Item> {
        self.at += length_of(&self.text[self.at..], |character| {
            character.is_ascii_whitespace() || character == '\u{b}'
        });
        let (token, length) = self.token()?;
        let start = self.at;
        self.at += length;
        Some((token, start..self.at))
    }
}

/// Text in quotes that are doubled to stand inside; with `escapes` also behind a backslash.
fn quoted(text: &str, start: usize, quote: char, escapes: bool) -> (Token, usize) {
    let bytes = text.as_bytes();
    let mut at = start + 1;
    while let Some(&byte) = bytes.get(at) {
        match byte {
            b'\\' if escapes => at += 2,
            _ if byte == quote as u8 && bytes.get(at + 1) == Some(&byte) => at += 2,
            _ if byte == quote as u8 => return (Token::Quoted, at + 1),
            _ => at += 1,
        }
    }
    (
        Token::Unclosed(if quote == '"' { "a name in quotes" } else { "a text in quotes" }),
        text.len(),
    )
}

/// `/* ... */`; these nest.
fn comment(text: &str) -> (Token, usize) {
    let mut depth = 0_usize;
    let mut at = 0;
    while let Some(offset) = text[at..].find(['/', '*']) {
        at += offset;
        match text.as_bytes().get(at..at + 2) {
            Some(b"/*") => depth += 1,
            Some(b"*/") => depth -= 1,
            _ => {
                at += 1;
                continue;
            }
        }
        at += 2;
        if depth == 0 {
            return (Token::Comment, at);
        }
    }
    (Token::Unclosed("a comment"), text.len())
}

/// A dollar quote, a place `$1`, or what may be a reference.
fn dollar(text: &str) -> (Token, usize) {
    let behind = &text[1..];
    let first = behind.chars().next();
    if first.is_some_and(|first| first.is_ascii_digit()) {
        return (Token::Position, 1 + length_of(behind, |character| character.is_ascii_digit()));
    }
    let tag = if first.is_some_and(begins_word) {
        length_of(behind, |character| is_in_word(character) && character != '$')
    } else {
        0
    };
    if behind[tag..].starts_with('$') {
        let delimiter = &text[..tag + 2];
        let end = text[delimiter.len()..].find(delimiter).map(|inside| inside + 2 * delimiter.len());
        return end.map_or((Token::Unclosed("a text in dollar quotes"), text.len()), |end| (Token::Quoted, end));
    }
    match first {
        Some('{' | '_' | 'a'..='z' | 'A'..='Z') => (Token::Reference, 1),
        _ => (Token::Dollar, 1),
    }
}

fn begins_word(character: char) -> bool {
    character.is_ascii_alphabetic() || character == '_' || !character.is_ascii()
}

fn is_in_word(character: char) -> bool {
    begins_word(character) || character.is_ascii_digit() || character == '$'
}

fn length_of(text: &str, is_part: impl Fn(char) -> bool) -> usize {
    text.find(|character| !is_part(character)).unwrap_or(text.len())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The tokens, each with a letter for its kind; a reference is its dollar.
    fn shown(text: &str) -> String {
        let letter = |token| match token {
            Token::Word => 'w',
            Token::Number => 'n',
            Token::Quoted => 'q',
            Token::Comment => 'c',
            Token::Reference => 'r',
            Token::Position => 'p',
            Token::Dollar => 'd',
            Token::Sign(_) => 's',
            Token::Unclosed(_) => 'u',
        };
        Tokens::of(text)
            .map(|(token, range)| format!("{}[{}]", letter(token), &text[range]))
            .collect()
    }

    #[track_caller]
    fn check(text: &str, expected: &str) {
        assert_eq!(shown(text), expected, "{text}");
    }

    #[test]
    fn texts_end_where_the_server_ends_them() {
        check("'a''$b' $c", "q['a''$b']r[$]w[c]");
        check(r"'a\' $b", r"q['a\']r[$]w[b]");
        check(r"e'a\' $b' $c", r"q[e'a\' $b']r[$]w[c]");
        check(r"E'\\' $c", r"q[E'\\']r[$]w[c]");
        check(r#""a""$b" $c"#, r#"q["a""$b"]r[$]w[c]"#);
        check("x'1f' b'01' n'ä$b' u&'$b'", "w[x]q['1f']w[b]q['01']w[n]q['ä$b']w[u]s[&]q['$b']");
        check("le'a\\'", "w[le]q['a\\']");
        for unclosed in ["'a", "\"a", "e'a\\'", "'", "e'\\", "/* /* */", "/*/", "$$ $", "$a$ $b$", "$a$ $A$"] {
            assert!(shown(unclosed).starts_with("u["), "{unclosed}");
        }
    }

    #[test]
    fn dollar_quotes_have_tags_and_hold_anything() {
        check("$$ $b ' /* $$$c", "q[$$ $b ' /* $$]r[$]w[c]");
        check("$q$ $$ $qq$ $q$ $c", "q[$q$ $$ $qq$ $q$]r[$]w[c]");
        check("$é$a$é$", "q[$é$a$é$]");
        // A word may have dollars inside, so nothing begins there.
        check("a$b$c$", "w[a$b$c$]");
        check("$1$a", "p[$1]r[$]w[a]");
    }

    #[test]
    fn comments_nest_and_hide_what_they_hold() {
        check("a -- $b '\n$c", "w[a]c[-- $b ']r[$]w[c]");
        check("/* ' /* $b */ $$ */ $c", "c[/* ' /* $b */ $$ */]r[$]w[c]");
        check("/**/ a/*/**/*/b", "c[/**/]w[a]c[/*/**/*/]w[b]");
        check("a - - b / * c", "w[a]s[-]s[-]w[b]s[/]s[*]w[c]");
    }

    #[test]
    fn a_dollar_begins_a_reference_a_place_or_nothing() {
        check(
            "$uid::int = any(${ids})",
            "r[$]w[uid]s[:]s[:]w[int]s[=]w[any]s[(]r[$]s[{]w[ids]s[}]s[)]",
        );
        check("$1 + $ 2$", "p[$1]s[+]d[$]n[2]d[$]");
        check("1.5e3$x @> ?", "n[1.5e3]r[$]w[x]s[@]s[>]s[?]");
    }

    proptest! {
        /// Every character is in one token, or blank.
        #[test]
        fn nothing_is_lost(text in "[-a-z0-9 '\"$/*;\\\\eE\n(){}ü]{0,40}") {
            let mut at = 0;
            for (_, range) in Tokens::of(&text) {
                prop_assert!(text[at..range.start].trim_ascii().is_empty() && range.start < range.end, "{text}");
                at = range.end;
            }
            prop_assert!(text[at..].trim_ascii().is_empty(), "{text}");
        }
    }
}
