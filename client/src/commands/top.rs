//! `top`: models, requests and rates, again and again.
//!
//! It starts no daemon; where one that is watched ends, it waits for the next, as `events --follow` does.

mod screen;

use std::time::Duration;

use protocol::Kind;
use protocol::rpc::DaemonClient;
use talkiectl::{Client, Error};

use self::screen::{Key, Screen};
use super::Session;
use crate::cli::{Form, Top};
use crate::failure::Failure;
use crate::render::top::view::{Reading, View};
use crate::render::{self, top as pictures};

/// Between two looks for a daemon that has ended.
const LOOK_EVERY: Duration = Duration::from_millis(250);

pub async fn top(session: &Session, asked: Top) -> Result<(), Failure> {
    let client = session.connect().await?;
    let source = Source { session, client: Some(client), before: None, interval: asked.interval };
    match session.form {
        _ if asked.once => once(source).await,
        Form::Json => lines(source).await,
        Form::Words if screen::is_possible() => live(source).await,
        Form::Words => once(source).await,
    }
}

/// One picture, with the rates of one interval.
async fn once(mut source: Source<'_>) -> Result<(), Failure> {
    let _without_rates = source.reading().await?;
    tokio::time::sleep(source.interval).await;
    let view = source.reading().await?;
    source.session.print(&view, pictures::picture)
}

/// A line of JSON for each interval, until Ctrl-C.
async fn lines(mut source: Source<'_>) -> Result<(), Failure> {
    let all = async {
        loop {
            match source.next().await? {
                // The first has no rates; programs want lines that are alike.
                News::View(view) if view.rates.is_none() => {}
                News::View(view) => source.session.print(&*view, |_, _| String::new())?,
                News::Gone => note(source.session, "talkied has ended; waiting for it to come back"),
            }
        }
    };
    tokio::select! {
        biased;
        never = all => never,
        _ = tokio::signal::ctrl_c() => Ok(()),
    }
}

fn note(session: &Session, text: &str) {
    if !session.quiet {
        render::to_stderr(&format!("note: {text}\n"));
    }
}

/// A picture that is drawn again and again, until q or Ctrl-C.
async fn live(mut source: Source<'_>) -> Result<(), Failure> {
    let mut screen = Screen::open().map_err(Failure::Output)?;
    let mut keys = screen::keys();
    let mut last = None;
    let mut is_gone = false;
    loop {
        let next = source.next();
        tokio::pin!(next);
        let news = loop {
            tokio::select! {
                news = &mut next => break news?,
                key = keys.next() => match key {
                    Key::End => return Ok(()),
                    Key::Resized => screen.draw(last.as_deref(), is_gone).map_err(Failure::Output)?,
                },
            }
        };
        match news {
            News::View(view) => (last, is_gone) = (Some(view), false),
            News::Gone => is_gone = true,
        }
        screen.draw(last.as_deref(), is_gone).map_err(Failure::Output)?;
    }
}

/// What the daemon tells, one reading after the other.
struct Source<'a> {
    session: &'a Session,
    /// `None` where it has ended.
    client: Option<Client>,
    before: Option<Reading>,
    interval: Duration,
}

/// What comes of a look.
enum News {
    View(Box<View>),
    /// The daemon has ended.
    Gone,
}

impl Source<'_> {
    /// The next picture, after the interval; where the daemon has ended, when it is back.
    async fn next(&mut self) -> Result<News, Failure> {
        if self.before.is_some() {
            tokio::time::sleep(self.interval).await;
        }
        loop {
            if self.client.is_none() {
                match self.session.connect().await {
                    Ok(client) => self.client = Some(client),
                    Err(failure) if is_gone(&failure) => {
                        tokio::time::sleep(LOOK_EVERY).await;
                        continue;
                    }
                    Err(failure) => return Err(failure),
                }
            }
            match self.reading().await {
                Ok(view) => return Ok(News::View(Box::new(view))),
                Err(failure) if is_gone(&failure) => {
                    (self.client, self.before) = (None, None);
                    return Ok(News::Gone);
                }
                Err(failure) => return Err(failure),
            }
        }
    }

    /// A picture of now.
    async fn reading(&mut self) -> Result<View, Failure> {
        let client = self.client.as_ref().ok_or(Error::Lost)?;
        let (status, metrics) = tokio::try_join!(client.status(), client.metrics())?;
        let now = Reading { status, metrics };
        let view = View::new(self.before.as_ref(), &now);
        self.before = Some(now);
        Ok(view)
    }
}

/// Whether a daemon has ended, or is about to.
fn is_gone(failure: &Failure) -> bool {
    matches!(
        failure,
        Failure::Client(Error::Lost | Error::NotRunning { .. } | Error::Rpc { kind: Some(Kind::ShuttingDown), .. })
    )
}
