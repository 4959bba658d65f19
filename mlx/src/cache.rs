//! What a sequence keeps of the tokens computed so far, one cache for each layer.
//!
//! Written in place, which MLX does only while nothing else holds the buffer: no clone of a handle may be kept, and no
//! view beyond the step that asked for it. Only where a sequence is forked is a clone meant: whoever writes first copies.
//!
//! Sequences that are computed together may have the same buffers, a row each: see [`Table`].

mod conv;
mod frozen;
mod full;
mod packed;
mod shared;
mod stacks;
mod window;

use std::cell::RefMut;

use engine::message::KvBits;
use mlx_rs::Array;
use mlx_rs::error::{Exception, Result as MlxResult};
use mlx_rs::ops;

use crate::array::write;
use crate::error::{Error, Result};

pub use self::conv::ConvCache;
pub use self::frozen::Chunk;
pub use self::full::FullCache;
pub use self::packed::PackedCache;
pub use self::shared::{Seat, Table, at_most, gather, leave, seat_of};
pub use self::window::WindowCache;

/// Tokens that room is made for at a time.
const STEP: i32 = 256;

/// Room of plain numbers beside whole steps. Where there is none, MLX takes cuDNN's attention for a step of one token, from
/// 256 tokens on, which is built anew for every room, in 0.7 to 1.1 s on an H200, and then takes longer than MLX's own up to
/// some thousands of tokens: 1.63 ms for 28 layers with 2048, against 1.01.
const BESIDE: i32 = 8;

/// The cache of one layer.
pub enum Cache {
    /// Keys and values of all tokens.
    Full(FullCache),
    /// The same in few bits.
    Packed(PackedCache),
    /// Those of the last tokens.
    Window(WindowCache),
    /// What a short convolution sees of the last tokens.
    Conv(ConvCache),
}

impl Cache {
    /// One that keeps every token.
    pub fn full() -> Self {
        Self::Full(FullCache::default())
    }

    /// One that keeps the last `tokens`.
    pub fn window(tokens: i32) -> Self {
        Self::Window(WindowCache::new(tokens))
    }

    /// One for a convolution that sees `tokens`, its own included.
    pub fn conv(tokens: i32) -> Self {
        Self::Conv(ConvCache::new(tokens))
    }

    /// Another with the same tokens. Both may hold the same buffers until one of them writes, which then makes a copy for
    /// itself.
    pub fn fork(&self) -> MlxResult<Self> {
        Ok(match self {
            Self::Full(cache) => Self::Full(cache.fork()?),
            Self::Packed(cache) => Self::Packed(cache.clone()),
            Self::Window(cache) => Self::Window(cache.clone()),
            Self::Conv(cache) => Self::Conv(cache.clone()),
        })
    }

    /// Tokens that it has seen: the position of the next.
    pub fn len(&self) -> i32 {
        match self {
            Self::Full(cache) => cache.len(),
            Self::Packed(cache) => cache.len(),
            Self::Window(cache) => cache.len(),
            Self::Conv(cache) => cache.len(),
        }
    }

    /// Bytes for each token, of what grows with every token.
    pub fn token_bytes(&self) -> u64 {
        match self {
            Self::Full(_) | Self::Packed(_) => self.state().map(a_token).sum(),
            Self::Window(_) | Self::Conv(_) => 0,
        }
    }

    /// Of a window, the tokens that it keeps, and bytes of each once one is there.
    pub fn window_bytes(&self) -> Option<(u32, u64)> {
        let Self::Window(cache) = self else { return None };
        Some((cache.window().unsigned_abs(), self.state().map(a_token).sum()))
    }

    /// Whether it can be cut: a window has overwritten what lay before, a convolution has forgotten it.
    pub fn can_cut(&self) -> bool {
        matches!(self, Self::Full(_) | Self::Packed(_))
    }

    /// Takes back all but the first `len` tokens.
    pub fn cut(&mut self, len: i32) -> Result<()> {
        match self {
            Self::Full(cache) => cache.cut(len),
            Self::Packed(cache) => cache.cut(len),
            Self::Window(_) | Self::Conv(_) => {
                return Err(Error::Internal("a cache that keeps only the last tokens was to be cut".into()));
            }
        }
        Ok(())
    }

    /// Clears what was cut off, where it is no number and so would show.
    pub fn wipe(&mut self) -> MlxResult<()> {
        match self {
            Self::Packed(cache) => cache.wipe(),
            Self::Full(_) | Self::Window(_) | Self::Conv(_) => Ok(()),
        }
    }

    /// The buffers: once they are computed, so is everything written to them.
    pub fn state(&self) -> impl Iterator<Item = &Array> {
        let buffers = match self {
            Self::Full(cache) => cache.buffers().to_vec(),
            Self::Packed(cache) => cache.buffers(),
            Self::Window(cache) => cache.buffers().to_vec(),
            Self::Conv(cache) => cache.buffers().to_vec(),
        };
        buffers.into_iter().flatten()
    }
}

/// What the sequences of one step keep. Its rows are first those of a table, idle ones too, then those with buffers of their
/// own, then some that belong to nobody.
pub struct Batch<'a> {
    table: Option<RefMut<'a, Table>>,
    /// Each has the caches of all layers of a sequence.
    rows: Vec<&'a mut [Cache]>,
    /// Rows that nobody asks for: a product may be faster with them than without.
    spare: usize,
    pass: Pass,
}

/// What the layers of a pass over one sequence share: made by the first that asks for it, and used by the others.
#[derive(Default)]
pub struct Pass {
    /// Which keys are seen, by the counts of tokens and keys.
    mask: Option<([i32; 2], Array)>,
    /// A number that GPUs read.
    before: Option<(i32, Array)>,
}

impl Pass {
    /// Which of so many keys each of so many tokens sees.
    pub fn mask(&mut self, sizes: [i32; 2], masking: impl FnOnce() -> MlxResult<Array>) -> MlxResult<Array> {
        match &self.mask {
            Some((made, mask)) if *made == sizes => Ok(mask.clone()),
            _ => Ok(self.mask.insert((sizes, masking()?)).1.clone()),
        }
    }

    /// So many tokens, as an array.
    pub fn before(&mut self, tokens: i32) -> Array {
        match &self.before {
            Some((made, before)) if *made == tokens => before.clone(),
            _ => self.before.insert((tokens, Array::from_int(tokens))).1.clone(),
        }
    }
}

impl<'a> Batch<'a> {
    /// A single sequence.
    pub fn one(caches: &'a mut [Cache]) -> Self {
        Self::of(vec![caches])
    }

    /// Sequences with buffers of their own.
    pub fn of(rows: Vec<&'a mut [Cache]>) -> Self {
        Self { table: None, rows, spare: 0, pass: Pass::default() }
    }

    /// The sequences of a table, which is ready for a step, and others; with `spare` rows behind them.
    pub fn sharing(table: RefMut<'a, Table>, rows: Vec<&'a mut [Cache]>, spare: usize) -> Self {
        Self { table: Some(table), rows, spare, pass: Pass::default() }
    }

    /// Tokens before the next one, of each row.
    pub fn offsets(&self) -> Vec<i32> {
        let mut offsets = self.table.as_ref().map_or_else(Vec::new, |table| table.offsets());
        offsets.extend(self.rows.iter().map(|caches| caches.first().map_or(0, Cache::len)));
        offsets.resize(offsets.len() + self.spare, 0);
        offsets
    }

    /// What layer `place` keeps.
    pub fn layer(&mut self, place: usize) -> LayerCache<'_> {
        match (&mut self.table, self.rows.as_mut_slice()) {
            (None, [caches]) => LayerCache::One(&mut caches[place], &mut self.pass),
            (table, rows) => LayerCache::Rows(LayerRows {
                table: table.as_deref_mut().map(|table| (table, place)),
                caches: rows.iter_mut().map(|caches| &mut caches[place]).collect(),
                spare: self.spare,
            }),
        }
    }
}

/// What one layer keeps of the sequences that a step computes together.
pub enum LayerCache<'a> {
    /// Of a single one.
    One(&'a mut Cache, &'a mut Pass),
    /// Of several.
    Rows(LayerRows<'a>),
}

/// One layer of a [`Batch`].
pub struct LayerRows<'a> {
    /// Those that share, and which of its layers this is.
    pub table: Option<(&'a mut Table, usize)>,
    /// Those that have a cache of their own: each can leave, wait or fail without touching the others.
    pub caches: Vec<&'a mut Cache>,
    /// Rows behind them that nobody asks for.
    pub spare: usize,
}

/// Empty `caches` of one model, with those that keep every token in `bits` for each number; `head_dim` numbers make a
/// head. What is bounded stays as it is: a window, and what a convolution sees.
///
/// Not supported where heads cannot be cut into groups, or no layer keeps every token.
pub fn in_bits(caches: Vec<Cache>, bits: KvBits, head_dim: i32) -> Result<Vec<Cache>> {
    let group_size = packed::group_size(head_dim)?;
    if !caches.iter().any(|cache| matches!(cache, Cache::Full(_))) {
        let bits = bits.count();
        let words = "every layer keeps only a window of tokens, which is not packed; leave them as they are";
        return Err(Error::NotSupported(format!("keys and values cannot be kept in {bits} bits: {words}")));
    }
    let packed = |cache| match cache {
        Cache::Full(_) => Cache::Packed(PackedCache::new(bits, group_size)),
        other => other,
    };
    Ok(caches.into_iter().map(packed).collect())
}

/// A buffer of keys or of values, `[1, heads, room, dims]`; `None` until the first tokens come.
type Buffer = Option<Array>;

/// The tokens of an array of keys or values, `[1, heads, tokens, dims]`.
fn tokens(new: &Array) -> MlxResult<i32> {
    match new.shape() {
        &[_, _, tokens, _] => Ok(tokens),
        shape => Err(Exception::custom(format!("a cache cannot hold the shape {shape:?}"))),
    }
}

/// Writes `new` at `start` into the buffer in `slot`, which gets room for `room` tokens if it has less.
fn put(slot: &mut Buffer, new: &Array, start: i32, room: i32) -> MlxResult<()> {
    *slot = Some(written(slot.take(), new, start, room)?);
    Ok(())
}

/// `buffer` with `new` at `start`, and room for `room` tokens if it had less.
fn written(buffer: Buffer, new: &Array, start: i32, room: i32) -> MlxResult<Array> {
    write(with_room(buffer, new, room)?, new, [0, 0, start, 0])
}

/// `buffer` with room for `room` tokens of the shape and type of `new`.
fn with_room(mut buffer: Buffer, new: &Array, room: i32) -> MlxResult<Array> {
    let has = buffer.as_ref().map_or(0, |buffer| buffer.shape()[2]);
    if let Some(buffer) = buffer.take_if(|_| room <= has) {
        return Ok(buffer);
    }
    let mut shape = new.shape().to_vec();
    shape[2] = room - has;
    match buffer {
        Some(buffer) => ops::concatenate(&[buffer, ops::zeros_dtype(&shape, new.dtype())?], 2),
        None => ops::zeros_dtype(&shape, new.dtype()),
    }
}

/// `tokens` rounded up to whole steps.
fn in_steps(tokens: i32) -> i32 {
    (tokens + STEP - 1) / STEP * STEP
}

/// Room for `tokens` as plain numbers, in whole steps and a little.
fn plain_room(tokens: i32) -> i32 {
    in_steps((tokens - BESIDE).max(1)) + BESIDE
}

/// Bytes of a buffer for each token that it has room for.
fn a_token(buffer: &Array) -> u64 {
    buffer.nbytes() as u64 / u64::from(buffer.shape()[2].max(1).unsigned_abs())
}

#[cfg(test)]
#[path = "cache_tests.rs"]
mod tests;
