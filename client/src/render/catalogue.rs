//! The catalogue: what there is to choose from, and what of it fits.
//!
//! Called by the command.

use std::fmt::Write;

use anstyle::Style;
use protocol::{Catalogue, CatalogueEntry};

use super::table::{Cell, Table};
use super::{GREEN, NONE, PLAIN, YELLOW, bytes, printable};

/// `catalogue`.
pub fn list(catalogue: &Catalogue, width: Option<usize>) -> String {
    let mut table = Table::new(&["MODEL", "SIZE", "NEEDS", "CONTEXT", "STATE"]);
    for model in &catalogue.models {
        let (state, style) = state(model);
        table.row(vec![
            (&*model.id.0).into(),
            bytes(model.size).into(),
            bytes(model.memory_bytes).into(),
            model.context_length.to_string().into(),
            Cell::new(state, style),
        ]);
        table.note(&note(model), Style::new().dimmed());
    }
    let mut text = if catalogue.models.is_empty() { "no models\n".into() } else { table.render(width) };
    let _ = writeln!(text, "\na model may take {} of this machine's memory", bytes(catalogue.memory_bytes));
    for problem in &catalogue.problems {
        let _ = writeln!(text, "{YELLOW}left out: {}{YELLOW:#}", printable(problem));
    }
    text
}

fn state(model: &CatalogueEntry) -> (&'static str, Style) {
    match (model.is_installed, model.fits) {
        (true, _) => ("installed", GREEN),
        (false, true) => (NONE, PLAIN),
        (false, false) => ("too large", YELLOW),
    }
}

fn note(model: &CatalogueEntry) -> String {
    let place = if model.is_default { ", the one to begin with" } else { "" };
    format!("{} ({}){place}", model.good_at, model.license)
}

#[cfg(test)]
#[path = "catalogue_tests.rs"]
mod tests;
