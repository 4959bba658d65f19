//! `generate` and `cancel`: a prompt goes out, text comes back piece by piece.

use std::borrow::Cow;
use std::io::{IsTerminal, Read};
use std::os::fd::AsFd;

use protocol::rpc::GenerateClient;
use protocol::{
    CancelRequest, FinishReason, GenerateEvent, GenerateRequest, MAX_MESSAGE_BYTES, ModelId, RequestId, Timings, Usage,
};
use rustix::fs::FileType;
use talkiectl::{Answer, Error};
use tokio::io::{AsyncWriteExt, Stdout};

use super::Session;
use crate::cli::Generate;
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
    let mut screen = Screen::new(session, generate.stats);
    let request = GenerateRequest {
        options: generate.options(),
        prompt: Some(prompt(generate.prompt, &mut screen.progress).await?),
        model: generate.model.map(ModelId),
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
        if screen.form == Form::Json {
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
    form: Form,
    quiet: bool,
    stats: bool,
    /// Whether the last character written left the line open.
    is_line_open: bool,
    model: String,
    seed: u64,
}

/// How the answer is written.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    /// Events as they came.
    Json,
    /// The text as it is.
    Text,
    /// On a terminal, which would obey control characters of the model.
    Printable,
}

impl Screen {
    fn new(session: &Session, stats: bool) -> Self {
        Self {
            stdout: tokio::io::stdout(),
            progress: Progress::new(session.quiet || session.json),
            form: match session.json {
                true => Form::Json,
                false if std::io::stdout().is_terminal() => Form::Printable,
                false => Form::Text,
            },
            quiet: session.quiet || session.json,
            stats: stats && !session.json,
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
        let text = match self.form {
            Form::Json => return Ok(()),
            Form::Text => Cow::Borrowed(text),
            Form::Printable => render::printable_lines(text).into(),
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
        if self.stats {
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

/// The prompt: the argument, standard input for `-` or without an argument, or the argument, a blank line and what
/// is piped in.
async fn prompt(argument: Option<String>, progress: &mut Progress) -> Result<String, Failure> {
    let stdin = std::io::stdin();
    let piped = match &argument {
        Some(argument) if argument == "-" => true,
        Some(_) => is_content(&stdin),
        None if stdin.is_terminal() => return Err(empty_prompt()),
        None => true,
    };
    let input = if piped { wait_for_stdin(progress).await? } else { String::new() };
    let parts = [argument.filter(|argument| argument != "-").unwrap_or_default(), input];
    let parts: Vec<&str> = parts.iter().map(|part| part.trim_end_matches(['\r', '\n'])).collect();
    let parts: Vec<&str> = parts.into_iter().filter(|part| !part.trim().is_empty()).collect();
    if parts.is_empty() { Err(empty_prompt()) } else { Ok(parts.join("\n\n")) }
}

async fn wait_for_stdin(progress: &mut Progress) -> Result<String, Failure> {
    progress.show("reading standard input");
    // On a thread of its own, because Ctrl-C must end the wait.
    let text = tokio::task::spawn_blocking(read_stdin).await.expect("reading does not panic");
    progress.clear();
    text
}

fn empty_prompt() -> Failure {
    Failure::Usage {
        message: "the prompt is empty".into(),
        hint: "give it as an argument, or pipe it in: talkiectl generate \"Name three rivers\"",
    }
}

/// Whether standard input holds something meant for the prompt: a pipe or a file. Anything else (a terminal,
/// `/dev/null`, the socket of a service) may never end, and is not read beside an argument.
fn is_content(stdin: &impl AsFd) -> bool {
    rustix::fs::fstat(stdin)
        .is_ok_and(|stat| matches!(FileType::from_raw_mode(stat.st_mode), FileType::Fifo | FileType::RegularFile))
}

fn read_stdin() -> Result<String, Failure> {
    let usage = |message: String| Failure::Usage { message, hint: "pipe in plain text, encoded as UTF-8" };
    let mut bytes = Vec::new();
    let read = std::io::stdin().lock().take(MAX_MESSAGE_BYTES as u64 + 1).read_to_end(&mut bytes);
    read.map_err(|error| usage(format!("failed to read standard input: {error}")))?;
    if bytes.len() > MAX_MESSAGE_BYTES {
        return Err(usage(format!("standard input has more than {MAX_MESSAGE_BYTES} bytes")));
    }
    String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        usage(format!("standard input is not UTF-8 text: the byte at {at} is not"))
    })
}
