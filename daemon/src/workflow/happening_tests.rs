use std::time::Duration;

use protocol::UnloadReason;
use tokio::time::timeout;

use super::*;

async fn next(happenings: &mut Happenings) -> Vec<Value> {
    let happened = timeout(Duration::from_secs(10), happenings.next()).await.expect("something happens");
    happened.into_iter().map(|happening| Value::Object(happening.told)).collect()
}

fn model() -> ModelId {
    ModelId("org/name".into())
}

#[tokio::test]
async fn what_happens_is_told_and_steps_on_the_way_are_not() {
    let events = Events::default();
    let mut happenings = Happenings::follow(&events, None);
    assert_eq!(next(&mut happenings).await, [] as [Value; 0], "what was before is not told");
    events.tell(ModelChange::Loading { model: model(), done_bytes: 1, total_bytes: 2 });
    events.tell(ModelChange::Loaded { model: model() });
    events.tell(ModelChange::Unloaded { model: model(), reason: UnloadReason::Idle, error: None });
    events.tell(ModelChange::Removed { model: model() });
    assert_eq!(
        next(&mut happenings).await,
        [
            json!({ "event": "model_loaded", "model": "org/name" }),
            json!({ "event": "model_unloaded", "model": "org/name", "reason": "idle" }),
            json!({ "event": "model_removed", "model": "org/name" }),
        ]
    );
}

fn pull(state: &str) -> ModelChange {
    let error = (state == "failed").then(|| json!({ "kind": "disk_full", "message": "no room" }));
    let pull = json!({ "model": "org/name", "state": state, "done_bytes": 1, "refetched_bytes": 0, "error": error });
    ModelChange::Pull { pull: serde_json::from_value(pull).expect("a pull") }
}

#[tokio::test]
async fn a_download_is_told_once_when_it_has_ended() {
    let events = Events::default();
    let mut happenings = Happenings::follow(&events, None);
    next(&mut happenings).await;
    // One that has ended before anybody followed it.
    events.tell(pull("done"));
    for state in ["queued", "downloading", "done", "done", "downloading", "failed"] {
        events.tell(pull(state));
    }
    assert_eq!(
        next(&mut happenings).await,
        [
            json!({ "event": "pull_finished", "model": "org/name" }),
            json!({ "event": "pull_failed", "model": "org/name", "error": "no room" }),
        ]
    );
}

#[tokio::test]
async fn memory_that_runs_short_is_told() {
    let events = Events::default();
    let mut happenings = Happenings::follow(&events, None);
    next(&mut happenings).await;
    events.press(Level::Hard);
    assert_eq!(next(&mut happenings).await, [json!({ "event": "memory_pressure", "level": "hard" })]);
    events.press(Level::Calm);
    assert_eq!(next(&mut happenings).await, [] as [Value; 0]);
}
