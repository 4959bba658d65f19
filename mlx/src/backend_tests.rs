//! The backend without a socket: what a load tells, and what is refused before one.

use engine::message::Load;

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
        // Eight numbers are taken to be in each word, where there are four.
        (Checkpoint::llama().quantized(8), 2.0),
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
