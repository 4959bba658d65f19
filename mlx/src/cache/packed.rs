//! Keys and values of all tokens in a few bits each, a scale and a bias for each group of them: what mlx-lm's
//! `QuantizedKVCache` keeps.
//!
//! All of the room is handed out, and never a view: on a processor MLX multiplies with a whole buffer as it lies, and
//! copies a part of one first. What lies behind the last token is zeros or was taken back; attention must not see it.

use std::ops::Range;

use engine::message::KvBits;
use mlx_rs::error::{Exception, Result as MlxResult};
use mlx_rs::{Array, ops};

use super::frozen::{copied, with_room, zeros as zero_rows};
use super::{in_steps, tokens, written};
use crate::array::{rows, scalar, write};
use crate::error::{Error, Result};
use crate::packed::Packed;

/// Numbers that share a scale, where a head can be cut into so many; mlx-lm's own choice comes first.
const GROUP_SIZES: [i32; 2] = [64, 32];

/// How a head of `dims` numbers is cut into groups.
pub fn group_size(dims: i32) -> Result<i32> {
    GROUP_SIZES.into_iter().find(|size| dims % size == 0).ok_or_else(|| {
        let words = "keys and values cannot be kept in few bits: the model's heads have";
        Error::NotSupported(format!(
            "{words} {dims} numbers, which cannot be cut into groups of 64 or 32; leave them as they are"
        ))
    })
}

/// Grows by steps, empty at first.
#[derive(Clone)]
pub struct PackedCache {
    group_size: i32,
    bits: i32,
    /// `[1, heads, room, …]`; `None` until the first tokens come, and so are the values.
    keys: Option<Packed>,
    values: Option<Packed>,
    /// Tokens written, at most the room of the buffers.
    len: i32,
}

impl PackedCache {
    /// An empty one; heads can be cut into groups of `group_size`.
    pub fn new(bits: KvBits, group_size: i32) -> Self {
        Self { group_size, bits: bits.count() as i32, keys: None, values: None, len: 0 }
    }

    /// Tokens in the cache: the position of the next.
    pub fn len(&self) -> i32 {
        self.len
    }

    /// Appends keys and values, both of shape `[1, heads, tokens, dims]`. A token with NaN among its numbers has it among
    /// its values from then on.
    pub fn append(&mut self, keys: &Array, values: &Array) -> MlxResult<()> {
        let end = self.len + tokens(keys)?;
        let zeros = zeros(keys, values)?;
        let keys = Packed::pack(keys, self.group_size, self.bits)?;
        let mut values = Packed::pack(values, self.group_size, self.bits)?;
        values.biases = values.biases.map(|biases| ops::add(&biases, &zeros)).transpose()?;
        for (slot, new) in [(&mut self.keys, &keys), (&mut self.values, &values)] {
            *slot = Some(put(slot.take(), new, self.len, in_steps(end))?);
        }
        self.len = end;
        Ok(())
    }

    /// Takes back all but the first `len` tokens. Their numbers stay behind the last token, where none looks: times zero
    /// they are nothing, unless they are NaN.
    pub fn cut(&mut self, len: i32) {
        self.len = self.len.min(len);
    }

    /// Writes zeros behind the last token.
    pub fn wipe(&mut self) -> MlxResult<()> {
        for slot in [&mut self.keys, &mut self.values] {
            *slot = slot.take().map(|packed| wiped(packed, self.len)).transpose()?;
        }
        Ok(())
    }

    /// All keys and values and the room behind them, `[1, heads, room, dims]`.
    pub fn packed(&self) -> MlxResult<(&Packed, &Packed)> {
        self.keys.as_ref().zip(self.values.as_ref()).ok_or_else(|| Exception::custom("no tokens were written"))
    }

    /// All keys and values as plain numbers of their own type, `[1, heads, tokens, dims]`.
    pub fn unpacked(&self) -> MlxResult<(Array, Array)> {
        let (keys, values) = self.packed()?;
        let unpacked = |packed: &Packed| rows(&packed.unpack(packed.scales.dtype())?, 0, self.len);
        Ok((unpacked(keys)?, unpacked(values)?))
    }

    /// A copy of these tokens' keys and values.
    pub fn frozen(&self, tokens: Range<i32>) -> MlxResult<[Packed; 2]> {
        let (keys, values) = self.packed()?;
        let copy = |array: &Array| copied(array, tokens.clone());
        let part = |whole: &Packed| {
            let biases = whole.biases.as_ref().map(copy).transpose()?;
            Ok::<_, Exception>(Packed { weight: copy(&whole.weight)?, scales: copy(&whole.scales)?, biases, ..*whole })
        };
        Ok([part(keys)?, part(values)?])
    }

    /// Fills an empty one with the keys and values of `len` tokens, in parts; there is room for `room`.
    pub fn thaw(&mut self, parts: &[&[Packed; 2]], len: i32, room: i32) -> MlxResult<()> {
        let buffer = |place: usize| {
            let all = |of: fn(&Packed) -> Option<&Array>| {
                let parts: Vec<_> = parts.iter().filter_map(|part| of(&part[place])).collect();
                if parts.is_empty() { Ok(None) } else { with_room(&parts, in_steps(room)).map(Some) }
            };
            let first = parts.first().map(|part| &part[place]);
            let (weight, scales) = (all(|part| Some(&part.weight))?, all(|part| Some(&part.scales))?);
            let biases = all(|part| part.biases.as_ref())?;
            let whole = first.zip(weight.zip(scales));
            Ok::<_, Exception>(whole.map(|(first, (weight, scales))| Packed { weight, scales, biases, ..*first }))
        };
        (self.keys, self.values, self.len) = (buffer(0)?, buffer(1)?, len);
        Ok(())
    }

    /// What keys and values consist of, with the room behind them.
    pub fn buffers(&self) -> Vec<Option<&Array>> {
        [&self.keys, &self.values].into_iter().flatten().flat_map(Packed::arrays).collect()
    }
}

/// `[1, heads, tokens, 1]`: zero, and NaN where a key or a value is no finite number, of which codes would keep nothing.
fn zeros(keys: &Array, values: &Array) -> MlxResult<Array> {
    ops::multiply(ops::multiply(keys, &scalar(0.0, keys)?)?, values)?.sum_axis(-1, true)
}

/// `packed` with zeros from `start` on.
fn wiped(packed: Packed, start: i32) -> MlxResult<Packed> {
    let wiped = |array: Array| {
        let zeros = match array.shape()[2] - start {
            ..=0 => return Ok(array),
            rows => zero_rows(&array, rows)?,
        };
        write(array, &zeros, [0, 0, start, 0])
    };
    let biases = packed.biases.map(wiped).transpose()?;
    Ok(Packed { weight: wiped(packed.weight)?, scales: wiped(packed.scales)?, biases, packing: packed.packing })
}

/// `old` with `new` at `start`, and room for `room` tokens if it had less.
fn put(old: Option<Packed>, new: &Packed, start: i32, room: i32) -> MlxResult<Packed> {
    let (weight, scales, biases) = match old {
        Some(old) => (Some(old.weight), Some(old.scales), old.biases),
        None => (None, None, None),
    };
    let biases = new.biases.as_ref().map(|new| written(biases, new, start, room)).transpose()?;
    let weight = written(weight, &new.weight, start, room)?;
    let scales = written(scales, &new.scales, start, room)?;
    Ok(Packed { weight, scales, biases, packing: new.packing })
}
