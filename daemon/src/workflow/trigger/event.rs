//! Runs of what happens in the daemon. Nothing is kept of it: what happens while the daemon ends starts nothing, and what
//! happens while a workflow has runs enough waiting is counted and said.

use std::collections::BTreeMap;

use protocol::Kind;
use serde_json::{Map, Value};
use tokio_util::sync::CancellationToken;
use workflow::Trigger;
use workflow::file::EventKind;

use super::super::directory::Snapshot;
use super::super::happening::{Happening, Happenings};
use super::super::{Cause, Workflows};

/// Follows what happens, until `stop`.
pub async fn follow(workflows: Workflows, mut happenings: Happenings, stop: CancellationToken) {
    let files = workflows.files();
    let mut missed = BTreeMap::new();
    loop {
        let happened = tokio::select! {
            () = stop.cancelled() => return,
            happened = happenings.next() => happened,
        };
        for happening in happened {
            let names = started_by(&files.borrow(), happening.kind);
            for name in names {
                start(&workflows, name, &happening, &mut missed).await;
            }
        }
    }
}

/// The workflows that such an event starts, each once.
fn started_by(snapshot: &Snapshot, kind: EventKind) -> Vec<String> {
    let waits = |trigger: &Trigger| matches!(trigger, Trigger::Event(event) if event.on.contains(&kind));
    let read = snapshot.entries.values().filter_map(|entry| entry.workflow.as_ref().ok());
    let meant = read.filter(|workflow| workflow.triggers.iter().any(|trigger| waits(trigger)));
    meant.map(|workflow| workflow.name.clone()).collect()
}

async fn start(workflows: &Workflows, name: String, happening: &Happening, missed: &mut BTreeMap<String, u64>) {
    let event = Value::Object(happening.told.clone());
    let words = match happening.model() {
        Some(model) => format!("{} of {model}", happening.kind.name()),
        None => happening.kind.name().to_owned(),
    };
    let cause = Cause::Trigger { words, event: Some(event) };
    match workflows.start(&name, Map::new(), cause).await {
        Ok(_) => {
            if let Some(count) = missed.remove(&name) {
                tracing::warn!(workflow = %name, count, "events started nothing while too many of its runs waited");
            }
        }
        Err(error) if error.kind == Kind::Busy => {
            let count = missed.entry(name.clone()).or_insert(0_u64);
            *count += 1;
            if *count == 1 {
                tracing::warn!(workflow = %name, "too many of its runs wait; events start nothing until there is room");
            }
        }
        Err(error) => tracing::warn!(workflow = %name, "an event starts nothing: {}", error.message),
    }
}
