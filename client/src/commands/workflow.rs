//! `workflow`: files of steps, and their runs, which are the daemon's. Only watching them ends with the command.

mod run;

use std::path::Path;

use protocol::rpc::WorkflowsClient;
use protocol::{
    CheckWorkflow, ListRuns, OpenStep, ResumeRun, RunEntry, RunId, RunRef, ShowRun, SubscribeRuns, WorkflowCheck,
    WorkflowRef,
};
use serde::Serialize;
use talkiectl::{Client, Error};

use super::Session;
use crate::cli::{Form, Retry, Runs, Workflow};
use crate::failure::Failure;
use crate::render;

/// Largest file that is sent to be checked, in bytes.
const LONGEST: u64 = 1 << 20;

pub async fn workflow(session: &Session, what: Workflow) -> Result<(), Failure> {
    match what {
        Workflow::Ls => {
            let client = session.connect_or_start().await?;
            session.print(&WorkflowsClient::list(&*client).await?, render::workflows::list)
        }
        Workflow::Show(name) => {
            let client = session.connect_or_start().await?;
            let file = WorkflowsClient::get(&*client, WorkflowRef { workflow: name.name }).await?;
            session.print(&file, render::workflows::one)
        }
        Workflow::Check { files } => check(session, files).await,
        Workflow::Run(asked) => run::run(session, asked).await,
        Workflow::Runs(asked) => runs(session, asked).await,
        Workflow::Log { run, follow } => log(session, RunId(run), follow).await,
        Workflow::Cancel { run } => {
            let client = session.connect_or_start().await?;
            let run = WorkflowsClient::cancel(&*client, RunRef { run: RunId(run) }).await?;
            session.print(&run, |run, _| render::workflows::told(run))
        }
        Workflow::Retry(asked) => retry(session, asked).await,
        Workflow::Schema => {
            let client = session.connect_or_start().await?;
            let schema = WorkflowsClient::schema(&*client).await?;
            session.print(&schema, |schema, _| format!("{schema:#}\n"))
        }
    }
}

/// What came of one file.
#[derive(Debug, Serialize)]
struct Checked {
    file: String,
    #[serde(flatten)]
    check: WorkflowCheck,
}

/// Problems are what is shown, and a failure.
async fn check(session: &Session, files: Vec<String>) -> Result<(), Failure> {
    let client = session.connect_or_start().await?;
    let mut all = Vec::new();
    for file in files {
        let check = checked(&client, &file).await?;
        all.push(Checked { file, check });
    }
    let words = |all: &Vec<Checked>, _| {
        all.iter().map(|checked| render::workflows::checked(&checked.file, &checked.check)).collect::<String>()
    };
    session.print(&all, words)?;
    if all.iter().all(|checked| checked.check.problems.is_empty()) { Ok(()) } else { Err(Failure::Unwell) }
}

async fn checked(client: &Client, file: &str) -> Result<WorkflowCheck, Failure> {
    let path = Path::new(file);
    if path.extension().is_none() && !file.contains('/') {
        let known = WorkflowsClient::get(&**client, WorkflowRef { workflow: file.to_owned() }).await?;
        return Ok(WorkflowCheck { problems: known.workflow.problems });
    }
    let text = text_of(path)?;
    let name = path.file_stem().map(|name| name.to_string_lossy().into_owned());
    Ok(client.check(CheckWorkflow { text, name }).await?)
}

/// A file of text, read whole.
fn text_of(path: &Path) -> Result<String, Failure> {
    let refuse = |why: String| Failure::NotFound {
        message: format!("{} cannot be read: {why}", path.display()),
        hint: "name a file of text",
    };
    let metadata = std::fs::metadata(path).map_err(|error| refuse(error.to_string()))?;
    if !metadata.is_file() || metadata.len() > LONGEST {
        return Err(refuse(format!("it is no file of at most {LONGEST} bytes")));
    }
    std::fs::read_to_string(path).map_err(|error| refuse(error.to_string()))
}

async fn runs(session: &Session, asked: Runs) -> Result<(), Failure> {
    let client = session.connect_or_start().await?;
    let Runs { name, state, limit } = asked;
    let runs = WorkflowsClient::runs(&*client, ListRuns { workflow: name, state, limit }).await?;
    session.print(&runs, render::workflows::runs)
}

async fn log(session: &Session, run: RunId, follow: bool) -> Result<(), Failure> {
    let client = session.connect_or_start().await?;
    if follow {
        let mut events = client.follow_runs(&SubscribeRuns { run: Some(run), after: Some(0) }).await?;
        while let Some(event) = events.next().await? {
            if let Some(event) = event.event {
                print(session, &event.entry)?;
            }
        }
        return Ok(());
    }
    let mut after = 0;
    loop {
        let details = client.show(ShowRun { run: run.clone(), after }).await?;
        for entry in &details.log {
            after = entry.seq;
            print(session, entry)?;
        }
        if !details.more {
            return Ok(());
        }
    }
}

fn print(session: &Session, entry: &RunEntry) -> Result<(), Failure> {
    session.print(entry, |entry, _| render::workflows::entry(entry))
}

async fn retry(session: &Session, asked: Retry) -> Result<(), Failure> {
    let client = session.connect_or_start().await?;
    let open = match (asked.again, asked.skip) {
        (true, _) => Some(OpenStep::Again),
        (_, true) => Some(OpenStep::Skip),
        _ => None,
    };
    let run = client.resume(ResumeRun { run: RunId(asked.run), open }).await;
    let run = run.map_err(Failure::from).map_err(|failure| match failure {
        Failure::Client(error @ Error::Rpc { kind: Some(protocol::Kind::InvalidParams), .. }) => {
            let hint =
                "`--again` does an open step again, `--skip` passes it by; `talkiectl workflow log RUN` shows it";
            Failure::Advised { error, hint: hint.into() }
        }
        failure => failure,
    })?;
    session.print(&run, |run, _| render::workflows::told(run))
}

/// Whether people are told what happens meanwhile.
fn tells(session: &Session) -> bool {
    !session.quiet && session.form == Form::Words
}
