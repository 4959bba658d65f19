//! A GGUF file computes what safetensors with the same numbers do.

#![expect(clippy::unwrap_used, reason = "a test may end in a panic")]

#[path = "support/checkpoint.rs"]
mod checkpoint;

use std::fs;
use std::path::Path;

use candle_core::Tensor;
use candle_core::quantized::GgmlDType;
use engine::backend::Backend;
use engine::message::{Failure, FailureKind, Load, SequenceId, Submission, TokenId};
use serde_json::json;
use talkied_candle::Candle;

use crate::checkpoint::{Checkpoint, VOCABULARY};

/// Largest share of the logits' length that products with eight bits of activations may change.
const SHARE: f32 = 0.1;

const PACKED: [GgmlDType; 10] = [
    GgmlDType::Q4_0,
    GgmlDType::Q4_1,
    GgmlDType::Q5_0,
    GgmlDType::Q5_1,
    GgmlDType::Q8_0,
    GgmlDType::Q2K,
    GgmlDType::Q3K,
    GgmlDType::Q4K,
    GgmlDType::Q5K,
    GgmlDType::Q6K,
];

fn try_load(mut candle: Candle, path: &Path) -> Result<Candle, Failure> {
    candle.load(&Load::new(path.to_owned()), &mut |done, total| assert!(done <= total))?;
    Ok(candle)
}

fn load(candle: Candle, path: &Path) -> Candle {
    try_load(candle, path).unwrap()
}

fn prompt(len: u32) -> Vec<TokenId> {
    (0..len).map(|i| i * 31 % VOCABULARY as u32).collect()
}

fn share(ours: &[f32], theirs: &[f32]) -> f32 {
    let squares = |numbers: &mut dyn Iterator<Item = f32>| numbers.map(|number| number * number).sum::<f32>();
    let off = squares(&mut ours.iter().zip(theirs).map(|(a, b)| a - b));
    (off / squares(&mut theirs.iter().copied())).sqrt()
}

/// Bit by bit the same, given alone, as its folder, and beside a config.
#[track_caller]
fn check_whole(checkpoint: &Checkpoint) {
    let mut plain = load(Candle::new(), checkpoint.safetensors().path());
    let folder = checkpoint.gguf(GgmlDType::F32);
    let alone = load(Candle::new(), &folder.path().join("model.gguf"));
    let bare = load(Candle::new(), folder.path());
    checkpoint.write_config(folder.path());
    let mut beside = load(Candle::new(), folder.path());
    for len in [1, 40, 600] {
        let expected = plain.logits(&prompt(len)).unwrap();
        for candle in [&alone, &bare, &beside] {
            assert_eq!(candle.logits(&prompt(len)).unwrap(), expected, "after {len} tokens");
        }
    }
    assert_eq!(plain.memory(), beside.memory());
    let submission = Submission::greedy(SequenceId(1), &prompt(9), 24);
    assert_eq!(beside.tokens(&submission).unwrap(), plain.tokens(&submission).unwrap());
}

#[test]
fn plain_numbers_are_the_same_model() {
    for model_type in ["gemma", "gemma2", "gemma3_text", "llama", "phi3", "qwen2", "qwen3"] {
        check_whole(&Checkpoint::new(model_type));
    }
}

#[test]
fn without_a_head_the_embedding_is_it() {
    let mut checkpoint = Checkpoint::new("llama");
    checkpoint.config["tie_word_embeddings"] = json!(true);
    checkpoint.tensors.remove("lm_head.weight");
    check_whole(&checkpoint);
}

#[test]
fn packed_numbers_are_what_they_stand_for() {
    for dtype in PACKED {
        let folder = Checkpoint::new("llama").gguf(dtype);
        let rounded = load(Candle::new(), Checkpoint::new("llama").rounded(dtype).safetensors().path());
        let expected = rounded.logits(&prompt(5)).unwrap();
        let exact = load(Candle::exact(), folder.path());
        assert_eq!(exact.logits(&prompt(5)).unwrap(), expected, "{dtype:?}");
        let packed = load(Candle::new(), folder.path());
        let off = share(&packed.logits(&prompt(5)).unwrap(), &expected);
        assert!(off > 0.0 && off < SHARE, "{dtype:?} is off by {off}");
        assert!(packed.memory().active_bytes * 2 < exact.memory().active_bytes, "{dtype:?} stays packed");
    }
}

#[test]
fn halves_are_computed_whole() {
    for dtype in [GgmlDType::F16, GgmlDType::BF16] {
        let halves = load(Candle::new(), Checkpoint::new("qwen2").gguf(dtype).path());
        let rounded = load(Candle::new(), Checkpoint::new("qwen2").rounded(dtype).safetensors().path());
        assert_eq!(halves.logits(&prompt(9)).unwrap(), rounded.logits(&prompt(9)).unwrap(), "{dtype:?}");
    }
}

/// Llama 3's files have a factor for each wavelength, where a config has the formula.
#[test]
fn factors_of_wavelengths_are_the_scaling() {
    let mut checkpoint = Checkpoint::new("llama");
    checkpoint.config["rope_scaling"] = json!({ "type": "linear", "factor": 4.0 });
    let plain = load(Candle::new(), checkpoint.safetensors().path());
    let factors = Tensor::full(4.0_f32, 32, &candle_core::Device::Cpu).unwrap();
    checkpoint.tensors.insert("rope_freqs.weight".into(), factors);
    let bare = load(Candle::new(), checkpoint.gguf(GgmlDType::F32).path());
    assert_eq!(bare.logits(&prompt(40)).unwrap(), plain.logits(&prompt(40)).unwrap());
}

/// Files have the factors of long contexts as a tensor, and how many numbers of a head are turned.
#[test]
fn phi_3_stretches_wavelengths_and_turns_a_part() {
    let mut checkpoint = Checkpoint::new("phi3");
    checkpoint.config["partial_rotary_factor"] = json!(0.75);
    checkpoint.config["original_max_position_embeddings"] = json!(64);
    let factors: Vec<f32> = (0..24).map(|pair| 1.0 + 0.25 * pair as f32).collect();
    let ones = vec![1.0_f32; 24];
    checkpoint.config["rope_scaling"] = json!({ "type": "longrope", "short_factor": ones, "long_factor": factors });
    for (name, factors) in [("long", &factors), ("short", &ones)] {
        let factors = Tensor::new(factors.as_slice(), &candle_core::Device::Cpu).unwrap();
        checkpoint.tensors.insert(format!("rope_factors_{name}.weight"), factors);
    }
    check_whole(&checkpoint);
    // A conversion writes 0 where there is no window.
    for window in [30, 0] {
        let mut windowed = Checkpoint::new("phi3");
        let file = Checkpoint::new("phi3").with("sliding_window", json!(window)).gguf(GgmlDType::F32);
        if window > 0 {
            windowed = windowed.with("sliding_window", json!(window));
        }
        let plain = load(Candle::new(), windowed.safetensors().path());
        let alone = load(Candle::new(), file.path());
        assert_eq!(alone.logits(&prompt(50)).unwrap(), plain.logits(&prompt(50)).unwrap(), "window {window}");
    }
}

#[test]
fn gemma_3_scales_the_rope_of_layers_that_see_everything() {
    let scaling = json!({ "rope_type": "linear", "factor": 8.0 });
    check_whole(&Checkpoint::new("gemma3_text").with("rope_scaling", scaling));
    // Without a window in the file there is none in the model.
    let everything = Checkpoint::new("gemma3_text").with("sliding_window_pattern", json!(1));
    let mut bare = Checkpoint::new("gemma3_text");
    bare.config.as_object_mut().unwrap().remove("sliding_window");
    let plain = load(Candle::new(), everything.safetensors().path());
    let alone = load(Candle::new(), bare.gguf(GgmlDType::F32).path());
    assert_eq!(alone.logits(&prompt(50)).unwrap(), plain.logits(&prompt(50)).unwrap());
}

#[track_caller]
fn refused(path: &Path, kind: FailureKind, words: &[&str]) {
    let failure = try_load(Candle::new(), path).map(drop).unwrap_err();
    assert_eq!(failure.kind, kind, "{failure}");
    assert!(words.iter().all(|word| failure.message.contains(word)), "{failure}");
}

/// The type of a tensor, in the header after its name, its rank and its two dimensions.
fn with_type(folder: &Path, tensor: &str, number: u32) {
    let path = folder.join("model.gguf");
    let mut bytes = fs::read(&path).unwrap();
    let name = bytes.windows(tensor.len()).position(|window| window == tensor.as_bytes()).unwrap();
    let place = name + tensor.len() + 4 + 2 * 8;
    bytes[place..place + 4].copy_from_slice(&number.to_le_bytes());
    fs::write(path, bytes).unwrap();
}

#[test]
fn a_type_that_is_not_known_is_named_with_its_tensor() {
    let folder = Checkpoint::new("llama").gguf(GgmlDType::Q8_0);
    with_type(folder.path(), "blk.1.ffn_up.weight", 20);
    refused(folder.path(), FailureKind::NotSupported, &["blk.1.ffn_up.weight", "IQ4_NL", "Q4_0", "Q6_K"]);
    with_type(folder.path(), "blk.1.ffn_up.weight", 77);
    refused(folder.path(), FailureKind::NotSupported, &["blk.1.ffn_up.weight", "type 77"]);
}

#[test]
fn files_that_are_no_model_here_are_refused() {
    let mut checkpoint = Checkpoint::new("llama");
    checkpoint.tensors.remove("model.layers.1.self_attn.o_proj.weight");
    let folder = checkpoint.gguf(GgmlDType::F32);
    refused(folder.path(), FailureKind::ModelBroken, &["no blk.1.attn_output.weight"]);
    // Cut short.
    let file = folder.path().join("model.gguf");
    let bytes = fs::read(&file).unwrap();
    fs::write(&file, &bytes[..bytes.len() - 1000]).unwrap();
    refused(&file, FailureKind::ModelBroken, &["model.gguf", "cut short"]);
    fs::write(&file, b"GGML").unwrap();
    refused(&file, FailureKind::ModelBroken, &["model.gguf", "GGUF"]);
    fs::copy(&file, folder.path().join("second.gguf")).unwrap();
    refused(folder.path(), FailureKind::ModelBroken, &["2 GGUF files"]);

    let folder = Checkpoint::new("mamba").gguf(GgmlDType::F32);
    let known = "gemma, gemma2, gemma3, llama, phi3, qwen2, qwen3";
    refused(folder.path(), FailureKind::NotSupported, &["mamba", known]);
    let bent = Checkpoint::new("gemma3_text").with("final_logit_softcapping", json!(30.0));
    refused(bent.gguf(GgmlDType::F32).path(), FailureKind::NotSupported, &["model.gguf", "bent"]);
}
