//! What leaves only the likelier tokens: the others get a logit of −∞. All take and give shape `[1, vocabulary]`.

use engine::message::Xtc;
use mlx_rs::error::Result;
use mlx_rs::ops::indexing::{TryIndexOp, put_along_axis, take_along_axis};
use mlx_rs::{Array, Dtype, Stream, ops, random};

use crate::array::{scalar, tokens};

/// The fewest tokens that have the probability `share` together: `sample_utils.apply_top_p`. Takes log-probabilities.
/// A token is dropped when those likelier than it already have that share.
pub fn top_p(logprobs: &Array, share: f32) -> Result<Array> {
    let sorted = ops::sort_axis(logprobs, -1)?;
    let probs = ops::exp(&sorted)?;
    let above = probs.cumsum(-1, true, false)?;
    let first = |array: &Array| array.try_index_device((.., ..1), Stream::thread_local_or_default());
    let total = ops::add(&first(&above)?, &first(&probs)?)?;
    let dropped = above.ge(&ops::multiply(&total, &scalar(share, &total)?)?)?;
    let dropped = dropped.as_dtype(Dtype::Int32)?.sum_axis(-1, true)?;
    let threshold = take_along_axis(&sorted, &dropped, -1)?;
    keep(logprobs, &threshold)
}

/// Tokens with at least `share` of the likeliest one's probability: `sample_utils.apply_min_p`.
pub fn min_p(logits: &Array, share: f32) -> Result<Array> {
    let threshold = ops::add(&logits.max_axis(-1, true)?, &scalar(share.ln(), logits)?)?;
    keep(logits, &threshold)
}

/// Now and then all but the least likely of the tokens above a threshold: `sample_utils.apply_xtc`. `draw` decides whether
/// this is such a time, `spared` are tokens that always stay.
pub fn xtc(logits: &Array, xtc: &Xtc, draw: &Array) -> Result<Array> {
    let probs = ops::softmax_axis(logits, -1, true)?;
    let infinite = scalar(f32::INFINITY, &probs)?;
    let above = ops::select(&probs.gt(&scalar(xtc.threshold, &probs)?)?, &probs, &infinite)?;
    let mut dropped = probs.gt(&above.min_axis(-1, true)?)?;
    if !xtc.spared.is_empty() {
        let spared = tokens(&xtc.spared).reshape(&[1, -1])?;
        dropped = put_along_axis(&dropped, &spared, Array::from_bool(false), -1)?;
    }
    let happens = random::uniform::<_, f32>(0.0, 1.0, &[1, 1], draw)?.le(&scalar(xtc.probability, &probs)?)?;
    keep_unless(logits, &happens.logical_and(&dropped)?)
}

/// The `count` likeliest tokens, fewer than there are: `sample_utils.apply_top_k`.
pub fn top_k(logits: &Array, count: i32) -> Result<Array> {
    let order = ops::argpartition_axis(&ops::negative(logits)?, count - 1, -1)?;
    let rest = order.try_index_device((.., count..), Stream::thread_local_or_default())?;
    put_along_axis(logits, &rest, &scalar(f32::NEG_INFINITY, logits)?, -1)
}

fn keep(logits: &Array, threshold: &Array) -> Result<Array> {
    keep_unless(logits, &logits.lt(threshold)?)
}

fn keep_unless(logits: &Array, dropped: &Array) -> Result<Array> {
    ops::select(dropped, &scalar(f32::NEG_INFINITY, logits)?, logits)
}
