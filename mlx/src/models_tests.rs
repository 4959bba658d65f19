//! The table is the one that the daemon believes.

use engine::backend::Backend;
use engine::message::{Failure, FailureKind, Load};
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
    let failure = refused(architecture, changes);
    assert_eq!(failure.kind, FailureKind::ModelBroken, "{failure}");
    assert!(failure.message.contains("config.json") && failure.message.contains(words), "{failure}");
}

fn check_not_supported(architecture: &str, changes: &Value, words: &str) {
    let failure = refused(architecture, changes);
    assert_eq!(failure.kind, FailureKind::NotSupported, "{failure}");
    assert!(failure.message.contains(words), "{failure}");
}

fn refused(architecture: &str, changes: &Value) -> Failure {
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
    Mlx::new().load(&Load::new(folder.path().to_owned()), &mut |_, _| {}).unwrap_err()
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

#[test]
fn numbers_of_gemma_2_that_cannot_be_are_refused_by_name() {
    for key in ["attn_logit_softcapping", "final_logit_softcapping", "query_pre_attn_scalar"] {
        check_refused("gemma2", &json!({key: 0}), &format!("{key} is 0"));
    }
}

#[test]
fn numbers_of_gemma_3_that_cannot_be_are_refused_by_name() {
    for key in ["sliding_window", "sliding_window_pattern", "query_pre_attn_scalar", "rope_local_base_freq"] {
        check_refused("gemma3_text", &json!({key: 0}), &format!("{key} is 0"));
        check_refused("gemma3_text", &json!({key: -1}), &format!("{key} is -1"));
    }
    check_refused("gemma3_text", &json!({"_sliding_window_pattern": 0}), "sliding_window_pattern is 0");
    check_refused("gemma3_text", &json!({"layer_types": ["full_attention"]}), "layer_types names 1 layers");
    check_refused("gemma3_text", &json!({"layer_types": ["full_attention", "conv"]}), "conv");
    let inside = json!({"text_config": {"sliding_window": 0}});
    check_refused("gemma3", &inside, "sliding_window is 0");
}

#[test]
fn wrappers_without_a_language_model_are_refused() {
    for architecture in ["gemma3", "mistral3"] {
        check_refused(architecture, &json!({}), "no object under `text_config`");
        check_refused(architecture, &json!({"text_config": "mistral"}), "no object under `text_config`");
    }
    let inside = json!({"text_config": {"model_type": "mistral4"}});
    check_not_supported("mistral3", &inside, "\"mistral4\" of mistral3 is not known; known are ministral3, mistral");
}

#[test]
fn ropes_and_windows_of_ministral_3_that_cannot_be_are_refused_by_name() {
    let with = |key: &str, value: Value| {
        let rope = json!({"llama_4_scaling_beta": 0.1, "original_max_position_embeddings": 64});
        let mut config = json!({ "rope_parameters": rope });
        config[key] = value;
        config
    };
    check_refused("ministral3", &json!({}), "rope_parameters");
    let without_first = with("rope_parameters", json!({"llama_4_scaling_beta": 0.1}));
    check_refused("ministral3", &without_first, "original_max_position_embeddings");
    let without_beta = with("rope_parameters", json!({"original_max_position_embeddings": 64}));
    check_refused("ministral3", &without_beta, "llama_4_scaling_beta");
    let nothing = json!({"llama_4_scaling_beta": 0.1, "original_max_position_embeddings": 0});
    check_refused("ministral3", &with("rope_parameters", nothing), "original_max_position_embeddings is 0");
    check_refused("ministral3", &with("layer_types", json!(["full_attention"])), "layer_types names 1 layers");
    let sliding = with("layer_types", json!(["full_attention", "sliding_attention"]));
    check_refused("ministral3", &sliding, "sliding_window is missing");
}

#[test]
fn ropes_of_phi_3_that_cannot_be_are_refused_by_name() {
    // Heads have 16 numbers, and numbers are turned in pairs.
    for factor in [json!(0), json!(-0.5), json!(1.5), json!(0.2), json!(1e38)] {
        check_refused("phi3", &json!({"partial_rotary_factor": factor}), "partial_rotary_factor");
    }
}

#[test]
fn layers_of_smollm_3_that_cannot_be_are_refused_by_name() {
    check_refused("smollm3", &json!({"no_rope_layers": [1]}), "no_rope_layers names 1 layers");
    check_refused("smollm3", &json!({"no_rope_layer_interval": 0}), "no_rope_layer_interval is 0");
    check_refused("smollm3", &json!({"no_rope_layer_interval": -4}), "no_rope_layer_interval is -4");
    check_refused("smollm3", &json!({"layer_types": ["full_attention"]}), "layer_types names 1 layers");
    let sliding = json!({"layer_types": ["full_attention", "sliding_attention"]});
    check_refused("smollm3", &sliding, "sliding_window is missing");
}
