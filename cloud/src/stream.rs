//! An answer on its way.

use std::collections::VecDeque;

use protocol::Usage;

use crate::http::Body;
use crate::{Error, gemini, openai};

/// Longest answer, in bytes of what it says.
const LONGEST: usize = 64 << 20;

/// A part of an answer, in the order in which the model made it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// Whole characters, never empty.
    Text(String),
    /// The same, of what it reasons.
    Reasoning(String),
    /// It calls a tool; its arguments follow.
    ToolCall {
        /// 0 for the first call, then 1, …
        index: u32,
        /// Names the call.
        id: String,
        /// Which tool.
        name: String,
    },
    /// A piece of the arguments of a call; together they are one JSON object.
    ToolArguments {
        /// Which call.
        index: u32,
        /// To be appended.
        text: String,
    },
    /// Nothing follows.
    Finished {
        /// Why.
        reason: Reason,
        /// Tokens as the server counts them; where it does not tell, 0 of the prompt and the pieces of the answer.
        usage: Usage,
    },
}

/// Why an answer ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    /// The model was done.
    Stop,
    /// The model was done and has called tools.
    ToolCalls,
    /// No more tokens were wanted, or possible.
    Length,
    /// The server withheld the rest.
    Blocked(String),
}

/// Reads the events of one API.
#[derive(Debug)]
pub(crate) enum Reader {
    Gemini(gemini::Reader),
    Openai(openai::Reader),
}

/// An answer. Dropping it closes the connection.
#[derive(Debug)]
pub struct Stream {
    body: Body,
    reader: Reader,
    due: VecDeque<Piece>,
    /// Bytes that it may still say.
    left: usize,
    has_ended: bool,
}

impl Stream {
    pub(crate) fn new(body: Body, reader: Reader) -> Self {
        Self { body, reader, due: VecDeque::new(), left: LONGEST, has_ended: false }
    }

    /// The next piece; `None` after the last or after an error. Dropping the future loses nothing.
    pub async fn next(&mut self) -> Option<Result<Piece, Error>> {
        loop {
            if let Some(piece) = self.due.pop_front() {
                return Some(Ok(piece));
            }
            if self.has_ended {
                return None;
            }
            if let Err(error) = self.read().await {
                self.has_ended = true;
                return Some(Err(self.body.told(error)));
            }
        }
    }

    async fn read(&mut self) -> Result<(), Error> {
        let event = self.body.event().await?;
        let length = event.as_ref().map_or(0, Vec::len);
        self.left = self.left.checked_sub(length).ok_or_else(|| Error::Malformed("an answer without end".into()))?;
        self.has_ended = match &mut self.reader {
            Reader::Gemini(reader) => reader.take(event.as_deref(), &mut self.due)?,
            Reader::Openai(reader) => reader.take(event.as_deref(), &mut self.due)?,
        };
        Ok(())
    }
}
