//! The engine computes what mlx-lm computes.

use engine::backend::{Backend, Pace, Step};
use engine::{Load, SequenceId, Submission, TokenId};
use protocol::Message;
use serde_json::json;
use talkied::text::TextModel;
use talkied_mlx::Mlx;

use crate::model;
use crate::reference::{Answer, TOKENS, conversations, reference};

/// Largest difference of a logit that two ways of adding the same numbers up may have.
const TOLERANCE: f32 = 1e-3;

#[test]
fn an_import_changes_no_weight() {
    assert_eq!(reference().differing, [] as [&str; 0]);
}

#[test]
fn a_model_imported_whole_makes_sense() {
    // Should import and reference ever be wrong alike, this is not what they would say.
    let sea = &reference().answers[0].text;
    assert!(sea.starts_with("The sea is a vast and mysterious realm"), "{sea}");
}

#[test]
fn conversations_become_the_same_tokens() {
    let text = TextModel::open(model::folder()).unwrap();
    let conversations: Vec<Vec<Message>> = serde_json::from_value(conversations()).unwrap();
    for (conversation, answer) in conversations.iter().zip(&reference().answers) {
        assert_eq!(text.encode_chat(conversation, None).unwrap(), answer.prompt, "{conversation:?}");
    }
}

#[test]
fn the_likeliest_tokens_and_the_logits_are_the_same() {
    let mut mlx = Mlx::new();
    mlx.load(&Load::new(model::folder().to_path_buf()), &mut |_, _| {}).unwrap();
    let answers = &reference().answers;
    for (place, answer) in answers.iter().enumerate() {
        assert_eq!(greedy(&mut mlx, answer), answer.tokens, "conversation {place}");
    }
    let whole = |answer: &Answer| [answer.prompt.as_slice(), &answer.tokens].concat();
    for (ids, theirs) in [
        (answers[0].prompt.clone(), &answers[0].logits),
        (answers[3].prompt.clone(), &answers[3].logits),
        (whole(&answers[0]), &answers[0].last_logits),
        (whole(&answers[2]), &answers[2].last_logits),
    ] {
        let difference = difference(&mlx.logits(&ids).unwrap(), theirs);
        eprintln!("after {} tokens: largest difference of a logit {difference:.1e}", ids.len());
        assert!(difference < TOLERANCE, "after {} tokens: {difference}", ids.len());
    }
}

/// Those that end soon: the engine's part of the others is compared without a daemon.
#[test]
fn answers_over_the_socket_are_the_same() {
    let daemon = model::daemon();
    let mut connection = daemon.connect();
    let conversations = conversations();
    let all = conversations.as_array().unwrap().iter().zip(&reference().answers);
    let ended: Vec<_> = all.filter(|(_, answer)| answer.ended).collect();
    assert!(ended.len() > 2, "the model ends its answers");
    for (messages, answer) in ended {
        let options = json!({ "temperature": 0, "max_tokens": TOKENS });
        let request = json!({ "messages": messages, "options": options });
        let result = connection.call("generate.text", request).unwrap();
        assert_eq!((&result["text"], &result["finish_reason"]), (&json!(answer.text), &json!("stop")));
        assert_eq!(result["usage"]["prompt_tokens"], answer.prompt.len());
    }
}

fn greedy(mlx: &mut Mlx, answer: &Answer) -> Vec<TokenId> {
    let mut sequence = mlx.begin(&Submission::greedy(SequenceId(1), &answer.prompt, TOKENS)).unwrap();
    let mut tokens = Vec::new();
    while tokens.len() < TOKENS as usize {
        if let Step::Token(token) = mlx.step(&mut sequence, Pace::Alone).unwrap() {
            tokens.push(token);
        }
    }
    tokens
}

fn difference(ours: &[f32], theirs: &[f32]) -> f32 {
    assert_eq!(ours.len(), theirs.len());
    // A NaN must not pass as no difference.
    let differences = ours.iter().zip(theirs).map(|(a, b)| (a - b).abs());
    differences.fold(0.0, |largest, next| if next > largest || next.is_nan() { next } else { largest })
}
