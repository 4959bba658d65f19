//! Answers with marks around reasoning and calls.
//!
//! Reasoning stands at the beginning or nowhere. Calls are held back until they are whole. White space between the
//! parts belongs to none of them.

use super::super::dialect::{Family, Marks, Thinking};
use super::{Part, Reading, begun, calls, text};

/// One answer so far.
#[derive(Debug, Clone)]
pub struct Tagged {
    reading: Reading,
    stage: Stage,
    /// What is not given yet.
    held: String,
    /// How much of `held` was searched for the end of a call without finding it.
    searched: usize,
    /// Whether there was a call.
    has_called: bool,
    /// Whether there was reasoning, be it empty.
    has_thought: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Nothing was said: only here does reasoning begin, or an answer that is a call as a whole.
    Start,
    /// Nothing was reasoned after the mark.
    ThinkingStart,
    Thinking,
    Saying,
    /// `held` is a call so far, from its mark on, and white space before.
    Calling(Marks),
}

/// Whether there is more to do before the next piece.
enum Step {
    Again,
    Wait,
}

/// The marks of an answer that is a call as a whole.
const WHOLE: Marks = Marks { open: "", close: None };

impl Tagged {
    pub(super) fn new(reading: Reading) -> Self {
        let stage = if reading.is_thinking { Stage::ThinkingStart } else { Stage::Start };
        Self { reading, stage, held: String::new(), searched: 0, has_called: false, has_thought: false }
    }

    pub(super) fn push(&mut self, piece: &str) -> Vec<Part> {
        self.held.push_str(piece);
        let mut parts = Vec::new();
        while matches!(self.step(&mut parts), Step::Again) {}
        parts
    }

    pub(super) fn finish(&mut self) -> Vec<Part> {
        let held = std::mem::take(&mut self.held);
        match self.stage {
            Stage::ThinkingStart | Stage::Thinking => {
                let held = if self.stage == Stage::Thinking { held.trim_end() } else { held.trim() };
                Vec::from_iter((!held.is_empty()).then(|| Part::Reasoning(held.to_owned())))
            }
            Stage::Calling(marks) => self.call(&held, marks.open, held.len()),
            _ if (self.has_called || self.has_thought) && held.trim().is_empty() => Vec::new(),
            Stage::Start | Stage::Saying => text(&held).into_iter().collect(),
        }
    }

    fn step(&mut self, parts: &mut Vec<Part>) -> Step {
        match self.stage {
            Stage::Start => self.start(),
            Stage::ThinkingStart => self.thinking_start(),
            Stage::Thinking => self.think(parts),
            Stage::Saying => self.say(parts),
            Stage::Calling(Marks { close: Some(close), open }) => self.listen(open, close, parts),
            Stage::Calling(Marks { close: None, .. }) => Step::Wait,
        }
    }

    fn start(&mut self) -> Step {
        let said = self.held.trim_start();
        if said.is_empty() {
            return Step::Wait;
        }
        if let Some(Thinking { open, .. }) = self.reading.thinking.filter(|_| !self.has_thought) {
            if let Some(rest) = said.strip_prefix(open) {
                self.held = rest.to_owned();
                self.stage = Stage::ThinkingStart;
                return Step::Again;
            }
            if open.starts_with(said) {
                return Step::Wait;
            }
        }
        let is_whole_call = self.reading.family == Some(Family::Llama) && said.starts_with('{');
        self.stage = if is_whole_call { Stage::Calling(WHOLE) } else { Stage::Saying };
        if self.has_thought {
            self.held = said.to_owned();
        }
        Step::Again
    }

    /// Some models write the mark although the prompt has it already.
    fn thinking_start(&mut self) -> Step {
        let open = self.reading.thinking.map_or("", |thinking| thinking.open);
        let mut reasoned = self.held.trim_start();
        while let Some(rest) = reasoned.strip_prefix(open).filter(|_| !open.is_empty()) {
            reasoned = rest.trim_start();
        }
        self.has_thought = true;
        self.held = reasoned.to_owned();
        if open.starts_with(&self.held) {
            return Step::Wait;
        }
        self.stage = Stage::Thinking;
        Step::Again
    }

    fn think(&mut self, parts: &mut Vec<Part>) -> Step {
        let Some(Thinking { close, .. }) = self.reading.thinking else { return Step::Wait };
        let end = self.held.find(close);
        let reasoned = end.unwrap_or_else(|| self.held.len() - begun(&self.held, &[close]));
        let reasoned = self.held[..reasoned].trim_end().len();
        if reasoned > 0 {
            parts.push(Part::Reasoning(self.held[..reasoned].to_owned()));
        }
        let Some(end) = end else {
            self.held.drain(..reasoned);
            return Step::Wait;
        };
        self.held.drain(..end + close.len());
        // What follows is begun anew, without its white space.
        self.stage = Stage::Start;
        Step::Again
    }

    fn say(&mut self, parts: &mut Vec<Part>) -> Step {
        let marks = self.reading.family.map_or(&[][..], Family::marks);
        let opens: Vec<&str> = marks.iter().map(|marks| marks.open).collect();
        let found = marks.iter().filter_map(|marks| Some((self.held.find(marks.open)?, *marks)));
        let found = found.min_by_key(|(start, _)| *start);
        let said = match found {
            Some((start, _)) => start,
            None => self.held.len() - begun(&self.held, &opens),
        };
        // White space may come before a call.
        let said = if marks.is_empty() { said } else { self.held[..said].trim_end().len() };
        parts.extend(text(&self.held[..said]));
        self.held.drain(..said);
        let Some((_, marks)) = found else { return Step::Wait };
        self.stage = Stage::Calling(marks);
        self.searched = 0;
        Step::Again
    }

    /// Looks for the end of a call.
    fn listen(&mut self, open: &'static str, close: &'static str, parts: &mut Vec<Part>) -> Step {
        let Some(end) = self.held[self.searched..].find(close).map(|end| self.searched + end) else {
            self.searched = self.held.len() - begun(&self.held, &[close]);
            return Step::Wait;
        };
        let rest = self.held.split_off(end + close.len());
        let held = std::mem::replace(&mut self.held, rest);
        parts.extend(self.call(&held, open, end));
        self.stage = Stage::Saying;
        Step::Again
    }

    /// The calls of what was held, up to `end`; all of it as text where there are none. Where the mark stands twice, the
    /// first may be text.
    fn call(&mut self, held: &str, open: &str, end: usize) -> Vec<Part> {
        let family = self.reading.family.unwrap_or(Family::Hermes);
        let held_marks = held[..end].find(open).into_iter().chain(held[..end].rfind(open));
        for start in held_marks {
            if let Some(calls) = calls::read(family, &held[start + open.len()..end], &self.reading.tools) {
                self.has_called = true;
                let before = text(held[..start].trim_end());
                return before.into_iter().chain(calls.into_iter().map(Part::Call)).collect();
            }
        }
        text(held).into_iter().collect()
    }
}
