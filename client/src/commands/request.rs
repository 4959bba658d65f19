//! What `generate`, `run` and `chat` do alike: options and files become a request, and its events go to the screen.
//!
//! Called by [`super::generate`], [`super::run`] and [`super::chat`].

use protocol::{GenerateRequest, ModelId, ProviderId};
use talkiectl::Answer;

use super::screen::Screen;
use super::suggest::advised;
use super::{Session, format};
use crate::cli::{Asked, Draws};
use crate::failure::Failure;

/// The request without what is asked. Reads the files that were named.
pub fn of(asked: Asked, draws: &Draws) -> Result<GenerateRequest, Failure> {
    let request = GenerateRequest {
        options: asked.options(draws),
        reasoning: asked.thought.reasoning(),
        model: asked.model.map(ModelId),
        provider: asked.provider.map(ProviderId),
        tier: asked.tier,
        fallback: asked.fallback,
        response_format: format::read(asked.format)?,
        keep_alive: asked.keep_alive,
        trace_id: asked.trace_id,
        ..GenerateRequest::default()
    };
    match request.options.problem() {
        Some(message) => Err(Failure::Usage { message, hint: "`talkiectl help generate` lists the options" }),
        None => Ok(request),
    }
}

/// Asks once and shows the answer.
pub async fn ask(session: &Session, request: &GenerateRequest, screen: &mut Screen) -> Result<(), Failure> {
    let client = session.connect_or_start().await?;
    let shown = match client.generate(request).await {
        Ok(answer) => show(answer, screen).await,
        Err(error) => Err(error.into()),
    };
    if matches!(shown, Err(Failure::Client(_) | Failure::Cancelled)) {
        screen.close_line().await?;
    }
    match &request.model {
        Some(model) => advised(&client, &model.0, shown).await,
        None => shown,
    }
}

async fn show(mut answer: Answer<'_>, screen: &mut Screen) -> Result<(), Failure> {
    while let Some(event) = answer.next().await? {
        screen.raw(event.json.get()).await?;
        if let Some(event) = event.event {
            screen.take(event).await?;
        }
    }
    Ok(())
}
