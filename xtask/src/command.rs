//! Running other programs: quietly with their output kept for the error, or with the terminal handed to them.

use std::env;
use std::io;
use std::path::PathBuf;
use std::process::Command;

use crate::error::{Error, Result};

/// Runs a program and returns its standard output; what it wrote appears in the error only.
pub fn output(command: &mut Command) -> Result<String> {
    let output = command.output().map_err(start_error(command))?;
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() {
        return Ok(stdout);
    }
    let written = format!("{stdout}{}", String::from_utf8_lossy(&output.stderr));
    Err(Error::Command { command: shown(command), code: output.status.code(), output: written.trim_end().to_owned() })
}

/// Runs a program that writes to the terminal itself.
pub fn visible(command: &mut Command) -> Result<()> {
    let status = command.status().map_err(start_error(command))?;
    if status.success() { Ok(()) } else { Err(Error::Shown { code: status.code() }) }
}

/// Finds a program on the search path.
pub fn find(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    env::split_paths(&path).map(|folder| folder.join(program)).find(|file| file.is_file())
}

/// A command as a person would read it.
fn shown(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ")
}

/// Makes an [`Error::Io`] of a command that could not be started.
pub fn start_error(command: &Command) -> impl FnOnce(io::Error) -> Error + use<> {
    let action = format!("start `{}`", shown(command));
    move |source| Error::Io { action, source }
}
