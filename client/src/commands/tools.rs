//! What the model may call: a file becomes the wire's `tools`.
//!
//! Called by [`super::generate`], before anything is sent.

use std::path::Path;

use protocol::Tool;

use super::format::{text, usage};
use crate::failure::Failure;

/// The tools of a file, none without one.
pub fn read(file: Option<&Path>) -> Result<Vec<Tool>, Failure> {
    let Some(file) = file else { return Ok(Vec::new()) };
    let refuse = |problem: &dyn std::fmt::Display| {
        let hint = "a list such as [{\"name\": \"get_weather\", \"parameters\": {\"type\": \"object\"}}]";
        usage(format!("{} has no tools: {problem}", file.display()), hint)
    };
    let tools: Vec<Tool> = serde_json::from_str(&text(file)?).map_err(|error| refuse(&error))?;
    match tools.iter().find_map(Tool::problem) {
        Some(problem) => Err(refuse(&problem)),
        None => Ok(tools),
    }
}
