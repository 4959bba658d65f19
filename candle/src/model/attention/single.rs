//! Attention of one token on a processor, in one pass over its keys and values.
//!
//! As matrix products each layer reads scores back twice, and one thread does all. Here workers take a few tokens of one head
//! each, with a softmax of their own, and what they found is put together by the largest scores, as `FlashDecoding` does
//! (<https://crfm.stanford.edu/2023/10/12/flashdecoding.html>).

use std::ops::Range;
use std::sync::{Mutex, PoisonError};

use candle_core::utils::barrier_pool;
use candle_core::{CpuStorage, CustomOp3, Layout, Result, Shape, Tensor, bail};

/// Tokens of a piece of work: their keys stay in the nearest cache while the queries that share them pass by.
const PIECE: usize = 64;

/// Numbers that are added up side by side.
const LANES: usize = 8;

/// How queries meet keys.
pub struct Single {
    pub scale: f32,
    pub cap: Option<f32>,
}

/// Numbers of one head, `dims` for each token.
struct Head<'a> {
    queries: &'a [f32],
    keys: &'a [f32],
    values: &'a [f32],
    dims: usize,
}

/// Where the numbers of a tensor of `[heads, tokens, dims]` are, heads perhaps apart.
struct Place<'a> {
    numbers: &'a [f32],
    start: usize,
    /// From one head to the next.
    stride: usize,
    dims: usize,
}

impl Single {
    /// `queries`: `[kv heads, queries of each, dims]`; `keys` and `values`: `[kv heads, tokens, dims]`, at least one token.
    pub fn forward(&self, queries: &Tensor, [keys, values]: [&Tensor; 2]) -> Result<Tensor> {
        queries.contiguous()?.apply_op3_no_bwd(keys, values, self)
    }

    /// `found`: for each query the largest score, the sum of weights, the weighted values.
    fn piece(&self, head: &Head, found: &mut [f32]) {
        #[cfg(target_arch = "x86_64")]
        if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
            // SAFETY: the processor has the instructions.
            return unsafe { self.piece_of_avx2(head, found) };
        }
        self.piece_of_any::<{ cfg!(target_arch = "aarch64") }>(head, found);
    }

    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2,fma")]
    fn piece_of_avx2(&self, head: &Head, found: &mut [f32]) {
        self.piece_of_any::<true>(head, found);
    }

    #[inline(always)]
    #[expect(clippy::inline_always, reason = "it has its caller's instructions only within it")]
    fn piece_of_any<const FUSED: bool>(&self, head: &Head, found: &mut [f32]) {
        let (queries, found) = (head.queries.chunks_exact(head.dims), found.chunks_exact_mut(head.dims + 2));
        let mut scores = [0.0; PIECE];
        for (query, found) in queries.zip(found) {
            let scores = &mut scores[..head.keys.len() / head.dims];
            for (score, key) in scores.iter_mut().zip(head.keys.chunks_exact(head.dims)) {
                *score = self.bend(dot::<FUSED>(query, key) * self.scale);
            }
            let most = scores.iter().fold(f32::NEG_INFINITY, |most, score| most.max(*score));
            for score in &mut *scores {
                *score = exp::<FUSED>(*score - most);
            }
            let (sums, output) = found.split_at_mut(2);
            (sums[0], sums[1]) = (most, scores.iter().sum());
            for (weight, value) in scores.iter().zip(head.values.chunks_exact(head.dims)) {
                for (sum, value) in output.iter_mut().zip(value) {
                    *sum = add::<FUSED>(*weight, *value, *sum);
                }
            }
        }
    }

    fn bend(&self, score: f32) -> f32 {
        self.cap.map_or(score, |cap| (score / cap).tanh() * cap)
    }
}

impl CustomOp3 for Single {
    fn name(&self) -> &'static str {
        "attention of a token"
    }

    fn cpu_fwd(
        &self,
        queries: &CpuStorage,
        queries_layout: &Layout,
        keys: &CpuStorage,
        keys_layout: &Layout,
        values: &CpuStorage,
        values_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let shape = queries_layout.shape().clone();
        let ((heads, shared, dims), (_, tokens, _)) = (shape.dims3()?, keys_layout.shape().dims3()?);
        let queries = Place::of(queries, queries_layout, [heads, shared, dims])?;
        let keys = Place::of(keys, keys_layout, [heads, tokens, dims])?;
        let values = Place::of(values, values_layout, [heads, tokens, dims])?;
        let (pieces, wide) = (tokens.div_ceil(PIECE), shared * (dims + 2));
        let mut found = vec![0.0; heads * pieces * wide];
        let places: Vec<_> = found.chunks_exact_mut(wide).map(Mutex::new).collect();
        barrier_pool().execute_chunked(places.len(), |range| {
            for (index, place) in range.clone().zip(&places[range]) {
                let (head, first) = (index / pieces, index % pieces * PIECE);
                let seen = first..tokens.min(first + PIECE);
                let head = Head {
                    queries: queries.of_head(head, 0..shared),
                    keys: keys.of_head(head, seen.clone()),
                    values: values.of_head(head, seen),
                    dims,
                };
                // Each place has one worker: nobody waits.
                let mut found = place.lock().unwrap_or_else(PoisonError::into_inner);
                self.piece(&head, &mut found);
            }
        });
        drop(places);
        let together = found.chunks_exact(pieces * wide).flat_map(|pieces| together(pieces, shared, dims)).collect();
        Ok((CpuStorage::F32(together), shape))
    }
}

impl<'a> Place<'a> {
    fn of(storage: &'a CpuStorage, layout: &Layout, shape: [usize; 3]) -> Result<Self> {
        let dims = shape[2];
        let stride = match *layout.stride() {
            [stride, token, 1] if token == dims && layout.dims() == shape => stride,
            _ => bail!("{shape:?}: the tokens of a head must lie together, not as in {layout:?}"),
        };
        Ok(Self { numbers: storage.as_slice()?, start: layout.start_offset(), stride, dims })
    }

    fn of_head(&self, head: usize, tokens: Range<usize>) -> &'a [f32] {
        let start = self.start + head * self.stride;
        &self.numbers[start + tokens.start * self.dims..start + tokens.end * self.dims]
    }
}

/// One head's output for each of its queries, of what was found in all pieces.
fn together(pieces: &[f32], shared: usize, dims: usize) -> Vec<f32> {
    let wide = dims + 2;
    let mut output = vec![0.0; shared * dims];
    for (query, output) in output.chunks_exact_mut(dims).enumerate() {
        let found = || pieces.chunks_exact(wide).skip(query).step_by(shared);
        let most = found().fold(f32::NEG_INFINITY, |most, found| most.max(found[0]));
        let mut sum = 0.0;
        for found in found() {
            let weight = (found[0] - most).exp();
            sum += weight * found[1];
            for (output, value) in output.iter_mut().zip(&found[2..]) {
                *output += weight * value;
            }
        }
        for output in &mut *output {
            *output /= sum;
        }
    }
    output
}

#[inline(always)]
#[expect(clippy::inline_always, reason = "it has its caller's instructions only within it")]
fn dot<const FUSED: bool>(x: &[f32], y: &[f32]) -> f32 {
    let ((x, x_rest), (y, y_rest)) = (x.as_chunks::<LANES>(), y.as_chunks::<LANES>());
    let mut sums = [0.0; LANES];
    for (x, y) in x.iter().zip(y) {
        for lane in 0..LANES {
            sums[lane] = add::<FUSED>(x[lane], y[lane], sums[lane]);
        }
    }
    let rest: f32 = x_rest.iter().zip(y_rest).map(|(x, y)| x * y).sum();
    ((sums[0] + sums[4]) + (sums[2] + sums[6])) + ((sums[1] + sums[5]) + (sums[3] + sums[7])) + rest
}

/// `x · y + sum`; as one instruction where there is one.
#[inline(always)]
#[expect(clippy::inline_always, reason = "it has its caller's instructions only within it")]
fn add<const FUSED: bool>(x: f32, y: f32, sum: f32) -> f32 {
    if FUSED { x.mul_add(y, sum) } else { x * y + sum }
}

/// e to the power of `x`, at most 0, in steps that compilers do side by side: 2 to a whole power by its bits, times a
/// polynomial, that of Cephes' `expf`. Off by two units in the last place at most.
#[inline(always)]
fn exp<const FUSED: bool>(x: f32) -> f32 {
    const LN_2: [f32; 2] = [0.693_359_4, -2.121_944_4e-4];
    // Below, the result is less than anything that counts beside 1. What is no number stays none.
    let x = if x < -87.0 { -87.0 } else { x };
    let whole = (x * std::f32::consts::LOG2_E).round_ties_even();
    let rest = add::<FUSED>(-whole, LN_2[1], add::<FUSED>(-whole, LN_2[0], x));
    let mut series = 1.987_569_1e-4;
    for term in [1.398_199_9e-3, 8.333_452e-3, 4.166_579_6e-2, 0.166_666_65, 0.5] {
        series = add::<FUSED>(series, rest, term);
    }
    let series = add::<FUSED>(series, rest * rest, rest) + 1.0;
    series * f32::from_bits((((whole as i32) + 127) << 23) as u32)
}

#[cfg(test)]
#[path = "single_tests.rs"]
mod tests;
