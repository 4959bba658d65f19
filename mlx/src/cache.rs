//! What a sequence keeps of the tokens computed so far, one cache for each layer.
//!
//! Written in place, which MLX does only while nothing else holds the buffer: no clone of a handle may be kept, and no
//! view beyond the step that asked for it. Only where a sequence is forked is a clone meant: whoever writes first copies.

mod conv;
mod frozen;
mod full;
mod packed;
mod window;

use engine::message::KvBits;
use mlx_rs::Array;
use mlx_rs::error::{Exception, Result as MlxResult};
use mlx_rs::ops;

use crate::array::write;
use crate::error::{Error, Result};

pub use self::conv::ConvCache;
pub use self::frozen::Piece;
pub use self::full::FullCache;
pub use self::packed::PackedCache;
pub use self::window::WindowCache;

/// Tokens that room is made for at a time.
const STEP: i32 = 256;

/// The cache of one layer.
#[derive(Clone)]
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
        let of = |buffer: &Array| buffer.nbytes() as u64 / u64::from(buffer.shape()[2].max(1).unsigned_abs());
        match self {
            Self::Full(_) | Self::Packed(_) => self.state().map(of).sum(),
            Self::Window(_) | Self::Conv(_) => 0,
        }
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

/// What one layer keeps of the sequences that a step computes together.
pub enum LayerCache<'a> {
    /// Of a single one.
    One(&'a mut Cache),
    /// Of several, each of which has a cache of its own: it can leave, wait or fail without touching the others.
    Rows(Vec<&'a mut Cache>),
}

impl<'a> LayerCache<'a> {
    /// That of layer `place`, where each of `rows` has the caches of all layers of a sequence.
    pub fn at(place: usize, rows: &'a mut [&mut [Cache]]) -> Self {
        match rows {
            [caches] => Self::One(&mut caches[place]),
            rows => Self::Rows(rows.iter_mut().map(|caches| &mut caches[place]).collect()),
        }
    }
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

#[cfg(test)]
#[path = "cache_tests.rs"]
mod tests;
