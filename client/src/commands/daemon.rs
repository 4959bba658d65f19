//! `ps`, `status`, `ping`, `stop`. None of them starts the daemon.

use std::time::{Duration, Instant};

use protocol::rpc::DaemonClient;
use talkiectl::connection::answered;
use talkiectl::{Client, Error};

use super::Session;
use crate::failure::Failure;
use crate::render::daemon::{self as render, Ping, Stopped};

/// A daemon that does not answer a ping for this long is not alive, whatever its socket says.
const PING_LIMIT: Duration = Duration::from_secs(5);

/// How long it may take for an answer that needs no work, where it was not greeted.
pub const ANSWER: Duration = Duration::from_secs(10);

pub async fn ps(session: &Session) -> Result<(), Failure> {
    let status = session.connect().await?.status().await?;
    session.print(&status, render::ps)
}

pub async fn status(session: &Session) -> Result<(), Failure> {
    let status = session.connect().await?.status().await?;
    session.print(&status, |status, _| render::status(status))
}

pub async fn ping(session: &Session, count: u32) -> Result<(), Failure> {
    // Of whatever version it is: this tells.
    let client = Client::connect(&session.paths.socket).await?;
    let mut round_trips_us = Vec::new();
    let pong = loop {
        let sent = Instant::now();
        let pong = tokio::time::timeout(PING_LIMIT, client.ping()).await.map_err(|_| silent(session))??;
        round_trips_us.push(sent.elapsed().as_nanos() as f64 / 1000.0);
        if round_trips_us.len() >= count as usize {
            break pong;
        }
    };
    session.print(&Ping::new(pong, round_trips_us), |ping, _| render::ping(ping))
}

fn silent(session: &Session) -> Failure {
    let source = std::io::Error::new(std::io::ErrorKind::TimedOut, format!("no answer for {} s", PING_LIMIT.as_secs()));
    Error::Io { action: "ping talkied at", path: session.paths.socket.clone(), source }.into()
}

pub async fn stop(session: &Session) -> Result<(), Failure> {
    let client = match Client::connect(&session.paths.socket).await {
        Err(Error::NotRunning { .. }) => {
            return session.print(&Stopped { stopped: false }, |_, _| "talkied is not running\n".into());
        }
        client => client?,
    };
    // It may end before its answer is through; gone is what was asked for.
    match answered(ANSWER, client.shutdown()).await {
        Ok(()) | Err(Error::Lost) => {}
        Err(error) => return Err(error.into()),
    }
    let mut progress = session.progress();
    progress.show("waiting for the requests that run");
    client.closed().await;
    progress.clear();
    session.print(&Stopped { stopped: true }, |_, _| "talkied has stopped\n".into())
}
