//! `generate` and `cancel`: a prompt goes out, text comes back piece by piece.

use protocol::rpc::GenerateClient;
use protocol::{CancelRequest, GenerateRequest, RequestId};

use super::screen::{Screen, Shown};
use super::{Session, prompt, request, tools};
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
    let Generate { prompt, asked, tools, draws } = generate;
    let mut screen = Screen::new(session, Shown::of(&asked));
    let request = GenerateRequest {
        tool_choice: tools.choice(),
        tools: tools::read(tools.file.as_deref())?,
        ..request::of(asked, &draws)?
    };
    let prompt = Some(prompt::read(prompt, &mut screen.progress).await?);
    request::ask(session, &GenerateRequest { prompt, ..request }, &mut screen).await
}
