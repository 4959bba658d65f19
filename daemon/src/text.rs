//! Text ↔ token numbers: what a model's folder says about its tokenizer, its chat template and its stop tokens.
//!
//! Owns everything about a model that is not weights. Never touches an engine, the network or a runtime: every
//! function computes and returns. Called by the local provider, which shares one [`TextModel`] per loaded model;
//! a long prompt takes tens of milliseconds, so it calls from a blocking thread.

mod answer;
mod chat;
mod constraint;
mod detokenizer;
mod dialect;
mod error;
#[cfg(test)]
pub(crate) mod fixtures;
mod folder;
mod stop;
mod tokenizer;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use engine::Grammar;
use jiff::Zoned;
use protocol::Pooling;
use protocol::message::{Message, Role};
use protocol::tools::{Reasoning, Tool, ToolChoice};

pub use self::answer::{Call, Parser, Part, Reading};
pub use self::detokenizer::Detokenizer;
pub use self::error::{Lack, TextError};
pub use self::stop::{StopMatcher, StopPiece};

use self::chat::ChatTemplate;
use self::dialect::{Dialect, Family};
use self::folder::Folder;
use self::tokenizer::{SpecialTokens, Tokenizer};

/// Tells a chat template the local time.
pub type Clock = Arc<dyn Fn() -> Zoned + Send + Sync>;

/// Most bytes of a conversation, and of the prompt made of it: more than the longest context of any model holds.
pub const MAX_PROMPT_BYTES: usize = 8 << 20;

/// Most messages of a conversation.
pub const MAX_MESSAGES: usize = 4096;

/// What is to be answered.
#[derive(Debug, Clone, Default)]
pub struct Chat {
    /// Not empty.
    pub messages: Vec<Message>,
    /// Said before them.
    pub system_prompt: Option<String>,
    /// What the model may call.
    pub tools: Vec<Tool>,
    /// Whether it calls them; never "none", for which no tools are given.
    pub choice: ToolChoice,
    /// Whether it may reason first.
    pub reasoning: Reasoning,
    /// What the answer must match: all of it, so that there is no room to reason or to call.
    pub format: Option<Grammar>,
}

/// What an engine is given, and how its answer is read.
#[derive(Debug, Clone)]
pub struct Prompt {
    /// At least one.
    pub tokens: Vec<u32>,
    /// Which marks the answer has.
    pub reading: Reading,
    /// What the answer must match: the format, or the form of calls that were asked for.
    pub grammar: Option<Grammar>,
}

/// A template and how answers to it are written.
#[derive(Debug)]
struct Speech {
    template: ChatTemplate,
    dialect: Dialect,
}

/// The text side of one loaded model.
#[derive(Debug)]
pub struct TextModel {
    folder: PathBuf,
    tokenizer: Tokenizer,
    /// Compiled once; `None` for base models, which come without.
    plain: Option<Speech>,
    /// For conversations with tools, where the model has a template of its own for those.
    with_tools: Option<Speech>,
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
        let clock: Clock = Arc::new(Zoned::now);
        Self::open_with_clock(folder, &clock)
    }

    /// The same with a clock of the caller's for templates that write the date.
    pub fn open_with_clock(folder: &Path, clock: &Clock) -> Result<Self, TextError> {
        let files = Folder::read(folder)?;
        let tokenizer = Tokenizer::open(&folder.join("tokenizer.json"), files.vocab_size)?;
        let speech = |source: Option<String>| -> Result<Option<Speech>, TextError> {
            let Some(source) = source else { return Ok(None) };
            let dialect = Dialect::of(&source, |token| tokenizer.id(token).is_some());
            let template = ChatTemplate::compile(&source, files.special_tokens.clone(), Arc::clone(clock))?;
            Ok(Some(Speech { template, dialect }))
        };
        let (plain, with_tools) = (speech(files.template)?, speech(files.tool_template)?);
        let named_eos = files.special_tokens.iter().find(|(name, _)| name == "eos_token");
        let named_eos = named_eos.and_then(|(_, token)| tokenizer.id(token));
        let marks = plain.iter().flat_map(|speech| speech.dialect.ends()).filter_map(|mark| tokenizer.special_id(mark));
        let mut stop_tokens: Vec<u32> = files.eos_token_ids.into_iter().chain(named_eos).chain(marks).collect();
        stop_tokens.sort_unstable();
        stop_tokens.dedup();
        Ok(Self {
            folder: folder.to_owned(),
            tokenizer,
            plain,
            with_tools,
            stop_tokens,
            vocab_size: files.vocab_size,
            context_length: files.context_length,
            pooling: files.pooling,
        })
    }

    /// The prompt of a conversation.
    ///
    /// The template is rendered as `transformers` does and the tokenizer adds nothing to it: a template writes its own
    /// beginning-of-text token. Special tokens that stand literally in a message become those tokens, also as
    /// `transformers` does; an app that passes on text it does not trust must take them out itself.
    ///
    /// A model without template takes one user message, as raw text.
    pub fn prompt(&self, chat: Chat) -> Result<Prompt, TextError> {
        check(&chat)?;
        let prompt = match self.speech(&chat) {
            Some(speech) => self.spoken(speech, chat)?,
            None => Prompt { tokens: self.raw(&chat)?, reading: Reading::default(), grammar: chat.format },
        };
        if prompt.tokens.is_empty() {
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

    fn spoken(&self, speech: &Speech, chat: Chat) -> Result<Prompt, TextError> {
        if chat.format.is_some() {
            return self.held(speech, chat);
        }
        let text = speech.render(&chat)?;
        let tokens = self.tokenizer.encode(&text, SpecialTokens::AsWritten)?;
        let dialect = speech.dialect;
        let is_thinking = dialect.is_thinking(&text);
        let grammar = constraint::grammar(&self.tokenizer, dialect, is_thinking, (&chat.tools, &chat.choice));
        let grammar = grammar.map_err(|()| TextError::Lacks(Lack::Constraint))?;
        Ok(Prompt { tokens, reading: Reading::new(dialect, is_thinking, chat.tools), grammar })
    }

    /// A prompt behind which the answer begins at once.
    fn held(&self, Speech { template, dialect }: &Speech, mut chat: Chat) -> Result<Prompt, TextError> {
        if template.has_switch() {
            chat.reasoning = Reasoning::Off;
        }
        let text = template.render_chat(&chat)?;
        let text = format!("{text}{}", dialect.answer(&text));
        let tokens = self.tokenizer.encode(&text, SpecialTokens::AsWritten)?;
        Ok(Prompt { tokens, reading: Reading::default(), grammar: chat.format })
    }

    /// The prompt of a conversation without tools.
    pub fn encode_chat(&self, messages: &[Message], system_prompt: Option<&str>) -> Result<Vec<u32>, TextError> {
        let (messages, system_prompt) = (messages.to_vec(), system_prompt.map(str::to_owned));
        self.prompt(Chat { messages, system_prompt, ..Chat::default() }).map(|prompt| prompt.tokens)
    }

    fn speech(&self, chat: &Chat) -> Option<&Speech> {
        self.with_tools.as_ref().filter(|_| !chat.tools.is_empty()).or(self.plain.as_ref())
    }

    fn raw(&self, chat: &Chat) -> Result<Vec<u32>, TextError> {
        match &chat.messages[..] {
            [only] if only.role == Role::User && chat.system_prompt.is_none() && chat.tools.is_empty() => {
                self.tokenizer.encode(&only.content, SpecialTokens::Add)
            }
            _ => Err(TextError::NoTemplate { folder: self.folder.clone() }),
        }
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
        self.plain.is_some()
    }
}

impl Chat {
    /// Whether tools were called before.
    fn has_calls(&self) -> bool {
        self.messages.iter().any(|message| message.role == Role::Tool || !message.tool_calls.is_empty())
    }

    /// Its texts, calls and tools together.
    fn bytes(&self) -> usize {
        let texts = |message: &Message| {
            let calls = message.tool_calls.iter().map(|call| json_bytes(&call.arguments));
            message.content.len() + message.reasoning.as_ref().map_or(0, String::len) + calls.sum::<usize>()
        };
        let messages = self.messages.iter().map(texts).sum::<usize>();
        let tools = self.tools.iter().map(json_bytes).sum::<usize>();
        messages + tools + self.system_prompt.as_ref().map_or(0, String::len)
    }
}

fn json_bytes(value: &impl serde::Serialize) -> usize {
    serde_json::to_string(value).map_or(0, |text| text.len())
}

impl Speech {
    fn render(&self, chat: &Chat) -> Result<String, TextError> {
        let Self { template, dialect } = self;
        let reasons = dialect.thinking.is_some() || dialect.family == Some(Family::Harmony);
        if chat.reasoning == Reasoning::Off && reasons && !template.has_switch() {
            return Err(TextError::Lacks(Lack::Switch));
        }
        let text = template.render_chat(chat)?;
        if !chat.tools.is_empty() && dialect.family.is_none() {
            return Err(TextError::Lacks(Lack::Family));
        }
        Ok(text)
    }
}

fn check(chat: &Chat) -> Result<(), TextError> {
    let Chat { messages, system_prompt, .. } = chat;
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
    if chat.bytes() > MAX_PROMPT_BYTES { Err(TextError::TooLong { limit: MAX_PROMPT_BYTES }) } else { Ok(()) }
}

#[cfg(test)]
#[path = "text_tests.rs"]
mod tests;
