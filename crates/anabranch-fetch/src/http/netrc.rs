//! Logins from a netrc file, as curl reads them: `machine NAME login USER password SECRET`, `default` for all others.

use http::HeaderValue;

/// Logins by host.
#[derive(Clone, Default)]
pub(crate) struct Netrc {
    entries: Vec<Entry>,
}

#[derive(Clone, Default)]
struct Entry {
    /// None for `default`.
    machine: Option<String>,
    login: String,
    password: String,
}

impl Netrc {
    /// Reads the text of a netrc file. What it does not know is left out, `macdef` with all its lines.
    pub(crate) fn parse(text: &str) -> Self {
        let mut entries: Vec<Entry> = Vec::new();
        let mut words = words(text).into_iter().peekable();
        while let Some(word) = words.next() {
            match word.as_str() {
                "machine" => entries.push(Entry {
                    machine: Some(words.next().unwrap_or_default().to_ascii_lowercase()),
                    ..Entry::default()
                }),
                "default" => entries.push(Entry::default()),
                "login" | "password" | "account" => {
                    let value = words.next().unwrap_or_default();
                    match (entries.last_mut(), word.as_str()) {
                        (Some(entry), "login") => entry.login = value,
                        (Some(entry), "password") => entry.password = value,
                        _ => {}
                    }
                }
                _ => {}
            }
        }
        Netrc { entries }
    }

    /// The Authorization header for a host, given without its port. The first entry of its name counts, else `default`.
    pub(crate) fn authorization(&self, host: &str) -> Option<HeaderValue> {
        let named = self.entries.iter().find(|entry| entry.machine.as_deref() == Some(host));
        let entry = named.or_else(|| self.entries.iter().find(|entry| entry.machine.is_none()))?;
        basic(&entry.login, &entry.password)
    }
}

/// `Basic` of a user and a password (RFC 7617); never shown in logs.
pub(crate) fn basic(user: &str, password: &str) -> Option<HeaderValue> {
    let text = format!("Basic {}", base64(format!("{user}:{password}").as_bytes()));
    let mut value = HeaderValue::try_from(text).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// RFC 4648 section 4.
pub(crate) fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let word = chunk.iter().fold(0_u32, |word, byte| word << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for place in 0..4 {
            let digit = (word >> (18 - 6 * place)) & 63;
            out.push(if place <= chunk.len() {
                char::from(DIGITS[digit as usize])
            } else {
                '='
            });
        }
    }
    out
}

/// Words between blanks; in quotes a word may have blanks, with `\` before a quote. `#` at the start of a line begins a comment.
fn words(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut is_in_macro = false;
    for line in text.lines() {
        if is_in_macro {
            is_in_macro = !line.trim().is_empty();
            continue;
        }
        if line.trim_start().starts_with('#') {
            continue;
        }
        let mut rest = line.trim_start();
        while !rest.is_empty() {
            let (word, after) = word(rest);
            if word == "macdef" {
                is_in_macro = true;
                break;
            }
            words.push(word);
            rest = after.trim_start();
        }
    }
    words
}

fn word(text: &str) -> (String, &str) {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find(char::is_whitespace).unwrap_or(text.len());
        return (text[..end].to_string(), &text[end..]);
    };
    let mut word = String::new();
    let mut chars = quoted.char_indices();
    while let Some((at, char)) = chars.next() {
        match char {
            '"' => return (word, &quoted[at + 1..]),
            '\\' => word.extend(chars.next().map(|(_, escaped)| escaped)),
            _ => word.push(char),
        }
    }
    (word, "")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str, host: &str) -> Option<String> {
        let value = Netrc::parse(text).authorization(host)?;
        Some(value.to_str().unwrap().to_string())
    }

    #[test]
    fn a_machine_has_its_login_and_others_the_default() {
        let text = "# mine\nmachine Shop.example\n  login me\n  password \"a b\\\"c\"\nmacdef init\ncd /\n\nmachine other login o password p default login d password e";
        assert_eq!(of(text, "shop.example").unwrap(), format!("Basic {}", base64(b"me:a b\"c")));
        assert_eq!(of(text, "other").unwrap(), format!("Basic {}", base64(b"o:p")));
        assert_eq!(of(text, "third").unwrap(), format!("Basic {}", base64(b"d:e")));
        assert_eq!(of("machine a login b password c", "x"), None);
        assert_eq!(of("machine a login", "a").unwrap(), format!("Basic {}", base64(b":")));
    }

    #[test]
    fn base64_is_that_of_the_rfc() {
        for (text, coded) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("fooba", "Zm9vYmE="),
            ("foobar", "Zm9vYmFy"),
        ] {
            assert_eq!(base64(text.as_bytes()), coded);
        }
        assert_eq!(base64(&[0xfb, 0xff]), "+/8=");
    }
}
