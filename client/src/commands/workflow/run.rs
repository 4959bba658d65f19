//! `workflow run`: begins a run, shows its steps as they begin and end, and prints what it gave.

use protocol::rpc::WorkflowsClient;
use protocol::workflows::RunWorkflow as Request;
use protocol::{Run, RunChange, RunDetails, RunId, RunState, ShowRun, SubscribeRuns};
use serde_json::{Map, Value};
use talkiectl::{Client, Error};

use super::super::Session;
use super::super::prompt;
use super::{tells, text_of};
use crate::cli::{Form, RunWorkflow};
use crate::failure::Failure;
use crate::render;

/// The input that standard input is.
const TRANSCRIPT: &str = "TRANSCRIPT";

pub async fn run(session: &Session, asked: RunWorkflow) -> Result<(), Failure> {
    let inputs = inputs(session, &asked).await?;
    let client = session.connect_or_start().await?;
    let request = Request { workflow: asked.name, inputs, dry_run: asked.dry_run };
    let started = WorkflowsClient::run(&*client, request).await?;
    if let Some(plan) = started.plan {
        return session.print(&plan, |plan, _| render::workflows::plan(plan));
    }
    let Some(run) = started.run else { return Err(Error::Protocol("neither a run nor a plan".into()).into()) };
    if asked.detach {
        return session.print(&run, |run, _| format!("{}\n", run.run));
    }
    let followed = tokio::select! {
        biased;
        followed = follow(session, &client, &run.run) => followed,
        _ = tokio::signal::ctrl_c() => {
            let note = tells(session).then(|| goes_on(&run.run));
            return Err(Failure::Interrupted { note });
        }
    };
    followed.map_err(|failure| cut_off(failure, &run.run))?;
    ended(session, &client, &run.run, asked.output.as_deref()).await
}

async fn inputs(session: &Session, asked: &RunWorkflow) -> Result<Map<String, Value>, Failure> {
    let mut inputs: Map<String, Value> =
        asked.inputs.iter().map(|(name, value)| (name.clone(), value.clone().into())).collect();
    if let Some(path) = &asked.transcript {
        inputs.insert(TRANSCRIPT.into(), text_of(path)?.into());
    } else if !inputs.contains_key(TRANSCRIPT)
        && let Some(text) = prompt::piped(&mut session.progress()).await?
        && !text.is_empty()
    {
        inputs.insert(TRANSCRIPT.into(), text.into());
    }
    Ok(inputs)
}

/// Shows what happens until the run is at rest.
async fn follow(session: &Session, client: &Client, run: &RunId) -> Result<(), Failure> {
    let mut events = client.follow_runs(&SubscribeRuns { run: Some(run.clone()), after: Some(0) }).await?;
    while let Some(event) = events.next().await? {
        let Some(event) = event.event else { continue };
        let is_of_run = matches!(event.entry.change, RunChange::State { .. });
        if tells(session) && !is_of_run {
            render::to_stderr(&render::workflows::entry(&event.entry));
        }
    }
    Ok(())
}

/// Prints what a finished run gave; anything else that it can come to is a failure.
async fn ended(session: &Session, client: &Client, run: &RunId, key: Option<&str>) -> Result<(), Failure> {
    let details = client.show(ShowRun { run: run.clone(), after: u64::MAX }).await?;
    outcome(&details.run)?;
    if let Some(key) = key {
        let output = details.outputs.as_ref().and_then(|outputs| outputs.get(key));
        let output = output.ok_or_else(|| Failure::NotFound {
            message: format!("{run} has no output `{key}`"),
            hint: "`talkiectl workflow show NAME` shows the keys of its steps",
        })?;
        return session.print(output, |output, _| render::workflows::output(output));
    }
    if session.form == Form::Json {
        return session.print(&details, |_: &RunDetails, _| String::new());
    }
    let output = details.output.unwrap_or(Value::Null);
    session.print(&output, |output, _| render::workflows::output(output))
}

fn outcome(run: &Run) -> Result<(), Failure> {
    let (id, why) = (&run.run, run.why.clone().unwrap_or_default());
    match run.state {
        RunState::Failed => Err(Failure::Damaged {
            message: format!("{id} failed: {why}"),
            hint: format!("`talkiectl workflow retry {id}` goes on with it, `talkiectl workflow log {id}` shows more"),
        }),
        RunState::Interrupted => Err(Failure::Damaged {
            message: format!("{id} was interrupted: {why}"),
            hint: format!("`talkiectl workflow retry {id} --again` does that step again, `--skip` goes on without it"),
        }),
        RunState::Cancelled => Err(Failure::Stopped {
            message: format!("{id} was cancelled"),
            hint: format!("`talkiectl workflow retry {id}` goes on with it"),
        }),
        RunState::Waiting | RunState::Running | RunState::Finished => Ok(()),
    }
}

fn goes_on(run: &RunId) -> String {
    format!(
        "{run} goes on; `talkiectl workflow log {run} --follow` shows it, `talkiectl workflow cancel {run}` ends it"
    )
}

/// A stream that broke off says nothing of the run.
fn cut_off(failure: Failure, run: &RunId) -> Failure {
    match failure {
        Failure::Client(error @ (Error::Lost | Error::Lagged | Error::Protocol(_))) => {
            Failure::Advised { error, hint: goes_on(run) }
        }
        failure => failure,
    }
}
