//! The loop against a backend that counts upwards.

use std::collections::HashMap;

use super::*;
use crate::backend::{Pace, Step};
use crate::grammar::Grammar;
use crate::message::{
    DeviceMemory, Embedding, Failure, FailureKind, Load, Loaded, Logprobs, Memory, Needs, Pooling, Submission, TokenId,
};

struct Counting;

const NEEDS: Needs = Needs { weight_bytes: 2, scratch_bytes: 1, device: DeviceMemory::Processor };

impl Backend for Counting {
    type Sequence = (u32, TokenId, bool);
    type Text = Vec<TokenId>;

    fn needs(&mut self, load: &Load) -> Result<Needs, Failure> {
        match load.path.to_str() {
            Some("absent") => Err(Failure::new(FailureKind::ModelBroken, "absent")),
            _ => Ok(NEEDS),
        }
    }

    fn load(&mut self, load: &Load, progress: &mut dyn FnMut(u64, u64)) -> Result<Loaded, Failure> {
        if load.path.as_os_str() == "broken" {
            return Err(Failure::new(FailureKind::ModelBroken, "broken"));
        }
        progress(1, 2);
        progress(2, 2);
        let (device, dtype) = ("test".into(), "none".into());
        let (window_tokens, window_bytes, draft_refused) = (0, 0, None);
        Ok(Loaded {
            vocab_size: 100,
            weight_bytes: 2,
            device,
            dtype,
            token_bytes: 0,
            window_tokens,
            window_bytes,
            draft_refused,
        })
    }

    fn begin(&mut self, submission: &Submission) -> Result<Self::Sequence, Failure> {
        Ok((submission.prompt.len() as u32, submission.prompt[0], submission.grammar.is_some()))
    }

    /// Grammars end with a token that three divides.
    fn step(&mut self, (prompt, next, grammar): &mut Self::Sequence, _: Pace) -> Result<Step, Failure> {
        if *prompt > 0 {
            let done = std::mem::take(prompt);
            return Ok(Step::Prefill { done });
        }
        *next += 1;
        match *next {
            66 => Err(Failure::new(FailureKind::Internal, "sixty-six")),
            token if *grammar && token.is_multiple_of(3) => Ok(Step::Last(token)),
            token => Ok(Step::Token(token)),
        }
    }

    /// Counts from the seed on.
    fn fork(&mut self, sequence: &Self::Sequence, submission: &Submission) -> Result<Self::Sequence, Failure> {
        assert_eq!(sequence.0, 0, "the prompt is computed");
        Ok((0, submission.sampling.seed as TokenId, submission.grammar.is_some()))
    }

    fn logprobs(&mut self, _: &mut Self::Sequence) -> Result<Option<Logprobs>, Failure> {
        Ok(Some(Logprobs { chosen: -0.5, top: vec![] }))
    }

    fn begin_text(&mut self, tokens: &[TokenId], _: Pooling) -> Result<Vec<TokenId>, Failure> {
        Ok(tokens.to_vec())
    }

    /// Takes a step for each token, and makes a vector of the first and the count of them.
    fn embed(&mut self, text: &mut Vec<TokenId>) -> Result<Option<Vec<f32>>, Failure> {
        match text.as_slice() {
            [66, ..] => Err(Failure::new(FailureKind::Internal, "sixty-six")),
            [token] => Ok(Some(vec![*token as f32])),
            // Never ends, so only a cancel can end it.
            [100, ..] => Ok(None),
            _ => {
                text.remove(0);
                Ok(None)
            }
        }
    }

    fn memory(&self) -> Memory {
        Memory::default()
    }
}

/// An engine on a thread of its own, and the daemon's end of its socket.
fn engine() -> UnixStream {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let commands = theirs.try_clone().unwrap();
    std::thread::spawn(move || run_on(commands, theirs, Counting, || {}).unwrap());
    ours
}

fn submission(sequence: u64, first: TokenId, max_tokens: u32) -> Submission {
    Submission { stop_tokens: vec![50], ..Submission::greedy(SequenceId(sequence), &[first, 1, 1], max_tokens) }
}

fn submit(submission: Submission) -> Command {
    Command::generate(submission)
}

fn events_until(socket: &mut UnixStream, last: impl Fn(&Event) -> bool) -> Vec<Event> {
    let mut events = Vec::new();
    loop {
        let event = frame::read(socket).unwrap().expect("the engine still talks");
        let done = last(&event);
        events.push(event);
        if done {
            return events;
        }
    }
}

fn loaded() -> UnixStream {
    let mut socket = engine();
    frame::write(&mut socket, &Command::Load(Load::new("model"))).unwrap();
    frame::write(&mut socket, &Command::Proceed).unwrap();
    let events = events_until(&mut socket, |event| matches!(event, Event::Memory(_)));
    assert_eq!(events[0], Event::Hello { version: VERSION });
    assert_eq!(events[1], Event::Needs(NEEDS));
    assert_eq!(events[3], Event::Loading { done_bytes: 2, total_bytes: 2 });
    assert!(matches!(events[4], Event::Ready(_)));
    socket
}

/// Runs `commands` and returns the end of each sequence with the number of its tokens, by their names.
fn ends(commands: &[Command], count: usize) -> Vec<(u64, Result<FinishReason, String>, u32)> {
    let mut socket = loaded();
    for command in commands {
        frame::write(&mut socket, command).unwrap();
    }
    let mut ends = Vec::new();
    let mut tokens = HashMap::new();
    while ends.len() < count {
        match frame::read(&mut socket).unwrap().expect("the engine still talks") {
            Event::Token { sequence, .. } => *tokens.entry(sequence).or_insert(0) += 1,
            Event::Finished(finished) => {
                ends.push((finished.sequence.0, Ok(finished.reason), finished.completion_tokens));
                let seen = tokens.remove(&finished.sequence).unwrap_or(0);
                assert_eq!(finished.completion_tokens, seen, "of {:?}", finished.sequence);
            }
            Event::Failed { sequence, failure } => {
                ends.push((sequence.0, Err(failure.message), tokens.remove(&sequence).unwrap_or(0)));
            }
            _ => {}
        }
    }
    frame::write(&mut socket, &Command::Unload).unwrap();
    events_end(&mut socket);
    ends.sort_by_key(|(sequence, ..)| *sequence);
    ends
}

/// After the last word the engine closes its socket.
fn events_end(socket: &mut UnixStream) {
    while frame::read::<Event>(socket).unwrap().is_some() {}
}

#[test]
fn a_sequence_ends_at_its_limit_or_before_its_stop_token() {
    let commands = [submit(submission(1, 10, 3)), submit(submission(2, 45, 9))];
    assert_eq!(ends(&commands, 2), [(1, Ok(FinishReason::Length), 3), (2, Ok(FinishReason::Stop), 4)]);
}

#[test]
fn a_whole_text_ends_a_sequence_even_with_its_last_token() {
    let obeying = |sequence, max_tokens| {
        let grammar = Some(Grammar::Regex("any".into()));
        submit(Submission { grammar, ..submission(sequence, 9, max_tokens) })
    };
    let expected = [(1, Ok(FinishReason::Stop), 3), (2, Ok(FinishReason::Stop), 3), (3, Ok(FinishReason::Length), 2)];
    assert_eq!(ends(&[obeying(1, 9), obeying(2, 3), obeying(3, 2)], 3), expected);
}

#[test]
fn a_failing_sequence_leaves_its_neighbours_alone() {
    let commands = [submit(submission(1, 60, 9)), submit(submission(2, 10, 9))];
    assert_eq!(ends(&commands, 2), [(1, Err("sixty-six".into()), 5), (2, Ok(FinishReason::Length), 9)]);
}

#[test]
fn a_running_sequence_is_cancelled_between_two_steps() {
    // Counts from 100 without end, so only the cancel can end it.
    let commands = [submit(submission(1, 100, u32::MAX)), Command::Cancel(SequenceId(1))];
    let ended = ends(&commands, 1);
    assert_eq!((ended[0].0, &ended[0].1), (1, &Ok(FinishReason::Cancelled)));
}

#[test]
fn one_of_two_is_cancelled_and_the_other_goes_on() {
    let commands = [
        submit(submission(1, 100, u32::MAX)),
        submit(submission(2, 100, 500)),
        Command::Cancel(SequenceId(1)),
        Command::Cancel(SequenceId(7)),
    ];
    let ended = ends(&commands, 2);
    assert_eq!((&ended[0].1, &ended[1].1), (&Ok(FinishReason::Cancelled), &Ok(FinishReason::Length)));
    assert_eq!(ended[1].2, 500);
}

#[test]
fn sequences_take_their_steps_together_and_new_ones_join() {
    let mut socket = loaded();
    frame::write(&mut socket, &submit(submission(1, 100, u32::MAX))).unwrap();
    let token_of =
        |wanted: u64| move |event: &Event| matches!(event, Event::Token { sequence, .. } if sequence.0 == wanted);
    events_until(&mut socket, token_of(1));
    frame::write(&mut socket, &submit(submission(2, 200, 20))).unwrap();
    events_until(&mut socket, token_of(2));
    // From its first token on, each turn has one of both.
    let events = events_until(&mut socket, |event| matches!(event, Event::Finished(_)));
    let tokens = |wanted: u64| events.iter().filter(|event| token_of(wanted)(event)).count();
    assert_eq!((tokens(1), tokens(2)), (19, 19));
}

#[test]
fn a_paused_sequence_stands_still_until_it_is_resumed() {
    let mut socket = loaded();
    let send = |socket: &mut UnixStream, command: Command| frame::write(socket, &command).unwrap();
    let long = submission(1, 100, 100_000);
    send(&mut socket, submit(long));
    send(&mut socket, Command::Pause(SequenceId(1)));
    send(&mut socket, submit(submission(2, 100, 50)));
    let first = events_until(&mut socket, |event| matches!(event, Event::Finished(_)));
    let Some(Event::Finished(finished)) = first.last() else { panic!("{first:?}") };
    assert_eq!(finished.sequence, SequenceId(2));
    // Nothing runs: a trim is answered, and not a token comes before it.
    send(&mut socket, Command::Trim);
    events_until(&mut socket, |event| matches!(event, Event::Memory(_)));
    send(&mut socket, Command::Trim);
    let quiet = events_until(&mut socket, |event| matches!(event, Event::Memory(_)));
    assert_eq!(quiet.len(), 1, "{quiet:?}");
    send(&mut socket, Command::Resume(SequenceId(1)));
    let rest = events_until(&mut socket, |event| matches!(event, Event::Finished(_)));
    let Some(Event::Finished(finished)) = rest.last() else { panic!("{rest:?}") };
    assert_eq!((finished.reason, finished.completion_tokens), (FinishReason::Length, 100_000));
}

#[test]
fn an_empty_prompt_is_a_failure_and_not_a_crash() {
    let empty = Submission { prompt: vec![], ..submission(1, 10, 3) };
    let ended = ends(&[submit(empty)], 1);
    assert!(ended[0].1.is_err());
}

#[test]
fn a_model_that_cannot_be_loaded_ends_the_engine() {
    let mut socket = engine();
    frame::write(&mut socket, &Command::Load(Load::new("broken"))).unwrap();
    frame::write(&mut socket, &Command::Proceed).unwrap();
    let events = events_until(&mut socket, |event| matches!(event, Event::LoadFailed(_)));
    assert_eq!(events.len(), 3);
    frame::write(&mut socket, &Command::Unload).unwrap();
    events_end(&mut socket);
}

#[test]
fn nothing_is_loaded_before_there_is_room() {
    let mut socket = engine();
    frame::write(&mut socket, &Command::Load(Load::new("absent"))).unwrap();
    let events = events_until(&mut socket, |event| matches!(event, Event::LoadFailed(_)));
    assert_eq!(events.len(), 2);
    frame::write(&mut socket, &Command::Unload).unwrap();
    events_end(&mut socket);
    // One that is told to go after it has said what it needs reads nothing.
    let mut socket = engine();
    frame::write(&mut socket, &Command::Load(Load::new("model"))).unwrap();
    events_until(&mut socket, |event| matches!(event, Event::Needs(_)));
    frame::write(&mut socket, &Command::Unload).unwrap();
    assert_eq!(frame::read::<Event>(&mut socket).unwrap(), None);
}

/// The tokens and ends of each sample of a submission, as they came.
fn samples(submission: Submission, commands: &[Command]) -> Vec<String> {
    let mut socket = loaded();
    frame::write(&mut socket, &submit(submission)).unwrap();
    for command in commands {
        frame::write(&mut socket, command).unwrap();
    }
    let events = events_until(&mut socket, |event| matches!(event, Event::Finished(_) | Event::Failed { .. }));
    let told = |event: &Event| match event {
        Event::Token { sample, id, .. } => format!("{sample}: {id}"),
        Event::Ended { sample, reason, .. } => format!("{sample}: {reason:?}"),
        Event::Finished(finished) => format!("{:?} {}", finished.reason, finished.completion_tokens),
        Event::Prefill { done, .. } => format!("prompt {done}"),
        other => format!("{other:?}"),
    };
    events.iter().map(told).collect()
}

#[test]
fn samples_share_the_prompt_and_take_their_steps_together() {
    let mut three = Submission { samples: 3, ..submission(1, 10, 3) };
    three.sampling.seed = 48;
    let told = samples(three, &[]);
    let expected = [
        "prompt 3",
        "0: 11",
        "1: Stop",
        "2: 51",
        "0: 12",
        "2: 52",
        "0: 13",
        "0: Length",
        "2: 53",
        "2: Length",
        "Length 6",
    ];
    assert_eq!(told, expected);
}

#[test]
fn one_sample_ends_by_command_and_the_others_go_on() {
    let mut two = Submission { samples: 2, ..submission(1, 100, 2000) };
    two.sampling.seed = 200;
    let end = |sample| Command::End { sequence: SequenceId(1), sample };
    let told = samples(two, &[end(1), end(7), Command::End { sequence: SequenceId(9), sample: 0 }]);
    let ended = |words: &str| told.iter().filter(|told| *told == words).count();
    // The command may come before the prompt is computed, and is then too early.
    assert_eq!(ended("1: Cancelled") + ended("1: Length"), 1);
    assert_eq!(ended("0: Length"), 1);
    assert_eq!(told.last().map(|last| last.starts_with("Length ")), Some(true), "{told:?}");
}

#[test]
fn all_samples_end_when_their_sequence_is_cancelled() {
    let many = Submission { samples: 4, ..submission(1, 100, u32::MAX) };
    let told = samples(many, &[Command::Cancel(SequenceId(1))]);
    assert!(told.last().is_some_and(|last| last.starts_with("Cancelled ")), "{told:?}");
}

fn embedding(sequence: u64, inputs: &[&[TokenId]]) -> Command {
    let inputs = inputs.iter().map(|input| input.to_vec()).collect();
    let work = Work::Embed(Embedding { sequence: SequenceId(sequence), inputs, pooling: Pooling::Last });
    Command::Submit(work, Priority::Normal)
}

#[test]
fn each_text_becomes_a_vector_in_its_turn() {
    let mut socket = loaded();
    frame::write(&mut socket, &embedding(7, &[&[5, 6, 7], &[9]])).unwrap();
    let events = events_until(&mut socket, |event| matches!(event, Event::Finished(_)));
    let vectors: Vec<_> = events
        .iter()
        .filter_map(|event| match event {
            Event::Vector { sequence, vector } => Some((sequence.0, vector.clone())),
            _ => None,
        })
        .collect();
    assert_eq!(vectors, [(7, vec![7.0]), (7, vec![9.0])]);
    let Some(Event::Finished(finished)) = events.last() else { panic!("{events:?}") };
    assert_eq!((finished.reason, finished.prompt_tokens, finished.completion_tokens), (FinishReason::Stop, 4, 0));
}

#[test]
fn a_text_that_fails_or_is_empty_does_not_end_the_next_work() {
    let commands = [embedding(1, &[&[66, 1]]), embedding(2, &[&[]]), submit(submission(3, 10, 1))];
    let ends = ends(&commands, 3);
    assert_eq!((&ends[0].1, &ends[2].1), (&Err("sixty-six".into()), &Ok(FinishReason::Length)));
    assert!(ends[1].1.is_err());
}

#[test]
fn an_embedding_is_cancelled_between_two_steps() {
    let commands = [embedding(1, &[&[1], &[100, 1]]), Command::Cancel(SequenceId(1))];
    assert_eq!(ends(&commands, 1)[0].1, Ok(FinishReason::Cancelled));
}
