//! HTML as a tree, for input that means harm: how deep, how large and how long are all bounded.
//!
//! The parser is html5ever's. Its tree builder walks its stack of open elements for almost every tag, so that a megabyte of `<div>` would
//! take it minutes; and it opens formatting elements again in each new block, so that a small page may ask for billions of nodes. Both
//! are stopped between the tokenizer and the tree builder, where a tag can still be left out.

use std::cell::Cell;
use std::time::Duration;

use html5ever::TokenizerResult;
use html5ever::interface::Tracer;
use html5ever::tendril::StrTendril;
use html5ever::tokenizer::{BufferQueue, Tag, TagKind, Token, TokenSink, TokenSinkResult, Tokenizer};
use html5ever::tree_builder::TreeBuilder;
use scraper::{Html, HtmlTreeSink};
use tokio::time::Instant;

use super::charset::end_within;

/// Elements within each other; deeper ones are left out and their text goes to the deepest that is kept. Blink stops at the same depth
/// (`kMaximumHTMLParserDOMTreeDepth`).
pub const DEPTH_MAX: usize = 512;
/// Nodes of a tree, about 200 bytes each.
pub const NODES_MAX: usize = 500_000;
/// Bytes of a page that are looked through, after decoding.
pub const HTML_MAX: usize = 16 << 20;
/// What one page may take of a thread that computes, parser and selectors together.
pub const TIME_MAX: Duration = Duration::from_secs(10);

/// The tree builder may open several elements for one tag, but hardly more than this on average between two looks at its stack.
const TAGS_BETWEEN_LOOKS: usize = 32;
/// What may be open beyond the depth: elements that nothing is in.
const LEAVES: usize = 32;
/// The clock is read between pieces of this size: the tokenizer itself cannot be interrupted.
const PIECE: usize = 16 << 10;

/// When a page has taken long enough.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    ends: Instant,
}

impl Patience {
    pub(crate) fn new() -> Self {
        Patience::of(TIME_MAX)
    }

    pub(crate) fn of(time: Duration) -> Self {
        Patience {
            ends: Instant::now() + time,
        }
    }

    pub(crate) fn check(&self) -> Result<(), String> {
        if Instant::now() < self.ends {
            return Ok(());
        }
        Err("the page takes too long to look through".into())
    }
}

/// Makes a tree of a page. Every text is HTML; only the limits of this module are errors.
pub(crate) fn parse(text: &str, patience: Patience) -> Result<Html, String> {
    if text.len() > HTML_MAX {
        return Err(format!("pages larger than {} MiB are not looked through", HTML_MAX >> 20));
    }
    let builder = TreeBuilder::new(HtmlTreeSink::new(Html::new_document()), Default::default());
    let tokenizer = Tokenizer::new(Bounded::new(builder), Default::default());
    let input = BufferQueue::default();
    let mut rest = text;
    while !rest.is_empty() {
        let (piece, after) = rest.split_at(end_within(rest, PIECE));
        rest = after;
        input.push_back(StrTendril::from_slice(piece));
        // A script or a charset in the page interrupts the tokenizer; neither is of interest here.
        while !matches!(tokenizer.feed(&input), TokenizerResult::Done) {}
        patience.check()?;
        if tokenizer.sink.is_full() {
            return Err(format!("the page has more than {NODES_MAX} nodes"));
        }
    }
    tokenizer.end();
    Ok(tokenizer.sink.builder.sink.0.into_inner())
}

type Builder = TreeBuilder<<HtmlTreeSink as html5ever::tree_builder::TreeSink>::Handle, HtmlTreeSink>;

/// The tree builder behind its limits.
struct Bounded {
    builder: Builder,
    /// Open elements when they were last counted.
    open: Cell<usize>,
    /// Start tags since.
    since: Cell<usize>,
    /// Start tags that were left out and whose end tags are still to come.
    left_out: Cell<usize>,
}

impl Bounded {
    fn new(builder: Builder) -> Self {
        Bounded {
            builder,
            open: Cell::new(0),
            since: Cell::new(0),
            left_out: Cell::new(0),
        }
    }

    fn is_full(&self) -> bool {
        self.builder.sink.0.borrow().tree.values().len() >= NODES_MAX
    }

    /// Whether a tag reaches the tree builder.
    fn admits(&self, tag: &Tag) -> bool {
        if is_leaf(&tag.name) {
            // In HTML nothing is ever in them, and without its start tag the text of a script would be taken for markup. Only within SVG
            // and MathML they are elements like others, so there is a limit for them, too.
            return tag.kind == TagKind::EndTag || self.opens_one(DEPTH_MAX + LEAVES);
        }
        let left_out = self.left_out.get();
        match tag.kind {
            TagKind::EndTag if left_out > 0 => self.left_out.set(left_out - 1),
            TagKind::EndTag => return true,
            TagKind::StartTag if left_out > 0 || !self.opens_one(DEPTH_MAX) => self.left_out.set(left_out + 1),
            TagKind::StartTag => return true,
        }
        false
    }

    /// Counts a start tag, if there are fewer than `most` open elements.
    fn opens_one(&self, most: usize) -> bool {
        let is_stale = self.since.get() >= TAGS_BETWEEN_LOOKS;
        let may_be_deep = self.open.get() + self.since.get() >= DEPTH_MAX - TAGS_BETWEEN_LOOKS;
        if is_stale || may_be_deep {
            let count = Count(Cell::new(0));
            self.builder.trace_handles(&count);
            self.open.set(count.0.get());
            self.since.set(0);
        }
        let has_room = self.open.get() < most;
        if has_room {
            self.since.set(self.since.get() + 1);
        }
        has_room
    }
}

impl TokenSink for Bounded {
    type Handle = <Builder as TokenSink>::Handle;

    fn process_token(&self, token: Token, line: u64) -> TokenSinkResult<Self::Handle> {
        let is_wanted = match &token {
            Token::EOFToken => true,
            Token::ParseError(_) => false,
            Token::TagToken(tag) => !self.is_full() && self.admits(tag),
            _ => !self.is_full(),
        };
        if is_wanted {
            self.builder.process_token(token, line)
        } else {
            TokenSinkResult::Continue
        }
    }

    fn end(&self) {
        self.builder.end();
    }

    fn adjusted_current_node_present_but_not_in_html_namespace(&self) -> bool {
        self.builder.adjusted_current_node_present_but_not_in_html_namespace()
    }
}

/// Counts what the tree builder holds: the open elements, and the formatting elements that it would open again.
struct Count(Cell<usize>);

impl Tracer for Count {
    type Handle = <Builder as TokenSink>::Handle;

    fn trace_handle(&self, _: &Self::Handle) {
        self.0.set(self.0.get() + 1);
    }
}

/// Elements without content, and those whose content is text.
fn is_leaf(name: &str) -> bool {
    matches!(
        name,
        "area"
            | "base"
            | "br"
            | "col"
            | "embed"
            | "hr"
            | "iframe"
            | "img"
            | "input"
            | "link"
            | "meta"
            | "noembed"
            | "noframes"
            | "noscript"
            | "plaintext"
            | "script"
            | "source"
            | "style"
            | "textarea"
            | "title"
            | "track"
            | "wbr"
            | "xmp"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn depth(html: &Html) -> usize {
        let mut deepest = 0;
        let mut depth = 0;
        for edge in html.tree.root().traverse() {
            match edge {
                ego_tree::iter::Edge::Open(_) => depth += 1,
                ego_tree::iter::Edge::Close(_) => depth -= 1,
            }
            deepest = deepest.max(depth);
        }
        deepest
    }

    #[test]
    fn a_megabyte_of_open_tags_is_a_shallow_tree_with_its_text() {
        for tag in [
            "<div>",
            "<b>",
            "<table>",
            "<svg>",
            "<p><b x>",
            "<a><div>",
            "<template>",
            "<li>",
            "<select>",
            "<svg><style>",
            "<svg><input><link>",
            "<math><mi><script>",
        ] {
            let size = if tag == "<div>" { 1 << 20 } else { 1 << 18 };
            let text = format!("{}deep", tag.repeat(size / tag.len()));
            let html = match parse(&text, Patience::new()) {
                Ok(html) => html,
                Err(error) => {
                    assert!(error.contains("nodes") || error.contains("too long"), "{tag}: {error}");
                    continue;
                }
            };
            assert!(depth(&html) <= 2 * DEPTH_MAX, "{tag}: {}", depth(&html));
            let has_text = |node: &scraper::Node| node.as_text().is_some_and(|text| text.contains("deep"));
            assert!(tag == "<select>" || html.tree.values().any(has_text), "{tag}");
        }
    }

    #[test]
    fn what_comes_after_deep_nesting_stands_where_it_should() {
        let deep = format!(
            "<main>{}x{}</main><footer><a href=/end>end</a></footer>",
            "<div>".repeat(9_000),
            "</div>".repeat(9_000)
        );
        let html = parse(&deep, Patience::new()).unwrap();
        let link = scraper::Selector::parse("body > footer > a").unwrap();
        assert_eq!(html.select(&link).count(), 1);
    }

    #[test]
    fn formatting_elements_that_are_opened_again_and_again_do_not_fill_the_memory() {
        let mut text = String::from("<p>");
        for n in 0..5_000 {
            text.push_str(&format!("<b x={n}>"));
        }
        text.push_str(&"</p><p>x".repeat(50_000));
        match parse(&text, Patience::new()) {
            Ok(html) => assert!(html.tree.values().len() <= NODES_MAX),
            Err(error) => assert!(error.contains("nodes") || error.contains("too long"), "{error}"),
        }
    }

    #[test]
    fn scripts_beyond_the_depth_are_not_taken_for_markup() {
        let text = format!("{}<script>'<a href=/no>'</script>", "<div>".repeat(2_000));
        let html = parse(&text, Patience::new()).unwrap();
        assert_eq!(html.select(&scraper::Selector::parse("a").unwrap()).count(), 0);
    }

    #[test]
    fn a_node_is_as_small_as_its_limit_takes_it_for() {
        // Its value, and its place among the others: five numbers.
        assert!(
            size_of::<scraper::Node>() + 5 * size_of::<usize>() <= 200,
            "{}",
            size_of::<scraper::Node>()
        );
    }

    #[test]
    fn a_page_that_is_too_large_is_refused_before_it_is_parsed() {
        let error = parse(&" ".repeat(HTML_MAX + 1), Patience::new()).unwrap_err();
        assert!(error.contains("16 MiB"), "{error}");
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "(<[/!]?[a-z]{0,8}( [a-z]{1,4}=['\"]?[^>]{0,5})?>?|[^<]{0,8}|\\PC{0,4}){0,40}") {
            parse(&text, Patience::new()).unwrap();
        }
    }
}
