//! A long text in parts: cut at its headings, each part with the path of titles that leads to it.
//!
//! A section that is small enough stays whole, with its sub-headings; small neighbours become one part; a section
//! that is too large for one part is cut between its blocks, and a block that is too large between lines, sentences or
//! words. Nothing is lost but white space, and the heading lines that a part's path repeats.

use super::markdown::{self, Heading};
use std::ops::Range;

/// Between the titles of a path.
const SEPARATOR: &str = " > ";

/// A part of a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// The titles of the headings above it, the outermost first; empty for a text without headings, or before the
    /// first.
    pub path: Vec<String>,
    /// The text without the heading that ends the path; never blank.
    pub text: String,
}

impl Part {
    /// The title of the part within a document: `Manual > Safety > Fuses`. A path that begins with the document's own
    /// title does not repeat it. Titles in the middle give way where it would be longer than `most` characters.
    pub fn title(&self, document: &str, most: usize) -> String {
        let inner = match self.path.first() {
            Some(first) if first.eq_ignore_ascii_case(document.trim()) => &self.path[1..],
            _ => &self.path[..],
        };
        let mut titles: Vec<&str> = vec![document.trim()];
        titles.extend(inner.iter().map(String::as_str));
        let mut title = titles.join(SEPARATOR);
        while title.chars().count() > most && titles.len() > 2 {
            titles.remove(titles.len() / 2);
            title = titles.join(SEPARATOR);
        }
        if title.chars().count() > most {
            // The end says more of the part than the beginning.
            let over = title.chars().count() + 1 - most;
            title = format!("…{}", title.chars().skip(over).collect::<String>());
        }
        title
    }
}

/// The sections of Markdown: a part for each heading that has text of its own, and one for what comes before the
/// first.
pub fn parts(markdown: &str) -> Vec<Part> {
    let root = tree(markdown);
    let mut found = Vec::new();
    sections(markdown, &root, &mut Vec::new(), &mut found);
    found
}

/// The parts of Markdown that have at most `most` of what `size` counts (tokens or characters) each, counted piece by
/// piece: one part where the whole text is small enough.
pub fn parts_within(markdown: &str, most: usize, size: &dyn Fn(&str) -> usize) -> Vec<Part> {
    let mut cutter = Cutter {
        markdown,
        blocks: markdown::outline(markdown).blocks,
        most: most.max(1),
        size,
        found: Vec::new(),
    };
    let mut root = tree(markdown);
    root.measure(markdown, size);
    cutter.section(&root, &mut Vec::new());
    cutter.found
}

/// A heading with everything below it. The root has no heading.
struct Section {
    title: Option<String>,
    level: u8,
    /// From the heading's first byte.
    start: usize,
    /// The text between the heading and the next one.
    own: Range<usize>,
    /// Where the last section below it ends.
    end: usize,
    below: Vec<Section>,
    /// The size of its own text, and of everything from its heading to its end. 0 until it was measured.
    own_size: usize,
    size: usize,
}

impl Section {
    fn measure(&mut self, markdown: &str, size: &dyn Fn(&str) -> usize) {
        self.own_size = size(&markdown[self.own.clone()]);
        self.size = size(&markdown[self.start..self.own.start]) + self.own_size;
        for below in &mut self.below {
            below.measure(markdown, size);
            self.size += below.size;
        }
    }
}

fn tree(markdown: &str) -> Section {
    let headings = markdown::outline(markdown).headings;
    let first = headings.first();
    let own = 0..first.map_or(markdown.len(), |heading| heading.range.start);
    let mut open = vec![Section {
        title: None,
        level: 0,
        start: 0,
        end: own.end,
        own,
        below: Vec::new(),
        own_size: 0,
        size: 0,
    }];
    for (nth, heading) in headings.iter().enumerate() {
        close(&mut open, heading.level);
        let next = headings.get(nth + 1);
        open.push(section(markdown, heading, next));
    }
    close(&mut open, 1);
    open.remove(0)
}

fn section(markdown: &str, heading: &Heading, next: Option<&Heading>) -> Section {
    let end = next.map_or(markdown.len(), |next| next.range.start);
    Section {
        title: Some(heading.title.clone()),
        level: heading.level,
        start: heading.range.start,
        own: heading.range.end.min(end)..end,
        end,
        below: Vec::new(),
        own_size: 0,
        size: 0,
    }
}

/// Puts every open section of this level or a lower one below the section that it belongs to.
fn close(open: &mut Vec<Section>, level: u8) {
    while open.len() > 1 && open.last().is_some_and(|last| last.level >= level) {
        if let (Some(done), Some(above)) = (open.pop(), open.last_mut()) {
            above.end = done.end;
            above.below.push(done);
        }
    }
}

fn sections(markdown: &str, section: &Section, path: &mut Vec<String>, found: &mut Vec<Part>) {
    path.extend(section.title.clone());
    push(found, path, &markdown[section.own.clone()]);
    for below in &section.below {
        sections(markdown, below, path, found);
    }
    if section.title.is_some() {
        path.pop();
    }
}

fn push(found: &mut Vec<Part>, path: &[String], text: &str) {
    let text = text.trim_end().trim_start_matches(['\n', '\r']);
    if !text.trim().is_empty() {
        found.push(Part {
            path: path.to_vec(),
            text: text.to_owned(),
        });
    }
}

struct Cutter<'a> {
    markdown: &'a str,
    blocks: Vec<Range<usize>>,
    most: usize,
    size: &'a dyn Fn(&str) -> usize,
    found: Vec<Part>,
}

/// Neighbours that become one part.
#[derive(Default)]
struct Run<'s> {
    range: Option<Range<usize>>,
    size: usize,
    sections: Vec<&'s Section>,
}

impl Cutter<'_> {
    /// Cuts a section. `path`: the titles above it; the section's own title is added.
    fn section(&mut self, section: &Section, path: &mut Vec<String>) {
        path.extend(section.title.clone());
        match section.size <= self.most {
            true => {
                let whole = &self.markdown[section.own.start..section.end];
                push(&mut self.found, path, whole);
            }
            false => self.divide(section, path),
        }
        if section.title.is_some() {
            path.pop();
        }
    }

    /// Cuts a section that is too large: its own text and the sections below it, small neighbours together.
    fn divide(&mut self, section: &Section, path: &mut Vec<String>) {
        let mut run = Run::default();
        match section.own_size <= self.most {
            true => {
                run.range = Some(section.own.clone());
                run.size = section.own_size;
            }
            false => self.cut(section.own.clone(), path),
        }
        for below in &section.below {
            let size = below.size;
            if run.size + size > self.most {
                self.finish(std::mem::take(&mut run), section, path);
            }
            if size > self.most {
                self.section(below, path);
                continue;
            }
            let start = run.range.as_ref().map_or(below.start, |range| range.start);
            run.range = Some(start..below.end);
            run.size += size;
            run.sections.push(below);
        }
        self.finish(run, section, path);
    }

    fn finish(&mut self, run: Run<'_>, section: &Section, path: &mut Vec<String>) {
        let Some(range) = run.range else {
            return;
        };
        let blank = self.markdown[section.own.clone()].trim().is_empty();
        match run.sections[..] {
            // A section alone has a path of its own.
            [only] if range.start == only.start || blank => self.section(only, path),
            _ => push(&mut self.found, path, &self.markdown[range]),
        }
    }

    /// Cuts text between its blocks.
    fn cut(&mut self, range: Range<usize>, path: &[String]) {
        // Blocks are in order, and what lies between two belongs to the first: reference definitions.
        let before = |at: usize| self.blocks.partition_point(|block| block.start < at);
        let inside = &self.blocks[before(range.start)..before(range.end)];
        let starts = inside.iter().map(|block| block.start);
        let mut borders: Vec<usize> = vec![range.start];
        borders.extend(starts.skip(1));
        borders.push(range.end);
        let blocks = borders.windows(2).map(|two| two[0]..two[1]);
        let mut pieces: Vec<Range<usize>> = Vec::new();
        for block in blocks {
            self.split(block, Level::Line, &mut pieces);
        }
        for joined in self.join(pieces) {
            push(&mut self.found, path, &self.markdown[joined]);
        }
    }
}

/// Where a text may be cut, from the best place to the worst.
#[derive(Clone, Copy)]
enum Level {
    Line,
    Sentence,
    Word,
    Character,
}

/// What may stand between the mark that ends a sentence and the next sentence.
const CLOSERS: [char; 8] = ['"', '\'', '”', '’', '»', ')', '*', '_'];

impl Level {
    fn finer(self) -> Level {
        match self {
            Level::Line => Level::Sentence,
            Level::Sentence => Level::Word,
            Level::Word | Level::Character => Level::Character,
        }
    }

    /// Whether a text may be cut here.
    fn cuts(self, before: &str, after: char) -> bool {
        let spaced = before.ends_with(char::is_whitespace) && !after.is_whitespace();
        match self {
            Level::Line => before.ends_with('\n'),
            Level::Sentence if before.ends_with(['。', '！', '？', '।', '။', '។']) => true,
            Level::Sentence => {
                let ended = || {
                    let before = before.trim_end().trim_end_matches(CLOSERS);
                    before.ends_with(['.', '!', '?', '…'])
                };
                spaced && ended()
            }
            Level::Word => spaced,
            Level::Character => true,
        }
    }
}

impl Cutter<'_> {
    /// Adds the pieces of a range, each small enough.
    fn split(&self, range: Range<usize>, level: Level, pieces: &mut Vec<Range<usize>>) {
        let piece = &self.markdown[range.clone()];
        let (text, start) = (piece, range.start);
        if (self.size)(piece) <= self.most {
            pieces.push(range);
            return;
        }
        if let Level::Character = level {
            // A character has at most four bytes, and nothing is counted finer than bytes.
            let starts: Vec<usize> = text.char_indices().map(|(at, _)| start + at).collect();
            let mut borders: Vec<usize> =
                starts.into_iter().step_by((self.most / 4).max(1)).collect();
            borders.push(range.end);
            pieces.extend(borders.windows(2).map(|two| two[0]..two[1]));
            return;
        }
        let mut last = 0;
        for (at, after) in text.char_indices().skip(1) {
            if level.cuts(&text[..at], after) {
                self.split(start + last..start + at, level.finer(), pieces);
                last = at;
            }
        }
        self.split(start + last..range.end, level.finer(), pieces);
    }

    /// Neighbouring pieces joined while they are small enough together.
    fn join(&self, pieces: Vec<Range<usize>>) -> Vec<Range<usize>> {
        let mut joined: Vec<(Range<usize>, usize)> = Vec::new();
        for piece in pieces {
            let size = (self.size)(&self.markdown[piece.clone()]);
            match joined.last_mut() {
                Some((range, total)) if *total + size <= self.most => {
                    range.end = piece.end;
                    *total += size;
                }
                _ => joined.push((piece, size)),
            }
        }
        joined.into_iter().map(|(range, _)| range).collect()
    }
}
