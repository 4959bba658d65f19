//! What a config may say, and what is refused.

use serde_json::{Value, json};
use tempfile::TempDir;

use super::*;

fn read(changes: &Value) -> Result<Config> {
    let mut config = json!({
        "model_type": "llama", "hidden_size": 64, "num_hidden_layers": 2, "intermediate_size": 128,
        "num_attention_heads": 4, "num_key_value_heads": 2, "rms_norm_eps": 1e-5, "vocab_size": 96,
        "max_position_embeddings": 1024,
    });
    for (key, value) in changes.as_object().unwrap() {
        config[key] = value.clone();
    }
    let folder = TempDir::new().unwrap();
    std::fs::write(folder.path().join("config.json"), config.to_string()).unwrap();
    Config::read(folder.path())
}

#[test]
fn an_unknown_architecture_is_told_which_are_known() {
    let error = read(&json!({ "model_type": "gpt_oss" })).unwrap_err();
    assert!(matches!(error, Error::NotSupported(_)));
    assert!(
        error.to_string().ends_with("only gemma, gemma2, gemma3, gemma3_text, llama, mistral, phi3, qwen2, qwen3"),
        "{error}"
    );
}

#[test]
fn numbers_out_of_their_range_are_refused() {
    for (key, value) in [
        ("hidden_size", json!(0)),
        ("num_attention_heads", json!(3)),
        ("num_key_value_heads", json!(8)),
        ("vocab_size", json!(1_u64 << 40)),
        ("rms_norm_eps", json!(-1.0)),
        ("head_dim", json!(15)),
    ] {
        let error = read(&json!({ key: value })).expect_err(key);
        assert!(matches!(error, Error::Broken(_)), "{key}: {error}");
    }
}

#[test]
fn windows_are_of_the_layers_that_their_architecture_gives_them() {
    let windows = |changes: &Value| read(changes).unwrap().windows().unwrap();
    assert_eq!(windows(&json!({ "model_type": "mistral", "sliding_window": 512 })), [Some(512), Some(512)]);
    assert_eq!(windows(&json!({ "model_type": "mistral", "sliding_window": 1024 })), [None, None]);
    assert_eq!(windows(&json!({ "sliding_window": 512 })), [None, None]);
    let named = json!({ "sliding_window": 512, "layer_types": ["sliding_attention", "full_attention"] });
    assert_eq!(windows(&named), [Some(512), None]);
    let gemma = json!({ "model_type": "gemma3_text", "sliding_window_pattern": 2, "sliding_window": 8 });
    assert_eq!(windows(&gemma), [Some(8), None]);
    for broken in [
        json!({ "layer_types": ["full_attention"] }),
        json!({ "layer_types": ["sliding_attention", "sliding_attention"] }),
    ] {
        assert!(matches!(read(&broken).unwrap().windows(), Err(Error::Broken(_))), "{broken}");
    }
    let error = read(&json!({ "model_type": "qwen2", "sliding_window": 512, "use_sliding_window": true })).unwrap_err();
    assert!(matches!(error, Error::NotSupported(_)), "{error}");
    assert!(read(&json!({ "model_type": "qwen2", "sliding_window": 512, "use_sliding_window": false })).is_ok());
}
