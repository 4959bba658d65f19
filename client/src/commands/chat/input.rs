//! What is typed, or piped in: turns, one after the other, read by a thread that may wait as long as people think.
//!
//! At a terminal `rustyline` edits, completes and remembers; elsewhere lines are read as they are. Called by [`super`].

mod editor;

use std::io::{BufRead, IsTerminal};
use std::sync::mpsc::{Receiver, Sender, channel};

use protocol::MAX_MESSAGE_BYTES;
use protocol::paths::Paths;
use tokio::sync::mpsc;

use self::editor::Editor;
use crate::commands::prompt::utf8;
use crate::failure::Failure;

/// Around a turn of several lines.
const QUOTES: &str = "\"\"\"";

/// Something that was typed.
#[derive(Debug, PartialEq, Eq)]
pub enum Typed {
    /// A whole turn.
    Text(String),
    /// Ctrl-C at the prompt.
    Interrupted {
        /// Whether there was nothing to throw away.
        was_empty: bool,
    },
}

/// `None` at the end.
type Read = Result<Option<Typed>, Failure>;

/// The turns.
pub struct Input {
    wanted: Sender<()>,
    typed: mpsc::Receiver<Read>,
}

/// Whether somebody types.
pub fn is_interactive() -> bool {
    std::io::stdin().is_terminal()
}

impl Input {
    /// From the terminal, or line by line.
    pub fn new(paths: &Paths, is_interactive: bool, keeps_history: bool) -> Self {
        let (wanted, is_wanted) = channel();
        let (read, typed) = mpsc::channel(1);
        let paths = paths.clone();
        // Not joined: it may wait for a key for ever, and ends with the process.
        std::thread::spawn(move || {
            if is_interactive {
                let history = keeps_history.then(|| paths.home.join("chat_history"));
                serve(&is_wanted, &read, Editor::new(paths.socket, history));
            } else {
                serve(&is_wanted, &read, Ok(Lines::default()));
            }
        });
        Self { wanted, typed }
    }

    /// The next turn; `None` at the end.
    pub async fn next(&mut self) -> Read {
        // A thread that is gone has said why.
        let _ = self.wanted.send(());
        self.typed.recv().await.unwrap_or(Ok(None))
    }
}

/// Where turns come from.
trait Source {
    fn read(&mut self) -> Read;
}

/// Reads when asked, so that a terminal is left alone while an answer is written to it.
fn serve(wanted: &Receiver<()>, read: &mpsc::Sender<Read>, source: Result<impl Source, Failure>) {
    let mut source = match source {
        Ok(source) => source,
        Err(failure) => {
            // Nobody listens where the program ends.
            let _ = read.blocking_send(Err(failure));
            return;
        }
    };
    while wanted.recv().is_ok() && read.blocking_send(source.read()).is_ok() {}
}

/// Whether more lines belong to the turn.
fn is_open(text: &str) -> bool {
    let trimmed = text.trim();
    match trimmed.strip_prefix(QUOTES) {
        Some(rest) => !rest.trim_end().ends_with(QUOTES),
        None => text.ends_with('\\'),
    }
}

/// The turn without what marks its several lines.
fn turn(text: &str) -> String {
    let trimmed = text.trim();
    let quoted = trimmed.strip_prefix(QUOTES).and_then(|rest| rest.strip_suffix(QUOTES));
    quoted.map_or_else(|| text.replace("\\\n", "\n"), |quoted| quoted.trim_matches('\n').to_owned())
}

/// Standard input that is no terminal.
#[derive(Default)]
struct Lines {
    /// Bytes read.
    offset: usize,
}

impl Source for Lines {
    fn read(&mut self) -> Read {
        let mut text = String::new();
        loop {
            let Some(line) = self.line()? else {
                // An end within quotes ends them too.
                let rest = text.trim().trim_start_matches(QUOTES).trim_end_matches('\\').trim();
                return Ok((!rest.is_empty()).then(|| Typed::Text(rest.to_owned())));
            };
            text.push_str(&line);
            if !is_open(&text) {
                return Ok(Some(Typed::Text(turn(&text))));
            }
            text.push('\n');
        }
    }
}

impl Lines {
    fn line(&mut self) -> Result<Option<String>, Failure> {
        let usage = |message: String| Failure::Usage { message, hint: "pipe in plain text, encoded as UTF-8" };
        let mut bytes = Vec::new();
        let mut stdin = std::io::Read::take(std::io::stdin().lock(), MAX_MESSAGE_BYTES as u64 + 1);
        let read = stdin.read_until(b'\n', &mut bytes);
        let count = read.map_err(|error| usage(format!("failed to read standard input: {error}")))?;
        if count > MAX_MESSAGE_BYTES {
            return Err(usage(format!("a line of standard input has more than {MAX_MESSAGE_BYTES} bytes")));
        }
        let start = self.offset;
        self.offset += count;
        let text = utf8(bytes, "standard input", start).map_err(usage)?;
        Ok((count > 0).then(|| text.trim_end_matches(['\n', '\r']).to_owned()))
    }
}

#[cfg(test)]
#[path = "input_tests.rs"]
mod tests;
