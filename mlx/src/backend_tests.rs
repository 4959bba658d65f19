//! The backend without a socket: what a load tells, and what is refused before one.

use engine::message::{Load, Speculation};
use serde_json::json;
use tempfile::TempDir;

use super::*;
use crate::checkpoint::Checkpoint;

#[test]
fn a_load_tells_what_is_resident() {
    let folder = Checkpoint::llama().quantized(4).write();
    let mut mlx = Mlx::new();
    let loaded = mlx.load(&Load::new(folder.path().to_owned()), &mut |_, _| {}).unwrap();
    assert_eq!((loaded.vocab_size, loaded.dtype.as_str()), (96, "float32"));
    // Two layers keep two heads of 16 keys and values each.
    assert_eq!(loaded.token_bytes, 2 * 2 * 2 * 16 * 4);
    // 86 016 weights and five norms of 64. A processor unpacks small models; else there are 4 bits to a weight, and a
    // scale and a bias of 32 bits to 32 of them.
    let weights = if loaded.device == "cpu" { 86_016 * 4 } else { 86_016 / 2 + 86_016 / 32 * 8 };
    assert_eq!(loaded.weight_bytes, weights + 5 * 64 * 4);
    assert!(!loaded.device.is_empty());
    assert!(mlx.memory().active_bytes >= loaded.weight_bytes);
}

#[test]
fn what_a_model_needs_is_known_before_its_load() {
    for (checkpoint, most) in [
        (Checkpoint::llama(), 1.0),
        (Checkpoint::llama().quantized(4), 1.0),
        (Checkpoint::llama().quantized(8), 1.0),
        (Checkpoint::llama().quantized(2), 1.0),
    ] {
        let folder = checkpoint.write();
        let load = Load::new(folder.path());
        let mut mlx = Mlx::new();
        let needs = mlx.needs(&load).unwrap();
        let held = mlx.load(&load, &mut |_, _| {}).unwrap().weight_bytes;
        assert!((1.0..=most).contains(&(needs.weight_bytes as f64 / held as f64)), "{needs:?} of {held}");
        assert_eq!(needs.scratch_bytes, 256 << 20);
    }
    assert_eq!(Mlx::new().needs(&Load::new("/absent")).unwrap_err().kind, FailureKind::ModelBroken);
}

#[test]
fn what_a_window_keeps_is_told() {
    let windows = || Checkpoint::llama().with("layer_types", json!(["sliding_attention", "full_attention"]));
    let folder = windows().with("sliding_window", json!(12)).write();
    let loaded = Mlx::new().load(&Load::new(folder.path()), &mut |_, _| {}).unwrap();
    let layer = 2 * 2 * 16 * 4;
    assert_eq!((loaded.window_tokens, loaded.window_bytes), (12, layer));
    // Of the other layer, with what shared buffers may have more.
    assert!((layer..2 * layer).contains(&loaded.token_bytes), "{}", loaded.token_bytes);
    let folder = Checkpoint::llama().write();
    let loaded = Mlx::new().load(&Load::new(folder.path()), &mut |_, _| {}).unwrap();
    assert_eq!((loaded.window_tokens, loaded.window_bytes), (0, 0));
}

#[test]
fn nothing_runs_before_a_load_or_after_one_that_failed() {
    let mut mlx = Mlx::new();
    let submission = greedy(&[1], 1);
    assert_eq!(mlx.begin(&submission).map(|_| ()).unwrap_err().kind, FailureKind::Internal);
    let folder = Checkpoint::llama().write();
    mlx.load(&Load::new(folder.path().to_owned()), &mut |_, _| {}).unwrap();
    assert!(mlx.begin(&submission).is_ok());
    mlx.load(&Load::new(folder.path().join("absent")), &mut |_, _| {}).unwrap_err();
    assert!(mlx.begin(&submission).is_err());
}

#[test]
fn a_model_that_computes_nan_is_not_loaded_and_the_next_is() {
    let mut checkpoint = Checkpoint::llama();
    let head = &checkpoint.tensors["lm_head.weight"];
    let head = mlx_rs::ops::multiply(head, mlx_rs::Array::from_f32(f32::NAN)).unwrap();
    checkpoint.tensors.insert("lm_head.weight".into(), head);
    let mut mlx = Mlx::new();
    let mut load = |folder: &Path| mlx.load(&Load::new(folder.to_owned()), &mut |_, _| {}).map(|_| ());
    let failure = load(checkpoint.write().path()).unwrap_err();
    assert_eq!(failure.kind, FailureKind::ModelBroken);
    assert!(failure.message.starts_with("the model computed NaN"), "{failure}");
    load(Checkpoint::llama().write().path()).unwrap();
}

#[test]
fn temperature_zero_takes_the_token_of_the_greatest_logit() {
    let folder = Checkpoint::llama().write();
    let mut mlx = Mlx::new();
    mlx.load(&Load::new(folder.path().to_owned()), &mut |_, _| {}).unwrap();
    let mut text = vec![4, 8, 15];
    let tokens = mlx.greedy(&text, 8).unwrap();
    assert_eq!(tokens.len(), 8);
    for token in tokens {
        let logits = mlx.logits(&text).unwrap();
        let expected = (0..96).max_by(|a, b| logits[*a].total_cmp(&logits[*b])).unwrap() as u32;
        assert_eq!(token, expected);
        text.push(token);
    }
}

/// A checkpoint's folder with a tokenizer that has so many tokens.
fn with_tokens(checkpoint: &Checkpoint, count: u32) -> TempDir {
    let folder = checkpoint.write();
    let vocab: serde_json::Map<_, _> = (0..count).map(|id| (format!("t{id}"), id.into())).collect();
    let tokenizer = json!({ "model": { "vocab": vocab } }).to_string();
    std::fs::write(folder.path().join("tokenizer.json"), tokenizer).unwrap();
    folder
}

fn asking_for_a_draft(prompt: &[TokenId], max_tokens: u32) -> Submission {
    Submission { speculation: Speculation::Draft, ..greedy(prompt, max_tokens) }
}

#[test]
fn a_draft_is_loaded_beside_its_model_and_what_both_take_is_told() {
    let (model, draft) = (with_tokens(&Checkpoint::llama().wide_heads(), 96), with_tokens(&Checkpoint::llama(), 96));
    let mut alone = Vec::new();
    let mut mlx = Mlx::new();
    for folder in [&model, &draft] {
        let load = Load::new(folder.path());
        let needs = mlx.needs(&load).unwrap();
        alone.push((needs.weight_bytes, mlx.load(&load, &mut |_, _| {}).unwrap()));
    }
    mlx.load(&Load::new(model.path()), &mut |_, _| {}).unwrap();
    let expected = mlx.greedy(&[4, 8, 15], 30).unwrap();
    let load = Load { draft: Some(draft.path().to_owned()), ..Load::new(model.path()) };
    assert_eq!(mlx.needs(&load).unwrap().weight_bytes, alone[0].0 + alone[1].0);
    let mut told = Vec::new();
    let loaded = mlx.load(&load, &mut |done, total| told.push((done, total))).unwrap();
    let sums = [&alone[0].1, &alone[1].1].map(|loaded| (loaded.weight_bytes, loaded.token_bytes));
    assert_eq!(loaded.draft_refused, None);
    assert_eq!((loaded.weight_bytes, loaded.token_bytes), (sums[0].0 + sums[1].0, sums[0].1 + sums[1].1));
    let (last, total) = told[told.len() - 1];
    assert!(last == total && told.is_sorted() && told.iter().all(|(_, all)| *all == total), "{told:?}");
    assert_eq!(mlx.tokens(&asking_for_a_draft(&[4, 8, 15], 30)).unwrap(), expected);
}

#[test]
fn a_model_is_its_own_draft_and_nearly_all_is_guessed() {
    let folder = with_tokens(&Checkpoint::llama(), 96);
    let mut mlx = Mlx::new();
    mlx.load(&Load { draft: Some(folder.path().to_owned()), ..Load::new(folder.path()) }, &mut |_, _| {}).unwrap();
    let mut sequence = mlx.begin(&asking_for_a_draft(&[4, 8, 15], 60)).unwrap();
    let mut tokens = Vec::new();
    while tokens.len() < 60 {
        if let Step::Token(token) = mlx.step(&mut sequence, Pace::Alone).unwrap() {
            tokens.push(token);
        }
    }
    assert!(mlx.speculated(&sequence) > 45, "{}", mlx.speculated(&sequence));
    assert_eq!(tokens, mlx.greedy(&[4, 8, 15], 60).unwrap());
}

#[test]
fn a_model_is_loaded_without_a_draft_that_is_none_and_the_reason_is_told() {
    let model = with_tokens(&Checkpoint::llama(), 96);
    let windows = Checkpoint::llama()
        .with("layer_types", json!(["full_attention", "sliding_attention"]))
        .with("sliding_window", json!(12));
    let mut broken = Checkpoint::llama();
    broken.tensors.remove("model.norm.weight");
    for (draft, words) in [
        (with_tokens(&Checkpoint::llama(), 95), "token 95 is none, but \"t95\" of the model's"),
        (Checkpoint::llama().write(), "tokenizer.json"),
        (with_tokens(&windows, 96), "cannot take any back"),
        (with_tokens(&broken, 96), "model.norm.weight"),
    ] {
        let mut mlx = Mlx::new();
        let load = Load { draft: Some(draft.path().to_owned()), ..Load::new(model.path()) };
        let needs = mlx.needs(&load).unwrap().weight_bytes;
        let loaded = mlx.load(&load, &mut |_, _| {}).unwrap();
        let why = loaded.draft_refused.unwrap();
        assert!(why.contains(words), "{why}");
        assert!(needs >= loaded.weight_bytes);
        assert_eq!(mlx.greedy(&[1], 3).unwrap().len(), 3);
        let failure = mlx.begin(&asking_for_a_draft(&[1], 3)).map(|_| ()).unwrap_err();
        assert_eq!(failure.kind, FailureKind::NotSupported);
        assert!(failure.message.contains(words) && failure.message.contains("`draft_models`"), "{failure}");
    }
    let mut mlx = Mlx::new();
    assert_eq!(mlx.load(&Load::new(model.path()), &mut |_, _| {}).unwrap().draft_refused, None);
    let failure = mlx.begin(&asking_for_a_draft(&[1], 3)).map(|_| ()).unwrap_err();
    assert!(failure.message.contains("no draft") && failure.message.contains("`draft_models`"), "{failure}");
}
