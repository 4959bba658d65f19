//! The arguments of the calls of one answer: whether they are the JSON objects that they should be.

use serde_json::{Map, Value};

use crate::{Error, Piece, Reason};

/// Most calls of an answer.
const MOST: usize = protocol::tools::MAX_TOOLS;

/// What came so far, by the number of the call.
#[derive(Debug, Default)]
pub(crate) struct Arguments(Vec<String>);

impl Arguments {
    /// How many calls there are.
    pub(crate) fn calls(&self) -> usize {
        self.0.len()
    }

    /// A new call; its number.
    pub(crate) fn begin(&mut self) -> Result<u32, Error> {
        if self.0.len() >= MOST {
            return Err(Error::Malformed(format!("more than {MOST} calls of tools")));
        }
        self.0.push(String::new());
        Ok(self.0.len() as u32 - 1)
    }

    /// The next piece of the arguments of a call.
    pub(crate) fn add(&mut self, index: u32, text: &str) {
        if let Some(arguments) = self.0.get_mut(index as usize) {
            arguments.push_str(text);
        }
    }

    /// What is missing at the end: a server may send nothing for no arguments. Anything but an object is an error.
    pub(crate) fn finish(&self, reason: &Reason) -> Result<Vec<Piece>, Error> {
        let mut missing = Vec::new();
        for (index, arguments) in self.0.iter().enumerate() {
            if arguments.trim().is_empty() {
                missing.push(Piece::ToolArguments { index: index as u32, text: "{}".into() });
            } else if *reason == Reason::Length && serde_json::from_str::<Map<String, Value>>(arguments).is_err() {
                let words = "options.max_tokens ended its answer within a call of a tool; raise it";
                return Err(Error::Invalid(words.into()));
            } else if let Err(error) = serde_json::from_str::<Map<String, Value>>(arguments) {
                return Err(Error::Malformed(format!("the arguments of a call are no JSON object ({error})")));
            }
        }
        Ok(missing)
    }
}
