//! What leaves only the likelier tokens: the others get a logit of −∞. All take and give shape
//! `[rows, vocabulary]`, and a number either for all rows or of each, `[rows, 1]`.

use mlx_rs::error::Result;
use mlx_rs::ops::indexing::{TryIndexOp, put_along_axis, take_along_axis};
use mlx_rs::{Array, Dtype, Stream, ops, random};

use crate::array::scalar;

/// The fewest tokens that have the probability `share` together: `sample_utils.apply_top_p`. Takes log-probabilities.
/// A token is dropped when those likelier than it already have that share.
pub fn top_p(logprobs: &Array, share: &Array) -> Result<Array> {
    let sorted = ops::sort_axis(logprobs, -1)?;
    let probs = ops::exp(&sorted)?;
    let above = probs.cumsum(-1, true, false)?;
    let first = |array: &Array| array.try_index_device((.., ..1), Stream::thread_local_or_default());
    let total = ops::add(&first(&above)?, &first(&probs)?)?;
    let dropped = above.ge(&ops::multiply(&total, share)?)?;
    let dropped = dropped.as_dtype(Dtype::Int32)?.sum_axis(-1, true)?;
    let threshold = take_along_axis(&sorted, &dropped, -1)?;
    keep(logprobs, &threshold)
}

/// Tokens with at least a share, whose logarithm is given, of the likeliest one's probability:
/// `sample_utils.apply_min_p`.
pub fn min_p(logits: &Array, log_share: &Array) -> Result<Array> {
    let threshold = ops::add(&logits.max_axis(-1, true)?, log_share)?;
    keep(logits, &threshold)
}

/// Whether a token is likelier than the least likely of those above a threshold: what `sample_utils.apply_xtc` drops
/// now and then.
pub fn xtc(logits: &Array, threshold: &Array) -> Result<Array> {
    let probs = ops::softmax_axis(logits, -1, true)?;
    let infinite = scalar(f32::INFINITY, &probs)?;
    let above = ops::select(&probs.gt(threshold)?, &probs, &infinite)?;
    probs.gt(&above.min_axis(-1, true)?)
}

/// A number from 0 to 1, `[1, 1]`, that decides whether this is such a time.
pub fn chance(draw: &Array) -> Result<Array> {
    random::uniform::<_, f32>(0.0, 1.0, &[1, 1], draw)
}

/// `dropped` without `tokens`, `[rows, n]`, but for those that stay as they are.
pub fn spare(dropped: &Array, tokens: &Array, stays: &Array) -> Result<Array> {
    let still = take_along_axis(dropped, tokens, -1)?.logical_and(stays)?;
    put_along_axis(dropped, tokens, &still, -1)
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

/// The logits that are not dropped.
pub fn keep_unless(logits: &Array, dropped: &Array) -> Result<Array> {
    ops::select(dropped, &scalar(f32::NEG_INFINITY, logits)?, logits)
}
