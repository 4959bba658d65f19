//! Causal attention of new tokens to themselves and to all before them, with grouped heads.

mod few_tokens;
mod packed;
mod plain;
mod shared;

use mlx_rs::Array;
use mlx_rs::error::{Exception, Result};
use mlx_rs::fast::{ScaledDotProductAttentionMask as Mask, scaled_dot_product_attention};
use mlx_rs::ops;

use crate::array::{block, reshape, scalar};
use crate::cache::{Cache, LayerCache, LayerRows, Pass, WindowCache};
use crate::call::{self, Kind, Operation};
use crate::device;

/// How a projection is cut into heads.
#[derive(Debug, Clone, Copy)]
pub struct Heads {
    /// How many.
    pub count: i32,
    /// Numbers of each.
    pub dims: i32,
}

impl Heads {
    /// Numbers of all together.
    pub fn width(self) -> i32 {
        self.count * self.dims
    }

    /// `[rows, tokens, count · dims]` to `[rows, tokens, count, dims]`
    pub fn cut(self, x: &Array) -> Result<Array> {
        x.reshape(&[x.shape()[0], x.shape()[1], self.count, self.dims])
    }

    /// `[rows, tokens, count · dims]` to `[rows, count, tokens, dims]`
    pub fn split(self, x: &Array) -> Result<Array> {
        match x.shape()[1] {
            // The numbers of one token lie in both orders.
            1 => reshape(x, [x.shape()[0], self.count, 1, self.dims]),
            _ => self.cut(x)?.transpose_axes(&[0, 2, 1, 3]),
        }
    }

    /// The way back.
    pub fn join(self, x: &Array) -> Result<Array> {
        let rows = x.shape()[0];
        match x.shape()[2] {
            1 => reshape(x, [rows, 1, self.width()]),
            tokens => x.transpose_axes(&[0, 2, 1, 3])?.reshape(&[rows, tokens, self.width()]),
        }
    }
}

/// What decides the scores, beside the queries and keys.
#[derive(Debug, Clone, Copy)]
pub struct Scores<'a> {
    /// Times this.
    pub scale: f32,
    /// `[heads]`: the score of looking at nothing, where a model has learnt one.
    pub sinks: Option<&'a Array>,
    /// Bent to stay below this.
    pub cap: Option<f32>,
}

impl Scores<'_> {
    /// Divided by √dims.
    pub fn of(dims: i32) -> Self {
        Self { scale: (dims as f32).powf(-0.5), sinks: None, cap: None }
    }
}

/// Adds `keys` and `values` to the cache and lets `queries` attend to what it holds. All with axes `[rows, heads,
/// tokens, dims]`; several heads of the queries share one of the keys. Each row looks at its own cache.
pub fn attend(
    queries: &Array,
    keys: &Array,
    values: &Array,
    cache: &mut LayerCache<'_>,
    scores: Scores<'_>,
) -> Result<Array> {
    match cache {
        LayerCache::One(cache, pass) => attend_one([queries, keys, values], cache, pass, scores),
        LayerCache::Rows(rows) => attend_rows([queries, keys, values], rows, scores),
    }
}

/// [`attend`] for several sequences.
fn attend_rows(new: [&Array; 3], rows: &mut LayerRows<'_>, scores: Scores<'_>) -> Result<Array> {
    let count = new[0].shape()[0];
    let part = |start: i32, end: i32| match (start, end) {
        (0, end) if end == count => Ok::<_, Exception>(new.map(Clone::clone)),
        _ => {
            let [queries, keys, values] = new.map(|array| block(array, start..end, 0..array.shape()[2]));
            Ok([queries?, keys?, values?])
        }
    };
    let mut seen = Vec::new();
    let mut done = 0;
    if let Some((table, layer)) = &mut rows.table {
        done = table.slots() as i32;
        seen.push(shared::attend(part(0, done)?, table, *layer, scores)?);
    }
    for (row, cache) in (done..).zip(&mut rows.caches) {
        let new = part(row, row + 1)?;
        seen.push(attend_one(new.each_ref(), cache, &mut Pass::default(), scores)?);
        done = row + 1;
    }
    if rows.spare > 0 {
        // Any numbers do.
        seen.push(part(done, count)?[0].clone());
    }
    match <[Array; 1]>::try_from(seen) {
        Ok([all]) => Ok(all),
        Err(seen) => ops::concatenate(&seen, 0),
    }
}

/// [`attend`] for one sequence.
fn attend_one(
    [queries, keys, values]: [&Array; 3],
    cache: &mut Cache,
    pass: &mut Pass,
    scores: Scores<'_>,
) -> Result<Array> {
    let tokens = queries.shape()[2];
    let window = match cache {
        Cache::Window(cache) => window_mask(cache, tokens)?,
        _ => None,
    };
    let (keys, values) = match cache {
        Cache::Full(cache) => {
            let before = cache.len();
            cache.append(keys, values)?;
            if let [Some(keys), Some(values)] = cache.buffers() {
                let before = || pass.before(before);
                let seen = few_tokens::attend(queries, [keys, values], before, cache.len(), scores);
                if let Some(seen) = seen {
                    return seen;
                }
            }
            cache.held()?
        }
        Cache::Packed(cache) => {
            cache.append(keys, values)?;
            if tokens == 1 {
                return packed::attend(queries, cache, scores);
            }
            // For this chunk alone: products of many rows are faster with plain numbers, and MLX's kernel for them
            // keeps no score of each token with each.
            cache.unpacked()?
        }
        Cache::Window(cache) => cache.update(keys, values)?,
        Cache::Conv(_) => return Err(Exception::custom("a convolution's cache holds no keys")),
    };
    let seen = keys.shape()[2];
    let by_products = window.is_none() && scores.sinks.is_none() && device::builds_kernels() && is_odd(tokens, seen);
    if scores.cap.is_some() || by_products {
        let causal = if tokens > 1 { Some(pass.mask([tokens, seen], || causal_mask(tokens, seen))?) } else { None };
        return plain::attend(queries, &keys, &values, causal.as_ref(), scores);
    }
    // One token may see everything that is held; the mask of several is aligned to the end of the keys.
    if tokens == 1 && window.is_none() && scores.sinks.is_none() {
        return seen_by_one(queries, &keys, &values, scores.scale);
    }
    let mask = match &window {
        Some(window) => Some(Mask::Array(window)),
        None => (tokens > 1).then_some(Mask::Causal),
    };
    scaled_dot_product_attention(queries, &keys, &values, scores.scale, mask, scores.sinks)
}

/// What one token sees of all keys and values.
fn seen_by_one(queries: &Array, keys: &Array, values: &Array, scale: f32) -> Result<Array> {
    let operation = Operation::of(Kind::Attention, &[scale.to_bits().cast_signed()]);
    let seen = call::again(&operation, [queries, keys, values], |result, [queries, keys, values], stream| {
        // SAFETY: all handles outlive the call; MLX takes the absent ones as none.
        unsafe {
            let none = call::none();
            mlx_sys::mlx_fast_scaled_dot_product_attention(
                result,
                queries,
                keys,
                values,
                scale,
                c"".as_ptr(),
                none,
                none,
                false,
                stream,
            )
        }
    });
    seen.ok_or_else(|| Exception::custom(format!("{:?} cannot attend to {:?}", queries.shape(), keys.shape())))
}

/// Whether a kernel that is built for so many new tokens and so many keys would hardly be used again: on an H200 it takes
/// 50 to 80 ms to build, as long as twenty such pieces of a prompt take without it, in all layers together. Whole chunks
/// come again; and products of more scores than this are slower by more, and large.
pub fn is_odd(tokens: i32, keys: i32) -> bool {
    const CHUNK: i32 = 512;
    const MOST_SCORES: i64 = 1 << 20;
    tokens > 1 && (tokens % CHUNK, keys % CHUNK) != (0, 0) && i64::from(tokens) * i64::from(keys) < MOST_SCORES
}

/// Which of `seen` keys each of the last `tokens` sees, `[tokens, seen]`.
fn causal_mask(tokens: i32, seen: i32) -> Result<Array> {
    // Made where it is used: what a processor makes takes longer to get to a GPU.
    let position = |from: i32, to: i32| ops::arange::<_, i32>(from, to, 1);
    position(seen - tokens, seen)?.reshape(&[tokens, 1])?.ge(position(0, seen)?)
}

/// `cap · tanh(x / cap)`
pub fn soft_cap(x: &Array, cap: f32) -> Result<Array> {
    let cap = scalar(cap, x)?;
    ops::multiply(ops::tanh(ops::divide(x, &cap)?)?, &cap)
}

/// Which keys `tokens` new ones see, `[tokens, keys]`; `None` where a causal mask says the same.
fn window_mask(cache: &WindowCache, tokens: i32) -> Result<Option<Array>> {
    let window = cache.window();
    let before = cache.len().min(window - 1);
    if tokens == 1 || before + tokens <= window {
        return Ok(None);
    }
    let position = |from: i32, count: i32| Array::from_iter(from..from + count, &[count]);
    let (query, key) = (position(before, tokens).reshape(&[tokens, 1])?, position(0, before + tokens));
    let past = query.ge(&key)?;
    let near = query.lt(&ops::add(&key, Array::from_int(window))?)?;
    past.logical_and(&near).map(Some)
}

#[cfg(test)]
#[path = "attention_tests.rs"]
mod tests;
