//! Log-probabilities at a token.

use engine::message::{Logprobs, TokenId};

/// Of token `chosen` and of the `count` likeliest: `x − log Σ exp x`. Of equals the lower number comes first.
pub fn at(logits: &[f32], chosen: TokenId, count: u32) -> Logprobs {
    let total = log_sum_exp(logits);
    let mut order: Vec<TokenId> = (0..logits.len() as TokenId).collect();
    order.sort_by(|a, b| logits[*b as usize].total_cmp(&logits[*a as usize]).then(a.cmp(b)));
    let of = |token: TokenId| logits[token as usize] - total;
    Logprobs { chosen: of(chosen), top: order.into_iter().take(count as usize).map(|id| (id, of(id))).collect() }
}

/// `log Σ exp x`
pub fn log_sum_exp(logits: &[f32]) -> f32 {
    let greatest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    greatest + logits.iter().map(|logit| (logit - greatest).exp()).sum::<f32>().ln()
}
