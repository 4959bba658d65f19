//! What the layers keep of chunks of tokens, copied out so that it outlives the sequence that computed it, and caches made
//! of such copies.
//!
//! No copy holds a cache's buffer (but for 16 KiB at most, which MLX spares a copy for), and no cache holds a frozen
//! one: a step writes to its own in place.

use std::ops::Range;

use mlx_rs::Array;
use mlx_rs::error::Result;
use mlx_rs::ops;

use super::{Cache, stacks, tokens};
use crate::array::rows;
use crate::packed::Packed;

/// Of all layers.
#[derive(Clone)]
pub struct Chunk {
    /// Of those that keep every token as plain numbers.
    stacks: Vec<Array>,
    /// Of each layer, what is not in a stack.
    layers: Vec<Piece>,
}

/// Of one layer.
#[derive(Clone)]
enum Piece {
    /// Keys and values of every token are in a stack.
    Full,
    /// Those of every token in few bits, `[1, heads, tokens, …]`.
    Packed([Packed; 2]),
    /// Keys and values of the last tokens of the chunk: all where the window still had them, else those that the next
    /// token sees or fewer. `None` for none.
    Window(Option<[Array; 2]>),
    /// What a convolution sees before the token after the chunk, `[1, tokens, channels]`, where it was still there.
    Conv(Option<Array>),
}

impl Chunk {
    /// Copies of what `caches` have of the chunks of `size` tokens at `places`, which were all computed.
    pub fn freeze(caches: &[Cache], places: Range<usize>, size: usize) -> Result<Vec<Self>> {
        let stacks = stacks::freeze(caches, places.clone(), size)?;
        let chunk = |(place, stacks): (usize, Vec<Array>)| {
            let tokens = (place * size) as i32..((place + 1) * size) as i32;
            let layers = caches.iter().map(|cache| Piece::freeze(cache, tokens.clone())).collect::<Result<_>>()?;
            Ok(Self { stacks, layers })
        };
        places.zip(stacks).map(chunk).collect()
    }

    /// Puts `path` of chunks of `size` tokens into empty caches, which can be thawed so. They get room for `room` tokens, where
    /// they keep all. What is needed for making them takes no more than `most_bytes`, beside a layer's.
    pub fn thaw(path: &[&Self], caches: &mut [Cache], size: usize, room: usize, most_bytes: usize) -> Result<()> {
        let stacks: Vec<_> = path.iter().map(|chunk| chunk.stacks.as_slice()).collect();
        stacks::thaw(caches, &stacks, (path.len() * size) as i32, room as i32, most_bytes)?;
        for (layer, cache) in caches.iter_mut().enumerate() {
            cache.thaw(&of_layer(path, layer), size, room as i32)?;
        }
        Ok(())
    }

    /// How many chunks of `path`, of `size` tokens each, empty caches can be thawed from; the most that can.
    pub fn reach(path: &[&Self], caches: &[Cache], size: usize) -> usize {
        let layers: Vec<_> = (0..caches.len()).map(|layer| of_layer(path, layer)).collect();
        let can = |count: &usize| caches.iter().zip(&layers).all(|(cache, path)| cache.can_thaw(&path[..*count], size));
        (1..=path.len()).rev().find(can).unwrap_or(0)
    }

    /// Whether sequences with such `caches` can go on behind it, being of `size` tokens, if they have what lies before.
    pub fn is_whole(&self, caches: &[Cache], size: usize) -> bool {
        caches.iter().zip(&self.layers).all(|(cache, piece)| cache.is_whole(piece, size))
    }

    /// What it consists of.
    pub fn arrays(&self) -> impl Iterator<Item = &Array> {
        self.stacks.iter().chain(self.layers.iter().flat_map(Piece::arrays))
    }

    /// Of all arrays.
    pub fn bytes(&self) -> u64 {
        self.arrays().map(|array| array.nbytes() as u64).sum()
    }
}

fn of_layer<'a>(path: &[&'a Chunk], layer: usize) -> Vec<&'a Piece> {
    path.iter().map(|chunk| &chunk.layers[layer]).collect()
}

impl Piece {
    /// A copy of what a cache keeps of these tokens.
    fn freeze(cache: &Cache, tokens: Range<i32>) -> Result<Self> {
        Ok(match cache {
            Cache::Full(_) => Self::Full,
            Cache::Packed(cache) => Self::Packed(cache.frozen(tokens)?),
            Cache::Window(cache) => Self::Window(cache.frozen(tokens)?),
            Cache::Conv(cache) => Self::Conv(cache.frozen(tokens.end)?),
        })
    }

    /// What it consists of.
    fn arrays(&self) -> Vec<&Array> {
        match self {
            Self::Window(Some(both)) => both.iter().collect(),
            Self::Packed(both) => both.iter().flat_map(Packed::arrays).flatten().collect(),
            Self::Conv(last) => last.iter().collect(),
            Self::Full | Self::Window(None) => Vec::new(),
        }
    }

    /// Of a window, the tokens that are there.
    fn tokens(&self) -> usize {
        match self {
            Self::Window(Some([keys, _])) => keys.shape()[2] as usize,
            _ => 0,
        }
    }

    fn packed(&self) -> Option<&[Packed; 2]> {
        if let Self::Packed(both) = self { Some(both) } else { None }
    }

    fn window(&self) -> Option<&[Array; 2]> {
        if let Self::Window(both) = self { both.as_ref() } else { None }
    }

    fn conv(&self) -> Option<&Array> {
        if let Self::Conv(last) = self { last.as_ref() } else { None }
    }
}

impl Cache {
    /// Drops what is there to be frozen alone.
    pub fn forget(&mut self) {
        match self {
            Self::Full(_) | Self::Packed(_) => {}
            Self::Window(cache) => cache.forget(),
            Self::Conv(cache) => cache.forget(),
        }
    }

    /// Whether a sequence can go on behind a piece of this layer, of a chunk of so many tokens, if it has what lies
    /// before.
    fn is_whole(&self, piece: &Piece, chunk: usize) -> bool {
        match (self, piece) {
            (Self::Window(cache), piece) => piece.tokens() >= chunk.min(cache.window() as usize - 1),
            (_, Piece::Conv(last)) => last.is_some(),
            _ => true,
        }
    }

    /// Whether this cache could be thawed from `path` of chunks of `chunk` tokens.
    fn can_thaw(&self, path: &[&Piece], chunk: usize) -> bool {
        match (self, path.last()) {
            (Self::Window(cache), _) => {
                let seen = (cache.window() as usize - 1).min(path.len() * chunk);
                last_of_window(path, seen, chunk).is_some()
            }
            (Self::Conv(_), Some(Piece::Conv(last))) => last.is_some(),
            _ => true,
        }
    }

    /// Puts `path` of chunks of `chunk` tokens into this cache, which is empty, of the same layer and can be thawed so. It gets
    /// room for `room` tokens, if it keeps all. What lies in stacks is none of its matter.
    fn thaw(&mut self, path: &[&Piece], chunk: usize, room: i32) -> Result<()> {
        let len = (path.len() * chunk) as i32;
        match self {
            Self::Full(_) => Ok(()),
            Self::Packed(cache) => {
                let parts: Vec<_> = path.iter().filter_map(|piece| piece.packed()).collect();
                cache.thaw(&parts, len, room)
            }
            Self::Window(cache) => {
                let seen = (cache.window() - 1).min(len);
                let pieces = last_of_window(path, seen as usize, chunk).unwrap_or_default();
                cache.thaw(&pieces.iter().filter_map(|piece| piece.window()).collect::<Vec<_>>(), len)
            }
            Self::Conv(cache) => {
                cache.thaw(path.last().and_then(|piece| piece.conv()).cloned(), len);
                Ok(())
            }
        }
    }
}

/// The last pieces of `path` that have `seen` tokens together, one behind the other without a gap.
fn last_of_window<'a>(path: &'a [&'a Piece], seen: usize, chunk: usize) -> Option<&'a [&'a Piece]> {
    let (mut start, mut held) = (path.len(), 0);
    while held < seen {
        start = start.checked_sub(1)?;
        let tokens = path[start].tokens();
        held += tokens;
        // Before one that lacks its first tokens there is a gap.
        if held < seen && tokens < chunk {
            return None;
        }
    }
    Some(&path[start..])
}

/// The rows from `start` to before `end`, in a buffer of their own.
pub(super) fn copied(buffer: &Array, rows: Range<i32>) -> Result<Array> {
    self::rows(buffer, rows.start, rows.end)?.contiguous()
}

/// The rows of all, and as many zeros behind them as make `room`.
pub(super) fn with_room(parts: &[&Array], room: i32) -> Result<Array> {
    let held = parts.iter().map(|part| tokens(part)).sum::<Result<i32>>()?;
    let mut parts = parts.to_vec();
    let zeros = match parts.first() {
        Some(first) if held < room => Some(zeros(first, room - held)?),
        _ => None,
    };
    parts.extend(&zeros);
    ops::concatenate(&parts, 2)
}

/// So many rows of zeros, else like `like`.
pub(super) fn zeros(like: &Array, rows: i32) -> Result<Array> {
    let mut shape = like.shape().to_vec();
    shape[2] = rows;
    ops::zeros_dtype(&shape, like.dtype())
}

#[cfg(test)]
#[path = "frozen_tests.rs"]
mod tests;
