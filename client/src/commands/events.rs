//! `events`: how models and downloads are, and what happens to them, a line each.
//!
//! It starts no daemon; following one that ends, it waits for the next.

use std::time::Duration;

use protocol::{ModelChange, ModelEvent, SubscribeModels};
use talkiectl::{Client, Error};
use tokio::io::AsyncWriteExt;

use super::Session;
use crate::cli::{self, Form};
use crate::failure::Failure;
use crate::render::{self, events::Teller};

/// Between two looks for a daemon that has ended.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// Where the events go.
struct Out<'a> {
    session: &'a Session,
    teller: Teller,
    /// The last that was seen: a daemon is asked for what came after it.
    after: Option<u64>,
    /// Whether the state of now is told too.
    tells_current: bool,
}

pub async fn events(session: &Session, events: cli::Events) -> Result<(), Failure> {
    let client = session.connect().await?;
    let mut out = Out { session, teller: Teller::default(), after: None, tells_current: !events.follow };
    if !events.follow {
        return out.current(&client).await;
    }
    tokio::select! {
        // What was being written is written.
        biased;
        never = out.follow(client) => never,
        // That is how following ends.
        _ = tokio::signal::ctrl_c() => Ok(()),
    }
}

impl Out<'_> {
    async fn current(&mut self, client: &Client) -> Result<(), Failure> {
        let mut events = client.follow_models(&SubscribeModels::default()).await?;
        let Some(first) = events.next().await? else {
            return Err(Error::Protocol("the stream ended before its first event".into()).into());
        };
        self.tell(first.json.get(), first.event.as_ref()).await
    }

    /// Follows one daemon after the other.
    async fn follow(&mut self, mut client: Client) -> Result<(), Failure> {
        loop {
            let ended = self.stream(&client).await;
            let reason = match ended {
                Err(Failure::Client(error @ (Error::Lost | Error::NotRunning { .. } | Error::Lagged))) => error,
                Err(Failure::Client(Error::Rpc { kind: Some(protocol::Kind::ShuttingDown), .. })) => Error::Lost,
                other => return other,
            };
            if matches!(reason, Error::Lagged) {
                self.note("some events came too fast and are missing");
                continue;
            }
            self.note("talkied has ended; waiting for it to come back");
            client = self.back().await?;
            self.note("talkied is back");
        }
    }

    async fn back(&self) -> Result<Client, Failure> {
        loop {
            match self.session.connect().await {
                Err(Failure::Client(Error::NotRunning { .. } | Error::Lost)) => tokio::time::sleep(LOOK_EVERY).await,
                other => return other,
            }
        }
    }

    async fn stream(&mut self, client: &Client) -> Result<(), Failure> {
        let mut events = client.follow_models(&SubscribeModels { after: self.after }).await?;
        while let Some(event) = events.next().await? {
            self.after = event.event.as_ref().map(|event| event.seq).or(self.after);
            self.tell(event.json.get(), event.event.as_ref()).await?;
        }
        Ok(())
    }

    async fn tell(&mut self, json: &str, event: Option<&ModelEvent>) -> Result<(), Failure> {
        let is_current = event.is_some_and(|event| matches!(event.change, ModelChange::Current { .. }));
        if is_current && !std::mem::replace(&mut self.tells_current, true) {
            // Where following begins; a later one says what was missed.
            return Ok(());
        }
        let text = match (self.session.form, event) {
            (Form::Json, _) => format!("{json}\n"),
            (Form::Words, Some(event)) => self.teller.lines(&event.change, &render::events::now()),
            (Form::Words, None) => return Ok(()),
        };
        let mut stdout = tokio::io::stdout();
        stdout.write_all(text.as_bytes()).await.map_err(Failure::Output)?;
        stdout.flush().await.map_err(Failure::Output)
    }

    fn note(&self, text: &str) {
        if !self.session.quiet {
            render::to_stderr(&format!("note: {text}\n"));
        }
    }
}
