//! Rows of a batch against the same sequences alone, on tiny checkpoints.

use std::time::Duration;

use engine::message::{KvBits, Sampling, Submission, Xtc};
use serde_json::json;

use super::*;
use crate::array::tokens;
use crate::cache::{Batch, Cache};
use crate::checkpoint::Checkpoint;
use crate::device::WeightPolicy;
use crate::sequence::tests::{difference, load, load_on, obeying, prompt, submission, tokens_of, with_nan};

/// Whether steps are computed ahead, and how sequences attend together.
const WAYS: [(bool, Option<Sharing>); 6] = [
    (false, None),
    (true, None),
    (false, Some(Sharing { least_rows: 1, has_kernel: true })),
    (true, Some(Sharing { least_rows: 1, has_kernel: true })),
    (false, Some(Sharing { least_rows: 8, has_kernel: false })),
    (true, Some(Sharing { least_rows: 8, has_kernel: false })),
];

/// A sequence among others.
struct Member {
    sequence: Sequence,
    wanted: u32,
    /// The turn from which on it is there, and turns at which it waits.
    joins: usize,
    waits: Vec<usize>,
    tokens: Vec<TokenId>,
    failed: Option<String>,
}

impl Member {
    /// With its prompt computed.
    fn new(sequence: Sequence, wanted: u32, model: &dyn Model, device: &Device) -> Self {
        let mut sequence = sequence;
        while !sequence.is_prompt_done() {
            sequence.step(model, device, Pace::Alone).unwrap();
        }
        Self { sequence, wanted, joins: 0, waits: Vec::new(), tokens: Vec::new(), failed: None }
    }

    fn of(submission: &Submission, model: &dyn Model, device: &Device) -> Self {
        Self::new(Sequence::new(submission, model).unwrap(), submission.max_tokens, model, device)
    }

    fn joins(self, joins: usize) -> Self {
        Self { joins, ..self }
    }

    fn is_running(&self) -> bool {
        self.failed.is_none() && self.tokens.len() < self.wanted as usize
    }
}

/// Decodes all until each has its tokens or failed.
fn run(members: &mut [Member], model: &dyn Model, device: &Device) {
    for turn in 0..1000 {
        if !members.iter().any(Member::is_running) {
            return;
        }
        // Who waits may be paused, and then has its buffers for itself.
        for member in members.iter_mut().filter(|member| member.is_running() && member.waits.contains(&turn)) {
            if turn % 2 == 0 {
                member.sequence.rest();
                assert!(member.sequence.sound().is_ok() && member.sequence.slot().is_none());
            }
        }
        let mut going: Vec<&mut Member> = members
            .iter_mut()
            .filter(|member| member.is_running() && member.joins <= turn && !member.waits.contains(&turn))
            .collect();
        // The daemon keeps no order.
        if turn % 5 == 4 {
            going.reverse();
        }
        let mut rows: Vec<&mut Sequence> = going.iter_mut().map(|member| &mut member.sequence).collect();
        let steps = decode(&mut rows, model, device);
        assert_eq!(steps.len(), going.len());
        for (member, step) in going.into_iter().zip(steps) {
            match step {
                Ok(Step::Token(token)) => member.tokens.push(token),
                Ok(Step::Last(token)) => {
                    member.tokens.push(token);
                    member.wanted = member.tokens.len() as u32;
                }
                Ok(step) => panic!("{step:?}"),
                Err(error) => member.failed = Some(error.to_string()),
            }
        }
    }
    panic!("they never end");
}

/// Options of all kinds, each with its own seed.
fn kinds() -> Vec<Sampling> {
    let hot = |seed| Sampling { temperature: 1.5, seed, ..Sampling::greedy() };
    let xtc = |spared: &[u32]| Some(Xtc { probability: 0.6, threshold: 0.02, spared: spared.to_vec() });
    vec![
        Sampling::greedy(),
        hot(1),
        Sampling { top_p: 0.8, ..hot(2) },
        Sampling { top_k: 5, min_p: 0.02, ..hot(3) },
        Sampling { presence_penalty: 1.0, repetition_penalty: 1.3, ..Sampling::greedy() },
        Sampling { top_k: 9, frequency_penalty: 0.5, ..hot(4) },
        Sampling { logit_bias: vec![(7, 3.0), (9, -50.0)], top_p: 0.9, ..hot(5) },
        Sampling { xtc: xtc(&[]), ..hot(6) },
        Sampling { xtc: xtc(&[3, 60]), top_p: 0.95, ..hot(7) },
    ]
}

/// That sequences of many lengths and options get together what each gets alone, whenever they come, wait and go.
fn check(checkpoint: &Checkpoint, kv_bits: &[Option<KvBits>]) {
    let (model, mut device) = load(checkpoint);
    let model = model.as_ref();
    let lengths = [5, 1, 70, 257, 2, 255, 33, 8, 9];
    for (pipelines, sharing) in WAYS {
        (device.pipelines, device.sharing) = (pipelines, sharing);
        let submissions: Vec<Submission> = kinds()
            .into_iter()
            .enumerate()
            .map(|(place, sampling)| Submission {
                sampling,
                kv_bits: kv_bits[place % kv_bits.len()],
                ..submission(&prompt(lengths[place]), 6 + 5 * (place as u32 % 4))
            })
            .collect();
        let alone: Vec<_> = submissions.iter().map(|submission| tokens_of(submission, model, &device)).collect();
        let mut members: Vec<Member> = submissions
            .iter()
            .enumerate()
            .map(|(place, submission)| Member::of(submission, model, &device).joins(place / 2))
            .collect();
        members[1].waits = vec![2, 3];
        members[4].waits = vec![4];
        run(&mut members, model, &device);
        for (member, alone) in members.iter().zip(&alone) {
            assert_eq!(member.failed, None);
            assert_eq!(&member.tokens, alone, "steps ahead: {pipelines}, {sharing:?}");
        }
    }
}

#[test]
fn sequences_get_together_what_each_gets_alone() {
    check(&Checkpoint::llama(), &[None]);
}

#[test]
fn sequences_with_windows_get_together_what_each_gets_alone() {
    let types = json!(["full_attention", "sliding_attention"]);
    check(&Checkpoint::llama().with("layer_types", types).with("sliding_window", json!(12)), &[None]);
}

#[test]
fn sequences_with_packed_keys_run_beside_plain_ones() {
    check(&Checkpoint::llama().wide_heads(), &[None, Some(KvBits::Eight), Some(KvBits::Four)]);
}

/// The logits of all rows after a step of all, and of each alone.
fn logits(model: &dyn Model, lengths: &[u32]) -> (Vec<f32>, Vec<f32>) {
    let ids = |ids: &[u32]| tokens(ids).reshape(&[1, -1]).unwrap();
    let started = |len: &u32| {
        let mut caches = model.caches();
        model.hidden(&ids(&prompt(*len)), &mut caches).unwrap().eval().unwrap();
        caches
    };
    let numbers = |hidden: Array| model.logits(&hidden).unwrap().reshape(&[-1]).unwrap().to_vec_exact::<f32>().unwrap();
    let last = |len: &u32| len * 7 % 96;
    let alone = lengths.iter().flat_map(|len| numbers(model.hidden(&ids(&[last(len)]), &mut started(len)).unwrap()));
    let alone = alone.collect();
    let mut caches: Vec<_> = lengths.iter().map(started).collect();
    let rows = caches.iter_mut().map(Vec::as_mut_slice).collect();
    let new: Vec<u32> = lengths.iter().map(last).collect();
    let new = tokens(&new).reshape(&[-1, 1]).unwrap();
    (numbers(model.hidden_of(&new, &mut Batch::of(rows)).unwrap()), alone)
}

#[test]
fn logits_depend_on_neighbours_only_by_rounding() {
    let plain = Checkpoint::llama();
    let packed = Checkpoint::llama().quantized(4);
    let mut device = Device::open().unwrap();
    // Plain numbers, always packed, and packed but for eight rows and more.
    let policies = [(&plain, u64::MAX, None), (&packed, 0, None), (&packed, 0, Some(8))];
    for (place, (checkpoint, unpack_bytes, unpack_rows)) in policies.into_iter().enumerate() {
        device.weights = WeightPolicy { unpack_bytes, unpack_rows, ..device.weights };
        let model = load_on(&device, checkpoint);
        for count in [2, 4, 16, 33] {
            let lengths: Vec<u32> = (0..count).map(|row| 1 + row * 9 % 70).collect();
            let (together, alone) = logits(model.as_ref(), &lengths);
            let difference = difference(&together, &alone);
            println!("weights of kind {place}, {count} rows: {difference:.1e}");
            // Of logits between -10 and 10.
            assert!(difference < 1e-4, "weights of kind {place}, {count} rows: {difference}");
        }
    }
}

#[test]
fn sequences_obey_their_grammars_beside_free_ones() {
    let (model, mut device) = load(&Checkpoint::llama());
    let model = model.as_ref();
    for (pipelines, sharing) in WAYS {
        (device.pipelines, device.sharing) = (pipelines, sharing);
        let with = |temperature, seed, len| {
            let sampling = Sampling { temperature, seed, presence_penalty: 0.5, ..Sampling::greedy() };
            Submission { sampling, ..submission(&prompt(len), 30) }
        };
        let members = || {
            let member = |sequence| Member::new(sequence, 30, model, &device);
            let digits = obeying("([0-9]{3}[;<])*", &with(1.0, 3, 5), model);
            let cold = obeying("([0-9]{2};)*", &with(0.0, 3, 9), model);
            let short = obeying("[0-9]{4}", &with(1.0, 4, 3), model);
            [Member::of(&with(1.0, 1, 4), model, &device), member(digits), member(cold), member(short)]
        };
        let alone: Vec<Vec<TokenId>> = members()
            .into_iter()
            .map(|member| {
                let mut alone = [member];
                run(&mut alone, model, &device);
                alone[0].tokens.clone()
            })
            .collect();
        let mut all = members();
        run(&mut all, model, &device);
        for (member, alone) in all.iter().zip(&alone) {
            assert_eq!((&member.failed, &member.tokens), (&None, alone));
        }
        let text = |place: usize| String::from_utf8(alone[place].iter().map(|token| *token as u8).collect()).unwrap();
        assert!(text(1).split_inclusive([';', '<']).take(7).all(|block| block.len() == 4), "{}", text(1));
        assert_eq!(text(3).len(), 4);
    }
}

#[test]
fn a_dead_end_fails_alone() {
    let (model, mut device) = load(&Checkpoint::llama());
    let model = model.as_ref();
    for (pipelines, sharing) in WAYS {
        (device.pipelines, device.sharing) = (pipelines, sharing);
        let submission = submission(&prompt(4), 9);
        let lost = Member::new(obeying("[0-9]{3}ä", &submission, model), 9, model, &device);
        let mut members = [lost, Member::of(&submission, model, &device)];
        run(&mut members, model, &device);
        assert!(members[0].failed.as_ref().is_some_and(|words| words.contains("cannot be followed")));
        assert_eq!(members[1].tokens, tokens_of(&submission, model, &device));
    }
}

#[test]
fn nan_fails_alone() {
    // Only this token's vector is damaged.
    let (model, mut device) = load(&with_nan("model.embed_tokens.weight", 7..8));
    let model = model.as_ref();
    for (temperature, (pipelines, sharing)) in [0.0, 1.0].into_iter().flat_map(|hot| WAYS.map(|way| (hot, way))) {
        (device.pipelines, device.sharing) = (pipelines, sharing);
        let sampling = Sampling { temperature, logit_bias: vec![(7, -100.0)], ..Sampling::greedy() };
        let with = |prompt: &[u32]| Submission { sampling: sampling.clone(), ..submission(prompt, 12) };
        let sound = [with(&[1, 2, 3]), with(&[5, 6])];
        let mut members = [&sound[0], &with(&[1, 7, 3]), &sound[1]].map(|one| Member::of(one, model, &device));
        run(&mut members, model, &device);
        assert!(members[1].failed.as_ref().is_some_and(|words| words.starts_with("the model computed NaN")));
        for (member, alone) in [(&members[0], &sound[0]), (&members[2], &sound[1])] {
            assert_eq!((&member.failed, &member.tokens), (&None, &tokens_of(alone, model, &device)));
        }
    }
}

#[test]
fn a_full_context_fails_alone() {
    let (model, mut device) = load(&Checkpoint::llama().with("max_position_embeddings", json!(8)));
    let model = model.as_ref();
    for (pipelines, sharing) in WAYS {
        (device.pipelines, device.sharing) = (pipelines, sharing);
        let (long, short) = (submission(&prompt(6), 100), submission(&prompt(2), 6));
        let mut members = [&long, &short].map(|one| Member::of(one, model, &device));
        run(&mut members, model, &device);
        assert_eq!(members[0].failed.as_deref(), Some("the context of 8 tokens is full"));
        assert_eq!(members[0].tokens.len(), 3);
        assert_eq!(members[1].tokens, tokens_of(&short, model, &device));
    }
}

#[test]
fn what_mlx_refuses_fails_all_that_it_was_for_and_none_goes_on() {
    let (model, mut device) = load(&Checkpoint::llama());
    let model = model.as_ref();
    for (pipelines, sharing) in WAYS {
        (device.pipelines, device.sharing) = (pipelines, sharing);
        let submission = submission(&prompt(4), 20);
        let mut members = [0, 0, 3].map(|joins| Member::of(&submission, model, &device).joins(joins));
        // The first layer's caches are written when the second refuses.
        members[0].sequence.caches[1] = Cache::conv(2);
        run(&mut members, model, &device);
        for member in &mut members[..2] {
            let words = member.failed.clone().unwrap();
            assert!(words.contains("mlx") && words.ends_with("for 2 sequences, and all of them fail"), "{words}");
            let again = member.sequence.step(model, &device, Pace::Alone).unwrap_err();
            assert_eq!(again.to_string(), words);
            assert!(member.sequence.fork(&submission, model).is_err());
        }
        // It came later, and is none of them.
        assert_eq!(members[2].tokens, tokens_of(&submission, model, &device));
    }
}

#[test]
fn forks_draw_in_a_batch_what_each_would_draw_alone() {
    let (model, mut device) = load(&Checkpoint::llama());
    let model = model.as_ref();
    for (pipelines, sharing) in WAYS {
        (device.pipelines, device.sharing) = (pipelines, sharing);
        let seeded = |seed| {
            let sampling = Sampling { temperature: 3.0, seed, ..Sampling::greedy() };
            Submission { sampling, ..submission(&prompt(70), 12) }
        };
        let first = Member::of(&seeded(5), model, &device);
        let forks = [6, 7].map(|seed| first.sequence.fork(&seeded(seed), model).unwrap());
        let other = Member::of(&submission(&prompt(9), 8), model, &device);
        let mut members = vec![first, other];
        members.extend(forks.map(|fork| Member::new(fork, 12, model, &device)));
        run(&mut members, model, &device);
        for (place, seed) in [(0, 5), (2, 6), (3, 7)] {
            assert_eq!(members[place].tokens, tokens_of(&seeded(seed), model, &device));
        }
        assert!(members[0].tokens != members[2].tokens && members[2].tokens != members[3].tokens);
    }
}

#[test]
fn each_row_has_its_own_log_probabilities_and_share_of_the_time() {
    let (model, mut device) = load(&Checkpoint::llama());
    let model = model.as_ref();
    for (pipelines, sharing) in WAYS {
        (device.pipelines, device.sharing) = (pipelines, sharing);
        let with = |len, logprobs| Submission { logprobs, ..submission(&prompt(len), 5) };
        let submissions = [with(4, Some(2)), with(5, None), with(6, Some(0))];
        let sequence = |submission: &Submission| Member::of(submission, model, &device).sequence;
        let [mut alone, mut all] = [(); 2].map(|()| submissions.each_ref().map(sequence));
        // A first step may have been started with the prompt.
        let before = all.each_ref().map(Sequence::built);
        for _ in 0..5 {
            let steps = decode(&mut all.each_mut(), model, &device);
            for ((one, other), step) in alone.iter_mut().zip(&mut all).zip(steps) {
                assert_eq!(one.step(model, &device, Pace::Shared).unwrap(), step.unwrap());
                match (one.logprobs().unwrap(), other.logprobs().unwrap()) {
                    (Some(alone), Some(found)) => {
                        let numbers = |all: &engine::message::Logprobs| -> Vec<f32> {
                            std::iter::once(all.chosen).chain(all.top.iter().map(|(_, number)| *number)).collect()
                        };
                        assert!(difference(&numbers(&found), &numbers(&alone)) < 1e-4, "{found:?}, {alone:?}");
                        assert_eq!(found.top.len(), alone.top.len());
                    }
                    (alone, found) => assert!(alone.is_none() && found.is_none()),
                }
            }
        }
        assert!(all.iter().all(|sequence| sequence.built() > Duration::ZERO));
        let together: Vec<_> =
            all.iter().zip(before).map(|(sequence, before)| sequence.built().saturating_sub(before)).collect();
        assert!(together.windows(2).all(|pair| pair[0] == pair[1]));
    }
}

#[test]
fn a_row_whose_prompt_is_not_computed_gets_a_piece_of_it() {
    let (model, mut device) = load(&Checkpoint::llama());
    device.shared_chunk = 4;
    let model = model.as_ref();
    let mut early = Sequence::new(&submission(&prompt(10), 1), model).unwrap();
    let mut ready = Member::of(&submission(&prompt(3), 1), model, &device).sequence;
    let steps = decode(&mut [&mut early, &mut ready], model, &device);
    assert!(matches!(steps.as_slice(), [Ok(Step::Prefill { done: 4 }), Ok(Step::Token(_))]), "{steps:?}");
    assert!(decode(&mut [], model, &device).is_empty());
}
