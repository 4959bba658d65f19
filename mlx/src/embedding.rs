//! One text on its way to a vector: the last vectors of its tokens, pooled to one.
//!
//! A decoder computes them in chunks, as it does a prompt; an encoder, whose tokens all see each other, at once.

use engine::message::{Pooling, TokenId};
use mlx_rs::{Array, Dtype, ops, transforms};

use crate::array::tokens;
use crate::cache::Cache;
use crate::device::{Device, OneThread};
use crate::error::{Error, Result};
use crate::models::Model;
use crate::network::Network;

/// A text that is computed. Stays on the thread of its backend.
pub struct Text {
    tokens: Vec<TokenId>,
    /// Tokens in the caches.
    done: usize,
    /// One for each layer of a decoder; none for an encoder.
    caches: Vec<Cache>,
    pooling: Pooling,
    /// Of the vectors so far, `[hidden]`: their sum for a mean, else the wanted one.
    pooled: Option<Array>,
    _thread: OneThread,
}

impl Text {
    /// Checks the text against the model. Computes nothing.
    pub(crate) fn new(tokens: &[TokenId], pooling: Pooling, network: &Network) -> Result<Self> {
        network.facts().check(tokens)?;
        let caches = match network {
            Network::Decoder(model) => model.caches(),
            Network::Encoder(_) => Vec::new(),
        };
        Ok(Self { tokens: tokens.to_vec(), done: 0, caches, pooling, pooled: None, _thread: OneThread::default() })
    }

    /// Computes a chunk; the vector after the last.
    pub(crate) fn step(&mut self, network: &Network, device: &Device) -> Result<Option<Vec<f32>>> {
        let hidden = match network {
            Network::Encoder(encoder) => {
                self.done = self.tokens.len();
                encoder.hidden(&self.ids(0)?)?
            }
            Network::Decoder(model) => self.chunk(model.as_ref(), device)?,
        };
        let pooled = self.pool(&hidden)?;
        transforms::eval([&pooled].into_iter().chain(self.caches.iter().flat_map(Cache::state)))?;
        self.pooled = Some(pooled);
        if self.done < self.tokens.len() { Ok(None) } else { self.vector().map(Some) }
    }

    fn chunk(&mut self, model: &dyn Model, device: &Device) -> Result<Array> {
        let start = self.done;
        self.done = (start + device.prefill_chunk).min(self.tokens.len());
        Ok(model.hidden(&self.ids(start)?, &mut self.caches)?)
    }

    fn ids(&self, start: usize) -> Result<Array> {
        let ids = &self.tokens[start..self.done];
        Ok(tokens(ids).reshape(&[1, ids.len() as i32])?)
    }

    /// Takes a chunk's vectors, `[1, tokens, hidden]`, into what was pooled before.
    fn pool(&self, hidden: &Array) -> Result<Array> {
        let hidden = hidden.as_dtype(Dtype::Float32)?;
        let vector = |place: i32| ops::indexing::take_axis(&hidden, Array::from_int(place), 1)?.reshape(&[-1]);
        Ok(match (self.pooling, &self.pooled) {
            (Pooling::Mean, None) => hidden.sum_axis(1, false)?.reshape(&[-1])?,
            (Pooling::Mean, Some(sum)) => ops::add(sum, hidden.sum_axis(1, false)?.reshape(&[-1])?)?,
            (Pooling::First, Some(first)) => first.clone(),
            (Pooling::First, None) => vector(0)?,
            (Pooling::Last, _) => vector(hidden.shape()[1] - 1)?,
        })
    }

    fn vector(&self) -> Result<Vec<f32>> {
        let pooled = self.pooled.as_ref().ok_or_else(|| Error::Internal("nothing was computed".into()))?;
        let mut vector: Vec<f32> = pooled.to_vec_exact().map_err(|error| Error::Internal(error.to_string()))?;
        if self.pooling == Pooling::Mean {
            let count = self.tokens.len() as f32;
            for number in &mut vector {
                *number /= count;
            }
        }
        if vector.iter().all(|number| number.is_finite()) {
            return Ok(vector);
        }
        Err(Error::nan())
    }
}

#[cfg(test)]
#[path = "embedding_tests.rs"]
mod tests;
