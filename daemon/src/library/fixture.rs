//! Makes models and GGUF files for tests, whole ones and hostile ones, and the arithmetic to check what became of them.

use std::path::{Path, PathBuf};

#[expect(dead_code, reason = "the reader's own tests use more of it")]
#[path = "../../../engine/src/gguf/fixture.rs"]
mod written;

pub(super) use written::{Entry, F16, F32, File, Q4_0, Q4_1, Q5_0, Q8_0};

/// Puts a whole model into a folder: 23 bytes of configuration for `llama`, 10 of weights, 2 of a tokenizer.
pub(super) fn fill(folder: &Path, architecture: &str) {
    std::fs::create_dir_all(folder).unwrap();
    std::fs::write(folder.join("config.json"), format!(r#"{{"model_type": "{architecture}"}}"#)).unwrap();
    std::fs::write(folder.join("model.safetensors"), b"\x02\0\0\0\0\0\0\0{}").unwrap();
    std::fs::write(folder.join("tokenizer.json"), "{}").unwrap();
}

/// Writes a folder that looks whole, of a model with this config, its weights in two files of 100 bytes of numbers.
pub(super) fn folder(path: &Path, config: &serde_json::Value) {
    std::fs::create_dir_all(path).unwrap();
    std::fs::write(path.join("config.json"), config.to_string()).unwrap();
    for name in ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"] {
        std::fs::write(path.join(name), safetensors(name, 100)).unwrap();
    }
    std::fs::write(path.join("tokenizer.json"), "{}").unwrap();
}

/// A file with one tensor of so many bytes.
pub(super) fn safetensors(tensor: &str, bytes: u64) -> Vec<u8> {
    let header = format!(r#"{{"{tensor}":{{"dtype":"U8","shape":[{bytes}],"data_offsets":[0,{bytes}]}}}}"#);
    let mut file = (header.len() as u64).to_le_bytes().to_vec();
    file.extend(header.as_bytes());
    file.resize(file.len() + bytes as usize, 7);
    file
}

/// Numbers of the tiny model: two heads of 32 over one of keys and values, two layers.
pub(super) const HIDDEN: u64 = 64;
pub(super) const HEAD_DIM: u64 = 32;
pub(super) const FEED_FORWARD: u64 = 96;
pub(super) const LAYERS: u64 = 2;

impl File {
    /// A tiny model with a byte-level vocabulary, its matrices in one encoding.
    pub(super) fn tiny(kind: u32) -> Self {
        Self::of_width(kind, HIDDEN)
    }

    /// The same of another width, with as many heads as fit.
    pub(super) fn of_width(kind: u32, hidden: u64) -> Self {
        let tokens = byte_level_tokens();
        let count = tokens.len() as u64;
        let queries = hidden / HEAD_DIM * HEAD_DIM;
        let mut file = Self::empty();
        file.set("general.architecture", Entry::Text("llama"));
        file.set("general.name", Entry::Text("Tiny (test) Model"));
        file.set("llama.block_count", Entry::U32(LAYERS as u32));
        file.set("llama.context_length", Entry::U32(128));
        file.set("llama.embedding_length", Entry::U32(hidden as u32));
        file.set("llama.feed_forward_length", Entry::U32(FEED_FORWARD as u32));
        file.set("llama.attention.head_count", Entry::U32((hidden / HEAD_DIM) as u32));
        file.set("llama.attention.head_count_kv", Entry::U32(1));
        file.set("llama.attention.layer_norm_rms_epsilon", Entry::F32(1e-5));
        file.set("llama.rope.freq_base", Entry::F32(100_000.0));
        let kinds = tokens.iter().map(|token| if token.starts_with("<|") { 3 } else { 1 }).collect();
        let merges = MERGES.iter().map(|(left, right)| format!("{left} {right}")).collect();
        file.set("tokenizer.ggml.model", Entry::Text("gpt2"));
        file.set("tokenizer.ggml.pre", Entry::Text("smollm"));
        file.set("tokenizer.ggml.tokens", Entry::Texts(tokens));
        file.set("tokenizer.ggml.token_type", Entry::Integers(kinds));
        file.set("tokenizer.ggml.merges", Entry::Texts(merges));
        file.set("tokenizer.ggml.bos_token_id", Entry::U32(1));
        file.set("tokenizer.ggml.eos_token_id", Entry::U32(2));
        file.set("tokenizer.chat_template", Entry::Text("{{ messages[0]['content'] }}"));
        file.push("token_embd.weight", &[count, hidden], kind);
        file.push("output_norm.weight", &[hidden], F32);
        for layer in 0..LAYERS {
            let mut push =
                |name: &str, shape: &[u64], kind| file.push(&format!("blk.{layer}.{name}.weight"), shape, kind);
            push("attn_norm", &[hidden], F32);
            push("attn_q", &[queries, hidden], kind);
            push("attn_k", &[HEAD_DIM, hidden], kind);
            push("attn_v", &[HEAD_DIM, hidden], kind);
            push("attn_output", &[hidden, queries], kind);
            push("ffn_norm", &[hidden], F32);
            push("ffn_gate", &[FEED_FORWARD, hidden], kind);
            push("ffn_up", &[FEED_FORWARD, hidden], kind);
            push("ffn_down", &[hidden, FEED_FORWARD], kind);
        }
        file
    }

    /// Takes a metadata value away.
    pub(super) fn unset(&mut self, key: &str) {
        let before = self.entries.len();
        self.entries.retain(|(name, _)| name != key);
        assert_eq!(self.entries.len() + 1, before, "{key} was set");
    }

    /// Takes a tensor away.
    pub(super) fn remove(&mut self, name: &str) {
        self.tensors.retain(|tensor| tensor.name != name);
    }

    /// Writes the file into a folder.
    pub(super) fn write(&self, folder: &Path) -> PathBuf {
        let path = folder.join("tiny.gguf");
        std::fs::write(&path, self.bytes()).unwrap();
        path
    }
}

/// Merges of the tiny vocabulary, in order.
const MERGES: [(&str, &str); 6] = [("h", "e"), ("l", "l"), ("he", "ll"), ("hell", "o"), ("Ġ", "w"), ("1", "2")];

/// Three marks, every byte as a letter, and the wholes of the merges.
fn byte_level_tokens() -> Vec<String> {
    let marks = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"].map(str::to_owned);
    let printable = |byte: u32| matches!(byte, 33..=126 | 161..=172 | 174..=255);
    let mut others = 256..;
    let letters = (0..256).map(|byte| if printable(byte) { byte } else { others.next().unwrap() });
    let letters = letters.map(|code| char::from_u32(code).unwrap().to_string()).collect::<Vec<_>>();
    let wholes = MERGES.iter().map(|(left, right)| format!("{left}{right}"));
    marks.into_iter().chain(letters).chain(wholes).collect()
}

/// A 16-bit float's value.
pub(super) fn half_to_f32(bits: u16) -> f32 {
    let (exponent, fraction) = (i32::from(bits >> 10 & 0x1f), f32::from(bits & 0x3ff));
    let magnitude = match exponent {
        0x1f if fraction == 0.0 => f32::INFINITY,
        0x1f => f32::NAN,
        0 => fraction * 2_f32.powi(-24),
        _ => (1024.0 + fraction) * 2_f32.powi(exponent - 25),
    };
    if bits & 0x8000 == 0 { magnitude } else { -magnitude }
}

/// The numbers of a GGUF tensor, by the definition of its encoding.
pub(super) fn numbers(kind: u32, data: &[u8]) -> Vec<f32> {
    let half = |bytes: &[u8]| half_to_f32(u16::from_le_bytes([bytes[0], bytes[1]]));
    let nibbles = |bytes: &[u8]| -> Vec<f32> {
        let low = bytes.iter().map(|byte| f32::from(byte & 15));
        low.chain(bytes.iter().map(|byte| f32::from(byte >> 4))).collect()
    };
    let blocks = |size, number: &dyn Fn(&[u8]) -> Vec<f32>| data.chunks_exact(size).flat_map(number).collect();
    match kind {
        F32 => blocks(4, &|b| vec![f32::from_le_bytes([b[0], b[1], b[2], b[3]])]),
        F16 => blocks(2, &|b| vec![half(b)]),
        Q4_0 => blocks(18, &|b| nibbles(&b[2..]).iter().map(|n| half(b) * (n - 8.0)).collect()),
        Q4_1 => blocks(20, &|b| nibbles(&b[4..]).iter().map(|n| half(b) * n + half(&b[2..])).collect()),
        Q8_0 => blocks(34, &|b| b[2..].iter().map(|n| half(b) * f32::from(n.cast_signed())).collect()),
        other => panic!("the tests know no encoding {other}"),
    }
}
