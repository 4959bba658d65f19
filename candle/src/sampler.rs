//! How the next token is chosen from the logits. Order and formulas are those of mlx-lm's `sample_utils.py`: logit bias,
//! penalties, then on log-probabilities without temperature `top_p`, `min_p`, xtc, `top_k`, then the draw.

use engine::message::{Sampling, TokenId, Xtc};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::error::{Error, Result};
use crate::logprobs::log_sum_exp;

/// Last tokens, of prompt and answer together, that penalties look at.
const HISTORY: usize = 20;

/// The choices of one sequence.
pub struct Sampler {
    sampling: Sampling,
    /// The last tokens, up to [`HISTORY`].
    history: Vec<TokenId>,
    random: StdRng,
}

impl Sampler {
    /// For a sequence that starts with `prompt`, and a model with `vocab_size` tokens.
    pub fn new(sampling: &Sampling, prompt: &[TokenId], vocab_size: usize) -> Result<Self> {
        check(sampling, vocab_size)?;
        let history = prompt[prompt.len().saturating_sub(HISTORY)..].to_vec();
        Ok(Self { sampling: sampling.clone(), history, random: StdRng::seed_from_u64(sampling.seed) })
    }

    /// The token after `logits`, one for each token of the vocabulary, none of them NaN.
    pub fn next(&mut self, mut logits: Vec<f32>) -> TokenId {
        self.adjust(&mut logits);
        let token = if self.sampling.temperature > 0.0 { self.draw(logits) } else { likeliest(&logits) };
        self.history.push(token);
        let excess = self.history.len().saturating_sub(HISTORY);
        self.history.drain(..excess);
        token
    }

    /// Bias and penalties.
    fn adjust(&self, logits: &mut [f32]) {
        let Sampling { repetition_penalty, presence_penalty, frequency_penalty, logit_bias, .. } = &self.sampling;
        for (token, bias) in logit_bias {
            logits[*token as usize] += bias;
        }
        let mut once = self.history.clone();
        once.sort_unstable();
        once.dedup();
        for token in &once {
            let logit = &mut logits[*token as usize];
            *logit = if *logit < 0.0 { *logit * repetition_penalty } else { *logit / repetition_penalty };
            *logit -= presence_penalty;
        }
        for token in &self.history {
            logits[*token as usize] -= frequency_penalty;
        }
    }

    fn draw(&mut self, mut logits: Vec<f32>) -> TokenId {
        let Sampling { temperature, top_p: share, min_p: least, top_k: count, .. } = self.sampling;
        let total = log_sum_exp(&logits);
        for logit in &mut logits {
            *logit -= total;
        }
        if share < 1.0 {
            top_p(&mut logits, share);
        }
        if least > 0.0 {
            let threshold = greatest(&logits) + least.ln();
            drop_if(&mut logits, |logit| logit < threshold);
        }
        if let Some(settings) = &self.sampling.xtc
            && self.random.random::<f32>() <= settings.probability
        {
            xtc(&mut logits, settings);
        }
        if (1..logits.len()).contains(&(count as usize)) {
            top_k(&mut logits, count as usize);
        }
        let best = greatest(&logits);
        let shares: Vec<f32> = logits.iter().map(|logit| ((logit - best) / temperature).exp()).collect();
        choose(&shares, self.random.random())
    }
}

/// Of equals the first.
fn likeliest(logits: &[f32]) -> TokenId {
    let better = |best: usize, next: usize| if logits[next] > logits[best] { next } else { best };
    (1..logits.len()).fold(0, better) as TokenId
}

/// The token at which `point`, from 0 to 1, of all shares is reached.
fn choose(shares: &[f32], point: f32) -> TokenId {
    let mut left = shares.iter().map(|share| f64::from(*share)).sum::<f64>() * f64::from(point);
    let mut last = 0;
    for (token, share) in shares.iter().enumerate().filter(|(_, share)| **share > 0.0) {
        left -= f64::from(*share);
        last = token;
        if left < 0.0 {
            break;
        }
    }
    last as TokenId
}

fn greatest(logits: &[f32]) -> f32 {
    logits.iter().copied().fold(f32::NEG_INFINITY, f32::max)
}

fn drop_if(logits: &mut [f32], dropped: impl Fn(f32) -> bool) {
    for logit in logits.iter_mut().filter(|logit| dropped(**logit)) {
        *logit = f32::NEG_INFINITY;
    }
}

/// The likeliest first.
fn sorted(logits: &[f32]) -> Vec<f32> {
    let mut sorted = logits.to_vec();
    sorted.sort_unstable_by(|a, b| b.total_cmp(a));
    sorted
}

/// A token is dropped when those likelier than it already have the share.
fn top_p(logprobs: &mut [f32], share: f32) {
    let order = sorted(logprobs);
    let total: f32 = order.iter().map(|logprob| logprob.exp()).sum();
    let mut above = 0.0;
    let kept = order.iter().take_while(|logprob| {
        let keeps = above < share * total;
        above += logprob.exp();
        keeps
    });
    let threshold = kept.last().copied().unwrap_or(f32::NEG_INFINITY);
    drop_if(logprobs, |logprob| logprob < threshold);
}

/// Of the tokens above the threshold only the least likely stays, and those that are spared.
fn xtc(logits: &mut [f32], settings: &Xtc) {
    let total = log_sum_exp(logits);
    let prob = |logit: f32| (logit - total).exp();
    let least = logits.iter().copied().filter(|logit| prob(*logit) > settings.threshold).fold(f32::INFINITY, f32::min);
    let spared: Vec<(TokenId, f32)> = settings.spared.iter().map(|token| (*token, logits[*token as usize])).collect();
    drop_if(logits, |logit| logit > least);
    for (token, logit) in spared {
        logits[token as usize] = logit;
    }
}

/// As many as `count`; of equals the first.
fn top_k(logits: &mut [f32], count: usize) {
    let mut order: Vec<usize> = (0..logits.len()).collect();
    order.sort_by(|a, b| logits[*b].total_cmp(&logits[*a]));
    for place in &order[count..] {
        logits[*place] = f32::NEG_INFINITY;
    }
}

/// The daemon checks what apps send; this keeps a fault of its own from becoming a panic or numbers that mean nothing.
fn check(sampling: &Sampling, vocab_size: usize) -> Result<()> {
    let known = |token: &TokenId| (*token as usize) < vocab_size;
    let sound_xtc = |xtc: &Xtc| {
        let ranges = (0.0..=1.0).contains(&xtc.probability) && (0.0..=0.5).contains(&xtc.threshold);
        ranges && xtc.spared.iter().all(known)
    };
    let sound = [
        ("temperature", sampling.temperature.is_finite() && sampling.temperature >= 0.0),
        ("top_p", sampling.top_p > 0.0 && sampling.top_p <= 1.0),
        ("min_p", (0.0..=1.0).contains(&sampling.min_p)),
        ("xtc", sampling.xtc.as_ref().is_none_or(sound_xtc)),
        ("repetition_penalty", sampling.repetition_penalty.is_finite() && sampling.repetition_penalty > 0.0),
        ("presence_penalty", sampling.presence_penalty.is_finite()),
        ("frequency_penalty", sampling.frequency_penalty.is_finite()),
        ("logit_bias", sampling.logit_bias.iter().all(|(token, bias)| known(token) && bias.is_finite())),
    ];
    match sound.iter().find(|(_, sound)| !sound) {
        Some((name, _)) => Err(Error::Internal(format!("{name} of {sampling:?} is out of its range"))),
        None => Ok(()),
    }
}

#[cfg(test)]
#[path = "sampler_tests.rs"]
mod tests;
