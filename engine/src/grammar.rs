//! What the text of an answer must match: grammars as plain data, and what each of them means to llguidance.
//!
//! The daemon [checks](Grammar::check) a caller's grammar without a vocabulary, before any model is loaded for it; an
//! engine [compiles](Grammar::compile) it for the vocabulary of its model. Both happen here, so that both mean the same.
//! An engine's sequences then obey a [`Constraint`], for which the tokens' bytes are read from the model's tokenizer. No
//! text of a prompt or an answer is known here.

mod constraint;
mod end;
mod schema;
mod vocabulary;
mod words;

use std::sync::Arc;
use std::thread;

use llguidance::api::{GrammarInit, ParserLimits, TopLevelGrammar};
use llguidance::toktrie::{ApproximateTokEnv, InferenceCapabilities, SimpleVob, TokEnv, TokRxInfo, TokTrie};
use llguidance::{Matcher, ParserFactory};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use self::words::{first_words, with_place};

pub use self::constraint::{Constraint, ConstraintError, Vocabulary};

/// Grammars are compiled by functions that call themselves for each rule that a rule names. A chain of 8000 rules needs
/// less than 64 MiB; memory that is not needed is never touched.
const STACK_BYTES: usize = 256 << 20;

/// Which texts a sequence may become.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Grammar {
    /// Any JSON object.
    JsonObject,
    /// JSON that a schema allows, which crosses as text.
    JsonSchema(String),
    /// Texts that match a regular expression as a whole, in the syntax of Rust's `regex`, without look-around.
    Regex(String),
    /// Texts that a grammar derives from `start`, in llguidance's dialect of Lark.
    Lark(String),
}

/// Why a grammar cannot be used, in words that name the part: a JSON pointer, or a line and a column.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct GrammarError(String);

/// A grammar at the start of a text.
pub struct Compiled {
    /// Takes the tokens of the text.
    pub matcher: Matcher,
    /// The tokens that may come first.
    pub first: SimpleVob,
}

/// What compiles grammars for a vocabulary. Any of `stop_tokens`, each a number of `tokens`, may come where a text is
/// whole; without them only a text that nothing may follow comes to its end.
///
/// `tokens` has the bytes of each token by its number: none for one that may never come, and
/// [`TokTrie::SPECIAL_TOKEN_MARKER`] with a name for one that is no text.
pub fn factory(tokens: &[Vec<u8>], stop_tokens: &[u32]) -> Result<ParserFactory, GrammarError> {
    let end = stop_tokens.first().copied().unwrap_or(llguidance::toktrie::INVALID_TOKEN);
    let mut trie = TokTrie::from(&TokRxInfo::new(tokens.len() as u32, end), tokens);
    if stop_tokens.len() > 1 {
        trie = trie.with_eos_tokens(stop_tokens);
    }
    // The model chooses how a text is cut into tokens: no tokenizer is needed, and none can disagree with the mask.
    let vocabulary: TokEnv = Arc::new(ApproximateTokEnv::new(trie));
    let slices = llguidance::earley::SlicedBiasComputer::general_slices();
    let mut factory = ParserFactory::new(&vocabulary, InferenceCapabilities::default(), &slices).map_err(error)?;
    // Verbose errors would carry the text so far.
    factory.quiet().limits_mut().verbose_errors = false;
    Ok(factory)
}

/// The right side of a rule of Lark whose text is JSON that a schema allows, written as freely as that of
/// [`Grammar::JsonSchema`].
pub fn lark_json(schema: Map<String, Value>) -> String {
    schema::lark(schema)
}

impl Grammar {
    /// Finds what can be found without a vocabulary: faults of the grammar, and that it matches nothing. Takes
    /// milliseconds, a second for the largest.
    pub fn check(&self) -> Result<(), GrammarError> {
        self.named(on_a_deep_stack(|| {
            let grammar = GrammarInit::Serialized(self.top_level()?);
            let (grammar, lexer) = grammar.to_internal(None, ParserLimits::default()).map_err(error)?;
            if !lexer.render_warnings().is_empty() {
                // It names tokens, which only an engine knows.
                return Ok(());
            }
            start(&single_bytes()?, GrammarInit::Internal(grammar, lexer)).map(drop)
        }))
    }

    /// The grammar for a vocabulary, at the start of a text.
    pub fn compile(&self, factory: &ParserFactory) -> Result<Compiled, GrammarError> {
        self.named(on_a_deep_stack(|| start(factory, GrammarInit::Serialized(self.top_level()?))))
    }

    fn top_level(&self) -> Result<TopLevelGrammar, GrammarError> {
        match self {
            Self::JsonObject => schema::top_level(r#"{"type":"object"}"#),
            Self::JsonSchema(schema) => schema::top_level(schema),
            Self::Regex(pattern) => Ok(TopLevelGrammar::from_regex(pattern)),
            Self::Lark(grammar) => Ok(TopLevelGrammar::from_lark(grammar.clone())),
        }
    }

    /// With the part of this grammar that an error is about.
    fn named<T>(&self, result: Result<T, GrammarError>) -> Result<T, GrammarError> {
        result.map_err(|GrammarError(words)| {
            GrammarError(match self {
                Self::JsonObject => words,
                Self::JsonSchema(schema) => schema::with_pointer(schema, &words),
                // Its place is one in the Lark that was made of it.
                Self::Regex(_) => with_place(&words, |_, _| String::new()),
                Self::Lark(_) => with_place(&words, |line, column| format!("line {line}, column {column}: ")),
            })
        })
    }
}

fn start(factory: &ParserFactory, grammar: GrammarInit) -> Result<Compiled, GrammarError> {
    let nothing = || GrammarError("it matches nothing".into());
    let parser = factory.create_parser_from_init_default(grammar).map_err(error)?;
    if !end::comes_to_one(parser.parser.grammar()) {
        return Err(nothing());
    }
    let mut matcher = Matcher::new(Ok(parser));
    // An error here is that no token may come first. A dead end further on is found on the way there.
    let first = matcher.compute_mask().map_err(|_| nothing())?;
    Ok(Compiled { matcher, first })
}

/// A vocabulary of all bytes, and of nothing else.
fn single_bytes() -> Result<ParserFactory, GrammarError> {
    let bytes: Vec<Vec<u8>> = (0..=u8::MAX).map(|byte| vec![byte]).chain([b"\xff<end>".to_vec()]).collect();
    factory(&bytes, &[u32::from(u8::MAX) + 1])
}

/// Runs `work` where it can call itself often. A panic in there is an error: grammars come from anywhere.
fn on_a_deep_stack<T: Send>(work: impl FnOnce() -> Result<T, GrammarError> + Send) -> Result<T, GrammarError> {
    thread::scope(|scope| {
        let thread = thread::Builder::new().name("grammar".into()).stack_size(STACK_BYTES);
        let worker = thread.spawn_scoped(scope, work);
        let worker = worker.map_err(|error| GrammarError(format!("no thread to compile it on: {error}")))?;
        worker.join().unwrap_or_else(|_| Err(GrammarError("compiling it panicked".into())))
    })
}

#[expect(clippy::needless_pass_by_value, reason = "as map_err gives it")]
fn error(error: impl ToString) -> GrammarError {
    GrammarError(first_words(&error.to_string()))
}

#[cfg(test)]
#[path = "grammar_tests.rs"]
mod tests;
