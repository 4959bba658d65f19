//! Who answers: one interface over the engine of this daemon and over servers, and the registry that decides who is asked.
//!
//! In reading order: `settings` reads `providers.toml`, `keys` finds keys, `resolve` decides whom a request means,
//! `answer` asks one after the other, and `local` and `server` are those who are asked. [`Registry`] holds them together.

mod answer;
mod edit;
mod keys;
mod local;
mod registry;
mod resolve;
mod server;
mod settings;
mod whole;

use std::pin::Pin;

use engine::SequenceId;
use futures_util::Stream as Events;
use jsonrpsee::core::async_trait;
use protocol::{EmbeddingsRequest, EmbeddingsResult, ErrorData, GenerateEvent, ModelId, ProviderId};

pub use answer::Answer;
pub use keys::Keys;
pub use local::Local;
pub use registry::{Policy, Registry};
pub use settings::is_loopback;

use crate::app::App;
use crate::generation::Asked;

/// What a provider tells of one answer: `queued` first, `finished` or `failed` last. Dropping it cancels the request.
pub type Stream = Pin<Box<dyn Events<Item = GenerateEvent> + Send>>;

/// One who answers.
#[async_trait]
pub trait Provider: std::fmt::Debug + Send + Sync {
    /// Its name in requests.
    fn id(&self) -> ProviderId;

    /// What is known of it without asking it, but for its models.
    fn describe(&self) -> protocol::Provider;

    /// What it told last when it was asked for its models; `None` where it was not.
    fn known_models(&self) -> Option<Vec<ModelId>>;

    /// Asks it what it has.
    async fn models(&self) -> Result<Vec<ModelId>, ErrorData>;

    /// Asks it to answer, by the model named or by its own choice.
    async fn start(&self, sequence: SequenceId, asked: Asked, model: Option<ModelId>) -> Result<Stream, ErrorData>;

    /// Asks it for vectors on behalf of an app.
    async fn embed(
        &self,
        sequence: SequenceId,
        request: EmbeddingsRequest,
        model: Option<ModelId>,
        app: App,
    ) -> Result<EmbeddingsResult, ErrorData>;
}
