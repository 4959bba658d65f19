//! Text ↔ token numbers: what a model's folder says about its tokenizer, its chat template and its stop tokens.
//!
//! Owns everything about a model that is not weights. Never touches an engine, the network or a runtime: every
//! function computes and returns. Called by the local provider, which shares one [`TextModel`] per loaded model;
//! a long prompt takes tens of milliseconds, so it calls from a blocking thread.

mod chat;
mod detokenizer;
mod error;
#[cfg(test)]
pub(crate) mod fixtures;
mod folder;
mod stop;
mod tokenizer;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::Zoned;
use protocol::Pooling;
use protocol::generate::{Message, Role};

pub use self::detokenizer::Detokenizer;
pub use self::error::TextError;
pub use self::stop::{StopMatcher, StopPiece};

use self::chat::ChatTemplate;
use self::folder::Folder;
use self::tokenizer::{SpecialTokens, Tokenizer};

/// Tells a chat template the local time.
pub type Clock = Arc<dyn Fn() -> Zoned + Send + Sync>;

/// Most bytes of a conversation, and of the prompt made of it: more than the longest context of any model holds.
pub const MAX_PROMPT_BYTES: usize = 8 << 20;

/// Most messages of a conversation.
pub const MAX_MESSAGES: usize = 4096;

/// The text side of one loaded model.
#[derive(Debug)]
pub struct TextModel {
    folder: PathBuf,
    tokenizer: Tokenizer,
    /// Compiled once; `None` for base models, which come without.
    template: Option<ChatTemplate>,
    /// Ascending, each once.
    stop_tokens: Vec<u32>,
    vocab_size: Option<u32>,
    context_length: Option<u32>,
    pooling: Option<Pooling>,
}

impl TextModel {
    /// Reads `config.json`, `tokenizer.json` and what is there of `generation_config.json`,
    /// `tokenizer_config.json` and `chat_template.jinja`.
    pub fn open(folder: &Path) -> Result<Self, TextError> {
        Self::open_with_clock(folder, Arc::new(Zoned::now))
    }

    /// The same with a clock of the caller's for templates that write the date.
    pub fn open_with_clock(folder: &Path, clock: Clock) -> Result<Self, TextError> {
        let files = Folder::read(folder)?;
        let tokenizer = Tokenizer::open(&folder.join("tokenizer.json"), files.vocab_size)?;
        let special_tokens = files.special_tokens.clone();
        let template = files.template.map(|source| ChatTemplate::compile(&source, special_tokens, clock));
        let named_eos = files.special_tokens.iter().find(|(name, _)| name == "eos_token");
        let named_eos = named_eos.and_then(|(_, token)| tokenizer.id(token));
        let mut stop_tokens: Vec<u32> = files.eos_token_ids.into_iter().chain(named_eos).collect();
        stop_tokens.sort_unstable();
        stop_tokens.dedup();
        Ok(Self {
            folder: folder.to_owned(),
            tokenizer,
            template: template.transpose()?,
            stop_tokens,
            vocab_size: files.vocab_size,
            context_length: files.context_length,
            pooling: files.pooling,
        })
    }

    /// The prompt of a conversation, at least one token.
    ///
    /// The template is rendered as `transformers` does and the tokenizer adds nothing to it: a template writes its own
    /// beginning-of-text token. Special tokens that stand literally in a message become those tokens, also as
    /// `transformers` does; an app that passes on text it does not trust must take them out itself.
    ///
    /// A model without template takes one user message, as raw text.
    pub fn encode_chat(&self, messages: &[Message], system_prompt: Option<&str>) -> Result<Vec<u32>, TextError> {
        check(messages, system_prompt)?;
        let prompt = match (&self.template, messages, system_prompt) {
            (Some(template), ..) => {
                self.tokenizer.encode(&template.render_chat(messages, system_prompt)?, SpecialTokens::AsWritten)?
            }
            (None, [only], None) if only.role == Role::User => {
                self.tokenizer.encode(&only.content, SpecialTokens::Add)?
            }
            (None, ..) => return Err(TextError::NoTemplate { folder: self.folder.clone() }),
        };
        if prompt.is_empty() {
            return Err(TextError::Chat("the prompt has no tokens".into()));
        }
        Ok(prompt)
    }

    /// The tokens of a text by itself, at least one, with those that the tokenizer puts around a text.
    pub fn encode_text(&self, text: &str) -> Result<Vec<u32>, TextError> {
        if text.len() > MAX_PROMPT_BYTES {
            return Err(TextError::TooLong { limit: MAX_PROMPT_BYTES });
        }
        let tokens = self.tokenizer.encode(text, SpecialTokens::Add)?;
        if tokens.is_empty() { Err(TextError::Chat("the text has no tokens".into())) } else { Ok(tokens) }
    }

    /// The tokens of a text in the middle of another; none for no text.
    pub fn encode_part(&self, text: &str) -> Result<Vec<u32>, TextError> {
        self.tokenizer.encode(text, SpecialTokens::AsWritten)
    }

    /// How the model's files say that vectors of a text's tokens become one; `None` where they do not.
    pub fn pooling(&self) -> Option<Pooling> {
        self.pooling
    }

    /// The whole text of these tokens, special ones skipped.
    pub fn decode(&self, tokens: &[u32]) -> String {
        self.tokenizer.decode(tokens)
    }

    /// Tokens that end an answer, in ascending order; none if the folder names none.
    pub fn stop_tokens(&self) -> &[u32] {
        &self.stop_tokens
    }

    /// Rows of the model's vocabulary as `config.json` states it; every token of a prompt is below it.
    pub fn vocab_size(&self) -> Option<u32> {
        self.vocab_size
    }

    /// Tokens the model can hold as `config.json` states it.
    pub fn context_length(&self) -> Option<u32> {
        self.context_length
    }

    /// Whether conversations of several messages can be had.
    pub fn has_template(&self) -> bool {
        self.template.is_some()
    }
}

fn check(messages: &[Message], system_prompt: Option<&str>) -> Result<(), TextError> {
    let problem = |words: &str| Err(TextError::Chat(words.to_owned()));
    if messages.is_empty() {
        return problem("there are no messages");
    }
    if messages.len() > MAX_MESSAGES {
        return problem(&format!("there are {} messages, but {MAX_MESSAGES} are the most", messages.len()));
    }
    if messages.iter().skip(1).any(|message| message.role == Role::System) {
        return problem("a message of role system stands behind others, but must be the first");
    }
    if system_prompt.is_some() && messages[0].role == Role::System {
        return problem("both a system prompt and a message of role system are given; leave one out");
    }
    let texts = messages.iter().map(|message| message.content.len());
    let bytes: usize = texts.chain(system_prompt.map(str::len)).sum();
    if bytes > MAX_PROMPT_BYTES { Err(TextError::TooLong { limit: MAX_PROMPT_BYTES }) } else { Ok(()) }
}

#[cfg(test)]
#[path = "text_tests.rs"]
mod tests;
