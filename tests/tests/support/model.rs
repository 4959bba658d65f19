//! Folders that look like models: a tokenizer with one token for each byte, and weights too small to matter.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

/// The files of a model before they are written, to be changed by a test.
pub struct Files {
    pub config: Value,
    pub tokenizer: Value,
    pub template: String,
    pub weights: Vec<u8>,
    /// `1_Pooling/config.json`, where there is one.
    pub pooling: Option<Value>,
    /// Names that are not written.
    pub without: Vec<&'static str>,
}

/// The messages alone, and a hint of tools in the manner of Hermes.
const TEMPLATE: &str =
    "{% if tools %}<tool_call>{% endif %}{% for message in messages %}{{ message.content }}{% endfor %}";

/// Number of the token that ends an answer; the bytes come before it.
const END: u32 = 256;

/// Writes a model into the library of `home`.
pub fn install(home: &Path, id: &str, change: impl FnOnce(&mut Files)) -> PathBuf {
    let (template, without) = (TEMPLATE.to_owned(), Vec::new());
    let mut files =
        Files { config: config(), tokenizer: tokenizer(), template, weights: weights(), pooling: None, without };
    change(&mut files);
    let folder = home.join("Models").join("MLX").join(id.replace('/', "_"));
    fs::create_dir_all(&folder).expect("the folder can be made");
    let template = json!({ "eos_token": "<end>", "chat_template": files.template });
    let all = [
        ("config.json", files.config.to_string().into_bytes()),
        ("tokenizer.json", files.tokenizer.to_string().into_bytes()),
        ("tokenizer_config.json", template.to_string().into_bytes()),
        ("model.safetensors", files.weights),
    ];
    for (name, bytes) in all.into_iter().filter(|(name, _)| !files.without.contains(name)) {
        fs::write(folder.join(name), bytes).expect("the file can be written");
    }
    if let Some(pooling) = files.pooling {
        fs::create_dir_all(folder.join("1_Pooling")).expect("the folder can be made");
        fs::write(folder.join("1_Pooling/config.json"), pooling.to_string()).expect("the file can be written");
    }
    folder
}

impl Files {
    /// Adds special tokens, numbered from 257 on in their order.
    pub fn special_tokens(&mut self, tokens: &[&str]) {
        let added = self.tokenizer["added_tokens"].as_array_mut().expect("a list");
        for (id, token) in (END + 1..).zip(tokens) {
            added.push(json!({ "id": id, "content": token, "single_word": false, "lstrip": false, "rstrip": false,
                "normalized": false, "special": true }));
        }
        self.config["fake"]["special_tokens"] = json!(tokens);
        self.config["vocab_size"] = json!(END + 1 + tokens.len() as u32);
    }

    /// Has the model answer a prompt in which a text stands with these texts and tokens.
    pub fn answers(&mut self, to: &str, say: &Value) {
        let script = json!({ "to": to, "say": say });
        match self.config["fake"]["answers"].as_array_mut() {
            Some(answers) => answers.push(script),
            None => self.config["fake"]["answers"] = json!([script]),
        }
    }
}

fn config() -> Value {
    json!({ "model_type": "llama", "vocab_size": END + 1, "max_position_embeddings": 4096, "eos_token_id": END,
        "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 8,
        "rms_norm_eps": 1e-5 })
}

/// One tensor of four numbers.
fn weights() -> Vec<u8> {
    let header = br#"{"x":{"dtype":"F32","shape":[4],"data_offsets":[0,16]}}"#;
    let mut file = (header.len() as u64).to_le_bytes().to_vec();
    file.extend_from_slice(header);
    file.extend_from_slice(&[0; 16]);
    file
}

/// A byte-level tokenizer without merges: every byte is a token.
fn tokenizer() -> Value {
    let vocab: Map<String, Value> = (0..=255).map(|byte| (character(byte).to_string(), json!(byte))).collect();
    let level = json!({ "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": false });
    json!({
        "version": "1.0", "truncation": null, "padding": null, "normalizer": null, "post_processor": null,
        "added_tokens": [{ "id": END, "content": "<end>", "single_word": false, "lstrip": false, "rstrip": false,
            "normalized": false, "special": true }],
        "pre_tokenizer": level, "decoder": level,
        "model": { "type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
            "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false, "vocab": vocab, "merges": [] },
    })
}

/// GPT-2's character for a byte: itself where it can be seen, else the next one from U+0100 on.
fn character(byte: u8) -> char {
    let visible = |byte: u8| matches!(byte, b'!'..=b'~' | 0xA1..=0xAC | 0xAE..=0xFF);
    if visible(byte) {
        return char::from(byte);
    }
    let before = (0..byte).filter(|byte| !visible(*byte)).count() as u32;
    char::from_u32(0x100 + before).expect("U+0100 to U+0143 are characters")
}
