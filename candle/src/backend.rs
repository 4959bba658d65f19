//! Candle behind the boundary of the `engine` crate: the resident model.

use std::rc::Rc;

use engine::backend::{Backend, Pace, Step};
use engine::grammar::Vocabulary;
use engine::message::{
    DeviceMemory, Failure, FailureKind, Load, Loaded, Logprobs, Memory, Needs, Pooling, SequenceId, Submission, TokenId,
};

use crate::cache::Account;
use crate::device;
use crate::error::{Error, Result};
use crate::files;
use crate::model::Model;
use crate::sequence::Sequence;
use crate::timeline::{Kept, Running, Timeline};
use crate::weights::{Packed, Weights};

/// What one chunk of a prompt takes while it is computed, of models as people run them here.
const SCRATCH_BYTES: u64 = 256 << 20;

/// The engine's state, bound to the thread that makes it.
#[derive(Default)]
pub struct Candle {
    packed: Packed,
    resident: Option<Resident>,
}

struct Resident {
    model: Model,
    vocabulary: Vocabulary,
    weight_bytes: u64,
    account: Rc<Account>,
    kept: Rc<Kept>,
}

impl Candle {
    /// An engine without a model.
    pub fn new() -> Self {
        Self::default()
    }

    /// One that multiplies with packed weights as exactly as with plain ones, in four times the memory. For comparing.
    pub fn exact() -> Self {
        Self { packed: Packed::Whole, resident: None }
    }

    /// The logits after `prompt`, one for each token of the vocabulary. For comparing a model with its reference.
    pub fn logits(&self, prompt: &[TokenId]) -> std::result::Result<Vec<f32>, Failure> {
        let Resident { model, account, .. } = self.resident()?;
        let submission = Submission::greedy(SequenceId(0), prompt, 1);
        let timeline = Running::alone(Timeline::new(model.caches(account)));
        Ok(Sequence::new(&submission, model, timeline)?.prompt_logits(model)?)
    }

    /// All tokens of a submission without stop tokens and grammar. Like [`Self::logits`], for comparing.
    pub fn tokens(&mut self, submission: &Submission) -> std::result::Result<Vec<TokenId>, Failure> {
        let mut sequence = self.begin(submission)?;
        let mut tokens = Vec::new();
        while tokens.len() < submission.max_tokens as usize {
            if let Step::Token(token) = self.step(&mut sequence, Pace::Alone)? {
                tokens.push(token);
            }
        }
        Ok(tokens)
    }

    fn resident(&self) -> std::result::Result<&Resident, Failure> {
        self.resident.as_ref().ok_or_else(missing)
    }
}

impl Backend for Candle {
    type Sequence = Sequence;
    type Text = ();

    fn needs(&mut self, load: &Load) -> std::result::Result<Needs, Failure> {
        let (_, source) = files::open(&load.path)?;
        Ok(Needs { weight_bytes: source.needed_bytes(), scratch_bytes: SCRATCH_BYTES, device: DeviceMemory::Processor })
    }

    fn load(&mut self, load: &Load, progress: &mut dyn FnMut(u64, u64)) -> std::result::Result<Loaded, Failure> {
        // The old model goes first: there may be no room for two.
        self.resident = None;
        let resident = Resident::load(load, self.packed, progress)?;
        let loaded = Loaded {
            vocab_size: resident.model.config.vocab_size as u32,
            weight_bytes: resident.weight_bytes,
            device: device::name(&resident.model.device).into(),
            dtype: "float32".into(),
            token_bytes: resident.model.config.token_bytes(),
            window_tokens: 0,
            window_bytes: 0,
            draft_refused: load.draft.as_ref().map(|_| "Candle's engine guesses no tokens".into()),
        };
        self.resident = Some(resident);
        Ok(loaded)
    }

    fn begin(&mut self, submission: &Submission) -> std::result::Result<Sequence, Failure> {
        let Resident { model, vocabulary, account, kept, .. } = self.resident.as_mut().ok_or_else(missing)?;
        let timeline = kept.begin(&submission.prompt, || model.caches(account)).map_err(Error::from)?;
        let sequence = Sequence::new(submission, model, timeline)?;
        let Some(grammar) = &submission.grammar else { return Ok(sequence) };
        Ok(sequence.obeying(vocabulary.constrain(grammar, &submission.stop_tokens)?))
    }

    fn computed(&self, sequence: &Sequence) -> u32 {
        sequence.computed()
    }

    fn step(&mut self, sequence: &mut Sequence, _: Pace) -> std::result::Result<Step, Failure> {
        Ok(sequence.step(&self.resident()?.model)?)
    }

    fn fork(&mut self, sequence: &Sequence, submission: &Submission) -> std::result::Result<Sequence, Failure> {
        let Resident { model, vocabulary, .. } = self.resident.as_mut().ok_or_else(missing)?;
        let forked = sequence.fork(submission, model)?;
        let Some(grammar) = &submission.grammar else { return Ok(forked) };
        Ok(forked.obeying(vocabulary.constrain(grammar, &submission.stop_tokens)?))
    }

    fn logprobs(&mut self, sequence: &mut Sequence) -> std::result::Result<Option<Logprobs>, Failure> {
        Ok(sequence.logprobs())
    }

    fn begin_text(&mut self, _: &[TokenId], _: Pooling) -> std::result::Result<(), Failure> {
        Err(no_vectors())
    }

    fn embed(&mut self, (): &mut ()) -> std::result::Result<Option<Vec<f32>>, Failure> {
        Err(no_vectors())
    }

    fn trim(&mut self) {
        if let Some(resident) = &self.resident {
            resident.kept.clear();
        }
    }

    fn memory(&self) -> Memory {
        let Some(Resident { weight_bytes, account, kept, .. }) = &self.resident else { return Memory::default() };
        let (now, peak) = account.bytes();
        Memory {
            active_bytes: weight_bytes + now,
            peak_bytes: weight_bytes + peak,
            prefix_bytes: kept.bytes(),
            ..Memory::default()
        }
    }
}

impl Resident {
    fn load(load: &Load, packed: Packed, progress: &mut dyn FnMut(u64, u64)) -> Result<Self> {
        let path = load.path.as_path();
        let (config, source) = files::open(path)?;
        let mut weights = Weights::new(source, packed, device::open(), progress);
        let model = Model::load(config, &mut weights)?;
        let (weight_bytes, account) = (weights.held, Rc::new(Account::default()));
        let vocabulary = Vocabulary::new(files::folder(path).to_owned(), model.config.vocab_size as u32);
        // Once, so that the first request is not the slow one.
        model.logits(&model.hidden(&[0], &mut model.caches(&account))?)?;
        let kept = Kept::new(load.prefix_bytes);
        Ok(Self { model, vocabulary, weight_bytes, account, kept })
    }
}

fn missing() -> Failure {
    Failure::new(FailureKind::Internal, "no model is loaded")
}

fn no_vectors() -> Failure {
    Failure::new(FailureKind::NotSupported, "vectors of texts are not known to Candle's engine, only texts are")
}
