//! The table is the one that the daemon believes.

use engine::backend::Backend;
use engine::message::{FailureKind, Load};
use serde_json::{Value, json};

use super::MODELS;
use crate::Mlx;
use crate::checkpoint::Checkpoint;

#[test]
fn the_daemon_knows_these_architectures() {
    assert_eq!(MODELS.map(|(name, _)| name).as_slice(), engine::ARCHITECTURES);
}

/// A config that says too much or too little, whatever the weights are.
fn check_refused(architecture: &str, changes: &Value, words: &str) {
    let mut checkpoint = Checkpoint::llama().with("model_type", json!(architecture));
    let defaults = json!({
        "num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 32, "num_local_experts": 4,
        "conv_L_cache": 3, "conv_bias": false, "block_multiple_of": 64, "block_auto_adjust_ff_dim": false,
        "block_ff_dim": 128, "norm_eps": 1e-5, "full_attn_idxs": [0]
    });
    for (key, value) in defaults.as_object().unwrap().iter().chain(changes.as_object().unwrap()) {
        checkpoint.config[key] = value.clone();
    }
    let folder = checkpoint.write();
    let failure = Mlx::new().load(&Load { path: folder.path().to_owned() }, &mut |_, _| {}).unwrap_err();
    assert_eq!(failure.kind, FailureKind::ModelBroken, "{failure}");
    assert!(failure.message.contains("config.json") && failure.message.contains(words), "{failure}");
}

#[test]
fn experts_that_cannot_be_are_refused_by_name() {
    let chosen = json!({"num_experts_per_tok": 5});
    for architecture in ["gpt_oss", "mixtral", "qwen3_moe"] {
        check_refused(architecture, &chosen, "num_experts_per_tok is 5, but must lie in 1 to 4");
    }
    for architecture in ["gpt_oss", "mixtral"] {
        check_refused(architecture, &json!({"num_local_experts": 0}), "num_local_experts is 0");
    }
    check_refused("qwen3_moe", &json!({"num_experts": -1}), "num_experts is -1");
    check_refused("qwen3_moe", &json!({"moe_intermediate_size": 0}), "moe_intermediate_size is 0");
    check_refused("qwen3_moe", &json!({"decoder_sparse_step": 0}), "decoder_sparse_step is 0");
}

#[test]
fn layers_of_gpt_oss_that_cannot_be_are_refused_by_name() {
    check_refused("gpt_oss", &json!({"layer_types": ["full_attention"]}), "layer_types names 1 layers");
    check_refused("gpt_oss", &json!({"layer_types": ["full_attention", "conv"]}), "conv");
    check_refused("gpt_oss", &json!({"sliding_window": 0}), "sliding_window is 0");
    check_refused("gpt_oss", &json!({"swiglu_limit": 5.0}), "swiglu_limit is 5");
}

#[test]
fn layers_of_lfm2_that_cannot_be_are_refused_by_name() {
    check_refused("lfm2", &json!({"conv_L_cache": 0}), "conv_L_cache is 0");
    check_refused("lfm2", &json!({"full_attn_idxs": null}), "neither full_attn_idxs nor layer_types");
    check_refused("lfm2", &json!({"full_attn_idxs": [2]}), "full_attn_idxs names layer 2");
    let adjusted = |key: &str, value: Value| json!({"block_auto_adjust_ff_dim": true, key: value});
    check_refused("lfm2", &adjusted("block_multiple_of", json!(0)), "block_multiple_of is 0");
    check_refused("lfm2", &adjusted("block_ffn_dim_multiplier", json!(-1.0)), "block_ff_dim");
    check_refused("lfm2", &adjusted("block_ffn_dim_multiplier", json!(1e30)), "block_ff_dim");
    check_refused("lfm2", &json!({"norm_eps": 0}), "rms_norm_eps is 0");
}
