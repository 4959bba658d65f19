//! A model with random weights, and the tokenizer that goes with it: all bytes, and tokens that cross what a grammar
//! would cut, such as `":"` and `},{`.

use std::fs;

use engine::TokenId;
use mlx_rs::random;
use serde_json::{Map, Value, json};
use tempfile::TempDir;

use crate::checkpoint::Checkpoint;

/// The token that ends a text: the last of the tokenizer, but not of the model.
pub const END: TokenId = 256 + PIECES.len() as TokenId;

/// Rows of the head.
const ROWS: i32 = 384;

/// Tokens of several characters, spaces written as `▁`.
const PIECES: [&str; 67] = [
    "{\"",
    "\"}",
    "\":",
    "\":▁\"",
    "\":\"",
    "\",\"",
    "\",▁\"",
    "\"],",
    "[\"",
    "\"]",
    "[]",
    "{}",
    "}]",
    "},{",
    "},▁{",
    "[{",
    "]]",
    "[[",
    "▁\"",
    ":▁",
    ",▁",
    "\n▁▁",
    "\n▁▁▁▁",
    "▁▁▁▁",
    "\n\n",
    "▁{",
    "▁[",
    "true",
    "false",
    "null",
    "rue",
    "alse",
    "ull",
    "00",
    "10",
    "12",
    "100",
    "2024",
    "-1",
    "0.",
    ".5",
    "e5",
    "1.5",
    "name",
    "\"name\"",
    "type",
    "id",
    "value",
    "▁the",
    "▁and",
    "tion",
    "ing",
    "call_",
    "get",
    "_weather",
    "city",
    "cel",
    "sius",
    "é",
    "日本",
    "👩",
    "\\\"",
    "\\n",
    "\\u00",
    "\\\\",
    "#a",
    "--",
];

/// A folder with such a model.
pub fn model() -> TempDir {
    assert!(END < ROWS as TokenId);
    let mut checkpoint = Checkpoint::llama().with("vocab_size", json!(ROWS));
    for (seed, name) in ["model.embed_tokens.weight", "lm_head.weight"].into_iter().enumerate() {
        let weights = random::normal::<f32>(&[ROWS, 64], 0.0, 0.3, &random::key(seed as u64).unwrap()).unwrap();
        weights.eval().unwrap();
        checkpoint.tensors.insert(name.into(), weights);
    }
    let folder = checkpoint.write();
    fs::write(folder.path().join("tokenizer.json"), tokenizer().to_string()).unwrap();
    folder
}

fn tokenizer() -> Value {
    let bytes = (0..256).map(|byte| format!("<0x{byte:02X}>"));
    let pieces = PIECES.iter().map(|piece| (*piece).to_owned());
    let vocab: Map<String, Value> = bytes.chain(pieces).zip(0..).map(|(token, id)| (token, json!(id))).collect();
    let replace = json!({ "type": "Replace", "pattern": { "String": "▁" }, "content": " " });
    json!({
        "model": { "type": "BPE", "vocab": vocab },
        "decoder": { "type": "Sequence", "decoders": [replace, { "type": "ByteFallback" }, { "type": "Fuse" }] },
        "added_tokens": [{ "id": END, "content": "<end>", "special": true }],
    })
}

/// The text of tokens, all of which must be some.
pub fn text(tokens: &[TokenId]) -> String {
    let bytes = tokens.iter().flat_map(|token| match u8::try_from(*token) {
        Ok(byte) => vec![byte],
        Err(_) => PIECES[*token as usize - 256].replace('▁', " ").into_bytes(),
    });
    String::from_utf8(bytes.collect()).unwrap()
}
