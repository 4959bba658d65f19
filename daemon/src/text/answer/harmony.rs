//! Answers of gpt-oss: messages on channels, of which one reasons, one speaks, and some are calls.
//!
//! `<|start|>assistant<|channel|>analysis<|message|>…<|end|>`; the prompt ends behind the first `assistant`, and the last
//! mark ends the answer and is not seen. A header with `to=functions.name` makes a message a call.

use super::{Call, Part, begun, calls, text};
use protocol::tools::is_name;

/// Ends a header.
const MESSAGE: &str = "<|message|>";

/// Each begins a header, and so ends a message too that has no end of its own.
const HEADERS: [&str; 2] = ["<|start|>", "<|channel|>"];

/// Each ends a message.
const ENDS: [&str; 5] = ["<|end|>", "<|call|>", "<|return|>", HEADERS[0], HEADERS[1]];

/// Begins the header of a call whose role was in the prompt.
const RECIPIENT: &str = "to=";

/// Longest header; longer ones are text.
const HEADER_BYTES: usize = 512;

/// One answer so far.
#[derive(Debug, Clone)]
pub struct Harmony {
    /// Whether there are tools that can be called.
    has_tools: bool,
    stage: Stage,
    /// What is not given yet.
    held: String,
    /// How much of `held` was searched for the end of a call without finding it.
    searched: usize,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Stage {
    Between,
    Header,
    Reasoning,
    Saying,
    /// A call, whose header is kept for the case that it is none.
    Calling {
        name: String,
        header: String,
    },
}

impl Harmony {
    pub(super) fn new(has_tools: bool) -> Self {
        Self { has_tools, stage: Stage::Between, held: String::new(), searched: 0 }
    }

    pub(super) fn push(&mut self, piece: &str) -> Vec<Part> {
        self.held.push_str(piece);
        let mut parts = Vec::new();
        while self.step(&mut parts) {}
        parts
    }

    pub(super) fn finish(&mut self) -> Vec<Part> {
        let held = std::mem::take(&mut self.held);
        match &self.stage {
            Stage::Between if held.trim().is_empty() => Vec::new(),
            // A header alone says nothing.
            Stage::Header if held.contains("<|") => Vec::new(),
            _ => self.message(&self.stage, &held, ""),
        }
    }

    /// Whether there is more to do before the next piece.
    fn step(&mut self, parts: &mut Vec<Part>) -> bool {
        match &self.stage {
            Stage::Between => self.between(),
            Stage::Header => self.header(parts),
            Stage::Reasoning | Stage::Saying | Stage::Calling { .. } => self.body(parts),
        }
    }

    fn between(&mut self) -> bool {
        let said = self.held.trim_start();
        let begins = |mark: &str| said.starts_with(mark);
        let may_begin = |mark: &str| mark.starts_with(said);
        let mut marks = HEADERS.into_iter().chain([RECIPIENT]);
        if marks.clone().any(begins) {
            self.stage = Stage::Header;
        } else if marks.any(may_begin) {
            return false;
        } else if let Some(end) = ENDS.into_iter().find(|end| begins(end)) {
            self.held = said[end.len()..].to_owned();
        } else if ENDS.into_iter().any(may_begin) {
            return false;
        } else {
            self.stage = Stage::Saying;
        }
        true
    }

    fn header(&mut self, parts: &mut Vec<Part>) -> bool {
        let Some(end) = self.held.find(MESSAGE).filter(|end| *end <= HEADER_BYTES) else {
            if self.held.len() <= HEADER_BYTES + MESSAGE.len() {
                return false;
            }
            let mark = HEADERS.into_iter().find(|mark| self.held.trim_start().starts_with(mark)).unwrap_or(RECIPIENT);
            let end = self.held.find(mark).map_or(0, |start| start + mark.len());
            parts.extend(text(&self.held.drain(..end).collect::<String>()));
            self.stage = Stage::Saying;
            return true;
        };
        let body = self.held.split_off(end + MESSAGE.len());
        let header = std::mem::replace(&mut self.held, body);
        self.stage = match (recipient(&header), channel(&header)) {
            (Some(name), _) => Stage::Calling { name: name.to_owned(), header },
            (None, "analysis") => Stage::Reasoning,
            (None, _) => Stage::Saying,
        };
        true
    }

    fn body(&mut self, parts: &mut Vec<Part>) -> bool {
        let searched = std::mem::take(&mut self.searched);
        let found = ENDS.into_iter().filter_map(|mark| Some((searched + self.held[searched..].find(mark)?, mark)));
        let Some((end, mark)) = found.min() else {
            let certain = self.held.len() - begun(&self.held, &ENDS);
            if matches!(self.stage, Stage::Calling { .. }) {
                self.searched = certain;
            } else {
                let rest = self.held.split_off(certain);
                let certain = std::mem::replace(&mut self.held, rest);
                parts.extend(self.message(&self.stage, &certain, ""));
            }
            return false;
        };
        let mark = if HEADERS.contains(&mark) { "" } else { mark };
        let rest = self.held.split_off(end + mark.len());
        let held = std::mem::replace(&mut self.held, rest);
        let stage = std::mem::replace(&mut self.stage, Stage::Between);
        parts.extend(self.message(&stage, &held[..end], mark));
        true
    }

    /// What a message, or a piece of one, amounts to. `mark` ended it.
    fn message(&self, stage: &Stage, body: &str, mark: &str) -> Vec<Part> {
        let part = match stage {
            Stage::Reasoning => (!body.is_empty()).then(|| Part::Reasoning(body.to_owned())),
            Stage::Between | Stage::Header | Stage::Saying => text(body),
            Stage::Calling { name, header } => {
                let given = serde_json::from_str(body).ok().filter(|_| self.has_tools && is_name(name));
                match given.and_then(calls::arguments) {
                    Some(arguments) => Some(Part::Call(Call { name: name.clone(), arguments })),
                    None => text(&format!("{header}{body}{mark}")),
                }
            }
        };
        part.into_iter().collect()
    }
}

/// `name` of `to=functions.name`.
fn recipient(header: &str) -> Option<&str> {
    let (_, to) = header.split_once(RECIPIENT)?;
    let name = to.split(|next: char| next.is_whitespace() || next == '<').next()?;
    Some(name.strip_prefix("functions.").unwrap_or(name))
}

fn channel(header: &str) -> &str {
    let name = header.split_once("<|channel|>").map_or("", |(_, name)| name);
    name.split(|next: char| !next.is_alphanumeric()).next().unwrap_or_default()
}
