//! CSS selectors over a page, and the text of what they match.

use ego_tree::iter::Edge;
use scraper::{ElementRef, Html, Node, Selector};

use super::{DATA_MAX, Missing};
use crate::content::html::Patience;

/// A selector with more than this is a mistake or an attack; matching takes time for each part.
const SELECTOR_MAX: usize = 4096;
/// Between two looks at the clock. One element can cost as much as it has siblings.
const ELEMENTS_BETWEEN_LOOKS: usize = 64;

/// A selector and what is taken of what it matches.
#[derive(Debug)]
pub(super) struct Css {
    selector: Selector,
    attribute: Option<String>,
}

impl Css {
    /// `SELECTOR` or `SELECTOR@ATTRIBUTE`.
    pub(super) fn parse(text: &str) -> Result<Css, String> {
        if text.len() > SELECTOR_MAX {
            return Err(format!("the selector is longer than {SELECTOR_MAX} bytes"));
        }
        let (selector, attribute) = match text.rsplit_once('@') {
            Some((selector, name)) if is_attribute(name) => (selector, Some(name.to_ascii_lowercase())),
            _ => (text, None),
        };
        let selector = Selector::parse(selector.trim()).map_err(|error| format!("`{selector}` is no CSS selector: {error}"))?;
        Ok(Css { selector, attribute })
    }

    pub(super) fn takes_srcset(&self) -> bool {
        matches!(self.attribute.as_deref(), Some("srcset" | "imagesrcset"))
    }

    /// Gives each match in document order, until `take` wants no more.
    pub(super) fn each(
        &self,
        html: &Html,
        missing: Missing,
        patience: Patience,
        take: &mut dyn FnMut(String) -> bool,
    ) -> Result<(), String> {
        let elements = html.tree.root().descendants().filter_map(ElementRef::wrap);
        for (n, element) in elements.enumerate() {
            if n % ELEMENTS_BETWEEN_LOOKS == 0 {
                patience.check()?;
            }
            if !self.selector.matches(&element) {
                continue;
            }
            let value = match (&self.attribute, missing) {
                (Some(name), _) => attribute(element, name),
                (None, Missing::Link) => attribute(element, "href").or_else(|| attribute(element, "src")),
                (None, Missing::Text) => Some(text(element)),
            };
            if let Some(value) = value
                && !take(value)
            {
                break;
            }
        }
        Ok(())
    }
}

fn is_attribute(name: &str) -> bool {
    !name.is_empty()
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b':' | b'.'))
}

fn attribute(element: ElementRef<'_>, name: &str) -> Option<String> {
    let value = element.value();
    if let Some(text) = value.attr(name) {
        return Some(text.to_string());
    }
    // In SVG and MathML the parser gives some attributes a namespace (`xlink:href`) or capitals (`viewBox`).
    let local = name.rsplit(':').next().unwrap_or(name);
    let mut attributes = value.attrs.iter();
    let found = attributes.find(|(key, _)| (*key.local).eq_ignore_ascii_case(name) || (key.prefix.is_some() && &*key.local == local));
    found.map(|(_, text)| text.to_string())
}

/// The text in an element: white space as one space, blocks apart, nothing of scripts and styles. Where white space counts (`pre`,
/// `textarea`) and in scripts (JSON-LD) it is left as it is, but for both ends.
fn text(element: ElementRef<'_>) -> String {
    let keeps_space = matches!(element.value().name(), "pre" | "textarea" | "script" | "style");
    let mut out = String::new();
    let mut hidden = 0_usize;
    for edge in element.traverse() {
        let (node, is_open) = match edge {
            Edge::Open(node) => (node, true),
            Edge::Close(node) => (node, false),
        };
        match node.value() {
            Node::Text(text) if is_open && hidden == 0 => out.push_str(text),
            Node::Element(inner) if node.id() != element.id() => match (inner.name(), is_open) {
                ("script" | "style" | "template" | "noscript", true) => hidden += 1,
                ("script" | "style" | "template" | "noscript", false) => hidden = hidden.saturating_sub(1),
                (name, _) if is_block(name) && !keeps_space => out.push(' '),
                _ => {}
            },
            _ => {}
        }
        // What is longer is refused anyway; a page of nested matches would have the square of its length.
        if out.len() > DATA_MAX {
            break;
        }
    }
    if keeps_space {
        return out.trim().to_string();
    }
    let mut collapsed = String::with_capacity(out.len());
    for word in out.split_whitespace() {
        if !collapsed.is_empty() {
            collapsed.push(' ');
        }
        collapsed.push_str(word);
    }
    collapsed
}

fn is_block(name: &str) -> bool {
    matches!(
        name,
        "address"
            | "article"
            | "aside"
            | "blockquote"
            | "br"
            | "caption"
            | "dd"
            | "div"
            | "dl"
            | "dt"
            | "fieldset"
            | "figcaption"
            | "figure"
            | "footer"
            | "form"
            | "h1"
            | "h2"
            | "h3"
            | "h4"
            | "h5"
            | "h6"
            | "header"
            | "hr"
            | "li"
            | "main"
            | "nav"
            | "ol"
            | "option"
            | "p"
            | "pre"
            | "section"
            | "table"
            | "td"
            | "th"
            | "title"
            | "tr"
            | "ul"
    )
}

/// `<base href>`, the first one that has it.
pub(super) fn base(html: &Html) -> Option<String> {
    let mut elements = html.tree.values().filter_map(Node::as_element);
    elements.find_map(|element| {
        (element.name() == "base")
            .then(|| element.attr("href").map(str::to_string))
            .flatten()
    })
}
