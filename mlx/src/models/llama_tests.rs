//! The model against a plain implementation of the same formulas, on numbers instead of arrays.

use engine::backend::Backend;
use engine::message::{FailureKind, Load};
use mlx_rs::Dtype;
use serde_json::json;

use crate::Mlx;
use crate::checkpoint::Checkpoint;

const PROMPT: [u32; 7] = [5, 17, 2, 90, 33, 33, 8];

fn loaded(checkpoint: &Checkpoint) -> Mlx {
    let folder = checkpoint.write();
    let mut mlx = Mlx::new();
    mlx.load(&Load::new(folder.path().to_owned()), &mut |_, _| {}).unwrap();
    mlx
}

fn check_close(found: &[f32], expected: &[f32], most: f32) {
    assert_eq!(found.len(), expected.len());
    let difference = found.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(difference <= most, "logits differ by {difference}");
}

#[test]
fn dense_weights_give_the_logits_of_the_formulas() {
    let checkpoint = Checkpoint::llama();
    check_close(
        &loaded(&checkpoint).logits(&PROMPT).unwrap(),
        &Plain::of(&checkpoint, "lm_head").logits(&PROMPT),
        1e-3,
    );
}

#[test]
fn a_tied_head_is_the_embedding_and_a_stored_head_is_ignored() {
    let checkpoint = Checkpoint::llama().with("tie_word_embeddings", json!(true));
    let expected = Plain::of(&checkpoint, "model.embed_tokens").logits(&PROMPT);
    check_close(&loaded(&checkpoint).logits(&PROMPT).unwrap(), &expected, 1e-3);
}

#[test]
fn quantized_weights_give_the_logits_of_the_numbers_they_stand_for() {
    for bits in [4, 8] {
        let expected = Plain::of(&Checkpoint::llama().rounded(bits), "lm_head").logits(&PROMPT);
        check_close(&loaded(&Checkpoint::llama().quantized(bits)).logits(&PROMPT).unwrap(), &expected, 1e-3);
    }
}

#[test]
fn sixteen_bit_weights_are_computed_in_the_type_that_suits_the_device() {
    let mut checkpoint = Checkpoint::llama();
    checkpoint.cast(Dtype::Bfloat16);
    let folder = checkpoint.write();
    let mut mlx = Mlx::new();
    let loaded = mlx.load(&Load::new(folder.path().to_owned()), &mut |_, _| {}).unwrap();
    checkpoint.cast(Dtype::Float32);
    let (dtype, most) = if loaded.device == "cpu" { ("float32", 1e-3) } else { ("bfloat16", 0.5) };
    assert_eq!(loaded.dtype, dtype);
    check_close(&mlx.logits(&PROMPT).unwrap(), &Plain::of(&checkpoint, "lm_head").logits(&PROMPT), most);
}

#[test]
fn numbers_out_of_range_are_refused_by_name() {
    let cases = [
        ("num_hidden_layers", json!(0)),
        ("num_hidden_layers", json!(1001)),
        ("num_attention_heads", json!(0)),
        ("num_key_value_heads", json!(8)),
        ("head_dim", json!(0)),
        ("vocab_size", json!(-1)),
        ("hidden_size", json!(i32::MAX)),
        ("intermediate_size", json!(4_294_967_296_u64)),
        ("max_position_embeddings", json!(0)),
        ("rms_norm_eps", json!(0)),
        ("rope_theta", json!(-1.0)),
    ];
    for (key, value) in cases {
        let folder = Checkpoint::llama().with(key, value).write();
        let load = Load::new(folder.path().to_owned());
        let failure = Mlx::new().load(&load, &mut |_, _| {}).unwrap_err();
        assert_eq!(failure.kind, FailureKind::ModelBroken, "{key}: {failure}");
        assert!(failure.message.contains("config.json"), "{failure}");
    }
}

#[test]
fn windows_without_a_size_or_a_layer_are_refused() {
    let sliding = json!(["full_attention", "sliding_attention"]);
    for (types, words) in [(sliding, "sliding_window"), (json!(["full_attention"]), "layer_types names 1 layers")] {
        let folder = Checkpoint::llama().with("layer_types", types).write();
        let failure = Mlx::new().load(&Load::new(folder.path().to_owned()), &mut |_, _| {}).unwrap_err();
        assert_eq!(failure.kind, FailureKind::ModelBroken);
        assert!(failure.message.contains(words), "{failure}");
    }
}

/// The checkpoint's two layers, one token after the other, without a cache of arrays.
struct Plain<'a> {
    checkpoint: &'a Checkpoint,
    head: &'static str,
}

impl<'a> Plain<'a> {
    fn of(checkpoint: &'a Checkpoint, head: &'static str) -> Self {
        Self { checkpoint, head }
    }

    fn logits(&self, prompt: &[u32]) -> Vec<f32> {
        let embedding = self.checkpoint.numbers("model.embed_tokens.weight");
        let mut caches = vec![(Vec::new(), Vec::new()); 2];
        let mut last = Vec::new();
        for (position, token) in prompt.iter().enumerate() {
            let mut x = embedding[*token as usize * 64..][..64].to_vec();
            for (layer, cache) in caches.iter_mut().enumerate() {
                self.block(layer, &mut x, cache, position);
            }
            last = self.linear(self.head, &self.norm("model.norm", &x));
        }
        last
    }

    fn block(&self, layer: usize, x: &mut [f32], cache: &mut (Vec<Vec<f32>>, Vec<Vec<f32>>), position: usize) {
        let name = |part: &str| format!("model.layers.{layer}.{part}");
        let normed = self.norm(&name("input_layernorm"), x);
        let project = |part: &str| self.linear(&name(&format!("self_attn.{part}")), &normed);
        let queries = rotated(&project("q_proj"), position);
        cache.0.push(rotated(&project("k_proj"), position));
        cache.1.push(project("v_proj"));
        let attended: Vec<f32> =
            (0..4).flat_map(|head| attended(&queries[head * 16..][..16], head / 2, cache)).collect();
        add(x, &self.linear(&name("self_attn.o_proj"), &attended));
        let normed = self.norm(&name("post_attention_layernorm"), x);
        let gate = self.linear(&name("mlp.gate_proj"), &normed);
        let up = self.linear(&name("mlp.up_proj"), &normed);
        let wide: Vec<f32> = gate.iter().zip(up).map(|(gate, up)| gate / (1.0 + (-gate).exp()) * up).collect();
        add(x, &self.linear(&name("mlp.down_proj"), &wide));
    }

    fn linear(&self, path: &str, x: &[f32]) -> Vec<f32> {
        let weight = self.checkpoint.numbers(&format!("{path}.weight"));
        weight.chunks(x.len()).map(|row| dot(row, x)).collect()
    }

    fn norm(&self, path: &str, x: &[f32]) -> Vec<f32> {
        let root = (dot(x, x) / x.len() as f32 + 1e-5).sqrt();
        let weight = self.checkpoint.numbers(&format!("{path}.weight"));
        x.iter().zip(weight).map(|(x, weight)| x / root * weight).collect()
    }
}

/// Heads of 16 numbers, the first half of each turned against the second.
fn rotated(x: &[f32], position: usize) -> Vec<f32> {
    let mut rotated = x.to_vec();
    for (head, turned) in x.chunks(16).zip(rotated.chunks_mut(16)) {
        for i in 0..8 {
            let angle = position as f32 / 10_000_f32.powf(2.0 * i as f32 / 16.0);
            turned[i] = head[i] * angle.cos() - head[i + 8] * angle.sin();
            turned[i + 8] = head[i] * angle.sin() + head[i + 8] * angle.cos();
        }
    }
    rotated
}

fn attended(query: &[f32], head: usize, (keys, values): &(Vec<Vec<f32>>, Vec<Vec<f32>>)) -> Vec<f32> {
    let scores: Vec<f32> = keys.iter().map(|key| (dot(query, &key[head * 16..][..16]) / 4.0).exp()).collect();
    let total: f32 = scores.iter().sum();
    let mut sum = vec![0.0; 16];
    for (score, value) in scores.iter().zip(values) {
        let share: Vec<f32> = value[head * 16..][..16].iter().map(|value| value * score / total).collect();
        add(&mut sum, &share);
    }
    sum
}

fn dot(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn add(to: &mut [f32], what: &[f32]) {
    to.iter_mut().zip(what).for_each(|(to, what)| *to += what);
}
