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
    /// Two layers, or the six of Gemma 3 of which one sees everything, with what `model_type` adds: biases of qwen2, norms of
    /// qwen3 and Gemma, joined matrices of phi3.
    pub fn new(model_type: &str) -> Self {
        let mut config = json!({
            "model_type": model_type, "hidden_size": HIDDEN, "num_hidden_layers": 2, "intermediate_size": HIDDEN,
            "num_attention_heads": HEADS, "num_key_value_heads": KV_HEADS, "rms_norm_eps": 1e-5,
            "vocab_size": VOCABULARY, "rope_theta": 10_000.0, "max_position_embeddings": 1024,
            "tie_word_embeddings": false,
        });
        let gemma = [
            ("head_dim", json!(HIDDEN / HEADS)),
            ("query_pre_attn_scalar", json!(HIDDEN / HEADS)),
            ("sliding_window", json!(40)),
        ];
        let (caps, far) = ([("attn_logit_softcapping", 20.0), ("final_logit_softcapping", 10.0)], ("rope_theta", 1e6));
        let added = match model_type {
            "gemma" => vec![("head_dim", json!(HIDDEN / HEADS))],
            "gemma2" => [gemma.to_vec(), caps.map(|(key, value)| (key, json!(value))).to_vec()].concat(),
            "gemma3_text" => [gemma.to_vec(), vec![("num_hidden_layers", json!(6)), (far.0, json!(far.1))]].concat(),
            _ => Vec::new(),
        };
        for (key, value) in added {
            config[key] = value;
        }
        let layers = config["num_hidden_layers"].as_u64().unwrap();
        let mut checkpoint = Self { config, tensors: BTreeMap::new(), random: StdRng::seed_from_u64(7) };
        checkpoint.draw("model.embed_tokens", &[VOCABULARY, HIDDEN]);
        if !checkpoint.is_gemma() {
            checkpoint.draw("lm_head", &[VOCABULARY, HIDDEN]);
        }
        checkpoint.draw("model.norm", &[HIDDEN]);
        for layer in 0..layers {
            checkpoint.layer(&format!("model.layers.{layer}"), model_type);
        }
        checkpoint
    }

    fn layer(&mut self, layer: &str, model_type: &str) {
        let (narrow, wide) = (HIDDEN / HEADS * KV_HEADS, HIDDEN);
        let matrices: &[(&str, usize)] = match model_type {
            "phi3" => &[("self_attn.qkv_proj", wide + 2 * narrow), ("mlp.gate_up_proj", 2 * wide)],
            _ => &[
                ("self_attn.q_proj", wide),
                ("self_attn.k_proj", narrow),
                ("self_attn.v_proj", narrow),
                ("mlp.gate_proj", wide),
                ("mlp.up_proj", wide),
            ],
        };
        for (name, rows) in [matrices, &[("self_attn.o_proj", wide), ("mlp.down_proj", wide)]].concat() {
            self.draw(&format!("{layer}.{name}"), &[rows, HIDDEN]);
            if model_type == "qwen2" && name.starts_with("self_attn") && !name.contains("o_proj") {
                let bias = self.numbers(&[rows], 0.0);
                self.tensors.insert(format!("{layer}.{name}.bias"), bias);
            }
        }
        let mut norms = vec!["input_layernorm", "post_attention_layernorm"];
        if self.norms_after() {
            norms.extend(["pre_feedforward_layernorm", "post_feedforward_layernorm"]);
        }
        for name in norms {
            self.draw(&format!("{layer}.{name}"), &[HIDDEN]);
        }
        if ["qwen3", "gemma3_text"].contains(&model_type) {
            for name in ["q_norm", "k_norm"] {
                self.draw(&format!("{layer}.self_attn.{name}"), &[HIDDEN / HEADS]);
            }
        }
    }

    /// Whose norms are kept less 1, but in GGUF.
    fn is_gemma(&self) -> bool {
        self.config["model_type"].as_str().unwrap().starts_with("gemma")
    }

    /// Whether norms stand after each part too.
    fn norms_after(&self) -> bool {
        self.is_gemma() && self.config["model_type"] != "gemma"
    }

    fn draw(&mut self, path: &str, shape: &[usize]) {
        let mean = if shape.len() == 1 && !self.is_gemma() { 1.0 } else { 0.0 };
        let numbers = self.numbers(shape, mean);
        self.tensors.insert(format!("{path}.weight"), numbers);
    }

    fn numbers(&mut self, shape: &[usize], mean: f32) -> Tensor {
        let spread = if shape.len() == 1 { 0.2 } else { 2.0 / (shape[1] as f32).sqrt() };
        let count = shape.iter().product();
        let numbers: Vec<f32> = (0..count).map(|_| mean + spread * self.random.random_range(-1.0..1.0)).collect();
        Tensor::from_vec(numbers, shape, &Device::Cpu).unwrap()
    }

    pub fn with(mut self, key: &str, value: Value) -> Self {
        self.config[key] = value;
        self
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
        } else if self.is_gemma() && name.ends_with("norm.weight") {
            (tensor + 1.0).unwrap()
        } else {
            tensor.clone()
        };
        (theirs(name, self.norms_after()), QTensor::quantize(&tensor, dtype).unwrap())
    }

    fn entries(&self) -> Vec<(String, Entry)> {
        let architecture = self.config["model_type"].as_str().unwrap();
        let architecture = if architecture == "gemma3_text" { "gemma3" } else { architecture };
        let tokens = ["a", "b"].map(|token| Entry::String(token.into()));
        let mut entries = vec![
            ("general.architecture".into(), Entry::String(architecture.into())),
            ("tokenizer.ggml.tokens".into(), Entry::Array(tokens.to_vec())),
        ];
        for (pointer, name) in KEYS {
            let entry = match self.config.pointer(&format!("/{pointer}")) {
                Some(Value::Number(number)) if number.is_u64() => Entry::U32(number.as_u64().unwrap() as u32),
                Some(Value::Number(number)) => Entry::F32(number.as_f64().unwrap() as f32),
                Some(Value::String(text)) => Entry::String(text.clone()),
                _ => continue,
            };
            entries.push((format!("{architecture}.{name}"), entry));
        }
        if let Some(factor) = self.config.get("partial_rotary_factor").and_then(Value::as_f64) {
            let turned = Entry::U32(((HIDDEN / HEADS) as f64 * factor) as u32);
            entries.push((format!("{architecture}.rope.dimension_count"), turned));
        }
        entries
    }
}

/// Places in a config, and what llama.cpp's conversion writes of them.
const KEYS: &[(&str, &str)] = &[
    ("hidden_size", "embedding_length"),
    ("num_hidden_layers", "block_count"),
    ("intermediate_size", "feed_forward_length"),
    ("num_attention_heads", "attention.head_count"),
    ("num_key_value_heads", "attention.head_count_kv"),
    ("max_position_embeddings", "context_length"),
    ("rms_norm_eps", "attention.layer_norm_rms_epsilon"),
    ("rope_theta", "rope.freq_base"),
    ("head_dim", "attention.key_length"),
    ("head_dim", "attention.value_length"),
    ("sliding_window", "attention.sliding_window"),
    ("attn_logit_softcapping", "attn_logit_softcapping"),
    ("final_logit_softcapping", "final_logit_softcapping"),
    ("original_max_position_embeddings", "rope.scaling.original_context_length"),
    ("rope_scaling/rope_type", "rope.scaling.type"),
    ("rope_scaling/factor", "rope.scaling.factor"),
];

/// llama.cpp's name.
fn theirs(name: &str, norms_after: bool) -> String {
    let post_attention = if norms_after { "post_attention_norm" } else { "ffn_norm" };
    let pairs = [
        ("model.layers.", "blk."),
        ("model.embed_tokens", "token_embd"),
        ("model.norm", "output_norm"),
        ("lm_head", "output"),
        ("input_layernorm", "attn_norm"),
        ("post_attention_layernorm", post_attention),
        ("pre_feedforward_layernorm", "ffn_norm"),
        ("post_feedforward_layernorm", "post_ffw_norm"),
        ("gate_up_proj", "up"),
        ("self_attn.o_proj", "attn_output"),
        ("self_attn.", "attn_"),
        ("mlp.", "ffn_"),
        ("_proj", ""),
    ];
    pairs.into_iter().fold(name.to_owned(), |name, (ours, theirs)| name.replace(ours, theirs))
}
