//! Markdown, as far as a spec needs it: a title, prose, and sections with one fenced block each. Knows bytes and lines, so that a block
//! can be replaced and a fault be found.

use std::ops::Range;

use super::BadSpec;

/// A Markdown file taken apart.
#[derive(Debug)]
pub(super) struct Document {
    /// Of `# Title`.
    pub(super) title: String,
    /// The text between the title and the first section.
    pub(super) prose: String,
    /// In the order written.
    pub(super) sections: Vec<Section>,
}

/// `## Heading` and the block below it.
#[derive(Debug)]
pub(super) struct Section {
    /// Without the number signs.
    pub(super) heading: String,
    /// Its line, from 1.
    pub(super) line: usize,
    /// What stands between its fences.
    pub(super) block: Block,
}

/// The inside of a pair of fences.
#[derive(Clone, Debug)]
pub(super) struct Block {
    /// Its text, without the last line break.
    pub(super) text: String,
    /// The line of its first line, from 1.
    pub(super) line: usize,
    /// Its lines, as bytes of the file; their last line break belongs to them.
    pub(super) bytes: Range<usize>,
    /// Where the line after the closing fence begins.
    pub(super) end: usize,
}

/// A fence that is open.
struct Open {
    marks: usize,
    line: usize,
    start: usize,
}

impl Document {
    /// Takes a file apart.
    pub(super) fn parse(text: &str) -> Result<Document, BadSpec> {
        let mut title = None;
        let mut prose = String::new();
        let mut sections: Vec<(String, usize, Option<Block>)> = Vec::new();
        let mut open: Option<Open> = None;
        let mut at = 0;
        for (index, whole) in text.split_inclusive('\n').enumerate() {
            let (number, start) = (index + 1, at);
            at += whole.len();
            let line = whole.trim_end();
            let marks = line.bytes().take_while(|byte| *byte == b'`').count();
            if let Some(fence) = &open {
                if marks >= fence.marks && marks == line.len() {
                    let block = block(text, fence, start, at);
                    let section = sections
                        .last_mut()
                        .ok_or(BadSpec::new(fence.line, "a fenced block before the first section"))?;
                    if section.2.replace(block).is_some() {
                        return Err(BadSpec::new(fence.line, format!("a second fenced block below `## {}`", section.0)));
                    }
                    open = None;
                }
            } else if marks >= 3 {
                open = Some(Open {
                    marks,
                    line: number,
                    start: at,
                });
            } else if let Some(heading) = line.strip_prefix("## ") {
                sections.push((heading.trim().to_string(), number, None));
            } else if let Some(heading) = line.strip_prefix("# ") {
                if title.replace(heading.trim().to_string()).is_some() {
                    return Err(BadSpec::new(number, "a second title; sections begin with `## `"));
                }
            } else if sections.is_empty() {
                prose.push_str(whole);
            }
        }
        if let Some(fence) = open {
            return Err(BadSpec::new(fence.line, "a fenced block without its end"));
        }
        let title = title.ok_or(BadSpec::new(1, "no title, expected `# What happens` in the first line"))?;
        let with_block = |(heading, line, block): (String, usize, Option<Block>)| match block {
            Some(block) => Ok(Section { heading, line, block }),
            None => Err(BadSpec::new(line, format!("no fenced block below `## {heading}`"))),
        };
        let sections = sections.into_iter().map(with_block).collect::<Result<_, _>>()?;
        Ok(Document {
            title,
            prose: prose.trim().to_string(),
            sections,
        })
    }
}

fn block(text: &str, fence: &Open, end: usize, after: usize) -> Block {
    let inside = &text[fence.start..end];
    Block {
        text: inside.strip_suffix('\n').unwrap_or(inside).to_string(),
        line: fence.line + 1,
        bytes: fence.start..end,
        end: after,
    }
}
