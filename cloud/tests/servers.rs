//! Clients against servers by script: what is sent, and every fault that a server can have.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says so and fails")]

#[path = "../../tests/tests/providers/server.rs"]
mod server;

#[path = "servers/asked.rs"]
mod asked;
#[path = "servers/faults.rs"]
mod faults;
#[path = "servers/recorded.rs"]
mod recorded;

use std::collections::BTreeMap;
use std::time::Duration;

use cloud::{Call, Client, Endpoint, Error, Patience, Piece};
use protocol::{GenerationOptions, Message, Reasoning, Role, ToolChoice};
use server::Server;

const KEY: &str = "sk-very-secret-0815";

fn endpoint(url: String) -> Endpoint {
    let patience = Patience { first: Duration::from_secs(20), next: Duration::from_secs(20) };
    Endpoint { base_url: url, key: Some(KEY.into()), headers: BTreeMap::new(), is_local: true, patience }
}

fn openai(server: &Server) -> Client {
    Client::openai(endpoint(server.url())).unwrap()
}

fn gemini(server: &Server) -> Client {
    Client::gemini(endpoint(server.url())).unwrap()
}

fn call(prompt: &str) -> Call {
    Call {
        model: "m".into(),
        messages: vec![Message::new(Role::User, prompt)],
        options: GenerationOptions::default(),
        tools: Vec::new(),
        tool_choice: ToolChoice::Auto,
        reasoning: Reasoning::Auto,
        response_format: None,
    }
}

/// All pieces of an answer, or the error that ends it.
async fn answer(client: &Client, call: &Call) -> Result<Vec<Piece>, Error> {
    let mut stream = client.generate(call).await?;
    let mut pieces = Vec::new();
    while let Some(piece) = stream.next().await {
        pieces.push(piece?);
    }
    Ok(pieces)
}

fn text(pieces: &[Piece]) -> String {
    let text = |piece: &Piece| if let Piece::Text(text) = piece { Some(text.clone()) } else { None };
    pieces.iter().filter_map(text).collect()
}
