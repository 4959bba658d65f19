//! Running other programs: quietly with their output kept for the error, or with the terminal handed to them.

use std::env;
use std::io;
use std::path::PathBuf;
use std::process::Command;

use crate::error::{Error, Result};

/// Runs a program and returns its standard output; what it wrote appears in the error only.
pub fn output(command: &mut Command) -> Result<String> {
    let output = command
        .output()
        .map_err(|source| start_error(command, source))?;
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() {
        return Ok(stdout);
    }
    let written = format!("{stdout}{}", String::from_utf8_lossy(&output.stderr));
    Err(Error::Command {
        command: shown(command),
        code: output.status.code(),
        output: written.trim_end().to_owned(),
    })
}

/// Finds a program on the search path.
pub fn find(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    env::split_paths(&path)
        .map(|folder| folder.join(program))
        .find(|file| file.is_file())
}

/// A command as a person would read it.
pub fn shown(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words
        .map(|word| word.to_string_lossy().into_owned())
        .collect::<Vec<_>>()
        .join(" ")
}

fn start_error(command: &Command, source: io::Error) -> Error {
    Error::Io {
        action: format!("start `{}`", shown(command)),
        source,
    }
}
