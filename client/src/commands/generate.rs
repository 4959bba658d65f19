//! `generate` and `cancel`: a prompt goes out, text comes back piece by piece.

use std::borrow::Cow;
use std::io::IsTerminal;

use protocol::rpc::GenerateClient;
use protocol::{CancelRequest, FinishReason, GenerateEvent, GenerateRequest, ModelId, RequestId, Timings, Usage};
use talkiectl::{Answer, Error};
use tokio::io::{AsyncWriteExt, Stdout};

use super::{Session, format, prompt};
use crate::cli::{Form, Generate};
use crate::failure::Failure;
use crate::progress::Progress;
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
    let mut screen = Screen { stats: generate.stats, ..Screen::new(session) };
    let request = GenerateRequest {
        options: generate.options(),
        prompt: Some(prompt::read(generate.prompt, &mut screen.progress).await?),
        model: generate.model.map(ModelId),
        response_format: format::read(generate.format)?,
        keep_alive: generate.keep_alive,
        trace_id: generate.trace_id,
        ..GenerateRequest::default()
    };
    if let Some(message) = request.options.problem() {
        return Err(Failure::Usage { message, hint: "`talkiectl help generate` lists the options" });
    }
    let client = session.connect_or_start().await?;
    let shown = show(client.generate(&request).await?, &mut screen).await;
    if matches!(shown, Err(Failure::Client(_) | Failure::Cancelled)) {
        screen.close_line().await?;
    }
    shown
}

async fn show(mut answer: Answer<'_>, screen: &mut Screen) -> Result<(), Failure> {
    while let Some(event) = answer.next().await? {
        if screen.target == Target::Json {
            screen.line(event.json.get()).await?;
        }
        if let Some(event) = event.event {
            screen.take(event).await?;
        }
    }
    Ok(())
}

/// Where the events of one answer go: text to standard output, everything else to standard error.
struct Screen {
    /// Written by a thread of its own, so that a slow pager does not stop the reading of the socket.
    stdout: Stdout,
    progress: Progress,
    target: Target,
    quiet: bool,
    stats: bool,
    /// Whether the last character written left the line open.
    is_line_open: bool,
    model: String,
    seed: u64,
}

/// How the answer is written.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Target {
    /// Events as they came.
    Json,
    /// The text as it is.
    Text,
    /// On a terminal, which would obey control characters of the model.
    Terminal,
}

impl Screen {
    fn new(session: &Session) -> Self {
        Self {
            stdout: tokio::io::stdout(),
            progress: session.progress(),
            target: match session.form {
                Form::Json => Target::Json,
                Form::Words if std::io::stdout().is_terminal() => Target::Terminal,
                Form::Words => Target::Text,
            },
            quiet: session.quiet || session.form == Form::Json,
            stats: false,
            is_line_open: false,
            model: String::new(),
            seed: 0,
        }
    }

    async fn take(&mut self, event: GenerateEvent) -> Result<(), Failure> {
        match event {
            GenerateEvent::Queued { model, position, .. } => {
                self.model = model.0;
                self.progress.show(&waiting(position));
            }
            GenerateEvent::Loading { done_bytes, total_bytes } => {
                let share = done_bytes as f64 / total_bytes.max(1) as f64;
                self.progress.show(&format!("loading {} {}", self.model, render::percent(share)));
            }
            GenerateEvent::Started { seed, prompt_tokens } => {
                self.seed = seed;
                self.progress.show(&format!("reading {prompt_tokens} tokens"));
            }
            GenerateEvent::Text { text } => self.text(&text).await?,
            // Asked for only together with JSON, which has been written.
            GenerateEvent::Logprobs(_) => {}
            GenerateEvent::Finished { finish_reason, usage, timings } => {
                self.close_line().await?;
                return self.finished(finish_reason, usage, &timings);
            }
            GenerateEvent::Failed { error } => return Err(Error::rpc(error.kind.code(), "", Some(error)).into()),
        }
        Ok(())
    }

    async fn text(&mut self, text: &str) -> Result<(), Failure> {
        self.progress.clear();
        let text = match self.target {
            Target::Json => return Ok(()),
            Target::Text => Cow::Borrowed(text),
            Target::Terminal => render::printable_lines(text).into(),
        };
        self.is_line_open = !text.ends_with('\n');
        self.write(&text).await
    }

    async fn line(&mut self, line: &str) -> Result<(), Failure> {
        self.write(&format!("{line}\n")).await
    }

    /// Ends the answer's last line, also before an error message follows.
    async fn close_line(&mut self) -> Result<(), Failure> {
        self.progress.clear();
        if std::mem::take(&mut self.is_line_open) { self.write("\n").await } else { Ok(()) }
    }

    async fn write(&mut self, text: &str) -> Result<(), Failure> {
        self.stdout.write_all(text.as_bytes()).await.map_err(Failure::Output)?;
        self.stdout.flush().await.map_err(Failure::Output)
    }

    fn finished(&self, reason: FinishReason, usage: Usage, timings: &Timings) -> Result<(), Failure> {
        if self.stats && self.target != Target::Json {
            render::to_stderr(&render::daemon::stats(usage, timings, self.seed));
        }
        match reason {
            FinishReason::Cancelled => return Err(Failure::Cancelled),
            FinishReason::Length if !self.quiet => {
                render::to_stderr(&format!("note: cut at {} tokens, see --max-tokens\n", usage.completion_tokens));
            }
            FinishReason::Length | FinishReason::Stop => {}
        }
        Ok(())
    }
}

fn waiting(position: u32) -> String {
    if position == 0 { "waiting for the model".into() } else { format!("waiting, {position} before you") }
}
