//! The file as it is written: its entries with their places, and what is wrong with it in words that name the place.
//!
//! Pure: the text is read by [`super`].

use serde::Deserialize;
use serde::de::IntoDeserializer;
use toml::Value as Toml;
use toml::de::DeTable;

use super::table::SETTINGS;

/// Longest piece of the file that an error repeats, in characters.
const LONGEST_QUOTE: usize = 60;

/// Least likeness of a name to one that may be meant; 1 is the same name.
const MIN_LIKENESS: f64 = 0.6;

/// A place in the file; both count from 1, columns in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    pub line: u32,
    pub column: u32,
}

/// One `key = value`.
#[derive(Debug)]
pub struct Entry {
    pub key: String,
    pub key_at: Position,
    /// `None` for what no setting can be, as a number of more than 64 bits.
    pub value: Option<Toml>,
    pub value_at: Position,
    /// The value as it is written, cut where it is long.
    pub written: String,
}

/// What is wrong at a place.
#[derive(Debug, PartialEq, Eq)]
pub struct Problem {
    pub at: Position,
    pub text: String,
}

/// The entries of a text, in their order.
pub fn entries(text: &str) -> Result<Vec<Entry>, Problem> {
    let broken = |error: &toml::de::Error| {
        let at = error.span().map_or(0, |span| span.start);
        // Some of the parser's messages have several lines.
        let words = error.message().lines().map(str::trim).collect::<Vec<_>>().join(", ");
        Problem { at: position(text, at), text: format!("this is no TOML: {words}") }
    };
    let table = DeTable::parse(text).map_err(|error| broken(&error))?.into_inner();
    let mut entries = Vec::new();
    for (key, value) in table {
        let (key_at, span) = (position(text, key.span().start), value.span());
        let value = Toml::deserialize(value.into_deserializer()).ok();
        entries.push(Entry {
            key: key.into_inner().into_owned(),
            key_at,
            value,
            value_at: position(text, span.start),
            written: quote(text.get(span).unwrap_or_default()),
        });
    }
    entries.sort_by_key(|entry| (entry.key_at.line, entry.key_at.column));
    Ok(entries)
}

/// What is said of a key that is none.
pub fn unknown(key: &str) -> String {
    match key {
        "home" => return "home cannot be set in the file, which lies there; use --home or TALKIE_HOME".into(),
        "socket" => {
            return "socket cannot be set in the file, for clients do not read it; use --socket or TALKIE_SOCKET"
                .into();
        }
        _ => {}
    }
    let wanted = key.to_lowercase().replace('-', "_");
    let likeness = |setting: &str| strsim::normalized_damerau_levenshtein(&wanted, setting);
    let scored = SETTINGS.iter().map(|setting| (likeness(setting.key), setting.key));
    let nearest = scored.max_by(|(a, _), (b, _)| a.total_cmp(b)).filter(|(likeness, _)| *likeness >= MIN_LIKENESS);
    let key = quote(key);
    match nearest {
        Some((_, nearest)) => format!("there is no setting {key}; did you mean {nearest}?"),
        None => format!("there is no setting {key}; `talkiectl config show` lists all"),
    }
}

fn position(text: &str, at: usize) -> Position {
    let before = text.get(..at).unwrap_or(text);
    let line = before.rfind('\n').map_or(before, |end| &before[end + 1..]);
    Position { line: before.matches('\n').count() as u32 + 1, column: line.chars().count() as u32 + 1 }
}

/// On one line, cut where it is long, without what a terminal would obey.
fn quote(written: &str) -> String {
    let line = written.split_whitespace().collect::<Vec<_>>().join(" ").replace(|c: char| c.is_control(), "");
    match line.char_indices().nth(LONGEST_QUOTE) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}
