//! Where the disk has changed since the last look, as far as its signs tell.
//!
//! Written by the watch, read by looks: a look that a sign caused opens again what the signs were at, and nothing else.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// More places than this are everywhere.
const MOST: usize = 1024;

/// Where something has changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Signs {
    /// At these files and folders; nowhere when empty.
    At(BTreeSet<PathBuf>),
    /// Anywhere.
    Everywhere,
}

/// All signs since the last look.
#[derive(Debug, Clone, Default)]
pub struct Heard {
    /// Where.
    pub signs: Signs,
    /// How many ever came: one at a place where there was one before is another.
    pub count: u64,
}

impl Heard {
    /// Something changed at these paths; a sign that names none may be anywhere.
    pub fn add(&mut self, paths: &[PathBuf]) {
        self.count += 1;
        self.signs.add(paths);
    }

    /// A look has found what the first `count` signs were of. If more came since, all of them stay.
    pub fn settle(&mut self, count: u64) {
        if self.count == count {
            self.signs = Signs::default();
        }
    }
}

impl Default for Signs {
    fn default() -> Self {
        Self::At(BTreeSet::new())
    }
}

impl Signs {
    pub fn add(&mut self, paths: &[PathBuf]) {
        match self {
            Self::At(places) if !paths.is_empty() && places.len() + paths.len() <= MOST => {
                places.extend(paths.iter().cloned());
            }
            _ => *self = Self::Everywhere,
        }
    }

    /// Whether nothing has changed.
    pub fn is_empty(&self) -> bool {
        matches!(self, Self::At(places) if places.is_empty())
    }

    /// The same, given the folders that are watched: what lies in none of them was seen by another name, and may be any.
    pub fn within(self, watched: &[PathBuf]) -> Self {
        let known = |path: &PathBuf| watched.iter().any(|folder| path.starts_with(folder));
        match self {
            Self::At(places) if places.iter().all(known) => Self::At(places),
            _ => Self::Everywhere,
        }
    }

    /// Whether something in this folder, or the folder itself, may have changed.
    pub fn touch(&self, folder: &Path) -> bool {
        match self {
            Self::At(places) => {
                // Paths in a folder follow it in the order of paths.
                places.range(folder.to_path_buf()..).next().is_some_and(|path| path.starts_with(folder))
            }
            Self::Everywhere => true,
        }
    }
}

#[cfg(test)]
#[path = "signs_tests.rs"]
mod tests;
