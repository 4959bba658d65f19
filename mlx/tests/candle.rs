//! Candle's engine computes what MLX's does, which is held to mlx-lm by tests of its own.

#![expect(clippy::unwrap_used, reason = "a test may end in a panic")]

#[path = "../src/checkpoint.rs"]
#[expect(dead_code, reason = "each program of tests needs a part of it")]
mod checkpoint;

use std::collections::BTreeMap;
use std::path::Path;

use engine::backend::{Backend, Pace, Step};
use engine::message::{FailureKind, Load, Pooling, Sampling, SequenceId, Submission, TokenId};
use mlx_rs::{Array, Dtype, ops};
use serde_json::json;
use talkied_candle::Candle;
use talkied_mlx::Mlx;

use crate::checkpoint::Checkpoint;

/// Largest difference of a logit that two ways of adding the same numbers up may have.
const TOLERANCE: f32 = 1e-3;

/// Likeliest tokens may part where both engines find the two so near each other: one row of those here does, at 2e-5.
const TIE: f32 = 1e-4;

/// Largest share of the logits' length that eight bits may change.
const SHARE: f32 = 0.1;

fn load<B: Backend>(mut backend: B, folder: &Path) -> B {
    backend.load(&Load::new(folder.to_owned()), &mut |done, total| assert!(done <= total)).unwrap();
    backend
}

fn prompt(len: u32) -> Vec<TokenId> {
    (0..len).map(|i| i * 31 % 96).collect()
}

fn greedy(prompt: &[TokenId], count: u32) -> Submission {
    Submission::greedy(SequenceId(1), prompt, count)
}

fn difference(ours: &[f32], theirs: &[f32]) -> f32 {
    assert_eq!(ours.len(), theirs.len());
    let differences = ours.iter().zip(theirs).map(|(a, b)| (a - b).abs());
    differences.fold(0.0, |largest, next| if next > largest || next.is_nan() { next } else { largest })
}

/// Prompts of one token, of a chunk, and across chunks and steps of the caches.
#[track_caller]
fn check(checkpoint: &Checkpoint) {
    check_against(checkpoint, checkpoint);
}

/// Candle's `ours` is MLX's `theirs`.
#[track_caller]
fn check_against(ours: &Checkpoint, theirs: &Checkpoint) {
    let (mut candle, mut mlx) = (load(Candle::exact(), ours.write().path()), load(Mlx::new(), theirs.write().path()));
    for len in [1, 2, 255, 257, 514] {
        let prompt = prompt(len);
        let found = difference(&candle.logits(&prompt).unwrap(), &mlx.logits(&prompt).unwrap());
        assert!(found < TOLERANCE, "after {len} tokens: {found}");
        let (ours, theirs) = (candle.tokens(&greedy(&prompt, 24)).unwrap(), mlx.greedy(&prompt, 24).unwrap());
        if let Some(place) = ours.iter().zip(&theirs).position(|(a, b)| a != b) {
            let whole = [prompt.as_slice(), &ours[..place]].concat();
            for logits in [candle.logits(&whole).unwrap(), mlx.logits(&whole).unwrap()] {
                let gap = (logits[ours[place] as usize] - logits[theirs[place] as usize]).abs();
                assert!(gap < TIE, "token {place} after {len}: {ours:?} are not {theirs:?}");
            }
        }
    }
}

#[test]
fn a_plain_llama() {
    check(&Checkpoint::llama());
}

#[test]
fn heads_wider_than_their_share_and_a_tied_head() {
    let mut checkpoint = Checkpoint::llama().wide_heads().with("tie_word_embeddings", json!(true));
    checkpoint.tensors.remove("lm_head.weight");
    check(&checkpoint);
}

#[test]
fn ropes_that_are_scaled_or_turn_neighbours() {
    let llama3 = json!({ "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
        "original_max_position_embeddings": 64 });
    check(&Checkpoint::llama().with("rope_scaling", llama3));
    check(&Checkpoint::llama().with("rope_scaling", json!({ "type": "linear", "factor": 4.0 })));
    check(&Checkpoint::llama().with("rope_traditional", json!(true)));
}

#[test]
fn packed_weights_are_what_they_stand_for() {
    for bits in [3, 4, 6, 8] {
        check(&Checkpoint::llama().quantized(bits));
    }
}

/// Eight bits on both sides of each product. Random weights make so much of that, the more the longer a prompt is, that
/// only a short one says something.
#[test]
fn packed_weights_in_blocks_are_near_what_they_stand_for() {
    let folder = Checkpoint::llama().quantized(4).write();
    let (mut blocks, exact) = (load(Candle::new(), folder.path()), load(Candle::exact(), folder.path()));
    assert!(blocks.memory().active_bytes * 3 < exact.memory().active_bytes, "an eight-bit number is no float32");
    let (ours, theirs) = (blocks.logits(&prompt(2)).unwrap(), exact.logits(&prompt(2)).unwrap());
    let squares = |numbers: &mut dyn Iterator<Item = f32>| numbers.map(|number| number * number).sum::<f32>();
    let off = squares(&mut ours.iter().zip(&theirs).map(|(a, b)| a - b));
    let share = (off / squares(&mut theirs.iter().copied())).sqrt();
    assert!(share < SHARE, "off by {share}");
    assert!(share > 0.0, "blocks are used");
    assert_eq!(blocks.tokens(&greedy(&prompt(2), 3)).unwrap().len(), 3);
}

#[test]
fn qwen_2_has_biases_and_qwen_3_norms() {
    let mut checkpoint = Checkpoint::llama().with("model_type", json!("qwen2"));
    for layer in 0..2 {
        for (name, source) in [("q_proj", "input_layernorm"), ("k_proj", "half"), ("v_proj", "half")] {
            let norm = &checkpoint.tensors[&format!("model.layers.{layer}.input_layernorm.weight")];
            let bias =
                if source == "half" { norm.split_at_indices(&[32], 0).unwrap().swap_remove(0) } else { norm.clone() };
            checkpoint.tensors.insert(format!("model.layers.{layer}.self_attn.{name}.bias"), bias);
        }
    }
    check(&checkpoint);

    let mut checkpoint = Checkpoint::llama().with("model_type", json!("qwen3")).with("head_dim", json!(16));
    for layer in 0..2 {
        for name in ["q_norm", "k_norm"] {
            let norm = &checkpoint.tensors[&format!("model.layers.{layer}.input_layernorm.weight")];
            let norm = norm.split_at_indices(&[16], 0).unwrap().swap_remove(0);
            checkpoint.tensors.insert(format!("model.layers.{layer}.self_attn.{name}.weight"), norm);
        }
    }
    check(&checkpoint);
}

/// With the matrices of each layer joined as Phi 3 has them.
fn phi3() -> Checkpoint {
    let mut checkpoint = Checkpoint::llama().with("model_type", json!("phi3"));
    for layer in ["model.layers.0", "model.layers.1"] {
        for (joined, parts) in [
            ("self_attn.qkv_proj", ["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"].as_slice()),
            ("mlp.gate_up_proj", &["mlp.gate_proj", "mlp.up_proj"]),
        ] {
            let parts = parts.iter().map(|part| checkpoint.tensors.remove(&format!("{layer}.{part}.weight")).unwrap());
            let parts: Vec<_> = parts.collect();
            let whole = ops::concatenate(&parts, 0).unwrap();
            checkpoint.tensors.insert(format!("{layer}.{joined}.weight"), whole);
        }
    }
    checkpoint
}

#[test]
fn phi_3_joins_matrices() {
    check(&phi3());
    check(&phi3().quantized(4));
    let tied = phi3().with("tie_word_embeddings", json!(true));
    check(&tied);
}

#[test]
fn phi_3_stretches_wavelengths_one_by_one_and_turns_a_part() {
    let long = |factors: &[f32]| {
        let short = vec![1.0; factors.len()];
        json!({ "type": "longrope", "short_factor": short, "long_factor": factors })
    };
    let first = |checkpoint: Checkpoint| checkpoint.with("original_max_position_embeddings", json!(64));
    check(&first(phi3().with("rope_scaling", long(&[1.0, 1.1, 1.3, 1.6, 2.0, 3.0, 4.0, 6.0]))));
    let partial = phi3().with("partial_rotary_factor", json!(0.75));
    check(&first(partial.with("rope_scaling", long(&[1.0, 1.2, 1.5, 2.0, 3.0, 4.0]))));
    check(&phi3().with("partial_rotary_factor", json!(0.5)).with("rope_traditional", json!(true)));
}

/// With the norms that Gemma 2 and 3 have after each part. Norms of 1 + weight have weights near 0.
fn gemma(model_type: &str) -> Checkpoint {
    let mut checkpoint = Checkpoint::llama().with("model_type", json!(model_type)).with("head_dim", json!(16));
    checkpoint.tensors.remove("lm_head.weight");
    for layer in ["model.layers.0", "model.layers.1"] {
        for (name, source) in [("pre", "input_layernorm"), ("post", "post_attention_layernorm")] {
            if model_type == "gemma" {
                continue;
            }
            let norm = checkpoint.tensors[&format!("{layer}.{source}.weight")].clone();
            checkpoint.tensors.insert(format!("{layer}.{name}_feedforward_layernorm.weight"), norm);
        }
        if model_type == "gemma3_text" {
            for (name, source) in [("q_norm", "input_layernorm"), ("k_norm", "post_attention_layernorm")] {
                let norm = &checkpoint.tensors[&format!("{layer}.{source}.weight")];
                let norm = norm.split_at_indices(&[16], 0).unwrap().swap_remove(0);
                checkpoint.tensors.insert(format!("{layer}.self_attn.{name}.weight"), norm);
            }
        }
    }
    for (_, norm) in checkpoint.tensors.iter_mut().filter(|(name, _)| name.ends_with("norm.weight")) {
        *norm = ops::subtract(&*norm, Array::from_f32(1.0)).unwrap();
    }
    checkpoint
}

/// Inside a model with eyes, which are not looked at.
fn with_eyes(inner: Checkpoint) -> Checkpoint {
    let mut config = json!({ "model_type": "gemma3", "vocab_size": 96, "text_config": inner.config });
    if let Some(quantization) = config["text_config"].as_object_mut().unwrap().remove("quantization") {
        config["quantization"] = quantization;
    }
    let tensors = inner.tensors.into_iter().map(|(name, tensor)| (format!("language_model.{name}"), tensor));
    let mut tensors: BTreeMap<_, _> = tensors.collect();
    tensors.insert("vision_tower.norm.weight".into(), Array::from_slice(&[1.0_f32; 4], &[4]));
    Checkpoint { config, tensors }
}

#[test]
fn gemma_has_a_gate_of_the_error_function() {
    check(&gemma("gemma"));
    check(&gemma("gemma").with("num_key_value_heads", json!(2)).with("rope_traditional", json!(true)));
    check(&gemma("gemma").quantized(4));
}

#[test]
fn gemma_3_is_found_beside_its_eyes() {
    let inner = gemma("gemma3_text").with("sliding_window", json!(20)).with("sliding_window_pattern", json!(2));
    check(&with_eyes(inner));
    check(&with_eyes(gemma("gemma3_text").quantized(8)));
    // Eight heads, where the config says nothing: the tensors have four.
    let mut eyes = with_eyes(gemma("gemma3_text"));
    eyes.config["text_config"].as_object_mut().unwrap().remove("num_attention_heads");
    refused(
        &eyes,
        "language_model.model.layers.0.self_attn.q_proj.weight has the shape [64, 64], but must have [128, 64]",
    );
}

/// Both engines say that it is broken, and Candle's says `words`.
#[track_caller]
fn refused(checkpoint: &Checkpoint, words: &str) {
    let folder = checkpoint.write();
    let load = Load::new(folder.path().to_owned());
    let failure = Mlx::new().load(&load, &mut |_, _| {}).unwrap_err();
    assert_eq!(failure.kind, FailureKind::ModelBroken, "{failure}");
    let failure = Candle::new().load(&load, &mut |_, _| {}).unwrap_err();
    assert_eq!(failure.kind, FailureKind::ModelBroken, "{failure}");
    assert!(failure.message.contains(words), "{failure}");
}

#[test]
fn eyes_alone_are_no_model() {
    let whole = || with_eyes(gemma("gemma3_text"));
    for config in [json!(null), json!("gemma3_text")] {
        refused(&whole().with("text_config", config), "no object under `text_config`");
    }
    let mut eyes = whole();
    eyes.tensors.retain(|name, _| name.starts_with("vision_tower."));
    refused(&eyes, "no language_model.model.embed_tokens.weight");
}

#[test]
fn gemma_2_bends_scores_and_logits() {
    check(&gemma("gemma2"));
    let bent = gemma("gemma2").with("attn_logit_softcapping", json!(5.0)).with("final_logit_softcapping", json!(8.0));
    check(&bent.with("query_pre_attn_scalar", json!(16)));
    check(&gemma("gemma2").quantized(4));
}

#[test]
fn gemma_3_sees_windows_with_a_rope_of_their_own() {
    let gemma = || gemma("gemma3_text").with("query_pre_attn_scalar", json!(32));
    let sliding = |window: u32| gemma().with("sliding_window", json!(window)).with("sliding_window_pattern", json!(2));
    // At the edges of a chunk, within a step of the caches, and a token alone.
    for window in [1, 20, 255, 256, 300] {
        check(&sliding(window));
    }
    check(&gemma().with("sliding_window_pattern", json!(1)));
    check(&sliding(20).with("rope_scaling", json!({ "rope_type": "linear", "factor": 8.0 })));
    let apart = json!({ "full_attention": { "rope_theta": 5000.0, "rope_type": "default" },
        "sliding_attention": { "rope_theta": 300.0, "rope_type": "default" } });
    check(&sliding(20).with("rope_parameters", apart));
    check(&sliding(20).quantized(8));
}

/// mlx-lm leaves the windows of Mistral and Phi 3 out, and knows those of layers that a config names.
#[test]
fn windows_of_all_layers_are_those_of_each() {
    let named = json!(["sliding_attention", "sliding_attention"]);
    let llama = Checkpoint::llama().with("sliding_window", json!(40));
    let theirs = Checkpoint::llama().with("sliding_window", json!(40)).with("layer_types", named);
    check_against(&llama.with("model_type", json!("mistral")), &theirs);
    check_against(&phi3().with("sliding_window", json!(40)), &theirs);
}

#[test]
fn halves_are_computed_whole() {
    let mut checkpoint = Checkpoint::llama();
    checkpoint.cast(Dtype::Bfloat16);
    let halves = load(Candle::new(), checkpoint.write().path());
    checkpoint.cast(Dtype::Float32);
    let whole = load(Candle::new(), checkpoint.write().path());
    assert_eq!(halves.logits(&prompt(9)).unwrap(), whole.logits(&prompt(9)).unwrap());
}

#[test]
fn forks_go_their_own_ways() {
    let folder = Checkpoint::llama().write();
    let mut candle = load(Candle::new(), folder.path());
    let idle = candle.memory();
    let submission = greedy(&prompt(9), 8);
    let alone = candle.tokens(&submission).unwrap();
    let mut first = candle.begin(&submission).unwrap();
    assert_eq!(candle.step(&mut first, Pace::Alone).unwrap(), Step::Prefill { done: 8 });
    let drawn = Sampling { temperature: 2.0, seed: 5, ..Sampling::greedy() };
    let mut second = candle.fork(&first, &Submission { sampling: drawn, ..submission.clone() }).unwrap();
    assert!(candle.memory().active_bytes > idle.active_bytes);
    let mut tokens = [Vec::new(), Vec::new()];
    for _ in 0..8 {
        for (sequence, tokens) in [&mut first, &mut second].into_iter().zip(&mut tokens) {
            if let Step::Token(token) = candle.step(sequence, Pace::Alone).unwrap() {
                tokens.push(token);
            }
        }
    }
    assert_eq!(tokens[0], alone);
    assert_ne!(tokens[1], alone);
    drop((first, second));
    assert_eq!(candle.memory().active_bytes, idle.active_bytes);
}

#[test]
fn log_probabilities_are_mlx_s() {
    let folder = Checkpoint::llama().write();
    let (mut candle, mut mlx) = (load(Candle::new(), folder.path()), load(Mlx::new(), folder.path()));
    let submission = Submission { logprobs: Some(3), ..greedy(&[5], 1) };
    let mut ours = candle.begin(&submission).unwrap();
    let mut theirs = mlx.begin(&submission).unwrap();
    assert_eq!(candle.step(&mut ours, Pace::Alone).unwrap(), mlx.step(&mut theirs, Pace::Alone).unwrap());
    let (ours, theirs) = (candle.logprobs(&mut ours).unwrap().unwrap(), mlx.logprobs(&mut theirs).unwrap().unwrap());
    assert!((ours.chosen - theirs.chosen).abs() < TOLERANCE);
    let ids = |top: &[(TokenId, f32)]| top.iter().map(|(id, _)| *id).collect::<Vec<_>>();
    assert_eq!(ids(&ours.top), ids(&theirs.top));
}

#[test]
fn what_is_not_known_or_damaged_is_refused() {
    let mut checkpoint = Checkpoint::llama();
    let folder = checkpoint.write();
    let mut candle = load(Candle::new(), folder.path());
    assert_eq!(candle.begin_text(&[1], Pooling::Mean).unwrap_err().kind, FailureKind::NotSupported);
    assert_eq!(candle.logits(&[96]).unwrap_err().kind, FailureKind::Internal);
    checkpoint.tensors.remove("model.layers.1.mlp.up_proj.weight");
    let folder = checkpoint.write();
    let failure = candle.load(&Load::new(folder.path().to_owned()), &mut |_, _| {}).unwrap_err();
    assert_eq!(failure.kind, FailureKind::ModelBroken);
    assert!(failure.message.contains("model.layers.1.mlp.up_proj.weight"), "{failure}");
}
