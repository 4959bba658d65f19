//! Guesses on a real model: the same answer in fewer steps, and what of it is told over the socket.

use std::time::{Duration, Instant};

use engine::backend::{Backend, Pace, Step};
use engine::{Load, SequenceId, Speculation, Submission, TokenId};
use protocol::Message;
use serde_json::{Value, json};
use talkied::text::TextModel;
use talkied_mlx::Mlx;

use crate::model;

/// What is to be repeated.
const TEXT: &str = "The keeper of the old lighthouse climbed ninety-nine steps every evening, lit the lamp, and wrote the \
                    names of the passing ships into a green book.";

fn messages() -> Value {
    json!([{ "role": "user", "content": format!("Repeat this text word by word, and say nothing else:\n\n{TEXT}") }])
}

/// The tokens, how many of them were guessed, and the time of all after the first.
fn answer(mlx: &mut Mlx, submission: &Submission) -> (Vec<TokenId>, u32, Duration) {
    let mut sequence = mlx.begin(submission).unwrap();
    let (mut tokens, mut begun) = (Vec::new(), Instant::now());
    while tokens.len() < submission.max_tokens as usize {
        if let Step::Token(token) = mlx.step(&mut sequence, Pace::Alone).unwrap() {
            if tokens.is_empty() {
                begun = Instant::now();
            }
            tokens.push(token);
        }
    }
    (tokens, mlx.speculated(&sequence), begun.elapsed())
}

#[test]
fn a_text_is_repeated_with_guesses_as_without() {
    let text = TextModel::open(model::folder()).unwrap();
    let messages: Vec<Message> = serde_json::from_value(messages()).unwrap();
    let prompt = text.encode_chat(&messages, None).unwrap();
    let mut mlx = Mlx::new();
    mlx.load(&Load::new(model::folder().to_path_buf()), &mut |_, _| {}).unwrap();
    let off = Submission::greedy(SequenceId(1), &prompt, 40);
    let (expected, none, plain) = answer(&mut mlx, &off);
    assert_eq!(none, 0);
    for (speculation, least) in [(Speculation::Lookup, 10), (Speculation::Auto, 0)] {
        let (tokens, guessed, time) = answer(&mut mlx, &Submission { speculation, ..off.clone() });
        eprintln!("{speculation:?}: {guessed} of 40 tokens were guessed; {time:.1?}, without {plain:.1?}");
        assert_eq!(tokens, expected, "{}", text.decode(&tokens));
        assert!(guessed >= least, "{guessed}");
    }
}

#[test]
fn a_request_says_whether_to_guess_and_hears_what_came_of_it() {
    let daemon = model::daemon();
    let asked = |speculation: &str| {
        let options = json!({ "temperature": 0, "max_tokens": 32, "speculation": speculation });
        daemon.call("generate.text", json!({ "messages": messages(), "options": options })).unwrap()
    };
    let [off, lookup] = ["off", "lookup"].map(asked);
    assert_eq!(off["text"], lookup["text"]);
    assert_eq!(off["usage"]["speculated_tokens"], Value::Null);
    assert!(lookup["usage"]["speculated_tokens"].as_u64().unwrap() > 0, "{lookup}");
    assert_eq!(off["usage"]["completion_tokens"], lookup["usage"]["completion_tokens"]);
}
