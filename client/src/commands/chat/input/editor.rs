//! The line editor at a terminal, with its history and what Tab knows.
//!
//! Called by [`super`], on the thread that reads.

use std::cell::RefCell;
use std::fs::{DirBuilder, OpenOptions};
use std::io::IsTerminal;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustyline::completion::{Completer, FilenameCompleter, Pair};
use rustyline::config::{Behavior, BellStyle, CompletionType};
use rustyline::error::ReadlineError;
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::history::FileHistory;
use rustyline::validate::{ValidationContext, ValidationResult, Validator};
use rustyline::{Config, Context, Helper};

use super::{Read, Source, Typed, is_open, turn};
use crate::commands::chat::orders;
use crate::complete;
use crate::failure::Failure;

/// Turns that are remembered.
const HISTORY: usize = 1000;

/// A person at a terminal.
pub struct Editor {
    editor: rustyline::Editor<Help, FileHistory>,
    history: Option<PathBuf>,
}

impl Editor {
    /// At the terminal, with the history of earlier conversations.
    pub fn new(socket: PathBuf, history: Option<PathBuf>) -> Result<Self, Failure> {
        // Where standard output is a file, the prompt must not land in it.
        let behavior = if std::io::stdout().is_terminal() { Behavior::Stdio } else { Behavior::PreferTerm };
        let config = Config::builder()
            .max_history_size(HISTORY)
            .and_then(|config| config.history_ignore_dups(true))
            .map_err(|error| failed(&error))?
            .history_ignore_space(true)
            .completion_type(CompletionType::List)
            .bell_style(BellStyle::None)
            .behavior(behavior)
            .build();
        let mut editor = rustyline::Editor::with_config(config).map_err(|error| failed(&error))?;
        let line = RefCell::default();
        editor.set_helper(Some(Help { socket, files: FilenameCompleter::new(), line }));
        let history = history.filter(|file| make(file).is_ok());
        if let Some(file) = &history {
            // A history that cannot be read is no reason to be silent.
            let _ = editor.load_history(file);
        }
        Ok(Self { editor, history })
    }

    fn remember(&mut self, text: &str) {
        if !text.trim().is_empty() && self.editor.add_history_entry(text).unwrap_or(false) {
            // The turn counts, not its place in a file.
            let _ = self.history.as_ref().map(|file| self.editor.append_history(file));
        }
    }
}

/// Makes the file where it is not, for the user's eyes alone.
fn make(file: &Path) -> std::io::Result<()> {
    if let Some(folder) = file.parent() {
        DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    }
    OpenOptions::new().append(true).create(true).mode(0o600).open(file).map(drop)
}

impl Source for Editor {
    fn read(&mut self) -> Read {
        if let Some(help) = self.editor.helper() {
            help.line.borrow_mut().clear();
        }
        match self.editor.readline("> ") {
            Ok(text) => {
                self.remember(&text);
                Ok(Some(Typed::Text(turn(&text))))
            }
            Err(ReadlineError::Interrupted) => {
                let was_empty = self.editor.helper().is_none_or(|help| help.line.borrow().is_empty());
                Ok(Some(Typed::Interrupted { was_empty }))
            }
            Err(ReadlineError::Eof) => Ok(None),
            Err(error) => Err(failed(&error)),
        }
    }
}

fn failed(error: &ReadlineError) -> Failure {
    let message = format!("failed to read from the terminal: {error}");
    Failure::Usage { message, hint: "pipe turns in, one a line, where there is no terminal to edit them" }
}

/// What the editor asks about the line.
struct Help {
    socket: PathBuf,
    files: FilenameCompleter,
    /// The line as it was last seen.
    line: RefCell<String>,
}

impl Helper for Help {}
impl Highlighter for Help {}

impl Validator for Help {
    fn validate(&self, context: &mut ValidationContext) -> rustyline::Result<ValidationResult> {
        Ok(if is_open(context.input()) { ValidationResult::Incomplete } else { ValidationResult::Valid(None) })
    }
}

impl Hinter for Help {
    type Hint = String;

    /// None; but this is called after every key.
    fn hint(&self, line: &str, _: usize, _: &Context<'_>) -> Option<String> {
        line.clone_into(&mut self.line.borrow_mut());
        None
    }
}

impl Completer for Help {
    type Candidate = Pair;

    fn complete(&self, line: &str, at: usize, context: &Context<'_>) -> rustyline::Result<(usize, Vec<Pair>)> {
        let typed = &line[..at];
        let pair = |name: &str, end: &str| Pair { display: name.to_owned(), replacement: format!("{name}{end}") };
        match typed.split_once(' ') {
            None if typed.starts_with('/') => {
                let fits = orders::TABLE.iter().filter(|(word, ..)| word.starts_with(typed));
                let end = |argument: &str| if argument.is_empty() { "" } else { " " };
                Ok((0, fits.map(|(word, argument, _)| pair(word, end(argument))).collect()))
            }
            Some(("/model", begun)) => {
                let names = complete::names(&self.socket);
                let fits = names.iter().filter(|name| name.starts_with(begun));
                Ok((at - begun.len(), fits.map(|name| pair(name, "")).collect()))
            }
            Some(("/save" | "/load", _)) => self.files.complete(line, at, context),
            _ => Ok((at, Vec::new())),
        }
    }
}
