//! What is wrong with the source of a template or an expression, before it is given any value.

use std::sync::LazyLock;

use minijinja::{Environment, Error};

use super::bounds::{TAG_CHARACTERS, with_room};
use super::error::{Mistake, words};
use crate::problem::{nearest, quote};

/// Filters that there are, for those who misspell one.
pub const FILTERS: [&str; 50] = [
    "abs",
    "attr",
    "batch",
    "bool",
    "capitalize",
    "chain",
    "count",
    "d",
    "default",
    "dictsort",
    "e",
    "escape",
    "first",
    "float",
    "format",
    "groupby",
    "indent",
    "int",
    "items",
    "join",
    "last",
    "length",
    "lines",
    "list",
    "lower",
    "map",
    "max",
    "min",
    "pprint",
    "reject",
    "rejectattr",
    "replace",
    "reverse",
    "round",
    "safe",
    "safe_name",
    "select",
    "selectattr",
    "slice",
    "sort",
    "split",
    "string",
    "sum",
    "title",
    "tojson",
    "trim",
    "unique",
    "upper",
    "urlencode",
    "zip",
];

/// Tests that there are, for those who misspell one.
const TESTS: [&str; 24] = [
    "boolean",
    "defined",
    "divisibleby",
    "endingwith",
    "eq",
    "even",
    "false",
    "float",
    "ge",
    "gt",
    "in",
    "integer",
    "iterable",
    "le",
    "lt",
    "mapping",
    "ne",
    "none",
    "number",
    "odd",
    "sequence",
    "startingwith",
    "string",
    "true",
];

/// Blocks that name other templates, of which there are none.
const OTHERS: [&str; 5] = ["include", "extends", "import", "from", "block"];

/// What is wrong with a template.
pub fn template_mistakes(source: &str) -> Vec<Mistake> {
    let mut mistakes = Vec::new();
    for tag in Tags::of(source) {
        let block = tag.block();
        if let Some(block) = block.filter(|block| OTHERS.contains(block)) {
            let message = format!("{{% {block} %}} has no place here: a template of a workflow stands alone");
            mistakes.push(Mistake { at: Some(tag.at), message });
        }
        mistakes.extend(code_mistakes(tag.code, tag.at));
    }
    if mistakes.is_empty() {
        mistakes.extend(engine(|environment| environment.template_from_str(source).map(drop)));
    }
    mistakes
}

/// What is wrong with an expression.
pub fn expression_mistakes(source: &str) -> Vec<Mistake> {
    if source.trim().is_empty() {
        return vec![Mistake { at: None, message: "an expression is missing here".into() }];
    }
    if only_expression(source).is_some() {
        let message = "an expression stands here without {{ and }}".into();
        return vec![Mistake { at: None, message }];
    }
    let mut mistakes = code_mistakes(source, 0);
    if mistakes.is_empty() {
        mistakes.extend(engine(|environment| environment.compile_expression(source).map(drop)));
    }
    mistakes
}

/// The expression of a template that is exactly one, `{{tasks}}`.
pub fn only_expression(source: &str) -> Option<&str> {
    let source = source.trim();
    let tag = Tags::of(source).next()?;
    let inside = source.strip_prefix("{{")?.strip_suffix("}}")?;
    (tag.at == 0 && tag.end == source.len()).then(|| inside.trim_matches(['-', '+']).trim())
}

/// Tells places.
static DEBUGGED: LazyLock<Environment<'static>> = LazyLock::new(|| {
    let mut environment = super::environment().clone();
    environment.set_debug(true);
    environment
});

/// What the engine says of a source.
fn engine(read: impl FnOnce(&Environment) -> Result<(), Error> + Send) -> Option<Mistake> {
    let found = with_room(|| {
        let error = read(&DEBUGGED).err()?;
        let message = format!("this is no template: {}", words(&error));
        Some(Mistake { at: error.range().map(|range| range.start), message })
    });
    found.unwrap_or_else(|error| Some(Mistake { at: None, message: error.to_string() }))
}

/// A tag of a template: `{{ … }}` or `{% … %}`.
struct Tag<'s> {
    at: usize,
    end: usize,
    code: &'s str,
}

impl<'s> Tag<'s> {
    /// `if` of `{%- if x %}`.
    fn block(&self) -> Option<&'s str> {
        let inside = self.code.strip_prefix("{%")?.trim_start_matches(['-', '+']).trim_start();
        let end = inside.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(inside.len());
        Some(&inside[..end])
    }
}

struct Tags<'s> {
    source: &'s str,
    at: usize,
}

impl<'s> Tags<'s> {
    fn of(source: &'s str) -> Self {
        Self { source, at: 0 }
    }
}

impl<'s> Iterator for Tags<'s> {
    type Item = Tag<'s>;

    fn next(&mut self) -> Option<Tag<'s>> {
        loop {
            let rest = &self.source[self.at..];
            let start = rest.as_bytes().windows(2).position(|pair| matches!(pair, b"{{" | b"{%" | b"{#"))?;
            let (at, rest) = (self.at + start, &rest[start..]);
            if rest.starts_with("{#") {
                self.at = at + rest.find("#}").map_or(rest.len(), |end| end + 2);
                continue;
            }
            let end = at + tag_end(rest);
            let tag = Tag { at, end, code: &self.source[at..end] };
            self.at = if tag.block() == Some("raw") { self.raw_end(end) } else { end };
            return Some(tag);
        }
    }
}

impl Tags<'_> {
    /// Where the text of a raw block ends.
    fn raw_end(&self, start: usize) -> usize {
        let is_end = |at: &usize| Tag { at: 0, end: 0, code: &self.source[*at..] }.block() == Some("endraw");
        let mut tags = self.source[start..].match_indices("{%").map(|(index, _)| start + index);
        tags.find(is_end).unwrap_or(self.source.len())
    }
}

/// Where the tag that `source` begins with ends, its quoted texts skipped.
fn tag_end(source: &str) -> usize {
    let close = if source.starts_with("{%") { "%}" } else { "}}" };
    let mut plain = Plain::of(source);
    let end = plain.find(|(index, _)| *index >= 2 && source[*index..].starts_with(close));
    end.map_or(source.len(), |(index, _)| index + 2)
}

/// The characters outside quotes, with their places.
struct Plain<'s> {
    characters: std::str::CharIndices<'s>,
}

impl<'s> Plain<'s> {
    fn of(source: &'s str) -> Self {
        Self { characters: source.char_indices() }
    }
}

impl Iterator for Plain<'_> {
    type Item = (usize, char);

    fn next(&mut self) -> Option<(usize, char)> {
        let (index, character) = self.characters.next()?;
        if matches!(character, '"' | '\'') {
            while let Some((_, inside)) = self.characters.next() {
                if inside == '\\' {
                    self.characters.next();
                } else if inside == character {
                    break;
                }
            }
        }
        Some((index, character))
    }
}

/// What is wrong with the code of one tag, or of an expression.
fn code_mistakes(code: &str, at: usize) -> Vec<Mistake> {
    if Plain::of(code).nth(TAG_CHARACTERS).is_some() {
        let message = format!("an expression has at most {TAG_CHARACTERS} characters outside quotes");
        return vec![Mistake { at: Some(at), message }];
    }
    let mut mistakes = Vec::new();
    let words = tokens(code);
    for (index, (place, word)) in words.iter().enumerate() {
        if *word == "~" {
            let message = "`~` has no place here; write {{a}}{{b}}, or a + b of texts".to_owned();
            mistakes.push(Mistake { at: Some(at + place), message });
        }
        let before = |back: usize| index.checked_sub(back).map(|index| words[index].1);
        let is_named = word.starts_with(|c: char| c.is_alphabetic() || c == '_');
        let is_test = before(1) == Some("is") || (before(1) == Some("not") && before(2) == Some("is"));
        let (kind, known) = match before(1) {
            Some("|") if is_named => ("filter", &FILTERS[..]),
            _ if is_named && is_test && *word != "not" => ("test", &TESTS[..]),
            _ => continue,
        };
        if !exists(kind, word) {
            let meant = nearest(word, known.iter().copied()).map(|meant| format!("; did you mean `{meant}`?"));
            let message = format!("there is no {kind} `{}`{}", quote(word), meant.unwrap_or_default());
            mistakes.push(Mistake { at: Some(at + place), message });
        }
    }
    mistakes
}

/// Words and single signs outside quotes, with their places.
fn tokens(code: &str) -> Vec<(usize, &str)> {
    let mut tokens: Vec<(usize, &str)> = Vec::new();
    let is_of_word = |c: char| c.is_alphanumeric() || c == '_';
    for (index, character) in Plain::of(code) {
        let end = index + character.len_utf8();
        match tokens.last_mut() {
            Some((start, word))
                if is_of_word(character) && word.ends_with(is_of_word) && *start + word.len() == index =>
            {
                *word = &code[*start..end];
            }
            _ if character.is_whitespace() => {}
            _ => tokens.push((index, &code[index..end])),
        }
    }
    tokens
}

/// Whether the engine has such a filter or test.
fn exists(kind: &str, name: &str) -> bool {
    let question = format!("name is {kind}");
    let environment = super::environment();
    let answer = environment.compile_expression(&question).and_then(|it| it.eval(minijinja::context! { name }));
    answer.is_ok_and(|answer| answer.is_true())
}

#[cfg(test)]
#[path = "source_tests.rs"]
mod tests;
