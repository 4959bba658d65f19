//! One line on standard error that says what is being waited for, on terminals only, and that is gone afterwards.
//!
//! It never touches standard output. Called by commands that wait for a model.

use std::io::{IsTerminal, Write};

use crate::render;

/// The line; dropping it clears it, so that an interrupted wait leaves the terminal clean.
pub struct Progress<W: Write = std::io::Stderr> {
    /// `None` where nobody would see it.
    out: Option<W>,
    columns: usize,
    shown: bool,
}

impl Progress {
    /// A line on standard error; none where that is no terminal.
    pub fn on_stderr() -> Self {
        let stderr = std::io::stderr();
        let columns = render::columns(&stderr).unwrap_or(80);
        Self { out: stderr.is_terminal().then_some(stderr), columns, shown: false }
    }

    /// A line that nobody sees.
    pub fn hidden() -> Self {
        Self { out: None, columns: 0, shown: false }
    }
}

impl<W: Write> Progress<W> {
    /// Whether anybody sees it.
    pub fn is_visible(&self) -> bool {
        self.out.is_some()
    }

    /// Puts `text` in place of what was there.
    pub fn show(&mut self, text: &str) {
        let Some(out) = &mut self.out else { return };
        // One column stays free: a full line would wrap, and only its last row could be cleared.
        let text: String = render::printable(text).chars().take(self.columns.saturating_sub(1)).collect();
        // A line that cannot be shown is no reason to fail.
        let _ = write!(out, "\r\x1b[2K{text}").and_then(|()| out.flush());
        self.shown = true;
    }

    /// Takes it away.
    pub fn clear(&mut self) {
        if let Some(out) = &mut self.out
            && std::mem::take(&mut self.shown)
        {
            let _ = out.write_all(b"\r\x1b[2K").and_then(|()| out.flush());
        }
    }
}

impl<W: Write> Drop for Progress<W> {
    fn drop(&mut self) {
        self.clear();
    }
}

#[cfg(test)]
#[path = "progress_tests.rs"]
mod tests;
