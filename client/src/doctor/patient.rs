//! What has to be asked and waited for before anything is judged: the daemon, and programs that say what they are.
//!
//! Every question has a bound; the daemon is never started for one.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, SystemTime};

use protocol::paths::{HOME_VARIABLE, Paths};
use protocol::rpc::{DaemonClient, ModelsClient, ProvidersClient, PullsClient};
use protocol::{Catalogue, Model, Provider, Pull, Welcome};
use talkiectl::connection::answered;
use talkiectl::service::{Manager, Service, Status};
use talkiectl::{Client, Error, start};

/// How long the daemon may take for its first word, and for each answer after it.
const FIRST: Duration = Duration::from_secs(5);
const EACH: Duration = Duration::from_secs(15);

/// How long a program may take to say what it is: one that looks for a GPU takes a while.
const PROGRAM: Duration = Duration::from_secs(20);

/// What is looked at.
#[derive(Debug)]
pub struct Patient {
    pub paths: Paths,
    pub daemon: Daemon,
    /// The daemon's program that a start would run.
    pub program: Program,
    /// The engines' programs that it would find.
    pub engines: Vec<Program>,
    /// The settings that a start would go by; `None` where the program does not tell.
    pub settings: Option<Settings>,
    /// The service, where there is a file of it.
    pub service: Option<Result<Status, Error>>,
    pub now: SystemTime,
}

/// What the daemon's program says of its settings.
#[derive(Debug)]
pub struct Settings {
    pub file: PathBuf,
    /// All that is wrong.
    pub wrong: Vec<String>,
}

/// How the daemon was met.
#[derive(Debug)]
pub enum Daemon {
    /// Nobody listens.
    Absent,
    /// It took the connection and says nothing for so long.
    Silent(Duration),
    /// It cannot be reached, or is of another version.
    Failed(Error),
    /// It answers.
    Answers(Box<Answers>),
}

/// What it says.
#[derive(Debug)]
pub struct Answers {
    pub welcome: Welcome,
    pub status: Result<protocol::Status, Error>,
    pub models: Result<Vec<Model>, Error>,
    pub catalogue: Result<Catalogue, Error>,
    pub pulls: Result<Vec<Pull>, Error>,
    pub providers: Result<Vec<Provider>, Error>,
}

/// A program of talkied's.
#[derive(Debug)]
pub struct Program {
    pub name: &'static str,
    pub path: PathBuf,
    /// What it said when it was asked, or why it did not.
    pub said: Result<String, String>,
    /// Its release, where it tells.
    pub release: Option<String>,
}

impl Patient {
    /// Asks all that is to be asked.
    pub async fn meet(paths: Paths) -> Self {
        let daemon = meet(&paths).await;
        let program = Program::that_tells("talkied", start::program(), Tells::Release).await;
        // The daemon looks beside what a link leads to.
        let real = program.path.canonicalize().unwrap_or_else(|_| program.path.clone());
        let beside = |name: &str| real.with_file_name(name);
        let named = |variable: &str, name: &str| std::env::var_os(variable).map_or_else(|| beside(name), PathBuf::from);
        let (mlx, candle) = ("talkied-mlx", "talkied-candle");
        let mlx = Program::that_tells(mlx, named("TALKIE_ENGINE", mlx), Tells::Device).await;
        let candle = Program::that_tells(candle, named("TALKIE_CANDLE", candle), Tells::Nothing).await;
        let settings = settings(&paths, &program.path).await;
        let service = service().await;
        Self { paths, daemon, program, engines: vec![mlx, candle], settings, service, now: SystemTime::now() }
    }

    /// What the daemon says, where it does.
    pub fn answers(&self) -> Option<&Answers> {
        match &self.daemon {
            Daemon::Answers(answers) => Some(answers),
            Daemon::Absent | Daemon::Silent(_) | Daemon::Failed(_) => None,
        }
    }
}

async fn meet(paths: &Paths) -> Daemon {
    let met = tokio::time::timeout(FIRST, Client::connect(&paths.socket)).await;
    let greeted = match met {
        Err(_) => return Daemon::Silent(FIRST),
        Ok(Err(Error::NotRunning { .. })) => return Daemon::Absent,
        Ok(Err(error)) => return Daemon::Failed(error),
        Ok(Ok(client)) => client.greet("talkiectl doctor", FIRST).await.map(|welcome| (client, welcome)),
    };
    match greeted {
        Err(Error::Silent { patience }) => Daemon::Silent(patience),
        Err(error) => Daemon::Failed(error),
        Ok((client, welcome)) => Daemon::Answers(Box::new(answers(&client, welcome).await)),
    }
}

async fn answers(client: &Client, welcome: Welcome) -> Answers {
    Answers {
        welcome,
        status: answered(EACH, client.status()).await,
        models: answered(EACH, ModelsClient::list(&**client)).await.map(|list| list.models),
        catalogue: answered(EACH, client.catalogue()).await,
        pulls: answered(EACH, PullsClient::list(&**client)).await.map(|list| list.pulls),
        providers: answered(EACH, ProvidersClient::list(&**client)).await.map(|list| list.providers),
    }
}

/// `None` where the program cannot be asked.
async fn settings(paths: &Paths, program: &Path) -> Option<Settings> {
    let asked = |question: &'static str| {
        let mut command = tokio::process::Command::new(program);
        command
            .args(["config", question])
            .env(HOME_VARIABLE, start::absolute(&paths.home))
            .stdin(Stdio::null())
            .kill_on_drop(true);
        async move { tokio::time::timeout(PROGRAM, command.output()).await.ok()?.ok() }
    };
    let path = asked("path").await.filter(|output| output.status.success())?;
    let checked = asked("check").await?;
    let said = String::from_utf8_lossy(&checked.stderr).into_owned();
    let wrong = if checked.status.success() { Vec::new() } else { said.lines().map(str::to_owned).collect() };
    Some(Settings { file: String::from_utf8_lossy(&path.stdout).trim_end_matches('\n').into(), wrong })
}

async fn service() -> Option<Result<Status, Error>> {
    let service = match Service::of_user(Manager::here()) {
        Ok(service) => service,
        Err(error) => return Some(Err(error.into())),
    };
    if !service.paths().iter().any(|path| path.symlink_metadata().is_ok()) {
        return None;
    }
    match tokio::time::timeout(EACH, service.status()).await {
        Ok(status) => Some(status.map_err(Error::from)),
        Err(_) => Some(Err(Error::Silent { patience: EACH })),
    }
}

/// What a program is asked, beside its release.
enum Tells {
    /// No more than that.
    Release,
    /// Where it computes.
    Device,
    /// It computes on the processor, or where it was built for.
    Nothing,
}

impl Program {
    async fn that_tells(name: &'static str, path: PathBuf, tells: Tells) -> Self {
        let version = told(&path, "--version").await;
        let release = version.as_ref().ok().and_then(|said| said.strip_prefix(name)?.strip_prefix(' '));
        let release = release.map(str::to_owned);
        let said = match tells {
            Tells::Release => version,
            Tells::Device => told(&path, "device").await,
            Tells::Nothing => Ok(String::new()),
        };
        Self { name, path, said, release }
    }
}

async fn told(path: &Path, argument: &str) -> Result<String, String> {
    let mut command = tokio::process::Command::new(path);
    command.arg(argument).stdin(Stdio::null()).kill_on_drop(true);
    match tokio::time::timeout(PROGRAM, command.output()).await {
        Err(_) => Err(format!("it says nothing for {} s", PROGRAM.as_secs())),
        Ok(Err(error)) => Err(error.to_string()),
        Ok(Ok(output)) if output.status.success() => Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned()),
        Ok(Ok(output)) => {
            let said = String::from_utf8_lossy(&output.stderr);
            Err(format!("{}; {}", output.status, said.lines().last().unwrap_or("it says nothing of why")))
        }
    }
}
