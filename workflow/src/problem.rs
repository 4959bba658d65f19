//! What is wrong with a file, and where.

use std::collections::BTreeSet;
use std::fmt;

/// Least likeness of a name to one that may be meant; 1 is the same name.
const MIN_LIKENESS: f64 = 0.6;

/// Longest piece of a file that a problem repeats, in characters.
const LONGEST_QUOTE: usize = 60;

/// Most problems that are told; a file with more is no workflow at all.
const MOST: usize = 100;

/// What is wrong at a place of a file, with the way out.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// Counts from 1.
    pub line: u32,
    /// Counts characters from 1.
    pub column: u32,
    /// In words.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, column {}: {}", self.line, self.column, self.message)
    }
}

/// What was found so far in one file.
pub struct Problems<'a> {
    text: &'a str,
    /// By their places in bytes.
    found: BTreeSet<(usize, String)>,
    /// Names of steps and outputs that stand in the file, also in steps that could not be read.
    seen: BTreeSet<String>,
    /// Places of steps and triggers of which something could not be read.
    broken: BTreeSet<usize>,
    /// Steps read so far.
    pub steps: usize,
    /// Lists of steps around the one that is read.
    pub depth: usize,
}

impl<'a> Problems<'a> {
    pub fn new(text: &'a str) -> Self {
        Self { text, found: BTreeSet::new(), seen: BTreeSet::new(), broken: BTreeSet::new(), steps: 0, depth: 0 }
    }

    pub fn add(&mut self, at: usize, message: impl Into<String>) {
        self.found.insert((at, message.into()));
    }

    /// How many there are so far.
    pub fn count(&self) -> usize {
        self.found.len()
    }

    /// Notes that of the step or trigger that begins there something could not be read, if there are more problems than
    /// before.
    pub fn note_broken(&mut self, at: usize, before: usize) {
        if self.found.len() > before {
            self.broken.insert(at);
        }
    }

    /// Adds what is wrong with a step or a trigger that lacks something, unless what it lacks could not be read.
    pub fn add_lack(&mut self, at: usize, message: &str) {
        if !self.broken.contains(&at) {
            self.add(at, message);
        }
    }

    /// The text of the file.
    pub fn text(&self) -> &'a str {
        self.text
    }

    /// Notes a name that stands in the file.
    pub fn note(&mut self, name: &str) {
        self.seen.insert(name.to_owned());
    }

    /// Whether the name stands in the file, while something in it could not be read.
    pub fn may_define(&self, name: &str) -> bool {
        !self.found.is_empty() && self.seen.contains(name)
    }

    /// What was read, if nothing is wrong with it.
    pub fn or<T>(self, read: Option<T>) -> Result<T, Vec<Problem>> {
        match read {
            Some(read) if self.found.is_empty() => Ok(read),
            _ => Err(self.told()),
        }
    }

    fn told(&self) -> Vec<Problem> {
        let mut told: Vec<Problem> = Vec::new();
        for (at, message) in self.found.iter().take(MOST) {
            let (line, column) = position(self.text, *at);
            told.push(Problem { line, column, message: message.clone() });
        }
        if let Some(last) = told.last_mut().filter(|_| self.found.len() > MOST) {
            last.message = format!("and {} further problems", self.found.len() - MOST + 1);
        }
        told
    }
}

/// The line and the column of a byte; both count from 1, columns in characters.
pub fn position(text: &str, at: usize) -> (u32, u32) {
    let before = &text[..text.floor_char_boundary(at)];
    let line = before.rfind('\n').map_or(before, |end| &before[end + 1..]);
    (before.matches('\n').count() as u32 + 1, line.chars().count() as u32 + 1)
}

/// Which of the known names may be meant. Capitals matter only among those that are as near.
pub fn nearest<'n>(name: &str, known: impl IntoIterator<Item = &'n str>) -> Option<&'n str> {
    let wanted = name.to_lowercase();
    let rated = known.into_iter().map(|known| {
        let likeness = strsim::normalized_damerau_levenshtein(&wanted, &known.to_lowercase());
        (likeness, strsim::normalized_damerau_levenshtein(name, known), known)
    });
    let best = rated.max_by(|(a, exact_a, _), (b, exact_b, _)| a.total_cmp(b).then(exact_a.total_cmp(exact_b)));
    best.filter(|(likeness, ..)| *likeness >= MIN_LIKENESS).map(|(.., known)| known)
}

/// `; did you mean a?` or, where nothing is near, `; there are a, b`.
pub fn way_out<'n>(name: &str, known: impl IntoIterator<Item = &'n str> + Clone) -> String {
    if let Some(nearest) = nearest(name, known.clone()) {
        return format!("; did you mean `{nearest}`?");
    }
    let known: Vec<&str> = known.into_iter().collect();
    if known.is_empty() { String::new() } else { format!("; there is {}", listed(&known)) }
}

/// `a`, `b` and `c`.
pub fn listed(names: &[&str]) -> String {
    let quoted: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    match &*quoted {
        [] => String::new(),
        [one] => one.clone(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}

/// On one line, cut where it is long, without what a terminal would obey.
pub fn quote(written: &str) -> String {
    let line = written.split_whitespace().collect::<Vec<_>>().join(" ").replace(|c: char| c.is_control(), "");
    match line.char_indices().nth(LONGEST_QUOTE) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}

#[cfg(test)]
#[path = "problem_tests.rs"]
mod tests;
