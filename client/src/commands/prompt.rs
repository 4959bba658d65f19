//! Where a prompt comes from: the argument, standard input, or both.
//!
//! Called by [`super::generate`] and [`super::run`], before anything is sent.

use std::io::{IsTerminal, Read};
use std::os::fd::AsFd;

use protocol::MAX_MESSAGE_BYTES;
use rustix::fs::FileType;

use crate::failure::Failure;
use crate::progress::Progress;

/// The prompt: the argument, standard input for `-` or without an argument, or the argument, a blank line and what
/// is piped in.
pub async fn read(argument: Option<String>, progress: &mut Progress) -> Result<String, Failure> {
    let stdin = std::io::stdin();
    let piped = match &argument {
        Some(argument) if argument == "-" => true,
        Some(_) => is_content(&stdin),
        None if stdin.is_terminal() => return Err(empty_prompt()),
        None => true,
    };
    let input = if piped { wait_for_stdin(progress).await? } else { String::new() };
    let parts = [argument.filter(|argument| argument != "-").unwrap_or_default(), input];
    joined(&parts)
}

/// The parts that are there, with a blank line between them.
pub fn joined(parts: &[String]) -> Result<String, Failure> {
    let parts = parts.iter().map(|part| part.trim_end_matches(['\r', '\n']));
    let parts: Vec<&str> = parts.filter(|part| !part.trim().is_empty()).collect();
    if parts.is_empty() { Err(empty_prompt()) } else { Ok(parts.join("\n\n")) }
}

/// What is piped in, if anything is.
pub async fn piped(progress: &mut Progress) -> Result<Option<String>, Failure> {
    if is_content(&std::io::stdin()) { wait_for_stdin(progress).await.map(Some) } else { Ok(None) }
}

/// All of standard input.
pub async fn wait_for_stdin(progress: &mut Progress) -> Result<String, Failure> {
    progress.show("reading standard input");
    // On a thread of its own, because Ctrl-C must end the wait.
    let text = tokio::task::spawn_blocking(read_stdin).await.expect("reading does not panic");
    progress.clear();
    text
}

fn empty_prompt() -> Failure {
    Failure::Usage {
        message: "the prompt is empty".into(),
        hint: "give it as an argument, or pipe it in: talkiectl generate \"Name three rivers\"",
    }
}

/// Whether standard input holds something meant for the prompt: a pipe or a file. Anything else (a terminal,
/// `/dev/null`, the socket of a service) may never end, and is not read beside an argument.
fn is_content(stdin: &impl AsFd) -> bool {
    rustix::fs::fstat(stdin)
        .is_ok_and(|stat| matches!(FileType::from_raw_mode(stat.st_mode), FileType::Fifo | FileType::RegularFile))
}

fn read_stdin() -> Result<String, Failure> {
    let usage = |message: String| Failure::Usage { message, hint: "pipe in plain text, encoded as UTF-8" };
    let mut bytes = Vec::new();
    let read = std::io::stdin().lock().take(MAX_MESSAGE_BYTES as u64 + 1).read_to_end(&mut bytes);
    read.map_err(|error| usage(format!("failed to read standard input: {error}")))?;
    if bytes.len() > MAX_MESSAGE_BYTES {
        return Err(usage(format!("standard input has more than {MAX_MESSAGE_BYTES} bytes")));
    }
    utf8(bytes, "standard input", 0).map_err(usage)
}

/// Bytes as text, of which so many came before; the problem says where they are none.
pub fn utf8(bytes: Vec<u8>, what: &str, before: usize) -> Result<String, String> {
    String::from_utf8(bytes).map_err(|error| {
        let at = before + error.utf8_error().valid_up_to();
        format!("{what} is not UTF-8 text: the byte at {at} is not")
    })
}
