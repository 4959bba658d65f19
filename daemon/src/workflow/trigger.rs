//! What starts workflows by itself: files that appear, times, what happens in the daemon, and requests.
//!
//! Each kind has a loop of its own that follows the folder of workflows and keeps the triggers of all sound ones up; what
//! starts a run and the run are written down together. A workflow that has runs enough waiting gets no more of them: files
//! wait in their folder, a time is served later, events are counted, requests are refused.

mod event;
mod folder;
mod schedule;
pub mod webhook;

use std::path::PathBuf;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use workflow::Trigger;

use super::Workflows;
use super::directory::Entry;
use super::happening::Happenings;
pub use folder::Troubles;
use schedule::Clock;

/// Between two times that what nobody needs any more is forgotten.
const TIDY: Duration = Duration::from_mins(1);

/// Whether a workflow needs a daemon that goes on, because something other than a client's request starts it.
pub fn is_needed(entry: &Entry) -> bool {
    let needs = |trigger: &Trigger| !matches!(trigger, Trigger::Webhook(_));
    entry.workflow.as_ref().is_ok_and(|workflow| workflow.triggers.iter().any(|trigger| needs(trigger)))
}

/// Keeps all triggers up, until `stop`. `home` is what `~` stands for.
pub async fn follow(workflows: Workflows, home: PathBuf, happenings: Happenings, stop: CancellationToken) {
    tokio::join!(
        folder::follow(workflows.clone(), home, stop.clone()),
        schedule::follow(workflows.clone(), Clock::system(), stop.clone()),
        event::follow(workflows.clone(), happenings, stop.clone()),
        tidy(workflows, stop),
    );
}

/// Forgets what triggers of workflows have seen that are gone for good: those that were not there at two looks, for a file
/// that is just being replaced is not gone.
async fn tidy(workflows: Workflows, stop: CancellationToken) {
    let mut before: Option<Vec<String>> = None;
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(TIDY) => {}
        }
        let now: Vec<String> = match workflows.directory.look().await {
            // Of a folder that cannot be read nothing is known.
            Ok(snapshot) if snapshot.problem.is_none() => snapshot.entries.keys().cloned().collect(),
            _ => continue,
        };
        if let Some(before) = before.replace(now.clone()) {
            let kept = before.into_iter().chain(now).collect();
            if let Err(error) = workflows.store.tidy(kept).await {
                tracing::debug!("nothing is forgotten: {}", error.message);
            }
        }
    }
}
