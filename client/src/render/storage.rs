//! The files of models: what they take, whether they are right, what a removal gave back.
//!
//! Called by the commands.

use std::fmt::Write;

use protocol::{Deleted, FileState, HashSource, ModelSource, Storage, Verified};

use super::table::{Cell, Table};
use super::{GREEN, NONE, PLAIN, RED, YELLOW, bytes, printable};

/// `du`.
pub fn usage(storage: &Storage, width: Option<usize>) -> String {
    let mut table = Table::new(&["MODEL", "SIZE", "OWN", "WHERE"]);
    for stored in &storage.models {
        let place = match stored.source {
            ModelSource::Library => "library".into(),
            ModelSource::HuggingFaceCache => "Hugging Face cache".into(),
            ModelSource::Folder => stored.path.display().to_string(),
        };
        table.row(vec![
            (&*stored.model.0).into(),
            bytes(stored.size).into(),
            bytes(stored.own_bytes).into(),
            place.into(),
        ]);
    }
    for pull in &storage.pulls {
        table.row(vec![
            (&*pull.model.0).into(),
            bytes(pull.size).into(),
            bytes(pull.size).into(),
            Cell::new("unfinished download", YELLOW),
        ]);
    }
    let nothing = storage.models.is_empty() && storage.pulls.is_empty();
    let mut text = if nothing { String::new() } else { table.render(width) + "\n" };
    let Storage { used_bytes, free_bytes, capacity_bytes, path, .. } = storage;
    let [used, free, capacity] = [*used_bytes, *free_bytes, *capacity_bytes].map(bytes);
    let _ = writeln!(text, "{used} used, {free} of {capacity} free in {}", printable(&path.display().to_string()));
    text
}

/// `verify`.
pub fn verified(verified: &Verified, width: Option<usize>) -> String {
    let mut table = Table::new(&["FILE", "SIZE", "STATE"]);
    for file in &verified.files {
        let (state, style) = match file.state {
            FileState::Ok => ("ok", GREEN),
            FileState::Changed => ("changed", RED),
            FileState::Missing => ("missing", RED),
            FileState::Unreadable => ("unreadable", RED),
            FileState::Unknown => ("hash not known", PLAIN),
        };
        let size = if file.state == FileState::Missing { NONE.into() } else { bytes(file.size) };
        table.row(vec![(&*file.path).into(), size.into(), Cell::new(state, style)]);
    }
    let mut text = if verified.files.is_empty() { String::new() } else { table.render(width) };
    if verified.ok {
        let against = match verified.against {
            HashSource::Manifest => "as its manifest says",
            HashSource::HuggingFaceCache => "as the Hugging Face cache names it",
            // The daemon calls nothing right that it cannot compare.
            HashSource::Nothing => "as far as is known",
        };
        let _ = writeln!(text, "\n{} is whole, {against}", printable(&verified.model.0));
    }
    text
}

/// `rm`, of one model.
pub fn removed(deleted: &Deleted) -> String {
    let model = printable(&deleted.model.0);
    match deleted.freed_bytes {
        0 => format!("{model} is removed; its files are elsewhere too, so nothing is freed\n"),
        freed => format!("{model} is removed: {} freed\n", bytes(freed)),
    }
}

#[cfg(test)]
#[path = "storage_tests.rs"]
mod tests;
