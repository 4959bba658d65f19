//! Markdown on a terminal, as it comes: bold, headings, inline code, fenced code, lists and quotes; all else as it is.
//!
//! It shows each character as soon as nothing that may follow can change how it looks, which is within its line.
//! Called by the screen of `chat`.

use std::fmt::Write;

use anstyle::{AnsiColor, Color, Style};

const BOLD: Style = Style::new().bold();
const HEADING: Style = Style::new().bold().underline();
const CODE: Style = Style::new().fg_color(Some(Color::Ansi(AnsiColor::Cyan)));
const DIM: Style = Style::new().dimmed();

/// Longest beginning of a line that may wait for its meaning: of an opening fence with its language.
const MAX_HELD: usize = 64;

/// What has been shown so far, as far as it matters for what follows.
#[derive(Debug, Default)]
pub struct Markdown {
    /// What has come of the line and is not shown, because its meaning is open.
    held: String,
    /// Past the beginning of the line.
    in_line: bool,
    /// The marks that end the fenced code we are in.
    fence: Option<String>,
    /// For the whole line.
    of_line: Option<Style>,
    bold: bool,
    code: bool,
}

/// What the beginning of a line is.
enum Start {
    /// Not to be told yet.
    Open,
    /// Nothing special.
    Text,
    Heading {
        marks: usize,
    },
    Bullet,
    Quote,
    Fence,
}

impl Markdown {
    /// What to write for the next piece of the text.
    pub fn push(&mut self, text: &str) -> String {
        let mut out = String::new();
        for c in text.chars() {
            if c == '\n' {
                self.end_line(&mut out);
            } else if self.in_line {
                self.inline(c, &mut out);
            } else {
                self.held.push(c);
                self.begin_line(&mut out);
            }
        }
        out
    }

    /// What to write where the text ends.
    pub fn end(&mut self) -> String {
        let mut out = String::new();
        if !self.held.is_empty() || self.in_line {
            self.end_line(&mut out);
            // The caller ends the last line.
            out.truncate(out.trim_end_matches('\n').len());
        }
        *self = Self::default();
        out
    }

    fn begin_line(&mut self, out: &mut String) {
        if let Some(fence) = &self.fence {
            let begun = self.held.trim_start();
            if !begun.is_empty() && !fence.starts_with(begun) && !begun.starts_with(&**fence) {
                out.push_str("  ");
                self.show_held(out);
            }
            return;
        }
        let indent = self.held.len() - self.held.trim_start().len();
        match start(&self.held[indent..]) {
            Start::Open => {}
            Start::Fence if self.held.len() <= MAX_HELD => {}
            Start::Fence | Start::Text => self.show_held(out),
            Start::Heading { marks } => {
                self.begin(if marks == 1 { HEADING } else { BOLD }, out);
                self.held.clear();
            }
            Start::Bullet => {
                out.push_str(&self.held[..indent]);
                out.push_str("• ");
                self.held.clear();
                self.in_line = true;
            }
            Start::Quote => {
                self.begin(DIM, out);
                out.push_str("│ ");
                self.held.clear();
            }
        }
    }

    fn begin(&mut self, style: Style, out: &mut String) {
        self.of_line = Some(style);
        self.in_line = true;
        out.push_str(&style.render().to_string());
    }

    /// The held characters are text after all.
    fn show_held(&mut self, out: &mut String) {
        self.in_line = true;
        for c in std::mem::take(&mut self.held).chars() {
            self.inline(c, out);
        }
    }

    fn inline(&mut self, c: char, out: &mut String) {
        if self.fence.is_some() {
            out.push(c);
        } else if c == '`' {
            self.release_star(out);
            self.code = !self.code;
            self.restyle(out);
        } else if self.code {
            out.push(c);
        } else if c == '*' && self.held.len() < 2 {
            // Whether two of them mark something depends on what follows.
            self.held.push(c);
            if self.bold && self.held.len() == 2 {
                self.held.clear();
                self.bold = false;
                self.restyle(out);
            }
        } else {
            if self.held == "**" && !c.is_whitespace() && c != '*' {
                self.held.clear();
                self.bold = true;
                self.restyle(out);
            }
            self.release_star(out);
            out.push(c);
        }
    }

    fn release_star(&mut self, out: &mut String) {
        out.push_str(&std::mem::take(&mut self.held));
    }

    /// Sets the terminal to what holds now.
    fn restyle(&self, out: &mut String) {
        let reset = anstyle::Reset;
        out.push_str(&reset.render().to_string());
        let styles = [self.of_line, self.bold.then_some(BOLD), self.code.then_some(CODE)];
        out.extend(styles.into_iter().flatten().map(|style| style.render().to_string()));
    }

    fn end_line(&mut self, out: &mut String) {
        if !self.in_line && self.ends_as_fence(out) {
            return;
        }
        if self.in_line {
            self.release_star(out);
        } else {
            if self.fence.is_some() && !self.held.is_empty() {
                out.push_str("  ");
            }
            self.show_held(out);
            self.release_star(out);
        }
        if self.bold || self.code || self.of_line.is_some() {
            out.push_str(&anstyle::Reset.render().to_string());
        }
        *self = Self { fence: self.fence.take(), ..Self::default() };
        out.push('\n');
    }

    /// Takes a line of marks as the beginning or the end of fenced code; only its language is shown.
    fn ends_as_fence(&mut self, out: &mut String) -> bool {
        let line = self.held.trim();
        if let Some(fence) = &self.fence {
            let closes = line.starts_with(&**fence) && line.chars().all(|c| fence.starts_with(c));
            if closes {
                *self = Self::default();
            }
            return closes;
        }
        let Some(mark) = line.chars().next().filter(|_| matches!(start(line), Start::Fence)) else { return false };
        let marks: String = line.chars().take_while(|c| *c == mark).collect();
        let language = line[marks.len()..].trim();
        if language.contains('`') {
            return false;
        }
        if !language.is_empty() {
            let _ = writeln!(out, "  {DIM}{language}{DIM:#}");
        }
        *self = Self { fence: Some(marks), ..Self::default() };
        true
    }
}

fn start(line: &str) -> Start {
    let hashes = line.len() - line.trim_start_matches('#').len();
    match line {
        "" | "-" | "+" | "*" | ">" | "`" | "``" | "~" | "~~" => Start::Open,
        _ if line.starts_with("```") || line.starts_with("~~~") => Start::Fence,
        _ if line.starts_with("- ") || line.starts_with("+ ") || line.starts_with("* ") => Start::Bullet,
        _ if line.starts_with("> ") => Start::Quote,
        _ if (1..=6).contains(&hashes) && line.len() == hashes => Start::Open,
        _ if (1..=6).contains(&hashes) && line[hashes..].starts_with(' ') => Start::Heading { marks: hashes },
        _ => Start::Text,
    }
}

#[cfg(test)]
#[path = "markdown_tests.rs"]
mod tests;
