//! The first words with a daemon: whether the two understand each other, and what is to be done where they do not.

use std::process::Stdio;
use std::time::Duration;

use protocol::{Kind, PROTOCOL_VERSION, Welcome};
use talkiectl::error::UPGRADE_DAEMON;
use talkiectl::{Client, Error, start};

use crate::failure::Failure;
use crate::render::printable;

/// How long a daemon may take for its first word. It does no work for it.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long a program may take to tell its version.
const VERSION_PATIENCE: Duration = Duration::from_secs(2);

const THIS: &str = env!("CARGO_PKG_VERSION");

/// Greets a daemon.
pub async fn greet(client: &Client) -> Result<Welcome, Failure> {
    match client.greet(concat!("talkiectl ", env!("CARGO_PKG_VERSION")), PATIENCE).await {
        Err(Error::Version { daemon }) if daemon.is_older_than(PROTOCOL_VERSION) => {
            let hint = upgrade(&daemon.version, on_disk().await.as_deref());
            Err(Failure::Advised { error: Error::Version { daemon }, hint })
        }
        greeted => Ok(greeted?),
    }
}

/// A failure that may come of a daemon that is older than this program, with what to do then.
pub async fn advised(failure: Failure, daemon: Option<&Welcome>) -> Failure {
    let Some(daemon) = daemon.filter(|daemon| daemon.version != THIS) else { return failure };
    match failure {
        Failure::Client(error) if is_unknown_there(&error) => {
            let hint = format!(
                "talkied is {} and talkiectl {THIS}; {}",
                printable(&daemon.version),
                upgrade(&daemon.version, on_disk().await.as_deref())
            );
            Failure::Advised { error, hint }
        }
        other => other,
    }
}

/// Whether the daemon does not know the method, or a field of its params.
fn is_unknown_there(error: &Error) -> bool {
    match error {
        Error::Rpc { code: -32601, .. } => true,
        Error::Rpc { code, message, .. } => *code == Kind::InvalidParams.code() && message.contains("unknown field"),
        _ => false,
    }
}

/// How a daemon of that version becomes a newer one.
fn upgrade(running: &str, on_disk: Option<&str>) -> String {
    match on_disk {
        Some(version) if version != running => format!(
            "the program on the disk is talkied {} already: `talkiectl stop` ends the old one, and the next command \
             starts the new one",
            printable(version)
        ),
        _ => UPGRADE_DAEMON.into(),
    }
}

/// The version of the daemon's program that a start would run.
pub async fn on_disk() -> Option<String> {
    let mut command = tokio::process::Command::new(start::program());
    command.arg("--version").stdin(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
    let said = tokio::time::timeout(VERSION_PATIENCE, command.output()).await.ok()?.ok()?;
    let said = String::from_utf8(said.stdout).ok()?;
    Some(said.trim().strip_prefix("talkied ")?.to_owned())
}
