//! Tokens of one answer to the events they amount to: detokenized, taken apart, and cut at stop sequences.
//!
//! Called by `Answer`, token by token.

use std::collections::VecDeque;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use engine::{Logprobs, TokenId};
use protocol::{FinishReason, GenerateEvent, TokenLogprob, TokenLogprobs};

use crate::text::{Call, Detokenizer, Parser, Part, Reading, StopMatcher, TextModel};

/// Characters of a call's id: the templates of Mistral refuse ids of another length, and anything but these.
const ID_CHARACTERS: usize = 9;
const ID_ALPHABET: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

/// Reads one sample of an answer.
#[derive(Debug, Clone)]
pub struct Reader {
    model: Arc<TextModel>,
    /// Its number.
    sample: u32,
    detokenizer: Detokenizer,
    parser: Parser,
    stop: StopMatcher,
    /// Tokens that went into the answer.
    tokens: u32,
    /// Calls of tools.
    calls: u32,
    /// Whether a stop sequence was found; what the engine still says is then not shown.
    is_stopped: bool,
    finish_reason: Option<FinishReason>,
}

impl Reader {
    /// At the start of the first sample. Stop sequences are looked for in its text alone.
    pub fn new(model: Arc<TextModel>, reading: Reading, stop_sequences: Vec<String>) -> Self {
        let detokenizer = Detokenizer::new(Arc::clone(&model), &reading.marks());
        let (parser, stop) = (Parser::new(reading), StopMatcher::new(stop_sequences));
        let (is_stopped, finish_reason) = (false, None);
        Self { model, sample: 0, detokenizer, parser, stop, tokens: 0, calls: 0, is_stopped, finish_reason }
    }

    /// The same for another sample.
    pub(super) fn of(&self, sample: u32) -> Self {
        Self { sample, ..self.clone() }
    }

    /// Whether a stop sequence was found.
    pub(super) fn is_stopped(&self) -> bool {
        self.is_stopped
    }

    /// Tokens that went into the answer.
    pub(super) fn tokens(&self) -> u32 {
        self.tokens
    }

    /// Why it ended; `None` before.
    pub(super) fn finish_reason(&self) -> Option<FinishReason> {
        self.finish_reason
    }

    /// Adds what is certain with this token; nothing behind a stop sequence.
    pub(super) fn push(&mut self, id: TokenId, logprobs: Option<&Logprobs>, due: &mut VecDeque<GenerateEvent>) {
        if self.is_stopped {
            return;
        }
        self.tokens += 1;
        if let Some(logprobs) = logprobs {
            due.push_back(GenerateEvent::Logprobs { sample: self.sample, logprobs: self.named(id, logprobs) });
        }
        let piece = self.detokenizer.push(id);
        let parts = self.parser.push(piece);
        self.tell(parts, due);
    }

    /// Log-probabilities with the texts of their tokens.
    fn named(&self, id: TokenId, logprobs: &Logprobs) -> TokenLogprobs {
        let named = |token: TokenId, logprob: f32| TokenLogprob { token, text: self.model.decode(&[token]), logprob };
        let top = logprobs.top.iter().map(|(token, logprob)| named(*token, *logprob)).collect();
        TokenLogprobs { chosen: named(id, logprobs.chosen), top }
    }

    /// Takes the end of the answer, and adds what was held back. `cut` is told where the engine was asked for the end.
    pub(super) fn finish(
        &mut self,
        reason: engine::FinishReason,
        cut: FinishReason,
        due: &mut VecDeque<GenerateEvent>,
    ) {
        if !self.is_stopped {
            self.rest(due);
        }
        self.finish_reason = Some(match reason {
            _ if self.is_stopped => FinishReason::Stop,
            engine::FinishReason::Stop if self.calls > 0 => FinishReason::ToolCalls,
            engine::FinishReason::Stop => FinishReason::Stop,
            engine::FinishReason::Length => FinishReason::Length,
            engine::FinishReason::Cancelled => cut,
        });
    }

    fn rest(&mut self, due: &mut VecDeque<GenerateEvent>) {
        let mut parts = self.parser.push(self.detokenizer.finish());
        parts.extend(self.parser.finish());
        self.tell(parts, due);
        if !self.is_stopped {
            let text = self.stop.finish();
            due.extend(self.text(text));
        }
    }

    fn tell(&mut self, parts: Vec<Part>, due: &mut VecDeque<GenerateEvent>) {
        for part in parts {
            match part {
                Part::Text(piece) => {
                    let piece = self.stop.push(piece);
                    due.extend(self.text(piece.text));
                    if piece.hit.is_some() {
                        self.is_stopped = true;
                        break;
                    }
                }
                Part::Reasoning(text) => due.push_back(GenerateEvent::Reasoning { sample: self.sample, text }),
                Part::Call(call) => {
                    due.extend(self.called(call));
                    self.calls += 1;
                }
            }
        }
    }

    fn text(&self, text: String) -> Option<GenerateEvent> {
        (!text.is_empty()).then_some(GenerateEvent::Text { sample: self.sample, text })
    }

    fn called(&self, Call { name, arguments }: Call) -> [GenerateEvent; 2] {
        let (sample, index) = (self.sample, self.calls);
        let text = serde_json::Value::Object(arguments).to_string();
        [
            GenerateEvent::ToolCall { sample, index, id: id(), name },
            GenerateEvent::ToolArguments { sample, index, text },
        ]
    }
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
