//! MLX behind the boundary of the `engine` crate: the resident model and the device it lies on.

use std::path::Path;
use std::rc::Rc;
use std::time::{Duration, Instant};

use engine::backend::{Backend, Pace, Step};
use engine::grammar::Vocabulary;
use engine::message::{
    Failure, FailureKind, Load, Loaded, Logprobs, Memory, Needs, Pooling, Sampling, SequenceId, Submission, TokenId,
};
use mlx_rs::{Dtype, memory};

use crate::cache;
use crate::config::{Config, quantization};
use crate::device::{self, Device, Sharing};
use crate::draft::{self, Draft};
use crate::embedding::Text;
use crate::error::{Error, Result};
use crate::network::Network;
use crate::prefix::Kept;
use crate::rests::Rests;
use crate::sequence::{Sequence, batch};
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

/// A loaded model. It and what is kept of prompts go before the stream that their arrays belong to.
struct Resident {
    network: Network,
    /// In words for a request that asks for it, why there is none.
    draft: std::result::Result<Rc<Draft>, String>,
    /// Nowhere without a budget.
    kept: Option<Rc<Kept>>,
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
        self.logits_after(&greedy(prompt, 1))
    }

    /// The logits after a submission's prompt, computed as it asks. Like [`Self::logits`], for comparing.
    pub fn logits_after(&self, submission: &Submission) -> std::result::Result<Vec<f32>, Failure> {
        let resident @ Resident { network, device, .. } = self.resident()?;
        let model = network.decoder()?;
        device.scope(|| resident.begin(submission)?.logits(model, device)).map_err(Failure::from)
    }

    /// The likeliest `count` tokens after `prompt`, one after the other. Like [`Self::logits`], for comparing.
    pub fn greedy(&mut self, prompt: &[TokenId], count: u32) -> std::result::Result<Vec<TokenId>, Failure> {
        self.tokens(&greedy(prompt, count))
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

    /// Has sequences attend together as they do on GPUs, with a kernel for that or without. For comparing, on a processor.
    pub fn share(&mut self, has_kernel: bool) {
        if let Some(Resident { device, .. }) = &mut self.resident {
            device.sharing = Some(if has_kernel { Sharing::METAL } else { Sharing::CUDA });
        }
    }

    fn resident(&self) -> std::result::Result<&Resident, Failure> {
        self.resident.as_ref().ok_or_else(missing)
    }
}

impl Resident {
    /// A sequence that has what is kept of its prompt.
    fn begin(&self, submission: &Submission) -> Result<Sequence> {
        let model = self.network.decoder()?;
        let sequence = Sequence::new(submission, model)?.drafted_by(&self.draft, submission, model)?;
        match &self.kept {
            Some(kept) => sequence.sharing(kept, submission),
            None => Ok(sequence),
        }
    }
}

fn missing() -> Failure {
    Failure::new(FailureKind::Internal, "no model is loaded")
}

impl Backend for Mlx {
    type Sequence = Sequence;
    type Text = Text;

    fn needs(&mut self, load: &Load) -> std::result::Result<Needs, Failure> {
        let device = Device::open()?;
        Ok(device.scope(|| needs_on(&device, load))?)
    }

    fn load(&mut self, load: &Load, progress: &mut dyn FnMut(u64, u64)) -> std::result::Result<Loaded, Failure> {
        // The old model goes first: there may be no room for two.
        self.resident = None;
        let device = Device::open()?;
        let mut rests = Rests::new(load.pace, device.memory, Instant::now());
        let mut progress = |done, total| {
            progress(done, total);
            rests.take();
        };
        let (network, draft, loaded) = device.scope(|| load_on(&device, load, &mut progress))?;
        let vocabulary = Vocabulary::new(load.path.clone(), loaded.vocab_size);
        let kept = (load.prefix_bytes > 0).then(|| Kept::new(load.prefix_bytes, device.pipelines));
        self.resident = Some(Resident { network, draft, kept, vocabulary, device });
        Ok(loaded)
    }

    fn begin(&mut self, submission: &Submission) -> std::result::Result<Sequence, Failure> {
        let resident = self.resident.as_mut().ok_or_else(missing)?;
        let sequence = resident.device.scope(|| resident.begin(submission))?;
        let Some(grammar) = &submission.grammar else { return Ok(sequence) };
        Ok(sequence.obeying(resident.vocabulary.constrain(grammar, &submission.stop_tokens)?))
    }

    fn computed(&self, sequence: &Sequence) -> u32 {
        sequence.computed()
    }

    fn turn_tokens(&self) -> u32 {
        self.resident.as_ref().map_or(1, |resident| resident.device.shared_chunk as u32)
    }

    fn step(&mut self, sequence: &mut Sequence, pace: Pace) -> std::result::Result<Step, Failure> {
        let Resident { network, device, .. } = self.resident()?;
        device.scope(|| sequence.step(network.decoder()?, device, pace)).map_err(Failure::from)
    }

    fn decode(&mut self, rows: &mut [&mut Sequence]) -> Vec<std::result::Result<Step, Failure>> {
        let resident = self.resident().and_then(|resident| Ok((resident, resident.network.decoder()?)));
        match resident {
            Ok((Resident { device, .. }, model)) => {
                let steps = device.scope(|| batch::decode(rows, model, device));
                steps.into_iter().map(|step| step.map_err(Failure::from)).collect()
            }
            Err(failure) => rows.iter().map(|_| Err(failure.clone())).collect(),
        }
    }

    fn rest(&mut self, sequence: &mut Sequence) {
        if let Some(Resident { device, .. }) = &self.resident {
            device.scope(|| sequence.rest());
        }
    }

    fn fork(&mut self, sequence: &Sequence, submission: &Submission) -> std::result::Result<Sequence, Failure> {
        let Resident { network, draft, vocabulary, device, .. } = self.resident.as_mut().ok_or_else(missing)?;
        let forked = device.scope(|| {
            let model = network.decoder()?;
            sequence.fork(submission, model)?.drafted_by(draft, submission, model)
        })?;
        let Some(grammar) = &submission.grammar else { return Ok(forked) };
        Ok(forked.obeying(vocabulary.constrain(grammar, &submission.stop_tokens)?))
    }

    fn logprobs(&mut self, sequence: &mut Sequence) -> std::result::Result<Option<Logprobs>, Failure> {
        let Resident { device, .. } = self.resident()?;
        device.scope(|| sequence.logprobs()).map_err(Failure::from)
    }

    fn begin_text(&mut self, tokens: &[TokenId], pooling: Pooling) -> std::result::Result<Text, Failure> {
        let Resident { network, device, .. } = self.resident()?;
        device.scope(|| Text::new(tokens, pooling, network)).map_err(Failure::from)
    }

    fn embed(&mut self, text: &mut Text) -> std::result::Result<Option<Vec<f32>>, Failure> {
        let Resident { network, device, .. } = self.resident()?;
        device.scope(|| text.step(network, device)).map_err(Failure::from)
    }

    fn built(&self, sequence: &Sequence) -> Duration {
        sequence.built()
    }

    fn speculated(&self, sequence: &Sequence) -> u32 {
        sequence.speculated()
    }

    fn trim(&mut self) {
        let Some(Resident { kept, device, .. }) = &self.resident else { return };
        if let Some(kept) = kept {
            kept.clear();
        }
        // It can fail only on a device that is lost, which the next step tells.
        let _ = device.scope(memory::clear_cache);
    }

    fn memory(&self) -> Memory {
        let kept = self.resident.as_ref().and_then(|resident| resident.kept.as_ref());
        Memory { prefix_bytes: kept.map_or(0, |kept| kept.bytes()), ..device::memory() }
    }
}

fn needs_on(device: &Device, load: &Load) -> Result<Needs> {
    let mut weight_bytes = weight_bytes(device, &load.path)?;
    if let Some(draft) = &load.draft
        && draft::look(&load.path, draft).is_ok()
    {
        // One that is broken takes nothing.
        weight_bytes += self::weight_bytes(device, draft).unwrap_or(0);
    }
    Ok(Needs { weight_bytes, scratch_bytes: device::scratch(weight_bytes), device: device.memory })
}

/// Bytes that the weights of a folder will take.
fn weight_bytes(device: &Device, folder: &Path) -> Result<u64> {
    let config = Config::read(folder)?;
    let bits = quantization::usual_bits(&config);
    Ok(Weights::open(folder, config.quantization(), device, &mut |_, _| {})?.needed_bytes(bits))
}

/// A model, its draft or why it has none, and what is told of both.
type Both = (Network, std::result::Result<Rc<Draft>, String>, Loaded);

fn load_on(device: &Device, load: &Load, progress: &mut dyn FnMut(u64, u64)) -> Result<Both> {
    let seen = load.draft.as_ref().map(|draft| draft::look(&load.path, draft).map(|bytes| (draft, bytes)));
    let more = seen.as_ref().and_then(|seen| seen.as_ref().ok()).map_or(0, |(_, bytes)| *bytes);
    let mut model_bytes = 0;
    let one = place(device, &load.path, &mut |done, total| {
        model_bytes = total;
        progress(done, total + more);
    })?;
    let Placed { network, mut weight_bytes, kept } = one;
    let Keeps { mut token_bytes, window: (window_tokens, window_bytes) } = kept;
    let drafted = seen.map(|seen| {
        let (folder, _) = seen?;
        let mut progress = |done: u64, _| progress(model_bytes + done.min(more), model_bytes + more);
        // One with windows is none.
        let Placed { network, weight_bytes: weights, kept } =
            place(device, folder, &mut progress).map_err(|error| error.to_string())?;
        let draft = Draft::new(network).map_err(|error| error.to_string())?;
        (weight_bytes, token_bytes) = (weight_bytes + weights, token_bytes + kept.token_bytes);
        Ok(Rc::new(draft))
    });
    device::limit_scratch(device::scratch(weight_bytes))?;
    memory::clear_cache()?;
    let facts = network.facts();
    let dtype = type_name(facts.dtype)?.to_owned();
    let draft_refused = drafted.as_ref().and_then(|drafted| drafted.as_ref().err().cloned());
    let draft = drafted.unwrap_or_else(|| Err(draft::none())).map_err(|why| match &draft_refused {
        Some(_) => draft::refused(&why),
        None => why,
    });
    let (vocab_size, device) = (facts.vocab_size, device.name.clone());
    let loaded =
        Loaded { vocab_size, weight_bytes, device, dtype, token_bytes, window_tokens, window_bytes, draft_refused };
    Ok((network, draft, loaded))
}

/// A model in memory, and what it takes there.
struct Placed {
    network: Network,
    weight_bytes: u64,
    kept: Keeps,
}

/// What a model keeps of a sequence.
#[derive(Default)]
struct Keeps {
    /// Bytes of each token.
    token_bytes: u64,
    /// Tokens that its windows keep at most, and bytes of each beside.
    window: (u32, u64),
}

/// Loads one and runs it once.
fn place(device: &Device, folder: &Path, progress: &mut dyn FnMut(u64, u64)) -> Result<Placed> {
    let config = Config::read(folder)?;
    let mut weights = Weights::open(folder, config.quantization(), device, progress)?;
    let network = Network::load(&config, &mut weights)?;
    let weight_bytes = weights.finish()?;
    device::limit_scratch(device::scratch(weight_bytes))?;
    let kept = warm_up(&network, device)?;
    Ok(Placed { network, weight_bytes, kept })
}

/// Runs a chunk, a step and a draw, and a step of two where they share buffers, which has the device compile and page in
/// what the first request would wait for. Answers what it keeps of a sequence.
fn warm_up(network: &Network, device: &Device) -> Result<Keeps> {
    let Network::Decoder(model) = network else {
        return Text::new(&[0], Pooling::Mean, network)?.step(network, device).map(|_| Keeps::default());
    };
    let mut submission = greedy(&[0, 0], 2);
    submission.sampling = Sampling { temperature: 1.0, top_p: 0.5, ..submission.sampling };
    let begin = || -> Result<Sequence> {
        let mut sequence = Sequence::new(&submission, model.as_ref())?;
        sequence.step(model.as_ref(), device, Pace::Alone)?;
        Ok(sequence)
    };
    let mut sequence = begin()?;
    sequence.step(model.as_ref(), device, Pace::Alone)?;
    let keeps = Keeps { token_bytes: sequence.token_bytes(), window: sequence.window_bytes() };
    if device.sharing.is_some() {
        batch::decode(&mut [&mut begin()?, &mut begin()?], model.as_ref(), device)
            .into_iter()
            .collect::<Result<Vec<_>>>()?;
        return Ok(Keeps { token_bytes: cache::at_most(keeps.token_bytes), ..keeps });
    }
    Ok(keeps)
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
