//! Pairs of vocabularies, written as tokenizers have them.

use serde_json::{Value, json};
use tempfile::TempDir;

use super::*;

fn folder(tokenizer: &Value) -> TempDir {
    let folder = TempDir::new().unwrap();
    std::fs::write(folder.path().join("tokenizer.json"), tokenizer.to_string()).unwrap();
    folder
}

fn compared(model: &Value, draft: &Value) -> Result<(), String> {
    same_tokens(folder(model).path(), folder(draft).path())
}

#[test]
fn the_same_tokens_are_the_same_however_they_are_written() {
    let numbers = json!({ "model": { "vocab": { "a": 0, "b": 1 } }, "added_tokens": [{ "id": 2, "content": "<s>" }] });
    let whole = json!({ "model": { "vocab": { "<s>": 2, "b": 1, "a": 0 } } });
    let list = json!({ "model": { "vocab": [["a", -1.5], ["b", -2.0], ["<s>", 0]] }, "added_tokens": [] });
    for other in [&numbers, &whole, &list] {
        assert_eq!(compared(&numbers, other), Ok(()));
    }
}

#[test]
fn the_first_token_that_differs_is_named() {
    let model = json!({ "model": { "vocab": { "a": 0, "b": 1, "c": 2 } } });
    let swapped = json!({ "model": { "vocab": { "a": 0, "c": 1, "b": 2 } } });
    let words = compared(&model, &swapped).unwrap_err();
    assert!(words.contains("token 1 is \"c\", but \"b\" of the model's"), "{words}");
    let longer =
        json!({ "model": { "vocab": { "a": 0, "b": 1, "c": 2 } }, "added_tokens": [{ "id": 7, "content": "x" }] });
    let words = compared(&model, &longer).unwrap_err();
    assert!(words.contains("token 7 is \"x\", but none of the model's; it has 4 tokens, and the model 3"), "{words}");
    let words = compared(&longer, &model).unwrap_err();
    assert!(words.contains("token 7 is none, but \"x\" of"), "{words}");
}

#[test]
fn a_folder_without_a_tokenizer_is_named() {
    let model = folder(&json!({ "model": { "vocab": { "a": 0 } } }));
    let empty = TempDir::new().unwrap();
    let words = same_tokens(model.path(), empty.path()).unwrap_err();
    assert!(words.contains(&*empty.path().join("tokenizer.json").to_string_lossy()), "{words}");
    std::fs::write(empty.path().join("tokenizer.json"), "{}").unwrap();
    assert!(same_tokens(model.path(), empty.path()).unwrap_err().contains("missing field"));
}
