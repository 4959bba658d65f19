//! A system prompt that several conversations share is computed once, and answers stay what they are.

use std::fmt::Write;
use std::time::{Duration, Instant};

use engine::backend::{Backend, Pace, Step};
use engine::{Load, SequenceId, Submission, TokenId};
use protocol::Message;
use serde_json::json;
use talkied::text::TextModel;
use talkied_mlx::Mlx;

use crate::model;

/// Room for more than these tests compute.
const MUCH: u64 = 1 << 30;

/// The engine with the model.
fn loaded(prefix_bytes: u64) -> Mlx {
    let mut mlx = Mlx::new();
    let load = Load { prefix_bytes, ..Load::new(model::folder().to_path_buf()) };
    mlx.load(&load, &mut |_, _| {}).unwrap();
    mlx
}

/// A conversation of at least `least` tokens before its question.
fn conversation(text: &TextModel, least: usize, question: &str) -> Vec<TokenId> {
    let mut system = String::from("You answer in one short sentence.");
    let mut day = 0;
    while text.encode_part(&system).unwrap().len() < least {
        day += 1;
        write!(system, " On day {day} the keeper climbed the stairs, lit the lamp and counted the passing ships.")
            .unwrap();
    }
    let messages = json!([{ "role": "system", "content": system }, { "role": "user", "content": question }]);
    let messages: Vec<Message> = serde_json::from_value(messages).unwrap();
    text.encode_chat(&messages, None).unwrap()
}

/// Prompt tokens that were kept, tokens of the answer, and the time to the first of them.
fn answer(mlx: &mut Mlx, prompt: &[TokenId], count: usize) -> (usize, Vec<TokenId>, Duration) {
    let begun = Instant::now();
    let mut sequence = mlx.begin(&Submission::greedy(SequenceId(1), prompt, count as u32)).unwrap();
    let kept = mlx.computed(&sequence) as usize;
    let mut tokens = Vec::new();
    let mut first = Duration::ZERO;
    while tokens.len() < count {
        if let Step::Token(token) = mlx.step(&mut sequence, Pace::Alone).unwrap() {
            if tokens.is_empty() {
                first = begun.elapsed();
            }
            tokens.push(token);
        }
    }
    (kept, tokens, first)
}

#[test]
fn a_shared_system_prompt_is_computed_once_and_changes_no_answer() {
    let text = TextModel::open(model::folder()).unwrap();
    let [mut cold, mut warm] = [0, MUCH].map(loaded);
    // Whole chunks of 64 in all of the system's part; the question has fewer tokens.
    for (question, shared) in [("Where is the lamp?", 0), ("What is the capital of France?", 512)] {
        let prompt = conversation(&text, 500, question);
        let (kept, tokens, soon) = answer(&mut warm, &prompt, 16);
        let (_, expected, late) = answer(&mut cold, &prompt, 16);
        assert_eq!((kept, &tokens), (shared, &expected), "{}", text.decode(&tokens));
        eprintln!("{} tokens, {kept} of them kept: the first after {soon:.1?}, else after {late:.1?}", prompt.len());
        // The next turn has all of this one.
        let next = [prompt.as_slice(), &tokens, &text.encode_part(" And then?").unwrap()].concat();
        let begun = warm.begin(&Submission::greedy(SequenceId(2), &next, 1)).unwrap();
        let all = prompt.len() + tokens.len() - 1;
        assert_eq!(warm.computed(&begun) as usize, all / 64 * 64);
    }
}
