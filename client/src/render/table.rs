//! Columns where they fit, one block per row where they do not. Cells are never cut.
//!
//! Called by [`super`].

use std::fmt::Write;

use anstyle::Style;

use super::printable;

/// One value.
pub struct Cell {
    text: String,
    style: Style,
}

impl Cell {
    pub fn new(text: impl AsRef<str>, style: Style) -> Self {
        Self { text: printable(text.as_ref()), style }
    }

    fn width(&self) -> usize {
        self.text.chars().count()
    }
}

impl<T: AsRef<str>> From<T> for Cell {
    fn from(text: T) -> Self {
        Self::new(text, Style::new())
    }
}

struct Row {
    cells: Vec<Cell>,
    /// Stands below the row.
    note: Option<Cell>,
}

/// Rows under heads.
pub struct Table {
    heads: &'static [&'static str],
    rows: Vec<Row>,
}

/// Between two columns.
const GAP: usize = 2;

impl Table {
    pub fn new(heads: &'static [&'static str]) -> Self {
        Self { heads, rows: Vec::new() }
    }

    /// Adds a row, one cell for each head.
    pub fn row(&mut self, cells: Vec<Cell>) {
        self.rows.push(Row { cells, note: None });
    }

    /// Puts a line below the last row.
    pub fn note(&mut self, text: &str, style: Style) {
        if let Some(row) = self.rows.last_mut() {
            row.note = Some(Cell::new(text, style));
        }
    }

    /// The text for a terminal of that width; without one, always columns.
    pub fn render(&self, width: Option<usize>) -> String {
        let widths = self.widths();
        let needed = widths.iter().sum::<usize>() + GAP * widths.len().saturating_sub(1);
        if width.is_some_and(|width| width < needed) { self.blocks() } else { self.columns(&widths) }
    }

    fn widths(&self) -> Vec<usize> {
        let widest = |column: usize| self.rows.iter().filter_map(|row| row.cells.get(column)).map(Cell::width).max();
        let heads = self.heads.iter().enumerate();
        heads.map(|(column, head)| head.len().max(widest(column).unwrap_or(0))).collect()
    }

    fn columns(&self, widths: &[usize]) -> String {
        let bold = Style::new().bold();
        let mut text = String::new();
        line(&mut text, self.heads.iter().map(|head| Cell::new(head, bold)), widths);
        for row in &self.rows {
            line(&mut text, &row.cells, widths);
            note(&mut text, row);
        }
        text
    }

    fn blocks(&self) -> String {
        let mut text = String::new();
        for row in &self.rows {
            for (column, (head, cell)) in self.heads.iter().zip(&row.cells).enumerate() {
                let Cell { text: value, style } = cell;
                // The first cell names the row.
                let _ = match column {
                    0 => writeln!(text, "{style}{value}{style:#}"),
                    _ => writeln!(text, "  {} {style}{value}{style:#}", head.to_lowercase()),
                };
            }
            note(&mut text, row);
        }
        text
    }
}

fn line<C: std::borrow::Borrow<Cell>>(text: &mut String, cells: impl IntoIterator<Item = C>, widths: &[usize]) {
    for (column, (cell, width)) in cells.into_iter().zip(widths).enumerate() {
        let Cell { text: value, style } = cell.borrow();
        let is_last = column + 1 == widths.len();
        // Padding stands outside of the style, and a line has no spaces at its end.
        let padding = if is_last { 0 } else { width - cell.borrow().width() + GAP };
        let _ = write!(text, "{style}{value}{style:#}{:padding$}", "");
    }
    text.push('\n');
}

fn note(text: &mut String, row: &Row) {
    if let Some(Cell { text: value, style }) = &row.note {
        let _ = writeln!(text, "  {style}{value}{style:#}");
    }
}
