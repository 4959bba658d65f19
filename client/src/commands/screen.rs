//! Where the events of one answer go: text and calls to standard output, everything else to standard error.
//!
//! Called by [`super::request`] and [`super::chat`].

use std::io::IsTerminal;

use protocol::{FinishReason, GenerateEvent, PassedOver, ProviderId, Timings, Usage};
use talkiectl::Error;
use tokio::io::{AsyncWriteExt, Stdout};

use super::Session;
use crate::cli::{Asked, Form};
use crate::failure::Failure;
use crate::progress::Progress;
use crate::render;
use crate::render::markdown::Markdown;

/// The screen for one answer.
pub struct Screen {
    /// Written by a thread of its own, so that a slow pager does not stop the reading of the socket.
    stdout: Stdout,
    pub progress: Progress,
    target: Target,
    quiet: bool,
    stats: bool,
    /// Whether reasoning is shown.
    shows_reasoning: bool,
    line: Line,
    answer: Answer,
    model: String,
    /// How many providers are told of that do not answer.
    passed_over: usize,
    seed: Option<u64>,
}

/// How far the answer is: one that has begun must not be asked for again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answer {
    Awaited,
    Begun,
}

/// What the last line written lacks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Line {
    Whole,
    /// Its end.
    Text,
    /// A bracket and its end.
    Call,
    /// Its end, on standard error.
    Reasoning,
}

/// How the answer is written.
enum Target {
    /// Events as they came.
    Json,
    /// The text as it is.
    Text,
    /// On a terminal, which would obey control characters of the model; with Markdown shown as it is meant, or as it
    /// came.
    Terminal(Option<Markdown>),
}

/// What of an answer is shown beside its text.
#[derive(Debug, Clone, Copy)]
pub struct Shown {
    stats: bool,
    reasoning: bool,
    markdown: bool,
}

impl Shown {
    /// As was asked.
    pub fn of(asked: &Asked) -> Self {
        Self { stats: asked.stats, reasoning: !asked.thought.hide_reasoning, markdown: false }
    }

    /// With Markdown shown as it is meant, where the terminal has styles for it.
    pub fn with_markdown(self) -> Self {
        let styles = anstream::AutoStream::choice(&std::io::stdout()) != anstream::ColorChoice::Never;
        Self { markdown: styles, ..self }
    }
}

impl Screen {
    /// With nothing on it.
    pub fn new(session: &Session, shown: Shown) -> Self {
        let quiet = session.quiet || session.form == Form::Json;
        Self {
            stdout: tokio::io::stdout(),
            progress: session.progress(),
            target: match session.form {
                Form::Json => Target::Json,
                Form::Words if std::io::stdout().is_terminal() => {
                    Target::Terminal(shown.markdown.then(Markdown::default))
                }
                Form::Words => Target::Text,
            },
            quiet,
            stats: shown.stats,
            shows_reasoning: !quiet && shown.reasoning,
            line: Line::Whole,
            answer: Answer::Awaited,
            model: String::new(),
            passed_over: 0,
            seed: None,
        }
    }

    /// Whether something of the answer has come.
    pub fn has_begun(&self) -> bool {
        self.answer == Answer::Begun
    }

    /// Shows an event in words; for programs there is nothing to do but to tell its end.
    pub async fn take(&mut self, event: GenerateEvent) -> Result<(), Failure> {
        if !matches!(
            event,
            GenerateEvent::Queued { .. }
                | GenerateEvent::Loading { .. }
                | GenerateEvent::Started { .. }
                | GenerateEvent::Failed { .. }
        ) {
            self.answer = Answer::Begun;
        }
        match event {
            GenerateEvent::Queued { model, position, provider, passed_over, .. } => {
                self.model = model.0;
                self.passed_over(&passed_over, &provider);
                self.progress.show(&waiting(position));
            }
            GenerateEvent::Loading { done_bytes, total_bytes } => {
                let share = done_bytes as f64 / total_bytes.max(1) as f64;
                self.progress.show(&format!("loading {} {}", self.model, render::percent(share)));
            }
            GenerateEvent::Started { seed, prompt_tokens } => {
                self.seed = seed;
                self.progress.show(&reading(prompt_tokens));
            }
            GenerateEvent::Text { text, .. } => self.text(&text).await?,
            // Asked for only together with JSON, which has been written.
            GenerateEvent::Logprobs { .. } | GenerateEvent::SampleFinished { .. } => {}
            GenerateEvent::Reasoning { text, .. } => self.reasoning(&text).await?,
            GenerateEvent::ToolCall { name, .. } => self.call(&name).await?,
            GenerateEvent::ToolArguments { text, .. } => self.shown(&text).await?,
            GenerateEvent::Finished { finish_reason, blocked, usage, timings } => {
                self.close_line().await?;
                return self.finished(finish_reason, blocked.as_deref(), usage, &timings);
            }
            GenerateEvent::Failed { error } => return Err(Error::rpc(error.kind.code(), "", Some(error)).into()),
        }
        Ok(())
    }

    async fn text(&mut self, text: &str) -> Result<(), Failure> {
        if matches!(self.line, Line::Call | Line::Reasoning) {
            self.close_line().await?;
        }
        self.line = if text.ends_with('\n') { Line::Whole } else { Line::Text };
        self.shown(text).await
    }

    /// Begins a call; its arguments follow.
    async fn call(&mut self, name: &str) -> Result<(), Failure> {
        self.close_line().await?;
        self.line = Line::Call;
        self.shown(&format!("{name}(")).await
    }

    /// Dimmed, on standard error: it is not the answer.
    async fn reasoning(&mut self, text: &str) -> Result<(), Failure> {
        if !self.shows_reasoning {
            return Ok(());
        }
        if self.line != Line::Reasoning {
            self.close_line().await?;
        }
        self.progress.clear();
        self.line = Line::Reasoning;
        let text = if std::io::stderr().is_terminal() { render::printable_lines(text) } else { text.to_owned() };
        render::to_stderr(&render::dimmed(&text));
        Ok(())
    }

    /// Writes a part of the answer.
    async fn shown(&mut self, text: &str) -> Result<(), Failure> {
        self.progress.clear();
        let text = match &mut self.target {
            Target::Json => return Ok(()),
            Target::Text => text.to_owned(),
            Target::Terminal(None) => render::printable_lines(text),
            Target::Terminal(Some(markdown)) => markdown.push(&render::printable_lines(text)),
        };
        self.write(&text).await
    }

    /// Shows an event as it came, where programs read.
    pub async fn raw(&mut self, json: &str) -> Result<(), Failure> {
        if matches!(self.target, Target::Json) { self.write(&format!("{json}\n")).await } else { Ok(()) }
    }

    /// Ends the last line, also before an error message follows.
    pub async fn close_line(&mut self) -> Result<(), Failure> {
        self.progress.clear();
        let end = match std::mem::replace(&mut self.line, Line::Whole) {
            Line::Whole => return Ok(()),
            Line::Reasoning => {
                render::to_stderr("\n");
                return Ok(());
            }
            Line::Text => "\n",
            Line::Call => ")\n",
        };
        if let Target::Terminal(Some(markdown)) = &mut self.target {
            let rest = markdown.end();
            return self.write(&(rest + end)).await;
        }
        self.shown(end).await
    }

    /// Ends the last line, where the terminal has written `^C` into it.
    pub async fn interrupted(&mut self) -> Result<(), Failure> {
        if self.line == Line::Whole {
            self.line = Line::Text;
        }
        self.close_line().await
    }

    async fn write(&mut self, text: &str) -> Result<(), Failure> {
        if text.is_empty() {
            return Ok(());
        }
        self.stdout.write_all(text.as_bytes()).await.map_err(Failure::Output)?;
        self.stdout.flush().await.map_err(Failure::Output)
    }

    /// Who was asked in vain, each once.
    fn passed_over(&mut self, passed_over: &[PassedOver], provider: &ProviderId) {
        for PassedOver { provider: other, error } in passed_over.iter().skip(self.passed_over) {
            if !self.quiet {
                self.progress.clear();
                let why = render::printable(&error.message);
                render::to_stderr(&format!("note: {other} does not answer, so {provider} is asked: {why}\n"));
            }
        }
        self.passed_over = passed_over.len();
    }

    fn finished(
        &self,
        reason: FinishReason,
        blocked: Option<&str>,
        usage: Usage,
        timings: &Timings,
    ) -> Result<(), Failure> {
        if self.stats && !matches!(self.target, Target::Json) {
            render::to_stderr(&render::daemon::stats(usage, timings, self.seed));
        }
        match reason {
            FinishReason::Cancelled => return Err(Failure::Cancelled),
            FinishReason::Length if !self.quiet => {
                render::to_stderr(&format!("note: cut at {} tokens, see --max-tokens\n", usage.completion_tokens));
            }
            FinishReason::Blocked => {
                return Err(Failure::Blocked { why: blocked.unwrap_or("without a reason").into() });
            }
            FinishReason::Deadline if !self.quiet => {
                render::to_stderr(&format!("note: cut at its deadline, after {} tokens\n", usage.completion_tokens));
            }
            FinishReason::Deadline | FinishReason::Length | FinishReason::Stop | FinishReason::ToolCalls => {}
        }
        Ok(())
    }
}

fn reading(prompt_tokens: u32) -> String {
    // Servers do not tell before the end.
    if prompt_tokens == 0 { "waiting for the answer".into() } else { format!("reading {prompt_tokens} tokens") }
}

fn waiting(position: u32) -> String {
    if position == 0 { "waiting for the model".into() } else { format!("waiting, {position} before you") }
}
