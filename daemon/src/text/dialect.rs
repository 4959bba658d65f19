//! How a family of models marks what it reasons and what it calls.
//!
//! Found out once for each model, from what its chat template writes and what tokens it has. Called by `TextModel`;
//! `answer` reads by it.

/// The marks around what a model reasons.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Thinking {
    pub(super) open: &'static str,
    pub(super) close: &'static str,
}

/// What models are known to write around their reasoning.
const THINKING: [Thinking; 2] =
    [Thinking { open: "<think>", close: "</think>" }, Thinking { open: "[THINK]", close: "[/THINK]" }];

/// How calls of tools are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// `<tool_call>{"name": …, "arguments": {…}}</tool_call>`: Hermes, Qwen 2.5 and 3, `SmolLM3`.
    Hermes,
    /// `<tool_call><function=name><parameter=key>value</parameter></function></tool_call>`: Qwen 3 Coder.
    Xml,
    /// The whole answer is `{"name": …, "parameters": {…}}`, perhaps behind `<|python_tag|>`: Llama 3.
    Llama,
    /// `[TOOL_CALLS][{"name": …, "arguments": {…}}]`, since 2025 `[TOOL_CALLS]name[ARGS]{…}`: Mistral.
    Mistral,
    /// `<|tool_call|>[{"name": …, "arguments": {…}}]<|/tool_call|>` or `functools[…]`: Phi.
    Phi,
    /// `<start_function_call>call:name{key:<escape>text<escape>}<end_function_call>`: Gemma for functions.
    Gemma,
    /// `<|tool_call_start|>[name(key="text")]<|tool_call_end|>`: LFM2.
    Lfm,
    /// `<|channel|>commentary to=functions.name<|message|>{…}<|call|>`, and reasoning on a channel of its own: gpt-oss.
    Harmony,
}

/// Where a call begins and where it ends; without an end, with the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Marks {
    pub(super) open: &'static str,
    pub(super) close: Option<&'static str>,
}

/// Both, as far as a model has them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Dialect {
    pub(super) thinking: Option<Thinking>,
    pub(super) family: Option<Family>,
}

impl Dialect {
    /// The dialect of a template, given whether a text is one token of the model.
    pub(super) fn of(template: &str, is_token: impl Fn(&str) -> bool) -> Self {
        let writes = |marks: &[&str]| marks.iter().all(|mark| template.contains(mark));
        let thinking = THINKING
            .into_iter()
            .find(|Thinking { open, close }| writes(&[close]) || writes(&[open]) || is_token(open) && is_token(close));
        Self { thinking, family: by_template(writes).or_else(|| by_tokens(is_token)) }
    }

    /// Tokens that end an answer whatever the folder says: behind a call the model would go on with its result.
    pub(super) fn ends(self) -> &'static [&'static str] {
        if self.family == Some(Family::Harmony) { &["<|return|>", "<|call|>"] } else { &[] }
    }

    /// What to add to a prompt so that the answer itself comes next.
    pub(super) fn answer(&self, prompt: &str) -> String {
        match self.thinking {
            _ if self.family == Some(Family::Harmony) => "<|channel|>final<|message|>".into(),
            Some(Thinking { close, .. }) if self.is_thinking(prompt) => format!("{close}\n\n"),
            _ => String::new(),
        }
    }

    /// Whether a prompt has begun the reasoning already.
    pub(super) fn is_thinking(&self, prompt: &str) -> bool {
        self.thinking.is_some_and(|Thinking { open, .. }| prompt.trim_end().ends_with(open))
    }
}

/// The rows that share a mark stand in the order in which they are told apart.
fn by_template(writes: impl Fn(&[&str]) -> bool) -> Option<Family> {
    let rows: [(&[&str], Family); 11] = [
        (&["<|channel|>", "<|message|>"], Family::Harmony),
        (&["<start_function_call>"], Family::Gemma),
        (&["<|tool_call_start|>"], Family::Lfm),
        (&["<|tool_list_start|>"], Family::Lfm),
        (&["<tool_call>", "<function="], Family::Xml),
        (&["<tool_call>"], Family::Hermes),
        (&["[TOOL_CALLS]"], Family::Mistral),
        (&["<|tool_call|>"], Family::Phi),
        (&["<|tool|>"], Family::Phi),
        (&["functools["], Family::Phi),
        (&["<|start_header_id|>", "\"parameters\": "], Family::Llama),
    ];
    rows.into_iter().find(|(marks, _)| writes(marks)).map(|(_, family)| family)
}

/// Some templates show tools and leave it to the model's training how it calls them.
fn by_tokens(is_token: impl Fn(&str) -> bool) -> Option<Family> {
    let rows = [
        ("<tool_call>", Family::Hermes),
        ("[TOOL_CALLS]", Family::Mistral),
        ("<|tool_call|>", Family::Phi),
        ("<|tool_call_start|>", Family::Lfm),
        ("<start_function_call>", Family::Gemma),
        ("<|python_tag|>", Family::Llama),
    ];
    rows.into_iter().find(|(mark, _)| is_token(mark)).map(|(_, family)| family)
}

impl Family {
    /// Where calls begin and end; none for the family whose whole answer is made of parts.
    pub(super) fn marks(self) -> &'static [Marks] {
        match self {
            Self::Hermes | Self::Xml => &[Marks { open: "<tool_call>", close: Some("</tool_call>") }],
            Self::Llama => &[Marks { open: "<|python_tag|>", close: None }],
            Self::Mistral => &[Marks { open: "[TOOL_CALLS]", close: None }],
            Self::Phi => &[
                Marks { open: "<|tool_call|>", close: Some("<|/tool_call|>") },
                Marks { open: "functools[", close: None },
            ],
            Self::Gemma => &[Marks { open: "<start_function_call>", close: Some("<end_function_call>") }],
            Self::Lfm => &[Marks { open: "<|tool_call_start|>", close: Some("<|tool_call_end|>") }],
            Self::Harmony => &[],
        }
    }

    /// Tokens beside those marks without which a call cannot be read.
    pub(super) fn inner_marks(self) -> &'static [&'static str] {
        match self {
            Self::Mistral => &["[ARGS]", "[CALL_ID]"],
            Self::Gemma => &["<escape>"],
            Self::Harmony => {
                &["<|start|>", "<|end|>", "<|channel|>", "<|constrain|>", "<|message|>", "<|call|>", "<|return|>"]
            }
            Self::Hermes | Self::Xml | Self::Llama | Self::Phi | Self::Lfm => &[],
        }
    }
}

#[cfg(test)]
#[path = "dialect_tests.rs"]
mod tests;
