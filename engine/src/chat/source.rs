//! Rewrites a template where minijinja reads or computes otherwise than Jinja2 as transformers sets it up.
//!
//! - `{% generation %}` marks what the assistant said. For a prompt the mark means nothing, but the names set inside stay
//!   inside, as in `{% with %}`.
//! - `a ~ b` joins the texts of a and b: each operand gets a filter that spells it as Python does.
//! - `a % b` formats if a is a string, as in Python: it becomes a call.
//! - `{{ a, b }}` is a tuple, and `+a` is a.
//!
//! Only the text between the delimiters is touched, and only by tokens; what cannot be read as Jinja stays as it is, for
//! the compiler to refuse.

use std::ops::Range;

/// The filter that gives `str(value)`, and the function that gives `a % b`.
pub(super) const STR: &str = "__str__";
pub(super) const MOD: &str = "__mod__";

pub(super) fn rewrite(source: &str) -> String {
    // Jinja2 reads all line ends as this one.
    let source = &source.replace("\r\n", "\n").replace('\r', "\n");
    let mut out = String::with_capacity(source.len());
    let (mut copied, mut at) = (0, 0);
    while let Some(tag) = next_tag(source, at) {
        at = match tag {
            Tag::Skip(end) => end,
            Tag::Raw { open, end } => {
                out.push_str(&source[copied..open]);
                // minijinja drops the line end after the opening tag, and Jinja2 keeps it.
                if source[open..].starts_with('\n') && !source[..open].ends_with("-%}") {
                    out.push('\n');
                }
                copied = open;
                end
            }
            Tag::Code { inside, end, print } => {
                out.push_str(&source[copied..inside.start]);
                out.push_str(&code(&source[inside.clone()], print));
                copied = inside.end;
                end
            }
            Tag::Broken => break,
        };
    }
    out.push_str(&source[copied..]);
    out
}

enum Tag {
    /// A comment: goes on behind it.
    Skip(usize),
    /// A raw block; `open` is the end of its opening tag.
    Raw {
        open: usize,
        end: usize,
    },
    Code {
        /// Without delimiters and their signs.
        inside: Range<usize>,
        end: usize,
        print: bool,
    },
    Broken,
}

fn next_tag(source: &str, from: usize) -> Option<Tag> {
    let start = from
        + source.as_bytes()[from..]
            .windows(2)
            .position(|pair| matches!(pair, b"{{" | b"{%" | b"{#"))?;
    let inside = start + 2;
    if source[start..].starts_with("{#") {
        let end = source[inside..].find("#}");
        return Some(end.map_or(Tag::Broken, |end| Tag::Skip(inside + end + 2)));
    }
    let print = source[start..].starts_with("{{");
    let signed = source[inside..].starts_with(['-', '+']);
    let inside = inside + usize::from(signed);
    if !print && let Some(body) = tag_named(&source[inside..], "raw") {
        let mut at = inside + body;
        while let Some(open) = source[at..].find("{%") {
            at += open + 2;
            let rest = source[at..].trim_start_matches(['-', '+']);
            if let Some(end) = tag_named(rest, "endraw") {
                let end = source.len() - rest.len() + end;
                let open = inside + body;
                return Some(Tag::Raw { open, end });
            }
        }
        return Some(Tag::Broken);
    }
    Some(match tokens(&source[inside..], print) {
        Some((_, body, end)) => Tag::Code {
            inside: inside..inside + body,
            end: inside + end,
            print,
        },
        None => Tag::Broken,
    })
}

/// The end of the tag if it is `name` alone.
fn tag_named(text: &str, name: &str) -> Option<usize> {
    let rest = text.trim_start().strip_prefix(name)?.trim_start();
    let rest = rest.trim_start_matches(['-', '+']).strip_prefix("%}")?;
    Some(text.len() - rest.len())
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Name,
    /// A string or a number.
    Literal,
    Operator,
}

#[derive(Clone)]
struct Token {
    kind: Kind,
    at: Range<usize>,
}

const LONG_OPERATORS: [&str; 8] = ["**", "//", "==", "!=", "<=", ">=", "->", ":="];

/// The tokens up to the closing delimiter, the length of the text before it and its end; `None` if it never closes.
fn tokens(text: &str, print: bool) -> Option<(Vec<Token>, usize, usize)> {
    let close = if print { "}}" } else { "%}" };
    let mut tokens = Vec::new();
    let mut depth = 0usize;
    let mut at = 0;
    loop {
        let rest = &text[at..];
        let first = rest.chars().next()?;
        if depth == 0 {
            let unsigned = rest.strip_prefix(['-', '+']).unwrap_or(rest);
            if unsigned.starts_with(close) {
                let end = text.len() - unsigned.len() + close.len();
                return Some((tokens, at, end));
            }
        }
        let length = match first {
            c if c.is_whitespace() => {
                at += c.len_utf8();
                continue;
            }
            '"' | '\'' => string_length(rest, first)?,
            c if c.is_alphanumeric() || c == '_' => word_length(rest),
            c => match LONG_OPERATORS.iter().find(|o| rest.starts_with(**o)) {
                Some(long) => long.len(),
                None => c.len_utf8(),
            },
        };
        let kind = match first {
            '"' | '\'' => Kind::Literal,
            c if c.is_numeric() => Kind::Literal,
            c if c.is_alphabetic() || c == '_' => Kind::Name,
            _ => Kind::Operator,
        };
        match first {
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        tokens.push(Token {
            kind,
            at: at..at + length,
        });
        at += length;
    }
}

fn string_length(text: &str, quote: char) -> Option<usize> {
    let mut escaped = false;
    for (i, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            c if c == quote => return Some(i + 1),
            _ => {}
        }
    }
    None
}

/// The length of a name, or of a number with its fraction and exponent.
fn word_length(text: &str) -> usize {
    let word = |c: char| c.is_alphanumeric() || c == '_';
    let end = |text: &str| text.find(|c| !word(c)).unwrap_or(text.len());
    let mut length = end(text);
    if !text.starts_with(|c: char| c.is_ascii_digit()) {
        return length;
    }
    let digit = |text: &str| text.starts_with(|c: char| c.is_ascii_digit());
    if text[length..].starts_with('.') && digit(&text[length + 1..]) {
        length += 1 + end(&text[length + 1..]);
    }
    let exponent = !text.starts_with("0x") && text[..length].ends_with(['e', 'E']);
    if exponent && text[length..].starts_with(['+', '-']) && digit(&text[length + 1..]) {
        length += 1 + end(&text[length + 1..]);
    }
    length
}

/// Replaces `at` by `text`. Of two insertions at one place the one with the lower order comes first.
struct Edit {
    at: Range<usize>,
    order: isize,
    text: String,
}

fn code(text: &str, print: bool) -> String {
    let closed = format!("{text}{}", if print { "}}" } else { "%}" });
    let Some((tokens, ..)) = tokens(&closed, print) else {
        return text.to_owned();
    };
    let code = Code {
        text,
        tokens,
        print,
    };
    let mut edits = code.edits();
    edits.sort_by_key(|e| (e.at.start, e.order));
    let mut out = String::with_capacity(text.len());
    let mut from = 0;
    for edit in edits {
        out.push_str(&text[from..edit.at.start]);
        out.push_str(&edit.text);
        from = edit.at.end;
    }
    out.push_str(&text[from..]);
    out
}

struct Code<'a> {
    text: &'a str,
    tokens: Vec<Token>,
    print: bool,
}

impl Code<'_> {
    fn token(&self, i: usize) -> &str {
        self.tokens
            .get(i)
            .map_or("", |token| &self.text[token.at.clone()])
    }

    fn edits(&self) -> Vec<Edit> {
        if let ("generation" | "endgeneration", 1, false) =
            (self.token(0), self.tokens.len(), self.print)
        {
            let text = self.token(0).replace("generation", "with");
            let at = self.tokens[0].at.clone();
            return vec![Edit { at, order: 0, text }];
        }
        let mut edits: Vec<Edit> = self.literals().collect();
        let mut joined: Vec<Range<usize>> = Vec::new();
        for i in 0..self.tokens.len() {
            match self.token(i) {
                "~" => joined.extend([self.before(i, false), self.after(i, false)]),
                "%" => {
                    let (left, right) = (self.before(i, false), self.after(i, true));
                    self.wrap(
                        &mut edits,
                        left.start..right.end,
                        0,
                        (&format!("{MOD}("), ")"),
                    );
                    let at = self.tokens[i].at.clone();
                    let text = ",".to_owned();
                    edits.push(Edit { at, order: 0, text });
                }
                "+" if !self.binary(i) => {
                    let at = self.tokens[i].at.clone();
                    let text = String::new();
                    edits.push(Edit { at, order: 0, text });
                }
                _ => {}
            }
        }
        joined.sort_by_key(|operand| (operand.start, operand.end));
        joined.dedup();
        for operand in joined {
            self.wrap(&mut edits, operand, 1, ("(", &format!(")|{STR}")));
        }
        let whole = 0..self.tokens.len();
        if self.print && self.level(whole.clone()).any(|i| self.token(i) == ",") {
            self.wrap(&mut edits, whole, 2, ("(", ")"));
        }
        edits
    }

    /// Strings whose escapes minijinja reads otherwise.
    fn literals(&self) -> impl Iterator<Item = Edit> {
        let differs = |text: &&str| {
            let mut escapes = text.match_indices('\\').map(|(i, _)| &text[i + 1..]);
            escapes.any(|after| after.starts_with(['a', 'v', '/', 'U', '\n']))
        };
        self.tokens.iter().filter_map(move |token| {
            let text = Some(&self.text[token.at.clone()]).filter(differs)?;
            let (at, text) = (token.at.clone(), respelled(text));
            (token.kind == Kind::Literal).then_some(Edit { at, order: 0, text })
        })
    }

    /// Puts brackets around tokens. Of brackets at one place those of the longer span are outside, of equal spans those
    /// of the higher `rank` (0 to 2).
    fn wrap(&self, edits: &mut Vec<Edit>, span: Range<usize>, rank: isize, brackets: (&str, &str)) {
        if span.is_empty() {
            return;
        }
        let (open, close) = brackets;
        let length = span.len() as isize * 3 + rank;
        let (start, end) = (
            self.tokens[span.start].at.start,
            self.tokens[span.end - 1].at.end,
        );
        edits.push(Edit {
            at: start..start,
            order: isize::MIN / 2 - length,
            text: open.to_owned(),
        });
        edits.push(Edit {
            at: end..end,
            order: length - isize::MAX,
            text: close.to_owned(),
        });
    }

    /// The tokens of a span that are inside none of its brackets.
    fn level(&self, span: Range<usize>) -> impl Iterator<Item = usize> {
        let mut depth = 0;
        span.filter(move |i| match self.token(*i) {
            "(" | "[" | "{" => {
                depth += 1;
                false
            }
            ")" | "]" | "}" => {
                depth -= 1;
                false
            }
            _ => depth == 0,
        })
    }

    /// The operand on the left of an operator: back to the next operator that binds less.
    fn before(&self, operator: usize, tight: bool) -> Range<usize> {
        let mut depth = 0;
        let mut start = operator;
        while start > 0 {
            match self.token(start - 1) {
                ")" | "]" | "}" => depth += 1,
                "(" | "[" | "{" if depth == 0 => break,
                "(" | "[" | "{" => depth -= 1,
                _ if depth == 0 && self.ends_operand(start - 1, tight) => break,
                _ => {}
            }
            start -= 1;
        }
        start..operator
    }

    fn after(&self, operator: usize, tight: bool) -> Range<usize> {
        let mut depth = 0;
        let mut end = operator + 1;
        while end < self.tokens.len() {
            match self.token(end) {
                "(" | "[" | "{" => depth += 1,
                ")" | "]" | "}" if depth == 0 => break,
                ")" | "]" | "}" => depth -= 1,
                _ if depth == 0 && self.ends_operand(end, tight) => break,
                _ => {}
            }
            end += 1;
        }
        operator + 1..end
    }

    /// Whether an operand of `~`, or of `%` if `tight`, cannot go over this token.
    fn ends_operand(&self, i: usize, tight: bool) -> bool {
        let first = i == 0 && !self.print;
        match self.token(i) {
            "~" | "=" | "," | ":" | "==" | "!=" | "<" | ">" | "<=" | ">=" => true,
            "+" | "-" => self.binary(i),
            "and" | "or" | "not" | "in" | "if" | "else" | "recursive" => {
                first || !self.is_attribute(i)
            }
            "*" | "/" | "//" | "%" => tight,
            _ => first,
        }
    }

    fn is_attribute(&self, i: usize) -> bool {
        i > 0 && self.token(i - 1) == "."
    }

    /// Whether a sign stands between two operands.
    fn binary(&self, i: usize) -> bool {
        let Some(before) = i.checked_sub(1) else {
            return false;
        };
        let keywords = ["and", "or", "not", "in", "if", "else", "elif", "is", "set"];
        match self.tokens[before].kind {
            Kind::Literal => true,
            Kind::Name => !keywords.contains(&self.token(before)) || self.is_attribute(before),
            Kind::Operator => matches!(self.token(before), ")" | "]" | "}"),
        }
    }
}

/// A string with Python's escapes in those that minijinja has.
fn respelled(text: &str) -> String {
    let mut out = String::new();
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            out.push(c);
            continue;
        }
        match chars.next() {
            Some('a') => out.push_str("\\x07"),
            Some('v') => out.push_str("\\x0b"),
            Some('/') => out.push_str("\\\\/"),
            Some('\n') => {}
            Some('U') => {
                let digits: String = chars.clone().take(8).collect();
                match u32::from_str_radix(&digits, 16)
                    .ok()
                    .and_then(char::from_u32)
                {
                    Some(c) => {
                        out.push(c);
                        chars.nth(7);
                    }
                    None => out.push_str("\\U"),
                }
            }
            other => {
                out.push('\\');
                out.extend(other);
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_differs_is_rewritten() {
        for same in [
            "{{ a + 'b ~ c' }}{# a ~ b #}{% raw %}{{ a ~ b }}{% endraw %}{% if a - 1 %} % ~ {% endif %}",
            "{{ {'a': {'b': 1}} }}{%- for x in y -%}{{- x -}}{%- endfor -%}",
            "{{ unclosed ~",
            "",
        ] {
            assert_eq!(rewrite(same), same);
        }
    }

    #[test]
    fn operands_end_where_an_operator_binds_less() {
        let pairs = [
            ("{{ a ~ b }}", "{{ (a)|__str__ ~ (b)|__str__ }}"),
            (
                "{{ 1 + a*2 ~ f(b ~ c)[0] }}",
                "{{ 1 + (a*2)|__str__ ~ (f((b)|__str__ ~ (c)|__str__)[0])|__str__ }}",
            ),
            (
                "{%- if -a ~ 'x' == b %}",
                "{%- if (-a)|__str__ ~ ('x')|__str__ == b %}",
            ),
            (
                "{{ 'a' % b ~ c }}",
                "{{ (__mod__('a' , b))|__str__ ~ (c)|__str__ }}",
            ),
            ("{{ a % b % c }}", "{{ __mod__(__mod__(a , b) , c) }}"),
            (
                "{{ x.y|z(1) % 2 == 0 }}",
                "{{ __mod__(x.y|z(1) , 2) == 0 }}",
            ),
            ("{{ 1, 2 }}", "{{ (1, 2) }}"),
            ("{{ + 5 }}", "{{  5 }}"),
            (
                "{%- generation -%}x{% endgeneration +%}",
                "{%- with -%}x{% endwith +%}",
            ),
        ];
        for (source, wanted) in pairs {
            assert_eq!(rewrite(source), wanted);
        }
    }
}
