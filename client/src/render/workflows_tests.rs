use protocol::RunId;
use serde_json::json;

use super::*;

fn told(change: RunChange) -> String {
    let entry = RunEntry { seq: 1, time: "2026-11-30T07:00:00.000Z".into(), change };
    anstream::adapter::strip_str(&super::entry(&entry)).to_string()
}

#[test]
fn entries_stand_on_a_line_each() {
    let began = RunChange::Began {
        place: "2".into(),
        name: "title".into(),
        kind: "llm".into(),
        inputs_hash: String::new(),
        attempt: 2,
    };
    assert_eq!(told(began), "2026-11-30T07:00:00.000Z 2 title: llm begins, attempt 2\n");
    let done = told(RunChange::done("2", json!("one\ntwo\u{1b}[31m")));
    assert_eq!(done, "2026-11-30T07:00:00.000Z 2: done: one\\ntwo\\u{1b}[31m\n");
    let long = told(RunChange::done("2", json!("x".repeat(500))));
    assert!(long.ends_with("x…\n") && long.len() < 200, "{long}");
    let state = told(RunChange::State { state: RunState::Failed, why: Some("no".into()) });
    assert_eq!(state, "2026-11-30T07:00:00.000Z failed: no\n");
}

#[test]
fn problems_stand_behind_their_places() {
    let problem = |line| WorkflowProblem { line, column: line, message: "is wrong".into() };
    let check = WorkflowCheck { problems: vec![problem(Some(3)), problem(None)] };
    assert_eq!(checked("a.toml", &check), "a.toml:3:3: is wrong\na.toml: is wrong\n");
    assert_eq!(checked("a.toml", &WorkflowCheck { problems: Vec::new() }), "a.toml: nothing is wrong\n");
}

#[test]
fn runs_show_why_they_rest() {
    let run = Run {
        run: RunId::of(7),
        workflow: "memo".into(),
        state: RunState::Failed,
        cause: "by hand".into(),
        why: Some("`2`: no".into()),
        created: "2026-11-30T07:00:00Z".into(),
        ended: None,
        prompt_tokens: 3,
        completion_tokens: 4,
        cost_usd: None,
    };
    let text = anstream::adapter::strip_str(&runs(&RunList { runs: vec![run] }, None)).to_string();
    assert!(text.contains("run_7") && text.contains("failed") && text.contains("  `2`: no\n"), "{text}");
}
