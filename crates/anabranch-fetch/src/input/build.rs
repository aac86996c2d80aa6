//! A row becomes a job, or the reason why it is none.

use std::borrow::Cow;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderName, HeaderValue, Method};
use url::Url;

use super::Entry;
use super::body::{BodyTemplate, JSON};
use super::count::Counter;
use super::draft::Draft;
use super::ids::Ids;
use super::row::{Columns, Row};
use super::shown::{beginning, shown};
use super::template::Template;
use crate::http::origin::{take_userinfo, without_fragment};
use crate::options::InputOptions;
use crate::store::Key;
use crate::{FetchError, Job, JobId};

/// Makes jobs.
pub(super) struct JobMaker {
    url: Option<Template>,
    id: Option<Template>,
    body: Option<BodyTemplate>,
    headers: Vec<(HeaderName, Template)>,
    method: Option<Method>,
    counter: Counter,
    /// The ids that rows gave; opened with the first.
    ids: Option<Ids>,
}

impl JobMaker {
    /// Reads the templates.
    ///
    /// # Errors
    /// A URL or id names a column that there is none of.
    pub(super) fn new(options: &InputOptions, columns: &Columns) -> Result<JobMaker, FetchError> {
        let strict = |flag: &str, text: &Option<String>| match text {
            None => Ok(None),
            Some(text) => Template::read_strict(text, columns)
                .map(Some)
                .map_err(|name| unknown_column(flag, &name, columns)),
        };
        let content_type = options.headers.iter().find(|(name, _)| name == CONTENT_TYPE);
        let content_type = content_type.map(|(_, value)| value.as_str());
        let header = |(name, value): &(HeaderName, String)| (name.clone(), Template::read(value, columns));
        Ok(JobMaker {
            url: strict("--url", &options.url)?,
            id: strict("--id", &options.id)?,
            body: options.body.as_deref().map(|text| BodyTemplate::read(text, columns, content_type)),
            headers: options.headers.iter().map(header).collect(),
            method: options.method.clone(),
            counter: Counter::default(),
            ids: None,
        })
    }

    /// The job of a row.
    ///
    /// # Errors
    /// The ids that came before could not be kept.
    pub(super) fn make(&mut self, seq: u64, draft: Draft<'_>) -> Result<Entry, FetchError> {
        match self.job(seq, &draft) {
            Err(why) => Ok(self.invalid(seq, &draft.text, why)),
            Ok((mut job, None)) => {
                let nth = self.counter.nth(Key::of(&job.id));
                if nth > 0 {
                    job.id = JobId::of(&job.method, &job.url, job.body.as_deref(), nth);
                }
                Ok(Entry::Job(job))
            }
            Ok((job, Some(given))) => self.with_given_id(seq, job, given),
        }
    }

    /// What is no job has an id all the same: of its text, and of how often that came.
    pub(super) fn invalid(&mut self, seq: u64, text: &str, why: String) -> Entry {
        let mut hasher = blake3::Hasher::new();
        hasher.update(b"invalid\n").update(text.as_bytes());
        let name = |hasher: &blake3::Hasher| hasher.finalize().to_hex()[..32].to_owned();
        let mut id = name(&hasher);
        let nth = self.counter.nth(Key::of_text(&id));
        if nth > 0 {
            hasher.update(&nth.to_le_bytes());
            id = name(&hasher);
        }
        Entry::Invalid {
            seq,
            id: JobId::given(id),
            text: shown(text),
            why,
        }
    }

    fn with_given_id(&mut self, seq: u64, mut job: Job, given: String) -> Result<Entry, FetchError> {
        if self.ids.is_none() {
            self.ids = Some(Ids::new()?);
        }
        let Some(ids) = &mut self.ids else {
            return Err(FetchError::store("the ids of the input are not kept"));
        };
        let (first, times) = ids.insert(Key::of_text(&given), seq)?;
        if times == 0 {
            job.id = JobId::given(given);
            return Ok(Entry::Job(job));
        }
        Ok(Entry::Duplicate {
            seq,
            id: JobId::given(format!("{given}~{times}")),
            first,
            url: for_records(&job.url),
        })
    }

    /// The job, and the id that was given for it.
    fn job(&self, seq: u64, draft: &Draft<'_>) -> Result<(Job, Option<String>), String> {
        let url = self.url_of(draft)?;
        let (body, content_type) = self.body_of(draft)?;
        let method = method_of(draft, self.method.as_ref(), body.is_some())?;
        let mut headers = self.headers_of(draft)?;
        if let Some(content_type) = content_type
            && !headers.iter().any(|(name, _)| name == CONTENT_TYPE)
        {
            headers.push((CONTENT_TYPE, HeaderValue::from_static(content_type)));
        }
        let given = match &self.id {
            Some(template) => Some(
                template
                    .fill_plain(&draft.row)
                    .map_err(|name| format!("the row has no `{name}`, which its id needs"))?,
            ),
            None => draft.id.as_deref().map(str::to_owned),
        };
        if given.as_deref() == Some("") {
            return Err("its id is empty".to_owned());
        }
        if given.as_deref().is_some_and(|given| given.contains(char::is_control)) {
            return Err("its id has a control character".to_owned());
        }
        let id = match given {
            // Replaced by the given one once that is known to be new.
            Some(_) => JobId::given(""),
            None => JobId::of(&method, &url, body.as_deref(), 0),
        };
        let job = Job {
            seq: Some(seq),
            id,
            method,
            url,
            headers,
            body,
            meta: draft.meta.clone(),
            depth: 0,
            parent: None,
        };
        Ok((job, given))
    }

    fn url_of(&self, draft: &Draft<'_>) -> Result<Url, String> {
        let text: Cow<'_, str> = match (&self.url, &draft.url) {
            (Some(template), _) => template.fill_url(&draft.row)?.into(),
            (None, Some(url)) => Cow::Borrowed(&**url),
            (None, None) => return Err("the row has no `url`, and there is no --url".to_owned()),
        };
        parse_url(&text)
    }

    /// The body, and what it is.
    fn body_of(&self, draft: &Draft<'_>) -> Result<(Option<Bytes>, Option<&'static str>), String> {
        Ok(match (&self.body, &draft.body) {
            (Some(template), _) => (Some(Bytes::from(template.fill(&draft.row)?)), template.content_type()),
            (None, Some(body)) => (Some(Bytes::copy_from_slice(body.as_bytes())), draft.is_json_body.then_some(JSON)),
            (None, None) => (None, None),
        })
    }

    /// Those of the command line, without those that the row has itself, then the row's.
    fn headers_of(&self, draft: &Draft<'_>) -> Result<Vec<(HeaderName, HeaderValue)>, String> {
        let mut headers = Vec::with_capacity(self.headers.len() + draft.headers.len());
        for (name, template) in &self.headers {
            if !draft.headers.iter().any(|(own, _)| own.eq_ignore_ascii_case(name.as_str())) {
                headers.push((name.clone(), header_value(name, template, &draft.row)?));
            }
        }
        for (name, value) in &draft.headers {
            let parsed = HeaderName::from_bytes(name.as_bytes()).map_err(|_| format!("`{}` is no header's name", beginning(name)))?;
            let value = HeaderValue::from_str(value).map_err(|_| format!("the value of header `{parsed}` cannot be sent"))?;
            headers.push((parsed, value));
        }
        Ok(headers)
    }
}

/// A URL that can be fetched.
///
/// # Errors
/// Why it cannot be, for a person.
pub(crate) fn parse_url(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|error| match error {
        url::ParseError::RelativeUrlWithoutBase => "no URL: it has no scheme, expected http:// or https://".to_owned(),
        error => format!("no URL: {error}"),
    })?;
    match url.scheme() {
        "http" | "https" => Ok(url),
        other => Err(format!("`{other}` is not fetched, expected http or https")),
    }
}

/// A URL as records have it: without login and fragment.
pub(crate) fn for_records(url: &Url) -> String {
    let mut url = url.clone();
    take_userinfo(&mut url);
    without_fragment(&url).to_owned()
}

fn header_value(name: &HeaderName, template: &Template, row: &Row<'_>) -> Result<HeaderValue, String> {
    let text = template
        .fill_plain(row)
        .map_err(|column| format!("the row has no `{column}`, which header `{name}` needs"))?;
    HeaderValue::from_str(&text).map_err(|_| format!("the value of header `{name}` cannot be sent"))
}

fn method_of(draft: &Draft<'_>, default: Option<&Method>, has_body: bool) -> Result<Method, String> {
    match (&draft.method, default) {
        (Some(text), _) => Method::from_bytes(text.as_bytes()).map_err(|_| format!("`{}` is no method", beginning(text))),
        (None, Some(method)) => Ok(method.clone()),
        (None, None) if has_body => Ok(Method::POST),
        (None, None) => Ok(Method::GET),
    }
}

fn unknown_column(flag: &str, name: &str, columns: &Columns) -> FetchError {
    let known = match columns {
        Columns::Known(known) => known.iter().map(|name| format!("`{{{name}}}`")).collect::<Vec<_>>().join(", "),
        Columns::Any => "the row's keys".to_owned(),
    };
    FetchError::usage(format!(
        "{flag} names `{{{name}}}`, which the input does not have, expected one of {known}; write `{{{{{name}}}}}` for the text itself"
    ))
}
