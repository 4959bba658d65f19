//! What `generate`, `run` and `chat` do alike: options and files become a request, and its events go to the screen.
//!
//! Called by [`super::generate`], [`super::run`] and [`super::chat`].

use std::io::IsTerminal;
use std::time::Duration;

use protocol::{GenerateEvent, GenerateRequest, Kind, ModelId, Priority, ProviderId};
use talkiectl::{Client, Retry};

use super::screen::Screen;
use super::suggest::{advised, hinted};
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
        priority: asked.turn.priority.unwrap_or_else(usual),
        queue_timeout_ms: asked.turn.queue_timeout.map(ms),
        deadline_ms: asked.turn.deadline.map(ms),
        ..GenerateRequest::default()
    };
    match request.options.problem() {
        Some(message) => Err(Failure::Usage { message, hint: "`talkiectl help generate` lists the options" }),
        None => Ok(request),
    }
}

/// How urgent it is where nothing is said: at a terminal somebody waits for it.
fn usual() -> Priority {
    if std::io::stdout().is_terminal() { Priority::Interactive } else { Priority::Normal }
}

fn ms(time: Duration) -> u64 {
    time.as_millis() as u64
}

/// Asks and shows the answer.
pub async fn ask(session: &Session, request: &GenerateRequest, screen: &mut Screen) -> Result<(), Failure> {
    let (client, shown) = answered(session, request, screen).await?;
    if matches!(shown, Err(Failure::Client(_) | Failure::Cancelled)) {
        screen.close_line().await?;
    }
    match &request.model {
        Some(model) => advised(&client, &model.0, shown).await,
        None => hinted(shown, "`-m ID` chooses a model; `talkiectl help generate` has the other options"),
    }
}

/// Asks, and asks again where the daemon ends before anything of the answer has come: one that is started anew answers.
async fn answered(
    session: &Session,
    request: &GenerateRequest,
    screen: &mut Screen,
) -> Result<(Client, Result<(), Failure>), Failure> {
    let mut retry = Retry::default();
    loop {
        let outcome = match session.connect_or_start().await {
            Ok(client) => {
                let shown = show(&client, request, screen).await;
                Ok((client, shown))
            }
            Err(failure) => Err(failure),
        };
        match &outcome {
            Ok((_, Err(Failure::Client(error)))) | Err(Failure::Client(error)) if !screen.has_begun() => {
                screen.progress.show("waiting for talkied, which is started anew");
                let again = retry.again(error).await;
                screen.progress.clear();
                if !again {
                    return outcome;
                }
            }
            _ => return outcome,
        }
    }
}

async fn show(client: &Client, request: &GenerateRequest, screen: &mut Screen) -> Result<(), Failure> {
    let mut answer = client.generate(request).await?;
    while let Some(event) = answer.next().await? {
        match &event.event {
            // It may be tried again, and is an error all the same where it is not.
            Some(GenerateEvent::Failed { error }) if error.kind == Kind::ShuttingDown && !screen.has_begun() => {}
            _ => screen.raw(event.json.get()).await?,
        }
        if let Some(event) = event.event {
            screen.take(event).await?;
        }
    }
    Ok(())
}
