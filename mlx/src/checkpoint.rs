//! Tiny Llama checkpoints with random weights, written by the tests that load them.

use std::collections::BTreeMap;
use std::path::Path;

use mlx_rs::{Array, Dtype, ops, random};
use serde_json::{Value, json};
use tempfile::TempDir;

/// What is to be written.
pub struct Checkpoint {
    /// `config.json`
    pub config: Value,
    /// The tensors of the weight file.
    pub tensors: BTreeMap<String, Array>,
}

impl Checkpoint {
    /// Two layers of 64 numbers, four heads that share two pairs of keys and values, 96 tokens, a head of its own.
    pub fn llama() -> Self {
        let config = json!({
            "model_type": "llama", "hidden_size": 64, "num_hidden_layers": 2, "intermediate_size": 128,
            "num_attention_heads": 4, "num_key_value_heads": 2, "rms_norm_eps": 1e-5, "vocab_size": 96,
            "rope_theta": 10_000, "max_position_embeddings": 1024, "tie_word_embeddings": false,
        });
        let mut checkpoint = Self { config, tensors: BTreeMap::new() };
        checkpoint.matrix("model.embed_tokens", 96, 64);
        checkpoint.matrix("lm_head", 96, 64);
        checkpoint.norm("model.norm");
        for layer in ["model.layers.0", "model.layers.1"] {
            let mlp = [("mlp.gate_proj", 128, 64), ("mlp.up_proj", 128, 64), ("mlp.down_proj", 64, 128)];
            let attention = [("q_proj", 64, 64), ("k_proj", 32, 64), ("v_proj", 32, 64), ("o_proj", 64, 64)];
            for (name, rows, columns) in mlp {
                checkpoint.matrix(&format!("{layer}.{name}"), rows, columns);
            }
            for (name, rows, columns) in attention {
                checkpoint.matrix(&format!("{layer}.self_attn.{name}"), rows, columns);
            }
            checkpoint.norm(&format!("{layer}.input_layernorm"));
            checkpoint.norm(&format!("{layer}.post_attention_layernorm"));
        }
        checkpoint
    }

    /// With heads of 64 numbers: those of 16 cannot be packed.
    pub fn wide_heads(mut self) -> Self {
        for layer in ["model.layers.0", "model.layers.1"] {
            let attention = [("q_proj", 256, 64), ("k_proj", 128, 64), ("v_proj", 128, 64), ("o_proj", 64, 256)];
            for (name, rows, columns) in attention {
                self.matrix(&format!("{layer}.self_attn.{name}"), rows, columns);
            }
        }
        self.with("head_dim", json!(64))
    }

    /// With `value` under `key` of the config.
    pub fn with(mut self, key: &str, value: Value) -> Self {
        self.config[key] = value;
        self
    }

    /// With all matrices quantized in groups of 32.
    pub fn quantized(mut self, bits: i32) -> Self {
        self.config["quantization"] = json!({"group_size": 32, "bits": bits});
        for name in self.matrices() {
            let (weight, scales, biases) = ops::quantize(&self.tensors[&name], 32, bits).unwrap();
            let path = name.trim_end_matches("weight");
            self.tensors.insert(format!("{path}scales"), scales);
            self.tensors.insert(format!("{path}biases"), biases);
            self.tensors.insert(name, weight);
        }
        self
    }

    /// With the numbers that a quantized checkpoint stands for.
    pub fn rounded(mut self, bits: i32) -> Self {
        for name in self.matrices() {
            let (weight, scales, biases) = ops::quantize(&self.tensors[&name], 32, bits).unwrap();
            self.tensors.insert(name, ops::dequantize(&weight, &scales, &biases, 32, bits).unwrap());
        }
        self
    }

    /// Casts all tensors.
    pub fn cast(&mut self, dtype: Dtype) {
        for tensor in self.tensors.values_mut() {
            *tensor = tensor.as_dtype(dtype).unwrap();
        }
    }

    /// Writes a folder that goes when the value does.
    pub fn write(&self) -> TempDir {
        let folder = TempDir::new().unwrap();
        self.write_to(folder.path(), "model.safetensors");
        folder
    }

    /// Writes `config.json` and all tensors into one file of this name.
    pub fn write_to(&self, folder: &Path, weights: &str) {
        std::fs::write(folder.join("config.json"), self.config.to_string()).unwrap();
        Array::save_safetensors(&self.tensors, None, folder.join(weights)).unwrap();
    }

    /// The numbers of one tensor.
    pub fn numbers(&self, name: &str) -> Vec<f32> {
        self.tensors[name].to_vec_exact().unwrap()
    }

    fn matrices(&self) -> Vec<String> {
        self.tensors.iter().filter(|(_, tensor)| tensor.ndim() == 2).map(|(name, _)| name.clone()).collect()
    }

    fn matrix(&mut self, path: &str, rows: i32, columns: i32) {
        self.random(path, &[rows, columns], 0.0, 0.3);
    }

    fn norm(&mut self, path: &str) {
        self.random(path, &[64], 1.0, 0.1);
    }

    fn random(&mut self, path: &str, shape: &[i32], mean: f32, spread: f32) {
        let key = random::key(self.tensors.len() as u64).unwrap();
        let tensor = random::normal::<f32>(shape, mean, spread, &key).unwrap();
        tensor.eval().unwrap();
        self.tensors.insert(format!("{path}.weight"), tensor);
    }
}
