//! Tokens of one answer to the events they amount to: detokenized, taken apart, and cut at stop sequences.
//!
//! Called by `Answer`, token by token.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use engine::{Logprobs, TokenId};
use protocol::{GenerateEvent, TokenLogprob, TokenLogprobs};

use crate::text::{Call, Detokenizer, Parser, Part, Reading, StopMatcher, TextModel};

/// Characters of a call's id: the templates of Mistral refuse ids of another length, and anything but these.
const ID_CHARACTERS: usize = 9;
const ID_ALPHABET: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

/// Reads one answer.
#[derive(Debug)]
pub struct Reader {
    model: Arc<TextModel>,
    detokenizer: Detokenizer,
    parser: Parser,
    stop: StopMatcher,
    read: Read,
}

/// What was read so far.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Read {
    /// Tokens that went into the answer.
    pub tokens: u32,
    /// Calls of tools.
    pub calls: u32,
    /// Whether a stop sequence was found; what the engine still says is then not shown.
    pub is_stopped: bool,
}

impl Reader {
    /// At the start of an answer. Stop sequences are looked for in its text alone.
    pub fn new(model: Arc<TextModel>, reading: Reading, stop_sequences: Vec<String>) -> Self {
        let detokenizer = Detokenizer::new(Arc::clone(&model), &reading.marks());
        let (parser, stop) = (Parser::new(reading), StopMatcher::new(stop_sequences));
        Self { model, detokenizer, parser, stop, read: Read::default() }
    }

    /// Whether a stop sequence was found.
    pub(super) fn is_stopped(&self) -> bool {
        self.read.is_stopped
    }

    /// What is certain with this token; nothing behind a stop sequence.
    pub(super) fn push(&mut self, id: TokenId, logprobs: Option<&Logprobs>) -> Vec<GenerateEvent> {
        if self.read.is_stopped {
            return Vec::new();
        }
        self.read.tokens += 1;
        let told = logprobs.map(|logprobs| GenerateEvent::Logprobs(self.named(id, logprobs)));
        let piece = self.detokenizer.push(id);
        let parts = self.parser.push(&piece);
        told.into_iter().chain(self.events(parts)).collect()
    }

    /// Log-probabilities with the texts of their tokens.
    fn named(&self, id: TokenId, logprobs: &Logprobs) -> TokenLogprobs {
        let named = |token: TokenId, logprob: f32| TokenLogprob { token, text: self.model.decode(&[token]), logprob };
        let top = logprobs.top.iter().map(|(token, logprob)| named(*token, *logprob)).collect();
        TokenLogprobs { chosen: named(id, logprobs.chosen), top }
    }

    /// What was held back at the end, and what was read in all.
    pub(super) fn finish(mut self) -> (Vec<GenerateEvent>, Read) {
        if self.read.is_stopped {
            return (Vec::new(), self.read);
        }
        let mut parts = self.parser.push(&self.detokenizer.finish());
        parts.extend(self.parser.finish());
        let mut events = self.events(parts);
        if !self.read.is_stopped {
            events.extend(text(self.stop.finish()));
        }
        (events, self.read)
    }

    fn events(&mut self, parts: Vec<Part>) -> Vec<GenerateEvent> {
        let mut events = Vec::new();
        for part in parts {
            match part {
                Part::Text(piece) => {
                    let piece = self.stop.push(&piece);
                    events.extend(text(piece.text));
                    if piece.hit.is_some() {
                        self.read.is_stopped = true;
                        break;
                    }
                }
                Part::Reasoning(text) => events.push(GenerateEvent::Reasoning { text }),
                Part::Call(call) => {
                    events.extend(called(self.read.calls, call));
                    self.read.calls += 1;
                }
            }
        }
        events
    }
}

fn text(text: String) -> Option<GenerateEvent> {
    (!text.is_empty()).then_some(GenerateEvent::Text { text })
}

fn called(index: u32, Call { name, arguments }: Call) -> [GenerateEvent; 2] {
    let text = serde_json::Value::Object(arguments).to_string();
    [GenerateEvent::ToolCall { index, id: id(), name }, GenerateEvent::ToolArguments { index, text }]
}

/// An id that no other call of a conversation has.
fn id() -> String {
    let mut number = RandomState::new().hash_one(());
    let characters = std::iter::repeat_with(|| {
        let character = ID_ALPHABET[(number % 62) as usize];
        number /= 62;
        char::from(character)
    });
    characters.take(ID_CHARACTERS).collect()
}

#[cfg(test)]
#[path = "reader_tests.rs"]
mod tests;
