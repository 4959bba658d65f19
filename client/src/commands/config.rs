//! `config`: what talkied is set to. The program talkied knows its settings; where none runs, it is asked without serving.

use std::io::Write;
use std::path::PathBuf;
use std::process::{Output, Stdio};

use protocol::Configuration;
use protocol::paths::{HOME_VARIABLE, SOCKET_VARIABLE};
use protocol::rpc::DaemonClient;
use serde::Serialize;
use talkiectl::connection::answered;
use talkiectl::{Client, Error, start};
use tokio::process::Command;

use super::Session;
use super::daemon::ANSWER;
use crate::cli::{Config, Form};
use crate::failure::Failure;
use crate::render;
use crate::render::config::Shown;

pub async fn config(session: &Session, what: Config) -> Result<(), Failure> {
    match what {
        Config::Show => show(session).await,
        Config::Init { force } => init(session, force).await,
        Config::Check => check(session).await,
        Config::Reload => reload(session).await,
        Config::Path => path(session).await,
        Config::Schema => schema(session).await,
    }
}

async fn show(session: &Session) -> Result<(), Failure> {
    let shown = match Client::connect(&session.paths.socket).await {
        Ok(client) => Shown { running: true, configuration: answered(ANSWER, client.config()).await? },
        Err(Error::NotRunning { .. }) => {
            let text = ask(session, &["show"]).await?;
            let configuration: Configuration = serde_json::from_str(&text)
                .map_err(|error| Error::Protocol(format!("`talkied config show` says {error}")))?;
            Shown { running: false, configuration }
        }
        Err(error) => return Err(error.into()),
    };
    session.print(&shown, render::config::show)
}

async fn reload(session: &Session) -> Result<(), Failure> {
    let reloaded = session.connect().await?.reload().await?;
    session.print(&reloaded, |reloaded, _| render::config::reloaded(reloaded))
}

/// What is said of the file.
#[derive(Debug, Serialize)]
struct File {
    file: PathBuf,
}

async fn init(session: &Session, force: bool) -> Result<(), Failure> {
    let arguments: &[&str] = if force { &["init", "--force"] } else { &["init"] };
    let file = File { file: line(&ask(session, arguments).await?) };
    session.print(&file, |file, _| format!("{} has the defaults\n", render::printable(&file.file.to_string_lossy())))
}

async fn path(session: &Session) -> Result<(), Failure> {
    let file = File { file: line(&ask(session, &["path"]).await?) };
    session.print(&file, |file, _| render::printable(&file.file.to_string_lossy()) + "\n")
}

/// What `config check` says of a configuration that is right.
#[derive(Debug, Serialize)]
struct Checked {
    ok: bool,
    message: String,
}

async fn check(session: &Session) -> Result<(), Failure> {
    let message = ask(session, &["check"]).await?.trim_end().to_owned();
    session.print(&Checked { ok: true, message }, |checked, _| render::printable(&checked.message) + "\n")
}

async fn schema(session: &Session) -> Result<(), Failure> {
    let text = ask(session, &["schema"]).await?;
    let schema: serde_json::Value = serde_json::from_str(&text).map_err(|error| Error::Protocol(error.to_string()))?;
    match session.form {
        Form::Json => session.print(&schema, |_, _| String::new()),
        Form::Words => anstream::stdout().write_all(text.as_bytes()).map_err(Failure::Output),
    }
}

fn line(text: &str) -> PathBuf {
    text.trim_end_matches('\n').into()
}

/// Asks the program talkied, which then serves nobody, as one started by this command would be set.
async fn ask(session: &Session, arguments: &[&str]) -> Result<String, Failure> {
    let program = start::program();
    let asked = Command::new(&program)
        .arg("config")
        .args(arguments)
        .env(HOME_VARIABLE, start::absolute(&session.paths.home))
        .env(SOCKET_VARIABLE, start::absolute(&session.paths.socket))
        .stdin(Stdio::null())
        .output();
    let failed = |source| Error::Io { action: "run", path: program.clone(), source };
    let Output { status, stdout, stderr } = asked.await.map_err(failed)?;
    if status.success() {
        return Ok(String::from_utf8_lossy(&stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&stderr);
    let message = match said.trim() {
        "" => format!("{} ended without a word ({status})", program.display()),
        words => words.to_owned(),
    };
    let hint = match arguments {
        ["init", ..] => "`talkiectl config check` says whether the file that is there is right",
        _ => "put it right, and ask again with `talkiectl config check`",
    };
    Err(Failure::Damaged { message, hint: hint.into() })
}
