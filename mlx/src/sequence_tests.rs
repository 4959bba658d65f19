//! Chunks, steps ahead, and ends of a sequence, on a tiny checkpoint.

use engine::grammar::Grammar;
use engine::message::{KvBits, Sampling, SequenceId};
use mlx_rs::{Array, ops};
use serde_json::json;

use super::*;
use crate::checkpoint::Checkpoint;
use crate::config::Config;
use crate::device::WeightPolicy;
use crate::models;
use crate::weights::Weights;

pub(super) fn load(checkpoint: &Checkpoint) -> (Box<dyn Model>, Device) {
    let device = Device::open().unwrap();
    (load_on(&device, checkpoint), device)
}

pub(super) fn load_on(device: &Device, checkpoint: &Checkpoint) -> Box<dyn Model> {
    let folder = checkpoint.write();
    let config = Config::read(folder.path()).unwrap();
    let mut progress = |_, _| {};
    let mut weights = Weights::open(folder.path(), config.quantization(), device, &mut progress).unwrap();
    let model = models::find(&config).unwrap()(&config, &mut weights).unwrap();
    weights.finish().unwrap();
    model
}

pub(super) fn submission(prompt: &[TokenId], max_tokens: u32) -> Submission {
    let sampling = Sampling { top_p: 0.9, seed: 3, ..Sampling::greedy() };
    Submission { sampling, ..Submission::greedy(SequenceId(1), prompt, max_tokens) }
}

pub(super) fn prompt(len: u32) -> Vec<TokenId> {
    (0..len).map(|i| i * 31 % 96).collect()
}

/// One whose text matches a regular expression.
pub(super) fn obeying(pattern: &str, submission: &Submission, model: &dyn Model) -> Sequence {
    // Every token is the byte of its number.
    let bytes: Vec<Vec<u8>> = (0..96).map(|byte| vec![byte]).collect();
    let factory = engine::grammar::factory(&bytes, &[]).unwrap();
    let constraint = Constraint::new(Grammar::Regex(pattern.into()).compile(&factory).unwrap());
    Sequence::new(submission, model).unwrap().obeying(constraint)
}

pub(super) fn tokens_of(submission: &Submission, model: &dyn Model, device: &Device) -> Vec<TokenId> {
    tokens_until_the_end(Sequence::new(submission, model).unwrap(), submission, model, device)
}

fn tokens_until_the_end(
    mut sequence: Sequence,
    submission: &Submission,
    model: &dyn Model,
    device: &Device,
) -> Vec<TokenId> {
    let mut tokens = Vec::new();
    while tokens.len() < submission.max_tokens as usize {
        if let Step::Token(token) = sequence.step(model, device, Pace::Alone).unwrap() {
            tokens.push(token);
        }
    }
    tokens
}

#[test]
fn a_prompt_in_chunks_gives_the_logits_of_the_whole() {
    let (model, mut device) = load(&Checkpoint::llama());
    for len in [1, 2, 255, 256, 257] {
        let prompt = prompt(len);
        let submission = submission(&prompt, 1);
        let ids = tokens(&prompt).reshape(&[1, -1]).unwrap();
        let mut caches = model.caches();
        let whole = model
            .hidden(&ids, &mut caches)
            .and_then(|hidden| model.logits(&hidden))
            .unwrap()
            .to_vec_exact::<f32>()
            .unwrap();
        let whole = &whole[whole.len() - 96..];
        for chunk in [1, 32, 255, 256, 2048] {
            device.prefill_chunk = chunk;
            let found = Sequence::new(&submission, model.as_ref()).unwrap().logits(model.as_ref(), &device).unwrap();
            let difference = found.iter().zip(whole).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(difference < 1e-3, "{len} tokens in chunks of {chunk}: {difference}");
        }
    }
}

#[test]
fn packed_weights_give_the_logits_of_unpacked_ones() {
    let checkpoint = Checkpoint::llama().quantized(4);
    let mut device = Device::open().unwrap();
    // Plain numbers, always packed, and packed but for chunks of eight tokens and more.
    let logits = [(u64::MAX, None), (0, None), (0, Some(8))].map(|(unpack_bytes, unpack_rows)| {
        device.weights = WeightPolicy { unpack_bytes, unpack_rows, ..device.weights };
        let model = load_on(&device, &checkpoint);
        Sequence::new(&submission(&prompt(40), 1), model.as_ref()).unwrap().logits(model.as_ref(), &device).unwrap()
    });
    for other in &logits[1..] {
        let difference = other.iter().zip(&logits[0]).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(difference < 1e-3, "{difference}");
    }
}

#[test]
fn sixteen_bit_weights_give_sixteen_bit_activations_where_they_are_left_alone() {
    let mut checkpoint = Checkpoint::llama();
    let mut device = Device::open().unwrap();
    let submission = submission(&prompt(20), 1);
    let mut logits = |device: &Device, dtype| {
        checkpoint.cast(dtype);
        let model = load_on(device, &checkpoint);
        let mut caches = model.caches();
        let activations = model.hidden(&tokens(&[7, 8]).reshape(&[1, 2]).unwrap(), &mut caches).unwrap();
        assert_eq!((activations.dtype(), model.facts().dtype), (dtype, dtype));
        assert!(caches.iter().flat_map(Cache::state).all(|buffer| buffer.dtype() == dtype));
        Sequence::new(&submission, model.as_ref()).unwrap().logits(model.as_ref(), device).unwrap()
    };
    device.weights = WeightPolicy { cast: None, unpack_bytes: 0, unpack_rows: None, joins: true, flattens: false };
    let short = logits(&device, Dtype::Bfloat16);
    let long = logits(&device, Dtype::Float32);
    let difference = short.iter().zip(&long).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(difference > 0.0 && difference < 0.5, "{difference}");
}

#[test]
fn forked_sequences_draw_what_each_would_draw_alone() {
    let (model, mut device) = load(&Checkpoint::llama());
    device.prefill_chunk = 64;
    for len in [1, 70, 257] {
        let prompt = prompt(len);
        let seeded = |seed| {
            let sampling = Sampling { temperature: 3.0, seed, ..Sampling::greedy() };
            Submission { sampling, ..Submission::greedy(SequenceId(1), &prompt, 12) }
        };
        let alone: Vec<_> = (5..8).map(|seed| tokens_of(&seeded(seed), model.as_ref(), &device)).collect();
        assert!(alone[0] != alone[1] && alone[1] != alone[2], "{alone:?}");
        let mut first = Sequence::new(&seeded(5), model.as_ref()).unwrap();
        while first.done + 1 < prompt.len() {
            first.step(model.as_ref(), &device, Pace::Alone).unwrap();
        }
        let mut all = vec![first];
        for seed in 6..8 {
            all.push(all[0].fork(&seeded(seed), model.as_ref()).unwrap());
        }
        let mut drawn = vec![Vec::new(); 3];
        for _ in 0..12 {
            for (sequence, drawn) in all.iter_mut().zip(&mut drawn) {
                let Step::Token(token) = sequence.step(model.as_ref(), &device, Pace::Alone).unwrap() else {
                    panic!("a token")
                };
                drawn.push(token);
            }
        }
        assert_eq!(drawn, alone, "a prompt of {len}");
    }
}

#[test]
fn packed_keys_and_values_depend_on_no_chunk_and_eight_bits_lose_little() {
    let (model, mut device) = load(&Checkpoint::llama().wide_heads());
    for len in [1, 2, 255, 256, 257] {
        let prompt = prompt(len);
        let mut logits = |kv_bits, chunk| {
            device.prefill_chunk = chunk;
            let submission = Submission { kv_bits, ..submission(&prompt, 1) };
            Sequence::new(&submission, model.as_ref()).unwrap().logits(model.as_ref(), &device).unwrap()
        };
        let plain = logits(None, 2048);
        let lost = [KvBits::Eight, KvBits::Four].map(|bits| {
            let whole = logits(Some(bits), 2048);
            for chunk in [1, 32, 255, 256] {
                let difference = difference(&logits(Some(bits), chunk), &whole);
                assert!(difference < 1e-3, "{len} tokens in {bits:?} bits, in chunks of {chunk}: {difference}");
            }
            difference(&whole, &plain)
        });
        // Of logits between -10 and 10; scores of random weights are steep, and half the bits cost a lot.
        assert!(0.0 < lost[0] && lost[0] < 0.5 && lost[0] < lost[1], "{len} tokens: {lost:?}");
    }
}

/// The largest difference.
pub(super) fn difference(found: &[f32], expected: &[f32]) -> f32 {
    found.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

#[test]
fn steps_ahead_of_packed_keys_give_the_same_tokens() {
    let (model, mut device) = load(&Checkpoint::llama().wide_heads());
    for bits in [KvBits::Four, KvBits::Eight] {
        let sampling = Sampling { temperature: 1.0, seed: 4, ..Sampling::greedy() };
        let submission = Submission { sampling, kv_bits: Some(bits), ..submission(&prompt(5), 300) };
        let [one_by_one, ahead] = [false, true].map(|pipelines| {
            device.pipelines = pipelines;
            tokens_of(&submission, model.as_ref(), &device)
        });
        assert_eq!(ahead, one_by_one);
    }
}

#[test]
fn heads_that_cannot_be_packed_are_refused_with_their_size() {
    let (model, _device) = load(&Checkpoint::llama());
    let submission = Submission { kv_bits: Some(KvBits::Eight), ..submission(&prompt(3), 1) };
    let Err(Error::NotSupported(words)) = Sequence::new(&submission, model.as_ref()) else {
        panic!("heads of 16 numbers have no group")
    };
    assert!(words.contains("16 numbers"), "{words}");
}

#[test]
fn the_prompt_is_reported_up_to_its_last_token() {
    let (model, mut device) = load(&Checkpoint::llama());
    device.prefill_chunk = 4;
    let mut sequence = Sequence::new(&submission(&prompt(10), 1), model.as_ref()).unwrap();
    let mut step = || sequence.step(model.as_ref(), &device, Pace::Alone).unwrap();
    assert_eq!(step(), Step::Prefill { done: 4 });
    assert_eq!(step(), Step::Prefill { done: 8 });
    assert_eq!(step(), Step::Prefill { done: 9 });
    assert!(matches!(step(), Step::Token(_)));
}

#[test]
fn steps_ahead_give_the_same_tokens() {
    let (model, mut device) = load(&Checkpoint::llama());
    let mut submission = submission(&prompt(5), 300);
    for temperature in [0.0, 1.0] {
        submission.sampling = Sampling { temperature, presence_penalty: 1.0, ..submission.sampling };
        device.pipelines = false;
        let one_by_one = tokens_of(&submission, model.as_ref(), &device);
        device.pipelines = true;
        assert_eq!(tokens_of(&submission, model.as_ref(), &device), one_by_one);
    }
}

#[test]
fn steps_ahead_obey_a_grammar_with_the_same_tokens() {
    let (model, mut device) = load(&Checkpoint::llama());
    // Every token is the byte of its number.
    let bytes: Vec<Vec<u8>> = (0..96).map(|byte| vec![byte]).collect();
    let factory = engine::grammar::factory(&bytes, &[]).unwrap();
    let grammar = engine::Grammar::Regex("([0-9]{3}[;<])*".into());
    for temperature in [0.0, 1.0] {
        let sampling = Sampling { temperature, presence_penalty: 1.0, seed: 5, ..Sampling::greedy() };
        let submission = Submission { sampling, ..submission(&prompt(5), 300) };
        let [one_by_one, ahead] = [false, true].map(|pipelines| {
            device.pipelines = pipelines;
            let constraint = Constraint::new(grammar.compile(&factory).unwrap());
            let sequence = Sequence::new(&submission, model.as_ref()).unwrap().obeying(constraint);
            let text = tokens_until_the_end(sequence, &submission, model.as_ref(), &device);
            String::from_utf8(text.into_iter().map(|token| token as u8).collect()).unwrap()
        });
        assert_eq!(ahead, one_by_one);
        let blocks: Vec<&str> = ahead.split_inclusive([';', '<']).collect();
        assert_eq!(blocks.len(), 75);
        assert!(blocks.iter().all(|block| block.len() == 4 && block[..3].parse::<u32>().is_ok()), "{ahead}");
    }
}

#[test]
fn nothing_is_started_after_the_first_token_and_the_last() {
    let (model, mut device) = load(&Checkpoint::llama());
    device.pipelines = true;
    let mut sequence = Sequence::new(&submission(&[1], 3), model.as_ref()).unwrap();
    // Nor after the first, which somebody waits for.
    for is_ahead in [false, true, false] {
        sequence.step(model.as_ref(), &device, Pace::Alone).unwrap();
        assert_eq!(sequence.ahead.is_some(), is_ahead);
    }
}

#[test]
fn a_full_context_is_an_error_and_not_a_larger_cache() {
    let (model, mut device) = load(&Checkpoint::llama().with("max_position_embeddings", json!(6)));
    for pipelines in [false, true] {
        device.pipelines = pipelines;
        let mut sequence = Sequence::new(&submission(&prompt(4), 100), model.as_ref()).unwrap();
        let mut given = 0;
        let error = loop {
            match sequence.step(model.as_ref(), &device, Pace::Alone) {
                Ok(Step::Token(_) | Step::Last(_)) => given += 1,
                Ok(Step::Prefill { .. }) => {}
                Err(error) => break error,
            }
        };
        // Positions 4, 5 and 6 are predicted by the tokens at 3, 4 and 5.
        assert_eq!((given, error.to_string()), (3, "the context of 6 tokens is full".into()));
        assert!(Sequence::new(&submission(&prompt(7), 1), model.as_ref()).is_err());
    }
}

#[test]
fn long_pieces_are_padded_and_nothing_of_that_remains() {
    let window = Checkpoint::llama()
        .with("layer_types", json!(["full_attention", "sliding_attention"]))
        .with("sliding_window", json!(12));
    for (checkpoint, kv_bits) in [
        (Checkpoint::llama().wide_heads(), None),
        (Checkpoint::llama().wide_heads(), Some(KvBits::Eight)),
        (window, None),
    ] {
        let (model, mut device) = load(&checkpoint.with("max_position_embeddings", json!(4096)));
        device.prefill_chunk = 2048;
        let submission = Submission { kv_bits, ..submission(&prompt(1100), 12) };
        let plain = tokens_of(&submission, model.as_ref(), &device);
        device.pads = true;
        let mut sequence = Sequence::new(&submission, model.as_ref()).unwrap();
        assert_eq!(sequence.step(model.as_ref(), &device, Pace::Alone).unwrap(), Step::Prefill { done: 1099 });
        assert!(sequence.caches.iter().all(|cache| cache.len() == 1099));
        let padded = tokens_until_the_end(sequence, &submission, model.as_ref(), &device);
        assert_eq!(padded, plain, "{kv_bits:?}");
    }
    let cases = [(7, 7), (60, 60), (1000, 1000), (1100, 1100), (2047, 2047), (512, 4096), (300, 9000), (100, 90_000)];
    let lengths = cases.map(|(count, end)| padded(count, end));
    assert_eq!(lengths, [7, 64, 1008, 1280, 2048, 512, 512, 112]);
}

#[test]
fn tokens_outside_the_vocabulary_are_refused() {
    let (model, _device) = load(&Checkpoint::llama());
    assert!(Sequence::new(&submission(&[95], 1), model.as_ref()).is_ok());
    assert!(Sequence::new(&submission(&[96], 1), model.as_ref()).is_err());
    assert!(Sequence::new(&submission(&[], 1), model.as_ref()).is_err());
}

/// With NaN in these rows of a tensor.
pub(super) fn with_nan(name: &str, rows: std::ops::Range<i32>) -> Checkpoint {
    damaged(Checkpoint::llama(), name, rows)
}

/// `checkpoint` with NaN in these rows of a tensor.
fn damaged(mut checkpoint: Checkpoint, name: &str, rows: std::ops::Range<i32>) -> Checkpoint {
    let sound = &checkpoint.tensors[name];
    let row = Array::from_iter(0..sound.shape()[0], &[sound.shape()[0], 1]);
    let damaged = row.ge(Array::from_int(rows.start)).unwrap().logical_and(row.lt(Array::from_int(rows.end)).unwrap());
    let damaged = ops::select(damaged.unwrap(), Array::from_f32(f32::NAN), sound).unwrap();
    checkpoint.tensors.insert(name.into(), damaged);
    checkpoint
}

#[test]
fn a_sequence_ends_when_the_model_computes_nan_and_its_neighbours_do_not() {
    // Only this token's vector is damaged.
    let (model, mut device) = load(&with_nan("model.embed_tokens.weight", 7..8));
    for (temperature, pipelines) in [(0.0, false), (0.0, true), (1.0, false), (1.0, true)] {
        device.pipelines = pipelines;
        let sampling = Sampling { temperature, logit_bias: vec![(7, -100.0)], ..Sampling::greedy() };
        let sound = Submission { sampling: sampling.clone(), ..submission(&[1, 2, 3], 12) };
        let alone = tokens_of(&sound, model.as_ref(), &device);
        let mut neighbour = Sequence::new(&sound, model.as_ref()).unwrap();
        let damaged = Submission { sampling, ..submission(&[1, 7, 3], 12) };
        let mut sequence = Sequence::new(&damaged, model.as_ref()).unwrap();
        let mut given = Vec::new();
        let mut failed = None;
        while given.len() < 12 {
            if let Step::Token(token) = neighbour.step(model.as_ref(), &device, Pace::Alone).unwrap() {
                given.push(token);
            }
            if failed.is_none() {
                failed = sequence.step(model.as_ref(), &device, Pace::Alone).err().map(|error| error.to_string());
            }
        }
        assert!(failed.is_some_and(|words| words.starts_with("the model computed NaN")));
        assert_eq!(given, alone);
    }
}

#[test]
fn packed_keys_and_values_hide_no_nan() {
    // One number of a head of the second layer, and all of a token that every prompt begins with.
    let [keys, values] = ["k", "v"].map(|part| format!("model.layers.1.self_attn.{part}_proj.weight"));
    for (name, row) in [(keys.as_str(), 5), (&values, 5), ("model.embed_tokens.weight", 0)] {
        let (model, device) = load(&damaged(Checkpoint::llama().wide_heads(), name, row..row + 1));
        for bits in [KvBits::Four, KvBits::Eight] {
            for len in [1, 2, 9] {
                let submission = Submission { kv_bits: Some(bits), ..submission(&prompt(len), 12) };
                let mut sequence = Sequence::new(&submission, model.as_ref()).unwrap();
                let failed = (0..4).find_map(|_| sequence.step(model.as_ref(), &device, Pace::Alone).err());
                let words = failed.map(|error| error.to_string());
                assert!(words.is_some_and(|words| words.contains("NaN")), "{name}, {bits:?}, {len} tokens");
            }
        }
    }
}

#[test]
fn one_nan_among_the_logits_is_enough() {
    for row in [0, 1, 50, 94, 95] {
        let (model, device) = load(&with_nan("lm_head.weight", row..row + 1));
        let mut sequence = Sequence::new(&submission(&[1], 2), model.as_ref()).unwrap();
        let error = sequence.step(model.as_ref(), &device, Pace::Alone).unwrap_err();
        assert!(error.to_string().contains("NaN"), "{row}: {error}");
    }
}
