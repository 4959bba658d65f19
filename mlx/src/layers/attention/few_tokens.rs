//! Attention of some tokens on CUDA, by a kernel of our own: products of matrices start seven others for it in each layer, and
//! cuDNN has one built for every shape.
//!
//! A thread has it compiled when it is first asked for, where this machine has not seen it before; until then others serve.

mod kernel;

use std::cell::RefCell;
use std::io;

use mlx_rs::error::{Exception, Result};
use mlx_rs::{Array, Dtype};

use super::{Scores, is_odd};
use crate::array::reshape;
use crate::call::{self, Operation};
use crate::device;
use crate::kernels::compiled::Compiled;
use crate::kernels::custom::{Custom, Start};
use crate::kernels::nvrtc;

/// Rows that a block computes, tokens of the heads that share keys; and its warps, each of which has a part of the keys. The kernel's
/// indices are made for these.
const ROWS: i32 = 16;
const WARPS: i32 = 8;

/// For a single token of one sequence that sees more, MLX's kernel is faster: it has more blocks for them. Answers of Llama 3.2 3B
/// on an H200 have 338 tokens/s with this one and 328 with MLX's after 128 tokens, 296 and 312 after 2048.
const MOST_OF_ONE: i32 = 768;

/// What the kernel is compiled for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Kind {
    dtype: Dtype,
    /// Numbers of a head.
    dims: i32,
    /// The GPU's compute capability.
    capability: [usize; 2],
}

impl Kind {
    /// That for queries of `shape`, `[rows, heads, tokens, dims]`, of which all together see up to `seen` keys.
    fn of(shape: &[i32], dtype: Dtype, seen: i32, scores: Scores<'_>, capability: [usize; 2]) -> Option<Self> {
        let &[rows, _, tokens, dims] = shape else { return None };
        let is_plain = scores.cap.is_none()
            && scores.sinks.is_none()
            && scores.scale.to_bits() == Scores::of(dims).scale.to_bits();
        let fits = if tokens > 1 { is_odd(tokens, seen) } else { rows > 1 || seen <= MOST_OF_ONE };
        // Of GPUs before, not all have units for both types.
        let has_units = matches!(dtype, Dtype::Float16 | Dtype::Bfloat16) && capability >= [8, 0];
        (is_plain && fits && has_units && [64, 128].contains(&dims)).then_some(Self { dtype, dims, capability })
    }
}

/// What `queries`, `[rows, heads, tokens, dims]`, see of their row's `keys` and `values`, `[rows, kv_heads, room, dims]`: the
/// first of each row lies at what `before` has for it, `[rows]` whatever its axes, and sees that and what lies before. `seen` is
/// how many keys the last one of all sees. `None` where that is not for this kernel, or it is not compiled yet.
pub fn attend(
    queries: &Array,
    [keys, values]: [&Array; 2],
    before: impl FnOnce() -> Array,
    seen: i32,
    scores: Scores<'_>,
) -> Option<Result<Array>> {
    static ALL: Compiled<Kind> = Compiled::new();
    let kind = Kind::of(queries.shape(), queries.dtype(), seen, scores, device::capability()?)?;
    let fits = [keys, values].iter().all(|array| array.dtype() == kind.dtype) && keys.shape() == values.shape();
    (fits && ALL.of(kind, compile).get()).then(|| seen_by(queries, [keys, values], &before(), kind))
}

/// Has MLX find the kernel.
fn compile(kind: Kind) -> io::Result<()> {
    kernel::own(kind).put(|text| nvrtc::compile(text, kind.capability))
}

fn seen_by(queries: &Array, [keys, values]: [&Array; 2], before: &Array, kind: Kind) -> Result<Array> {
    thread_local! {
        /// Those that this thread has used.
        static KERNELS: RefCell<Vec<(Kind, Custom)>> = const { RefCell::new(Vec::new()) };
    }
    let failed = || Exception::custom(format!("{:?} cannot attend to {:?}", queries.shape(), keys.shape()));
    let (&[rows, heads, tokens, dims], &[_, kv_heads, ..]) = (queries.shape(), keys.shape()) else {
        return Err(failed());
    };
    let result = KERNELS.with_borrow_mut(|kernels| {
        let known = kernels.iter().position(|(known, _)| *known == kind);
        let place = known.unwrap_or_else(|| {
            kernels.push((kind, Custom::new(&kernel::own(kind))));
            kernels.len() - 1
        });
        // Those of this thread stay where they are.
        let operation = Operation::of(call::Kind::FewTokens, &[place as i32]);
        call::again(&operation, [queries, keys, values, before], |result, inputs, stream| {
            let blocks = [(heads / kv_heads * tokens + ROWS - 1) / ROWS, kv_heads, rows];
            let shape = &[rows, tokens, heads, dims];
            let start = Start { shape, dtype: kind.dtype, blocks, threads: WARPS * 32 };
            kernels[place].1.apply(result, &inputs, &start, stream)
        })
    });
    let seen = result.ok_or_else(failed)?;
    match tokens {
        // Their numbers lie in both orders.
        1 => reshape(&seen, [rows, heads, 1, dims]),
        _ => seen.transpose_axes(&[0, 2, 1, 3]),
    }
}

#[cfg(test)]
#[path = "few_tokens_tests.rs"]
mod tests;
