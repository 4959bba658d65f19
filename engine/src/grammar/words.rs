//! llguidance's words for a fault, made fit for one line: its errors go on over several, and quote whole grammars.

/// Most characters of an error.
const LONGEST: usize = 300;

/// What an error says first, with the reason that a regular expression's error says last.
pub(super) fn first_words(error: &str) -> String {
    let mut lines = error.lines();
    let first = lines.next().unwrap_or_default().trim();
    let reason = lines.find_map(|line| line.strip_prefix("error: "));
    let whole = match reason {
        Some(reason) => format!("{} {reason}", cut(first)),
        None => cut(first),
    };
    // The option that it names is one of llguidance, not of ours.
    match whole.split_once(". Enable 'coerce_one_of'") {
        Some(_) => "oneOf is supported only where its alternatives exclude one another; use anyOf".into(),
        None => whole,
    }
}

fn cut(words: &str) -> String {
    match words.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &words[..end]),
        None => words.to_owned(),
    }
}

/// `at 3(14): fault` or `3(14): fault` with its line and column as `place` writes them; other words as they are.
pub(super) fn with_place(words: &str, place: impl Fn(u32, u32) -> String) -> String {
    let placed = || {
        let (line, rest) = words.strip_prefix("at ").unwrap_or(words).split_once('(')?;
        let (column, fault) = rest.split_once("): ")?;
        Some(place(line.parse().ok()?, column.parse().ok()?) + fault)
    };
    placed().unwrap_or_else(|| words.to_owned())
}
