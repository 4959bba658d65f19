//! The tokens of guessing sequences against those of plain ones, on tiny checkpoints. What is guessed is laid before them:
//! right, wrong now and then, or always wrong.

use std::rc::Rc;

use engine::backend::Pace;
use engine::message::{KvBits, Logprobs, Sampling, SequenceId, Submission, Xtc};
use serde_json::json;

use super::super::batch::decode;
use super::super::tests::{difference, load, load_on, obeying, prompt, submission, tokens_of, with_nan};
use super::*;
use crate::checkpoint::Checkpoint;
use crate::device::{Sharing, WeightPolicy};
use crate::prefix::Kept;

/// As it stands, with a wrong token among so many, and nothing right.
const FAULTS: [usize; 4] = [usize::MAX, 7, 3, 1];

/// `submission` with guesses whether they pay or not.
fn guessing(submission: &Submission) -> Submission {
    Submission { speculation: Speculation::Lookup, ..submission.clone() }
}

/// Has a sequence guess `answer` behind its prompt, but for every token whose number `every` divides.
fn hint(sequence: &mut Sequence, answer: &[TokenId], every: usize) {
    let wrong = |(place, token): (usize, &TokenId)| if (place + 1) % every == 0 { (token + 1) % 96 } else { *token };
    let answer: Vec<TokenId> = answer.iter().enumerate().map(wrong).collect();
    // A prompt of one token has no pair.
    let prompt = [&[95], sequence.prompt.as_slice()].concat();
    let lookup = Lookup::new(&[prompt.as_slice(), &answer, &prompt].concat());
    sequence.guesses.as_mut().unwrap().lookup = lookup;
}

/// All tokens, or the words of what went wrong behind some, and the log-probabilities of each.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Answer {
    pub(super) tokens: Vec<TokenId>,
    pub(super) failed: Option<String>,
    pub(super) logprobs: Vec<Logprobs>,
}

pub(super) fn answer(sequence: &mut Sequence, wanted: u32, model: &dyn Model, device: &Device) -> Answer {
    let mut answer = Answer::default();
    while answer.tokens.len() < wanted as usize {
        match sequence.step(model, device, Pace::Alone) {
            Ok(Step::Prefill { .. }) => continue,
            Ok(Step::Token(token)) => answer.tokens.push(token),
            Ok(Step::Last(token)) => {
                answer.tokens.push(token);
                return answer;
            }
            Err(error) => {
                answer.failed = Some(error.to_string());
                return answer;
            }
        }
        answer.logprobs.extend(sequence.logprobs().unwrap());
    }
    answer
}

/// That guesses change nothing of what `make` begins, however right they are; answers how many were.
fn check(
    submission: &Submission,
    model: &dyn Model,
    device: &Device,
    make: impl Fn(&Submission) -> Sequence,
) -> Vec<u32> {
    let plain = answer(&mut make(submission), submission.max_tokens, model, device);
    let guessed = FAULTS.map(|every| {
        let mut sequence = make(&guessing(submission));
        hint(&mut sequence, &plain.tokens, every);
        let Answer { tokens, failed, logprobs } = answer(&mut sequence, submission.max_tokens, model, device);
        assert_eq!((tokens, failed), (plain.tokens.clone(), plain.failed.clone()), "{submission:?}, {every}");
        assert_eq!(logprobs.len(), plain.logprobs.len());
        for (found, expected) in logprobs.iter().zip(&plain.logprobs) {
            assert!((found.chosen - expected.chosen).abs() < 1e-4, "{found:?}, {expected:?}");
            let tokens = |logprobs: &Logprobs| logprobs.top.iter().map(|(token, _)| *token).collect::<Vec<_>>();
            assert_eq!(tokens(found), tokens(expected));
        }
        sequence.speculated()
    });
    assert!(guessed[0] > guessed[1] && guessed[1] > guessed[2], "{guessed:?}");
    guessed.to_vec()
}

pub(super) fn plain(model: &dyn Model) -> impl Fn(&Submission) -> Sequence + '_ {
    |submission| Sequence::new(submission, model).unwrap()
}

/// Options of all kinds.
pub(super) fn kinds() -> Vec<Sampling> {
    let hot = |seed| Sampling { temperature: 1.5, seed, ..Sampling::greedy() };
    let xtc = Some(Xtc { probability: 0.6, threshold: 0.02, spared: vec![3, 60] });
    vec![
        Sampling::greedy(),
        hot(1),
        Sampling { top_p: 0.8, ..hot(2) },
        Sampling { presence_penalty: 1.0, repetition_penalty: 1.3, ..Sampling::greedy() },
        Sampling { top_k: 9, min_p: 0.02, frequency_penalty: 0.5, ..hot(4) },
        Sampling { logit_bias: vec![(7, 3.0), (9, -50.0)], xtc, ..hot(7) },
    ]
}

#[test]
fn guesses_change_no_token_whatever_the_options() {
    let (model, mut device) = load(&Checkpoint::llama());
    let model = model.as_ref();
    for pipelines in [false, true] {
        (device.pipelines, device.sharing) = (pipelines, pipelines.then_some(Sharing::CUDA));
        for (place, sampling) in kinds().into_iter().enumerate() {
            let len = [5, 2, 1, 250, 64, 70][place];
            let submission = Submission { sampling, ..submission(&prompt(len), 40) };
            let guessed = check(&submission, model, &device, plain(model));
            // The first token, and one after each eight guesses, are none; a step that was started ahead is one more.
            assert!(guessed[0] >= 32, "{guessed:?}");
        }
    }
}

#[test]
fn guesses_change_nothing_of_packed_weights_keys_and_values() {
    let checkpoint = Checkpoint::llama().wide_heads().quantized(4);
    let mut device = Device::open().unwrap();
    for (unpack_bytes, unpack_rows) in [(u64::MAX, None), (0, None), (0, Some(8))] {
        device.weights = WeightPolicy { unpack_bytes, unpack_rows, ..device.weights };
        let model = load_on(&device, &checkpoint);
        let model = model.as_ref();
        for kv_bits in [None, Some(KvBits::Eight), Some(KvBits::Four)] {
            let sampling = Sampling { temperature: 0.8, seed: 3, ..Sampling::greedy() };
            let submission = Submission { kv_bits, sampling, ..submission(&prompt(240), 30) };
            check(&submission, model, &device, plain(model));
        }
    }
}

#[test]
fn each_token_has_its_own_log_probabilities() {
    let (model, device) = load(&Checkpoint::llama());
    let model = model.as_ref();
    let submission = Submission { logprobs: Some(3), ..submission(&prompt(9), 20) };
    check(&submission, model, &device, plain(model));
}

#[test]
fn guesses_obey_grammars_up_to_their_end() {
    let (model, mut device) = load(&Checkpoint::llama());
    let model = model.as_ref();
    for pipelines in [false, true] {
        (device.pipelines, device.sharing) = (pipelines, pipelines.then_some(Sharing::CUDA));
        for temperature in [0.0, 1.0] {
            let sampling = Sampling { temperature, seed: 4, presence_penalty: 0.5, ..Sampling::greedy() };
            let submission = Submission { sampling, ..submission(&prompt(6), 40) };
            // One that goes on, one that ends among the guesses, and one with a dead end.
            for (pattern, len) in [("([0-9]{3}[;<])*", 40), ("[0-9]{21}", 21), ("[0-9]{21}ä", 21)] {
                let make = |submission: &Submission| obeying(pattern, submission, model);
                check(&submission, model, &device, make);
                let found = answer(&mut make(&submission), 40, model, &device);
                assert_eq!((found.tokens.len(), found.failed.is_some()), (len, pattern.ends_with('ä')));
            }
        }
    }
}

#[test]
fn no_more_is_computed_than_is_wanted_or_fits() {
    let (model, device) = load(&Checkpoint::llama().with("max_position_embeddings", json!(40)));
    let model = model.as_ref();
    for (wanted, given) in [(1, 1), (2, 2), (17, 17), (36, 36), (100, 37)] {
        let submission = submission(&prompt(4), wanted);
        let expected = answer(&mut plain(model)(&submission), wanted, model, &device);
        assert_eq!(expected.tokens.len(), given);
        let mut sequence = plain(model)(&guessing(&submission));
        hint(&mut sequence, &expected.tokens, usize::MAX);
        assert_eq!(answer(&mut sequence, wanted, model, &device), expected);
        assert_eq!(sequence.caches[0].len() as usize, 3 + given, "of all tokens but the last");
        assert!(sequence.guesses.unwrap().ready.is_empty());
    }
}

#[test]
fn a_guessing_sequence_goes_on_beside_others_that_come_and_go() {
    let (model, mut device) = load(&Checkpoint::llama());
    let model = model.as_ref();
    for (pipelines, joins) in [(false, 3), (true, 3), (false, 10), (true, 12)] {
        (device.pipelines, device.sharing) = (pipelines, pipelines.then_some(Sharing::CUDA));
        let sampling = Sampling { temperature: 1.0, seed: 8, presence_penalty: 0.3, ..Sampling::greedy() };
        let submissions = [Submission { sampling, ..submission(&prompt(9), 60) }, submission(&prompt(33), 20)];
        let alone = submissions.each_ref().map(|submission| tokens_of(submission, model, &device));
        let mut all = submissions.each_ref().map(|submission| plain(model)(&guessing(submission)));
        for (sequence, alone) in all.iter_mut().zip(&alone) {
            while !sequence.is_prompt_done() {
                sequence.step(model, &device, Pace::Alone).unwrap();
            }
            hint(sequence, alone, 20);
        }
        let mut found = [Vec::new(), Vec::new()];
        let mut before = 0;
        for turn in 0..60 {
            let there = [true, (joins..joins + 20).contains(&turn)];
            let going = all.iter_mut().zip(there).filter(|(_, there)| *there);
            let mut rows: Vec<&mut Sequence> = going.map(|(row, _)| row).collect();
            let steps = decode(&mut rows, model, &device);
            for (found, step) in found.iter_mut().zip(steps) {
                let Ok(Step::Token(token)) = step else { panic!("{step:?}") };
                found.push(token);
            }
            if turn + 1 == joins {
                before = all[0].speculated();
            }
        }
        assert_eq!(found, alone);
        assert!(before > 0 && all[0].speculated() > before + 8, "before and after the other was there");
        assert_eq!(all[1].speculated(), 0, "it was never alone");
    }
}

#[test]
fn forks_guess_each_for_itself() {
    let (model, device) = load(&Checkpoint::llama());
    let model = model.as_ref();
    let seeded = |seed| {
        let sampling = Sampling { temperature: 3.0, seed, ..Sampling::greedy() };
        Submission { sampling, ..submission(&prompt(70), 12) }
    };
    let mut first = plain(model)(&guessing(&seeded(5)));
    while !first.is_prompt_done() {
        first.step(model, &device, Pace::Alone).unwrap();
    }
    let second = first.fork(&guessing(&seeded(6)), model).unwrap();
    for (mut sequence, seed) in [(first, 5), (second, 6)] {
        let alone = tokens_of(&seeded(seed), model, &device);
        hint(&mut sequence, &alone, 5);
        assert_eq!(answer(&mut sequence, 12, model, &device).tokens, alone);
        assert!(sequence.speculated() > 4);
    }
}

#[test]
fn what_is_kept_of_a_guessing_sequence_is_what_it_said() {
    let (model, mut device) = load(&Checkpoint::llama().wide_heads());
    let model = model.as_ref();
    for (kv_bits, pipelines) in [(None, false), (None, true), (Some(KvBits::Eight), false)] {
        (device.pipelines, device.sharing) = (pipelines, pipelines.then_some(Sharing::CUDA));
        let kept = Kept::new(64 << 20, false);
        let submission = Submission { kv_bits, ..submission(&prompt(100), 120) };
        let alone = tokens_of(&submission, model, &device);
        let make =
            |submission: &Submission, kept: &Rc<Kept>| plain(model)(submission).sharing(kept, submission).unwrap();
        let mut sequence = make(&guessing(&submission), &kept);
        hint(&mut sequence, &alone, 12);
        assert_eq!(answer(&mut sequence, 120, model, &device).tokens, alone);
        assert!(sequence.speculated() > 50);
        let next = [submission.prompt.as_slice(), &alone, &[5, 6]].concat();
        let next = Submission { prompt: next, max_tokens: 10, ..submission };
        let (mut warm, mut cold) = (make(&next, &kept), plain(model)(&next));
        assert_eq!(warm.computed(), 192, "of 219 tokens");
        let [found, expected] = [&mut warm, &mut cold].map(|sequence| sequence.logits(model, &device).unwrap());
        assert!(difference(&found, &expected) < 1e-3);
        assert_eq!(tokens_of(&next, model, &device), answer(&mut make(&next, &kept), 10, model, &device).tokens);
    }
}

#[test]
fn nan_behind_a_wrong_guess_harms_nothing_and_behind_a_right_one_it_ends_the_sequence() {
    let mut checkpoint = with_nan("model.embed_tokens.weight", 7..8);
    let healthy = Checkpoint::llama().wide_heads();
    let attention = healthy.tensors.into_iter().filter(|(name, _)| name.contains("self_attn"));
    checkpoint.tensors.extend(attention);
    let (model, device) = load(&checkpoint.with("head_dim", json!(64)));
    let model = model.as_ref();
    for kv_bits in [None, Some(KvBits::Eight), Some(KvBits::Four)] {
        for (bias, fails) in [(-100.0, false), (100.0, true)] {
            let sampling = Sampling { logit_bias: vec![(7, bias)], ..Sampling::greedy() };
            let submission = Submission { kv_bits, sampling, ..submission(&[1, 2, 3], 12) };
            let expected = answer(&mut plain(model)(&submission), 12, model, &device);
            assert_eq!(expected.failed.is_some(), fails);
            let mut sequence = plain(model)(&guessing(&submission));
            let mut guesses = expected.tokens.clone();
            guesses.insert(guesses.len().min(2), 7);
            hint(&mut sequence, &guesses, usize::MAX);
            assert_eq!(answer(&mut sequence, 12, model, &device), expected);
        }
    }
}

#[test]
fn what_mlx_refuses_ends_a_guessing_sequence() {
    let (model, device) = load(&Checkpoint::llama());
    let model = model.as_ref();
    let submission = submission(&prompt(4), 20);
    let mut sequence = plain(model)(&guessing(&submission));
    hint(&mut sequence, &tokens_of(&submission, model, &device), usize::MAX);
    sequence.step(model, &device, Pace::Alone).unwrap();
    sequence.caches[1] = Cache::conv(2);
    let words = sequence.step(model, &device, Pace::Alone).unwrap_err().to_string();
    assert!(words.contains("mlx"), "{words}");
    assert_eq!(sequence.step(model, &device, Pace::Alone).unwrap_err().to_string(), words);
}

#[test]
fn layers_that_cannot_take_tokens_back_run_without_guesses_unless_those_are_asked_for() {
    let types = json!(["full_attention", "sliding_attention"]);
    let (model, device) = load(&Checkpoint::llama().with("layer_types", types).with("sliding_window", json!(12)));
    let model = model.as_ref();
    let with = |speculation| Submission { speculation, ..Submission::greedy(SequenceId(1), &[1, 2, 1, 2, 1], 9) };
    let Err(Error::NotSupported(words)) = Sequence::new(&with(Speculation::Lookup), model) else { panic!("refused") };
    assert!(words.contains("cannot take any back") && words.contains("leave speculation at auto"), "{words}");
    assert!(plain(model)(&with(Speculation::Auto)).guesses.is_none());
    let [auto, off] = [Speculation::Auto, Speculation::Off].map(|how| tokens_of(&with(how), model, &device));
    assert_eq!(auto, off);
}

#[test]
fn guesses_that_must_pay_change_no_token_and_are_measured() {
    let (model, mut device) = load(&Checkpoint::llama());
    let model = model.as_ref();
    for pipelines in [false, true] {
        (device.pipelines, device.sharing) = (pipelines, pipelines.then_some(Sharing::CUDA));
        let submission = submission(&prompt(20), 300);
        let alone = tokens_of(&submission, model, &device);
        let mut sequence = plain(model)(&Submission { speculation: Speculation::Auto, ..submission });
        hint(&mut sequence, &alone, 11);
        assert_eq!(answer(&mut sequence, 300, model, &device).tokens, alone);
        let guesses = sequence.guesses.unwrap();
        // At least its trial gave some: four steps of one token come first, and then all guesses were right so far.
        assert!(guesses.given() > 0, "{:?}", guesses.worth);
    }
}
