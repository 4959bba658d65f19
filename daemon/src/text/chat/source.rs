//! What of a template's source is rewritten or refused before the template engine is given it.
//!
//! Where the engine reads a template unlike Jinja: line breaks are one character; a backslash at the end of a line
//! joins a text over it; `{% generation %}…{% endgeneration %}`, which marks the model's own words for training,
//! becomes a block of the same scope that renders the same. And what `bounds` needs. Called by `ChatTemplate::compile`.

use super::bounds::{KEPT, SOURCE_BYTES, TAG_CHARACTERS};

/// The source as the template engine is given it, or why it is not.
pub(super) fn prepared(source: &str) -> Result<String, String> {
    if source.len() > SOURCE_BYTES {
        return Err(format!("it has {} bytes, but {SOURCE_BYTES} are the most", source.len()));
    }
    let source = source.replace("\r\n", "\n").replace('\r', "\n");
    let mut prepared = String::with_capacity(source.len());
    let mut rest = source.as_str();
    while let Some(start) = rest.as_bytes().windows(2).position(|pair| matches!(pair, b"{{" | b"{%" | b"{#")) {
        let (text, tag_on) = rest.split_at(start);
        prepared.push_str(text);
        let (tag, after) = tag_on.split_at(tag_end(tag_on)?);
        let name = block_name(tag);
        match name {
            Some("generation") => prepared.push_str(&tag.replace("generation", "with")),
            Some("endgeneration") => prepared.push_str(&tag.replace("endgeneration", "endwith")),
            Some("set") => push_joined(&mut prepared, &guarded(tag)),
            _ if tag.starts_with("{#") => prepared.push_str(tag),
            _ => push_joined(&mut prepared, tag),
        }
        let verbatim = if name == Some("raw") { raw_end(after) } else { 0 };
        prepared.push_str(&after[..verbatim]);
        rest = &after[verbatim..];
    }
    prepared.push_str(rest);
    Ok(prepared)
}

/// Where the tag that `source` begins with ends, its quoted texts skipped.
fn tag_end(source: &str) -> Result<usize, String> {
    let close = match &source[..2] {
        "{#" => return Ok(source.find("#}").map_or(source.len(), |end| end + 2)),
        "{%" => "%}",
        _ => "}}",
    };
    let mut quote = None;
    let mut escaped = false;
    let mut unquoted = 0;
    for (index, character) in source.char_indices().skip(2) {
        match quote {
            Some(_) if escaped => escaped = false,
            Some(_) if character == '\\' => escaped = true,
            Some(open) => quote = Some(open).filter(|open| character != *open),
            None if source[index..].starts_with(close) => return Ok(index + 2),
            None => {
                unquoted += 1;
                quote = Some(character).filter(|character| matches!(character, '"' | '\''));
            }
        }
        if unquoted > TAG_CHARACTERS {
            return Err(format!("one of its tags has more than {TAG_CHARACTERS} characters"));
        }
    }
    Ok(source.len())
}

/// `if` of `{%- if x %}`.
fn block_name(tag: &str) -> Option<&str> {
    let inside = tag.strip_prefix("{%")?.trim_start_matches(['-', '+']).trim_start();
    let end = inside.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(inside.len());
    Some(&inside[..end])
}

/// Where the text of a raw block ends.
fn raw_end(source: &str) -> usize {
    let mut tags = source.match_indices("{%").map(|(index, _)| index);
    tags.find(|index| block_name(&source[*index..]) == Some("endraw")).unwrap_or(source.len())
}

/// Puts what a namespace is assigned, in `{% set names.one = … %}` and `{% set names.one | … %}`, through a filter.
fn guarded(tag: &str) -> String {
    let target = tag.find("set").unwrap_or(0) + "set".len();
    let target_end = tag[target..].find(|c: char| !(c.is_alphanumeric() || c.is_whitespace() || "_.,()".contains(c)));
    let value = target + target_end.unwrap_or(0);
    let end = tag.trim_end_matches("%}").trim_end_matches(['-', '+']).len();
    let (before, close) = tag.split_at(end.max(value));
    let (target, value) = before.split_at(value);
    match value.chars().next() {
        _ if !target.contains('.') => tag.to_owned(),
        Some('=') => format!("{target}= ({}) | {KEPT} {close}", &value[1..]),
        Some('|') => format!("{target}{value} | {KEPT} {close}"),
        _ => tag.to_owned(),
    }
}

/// Backslashes stand in texts only, and each takes the next character with it.
fn push_joined(prepared: &mut String, tag: &str) {
    let mut characters = tag.chars();
    while let Some(character) = characters.next() {
        if character != '\\' {
            prepared.push(character);
            continue;
        }
        match characters.next() {
            Some('\n') => {}
            next => prepared.extend([character].into_iter().chain(next)),
        }
    }
}

#[cfg(test)]
#[path = "source_tests.rs"]
mod tests;
