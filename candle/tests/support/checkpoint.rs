//! Small checkpoints with random weights, as safetensors or as GGUF.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::Path;

use candle_core::quantized::gguf_file::{self, Value as Entry};
use candle_core::quantized::{GgmlDType, QTensor};
use candle_core::{Device, Tensor};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};
use tempfile::TempDir;

/// Rows as wide as the widest blocks.
const HIDDEN: usize = 256;
const HEADS: usize = 4;
const KV_HEADS: usize = 2;
pub const VOCABULARY: usize = 96;

/// What is to be written.
pub struct Checkpoint {
    pub config: Value,
    /// By the names of the hub.
    pub tensors: BTreeMap<String, Tensor>,
    random: StdRng,
}

impl Checkpoint {
    /// Two layers, with what `model_type` adds: biases of qwen2, norms of qwen3.
    pub fn new(model_type: &str) -> Self {
        let config = json!({
            "model_type": model_type, "hidden_size": HIDDEN, "num_hidden_layers": 2, "intermediate_size": HIDDEN,
            "num_attention_heads": HEADS, "num_key_value_heads": KV_HEADS, "rms_norm_eps": 1e-5,
            "vocab_size": VOCABULARY, "rope_theta": 10_000.0, "max_position_embeddings": 1024,
            "tie_word_embeddings": false,
        });
        let mut checkpoint = Self { config, tensors: BTreeMap::new(), random: StdRng::seed_from_u64(7) };
        for path in ["model.embed_tokens", "lm_head"] {
            checkpoint.draw(path, &[VOCABULARY, HIDDEN]);
        }
        checkpoint.draw("model.norm", &[HIDDEN]);
        for layer in ["model.layers.0", "model.layers.1"] {
            checkpoint.layer(layer, model_type);
        }
        checkpoint
    }

    fn layer(&mut self, layer: &str, model_type: &str) {
        let narrow = HIDDEN / HEADS * KV_HEADS;
        for (name, rows) in [("q_proj", HIDDEN), ("k_proj", narrow), ("v_proj", narrow), ("o_proj", HIDDEN)] {
            self.draw(&format!("{layer}.self_attn.{name}"), &[rows, HIDDEN]);
            if model_type == "qwen2" && name != "o_proj" {
                let bias = self.numbers(&[rows], 0.0);
                self.tensors.insert(format!("{layer}.self_attn.{name}.bias"), bias);
            }
        }
        for (name, size) in
            [("gate_proj", [HIDDEN, HIDDEN]), ("up_proj", [HIDDEN, HIDDEN]), ("down_proj", [HIDDEN, HIDDEN])]
        {
            self.draw(&format!("{layer}.mlp.{name}"), &size);
        }
        for name in ["input_layernorm", "post_attention_layernorm"] {
            self.draw(&format!("{layer}.{name}"), &[HIDDEN]);
        }
        if model_type == "qwen3" {
            for name in ["q_norm", "k_norm"] {
                self.draw(&format!("{layer}.self_attn.{name}"), &[HIDDEN / HEADS]);
            }
        }
    }

    fn draw(&mut self, path: &str, shape: &[usize]) {
        let numbers = self.numbers(shape, if shape.len() == 1 { 1.0 } else { 0.0 });
        self.tensors.insert(format!("{path}.weight"), numbers);
    }

    fn numbers(&mut self, shape: &[usize], mean: f32) -> Tensor {
        let spread = if shape.len() == 1 { 0.2 } else { 2.0 / (shape[1] as f32).sqrt() };
        let count = shape.iter().product();
        let numbers: Vec<f32> = (0..count).map(|_| mean + spread * self.random.random_range(-1.0..1.0)).collect();
        Tensor::from_vec(numbers, shape, &Device::Cpu).unwrap()
    }

    /// With the numbers that matrices packed as `dtype` stand for.
    pub fn rounded(mut self, dtype: GgmlDType) -> Self {
        for tensor in self.tensors.values_mut().filter(|tensor| tensor.rank() == 2) {
            *tensor = QTensor::quantize(tensor, dtype).unwrap().dequantize(&Device::Cpu).unwrap();
        }
        self
    }

    /// A folder with `config.json` and one file of safetensors.
    pub fn safetensors(&self) -> TempDir {
        let folder = TempDir::new().unwrap();
        self.write_config(folder.path());
        let tensors = self.tensors.iter().map(|(name, tensor)| (name.clone(), tensor.clone())).collect();
        candle_core::safetensors::save(&tensors, folder.path().join("model.safetensors")).unwrap();
        folder
    }

    /// A folder with one GGUF file, `model.gguf`, whose matrices are packed as `dtype`, and no config.
    pub fn gguf(&self, dtype: GgmlDType) -> TempDir {
        let folder = TempDir::new().unwrap();
        let tensors: Vec<(String, QTensor)> = self.tensors.iter().map(|tensor| self.packed(tensor, dtype)).collect();
        let tensors: Vec<(&str, &QTensor)> = tensors.iter().map(|(name, tensor)| (name.as_str(), tensor)).collect();
        let entries = self.entries();
        let entries: Vec<(&str, &Entry)> = entries.iter().map(|(key, entry)| (key.as_str(), entry)).collect();
        let mut file = File::create(folder.path().join("model.gguf")).unwrap();
        gguf_file::write(&mut file, &entries, &tensors).unwrap();
        folder
    }

    pub fn write_config(&self, folder: &Path) {
        fs::write(folder.join("config.json"), self.config.to_string()).unwrap();
    }

    fn packed(&self, (name, tensor): (&String, &Tensor), dtype: GgmlDType) -> (String, QTensor) {
        let dtype = if tensor.rank() == 1 { GgmlDType::F32 } else { dtype };
        // As llama.cpp's conversion has it: of each head of queries and keys the two halves take turns.
        let heads = if name.contains("q_proj") { HEADS } else { KV_HEADS };
        let turns = self.config["model_type"] == "llama" && (name.contains("q_proj") || name.contains("k_proj"));
        let rows = tensor.dim(0).unwrap();
        let tensor = if turns {
            let apart = tensor.reshape((heads, 2, rows / heads / 2, HIDDEN)).unwrap();
            apart.transpose(1, 2).unwrap().contiguous().unwrap().reshape(tensor.shape()).unwrap()
        } else {
            tensor.clone()
        };
        (theirs(name), QTensor::quantize(&tensor, dtype).unwrap())
    }

    fn entries(&self) -> Vec<(String, Entry)> {
        let architecture = self.config["model_type"].as_str().unwrap();
        let number = |key: &str, name: &str| {
            (format!("{architecture}.{name}"), Entry::U32(self.config[key].as_u64().unwrap() as u32))
        };
        let tokens = ["a", "b"].map(|token| Entry::String(token.into()));
        vec![
            ("general.architecture".into(), Entry::String(architecture.into())),
            ("tokenizer.ggml.tokens".into(), Entry::Array(tokens.to_vec())),
            number("hidden_size", "embedding_length"),
            number("num_hidden_layers", "block_count"),
            number("intermediate_size", "feed_forward_length"),
            number("num_attention_heads", "attention.head_count"),
            number("num_key_value_heads", "attention.head_count_kv"),
            number("max_position_embeddings", "context_length"),
            (format!("{architecture}.attention.layer_norm_rms_epsilon"), Entry::F32(1e-5)),
            (format!("{architecture}.rope.freq_base"), Entry::F32(10_000.0)),
        ]
    }
}

/// llama.cpp's name.
fn theirs(name: &str) -> String {
    let pairs = [
        ("model.layers.", "blk."),
        ("model.embed_tokens", "token_embd"),
        ("model.norm", "output_norm"),
        ("lm_head", "output"),
        ("input_layernorm", "attn_norm"),
        ("post_attention_layernorm", "ffn_norm"),
        ("self_attn.o_proj", "attn_output"),
        ("self_attn.", "attn_"),
        ("mlp.", "ffn_"),
        ("_proj", ""),
    ];
    pairs.into_iter().fold(name.to_owned(), |name, (ours, theirs)| name.replace(ours, theirs))
}
