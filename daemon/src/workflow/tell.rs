//! Workflows and runs as the wire has them.

use std::sync::Arc;

use protocol::{Run, RunChange, RunEvent, Workflow, WorkflowInput};
use workflow::{Trigger, When};

use super::directory::{Entry, Snapshot};

/// A workflow.
pub fn workflow(snapshot: &Snapshot, entry: &Arc<Entry>, troubles: Vec<String>, last_run: Option<Run>) -> Workflow {
    let read = entry.workflow.as_ref().ok();
    let inputs = read.into_iter().flat_map(|workflow| &workflow.inputs).map(|(name, input)| WorkflowInput {
        name: name.clone(),
        required: input.required,
        default: input.default.clone(),
    });
    let triggers = read.into_iter().flat_map(|workflow| &workflow.triggers).map(|each| trigger(each));
    Workflow {
        name: entry.name.clone(),
        path: entry.path.display().to_string(),
        description: read.and_then(|workflow| workflow.description.clone()),
        problems: snapshot.problems_of(entry),
        inputs: inputs.collect(),
        triggers: triggers.collect(),
        trigger_problems: troubles,
        last_run,
    }
}

/// What starts a workflow, in words.
pub fn trigger(trigger: &Trigger) -> String {
    match trigger {
        Trigger::Folder(folder) => match folder.pattern.written() {
            "*" => format!("files in {}", *folder.path),
            pattern => format!("{pattern} in {}", *folder.path),
        },
        Trigger::Schedule(When::Cron(cron)) => format!("times {}", cron.written()),
        Trigger::Schedule(When::Every(time)) => format!("every {time:?}"),
        Trigger::Event(event) => {
            let names: Vec<&str> = event.on.iter().map(|kind| kind.name()).collect();
            format!("events {}", names.join(", "))
        }
        Trigger::Webhook(_) => "requests to /workflows/NAME".into(),
    }
}

/// Whether a run is at rest with what happened.
pub fn is_end(event: &RunEvent) -> bool {
    matches!(event.entry.change, RunChange::State { state, .. } if state.is_at_rest())
}
