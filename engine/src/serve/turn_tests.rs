//! Turns one by one, of work that came at once, against a backend that computes ten tokens in a piece.

use std::sync::mpsc::sync_channel;

use super::*;
use crate::backend::Pace;
use crate::frame;
use crate::message::{
    Command, Embedding, FailureKind, Load, Loaded, Logprobs, Memory, Needs, Pooling, Priority, Submission, TokenId,
    Work,
};
use Priority::{Background, Interactive, Normal};

/// Keeps each 7 at the beginning of a prompt, and fails what begins with 66.
struct Tens;

struct Sequence {
    prompt: Vec<TokenId>,
    done: usize,
}

impl Backend for Tens {
    type Sequence = Sequence;
    type Text = Vec<TokenId>;

    fn needs(&mut self, _: &Load) -> Result<Needs, Failure> {
        Err(never())
    }

    fn load(&mut self, _: &Load, _: &mut dyn FnMut(u64, u64)) -> Result<Loaded, Failure> {
        Err(never())
    }

    fn begin(&mut self, submission: &Submission) -> Result<Sequence, Failure> {
        let done = submission.prompt.iter().take_while(|token| **token == 7).count();
        Ok(Sequence { prompt: submission.prompt.clone(), done })
    }

    fn computed(&self, sequence: &Sequence) -> u32 {
        sequence.done as u32
    }

    fn turn_tokens(&self) -> u32 {
        10
    }

    fn step(&mut self, sequence: &mut Sequence, _: Pace) -> Result<Step, Failure> {
        let rest = sequence.prompt.len() - 1 - sequence.done;
        if sequence.prompt[0] == 66 {
            return Err(Failure::new(FailureKind::Internal, "sixty-six"));
        }
        if rest == 0 {
            return Ok(Step::Token(1));
        }
        sequence.done += rest.min(10);
        Ok(Step::Prefill { done: sequence.done as u32 })
    }

    fn fork(&mut self, _: &Sequence, _: &Submission) -> Result<Sequence, Failure> {
        Err(never())
    }

    fn logprobs(&mut self, _: &mut Sequence) -> Result<Option<Logprobs>, Failure> {
        Ok(None)
    }

    fn begin_text(&mut self, tokens: &[TokenId], _: Pooling) -> Result<Vec<TokenId>, Failure> {
        Ok(tokens.to_vec())
    }

    fn embed(&mut self, text: &mut Vec<TokenId>) -> Result<Option<Vec<f32>>, Failure> {
        match text[0] {
            66 => Err(Failure::new(FailureKind::Internal, "sixty-six")),
            _ => Ok(Some(vec![text.len() as f32])),
        }
    }

    fn memory(&self) -> Memory {
        Memory::default()
    }
}

fn never() -> Failure {
    Failure::new(FailureKind::Internal, "no test does this")
}

/// A prompt of so many 1s behind so many 7s, which is answered for long.
fn prompt(sequence: u64, kept: usize, rest: usize, priority: Priority) -> Command {
    let prompt = [vec![7; kept], vec![1; rest]].concat();
    Command::Submit(Work::Generate(Submission::greedy(SequenceId(sequence), &prompt, 100)), priority)
}

fn texts(sequence: u64, lengths: &[usize]) -> Command {
    let inputs = lengths.iter().map(|length| vec![5; *length]).collect();
    Command::Submit(Work::Embed(Embedding { sequence: SequenceId(sequence), inputs, pooling: Pooling::Last }), Normal)
}

/// What each of the first turns tells of work that came before them.
fn turns(count: usize, commands: Vec<Command>) -> Vec<String> {
    let (_open, arrived) = sync_channel(1);
    let events = io::BufWriter::new(Vec::new());
    let mut engine = Engine { backend: Tens, commands: arrived, events, tasks: Vec::new(), held: 0 };
    for command in commands {
        engine.take(command).unwrap();
    }
    let one = |_| {
        assert!(engine.turn().unwrap());
        engine.events.flush().unwrap();
        let written = std::mem::take(engine.events.get_mut());
        let mut rest = written.as_slice();
        let events = std::iter::from_fn(|| frame::read::<Event>(&mut rest).unwrap());
        events.filter_map(|event| told(&event)).collect::<Vec<_>>().join(" ")
    };
    (0..count).map(one).collect()
}

fn told(event: &Event) -> Option<String> {
    match event {
        Event::Prefill { sequence, done, total } => Some(format!("{}:{done}/{total}", sequence.0)),
        Event::Token { sequence, .. } => Some(format!("{}:token", sequence.0)),
        Event::Vector { sequence, vector } => Some(format!("{}:vector{}", sequence.0, vector[0])),
        Event::Failed { sequence, .. } => Some(format!("{}:failed", sequence.0)),
        Event::Finished(finished) => Some(format!("{}:finished", finished.sequence.0)),
        _ => None,
    }
}

#[test]
fn short_prompts_that_came_at_once_have_their_first_tokens_in_one_turn() {
    let commands = vec![prompt(1, 0, 4, Normal), prompt(2, 0, 4, Normal), prompt(3, 0, 5, Normal)];
    assert_eq!(turns(1, commands), ["1:3/4 2:3/4 3:4/5 1:token 2:token 3:token"]);
}

#[test]
fn a_prompt_that_does_not_fit_comes_first_in_the_next_turn() {
    let commands = vec![prompt(1, 0, 4, Normal), prompt(2, 0, 16, Normal), prompt(3, 0, 4, Normal)];
    let expected = ["1:3/4 1:token", "2:10/16 1:token", "2:15/16 3:3/4 1:token 2:token 3:token"];
    assert_eq!(turns(3, commands), expected);
}

#[test]
fn of_a_prompt_that_was_kept_only_what_is_computed_counts() {
    let commands = vec![prompt(1, 500, 5, Normal), prompt(2, 500, 5, Normal), prompt(3, 0, 1, Normal)];
    assert_eq!(turns(1, commands), ["1:504/505 2:504/505 1:token 2:token 3:token"]);
}

#[test]
fn an_urgent_prompt_has_its_first_token_before_others_go_on() {
    let commands = vec![prompt(1, 0, 2, Background), prompt(2, 0, 2, Normal), prompt(3, 0, 2, Interactive)];
    let expected = ["3:1/2 3:token", "2:1/2 2:token 3:token", "1:1/2 1:token 2:token 3:token"];
    assert_eq!(turns(3, commands), expected);
}

#[test]
fn a_prompt_that_fails_leaves_the_rest_of_the_turn_to_others() {
    let failing = Submission::greedy(SequenceId(1), &[66, 1], 9);
    let commands = vec![Command::Submit(Work::Generate(failing), Normal), prompt(2, 0, 4, Normal)];
    assert_eq!(turns(1, commands), ["1:failed 2:3/4 2:token"]);
}

#[test]
fn texts_are_computed_several_in_a_turn_too_and_beside_prompts() {
    let commands = vec![texts(1, &[3, 3, 4, 2]), prompt(2, 0, 5, Normal)];
    let expected = ["1:vector3 1:vector3 1:vector4", "1:vector2 1:finished 2:4/5 2:token"];
    assert_eq!(turns(2, commands), expected);
}
