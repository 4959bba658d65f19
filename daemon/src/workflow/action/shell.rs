//! Steps that run a program: a list of arguments, or where that is allowed a script of `/bin/sh`.
//!
//! What may run is decided by [`Policy`], which allows nothing by default; `program` runs it. A program gets a small
//! environment of its own, and nothing of the daemon's but PATH, HOME, USER, LANG and TMPDIR.

pub(super) mod allowed;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::time::Duration;

use secrecy::SecretString;
use tokio_util::sync::CancellationToken;

pub use allowed::Policy;

use super::program::{self, Broken, Call, Ran, Said};
use super::secret::Hidden;
use super::{Failure, LONGEST_OUTPUT};

/// Variables of the daemon's that a program gets too.
const PASSED_ON: [&str; 5] = ["PATH", "HOME", "USER", "LANG", "TMPDIR"];

/// Where programs are looked for when the daemon has no PATH.
const USUAL_PATH: &str = "/usr/bin:/bin";

/// Of variables that have another program's code run in any program; with them every program would be allowed.
const LOADERS: [&str; 2] = ["LD_", "DYLD_"];

/// How much of the end of standard error is told, in bytes.
const TOLD_ERRORS: usize = 4096;

/// What a step runs.
#[derive(Debug, Clone)]
pub struct Command {
    /// The program.
    pub what: What,
    /// Given as standard input, which is then closed.
    pub stdin: String,
    /// Where it runs: absolute, or beginning with `~/`; the user's home where none is named.
    pub directory: Option<String>,
    /// More variables, which replace those that every program gets.
    pub environment: BTreeMap<String, String>,
    /// Variables that are secrets.
    pub secrets: BTreeMap<String, SecretString>,
    /// When it is asked to end.
    pub timeout: Duration,
}

/// What is run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// A program with its arguments; nothing is done to either.
    Program {
        /// An absolute path, or a name that PATH finds.
        name: String,
        /// As they are given to it.
        arguments: Vec<String>,
    },
    /// A text that `/bin/sh` runs.
    Script(String),
}

/// What a program gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// What it printed, without the line ends at its end.
    pub text: String,
    /// The end of what it wrote to standard error.
    pub said: String,
}

/// Runs programs.
#[derive(Debug, Clone)]
pub struct Shell {
    policy: Policy,
    /// What reads variables; the process's own environment but in tests.
    environment: fn(&str) -> Option<OsString>,
}

impl Shell {
    /// What the settings allow.
    pub fn new(policy: Policy) -> Self {
        Self { policy, environment: |name| std::env::var_os(name) }
    }

    /// The program that would run. Fails as [`run`](Self::run) does where it may not, and runs nothing.
    pub fn check(&self, what: &What) -> Result<PathBuf, Failure> {
        match what {
            What::Program { name, .. } => self.policy.program(name, &self.path()),
            What::Script(_) => self.policy.script(),
        }
    }

    /// Runs a program to its end. Dropping the future kills it and its children; `cancel` asks them to end first.
    pub async fn run(&self, command: Command, cancel: &CancellationToken) -> Result<Output, Failure> {
        let path = self.check(&command.what)?;
        let (shown, arguments) = match command.what {
            What::Program { name, arguments } => (name, arguments),
            What::Script(script) => ("the script".to_owned(), vec!["-c".to_owned(), script]),
        };
        let hidden = Hidden::new(command.secrets.values());
        check_variables(&command.environment, &command.secrets)?;
        let directory = self.directory(command.directory.as_deref())?;
        let mut environment = self.surroundings();
        environment.extend(command.environment.into_iter().map(|(name, value)| (name, value.into())));
        let (stdin, secrets, limit) = (command.stdin.into_bytes(), command.secrets, command.timeout);
        let call = Call { path, arguments, environment, secrets, directory, stdin, timeout: limit };
        match program::run(call, cancel).await {
            Ok(ran) => output(ran, &shown, &hidden),
            Err(broken) => Err(failure(broken, &shown, limit, &hidden)),
        }
    }

    fn path(&self) -> OsString {
        (self.environment)("PATH").unwrap_or_else(|| USUAL_PATH.into())
    }

    /// What every program gets.
    fn surroundings(&self) -> BTreeMap<String, OsString> {
        let passed = PASSED_ON.iter().filter_map(|name| Some(((*name).to_owned(), (self.environment)(name)?)));
        let mut all: BTreeMap<String, OsString> = passed.collect();
        all.insert("PATH".into(), self.path());
        all
    }

    fn directory(&self, named: Option<&str>) -> Result<PathBuf, Failure> {
        let home = (self.environment)("HOME").map(PathBuf::from).filter(|home| home.is_absolute());
        let Some(named) = named else { return Ok(home.unwrap_or_else(|| "/".into())) };
        let path = match (named.strip_prefix('~'), home) {
            (Some(rest), Some(home)) if rest.is_empty() || rest.starts_with('/') => {
                home.join(rest.trim_start_matches('/'))
            }
            _ => PathBuf::from(named),
        };
        if !path.is_absolute() {
            return Err(Failure::last(format!("`directory` {named:?} neither begins with / nor with ~/")));
        }
        if path.is_dir() { Ok(path) } else { Err(Failure::last(format!("the folder {} is not there", path.display()))) }
    }
}

fn check_variables(
    environment: &BTreeMap<String, String>,
    secrets: &BTreeMap<String, SecretString>,
) -> Result<(), Failure> {
    for name in environment.keys().chain(secrets.keys()) {
        let is_sound = !name.is_empty() && !name.contains(['=', '\0']);
        if !is_sound {
            return Err(Failure::last(format!("{name:?} cannot name a variable")));
        }
        if LOADERS.iter().any(|loader| name.starts_with(loader)) {
            let words = format!("the variable {name} would have other programs run than those that are allowed");
            return Err(Failure::last(words));
        }
    }
    match environment.keys().find(|name| secrets.contains_key(*name)) {
        Some(name) => Err(Failure::last(format!("the variable {name} is both in `environment` and in `secrets`"))),
        None => Ok(()),
    }
}

fn output(ran: Ran, shown: &str, hidden: &Hidden) -> Result<Output, Failure> {
    let said = said(&ran.said, hidden);
    if !ran.status.success() {
        return Err(Failure::may_pass(format!("{shown} {}{}", ended(ran.status), quoted(&said))));
    }
    let text = String::from_utf8(ran.printed)
        .map_err(|_| Failure::last(format!("{shown} printed what is no text in UTF-8; only text can be an output")))?;
    let text = hidden.hide(text.trim_end_matches(['\n', '\r']));
    Ok(Output { text, said })
}

fn failure(broken: Broken, shown: &str, limit: Duration, hidden: &Hidden) -> Failure {
    match broken {
        Broken::NotStarted(error) => not_started(&error, shown),
        Broken::TimedOut(told) => {
            let told = quoted(&said(&told, hidden));
            Failure::may_pass(format!("{shown} had not ended after {limit:?}, so it was made to{told}"))
        }
        Broken::TooMuch(told) => {
            let told = quoted(&said(&told, hidden));
            let words =
                format!("{shown} printed more than {LONGEST_OUTPUT} bytes, the most that a step may give{told}");
            Failure::last(words)
        }
        Broken::Cancelled => Failure::Cancelled,
        Broken::Lost(error) => Failure::may_pass(format!("it is not known how {shown} ended: {error}")),
    }
}

fn not_started(error: &io::Error, shown: &str) -> Failure {
    let words = format!("failed to start {shown}: {error}");
    match error.kind() {
        io::ErrorKind::ArgumentListTooLong => {
            Failure::last(format!("the arguments or variables of {shown} are too long; give what is long as `stdin`"))
        }
        io::ErrorKind::InvalidInput => {
            Failure::last(format!("an argument or a variable of {shown} has a NUL, which none can have"))
        }
        io::ErrorKind::NotFound => {
            Failure::last(format!("{words}; it or the interpreter that its first line names is not there"))
        }
        io::ErrorKind::PermissionDenied => Failure::last(words),
        _ if error.raw_os_error() == Some(rustix::io::Errno::NOEXEC.raw_os_error()) => {
            Failure::last(format!("{words}; a script needs a first line such as #!/bin/sh"))
        }
        _ => Failure::may_pass(words),
    }
}

/// What it wrote to standard error, without secrets and what a terminal would obey.
fn said(said: &Said, hidden: &Hidden) -> String {
    let text = String::from_utf8_lossy(&said.bytes);
    let text = if said.is_cut { hidden.hide_after_cut(&text) } else { hidden.hide(&text) };
    let clean: String = text.chars().filter(|c| !c.is_control() || matches!(c, '\n' | '\t')).collect();
    let clean = clean.trim();
    let mut from = clean.len().saturating_sub(TOLD_ERRORS);
    while !clean.is_char_boundary(from) {
        from += 1;
    }
    clean[from..].to_owned()
}

fn quoted(said: &str) -> String {
    if said.is_empty() { String::new() } else { format!("; it said: {said}") }
}

fn ended(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("ended with exit code {code}"),
        (None, Some(signal)) => format!("was ended by signal {signal}"),
        (None, None) => format!("ended: {status}"),
    }
}

#[cfg(test)]
#[path = "shell_tests.rs"]
mod tests;
