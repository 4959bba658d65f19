//! `launchctl` and `systemctl` as child processes, found on the `PATH`.

use std::fmt;
use std::io;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use tokio::process::Command;

use super::error::{Error, Reason};

/// Longest that one command may take: stopping waits until the last requests are done.
const PATIENCE: Duration = Duration::from_secs(90);

/// One command of a manager's tool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// The tool.
    pub tool: &'static str,
    /// Its arguments.
    pub arguments: Vec<String>,
}

/// How a command ended.
#[derive(Debug, Clone)]
pub struct Ran {
    /// With which status.
    pub status: ExitStatus,
    /// What it printed.
    pub stdout: String,
    /// What it said, both outputs together.
    pub words: String,
}

impl Call {
    /// Of words.
    pub fn new(tool: &'static str, arguments: &[&str]) -> Self {
        Self { tool, arguments: arguments.iter().map(|argument| (*argument).to_owned()).collect() }
    }

    /// Runs it to its end; how it ended is the caller's to judge.
    pub async fn run(&self, not_there: &str) -> Result<Ran, Error> {
        let mut command = Command::new(self.tool);
        // Words are looked for in what it says.
        command.args(&self.arguments).env("LC_ALL", "C").stdin(Stdio::null()).kill_on_drop(true);
        let output = tokio::time::timeout(PATIENCE, command.output()).await.map_err(|_| {
            let (command, seconds) = (self.to_string(), PATIENCE.as_secs());
            Error::new(Reason::Silent { command, seconds }, "look at what it waits for, and run it again")
        })?;
        let output = output.map_err(|source| {
            let hint = if source.kind() == io::ErrorKind::NotFound { not_there } else { "look at your PATH" };
            Error::new(Reason::Tool { tool: self.tool, source }, hint)
        })?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
        Ok(Ran { status: output.status, words: format!("{stderr}{stdout}"), stdout })
    }

    /// The error of a command that failed.
    pub fn refused(&self, ran: Ran, hint: impl Into<String>) -> Error {
        Error::new(Reason::Refused { command: self.to_string(), status: ran.status, words: ran.words }, hint)
    }
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.tool)?;
        for argument in &self.arguments {
            let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./:=,@%+".contains(&byte);
            if !argument.is_empty() && argument.bytes().all(is_plain) {
                write!(f, " {argument}")?;
            } else {
                write!(f, " '{}'", argument.replace('\'', r"'\''"))?;
            }
        }
        Ok(())
    }
}
