//! What was said in a conversation, and the file it is saved in. It asks nobody.
//!
//! Called by [`super`].

use std::fs;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use protocol::{GenerateRequest, Message, ModelId, Role};
use serde::{Deserialize, Serialize};
use talkiectl::Error;

use crate::commands::format::{text, usage};
use crate::failure::Failure;
use crate::render;

/// Of the file; grows when an older program could not read it.
const VERSION: u32 = 1;

/// A conversation: in pairs of a question and its answer.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Conversation {
    /// Set by [`Conversation::save`].
    version: u32,
    /// Who answers; the daemon's choice where it is absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<ModelId>,
    /// Said to the model first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub system: Option<String>,
    messages: Vec<Turn>,
    /// A question that got no word of an answer, for `/regen`.
    #[serde(skip)]
    unanswered: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Turn {
    role: Role,
    content: String,
    /// Whether this is only the beginning of an answer.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    broken_off: bool,
}

/// The one field that files of all versions have.
#[derive(Deserialize)]
struct Version {
    version: u32,
}

impl Conversation {
    /// How many turns there are, of both sides.
    pub fn len(&self) -> usize {
        self.messages.len()
    }

    /// Adds a question; [`Self::answered`] or [`Self::broke_off`] follows.
    pub fn ask(&mut self, text: String) {
        self.messages.push(Turn { role: Role::User, content: text, broken_off: false });
    }

    /// Adds the answer to the last question.
    pub fn answered(&mut self, text: String) {
        self.unanswered = None;
        self.messages.push(Turn { role: Role::Assistant, content: text, broken_off: false });
    }

    /// Keeps what came of the answer; where nothing did, takes the question back.
    pub fn broke_off(&mut self, text: String) {
        if text.is_empty() {
            self.unanswered = self.messages.pop().map(|turn| turn.content);
        } else {
            self.unanswered = None;
            self.messages.push(Turn { role: Role::Assistant, content: text, broken_off: true });
        }
    }

    /// Takes the last question and its answer back.
    pub fn take_last_question(&mut self) -> Option<String> {
        if let Some(text) = self.unanswered.take() {
            return Some(text);
        }
        self.messages.pop_if(|turn| turn.role == Role::Assistant);
        self.messages.pop().map(|turn| turn.content)
    }

    /// Forgets what was said.
    pub fn clear(&mut self) {
        self.messages.clear();
        self.unanswered = None;
    }

    /// The request that asks with all of it.
    pub fn request(&self, request: &GenerateRequest) -> GenerateRequest {
        let messages = self.messages.iter().map(|turn| Message::new(turn.role, &*turn.content)).collect();
        let mut request = GenerateRequest { model: self.model.clone(), messages: Some(messages), ..request.clone() };
        request.options.system_prompt.clone_from(&self.system);
        request
    }

    /// Who answers.
    pub fn model_words(&self) -> String {
        match &self.model {
            Some(model) => format!("{} answers", render::printable(&model.0)),
            None => "talkied chooses the model: the one in memory, else the only one on disk".into(),
        }
    }

    /// What is said to the model first.
    pub fn system_words(&self) -> String {
        match &self.system {
            Some(text) => render::printable_lines(text),
            None => "there is no system prompt; /system TEXT sets one".into(),
        }
    }

    /// Reads a file that [`Self::save`] has written.
    pub fn load(file: &Path) -> Result<Self, Failure> {
        let hint = "/save FILE writes such files";
        let refuse = |problem: &dyn std::fmt::Display| {
            usage(format!("{} is no saved conversation: {problem}", file.display()), hint)
        };
        let text = text(file)?;
        let Version { version } = serde_json::from_str(&text).map_err(|error| refuse(&error))?;
        if version != VERSION {
            let message = format!("{} is of version {version}, this talkiectl reads {VERSION}", file.display());
            return Err(usage(message, "use the talkiectl that has written it, or a newer one"));
        }
        let conversation: Self = serde_json::from_str(&text).map_err(|error| refuse(&error))?;
        match conversation.problem() {
            Some(problem) => Err(refuse(&problem)),
            None => Ok(conversation),
        }
    }

    /// What keeps these turns from being a conversation.
    fn problem(&self) -> Option<String> {
        let expected = [Role::User, Role::Assistant].into_iter().cycle();
        let wrong = self.messages.iter().zip(expected).position(|(turn, role)| turn.role != role);
        match wrong {
            Some(index) => Some(format!("message {} is not of the side whose turn it is", index + 1)),
            None if self.messages.len() % 2 == 1 => Some("its last question has no answer".into()),
            None => None,
        }
    }

    /// Writes it to a file that only the user may read. Nothing but a saved conversation is written over.
    pub fn save(&self, file: &Path) -> Result<(), Failure> {
        if file.exists() && Self::load(file).is_err() {
            let message = format!("{} is there already, and is no saved conversation", file.display());
            return Err(usage(message, "give it another name"));
        }
        self.write(file).map_err(|error| {
            usage(format!("failed to write {}: {error}", file.display()), "choose a folder that you may write to")
        })
    }

    /// Beside it first, so that a full disk costs nothing that was saved before.
    fn write(&self, file: &Path) -> std::io::Result<()> {
        let saved = serde_json::json!({
            "version": VERSION, "model": self.model, "system": self.system, "messages": self.messages,
        });
        let mut name = file.file_name().unwrap_or_default().to_owned();
        name.push(format!(".{}.part", std::process::id()));
        let part = file.with_file_name(name);
        let mut written = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&part)?;
        let done = serde_json::to_writer_pretty(&mut written, &saved)
            .map_err(std::io::Error::from)
            .and_then(|()| written.write_all(b"\n"))
            .and_then(|()| fs::rename(&part, file));
        if done.is_err() {
            // What failed is told; a rest that cannot be removed is no more than a rest.
            let _ = fs::remove_file(&part);
        }
        done
    }
}

/// The way out of a full context.
pub fn way_out(error: &Error) -> String {
    let Error::Rpc { data: Some(data), .. } = error else { return of_overflow(None) };
    of_overflow(data.needed_tokens.zip(data.context_length).map(|(needed, length)| needed.saturating_sub(length)))
}

fn of_overflow(tokens: Option<u64>) -> String {
    let by = tokens.map_or(String::new(), |tokens| format!(" by {tokens} tokens"));
    format!(
        "your turn is taken back; /clear begins anew, a shorter turn and /regen or a lower --max-tokens{by} makes room, \
         /model chooses one with a longer context, /save keeps what was said"
    )
}

#[cfg(test)]
#[path = "conversation_tests.rs"]
mod tests;
