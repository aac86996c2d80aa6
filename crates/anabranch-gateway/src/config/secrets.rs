//! Values that came from the environment or from files, and how they are kept out of messages.

/// Shorter secrets are not hidden where a message quotes more than them: `80` would spoil every number.
const SECRET_CHARS_MIN: usize = 4;

/// Values that no message may show. `Debug` is left out on purpose.
#[derive(Clone, Default)]
pub(super) struct Secrets {
    /// Each with the reference that is shown in its place, the longest first: a secret may be part of another.
    list: Vec<(String, String)>,
}

impl Secrets {
    /// Adds a value as it is, as it stands in templates (`$$`) and as it stands in JSON.
    pub(super) fn add(&mut self, value: &str, reference: &str) {
        let in_template = value.replace('$', "$$");
        let in_json = serde_json::Value::from(value).to_string();
        for form in [value, in_template.as_str(), &in_json[1..in_json.len() - 1]] {
            let known = self.list.iter().any(|(secret, _)| secret == form);
            if !known && !form.is_empty() {
                self.list.push((form.to_owned(), reference.to_owned()));
            }
        }
        self.list.sort_by_key(|(secret, _)| std::cmp::Reverse(secret.len()));
    }

    /// A message without secrets: whole ones are replaced anywhere; between backticks also pieces, even a few letters, since a message
    /// quotes what was cut and joined. What stands in the file's `text` too is no secret.
    pub(super) fn out_of_message(&self, message: String, text: &str) -> String {
        self.replace(message, text, |secret, piece| {
            secret.contains(piece) || shares_letters(secret, piece, text)
        })
    }

    /// The same for help, which quotes examples: a few letters in common mean nothing there.
    pub(super) fn out_of_help(&self, help: String, text: &str) -> String {
        self.replace(help, text, |secret, piece| secret.contains(piece))
    }

    fn replace(&self, message: String, text: &str, hides: impl Fn(&str, &str) -> bool) -> String {
        if self.list.is_empty() {
            return message;
        }
        let mut message = message;
        for (secret, reference) in &self.list {
            if secret.chars().count() >= SECRET_CHARS_MIN {
                message = message.replace(secret.as_str(), reference);
            }
        }
        let mut pieces: Vec<&str> = message.split('`').collect();
        for piece in pieces.iter_mut().skip(1).step_by(2) {
            let written = piece.is_empty() || text.contains(*piece);
            let hidden = self.list.iter().find(|(secret, _)| !written && hides(secret, piece));
            *piece = hidden.map_or(*piece, |(_, reference)| reference.as_str());
        }
        pieces.join("`")
    }
}

/// Whether some letters in a row of `piece` are from the secret and not from the file.
fn shares_letters(secret: &str, piece: &str, text: &str) -> bool {
    let letters: Vec<char> = piece.chars().collect();
    letters.windows(SECRET_CHARS_MIN).any(|window| {
        let window: String = window.iter().collect();
        secret.contains(&window) && !text.contains(&window)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(message: &str) -> String {
        let mut secrets = Secrets::default();
        secrets.add("http://user:hunter2@shop:8000", "$env.URL");
        secrets.add("a$\"quoted\"", "$env.ODD");
        secrets.add("pw", "$env.SHORT");
        secrets.out_of_message(message.to_owned(), "url: $env.URL")
    }

    #[test]
    fn whole_secrets_are_replaced_anywhere_in_every_form() {
        assert_eq!(shown("bad http://user:hunter2@shop:8000/x"), "bad $env.URL/x");
        assert_eq!(shown("bad a$$\"quoted\" and a$\\\"quoted\\\""), "bad $env.ODD and $env.ODD");
    }

    #[test]
    fn pieces_are_replaced_where_they_are_quoted() {
        assert_eq!(
            shown("found `hunter2` and `xhunty` in `url`, short `pw`"),
            "found `$env.URL` and `$env.URL` in `url`, short `$env.SHORT`"
        );
        assert_eq!(shown("unknown key `timout`"), "unknown key `timout`");
    }

    #[test]
    fn help_keeps_its_examples() {
        let mut secrets = Secrets::default();
        secrets.add("http://shop:8000", "$env.URL");
        let help = "expected `http://host:port`, not `http://shop:8000` or `shop`".to_owned();
        assert_eq!(
            secrets.out_of_help(help, ""),
            "expected `http://host:port`, not `$env.URL` or `$env.URL`"
        );
    }
}
