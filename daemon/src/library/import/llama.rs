//! The architecture `llama` of GGUF, which is Llama's and Mistral's: its configuration and the names of its tensors.
//!
//! Whatever in the file would change what the model computes is carried over or refused by name, never passed over:
//! keys and tensors that are not listed here are refused.

use std::collections::HashMap;

use serde_json::{Map, Value, json};

use super::rope;
use crate::library::gguf::{self, Gguf, GgufError, Metadata, Tensor};

/// Largest width of a layer that is believed: twice the largest known.
const MAX_WIDTH: u64 = 1 << 17;

/// Most layers that are believed.
const MAX_LAYERS: u64 = 1024;

/// Largest head that is believed: twice the largest known.
const MAX_HEAD: u64 = 512;

/// Keys below `llama.` that are carried over, or that say nothing the tensors do not say.
const KEYS: [&str; 13] = [
    "block_count",
    "context_length",
    "embedding_length",
    "feed_forward_length",
    "attention.head_count",
    "attention.head_count_kv",
    "attention.key_length",
    "attention.value_length",
    "attention.layer_norm_rms_epsilon",
    "rope.dimension_count",
    "rope.freq_base",
    "vocab_size",
    "tensor_data_layout",
];

/// The numbers of a model.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Llama {
    pub layers: u64,
    pub hidden: u64,
    pub feed_forward: u64,
    pub heads: u64,
    pub kv_heads: u64,
    pub head_dim: u64,
    /// Rows of the embedding; the vocabulary may have fewer tokens.
    pub vocab: u64,
    pub context: u64,
    pub norm_epsilon: f64,
    pub rope_theta: f64,
    /// `rope_scaling` of `config.json`.
    pub rope_scaling: Option<Value>,
    /// Whether the embedding serves as the output head.
    pub tied: bool,
}

/// One tensor and what it becomes.
#[derive(Debug)]
pub(super) struct Piece<'a> {
    pub tensor: &'a Tensor,
    /// Path of the layer in an MLX model, without `.weight`.
    pub path: String,
    /// Rows of a head, where the rows of each head must be put back in order.
    pub interleaved: Option<u64>,
}

impl Llama {
    /// Reads the configuration and checks that nothing else is asked of the model.
    pub(super) fn read(gguf: &Gguf) -> Result<Self, GgufError> {
        let metadata = &gguf.header.metadata;
        refuse_other_kinds(metadata)?;
        let hidden = required(metadata, "embedding_length", MAX_WIDTH)?;
        let heads = required(metadata, "attention.head_count", hidden)?;
        let context = required(metadata, "context_length", u64::MAX)?;
        let head_dim = head_dim(metadata, hidden, heads)?;
        refuse_other_attention(metadata, context)?;
        let rope_theta = metadata.float("llama.rope.freq_base")?.unwrap_or(10_000.0);
        let norm_epsilon = metadata.float("llama.attention.layer_norm_rms_epsilon")?;
        Ok(Self {
            layers: required(metadata, "block_count", MAX_LAYERS)?,
            hidden,
            feed_forward: required(metadata, "feed_forward_length", MAX_WIDTH)?,
            heads,
            kv_heads: kv_heads(metadata, heads)?,
            head_dim,
            vocab: vocab(gguf)?,
            context,
            norm_epsilon: norm_epsilon.ok_or_else(|| absent("llama.attention.layer_norm_rms_epsilon"))?,
            rope_scaling: rope::scaling(gguf, head_dim, rope_theta)?,
            rope_theta,
            tied: gguf.header.tensor("output.weight").is_none(),
        })
    }

    /// Every tensor of the file with its place in the model; errors name one that is missing, misshapen or unknown.
    pub(super) fn pieces<'a>(&self, gguf: &'a Gguf) -> Result<Vec<Piece<'a>>, GgufError> {
        let mut left: HashMap<&str, &Tensor> =
            gguf.header.tensors.iter().map(|tensor| (tensor.name.as_str(), tensor)).collect();
        left.remove(rope::FACTORS);
        let mut pieces = Vec::with_capacity(left.len());
        for (name, path, shape, interleaved) in self.expected() {
            let damaged = |what: String| GgufError::Damaged(format!("tensor {name} {what}"));
            let tensor = left.remove(name.as_str()).ok_or_else(|| damaged("is missing".into()))?;
            if tensor.shape != shape {
                return Err(damaged(format!("has the shape {:?} where the metadata asks for {shape:?}", tensor.shape)));
            }
            if shape.len() == 1 && tensor.encoding.block().0 > 1 {
                return Err(damaged(format!("is {}, but norms are never quantized", tensor.encoding)));
            }
            pieces.push(Piece { tensor, path, interleaved });
        }
        if let Some(name) = left.keys().min() {
            return Err(GgufError::NotSupported(format!(
                "tensor {name} has no place in the Llama and Mistral models that can be imported"
            )));
        }
        Ok(pieces)
    }

    /// The model's part of `config.json`.
    pub(super) fn config(&self) -> Map<String, Value> {
        let config = json!({
            "architectures": ["LlamaForCausalLM"],
            "model_type": "llama",
            "hidden_size": self.hidden,
            "intermediate_size": self.feed_forward,
            "num_hidden_layers": self.layers,
            "num_attention_heads": self.heads,
            "num_key_value_heads": self.kv_heads,
            "head_dim": self.head_dim,
            "max_position_embeddings": self.context,
            "rms_norm_eps": shortest(self.norm_epsilon),
            "rope_theta": shortest(self.rope_theta),
            "rope_scaling": self.rope_scaling,
            "vocab_size": self.vocab,
            "tie_word_embeddings": self.tied,
            "hidden_act": "silu",
            "attention_bias": false,
            "mlp_bias": false,
        });
        let Value::Object(config) = config else { unreachable!("it is written as an object above") };
        config
    }

    /// Name in the file, path in the model, shape, and rows of an interleaved head.
    fn expected(&self) -> Vec<(String, String, Vec<u64>, Option<u64>)> {
        let (hidden, wide) = (self.hidden, self.feed_forward);
        let (queries, keys) = (self.heads * self.head_dim, self.kv_heads * self.head_dim);
        // llama.cpp turns neighbouring rows of a head by its rope, MLX rows half a head apart.
        let interleaved = Some(self.head_dim);
        let block = [
            ("attn_norm", "input_layernorm", vec![hidden], None),
            ("attn_q", "self_attn.q_proj", vec![queries, hidden], interleaved),
            ("attn_k", "self_attn.k_proj", vec![keys, hidden], interleaved),
            ("attn_v", "self_attn.v_proj", vec![keys, hidden], None),
            ("attn_output", "self_attn.o_proj", vec![hidden, queries], None),
            ("ffn_norm", "post_attention_layernorm", vec![hidden], None),
            ("ffn_gate", "mlp.gate_proj", vec![wide, hidden], None),
            ("ffn_up", "mlp.up_proj", vec![wide, hidden], None),
            ("ffn_down", "mlp.down_proj", vec![hidden, wide], None),
        ];
        let around = [
            ("token_embd.weight", "model.embed_tokens", vec![self.vocab, hidden]),
            ("output_norm.weight", "model.norm", vec![hidden]),
            ("output.weight", "lm_head", vec![self.vocab, hidden]),
        ];
        let around = around.into_iter().take(if self.tied { 2 } else { 3 });
        let mut all: Vec<_> =
            around.map(|(name, path, shape)| (name.to_owned(), path.to_owned(), shape, None)).collect();
        for layer in 0..self.layers {
            all.extend(block.iter().map(|(name, path, shape, interleaved)| {
                let name = format!("blk.{layer}.{name}.weight");
                (name, format!("model.layers.{layer}.{path}"), shape.clone(), *interleaved)
            }));
        }
        all
    }
}

/// Refuses what is no plain model of this architecture in encodings that are known.
pub(super) fn refuse_unknown(gguf: &Gguf) -> Result<(), GgufError> {
    let metadata = &gguf.header.metadata;
    let architecture = metadata.text("general.architecture")?.ok_or_else(|| absent("general.architecture"))?;
    if architecture != "llama" {
        return Err(GgufError::NotSupported(format!(
            "its architecture is {architecture:?}; only \"llama\" can be imported, which is what GGUF calls Llama and \
             Mistral models"
        )));
    }
    gguf::unknown(&gguf.header).map_or(Ok(()), |tensor| {
        Err(GgufError::NotSupported(format!(
            "tensor {} is {}, which cannot be imported; supported: F32, F16, BF16, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0 and Q2_K \
             to Q6_K, so get or make a file with one of these",
            tensor.name, tensor.encoding
        )))
    })
}

fn refuse_other_kinds(metadata: &Metadata) -> Result<(), GgufError> {
    let kind = metadata.text("general.type")?.unwrap_or("model");
    if kind != "model" {
        return Err(GgufError::NotSupported(format!("it is of the type {kind:?}, only \"model\" can be imported")));
    }
    let parts = metadata.unsigned("split.count")?.unwrap_or(1);
    if parts > 1 {
        return Err(GgufError::NotSupported(format!(
            "it is one of {parts} parts: join them with llama-gguf-split --merge"
        )));
    }
    let known = |key: &str| KEYS.contains(&key) || rope::KEYS.contains(&key) || NEUTRAL_KEYS.contains(&key);
    let mut unknown: Vec<&str> =
        metadata.keys().filter(|key| key.strip_prefix("llama.").is_some_and(|k| !known(k))).collect();
    unknown.sort_unstable();
    unknown.first().map_or(Ok(()), |key| {
        Err(GgufError::NotSupported(format!("it sets {key}, which no model that can be imported has")))
    })
}

/// Keys whose only values that are carried over are those that change nothing.
const NEUTRAL_KEYS: [&str; 3] = ["attention.sliding_window", "expert_count", "expert_used_count"];

fn refuse_other_attention(metadata: &Metadata, context: u64) -> Result<(), GgufError> {
    let experts = metadata.unsigned("llama.expert_count")?.unwrap_or(0);
    if experts > 0 {
        return Err(GgufError::NotSupported(format!("it is a mixture of {experts} experts (llama.expert_count)")));
    }
    let window = metadata.unsigned("llama.attention.sliding_window")?.unwrap_or(u64::MAX);
    if window < context {
        return Err(GgufError::NotSupported(format!(
            "its attention slides over {window} tokens of {context} (llama.attention.sliding_window)"
        )));
    }
    Ok(())
}

fn head_dim(metadata: &Metadata, hidden: u64, heads: u64) -> Result<u64, GgufError> {
    let keys = metadata.unsigned("llama.attention.key_length")?;
    let head_dim = keys.unwrap_or(hidden / heads);
    let values = metadata.unsigned("llama.attention.value_length")?.unwrap_or(head_dim);
    let turned = metadata.unsigned("llama.rope.dimension_count")?.unwrap_or(head_dim);
    if values != head_dim || turned != head_dim {
        return Err(GgufError::NotSupported(format!(
            "its heads have {head_dim} numbers for keys, {values} for values and {turned} that rope turns; only equal \
             numbers can be imported"
        )));
    }
    if !head_dim.is_multiple_of(2)
        || !(2..=MAX_HEAD).contains(&head_dim)
        || (keys.is_none() && heads * head_dim != hidden)
    {
        return Err(GgufError::Damaged(format!("{heads} heads cannot share an embedding of {hidden} numbers")));
    }
    Ok(head_dim)
}

fn kv_heads(metadata: &Metadata, heads: u64) -> Result<u64, GgufError> {
    let kv_heads = metadata.unsigned("llama.attention.head_count_kv")?.unwrap_or(heads);
    if kv_heads == 0 || !heads.is_multiple_of(kv_heads) {
        return Err(GgufError::Damaged(format!("{heads} heads cannot share {kv_heads} heads of keys and values")));
    }
    Ok(kv_heads)
}

fn vocab(gguf: &Gguf) -> Result<u64, GgufError> {
    let embedding = gguf.header.tensor("token_embd.weight");
    let embedding = embedding.ok_or_else(|| GgufError::Damaged("tensor token_embd.weight is missing".into()))?;
    Ok(embedding.rows())
}

fn required(metadata: &Metadata, key: &str, most: u64) -> Result<u64, GgufError> {
    let key = format!("llama.{key}");
    let number = metadata.unsigned(&key)?.ok_or_else(|| absent(&key))?;
    if (1..=most).contains(&number) {
        return Ok(number);
    }
    Err(GgufError::Damaged(format!("{key} is {number}, but must lie in 1 to {most}")))
}

fn absent(key: &str) -> GgufError {
    GgufError::Damaged(format!("the metadata lacks {key}"))
}

/// The number with the fewest digits that is the same as a 32-bit float: 1e-5, not 9.999999747378752e-6.
fn shortest(number: f64) -> f64 {
    (number as f32).to_string().parse().unwrap_or(number)
}

#[cfg(test)]
#[path = "llama_tests.rs"]
mod tests;
