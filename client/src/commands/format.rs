//! What an answer must match: files and options become the wire's `response_format`.
//!
//! Called by [`super::request`], before anything is sent.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use protocol::{MAX_MESSAGE_BYTES, ResponseFormat};

use super::prompt::utf8;
use crate::cli::Format;
use crate::failure::Failure;

/// The format that was asked for, if any. Reads its file.
pub fn read(format: Format) -> Result<Option<ResponseFormat>, Failure> {
    let read = match format {
        Format { json_schema: Some(file), .. } => {
            let schema = serde_json::from_str(&text(&file)?).map_err(|error| {
                usage(format!("{} is no JSON schema: {error}", file.display()), "a schema is one JSON object")
            })?;
            ResponseFormat::JsonSchema { schema }
        }
        Format { lark: Some(file), .. } => ResponseFormat::Lark { grammar: text(&file)? },
        Format { regex: Some(pattern), .. } => ResponseFormat::Regex { pattern },
        Format { json_object: true, .. } => ResponseFormat::JsonObject {},
        Format { json_object: false, .. } => return Ok(None),
    };
    match read.problem() {
        Some(problem) => Err(usage(problem, "leave out what the answer does not need")),
        None => Ok(Some(read)),
    }
}

/// The text of a file that was named.
pub(super) fn text(file: &Path) -> Result<String, Failure> {
    let hint = "it must be a file of text, encoded as UTF-8";
    let mut bytes = Vec::new();
    let read = File::open(file).and_then(|file| file.take(MAX_MESSAGE_BYTES as u64 + 1).read_to_end(&mut bytes));
    read.map_err(|error| usage(format!("failed to read {}: {error}", file.display()), hint))?;
    if bytes.len() > MAX_MESSAGE_BYTES {
        return Err(usage(format!("{} has more than {MAX_MESSAGE_BYTES} bytes", file.display()), hint));
    }
    utf8(bytes, &format!("failed to read {}: it", file.display()), 0).map_err(|problem| usage(problem, hint))
}

/// A command line that asks for what cannot be.
pub(super) fn usage(message: String, hint: &'static str) -> Failure {
    Failure::Usage { message, hint }
}
