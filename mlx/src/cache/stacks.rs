//! Plain keys and values of chunks of tokens, of all layers that keep every token: one array for a chunk. Two for each layer
//! would have a GPU start two small copies for each layer and chunk, where starting one takes longer than copying.
//!
//! A stack is `[buffers, heads, tokens, dims]`: keys and values in turn, layer by layer. Neighbours whose numbers differ in
//! shape or type are in stacks of their own.

use std::ops::Range;

use mlx_rs::error::Result;
use mlx_rs::{Array, ops, transforms};

use super::frozen::{copied, with_room};
use super::{Cache, FullCache, plain_room};
use crate::array::block;

/// Chunks that are copied out together, into one array first and out of that chunk by chunk: for 8 chunks of 28 layers 64
/// copies in place of 448, and eight chunks' room for as long.
const RUN: usize = 8;

/// Of chunks of `size` tokens that were all computed, the stacks of those at `places`.
pub fn freeze(caches: &[Cache], places: Range<usize>, size: usize) -> Result<Vec<Vec<Array>>> {
    let starts = places.clone().step_by(RUN);
    let runs = starts.map(|start| run(caches, start..places.end.min(start + RUN), size));
    Ok(runs.collect::<Result<Vec<_>>>()?.into_iter().flatten().collect())
}

fn run(caches: &[Cache], places: Range<usize>, size: usize) -> Result<Vec<Vec<Array>>> {
    let tokens = (places.start * size) as i32..(places.end * size) as i32;
    let full = caches.iter().filter_map(|cache| if let Cache::Full(cache) = cache { Some(cache) } else { None });
    let buffers = full.map(|cache| cache.rows(tokens.clone())).collect::<Result<Vec<_>>>()?.concat();
    let stacks = buffers.chunk_by(are_alike).map(|alike| match alike {
        // Alone it would come back as it is.
        [buffer] => buffer.contiguous(),
        _ => ops::concatenate(alike, 0),
    });
    let stacks = stacks.collect::<Result<Vec<_>>>()?;
    if places.len() == 1 {
        return Ok(vec![stacks]);
    }
    let chunk = |place: usize| {
        let tokens = (place * size) as i32..((place + 1) * size) as i32;
        stacks.iter().map(|stack| copied(stack, tokens.clone())).collect()
    };
    (0..places.len()).map(chunk).collect()
}

/// Fills those of the empty `caches` that keep every token with the stacks of `path`, which has `len` tokens; there is room
/// for `room`. As many buffers are made together, and then apart, as take no more than `most_bytes` beside what stays.
pub fn thaw(caches: &mut [Cache], path: &[&[Array]], len: i32, room: i32, most_bytes: usize) -> Result<()> {
    let mut buffers = Vec::new();
    for place in 0..path.first().map_or(0, |stacks| stacks.len()) {
        let parts: Vec<&Array> = path.iter().map(|stacks| &stacks[place]).collect();
        apart(&parts, len, plain_room(room), most_bytes, &mut buffers)?;
    }
    let mut buffers = buffers.into_iter();
    for cache in caches {
        if let Cache::Full(cache) = cache {
            *cache = FullCache::with(buffers.next(), buffers.next(), len);
        }
    }
    Ok(())
}

/// Adds a buffer for each of those that `parts` have `len` tokens of.
fn apart(parts: &[&Array], len: i32, room: i32, most_bytes: usize, buffers: &mut Vec<Array>) -> Result<()> {
    let count = parts.first().map_or(0, |part| part.shape()[0]);
    let bytes = parts.iter().map(|part| part.nbytes()).sum::<usize>() / count.max(1) as usize;
    let at_once = most_bytes / (bytes / len.max(1) as usize * room as usize).max(1);
    let at_once = at_once.clamp(1, count.max(1) as usize) as i32;
    for start in (0..count).step_by(at_once as usize) {
        let end = count.min(start + at_once);
        let some = |part: &&Array| block(part, start..end, 0..part.shape()[2]);
        let some = parts.iter().map(some).collect::<Result<Vec<_>>>()?;
        let together = with_room(&some.iter().collect::<Vec<_>>(), room)?;
        if at_once == 1 {
            buffers.push(together);
            continue;
        }
        let first = buffers.len();
        for place in 0..end - start {
            buffers.push(block(&together, place..place + 1, 0..room)?.contiguous()?);
        }
        drop(together);
        if end < count {
            // What they were made of goes before the next is made.
            transforms::eval(&buffers[first..])?;
        }
    }
    Ok(())
}

/// Whether two buffers can be in one stack.
fn are_alike(one: &Array, other: &Array) -> bool {
    (one.shape(), one.dtype()) == (other.shape(), other.dtype())
}

#[cfg(test)]
#[path = "stacks_tests.rs"]
mod tests;
