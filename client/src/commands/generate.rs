//! `generate` and `cancel`: a prompt goes out, text comes back piece by piece.

use protocol::rpc::GenerateClient;
use protocol::{CancelRequest, GenerateRequest, ModelId, ProviderId, RequestId};
use talkiectl::Answer;

use super::screen::Screen;
use super::suggest::advised;
use super::{Session, format, prompt, tools};
use crate::cli::Generate;
use crate::failure::Failure;
use crate::render;

pub async fn cancel(session: &Session, request_id: String) -> Result<(), Failure> {
    let client = session.connect().await?;
    let cancelled = client.cancel(CancelRequest { request_id: RequestId(request_id.clone()) }).await?;
    if !cancelled.cancelled {
        let message = format!("no request {request_id} waits or runs");
        return Err(Failure::NotFound { message, hint: "`talkiectl ps` lists those that do" });
    }
    session.print(&cancelled, |_, _| format!("{} is cancelled\n", render::printable(&request_id)))
}

pub async fn generate(session: &Session, generate: Generate) -> Result<(), Failure> {
    let mut screen = Screen::new(session, &generate);
    let request = GenerateRequest {
        options: generate.options(),
        tools: tools::read(generate.tools.file.as_deref())?,
        tool_choice: generate.tools.choice(),
        reasoning: generate.tools.reasoning(),
        prompt: Some(prompt::read(generate.prompt, &mut screen.progress).await?),
        model: generate.model.map(ModelId),
        provider: generate.provider.map(ProviderId),
        tier: generate.tier,
        fallback: generate.fallback,
        response_format: format::read(generate.format)?,
        keep_alive: generate.keep_alive,
        trace_id: generate.trace_id,
        ..GenerateRequest::default()
    };
    if let Some(message) = request.options.problem() {
        return Err(Failure::Usage { message, hint: "`talkiectl help generate` lists the options" });
    }
    let client = session.connect_or_start().await?;
    let shown = match client.generate(&request).await {
        Ok(answer) => show(answer, &mut screen).await,
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
