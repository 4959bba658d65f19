//! The tokens of sequences with a draft against those without, on tiny checkpoints: a draft that is the model itself, one that
//! is like it, and one that is not.

use engine::backend::{Pace, Step};
use engine::message::{Logprobs, Sampling, Speculation, Submission};
use mlx_rs::Array;
use serde_json::json;

use super::super::super::batch::decode;
use super::super::super::tests::{load, load_on, obeying, prompt, submission, tokens_of};
use super::super::super::{Error, Sequence};
use super::super::tests::{Answer, answer, kinds, plain};
use super::*;
use crate::array::part;
use crate::checkpoint::Checkpoint;
use crate::device::Sharing;
use crate::models::Model;
use crate::network::Network;

fn draft_of(device: &Device, checkpoint: &Checkpoint) -> Rc<Draft> {
    Rc::new(Draft::new(Network::Decoder(load_on(device, checkpoint))).unwrap())
}

/// The model itself, one whose weights are rounded, and another.
fn drafts(device: &Device) -> [Rc<Draft>; 3] {
    [Checkpoint::llama(), Checkpoint::llama().rounded(4), Checkpoint::llama().wide_heads()]
        .map(|checkpoint| draft_of(device, &checkpoint))
}

fn asking(submission: &Submission) -> Submission {
    Submission { speculation: Speculation::Draft, ..submission.clone() }
}

fn drafted(sequence: Sequence, draft: &Rc<Draft>, submission: &Submission, model: &dyn Model) -> Sequence {
    sequence.drafted_by(&Ok(Rc::clone(draft)), submission, model).unwrap()
}

fn drafting(sequence: &Sequence) -> &Drafting {
    sequence.guesses.as_ref().unwrap().drafting.as_ref().unwrap()
}

/// That a draft changes nothing of what `make` begins; answers how many of its guesses were given.
fn check(
    submission: &Submission,
    draft: &Rc<Draft>,
    model: &dyn Model,
    device: &Device,
    make: impl Fn(&Submission) -> Sequence,
) -> u32 {
    let wanted = submission.max_tokens;
    let expected = answer(&mut make(submission), wanted, model, device);
    let asking = asking(submission);
    let mut sequence = drafted(make(&asking), draft, &asking, model);
    let found = answer(&mut sequence, wanted, model, device);
    assert_eq!((&found.tokens, &found.failed), (&expected.tokens, &expected.failed), "{submission:?}");
    if found.failed.is_none() {
        let text = submission.prompt.len() + found.tokens.len();
        assert!(drafting(&sequence).len() < text, "nothing is left of guesses");
    }
    sequence.speculated()
}

#[test]
fn a_draft_changes_no_token_whatever_the_options() {
    let (model, mut device) = load(&Checkpoint::llama());
    let (model, drafts) = (model.as_ref(), drafts(&device));
    for pipelines in [false, true] {
        (device.pipelines, device.sharing) = (pipelines, pipelines.then_some(Sharing::CUDA));
        for (place, sampling) in kinds().into_iter().enumerate() {
            let is_greedy = place == 0;
            let submission = Submission { sampling, ..submission(&prompt([5, 2, 1, 150, 64, 70][place]), 40) };
            let [same, alike, _] =
                drafts.each_ref().map(|draft| check(&submission, draft, model, &device, plain(model)));
            // Of three or four passes that are right, each has more guesses than the one before, up to eight.
            assert!(!is_greedy || same >= 30, "{same}");
            assert!(!is_greedy || alike > 8, "{alike}");
        }
    }
}

#[test]
fn a_draft_obeys_no_grammar_and_the_answer_does() {
    let (model, mut device) = load(&Checkpoint::llama());
    let (model, drafts) = (model.as_ref(), drafts(&device));
    for pipelines in [false, true] {
        (device.pipelines, device.sharing) = (pipelines, pipelines.then_some(Sharing::CUDA));
        for temperature in [0.0, 1.0] {
            let sampling = Sampling { temperature, seed: 4, presence_penalty: 0.5, ..Sampling::greedy() };
            let submission = Submission { sampling, ..submission(&prompt(6), 30) };
            for pattern in ["([0-9]{3}[;<])*", "[0-9]{11}", "[0-9]{11}ä", "[ -_]*"] {
                for draft in &drafts {
                    check(&submission, draft, model, &device, |asked| obeying(pattern, asked, model));
                }
            }
        }
    }
}

#[test]
fn log_probabilities_and_packed_keys_are_those_without_a_draft() {
    let checkpoint = Checkpoint::llama().wide_heads();
    let (model, device) = load(&checkpoint);
    let (model, draft) = (model.as_ref(), draft_of(&device, &checkpoint));
    for kv_bits in [None, Some(KvBits::Eight), Some(KvBits::Four)] {
        let submission = Submission { kv_bits, logprobs: Some(2), ..submission(&prompt(40), 30) };
        assert!(check(&submission, &draft, model, &device, plain(model)) > 10);
        let asking = asking(&submission);
        let mut sequence = drafted(plain(model)(&asking), &draft, &asking, model);
        let Answer { logprobs, .. } = answer(&mut sequence, 30, model, &device);
        let expected = answer(&mut plain(model)(&submission), 30, model, &device).logprobs;
        let near = |(a, b): (&Logprobs, &Logprobs)| (a.chosen - b.chosen).abs() < 1e-3;
        assert!(logprobs.len() == 30 && logprobs.iter().zip(&expected).all(near));
        let is_packed = drafting(&sequence).caches.iter().all(|cache| matches!(cache, Cache::Packed(_)));
        assert_eq!(is_packed, kv_bits.is_some());
    }
}

#[test]
fn a_prompt_is_computed_by_the_draft_in_chunks_and_not_before_its_guesses_are_due() {
    let (model, mut device) = load(&Checkpoint::llama());
    let (model, draft) = (model.as_ref(), draft_of(&device, &Checkpoint::llama()));
    device.shared_chunk = 50;
    for pipelines in [false, true] {
        (device.pipelines, device.sharing) = (pipelines, pipelines.then_some(Sharing::CUDA));
        let submission = submission(&prompt(220), 40);
        let (alone, asking) = (tokens_of(&submission, model, &device), asking(&submission));
        let mut sequence = drafted(plain(model)(&asking), &draft, &asking, model);
        while !sequence.is_prompt_done() {
            sequence.step(model, &device, Pace::Alone).unwrap();
            assert_eq!(drafting(&sequence).len(), 0);
        }
        let (mut tokens, mut held) = (Vec::new(), 0);
        while tokens.len() < 40 {
            let Ok(Step::Token(token)) = sequence.step(model, &device, Pace::Alone) else { panic!("a token") };
            tokens.push(token);
            let now = drafting(&sequence).len();
            assert!(now <= held + 50, "{held}, {now}");
            held = now;
            if tokens.len() <= 4 {
                assert_eq!((held, sequence.speculated()), (50 * tokens.len(), 0));
            }
        }
        assert_eq!(tokens, alone);
        assert!(sequence.speculated() > 25, "{}", sequence.speculated());
        let text = sequence.guesses.as_ref().unwrap().lookup.tokens().len();
        assert!((text - 9..text).contains(&held), "both are cut to what was right");
    }
}

#[test]
fn guesses_end_where_the_context_of_either_model_does() {
    let limited = |tokens: u32| Checkpoint::llama().with("max_position_embeddings", json!(tokens));
    for (context, drafts_context) in [(60, 60), (60, 30), (60, 200), (1024, 40), (1024, 5)] {
        let (model, device) = load(&limited(context));
        let (model, draft) = (model.as_ref(), draft_of(&device, &limited(drafts_context)));
        let guessed = check(&submission(&prompt(9), 70), &draft, model, &device, plain(model));
        assert_eq!(guessed > 0, drafts_context > 10, "{guessed}");
        for wanted in [1, 2, 3] {
            check(&submission(&prompt(9), wanted), &draft, model, &device, plain(model));
        }
    }
}

#[test]
fn tokens_that_only_one_of_both_has_are_never_computed_by_the_other() {
    let rows = |count: i32| {
        let mut checkpoint = Checkpoint::llama().with("vocab_size", json!(count));
        for name in ["model.embed_tokens.weight", "lm_head.weight"] {
            let tensor: &Array = &checkpoint.tensors[name];
            let all = ops::concatenate(&[tensor, tensor], 0).unwrap();
            let tensor = part(&all, 0, count).unwrap();
            checkpoint.tensors.insert(name.into(), tensor);
        }
        checkpoint
    };
    let (model, device) = load(&Checkpoint::llama());
    let model = model.as_ref();
    for (count, prompt, guesses) in [(150, prompt(20), true), (80, vec![3, 5, 90, 7], false)] {
        let draft = draft_of(&device, &rows(count));
        let guessed = check(&submission(&prompt, 30), &draft, model, &device, plain(model));
        assert_eq!(guessed > 0, guesses, "{guessed}");
    }
}

#[test]
fn a_draft_rests_while_others_are_there_and_each_fork_has_its_own() {
    let (model, mut device) = load(&Checkpoint::llama());
    let (model, draft) = (model.as_ref(), draft_of(&device, &Checkpoint::llama()));
    for (pipelines, joins) in [(false, 5), (true, 5), (false, 12), (true, 13)] {
        (device.pipelines, device.sharing) = (pipelines, pipelines.then_some(Sharing::CUDA));
        let sampling = |seed| Sampling { temperature: 0.3, seed, ..Sampling::greedy() };
        let of = |seed| Submission { sampling: sampling(seed), ..submission(&prompt(30), 70) };
        let alone = [1, 2].map(|seed| tokens_of(&of(seed), model, &device));
        let mut first = drafted(plain(model)(&asking(&of(1))), &draft, &asking(&of(1)), model);
        while !first.is_prompt_done() {
            first.step(model, &device, Pace::Alone).unwrap();
        }
        let second = first.fork(&asking(&of(2)), model).unwrap();
        let mut all = [first, drafted(second, &draft, &asking(&of(2)), model)];
        let mut found = [Vec::new(), Vec::new()];
        let mut at_join = 0;
        for turn in 0..70 {
            let there = [true, (joins..joins + 30).contains(&turn)];
            let mut rows: Vec<&mut Sequence> =
                all.iter_mut().zip(there).filter(|(_, there)| *there).map(|(row, _)| row).collect();
            for (found, step) in found.iter_mut().zip(decode(&mut rows, model, &device)) {
                let Ok(Step::Token(token)) = step else { panic!("{step:?}") };
                found.push(token);
            }
            if turn + 1 == joins {
                at_join = all[0].speculated();
            }
        }
        assert_eq!((&found[0], &found[1][..]), (&alone[0], &alone[1][..30]));
        assert!(at_join > 0 && all[0].speculated() > at_join + 8, "before and after the other was there");
        assert_eq!((all[1].speculated(), drafting(&all[1]).len()), (0, 0), "it was never alone");
    }
}

#[test]
fn what_pays_is_measured_and_changes_no_token() {
    let (model, mut device) = load(&Checkpoint::llama());
    let (model, drafts) = (model.as_ref(), drafts(&device));
    for pipelines in [false, true] {
        (device.pipelines, device.sharing) = (pipelines, pipelines.then_some(Sharing::CUDA));
        for draft in &drafts {
            let submission = submission(&prompt(20), 200);
            let alone = tokens_of(&submission, model, &device);
            let auto = Submission { speculation: Speculation::Auto, ..submission };
            let mut sequence = drafted(plain(model)(&auto), draft, &auto, model);
            assert_eq!(answer(&mut sequence, 200, model, &device).tokens, alone);
            assert!(drafting(&sequence).len() > 0, "it was tried at least");
        }
    }
}

#[test]
fn a_draft_that_fails_ends_a_sequence_only_where_it_was_asked_for() {
    let (model, device) = load(&Checkpoint::llama());
    let (model, draft) = (model.as_ref(), draft_of(&device, &Checkpoint::llama()));
    for speculation in [Speculation::Draft, Speculation::Auto] {
        let submission = Submission { speculation, ..submission(&prompt(4), 30) };
        let mut sequence = drafted(plain(model)(&submission), &draft, &submission, model);
        sequence.guesses.as_mut().unwrap().drafting.as_mut().unwrap().caches[1] = Cache::conv(2);
        let found = answer(&mut sequence, 30, model, &device);
        match speculation {
            Speculation::Auto => assert_eq!(found.tokens, tokens_of(&submission, model, &device)),
            _ => assert!(found.failed.unwrap().contains("mlx")),
        }
    }
}

#[test]
fn a_draft_must_take_tokens_back_and_is_asked_for_only_where_there_is_one() {
    let types = json!(["full_attention", "sliding_attention"]);
    let windows = Checkpoint::llama().with("layer_types", types).with("sliding_window", json!(12));
    let (model, device) = load(&Checkpoint::llama());
    let model = model.as_ref();
    let refused = Draft::new(Network::Decoder(load_on(&device, &windows)));
    let Err(Error::NotSupported(words)) = refused else { panic!("refused") };
    assert!(words.contains("cannot take any back"), "{words}");
    let none = Err("there is none".to_owned());
    for (speculation, fails) in [(Speculation::Draft, true), (Speculation::Auto, false), (Speculation::Lookup, false)] {
        let submission = Submission { speculation, ..submission(&[1], 1) };
        let sequence = plain(model)(&submission).drafted_by(&none, &submission, model);
        assert_eq!(sequence.is_err(), fails);
    }
    // Heads of 16 numbers cannot be packed; only who asked for the draft hears of it.
    let wide = load_on(&device, &Checkpoint::llama().wide_heads());
    let draft = draft_of(&device, &Checkpoint::llama());
    for (speculation, fails) in [(Speculation::Draft, true), (Speculation::Auto, false)] {
        let submission = Submission { speculation, kv_bits: Some(KvBits::Eight), ..submission(&[1], 1) };
        let sequence = plain(wide.as_ref())(&submission).drafted_by(&Ok(Rc::clone(&draft)), &submission, wide.as_ref());
        assert_eq!(sequence.is_err(), fails);
    }
}
