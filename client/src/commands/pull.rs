//! `pull` and `pulls`: downloads, which are the daemon's. Only watching them ends with the command.

use std::time::Instant;

use protocol::rpc::PullsClient;
use protocol::{ErrorData, Kind, ModelId, Pull, PullEvent, PullRef, PullState, StartPull, SubscribePulls};
use serde::Deserialize;
use serde_json::value::RawValue;
use talkiectl::{Client, Error, Events};
use tokio::io::AsyncWriteExt;

use super::Session;
use super::suggest::advised;
use crate::bars::{Bars, Lines};
use crate::cli::{self, Form, Pulls};
use crate::failure::Failure;
use crate::render;

pub async fn pull(session: &Session, pull: cli::Pull) -> Result<(), Failure> {
    let client = session.connect_or_start().await?;
    let model = ModelId(pull.model);
    let request = StartPull { model: model.clone(), revision: pull.revision };
    let started = client.start(request).await.map_err(Failure::from);
    let started = advised(&client, &model.0, started).await?;
    if pull.detach {
        return session.print(&started, |pull, _| render::pulls::told(pull));
    }
    let display = if pull.wait || session.quiet { Display::Silent } else { Display::new(session.form) };
    let is_told = matches!(display, Display::Json);
    let followed = tokio::select! {
        biased;
        followed = follow(&client, &model, display) => followed,
        _ = tokio::signal::ctrl_c() => {
            let note = (!session.quiet && session.form == Form::Words).then(|| goes_on(&model));
            return Err(Failure::Interrupted { note });
        }
    };
    let last = advised(&client, &model.0, followed).await?;
    // Whoever reads events has had the last one.
    if is_told { Ok(()) } else { session.print(&last, |pull, _| render::pulls::installed(pull)) }
}

fn goes_on(model: &ModelId) -> String {
    format!(
        "talkied goes on with the download; `talkiectl pulls` shows how far it is, \
         `talkiectl pulls cancel {model}` ends it"
    )
}

/// Shows a pull until it is done; everything else that it can come to is a failure.
async fn follow(client: &Client, model: &ModelId, mut display: Display) -> Result<Pull, Failure> {
    let mut events = client.follow_pulls(&SubscribePulls { model: Some(model.clone()) }).await?;
    let last = show(&mut events, &mut display).await;
    // Bars must be gone before anything is said.
    drop(display);
    outcome(last.map_err(|failure| cut_off(failure, model))?)
}

async fn show(events: &mut Events<'_, PullEvent>, display: &mut Display) -> Result<Pull, Failure> {
    loop {
        let Some(event) = events.next().await? else {
            return Err(Error::Protocol("the stream ended before its last event".into()).into());
        };
        display.raw(&event.json).await?;
        let Some(PullEvent { pull }) = event.event else { continue };
        display.show(&pull);
        if pull.state.is_at_rest() {
            return Ok(pull);
        }
    }
}

/// A stream that broke off says nothing of the download.
fn cut_off(failure: Failure, model: &ModelId) -> Failure {
    let (error, goes_on) = match failure {
        Failure::Client(error @ Error::Lost) => (error, "the download goes on when talkied is back"),
        Failure::Client(error @ (Error::Lagged | Error::Protocol(_))) => (error, "the download goes on"),
        other => return other,
    };
    let hint = format!("{goes_on}: `talkiectl pulls` shows how far it is, `talkiectl pull {model}` watches it again");
    Failure::Advised { error, hint }
}

fn outcome(pull: Pull) -> Result<Pull, Failure> {
    let model = &pull.model;
    match pull.state {
        PullState::Paused => Err(Failure::Stopped {
            message: format!("the download of {model} was paused"),
            hint: format!("`talkiectl pulls resume {model}` goes on with it"),
        }),
        PullState::Cancelled => Err(Failure::Stopped {
            message: format!("the download of {model} was cancelled"),
            hint: format!("`talkiectl pull {model}` begins again"),
        }),
        PullState::Failed => {
            let unexplained = || ErrorData::new(Kind::Internal, format!("the download of {model} failed"));
            let error = pull.error.unwrap_or_else(unexplained);
            Err(Error::rpc(error.kind.code(), "", Some(error)).into())
        }
        _ => Ok(pull),
    }
}

/// Where the events of one pull go.
enum Display {
    /// Nowhere.
    Silent,
    /// To standard output, one pull on a line.
    Json,
    /// To a terminal on standard error.
    Bars(Bars),
    /// To a file or a pipe as standard error.
    Lines(Lines),
}

impl Display {
    fn new(form: Form) -> Self {
        match form {
            Form::Json => Self::Json,
            Form::Words => Bars::on_stderr().map_or_else(|| Self::Lines(Lines::default()), Self::Bars),
        }
    }

    fn show(&mut self, pull: &Pull) {
        match self {
            Self::Silent | Self::Json => {}
            Self::Bars(bars) => bars.show(pull),
            Self::Lines(lines) => {
                if let Some(line) = lines.line(pull, Instant::now()) {
                    render::to_stderr(&line);
                }
            }
        }
    }

    /// Shows the pull of an event as it came, where programs read.
    async fn raw(&mut self, json: &RawValue) -> Result<(), Failure> {
        #[derive(Deserialize)]
        struct Event<'a> {
            #[serde(borrow)]
            pull: &'a RawValue,
        }
        let (Self::Json, Ok(event)) = (self, serde_json::from_str::<Event<'_>>(json.get())) else { return Ok(()) };
        let mut stdout = tokio::io::stdout();
        let line = format!("{}\n", event.pull);
        stdout.write_all(line.as_bytes()).await.map_err(Failure::Output)?;
        stdout.flush().await.map_err(Failure::Output)
    }
}

pub async fn pulls(session: &Session, what: Option<Pulls>) -> Result<(), Failure> {
    let client = session.connect_or_start().await?;
    let named = |name: cli::PullName| PullRef { model: ModelId(name.model) };
    let (model, told) = match what {
        None => return session.print(&client.list().await?, render::pulls::list),
        Some(Pulls::Pause(name)) => (name.model.clone(), client.pause(named(name)).await),
        Some(Pulls::Resume(name)) => (name.model.clone(), client.resume(named(name)).await),
        Some(Pulls::Cancel(name)) => (name.model.clone(), client.cancel(named(name)).await),
    };
    let told = advised(&client, &model, told.map_err(Failure::from)).await?;
    session.print(&told, |pull, _| render::pulls::told(pull))
}
