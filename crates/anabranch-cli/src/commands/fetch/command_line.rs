//! The command that goes on with a run: the one that was typed, fit to be copied into a shell, without its secrets.

/// Flags whose values are no one else's business.
const SECRET: [&str; 6] = ["-u", "--user", "-H", "--header", "-x", "--proxy"];
/// Flags that belong to one call only.
const ONCE: [&str; 3] = ["--fresh", "--retry-failed", "--if-changed"];

/// This process's command line, as the next call would have it.
pub(crate) fn again() -> String {
    of(std::env::args_os().skip(1).map(|argument| argument.to_string_lossy().into_owned()))
}

fn of(arguments: impl Iterator<Item = String>) -> String {
    let mut words = vec!["anabranch".to_string()];
    let mut is_secret = false;
    for argument in arguments.filter(|argument| !ONCE.contains(&argument.as_str())) {
        let shown = match argument.split_once('=') {
            _ if is_secret => hidden(&argument),
            Some((flag, value)) if SECRET.contains(&flag) => format!("{flag}={}", hidden(value)),
            _ => without_userinfo(&argument),
        };
        is_secret = !is_secret && SECRET.contains(&argument.as_str());
        // `-uname:word` in one word.
        let glued = SECRET
            .iter()
            .find(|flag| flag.len() == 2 && argument.len() > 2 && argument.starts_with(**flag) && !argument.starts_with("--"));
        words.push(match glued {
            Some(flag) => quoted(&format!("{flag}{}", hidden(&argument[2..]))),
            None => quoted(&shown),
        });
    }
    words.join(" ")
}

/// A header keeps its name; of all else nothing is left.
fn hidden(value: &str) -> String {
    let is_plain = value
        .split_once(": ")
        .filter(|(name, _)| !["authorization", "cookie", "proxy-authorization"].contains(&name.to_ascii_lowercase().as_str()))
        .is_some_and(|(name, _)| {
            !["key", "token", "secret"]
                .iter()
                .any(|word| name.to_ascii_lowercase().contains(word))
        });
    match value.split_once(": ") {
        Some(_) if is_plain => value.to_string(),
        Some((name, _)) => format!("{name}: ***"),
        None => "***".to_string(),
    }
}

/// `https://name:word@host/` without the name and the word.
fn without_userinfo(argument: &str) -> String {
    let Some((scheme, rest)) = argument.split_once("://") else {
        return argument.to_string();
    };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    match authority.rsplit_once('@') {
        Some((userinfo, _)) => format!("{scheme}://***{}", &rest[userinfo.len()..]),
        None => argument.to_string(),
    }
}

/// As POSIX shells take it: in single quotes, where it needs any.
fn quoted(argument: &str) -> String {
    let is_plain = |letter: char| letter.is_ascii_alphanumeric() || "-_./:=,@%+".contains(letter);
    if !argument.is_empty() && argument.chars().all(is_plain) {
        argument.to_string()
    } else {
        format!("'{}'", argument.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn again(line: &[&str]) -> String {
        of(line.iter().map(|word| (*word).to_string()))
    }

    #[test]
    fn the_command_can_be_copied_into_a_shell() {
        let line = [
            "fetch",
            "-i",
            "my urls.txt",
            "--url",
            "http://a/{line}",
            "--select",
            "t=css:a[href='x']",
            "-j",
            "5",
        ];
        assert_eq!(
            again(&line),
            r"anabranch fetch -i 'my urls.txt' --url 'http://a/{line}' --select 't=css:a[href='\''x'\'']' -j 5"
        );
        assert_eq!(again(&["fetch", "-b", ""]), "anabranch fetch -b ''");
    }

    #[test]
    fn what_was_for_one_call_is_left_out() {
        assert_eq!(
            again(&["fetch", "--fresh", "http://a/", "--retry-failed", "--run", "r"]),
            "anabranch fetch http://a/ --run r"
        );
    }

    #[test]
    fn secrets_are_not_shown() {
        let line = [
            "fetch",
            "-u",
            "ada:word",
            "-uada:word",
            "--user=ada:word",
            "-H",
            "Authorization: Bearer word",
            "-H",
            "X-Api-Key: word",
        ];
        assert!(!again(&line).contains("word"), "{}", again(&line));
        assert_eq!(
            again(&["fetch", "-H", "Accept: text/html", "http://ada:word@h/a@b"]),
            "anabranch fetch -H 'Accept: text/html' 'http://***@h/a@b'"
        );
        assert_eq!(again(&["fetch", "-x", "http://p:1", "-i", "f"]), "anabranch fetch -x '***' -i f");
    }
}
