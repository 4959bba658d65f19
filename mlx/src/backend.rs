//! MLX behind the boundary of the `engine` crate: the resident model and the device it lies on.

use std::path::Path;

use engine::backend::{Backend, Step};
use engine::message::{Failure, FailureKind, Load, Loaded, Memory, Sampling, SequenceId, Submission, TokenId};
use mlx_rs::Dtype;

use crate::config::Config;
use crate::device::{self, Device};
use crate::error::{Error, Result};
use crate::grammar::Vocabulary;
use crate::models::{self, Model};
use crate::sequence::Sequence;
use crate::weights::Weights;

/// The engine's state, bound to the thread that makes it:
///
/// ```compile_fail
/// fn sends<T: Send>() {}
/// sends::<talkied_mlx::Mlx>();
/// ```
#[derive(Default)]
pub struct Mlx {
    resident: Option<Resident>,
}

/// A loaded model. The model goes before the stream that its arrays belong to.
struct Resident {
    model: Box<dyn Model>,
    vocabulary: Vocabulary,
    device: Device,
}

impl Mlx {
    /// An engine without a model.
    pub fn new() -> Self {
        Self::default()
    }

    /// The logits after `prompt`, one for each token of the vocabulary. For comparing a model with its reference.
    pub fn logits(&self, prompt: &[TokenId]) -> std::result::Result<Vec<f32>, Failure> {
        let Resident { model, device, .. } = self.resident()?;
        let logits = || Sequence::new(&greedy(prompt, 1), model.as_ref())?.logits(model.as_ref(), device);
        device.scope(logits).map_err(Failure::from)
    }

    /// The likeliest `count` tokens after `prompt`, one after the other. Like [`Self::logits`], for comparing.
    pub fn greedy(&mut self, prompt: &[TokenId], count: u32) -> std::result::Result<Vec<TokenId>, Failure> {
        let mut sequence = self.begin(&greedy(prompt, count))?;
        let mut tokens = Vec::new();
        while tokens.len() < count as usize {
            if let Step::Token(token) = self.step(&mut sequence)? {
                tokens.push(token);
            }
        }
        Ok(tokens)
    }

    fn resident(&self) -> std::result::Result<&Resident, Failure> {
        self.resident.as_ref().ok_or_else(missing)
    }
}

fn missing() -> Failure {
    Failure::new(FailureKind::Internal, "no model is loaded")
}

impl Backend for Mlx {
    type Sequence = Sequence;

    fn load(&mut self, load: &Load, progress: &mut dyn FnMut(u64, u64)) -> std::result::Result<Loaded, Failure> {
        // The old model goes first: there may be no room for two.
        self.resident = None;
        let device = Device::open()?;
        let (model, loaded) = device.scope(|| load_on(&device, &load.path, progress))?;
        let vocabulary = Vocabulary::new(load.path.clone(), loaded.vocab_size);
        self.resident = Some(Resident { model, vocabulary, device });
        Ok(loaded)
    }

    fn begin(&mut self, submission: &Submission) -> std::result::Result<Sequence, Failure> {
        let Resident { model, vocabulary, device } = self.resident.as_mut().ok_or_else(missing)?;
        let sequence = device.scope(|| Sequence::new(submission, model.as_ref()))?;
        let Some(grammar) = &submission.grammar else { return Ok(sequence) };
        Ok(sequence.obeying(vocabulary.constrain(grammar, &submission.stop_tokens)?))
    }

    fn step(&mut self, sequence: &mut Sequence) -> std::result::Result<Step, Failure> {
        let Resident { model, device, .. } = self.resident()?;
        device.scope(|| sequence.step(model.as_ref(), device)).map_err(Failure::from)
    }

    fn memory(&self) -> Memory {
        device::memory()
    }
}

fn load_on(device: &Device, folder: &Path, progress: &mut dyn FnMut(u64, u64)) -> Result<(Box<dyn Model>, Loaded)> {
    let config = Config::read(folder)?;
    let construct = models::find(&config)?;
    let mut weights = Weights::open(folder, device, progress)?;
    let model = construct(&config, &mut weights)?;
    let weight_bytes = weights.finish()?;
    warm_up(model.as_ref(), device)?;
    let facts = model.facts();
    let dtype = type_name(facts.dtype)?.to_owned();
    let device = device.name.clone();
    Ok((model, Loaded { vocab_size: facts.vocab_size, weight_bytes, device, dtype }))
}

/// Runs a chunk, a step and a draw, which has the device compile and page in what the first request would wait for.
fn warm_up(model: &dyn Model, device: &Device) -> Result<()> {
    let mut submission = greedy(&[0, 0], 1);
    submission.sampling = Sampling { temperature: 1.0, top_p: 0.5, ..submission.sampling };
    let mut sequence = Sequence::new(&submission, model)?;
    while !matches!(sequence.step(model, device)?, Step::Token(_)) {}
    Ok(())
}

fn greedy(prompt: &[TokenId], max_tokens: u32) -> Submission {
    Submission::greedy(SequenceId(0), prompt, max_tokens)
}

fn type_name(dtype: Dtype) -> Result<&'static str> {
    match dtype {
        Dtype::Float32 => Ok("float32"),
        Dtype::Float16 => Ok("float16"),
        Dtype::Bfloat16 => Ok("bfloat16"),
        _ => Err(Error::NotSupported(format!("weights of type {dtype:?} are not known"))),
    }
}

#[cfg(test)]
#[path = "backend_tests.rs"]
mod tests;
