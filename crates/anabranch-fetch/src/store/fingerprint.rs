//! What shapes the jobs and records of a run: it must be the same each time the run goes on.
//!
//! Limits, times and retries may change from call to call. Templates, the method, what is followed and taken out, and what the sinks
//! are may not: half of the records would then answer another question. Values are kept as hashes, because headers hold secrets.

use crate::{FetchError, Options};

/// Names of what shapes the run, each with the hash of its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fingerprint(Vec<(&'static str, String)>);

impl Fingerprint {
    pub(super) fn of(options: &Options) -> Fingerprint {
        let (input, output) = (&options.input, &options.output);
        let (crawl, extract) = (&options.crawl, &options.extract);
        let mut parts = Parts::default();
        parts.add("--format", &input.format);
        parts.add("--url", &input.url);
        parts.add("--id", &input.id);
        parts.add("--data", &input.body);
        // Headers without holes are the same for all jobs, and may hold a token that is another one tomorrow.
        let filled: Vec<_> = input.headers.iter().filter(|(_, value)| value.contains('{')).collect();
        parts.add("--header", &filled);
        parts.add("--request", &input.method);
        parts.add("--output-dir", &output.folder);
        parts.add("--name", &output.name);
        let sinks: Vec<String> = output.sinks.iter().map(|sink| without_login(sink)).collect();
        parts.add("--sink", &sinks);
        parts.add("--body", &output.body);
        parts.add("--fields", &output.fields);
        parts.add("--only", &output.only);
        parts.add("--headers", &output.headers);
        parts.add("--select", &extract.select);
        parts.add("--jq", &extract.jq);
        parts.add("--follow", &crawl.follow);
        parts.add("--depth", &crawl.depth);
        parts.add("--same-host", &crawl.same_host);
        parts.add("--same-site", &crawl.same_site);
        parts.add("--allow", &crawl.allow);
        parts.add("--deny", &crawl.deny);
        parts.add("--sitemap", &crawl.sitemap);
        Fingerprint(parts.0)
    }

    /// For the journal.
    pub(super) fn text(&self) -> String {
        self.0.iter().map(|(name, hash)| format!("{name} {hash}\n")).collect()
    }

    /// Compares with what the journal has.
    ///
    /// # Errors
    /// `Usage`, with the names of what differs.
    pub(super) fn check(&self, kept: &str) -> Result<(), FetchError> {
        let of_kept = |name: &str| kept.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        let differs = |&&(name, ref hash): &&(&'static str, String)| of_kept(name).is_some_and(|kept| kept != hash);
        let names: Vec<&str> = self.0.iter().filter(differs).map(|&(name, _)| name).collect();
        if names.is_empty() {
            return Ok(());
        }
        Err(FetchError::usage(format!(
            "this run began with another {}: resume it as it began, or begin anew with --fresh",
            names.join(", ")
        )))
    }
}

/// The sink without who logs in there: passwords change.
fn without_login(sink: &str) -> String {
    let Some((scheme, rest)) = sink.split_once("//").filter(|(scheme, _)| scheme.ends_with(':')) else {
        return sink.to_owned();
    };
    let host = rest.find(['/', '?']).unwrap_or(rest.len());
    let host_begins = rest[..host].rfind('@').map_or(0, |at| at + 1);
    format!("{scheme}//{}", &rest[host_begins..])
}

#[derive(Default)]
struct Parts(Vec<(&'static str, String)>);

impl Parts {
    fn add(&mut self, name: &'static str, value: &impl std::fmt::Debug) {
        let hash = blake3::hash(format!("{value:?}").as_bytes());
        self.0.push((name, hash.to_hex()[..16].to_owned()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logins_and_tokens_may_change() {
        let fingerprint = |password: &str, header: &str| {
            let mut options = Options::default();
            options.output.sinks = vec![format!("pg://me:{password}@h:5/db?table=t"), "csv:a@b.csv".to_owned()];
            options.input.headers = vec![(http::header::AUTHORIZATION, header.to_owned())];
            Fingerprint::of(&options)
        };
        assert_eq!(fingerprint("a", "token 1"), fingerprint("b@c", "token 2"));
        assert_ne!(fingerprint("a", "{row}"), fingerprint("a", "{line}"));
        assert_eq!(without_login("csv:a@b/c.csv"), "csv:a@b/c.csv");
    }

    #[test]
    fn what_shapes_jobs_must_stay_and_limits_may_change() {
        let mut options = Options::default();
        options.input.url = Some("http://h/{line}".to_owned());
        let kept = Fingerprint::of(&options).text();
        assert!(!kept.contains("http"));
        options.limits.concurrency = 7;
        options.retry.retries = 0;
        Fingerprint::of(&options).check(&kept).unwrap();
        options.input.url = None;
        options.extract.jq = Some(".x".to_owned());
        let error = Fingerprint::of(&options).check(&kept).unwrap_err();
        assert!(
            matches!(&error, FetchError::Usage(text) if text.contains("another --url, --jq:")),
            "{error}"
        );
    }
}
