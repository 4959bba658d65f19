//! Results in words: tables, sizes, durations. Pure text, with colours that `anstream` takes away off terminals.
//!
//! Ids are never cut or wrapped, because they are made to be copied: a table that is wider than the terminal is shown
//! as one block per row. Called by the commands; The modules render results, this file their parts.

pub mod catalogue;
pub mod config;
pub mod daemon;
pub mod doctor;
pub mod events;
pub mod markdown;
pub mod models;
pub mod providers;
pub mod pulls;
pub mod secrets;
pub mod service;
pub mod storage;
mod table;
pub mod top;
pub mod usage;
pub mod workflows;

use std::io::{IsTerminal, Write};
use std::os::fd::AsFd;

use anstyle::{AnsiColor, Color, Style};

const GREEN: Style = Style::new().fg_color(Some(Color::Ansi(AnsiColor::Green)));
const YELLOW: Style = Style::new().fg_color(Some(Color::Ansi(AnsiColor::Yellow)));
const RED: Style = Style::new().fg_color(Some(Color::Ansi(AnsiColor::Red)));
const PLAIN: Style = Style::new();

/// What stands where there is nothing to say.
const NONE: &str = "–";

/// Columns of the terminal; `None` when it is none, or does not know.
pub fn columns(stream: &(impl AsFd + IsTerminal)) -> Option<usize> {
    let size = if stream.is_terminal() { rustix::termios::tcgetwinsize(stream).ok() } else { None };
    size.map(|size| usize::from(size.ws_col)).filter(|columns| *columns > 0)
}

/// Writes to standard error, with colours where that is a terminal.
pub fn to_stderr(text: &str) {
    // Standard error may be closed; then there is nobody left to tell.
    let _ = anstream::stderr().write_all(text.as_bytes());
}

/// `text` that is not the point.
pub fn dimmed(text: &str) -> String {
    let style = Style::new().dimmed();
    format!("{style}{text}{style:#}")
}

/// `text` for one line of a terminal: characters that a terminal would obey are shown as `\u{1b}`.
pub fn printable(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() { out.extend(c.escape_default()) } else { out.push(c) }
    }
    out
}

/// `text` for a terminal, line ends and tabs kept, other characters that a terminal would obey left out.
pub fn printable_lines(text: &str) -> String {
    text.chars().filter(|c| !c.is_control() || matches!(c, '\n' | '\t')).collect()
}

/// A share of 0 to 1.
pub fn percent(share: f64) -> String {
    format!("{:.0} %", share.clamp(0.0, 1.0) * 100.0)
}

/// Decimal units, as file managers show them.
pub fn bytes(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["kB", "MB", "GB", "TB"];
    let mut value = bytes as f64;
    let mut unit = "B";
    for next in UNITS {
        // What would be rounded to 1000 belongs to the next unit.
        if value < 999.5 {
            break;
        }
        value /= 1000.0;
        unit = next;
    }
    if unit == "B" || value >= 99.95 { format!("{value:.0} {unit}") } else { format!("{value:.1} {unit}") }
}

/// The two largest units that matter.
pub fn duration_ms(ms: f64) -> String {
    let seconds = (ms / 1000.0).round() as u64;
    match seconds {
        _ if ms < 999.5 => format!("{ms:.0} ms"),
        _ if ms < 9_950.0 => format!("{:.1} s", ms / 1000.0),
        0..60 => format!("{seconds} s"),
        60..3600 => two(seconds / 60, "min", seconds % 60, "s"),
        3600..86_400 => two(seconds / 3600, "h", seconds % 3600 / 60, "min"),
        _ => two(seconds / 86_400, "d", seconds % 86_400 / 3600, "h"),
    }
}

fn two(large: u64, large_unit: &str, small: u64, small_unit: &str) -> String {
    if small == 0 { format!("{large} {large_unit}") } else { format!("{large} {large_unit} {small} {small_unit}") }
}

#[cfg(test)]
#[path = "render_tests.rs"]
mod tests;
