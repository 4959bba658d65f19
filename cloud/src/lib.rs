//! Clients of servers that answer: Google's Gemini, and whatever speaks `OpenAI`'s API.
//!
//! A [`Client`] takes a [`Call`] and gives a [`Stream`] of [`Piece`]s. In reading order: `openai` and `gemini` write
//! requests and read events, each in its own words; `http` sends, repeats and bounds; `sse` takes a body apart; `error`
//! says what can go wrong. Nothing here knows the daemon.
//!
//! What a server cannot do is refused before anything is sent. Keys stand in headers alone, are shown nowhere, and never
//! follow a redirect, for none is followed.

mod arguments;
mod error;
mod gemini;
mod http;
mod openai;
mod refuse;
mod sse;
mod stream;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use protocol::{GenerationOptions, Message, Reasoning, ResponseFormat, Tool, ToolChoice};
use secrecy::SecretString;

pub use error::Error;
use http::Http;
pub use http::words;
pub use stream::{Piece, Reason, Stream};

/// Where a server is and how it is asked.
#[derive(Debug, Clone)]
pub struct Endpoint {
    /// `http` or `https`, with the path that all others begin with.
    pub base_url: String,
    /// What it knows this user by.
    pub key: Option<SecretString>,
    /// More headers of each request.
    pub headers: BTreeMap<String, String>,
    /// Whether it is on this machine, so that no proxy is asked.
    pub is_local: bool,
    /// How long it may be silent.
    pub patience: Patience,
}

/// How long a server may be silent.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// While it works on a prompt, before it says anything.
    pub first: Duration,
    /// Afterwards.
    pub next: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self { first: Duration::from_mins(5), next: Duration::from_mins(1) }
    }
}

/// What is asked.
#[derive(Debug, Clone)]
pub struct Call {
    /// The server's name of the model.
    pub model: String,
    /// The conversation; each call of a tool in it has an id, and each answer the name of its tool.
    pub messages: Vec<Message>,
    /// How to generate.
    pub options: GenerationOptions,
    /// What the model may call.
    pub tools: Vec<Tool>,
    /// Whether it does.
    pub tool_choice: ToolChoice,
    /// Whether it may reason first.
    pub reasoning: Reasoning,
    /// What the answer must match.
    pub response_format: Option<ResponseFormat>,
}

/// Vectors of texts.
#[derive(Debug, Clone, PartialEq)]
pub struct Vectors {
    /// In the order of the texts.
    pub vectors: Vec<Vec<f32>>,
    /// Tokens of all texts; 0 where the server does not tell.
    pub prompt_tokens: u32,
}

/// One server.
#[derive(Debug)]
pub struct Client {
    http: Http,
    speaks: Api,
    /// Of Gemini's calls; others have none.
    signatures: Arc<gemini::Signatures>,
}

/// What a server speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Api {
    Gemini,
    Openai,
}

impl Client {
    /// A server that speaks Gemini's API.
    pub fn gemini(endpoint: Endpoint) -> Result<Self, Error> {
        Ok(Self { http: Http::new(endpoint, gemini::key_header)?, speaks: Api::Gemini, signatures: Arc::default() })
    }

    /// A server that speaks `OpenAI`'s API.
    pub fn openai(endpoint: Endpoint) -> Result<Self, Error> {
        Ok(Self { http: Http::new(endpoint, openai::key_header)?, speaks: Api::Openai, signatures: Arc::default() })
    }

    /// Asks for an answer. Returns when the server has begun it; dropping the future or the stream closes the connection.
    pub async fn generate(&self, call: &Call) -> Result<Stream, Error> {
        match self.speaks {
            Api::Gemini => gemini::generate(&self.http, &self.signatures, call).await,
            Api::Openai => openai::generate(&self.http, call).await,
        }
    }

    /// Makes a vector of each text, of whatever length the server makes them.
    pub async fn embed(&self, model: &str, texts: &[String]) -> Result<Vectors, Error> {
        match self.speaks {
            Api::Gemini => gemini::embed(&self.http, model, texts).await,
            Api::Openai => openai::embed(&self.http, model, texts).await,
        }
    }

    /// The names of its models.
    pub async fn models(&self) -> Result<Vec<String>, Error> {
        match self.speaks {
            Api::Gemini => gemini::models(&self.http).await,
            Api::Openai => openai::models(&self.http).await,
        }
    }
}
