//! Sequences that take what others left, on tiny checkpoints: the same tokens and nearly the same logits as alone.

use engine::backend::{Pace, Step};
use engine::message::{Sampling, SequenceId};
use mlx_rs::ops;
use serde_json::json;

use super::*;
use crate::checkpoint::Checkpoint;
use crate::config::Config;
use crate::device::Device;
use crate::models::{self, Model};
use crate::sequence::Sequence;
use crate::weights::Weights;

/// Room for all that a test computes.
const MUCH: u64 = 64 << 20;

/// A model, its device and what it keeps.
struct Engine {
    model: Box<dyn Model>,
    device: Device,
    kept: Rc<Kept>,
}

impl Engine {
    fn new(checkpoint: &Checkpoint, most_bytes: u64) -> Self {
        let device = Device::open().unwrap();
        let folder = checkpoint.write();
        let config = Config::read(folder.path()).unwrap();
        let mut progress = |_, _| {};
        let mut weights = Weights::open(folder.path(), config.quantization(), &device, &mut progress).unwrap();
        let model = models::find(&config).unwrap()(&config, &mut weights).unwrap();
        weights.finish().unwrap();
        Self { model, device, kept: Kept::new(most_bytes, false) }
    }

    fn begin(&self, submission: &Submission) -> Sequence {
        Sequence::new(submission, self.model.as_ref()).unwrap().sharing(&self.kept, submission).unwrap()
    }

    fn step(&self, sequence: &mut Sequence) -> Result<Step> {
        sequence.step(self.model.as_ref(), &self.device, Pace::Alone)
    }

    fn rest(&self, mut sequence: Sequence, submission: &Submission) -> Vec<TokenId> {
        let mut tokens = Vec::new();
        while tokens.len() < submission.max_tokens as usize {
            if let Step::Token(token) = self.step(&mut sequence).unwrap() {
                tokens.push(token);
            }
        }
        tokens
    }

    /// Tokens without anything kept, before or after.
    fn cold(&self, submission: &Submission) -> Vec<TokenId> {
        self.rest(Sequence::new(submission, self.model.as_ref()).unwrap(), submission)
    }

    /// Prompt tokens that were kept, and the tokens of the answer.
    fn warm(&self, submission: &Submission) -> (u32, Vec<TokenId>) {
        let sequence = self.begin(submission);
        (sequence.computed(), self.rest(sequence, submission))
    }

    fn logits(&self, mut sequence: Sequence) -> Vec<f32> {
        sequence.logits(self.model.as_ref(), &self.device).unwrap()
    }
}

fn prompt(len: usize, salt: u32) -> Vec<TokenId> {
    (0..len as u32).map(|place| (place * 31 + place * place / 7 + salt) % 96).collect()
}

fn submission(prompt: &[TokenId], max_tokens: u32) -> Submission {
    Submission::greedy(SequenceId(1), prompt, max_tokens)
}

/// `first` as long as `shared`, and then other tokens.
fn branch(first: &[TokenId], shared: usize, len: usize) -> Vec<TokenId> {
    let mut tokens = first[..shared].to_vec();
    tokens.extend(
        prompt(len - shared, 5).into_iter().zip(&first[shared..]).map(
            |(new, old)| {
                if new == *old { (new + 1) % 96 } else { new }
            },
        ),
    );
    assert_eq!(tokens.len(), len);
    tokens
}

/// Models that keep all, windows shorter than a chunk, as long, and longer.
fn checkpoints() -> Vec<Checkpoint> {
    let types = json!(["sliding_attention", "full_attention"]);
    let windows = [1, 20, 64, 65, 96]
        .map(|window| Checkpoint::llama().with("layer_types", types.clone()).with("sliding_window", json!(window)));
    std::iter::once(Checkpoint::llama()).chain(windows).collect()
}

/// The largest difference as a share of the range.
fn difference(found: &[f32], expected: &[f32]) -> f32 {
    let [most, least] = [f32::max, f32::min].map(|of| expected.iter().copied().reduce(of).unwrap());
    found.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max) / (most - least)
}

#[test]
fn a_warm_prompt_is_answered_as_a_cold_one() {
    for (number, checkpoint) in checkpoints().iter().enumerate() {
        let mut engine = Engine::new(checkpoint, MUCH);
        for (piece, pipelines) in [(64, false), (2048, true), (100, true), (7, false)] {
            engine.kept = Kept::new(MUCH, pipelines);
            (engine.device.prefill_chunk, engine.device.pipelines) = (piece, pipelines);
            let first = prompt(300, 3);
            let cold = submission(&first, 12);
            assert_eq!(engine.warm(&cold).0, 0);
            let branched = branch(&first, 200, 290);
            for (tokens, expected) in [(&first, 256), (&branched, 192), (&first[..150].to_vec(), 128)] {
                let submission = submission(tokens, 12);
                let alone = engine.cold(&submission);
                let words = format!("checkpoint {number}, pieces of {piece}, {} tokens", tokens.len());
                assert_eq!(engine.warm(&submission), (expected, alone), "{words}");
                let alone = engine.logits(Sequence::new(&submission, engine.model.as_ref()).unwrap());
                let difference = difference(&engine.logits(engine.begin(&submission)), &alone);
                assert!(difference < 1e-5, "{words}: {difference}");
            }
        }
    }
}

#[test]
fn an_answer_is_kept_as_its_tokens_come() {
    for checkpoint in checkpoints() {
        let mut engine = Engine::new(&checkpoint, MUCH);
        for pipelines in [false, true] {
            engine.kept.clear();
            engine.device.pipelines = pipelines;
            let first = submission(&prompt(50, 1), 220);
            let answer = engine.warm(&first).1;
            assert_eq!(answer, engine.cold(&first));
            // 269 tokens were computed: all but the last of the answer.
            let conversation = [first.prompt.as_slice(), &answer].concat();
            for (len, expected) in [(270, 256), (256, 192), (257, 256), (129, 128), (70, 64)] {
                let next = submission(&conversation[..len], 5);
                assert_eq!(engine.warm(&next), (expected, engine.cold(&next)), "{len} tokens, ahead: {pipelines}");
            }
        }
    }
}

#[test]
fn a_seed_draws_the_same_after_a_warm_prompt() {
    let engine = Engine::new(&Checkpoint::llama(), MUCH);
    let sampling = Sampling { temperature: 2.0, presence_penalty: 0.5, seed: 9, ..Sampling::greedy() };
    let submission = Submission { sampling, ..submission(&prompt(200, 2), 40) };
    let alone = engine.cold(&submission);
    assert_eq!(engine.warm(&submission), (0, alone.clone()));
    assert_eq!(engine.warm(&submission), (192, alone));
}

#[test]
fn the_last_token_of_a_kept_prompt_is_computed() {
    let engine = Engine::new(&Checkpoint::llama(), MUCH);
    let all = prompt(256, 0);
    engine.warm(&submission(&all, 2));
    // That of 256 tokens was computed with the first token of the answer.
    for (len, expected) in [(1, 0), (63, 0), (64, 0), (65, 64), (128, 64), (129, 128), (255, 192), (256, 192)] {
        let submission = submission(&all[..len], 3);
        assert_eq!(engine.warm(&submission), (expected, engine.cold(&submission)), "{len} tokens");
    }
}

#[test]
fn less_than_a_chunk_leaves_nothing() {
    let engine = Engine::new(&Checkpoint::llama(), MUCH);
    engine.warm(&submission(&prompt(60, 0), 4));
    assert_eq!(engine.kept.bytes(), 0);
    engine.warm(&submission(&prompt(60, 0), 5));
    // Two layers of two heads of 16 numbers, keys and values.
    assert_eq!(engine.kept.bytes(), 2 * 2 * 16 * 2 * 4 * 64);
}

#[test]
fn a_sequence_that_is_cancelled_leaves_what_it_computed() {
    let mut engine = Engine::new(&Checkpoint::llama(), MUCH);
    engine.device.prefill_chunk = 100;
    let submission = submission(&prompt(400, 4), 6);
    let mut cancelled = engine.begin(&submission);
    for done in [100, 200] {
        assert_eq!(engine.step(&mut cancelled).unwrap(), Step::Prefill { done });
    }
    // While it is there already.
    assert_eq!(engine.begin(&submission).computed(), 192);
    drop(cancelled);
    assert_eq!(engine.warm(&submission), (192, engine.cold(&submission)));
}

#[test]
fn several_sequences_hold_what_they_share_once() {
    let engine = Engine::new(&Checkpoint::llama(), MUCH);
    let first = prompt(300, 3);
    let submissions = [200, 130, 128].map(|shared| submission(&branch(&first, shared, 260), 3));
    let mut sequences: Vec<_> = submissions.iter().map(|submission| engine.begin(submission)).collect();
    for _ in 0..5 {
        for sequence in &mut sequences {
            engine.step(sequence).unwrap();
        }
    }
    // Four chunks each; all share two, and two of them one more or none.
    let chunk = 2 * 2 * 16 * 2 * 4 * 64;
    assert_eq!(engine.kept.bytes(), chunk * (2 + 3 * 2));
}

#[test]
fn few_bits_and_plain_numbers_do_not_mix() {
    let engine = Engine::new(&Checkpoint::llama().wide_heads(), MUCH);
    let forms = [None, Some(KvBits::Eight), Some(KvBits::Four)];
    let submissions = forms.map(|kv_bits| Submission { kv_bits, ..submission(&prompt(300, 3), 8) });
    let alone = submissions.each_ref().map(|submission| engine.cold(submission));
    for warm in [0, 256] {
        for (submission, alone) in submissions.iter().zip(&alone) {
            assert_eq!(engine.warm(submission), (warm, alone.clone()), "{:?}", submission.kv_bits);
        }
    }
}

#[test]
fn samples_of_one_prompt_share_and_keep_it() {
    let engine = Engine::new(&Checkpoint::llama(), MUCH);
    let seeded = |seed| {
        let sampling = Sampling { temperature: 3.0, seed, ..Sampling::greedy() };
        Submission { sampling, ..submission(&prompt(129, 3), 70) }
    };
    let alone = [5, 6].map(|seed| engine.cold(&seeded(seed)));
    for warm in [0, 128] {
        let mut first = engine.begin(&seeded(5));
        assert_eq!(first.computed(), warm);
        while first.computed() < 128 {
            engine.step(&mut first).unwrap();
        }
        let second = first.fork(&seeded(6), engine.model.as_ref()).unwrap();
        assert_eq!([engine.rest(first, &seeded(5)), engine.rest(second, &seeded(6))], alone);
    }
    for (seed, answer) in [5, 6].into_iter().zip(&alone) {
        let conversation = [seeded(seed).prompt.as_slice(), answer].concat();
        assert_eq!(engine.begin(&submission(&conversation, 1)).computed(), 192, "seed {seed}");
    }
}

#[test]
fn the_budget_holds_over_many_prompts() {
    let chunk = 2 * 2 * 16 * 2 * 4 * 64;
    let engine = Engine::new(&Checkpoint::llama(), 10 * chunk + 1);
    for salt in 0..20 {
        let submission = submission(&prompt(64 * (salt % 5) as usize + 70, salt), 3);
        assert_eq!(engine.warm(&submission).1, engine.cold(&submission));
        assert!(engine.kept.bytes() <= 10 * chunk, "{}", engine.kept.bytes());
        assert!(engine.begin(&submission).computed() > 0, "the last one is there");
    }
    assert_eq!(engine.kept.bytes(), 10 * chunk);
    // More than all of it: as much of its beginning as has room.
    let long = submission(&prompt(1000, 50), 3);
    assert_eq!(engine.warm(&long), (0, engine.cold(&long)));
    assert_eq!(engine.warm(&long), (640, engine.cold(&long)));
    let nothing = Engine::new(&Checkpoint::llama(), chunk - 1);
    assert_eq!(nothing.warm(&long), (0, engine.cold(&long)));
    assert_eq!(nothing.kept.bytes(), 0);
}

#[test]
fn nothing_stays_of_a_sequence_that_computed_nan() {
    // One token's vector is damaged.
    let mut checkpoint = Checkpoint::llama();
    let sound = &checkpoint.tensors["model.embed_tokens.weight"];
    let is_damaged = Array::from_iter(0..96, &[96, 1]).eq(Array::from_int(95)).unwrap();
    let damaged = ops::select(is_damaged, Array::from_f32(f32::NAN), sound).unwrap();
    checkpoint.tensors.insert("model.embed_tokens.weight".into(), damaged);
    let engine = Engine::new(&checkpoint, MUCH);
    let without: Vec<_> = prompt(200, 0).into_iter().map(|token| token % 95).collect();
    let sound = submission(&without, 2);
    engine.warm(&sound);
    let before = engine.kept.bytes();
    let mut damaged = sound.clone();
    damaged.prompt[30] = 95;
    // What one leaves that is cancelled before anybody knows, the next finds damaged.
    let mut cancelled = engine.begin(&damaged);
    engine.step(&mut cancelled).unwrap();
    drop(cancelled);
    assert!(engine.kept.bytes() > before);
    let mut failed = engine.begin(&damaged);
    let error = (0..5).find_map(|_| engine.step(&mut failed).err()).unwrap();
    assert!(error.to_string().contains("NaN"), "{error}");
    assert_eq!(engine.kept.bytes(), before);
    assert_eq!(engine.begin(&damaged).computed(), 0);
    assert_eq!(engine.begin(&sound).computed(), 192);
}

#[test]
fn a_sequence_outlives_what_was_kept() {
    let mut engine = Engine::new(&Checkpoint::llama(), MUCH);
    let submission = submission(&prompt(200, 3), 80);
    let alone = engine.cold(&submission);
    engine.warm(&submission);
    let sequence = engine.begin(&submission);
    engine.kept = Kept::new(MUCH, false);
    assert_eq!(engine.rest(sequence, &submission), alone);
    assert_eq!(engine.kept.bytes(), 0);
}
