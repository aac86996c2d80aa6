//! Selectors: `css:` for HTML and XML, `json:` for JSON, and what they take from a document.
//!
//! `--select name=css:h1` takes the text of the first match or null; `name[]=css:h1` takes a list of all. `css:a@href` takes an attribute.
//! A JSON path that names at most one place gives a value or null, any other a list. XML is read as if it were HTML.
//!
//! A CSS selector finds nothing in what is not markup; a JSON path in what is not JSON is an error, for whoever asks an API wants to know.

mod css;
mod json;

use std::cell::OnceCell;

use scraper::Html;
use serde_json::value::RawValue;
use url::Url;

use super::charset;
use super::html::{self, Patience};
use crate::FetchError;
use crate::options::{CrawlOptions, ExtractOptions};
use css::Css;
use json::Path;

/// Values of one selector on one page.
pub const VALUES_MAX: usize = 10_000;
/// Bytes of all that selectors take from one page, as JSON.
pub const DATA_MAX: usize = 4 << 20;

/// Selectors that were read and are ready to run.
#[derive(Debug, Default)]
pub struct Compiled {
    picks: Vec<Pick>,
}

/// One selector and what becomes of its matches.
#[derive(Debug)]
struct Pick {
    /// The key in `data`; empty for links.
    name: String,
    selector: Selector,
    is_list: bool,
}

#[derive(Debug)]
enum Selector {
    Css(Css),
    Json(Path),
}

/// A body that may be looked at in several ways, each made when it is first asked for.
pub(crate) struct Document<'a> {
    text: &'a str,
    is_markup: bool,
    html: OnceCell<Result<Html, String>>,
    json: OnceCell<Result<&'a RawValue, String>>,
    patience: Patience,
}

impl Compiled {
    /// The selectors of `--select`.
    ///
    /// # Errors
    /// [`FetchError::Usage`]: a name twice, no `css:` or `json:`, or a selector that cannot be read.
    pub fn extract(options: &ExtractOptions) -> Result<Compiled, FetchError> {
        let mut picks: Vec<Pick> = Vec::new();
        for (name, text) in &options.select {
            let (key, is_all) = match name.strip_suffix("[]") {
                Some(key) => (key, true),
                None => (name.as_str(), false),
            };
            if key.is_empty() || picks.iter().any(|pick| pick.name == key) {
                return Err(FetchError::usage(format!(
                    "`--select {name}={text}`: each selector needs a name of its own"
                )));
            }
            let selector = Selector::parse(text).map_err(|why| FetchError::usage(format!("`--select {name}={text}`: {why}")))?;
            let is_list = is_all || matches!(&selector, Selector::Json(path) if !path.is_singular());
            let name = key.to_string();
            picks.push(Pick { name, selector, is_list });
        }
        Ok(Compiled { picks })
    }

    /// The selectors of `--follow`. Without an attribute, `css:` takes `href`, else `src`.
    ///
    /// # Errors
    /// [`FetchError::Usage`]: no `css:` or `json:`, or a selector that cannot be read.
    pub fn follow(options: &CrawlOptions) -> Result<Compiled, FetchError> {
        let mut picks = Vec::new();
        for text in &options.follow {
            let selector = Selector::parse(text).map_err(|why| FetchError::usage(format!("`--follow {text}`: {why}")))?;
            let name = String::new();
            picks.push(Pick {
                name,
                selector,
                is_list: true,
            });
        }
        Ok(Compiled { picks })
    }

    /// Whether there are any selectors.
    pub fn has_any(&self) -> bool {
        !self.picks.is_empty()
    }

    /// What there is in a body that is no text.
    pub(crate) fn of_nothing(&self) -> Result<Box<RawValue>, String> {
        if let Some(pick) = self.picks.iter().find(|pick| matches!(pick.selector, Selector::Json(_))) {
            return Err(format!("`{}` needs JSON, and the body is no text", pick.name));
        }
        let mut object = Object::new();
        for pick in &self.picks {
            object.put(pick, Vec::new())?;
        }
        object.finish()
    }

    /// The object for `data`.
    pub(crate) fn data(&self, document: &Document<'_>) -> Result<Box<RawValue>, String> {
        let mut object = Object::new();
        for pick in &self.picks {
            let enough = if pick.is_list { VALUES_MAX + 1 } else { 1 };
            let mut values = Vec::new();
            let mut bytes = 0;
            pick.selector.each(document, Missing::Text, &mut |value| {
                let json = value.into_json();
                bytes += json.len();
                values.push(json);
                values.len() < enough && bytes <= DATA_MAX
            })?;
            if values.len() > VALUES_MAX {
                return Err(format!("`{}` has more than {VALUES_MAX} values", pick.name));
            }
            object.put(pick, values)?;
        }
        object.finish()
    }

    /// Gives every text that may be a link, while `take` says that it wants more.
    pub(crate) fn each_link(&self, document: &Document<'_>, take: &mut dyn FnMut(&str) -> bool) -> Result<(), String> {
        for pick in &self.picks {
            let is_srcset = matches!(&pick.selector, Selector::Css(css) if css.takes_srcset());
            pick.selector.each(document, Missing::Link, &mut |value| match value {
                Value::Text(text) if is_srcset => super::links::in_srcset(&text).all(&mut *take),
                Value::Text(text) => take(&text),
                Value::Json(raw) => match serde_json::from_str::<String>(raw.get()) {
                    Ok(text) => take(&text),
                    // A null in place of a next page is the end of the pages.
                    Err(_) => true,
                },
            })?;
        }
        Ok(())
    }
}

impl Selector {
    fn parse(text: &str) -> Result<Selector, String> {
        if let Some(css) = text.strip_prefix("css:") {
            return Ok(Selector::Css(Css::parse(css)?));
        }
        if let Some(path) = text.strip_prefix("json:") {
            return Ok(Selector::Json(Path::parse(path)?));
        }
        Err("expected `css:` or `json:` before the selector".into())
    }

    /// Gives each match to `take`, until it wants no more.
    fn each<'d>(&self, document: &'d Document<'_>, missing: Missing, take: &mut dyn FnMut(Value<'d>) -> bool) -> Result<(), String> {
        match self {
            Selector::Css(_) if !document.is_markup => Ok(()),
            Selector::Css(css) => css.each(document.html()?, missing, document.patience, &mut |text| take(Value::Text(text))),
            Selector::Json(path) => path.each(document.json()?, document.patience, &mut |raw| take(Value::Json(raw))),
        }
    }
}

/// What a CSS selector without an attribute takes.
#[derive(Clone, Copy, Debug)]
enum Missing {
    Text,
    Link,
}

enum Value<'a> {
    Text(String),
    Json(&'a RawValue),
}

impl Value<'_> {
    fn into_json(self) -> String {
        match self {
            Value::Text(text) => serde_json::Value::from(text).to_string(),
            Value::Json(raw) => json::compact(raw.get()),
        }
    }
}

impl<'a> Document<'a> {
    pub(crate) fn new(media_type: Option<&str>, text: &'a str) -> Self {
        let media_type = media_type.map(|text| text.trim().to_ascii_lowercase());
        let is_markup = match media_type.as_deref() {
            Some(media_type) => charset::is_html(media_type) || charset::is_xml(media_type),
            None => text.trim_start().starts_with('<'),
        };
        Document {
            text,
            is_markup,
            html: OnceCell::new(),
            json: OnceCell::new(),
            patience: Patience::new(),
        }
    }

    /// What relative links are relative to: `<base href>` if the page has one and it was parsed, else the page itself.
    pub(crate) fn base(&self, url: &Url) -> Url {
        if !self.is_markup {
            return url.clone();
        }
        let named = self.html().ok().and_then(css::base);
        named.and_then(|text| url.join(&text).ok()).unwrap_or_else(|| url.clone())
    }

    fn html(&self) -> Result<&Html, String> {
        let html = self.html.get_or_init(|| html::parse(self.text, self.patience));
        html.as_ref().map_err(String::clone)
    }

    fn json(&self) -> Result<&'a RawValue, String> {
        let json = self.json.get_or_init(|| json::parse(self.text));
        json.clone()
    }
}

/// `data`, as it is written.
struct Object {
    text: String,
}

impl Object {
    fn new() -> Self {
        Object { text: "{".into() }
    }

    fn put(&mut self, pick: &Pick, values: Vec<String>) -> Result<(), String> {
        if self.text.len() > 1 {
            self.text.push(',');
        }
        self.text.push_str(&serde_json::Value::from(pick.name.as_str()).to_string());
        self.text.push(':');
        if pick.is_list {
            self.text.push('[');
            self.text.push_str(&values.join(","));
            self.text.push(']');
        } else {
            self.text.push_str(values.first().map_or("null", String::as_str));
        }
        if self.text.len() > DATA_MAX {
            return Err(format!("what the selectors take is larger than {} MiB", DATA_MAX >> 20));
        }
        Ok(())
    }

    fn finish(mut self) -> Result<Box<RawValue>, String> {
        self.text.push('}');
        RawValue::from_string(self.text).map_err(|error| format!("what the selectors took is no JSON: {error}"))
    }
}

#[cfg(test)]
mod tests;
