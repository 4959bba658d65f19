//! The chat template of one model: a conversation to the text of a prompt, byte for byte as `transformers` renders it.
//!
//! A template is untrusted: it gets no files, no other templates, bounded work and bounded output. Called by
//! `TextModel`, which compiles it once. `fixtures/chat_cases.json` holds what the reference renders; see its generator.

mod bounds;
mod json;
mod methods;
mod source;
mod variables;

use std::fmt;

use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Rest, Value, ValueKind};
use minijinja::{AutoEscape, Environment, Error, ErrorKind};
use protocol::message::{Message, Role};
use protocol::tools::Reasoning;

use self::variables::Arguments;
use super::error::{Lack, TextError};
use super::{Chat, Clock, MAX_PROMPT_BYTES};

/// The deepest nesting of calls, counted as the engine does: a macro that calls itself gets to about 20.
const RECURSION: usize = 200;

const NAME: &str = "chat_template";

/// A compiled template.
pub(super) struct ChatTemplate {
    /// Holds the one template, [`NAME`].
    environment: Environment<'static>,
    special_tokens: Vec<(String, String)>,
    source: Source,
}

/// What a template's source tells of what it can do.
#[derive(Debug, Clone, Copy)]
struct Source {
    /// Whether the model's reasoning can be turned off by a variable.
    has_switch: bool,
    /// Whether it looks for tools in the system message.
    wants_tools_in_system: bool,
}

/// Which parts of a conversation are rendered.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Parts {
    All,
    /// The tools are left out.
    NoTools,
    /// Calls and what came of them are left out.
    NoCalls,
}

impl fmt::Debug for ChatTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChatTemplate").field("special_tokens", &self.special_tokens).finish_non_exhaustive()
    }
}

/// What `raise_exception` was given.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Raised(String);

impl ChatTemplate {
    /// Compiles a template that will know the special tokens (`bos_token` and the like) by name.
    pub(super) fn compile(
        source: &str,
        special_tokens: Vec<(String, String)>,
        clock: Clock,
    ) -> Result<Self, TextError> {
        let facts = Source {
            has_switch: source.contains("enable_thinking"),
            wants_tools_in_system: source.contains("message['tools']") || source.contains("message.tools"),
        };
        let source = source::prepared(source).map_err(TextError::Template)?;
        let mut environment = environment(clock);
        bounds::with_room(|| environment.add_template_owned(NAME, source).map_err(|error| failure(&error)))?;
        Ok(Self { environment, special_tokens, source: facts })
    }

    /// Whether the model's reasoning can be turned off.
    pub(super) fn has_switch(&self) -> bool {
        self.source.has_switch
    }

    /// The prompt of a conversation, up to where the model's answer begins. What the template would leave out without a
    /// word is an error.
    pub(super) fn render_chat(&self, chat: &Chat) -> Result<String, TextError> {
        let prompt = self.render_parts(chat, Parts::All)?;
        let is_left_out = |parts| self.render_parts(chat, parts).is_ok_and(|without| without == prompt);
        if !chat.tools.is_empty() && is_left_out(Parts::NoTools) {
            return Err(TextError::Lacks(Lack::Tools));
        }
        if chat.has_calls() && is_left_out(Parts::NoCalls) {
            return Err(TextError::Lacks(Lack::Calls));
        }
        Ok(prompt)
    }

    fn render_parts(&self, chat: &Chat, parts: Parts) -> Result<String, TextError> {
        let rendered = self.render_with(chat, parts, Arguments::Objects);
        match rendered {
            Err(TextError::Template(_)) if chat.has_calls() => self.render_with(chat, parts, Arguments::Texts),
            rendered => rendered,
        }
    }

    fn render_with(&self, chat: &Chat, parts: Parts, arguments: Arguments) -> Result<String, TextError> {
        let tools = if parts == Parts::NoTools { &[][..] } else { &chat.tools };
        let messages = match parts {
            Parts::NoCalls => &without_calls(&chat.messages)[..],
            Parts::All | Parts::NoTools => &chat.messages,
        };
        let mut turns = variables::messages(chat.system_prompt.as_deref(), messages, arguments);
        if self.source.wants_tools_in_system && !tools.is_empty() {
            variables::put_into_system(&mut turns, tools);
        }
        let mut given = vec![
            ("messages", Value::from(turns)),
            ("tools", variables::tools(tools)),
            ("add_generation_prompt", Value::from(true)),
        ];
        if chat.reasoning == Reasoning::Off {
            given.push(("enable_thinking", Value::from(false)));
        }
        self.render(&given, bounds::fuel(chat.messages.len() + tools.len(), chat.bytes()))
    }

    /// Renders with these variables beside those every template is given.
    fn render(&self, variables: &[(&str, Value)], fuel: u64) -> Result<String, TextError> {
        let absent = ["tools", "documents"].map(|name| (name, Value::from(())));
        let tokens = self.special_tokens.iter().map(|(name, text)| (name.as_str(), Value::from(text.as_str())));
        let context = Value::from_pairs(tokens.chain(absent).chain(variables.iter().cloned()));
        // Shares the compiled template; only the fuel is this rendering's own.
        let mut environment = self.environment.clone();
        environment.set_fuel(Some(fuel));
        bounds::with_room(|| {
            let template = environment.get_template(NAME).map_err(|error| failure(&error))?;
            let mut output = bounds::Output::default();
            match template.render_captured_to(context, &mut output).map(drop) {
                _ if output.overflown => Err(TextError::TooLong { limit: MAX_PROMPT_BYTES }),
                Err(error) => Err(failure(&error)),
                Ok(()) => Ok(String::from_utf8(output.bytes).expect("templates write whole strings")),
            }
        })
    }
}

fn environment(clock: Clock) -> Environment<'static> {
    let mut environment = Environment::new();
    let syntax = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build();
    environment.set_syntax(syntax.expect("the default delimiters do not clash"));
    environment.set_auto_escape_callback(|_| AutoEscape::None);
    environment.set_debug(false);
    environment.set_recursion_limit(RECURSION);
    environment.set_unknown_method_callback(methods::call);
    environment.add_filter("tojson", json::tojson);
    environment.add_filter(bounds::KEPT, bounds::kept);
    // In Python a text is a sequence, and None is not iterable.
    for test in ["sequence", "iterable"] {
        environment.add_test(test, |value: &Value| {
            use ValueKind::{Iterable, Map, Seq, String, Undefined};
            matches!(value.kind(), String | Seq | Map | Iterable | Undefined)
        });
    }
    environment.add_function("cycler", |items: Rest<Value>| minijinja_contrib::globals::cycler(items.to_vec()));
    environment.add_function("joiner", minijinja_contrib::globals::joiner);
    environment.add_function("raise_exception", |words: Value| -> Result<Value, Error> {
        let raised = Raised(words.to_string());
        Err(Error::new(ErrorKind::InvalidOperation, "raise_exception").with_source(raised))
    });
    environment.add_function("strftime_now", move |format: &str| -> Result<String, Error> {
        jiff::fmt::strtime::format(format, &clock())
            .map_err(|error| Error::new(ErrorKind::InvalidOperation, format!("strftime_now({format:?}): {error}")))
    });
    environment
}

/// The conversation as if no tool had been called.
fn without_calls(messages: &[Message]) -> Vec<Message> {
    let others = messages.iter().filter(|message| message.role != Role::Tool);
    others.map(|message| Message { tool_calls: Vec::new(), ..message.clone() }).collect()
}

fn failure(error: &Error) -> TextError {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = cause {
        if let Some(Raised(words)) = error.downcast_ref() {
            return TextError::Refused(words.clone());
        }
        cause = error.source();
    }
    TextError::Template(error.to_string())
}

#[cfg(test)]
#[path = "chat_tests.rs"]
mod tests;
