//! What crosses between the daemon and an engine: closed enums of plain data.
//!
//! postcard writes fields by position, so any change here changes [`VERSION`].

mod work;

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::backend::Pace;

pub use work::{Embedding, KvBits, Pooling, Sampling, Speculation, Submission, Work, Xtc};

/// Version of this boundary; the daemon refuses an engine that greets it with another.
pub const VERSION: u32 = 8;

/// One token of a model's vocabulary.
pub type TokenId = u32;

/// One sequence's timeline in an engine; chosen by the daemon, unique for the life of the engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct SequenceId(pub u64);

/// What the daemon asks of an engine.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Command {
    /// Looks at a model; sent once, first. Answered by [`Event::Needs`] or [`Event::LoadFailed`].
    Load(Load),
    /// Loads it: there is room for what it needs. Answered by [`Event::Loading`]s and one [`Event::Ready`] or
    /// [`Event::LoadFailed`].
    Proceed,
    /// Begins one piece of work, beside all others that have not ended.
    Submit(Work, Priority),
    /// Computes nothing more of a sequence until it is resumed; what it has computed is kept. An unknown one is ignored.
    Pause(SequenceId),
    /// Goes on with a sequence that was paused.
    Resume(SequenceId),
    /// Ends a sequence within one step, with [`FinishReason::Cancelled`]. An unknown sequence is ignored: it may
    /// have ended while the command was on its way.
    Cancel(SequenceId),
    /// Ends one of several samples within one step, also with [`FinishReason::Cancelled`]; the others go on.
    End {
        /// Whose sample.
        sequence: SequenceId,
        /// Which, from 0 on.
        sample: u32,
    },
    /// Gives back what is held for later work alone: kept prefixes and spare buffers.
    Trim,
    /// Ends the process.
    Unload,
}

impl Command {
    /// Generates, with the usual priority.
    pub fn generate(submission: Submission) -> Self {
        Self::Submit(Work::Generate(submission), Priority::Normal)
    }
}

/// Whose turn it is where not all can be served at once.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Priority {
    /// When nothing else is to be done.
    Background,
    /// As everybody.
    #[default]
    Normal,
    /// Somebody waits for it.
    Interactive,
}

/// Which model to load.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Load {
    /// Folder with `config.json` and the weights.
    pub path: PathBuf,
    /// Bytes that kept prefixes may take in memory.
    pub prefix_bytes: u64,
    /// Folder of a smaller model of the same vocabulary, which guesses tokens for it.
    pub draft: Option<PathBuf>,
    /// Whether other models decode meanwhile, so that the load leaves them most of a processor.
    pub pace: Pace,
}

impl Load {
    /// Keeps no prefixes, has no draft, and nothing beside itself.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), prefix_bytes: 0, draft: None, pace: Pace::Alone }
    }
}

/// Log-probabilities at one token, as the model computed them: before biases, penalties, grammars and filters.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Logprobs {
    /// Of the token that was chosen.
    pub chosen: f32,
    /// The likeliest tokens and theirs, the likeliest first.
    pub top: Vec<(TokenId, f32)>,
}

/// What an engine reports.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Event {
    /// First message of every engine.
    Hello {
        /// [`VERSION`] the engine was built with.
        version: u32,
    },
    /// How much memory the model will take. Nothing of it is read before [`Command::Proceed`].
    Needs(Needs),
    /// Part of the weights is in memory. Never decreases.
    Loading {
        /// Bytes loaded so far.
        done_bytes: u64,
        /// Bytes of all weight files.
        total_bytes: u64,
    },
    /// The model is loaded and warm.
    Ready(Loaded),
    /// The model cannot be loaded; the process ends.
    LoadFailed(Failure),
    /// Part of a prompt was computed, or of the texts of an [`Embedding`].
    Prefill {
        /// Whose prompt.
        sequence: SequenceId,
        /// Tokens computed so far; of texts, those of the ones that are done.
        done: u32,
        /// Tokens of the prompt, or of all texts.
        total: u32,
    },
    /// The next token of a sequence.
    Token {
        /// Whose token.
        sequence: SequenceId,
        /// Of which of its samples.
        sample: u32,
        /// The token; never a stop token.
        id: TokenId,
        /// Where the submission asks for them.
        logprobs: Option<Logprobs>,
    },
    /// One of several samples ended; the others go on.
    Ended {
        /// Whose sample.
        sequence: SequenceId,
        /// Which.
        sample: u32,
        /// Why.
        reason: FinishReason,
    },
    /// The vector of the next text of an [`Embedding`].
    Vector {
        /// Whose.
        sequence: SequenceId,
        /// Its numbers, as many as the model's vectors have.
        vector: Vec<f32>,
    },
    /// A sequence ended as asked.
    Finished(Finished),
    /// A sequence failed; others go on.
    Failed {
        /// Which sequence.
        sequence: SequenceId,
        /// Why.
        failure: Failure,
    },
    /// Memory in use, after a load and after each sequence.
    Memory(Memory),
}

/// Memory that a model and its draft will take, estimated from the headers of their files, in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Needs {
    /// For the weights.
    pub weight_bytes: u64,
    /// For what is computed with them, beside what each sequence keeps.
    pub scratch_bytes: u64,
    /// What there is where they will lie.
    pub device: DeviceMemory,
}

/// What a device says of its memory, in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum DeviceMemory {
    /// Nothing: it is the processor's.
    #[default]
    Processor,
    /// It shares the processor's, and so much is what it may use of that.
    Shared(u64),
    /// It has its own, of which so much is free.
    Own(u64),
}

impl Needs {
    /// All together.
    pub fn bytes(self) -> u64 {
        self.weight_bytes + self.scratch_bytes
    }
}

/// Facts about a loaded model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Loaded {
    /// Rows of the output head: every token number is below it.
    pub vocab_size: u32,
    /// Bytes of the weights in memory, a draft's included.
    pub weight_bytes: u64,
    /// The device, in words for a person: `cpu`, `Apple M4 Max`, `NVIDIA H100`.
    pub device: String,
    /// Type of activations: `float32`, `bfloat16`, `float16`.
    pub dtype: String,
    /// Bytes that a sequence takes for each of its tokens, at most, a draft's included; 0 where it is not known.
    pub token_bytes: u64,
    /// The most tokens that layers with a window keep of a sequence; 0 where there are none.
    pub window_tokens: u32,
    /// Bytes that these layers take for each of them, all together.
    pub window_bytes: u64,
    /// Why the draft that was named is not in use; the model is, without.
    pub draft_refused: Option<String>,
}

/// How a sequence ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finished {
    /// Which sequence.
    pub sequence: SequenceId,
    /// Why it ended; of several samples, why the first did.
    pub reason: FinishReason,
    /// Tokens of the prompt.
    pub prompt_tokens: u32,
    /// Of these, the ones that were kept from earlier work and not computed again.
    pub cached_tokens: u32,
    /// Tokens reported, of all samples together.
    pub completion_tokens: u32,
    /// Of these, the ones that were guessed and came several in a step.
    pub speculated_tokens: u32,
    /// From the start of the prompt's computation to the first token, in microseconds; 0 if there was none.
    pub prefill_us: u64,
    /// From the first token to the last, in microseconds.
    pub decode_us: u64,
    /// Spent on describing the steps of all tokens to the device, in microseconds: the share that the speed of the
    /// processor decides where a GPU computes. 0 where the engine does not tell it apart.
    pub build_us: u64,
}

impl Finished {
    /// Cancelled before anything of it was computed.
    pub fn before_its_start(sequence: SequenceId, prompt_tokens: u32) -> Self {
        Self {
            sequence,
            reason: FinishReason::Cancelled,
            prompt_tokens,
            cached_tokens: 0,
            completion_tokens: 0,
            speculated_tokens: 0,
            prefill_us: 0,
            decode_us: 0,
            build_us: 0,
        }
    }
}

/// Why a sequence ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum FinishReason {
    /// The model produced a stop token, or a text that its grammar allows nothing after.
    Stop,
    /// `max_tokens` were produced.
    Length,
    /// [`Command::Cancel`] or [`Command::End`] arrived.
    Cancelled,
}

/// Memory of an engine, in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Memory {
    /// Held by live arrays.
    pub active_bytes: u64,
    /// Held by the allocator for reuse.
    pub cache_bytes: u64,
    /// Most held by live arrays so far.
    pub peak_bytes: u64,
    /// Of the live arrays, those of kept prefixes.
    pub prefix_bytes: u64,
}

/// Why something could not be done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// What a caller branches on.
    pub kind: FailureKind,
    /// A fragment that fits after "failed to …: ", naming the file or tensor.
    pub message: String,
}

impl Failure {
    /// A failure of `kind` with its words.
    pub fn new(kind: FailureKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }
}

/// Whose fault a failure is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum FailureKind {
    /// The model's files are missing, damaged or contradict each other.
    ModelBroken,
    /// The model is sound, but this engine cannot run it.
    NotSupported,
    /// The grammar of a submission is faulty, matches nothing, or is more than the engine can follow.
    InvalidGrammar,
    /// The backend failed: a fault of ours or of the device.
    Internal,
}
