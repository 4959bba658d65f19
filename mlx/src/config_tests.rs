//! What `config.json` may say, without any weights.

use serde_json::{Value, json};
use tempfile::TempDir;

use super::quantization::{Layer, Mode};
use super::rope::{Rope, Scaling, THETA};
use super::*;

fn config(text: &str) -> Result<Config> {
    let folder = TempDir::new().unwrap();
    std::fs::write(folder.path().join("config.json"), text).unwrap();
    Config::read(folder.path())
}

fn rope(keys: &Value) -> Result<Rope> {
    let config = config(&keys.to_string())?;
    Rope::read(&config, THETA)
}

fn check_broken<T>(result: Result<T>, words: &str) {
    match result.map(|_| ()) {
        Err(Error::Broken(why)) => assert!(why.contains(words), "{why}"),
        other => panic!("{other:?} does not say {words:?}"),
    }
}

fn check_not_supported<T>(result: Result<T>, words: &str) {
    match result.map(|_| ()) {
        Err(Error::NotSupported(why)) => assert!(why.contains(words), "{why}"),
        other => panic!("{other:?} does not say {words:?}"),
    }
}

#[test]
fn a_missing_file_is_named() {
    let folder = TempDir::new().unwrap();
    check_broken(Config::read(folder.path()), "config.json");
}

#[test]
fn what_is_not_json_is_refused() {
    check_broken(config("{"), "config.json");
    check_broken(config(&"[".repeat(100_000)), "recursion");
    check_broken(config("[]").unwrap().model_type(), "model_type");
}

#[test]
fn a_file_without_end_is_not_read() {
    let folder = TempDir::new().unwrap();
    let file = std::fs::File::create(folder.path().join("config.json")).unwrap();
    file.set_len(1 << 40).unwrap();
    check_broken(Config::read(folder.path()), "1099511627776 bytes");
}

#[test]
fn an_unknown_architecture_is_answered_with_the_known_ones() {
    let config = config(r#"{"model_type": "gpt5"}"#).unwrap();
    check_not_supported(
        crate::models::find(&config),
        "\"gpt5\" is not known; known are gemma, gemma2, gemma3, gemma3_text, gpt_oss, lfm2, llama",
    );
}

#[test]
fn foreign_quantizations_are_refused_by_name() {
    let keys = |keys: Value| config(&json!({ "quantization_config": keys }).to_string());
    assert!(keys(json!({"group_size": 64, "bits": 4})).is_ok());
    assert!(keys(json!({"group_size": 64, "bits": 4, "mode": "affine", "model.norm": false})).is_ok());
    assert!(keys(json!({"quant_method": "mxfp4", "modules_to_not_convert": ["lm_head"]})).is_ok());
    check_not_supported(keys(json!({"quant_method": "gptq"})), "gptq");
    check_not_supported(
        keys(json!({"group_size": 32, "mode": "mxfp6"})),
        "\"mxfp6\" is not known, only MLX's affine, mxfp4",
    );
    check_not_supported(keys(json!({"group_size": 64, "model.layers.1": {"mode": "fp4"}})), "model.layers.1");
    check_broken(keys(json!({"group_size": 64, "lm_head": {"bits": 4.5}})), "bits of lm_head is 4.5");
    check_broken(keys(json!(4)), "quantization");
}

#[test]
fn layers_may_be_packed_in_ways_of_their_own() {
    let said = json!({
        "group_size": 64, "bits": 4, "mode": "mxfp4", "a.router": {"group_size": 64, "bits": 8}, "b": false, "c": true,
        "d": {"mode": "nvfp4"}
    });
    let config = config(&json!({ "quantization": said }).to_string()).unwrap();
    let named = |mode, group_size, bits| Layer::Packed { mode, group_size, bits };
    let expected = [
        ("a.router", named(None, Some(64), Some(8))),
        ("b", Layer::Plain),
        ("c", named(None, None, None)),
        ("d", named(Some(Mode::Nvfp4), None, None)),
    ];
    assert_eq!(config.quantization(), &expected.map(|(path, layer)| (path.to_owned(), layer)).into());
}

#[test]
fn rope_is_read_from_both_places() {
    let plain = |theta| Rope { theta, traditional: false, scaling: Scaling::Plain };
    assert_eq!(rope(&json!({})).unwrap(), plain(10_000.0));
    assert_eq!(rope(&json!({"rope_theta": 500_000, "rope_scaling": null})).unwrap(), plain(500_000.0));
    assert_eq!(rope(&json!({"rope_parameters": {"rope_theta": 1e6, "rope_type": "default"}})).unwrap(), plain(1e6));
    let linear = rope(&json!({"rope_theta": 1e4, "rope_scaling": {"type": "linear", "factor": 2}})).unwrap();
    assert_eq!(linear.scaling, Scaling::Linear(2.0));
}

#[test]
fn the_older_name_of_a_rope_kind_wins() {
    let rope = rope(&json!({"rope_scaling": {"type": "default", "rope_type": "llama3"}})).unwrap();
    assert_eq!(rope.scaling, Scaling::Plain);
}

#[test]
fn unsound_ropes_are_refused() {
    let scaling = |scaling: Value| rope(&json!({ "rope_scaling": scaling }));
    check_not_supported(scaling(json!({"rope_type": "dynamic", "factor": 4})), "dynamic");
    check_broken(scaling(json!({"rope_type": "yarn"})), "factor");
    check_broken(scaling(json!({"rope_type": "yarn", "factor": 4, "mscale": -1})), "mscale");
    check_broken(scaling(json!({"rope_type": "longrope"})), "long_factor");
    check_broken(scaling(json!({"rope_type": "longrope", "long_factor": [1, -1]})), "long_factor");
    check_broken(scaling(json!({"rope_type": "linear"})), "factor");
    check_broken(scaling(json!({"rope_type": "linear", "factor": 0})), "factor");
    check_broken(scaling(json!({"rope_type": "llama3", "factor": 8, "high_freq_factor": 1})), "high_freq_factor");
    check_broken(rope(&json!({"rope_theta": 1e39})), "rope_theta");
}
