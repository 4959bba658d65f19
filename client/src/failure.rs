//! How the program ends when it does not succeed: `error:` and `hint:` on standard error, and the exit code.
//!
//! Called by `main`; commands only return [`Failure`], but for `rm`, which may have several to report.

use std::ffi::OsStr;
use std::io::{self, IsTerminal, Write};
use std::os::unix::ffi::OsStrExt;
use std::process::ExitCode;

use anstyle::{AnsiColor, Style};
use clap::error::ErrorKind;
use protocol::ErrorData;
use serde::Serialize;
use talkiectl::{Error, Exit};

use crate::cli::Form;
use crate::render;

/// Why a command did not do what was asked.
#[derive(Debug)]
pub enum Failure {
    /// The daemon or the way to it.
    Client(Error),
    /// The same, where more is known of the way out than the error itself tells.
    Advised { error: Error, hint: String },
    /// The command line asks for what cannot be.
    Usage { message: String, hint: &'static str },
    /// What was named is not there.
    NotFound { message: String, hint: &'static str },
    /// What was looked at is not as it should be.
    Damaged { message: String, hint: String },
    /// Another client put an end to what was waited for.
    Stopped { message: String, hint: String },
    /// Standard output cannot be written.
    Output(io::Error),
    /// The runtime cannot be made.
    Runtime(io::Error),
    /// The provider withheld the answer.
    Blocked { why: String },
    /// Another client cancelled the request.
    Cancelled,
    /// Something is not as it should be, and was shown.
    Unwell,
    /// Ctrl-C, and what goes on all the same.
    Interrupted { note: Option<String> },
}

impl<E: Into<Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::Client(error.into())
    }
}

impl Failure {
    /// Says what failed and gives the exit code.
    pub fn report(self, form: Form) -> ExitCode {
        match &self {
            // The reader of a pipe has seen enough (`| head -1`); that is no failure.
            Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => return ExitCode::SUCCESS,
            Self::Interrupted { note } => interrupted(note.as_deref()),
            Self::Unwell => {}
            _ => show(&self.described(), form),
        }
        ExitCode::from(self.exit().code())
    }

    fn exit(&self) -> Exit {
        match self {
            Self::Client(error) | Self::Advised { error, .. } => error.exit(),
            Self::Usage { .. } | Self::Blocked { .. } => Exit::Usage,
            Self::NotFound { .. } => Exit::NotFound,
            Self::Unwell => Exit::Unwell,
            Self::Damaged { .. } | Self::Output(_) | Self::Runtime(_) => Exit::Failed,
            Self::Stopped { .. } | Self::Cancelled | Self::Interrupted { .. } => Exit::Interrupted,
        }
    }

    fn described(&self) -> Description {
        let (message, hint) = match self {
            Self::Client(error) => (error.to_string(), error.hint()),
            Self::Usage { message, hint } | Self::NotFound { message, hint } => {
                (message.clone(), Some((*hint).to_owned()))
            }
            Self::Advised { error, hint } => (error.to_string(), Some(hint.clone())),
            Self::Damaged { message, hint } | Self::Stopped { message, hint } => (message.clone(), Some(hint.clone())),
            Self::Output(error) => (format!("failed to write to standard output: {error}"), None),
            Self::Runtime(error) => (format!("failed to start: {error}"), None),
            Self::Blocked { why } => {
                let hint = "say it in other words, or ask a local model: -p mlx";
                (format!("the provider withheld the rest of the answer: {why}"), Some(hint.to_owned()))
            }
            Self::Unwell => ("something is not as it should be".into(), None),
            Self::Cancelled => ("the request was cancelled by another client".into(), None),
            Self::Interrupted { note } => ("interrupted".into(), note.clone()),
        };
        let mut description = Description { message, hint, exit_code: self.exit().code(), code: None, data: None };
        if let Self::Client(Error::Rpc { code, data, .. })
        | Self::Advised { error: Error::Rpc { code, data, .. }, .. } = self
        {
            description.code = Some(*code);
            description.data.clone_from(data);
        }
        description
    }
}

fn interrupted(note: Option<&str>) {
    // Neither the note nor the shell's prompt may stand behind `^C`.
    let start = if io::stderr().is_terminal() { "\n" } else { "" };
    let note = note.map_or(String::new(), |note| format!("note: {}\n", render::printable(note)));
    render::to_stderr(&(start.to_owned() + &note));
}

/// An error as `--json` prints it.
#[derive(Debug, Serialize)]
struct Description {
    message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<String>,
    exit_code: u8,
    /// The code on the wire, where the daemon answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<Box<ErrorData>>,
}

fn show(description: &Description, form: Form) {
    let mut stderr = anstream::stderr().lock();
    let shown = if form == Form::Json {
        serde_json::to_string(&serde_json::json!({ "error": description })).map(|line| format!("{line}\n"))
    } else {
        Ok(in_words(description))
    };
    // Standard error may be closed; then there is nobody left to tell.
    let _ = shown.map(|text| stderr.write_all(text.as_bytes()));
}

fn in_words(description: &Description) -> String {
    let red = Style::new().bold().fg_color(Some(AnsiColor::Red.into()));
    let cyan = Style::new().fg_color(Some(AnsiColor::Cyan.into()));
    let error = format!("{red}error:{red:#} {}\n", render::printable_lines(&description.message));
    let hint = description.hint.as_deref().map(render::printable_lines);
    error + &hint.map_or(String::new(), |hint| format!("{cyan}hint:{cyan:#} {hint}\n"))
}

/// Shows what clap found wrong, or the help and version that were asked for.
pub fn of_usage(error: &clap::Error) -> ExitCode {
    let exit = if error.use_stderr() { Exit::Usage } else { Exit::Ok };
    let form = if std::env::args_os().any(|argument| argument == "--json") { Form::Json } else { Form::Words };
    let bytes = (error.kind() == ErrorKind::InvalidUtf8)
        .then(|| std::env::args_os().skip(1).find_map(|argument| no_text(&argument)))
        .flatten();
    let described = |message: String, hint: String| {
        let hint = Some(hint);
        Description { message, hint, exit_code: exit.code(), code: None, data: None }
    };
    if let Some(message) = bytes {
        show(&described(message, "give text encoded as UTF-8; only names of files may be other bytes".into()), form);
    } else if error.use_stderr() && form == Form::Json {
        let (message, tip) = complaint(error);
        show(&described(message, tip.unwrap_or_else(|| "`talkiectl help` says what is taken".into())), form);
    } else {
        // Printing fails only where nobody reads it.
        let _ = error.print();
    }
    ExitCode::from(exit.code())
}

/// What clap found, on one line, and what it thinks was meant.
pub fn complaint(error: &clap::Error) -> (String, Option<String>) {
    let one_line = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    if matches!(error.kind(), ErrorKind::MissingSubcommand | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand) {
        return ("a command is missing".into(), None);
    }
    let text = error.to_string();
    let mut parts = text.split("\n\n").map(one_line);
    let message = parts.next().unwrap_or_default().trim_start_matches("error: ").to_owned();
    let tip = parts.find_map(|part| part.strip_prefix("tip: ").map(str::to_owned));
    (message, tip)
}

/// What keeps an argument from being text.
fn no_text(argument: &OsStr) -> Option<String> {
    let problem = std::str::from_utf8(argument.as_bytes()).err()?;
    let shown = render::printable(&argument.to_string_lossy());
    Some(format!("the argument {shown} is not UTF-8 text: its byte at {} is not", problem.valid_up_to()))
}
