//! Answers as their makers publish them; `recorded/README.md` says where each is from.

use cloud::{Error, Piece, Reason};
use protocol::Usage;

use crate::server::{Reply, Server};
use crate::{answer, call, gemini, openai, text};

fn playing(recorded: &'static str) -> Server {
    Server::start(move |_| Reply::stream(recorded))
}

/// Names of the tools that are called, with their arguments.
fn calls(pieces: &[Piece]) -> Vec<(String, String)> {
    let mut calls: Vec<(String, String)> = Vec::new();
    for piece in pieces {
        match piece {
            Piece::ToolCall { name, .. } => calls.push((name.clone(), String::new())),
            Piece::ToolArguments { index, text } => calls[*index as usize].1.push_str(text),
            Piece::Text(_) | Piece::Reasoning(_) | Piece::Finished { .. } => {}
        }
    }
    calls
}

fn end(pieces: &[Piece]) -> (&Reason, Usage) {
    match pieces.last() {
        Some(Piece::Finished { reason, usage }) => (reason, *usage),
        other => panic!("{other:?} is no end"),
    }
}

#[tokio::test]
async fn openais() {
    let server = playing(include_str!("../recorded/openai-text.sse"));
    let pieces = answer(&openai(&server), &call("x")).await.unwrap();
    assert_eq!(text(&pieces), "Hello");
    assert_eq!(end(&pieces), (&Reason::Stop, Usage { prompt_tokens: 9, completion_tokens: 1, ..Usage::default() }));
    let server = playing(include_str!("../recorded/openai-tools.sse"));
    let pieces = answer(&openai(&server), &call("x")).await.unwrap();
    assert_eq!(calls(&pieces), [("get_weather".to_owned(), "{\"city\":\"Köln\"}".to_owned())]);
    assert_eq!(end(&pieces).0, &Reason::ToolCalls);
}

#[tokio::test]
async fn geminis() {
    let server = playing(include_str!("../recorded/gemini-text.sse"));
    let pieces = answer(&gemini(&server), &call("x")).await.unwrap();
    assert_eq!(text(&pieces), "The capital of Wyoming is **Cheyenne**.\n");
    assert_eq!(end(&pieces), (&Reason::Stop, Usage { prompt_tokens: 7, completion_tokens: 10, ..Usage::default() }));
    let server = playing(include_str!("../recorded/gemini-tools.sse"));
    let pieces = answer(&gemini(&server), &call("x")).await.unwrap();
    assert!(matches!(&pieces[0], Piece::Reasoning(text) if text.starts_with("**Calculating the Days**")));
    assert_eq!(calls(&pieces), [("now".to_owned(), "{}".to_owned())]);
    assert_eq!(end(&pieces).0, &Reason::ToolCalls);
    let server = playing(include_str!("../recorded/gemini-blocked.sse"));
    let pieces = answer(&gemini(&server), &call("x")).await.unwrap();
    assert_eq!(end(&pieces).0, &Reason::Blocked("the prompt: SAFETY".into()));
    let refused = Server::start(|_| Reply {
        status: 400,
        headers: "content-type: application/json\r\n".into(),
        ..Reply::stream(include_str!("../recorded/gemini-key.json"))
    });
    assert!(matches!(answer(&gemini(&refused), &call("x")).await, Err(Error::KeyRefused(_))));
}
