//! Small tokenizers of the two kinds that models have, and folders around them. For tests only.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use serde_json::{Map, Value, json};
use tempfile::TempDir;

use super::{Clock, TextError, TextModel};

/// In the manner of Qwen and SmolLM2.
pub(crate) const CHATML: &str = "{{ bos_token }}{% for message in messages %}<|im_start|>{{ message.role }}\n\
    {{ message.content }}<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}";

/// A byte-level BPE tokenizer: tokens 0 to 255 are the bytes, then a few merges, then the added tokens
/// `<|bos|>`, `<|im_start|>`, `<|im_end|>` (special) and `<tool>` (plain). Its post-processor adds `<|bos|>`.
pub(crate) fn byte_level() -> Value {
    let mut vocab = Map::new();
    for byte in 0..=255_u8 {
        vocab.insert(byte_character(byte).to_string(), json!(byte));
    }
    // The last ones join the first two bytes of emoji, the last two of one, and a space with the start of a letter.
    let merges = ["h e", "Ġ t", "Ġt he", "l l", "i n", "Ġ a", "e r", "ð Ł", "ĳ ©", "Ġ Ã"];
    for merge in merges {
        vocab.insert(merge.replace(' ', ""), json!(vocab.len()));
    }
    let added: Vec<Value> = ["<|bos|>", "<|im_start|>", "<|im_end|>", "<tool>"]
        .iter()
        .enumerate()
        .map(|(index, token)| added_token(vocab.len() + index, token, *token != "<tool>"))
        .collect();
    let bos = vocab.len();
    json!({
        "version": "1.0",
        "added_tokens": added,
        "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true},
        "post_processor": adds_first("<|bos|>", bos),
        "decoder": {"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true},
        "model": {"type": "BPE", "vocab": vocab, "merges": merges},
    })
}

/// A BPE tokenizer in the manner of Llama 2: `<unk>`, `<s>`, `</s>` (special), the single bytes `<0x00>` to `<0xFF>`
/// from token 3 on, then pieces in which `▁` is the space. Its post-processor adds `<s>`.
pub(crate) fn byte_fallback() -> Value {
    let mut vocab = Map::new();
    let bytes = (0..=255_u8).map(|byte| format!("<0x{byte:02X}>"));
    let letters = ('a'..='z').chain("▁!'.é漢".chars()).map(String::from);
    let merges = ["▁ t", "h e", "▁t he", "▁ a", "▁ ▁", "i n"];
    let joined = merges.iter().map(|merge| merge.replace(' ', ""));
    let special = ["<unk>", "<s>", "</s>"].map(String::from);
    for token in special.iter().cloned().chain(bytes).chain(letters).chain(joined) {
        vocab.insert(token, json!(vocab.len()));
    }
    let added: Vec<Value> = (0..).zip(&special).map(|(id, token)| added_token(id, token, true)).collect();
    json!({
        "version": "1.0",
        "added_tokens": added,
        "normalizer": {"type": "Sequence", "normalizers": [
            {"type": "Prepend", "prepend": "▁"},
            {"type": "Replace", "pattern": {"String": " "}, "content": "▁"},
        ]},
        "post_processor": adds_first("<s>", 1),
        "decoder": {"type": "Sequence", "decoders": [
            {"type": "Replace", "pattern": {"String": "▁"}, "content": " "},
            {"type": "ByteFallback"},
            {"type": "Fuse"},
            {"type": "Strip", "content": " ", "start": 1, "stop": 0},
        ]},
        "model": {
            "type": "BPE", "unk_token": "<unk>", "fuse_unk": true, "byte_fallback": true,
            "vocab": vocab, "merges": merges,
        },
    })
}

/// The tokenizer with these special tokens behind all others, in their order.
pub(crate) fn with_special(mut tokenizer: Value, tokens: &[&str]) -> Value {
    let first = size(&tokenizer);
    let added = tokenizer["added_tokens"].as_array_mut().expect("added tokens");
    added.extend((first..).zip(tokens).map(|(id, token)| added_token(id, token, true)));
    tokenizer
}

/// How many tokens a tokenizer has, added ones included.
pub(crate) fn size(tokenizer: &Value) -> usize {
    let vocab = tokenizer["model"]["vocab"].as_object().expect("a vocabulary");
    let added = tokenizer["added_tokens"].as_array().expect("added tokens");
    vocab.len() + added.iter().filter(|token| !vocab.contains_key(token["content"].as_str().unwrap_or(""))).count()
}

fn added_token(id: usize, content: &str, special: bool) -> Value {
    json!({
        "id": id, "content": content, "special": special,
        "single_word": false, "lstrip": false, "rstrip": false, "normalized": false,
    })
}

fn adds_first(token: &str, id: usize) -> Value {
    json!({
        "type": "TemplateProcessing",
        "single": [{"SpecialToken": {"id": token, "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
        "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
        "special_tokens": {token: {"id": token, "ids": [id], "tokens": [token]}},
    })
}

/// GPT-2's table: printable Latin-1 stands for itself, the rest for the characters from U+0100 on.
fn byte_character(byte: u8) -> char {
    let printable = |byte: &u8| matches!(byte, b'!'..=b'~' | 0xA1..=0xAC | 0xAE..);
    if printable(&byte) {
        return char::from(byte);
    }
    let before = (0..byte).filter(|byte| !printable(byte)).count();
    char::from_u32(0x100 + before as u32).expect("at most U+0143")
}

/// A model's folder that goes with the test.
pub(crate) struct ModelFolder(TempDir);

impl ModelFolder {
    /// With `tokenizer.json`, and a `config.json` that states its size.
    pub(crate) fn new(tokenizer: &Value) -> Self {
        let folder = Self(tempfile::tempdir().expect("a folder for the test"));
        let config = json!({"vocab_size": size(tokenizer), "max_position_embeddings": 2048});
        folder.with("tokenizer.json", tokenizer).with("config.json", &config)
    }

    /// The byte-level tokenizer, its special tokens by name, and [`CHATML`].
    pub(crate) fn chat() -> Self {
        let names = json!({"bos_token": "<|bos|>", "eos_token": {"content": "<|im_end|>", "special": true}});
        Self::new(&byte_level()).with("tokenizer_config.json", &names).with_text("chat_template.jinja", CHATML)
    }

    pub(crate) fn with(self, name: &str, json: &Value) -> Self {
        self.with_text(name, &json.to_string())
    }

    pub(crate) fn with_text(self, name: &str, text: &str) -> Self {
        fs::write(self.0.path().join(name), text).expect("the folder can be written");
        self
    }

    pub(crate) fn without(self, name: &str) -> Self {
        fs::remove_file(self.0.path().join(name)).expect("the file is there");
        self
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    pub(crate) fn open(&self) -> Result<TextModel, TextError> {
        TextModel::open_with_clock(self.path(), &clock("2026-07-04T15:06:07"))
    }
}

/// A clock that stands still.
pub(crate) fn clock(now: &str) -> Clock {
    let now: jiff::civil::DateTime = now.parse().expect("a date and time");
    let now = now.to_zoned(jiff::tz::TimeZone::UTC).expect("within range");
    Arc::new(move || now.clone())
}
