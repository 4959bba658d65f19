use serde_json::json;

use super::*;
use crate::Template;

#[test]
fn a_run_begins_with_its_names() {
    let time: Zoned = "2026-11-30T07:05:09.5+01:00[Europe/Berlin]".parse().unwrap();
    let event = json!({ "type": "loaded" });
    let mut scope = Scope::new(&Start { run: "r1", workflow: "memo", time: &time, event: Some(&event) });
    scope.set(TRANSCRIPT, &json!("Hello"));
    let template = Template::new("{{RUN}} {{WORKFLOW}} {{DATE}} {{DATETIME}} {{EVENT.type}} {{TRANSCRIPT}}").unwrap();
    assert_eq!(template.render_text(&scope).unwrap(), "r1 memo 2026-11-30 2026-11-30T07:05:09+01:00 loaded Hello");
    scope.unset(TRANSCRIPT);
    assert!(!scope.has(TRANSCRIPT) && scope.has(EVENT));
    assert_eq!(scope.names().collect::<Vec<_>>(), ["DATE", "DATETIME", "EVENT", "RUN", "WORKFLOW"]);
}
