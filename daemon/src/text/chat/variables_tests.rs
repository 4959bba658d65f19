use std::path::Path;

use serde::Deserialize;

use super::super::super::error::{Lack, TextError};
use super::super::super::fixtures::clock;
use super::super::super::{Chat, Clock};
use super::super::ChatTemplate;
use super::*;

/// What the reference did.
#[derive(Debug, PartialEq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Outcome {
    Text(String),
    /// By the template's own words.
    Refused(String),
    /// Left out without a word.
    Lacks(String),
    Fails(String),
}

#[derive(Deserialize)]
struct Case {
    template: String,
    chat: String,
    tokens: Map<String, Json>,
    #[serde(flatten)]
    outcome: Outcome,
}

#[derive(Deserialize)]
struct Fixture {
    now: String,
    chats: Map<String, Json>,
    #[serde(rename = "cases")]
    conversations: Vec<Case>,
}

fn fixtures() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src/text/fixtures")
}

/// As it comes over the wire.
fn chat(wire: &Json) -> Chat {
    Chat {
        messages: serde_json::from_value(wire["messages"].clone()).unwrap(),
        system_prompt: wire["system_prompt"].as_str().map(str::to_owned),
        tools: serde_json::from_value(wire.get("tools").cloned().unwrap_or_else(|| json!([]))).unwrap(),
        reasoning: serde_json::from_value(wire.get("reasoning").cloned().unwrap_or_else(|| json!("auto"))).unwrap(),
        ..Chat::default()
    }
}

fn outcome(rendered: Result<String, TextError>) -> Outcome {
    match rendered {
        Ok(text) => Outcome::Text(text),
        Err(TextError::Refused(words)) => Outcome::Refused(words),
        Err(TextError::Lacks(Lack::Tools)) => Outcome::Lacks("tools".into()),
        Err(TextError::Lacks(Lack::Calls)) => Outcome::Lacks("calls".into()),
        Err(error) => Outcome::Fails(error.to_string()),
    }
}

#[test]
fn conversations_with_tools_render_byte_for_byte_as_the_reference_renders_them() {
    let bytes = std::fs::read(fixtures().join("tool_cases.json")).unwrap();
    let fixture: Fixture = serde_json::from_slice(&bytes).unwrap();
    assert!(fixture.conversations.len() >= 120, "the fixture has lost cases");
    for case in &fixture.conversations {
        let source = std::fs::read_to_string(fixtures().join(format!("templates/{}.jinja", case.template))).unwrap();
        let tokens = case.tokens.iter().map(|(name, text)| (name.clone(), text.as_str().unwrap().to_owned()));
        let template = ChatTemplate::compile(&source, tokens.collect(), clock(&fixture.now)).unwrap();
        let ours = outcome(template.render_chat(&chat(&fixture.chats[&case.chat])));
        assert_eq!(ours, case.outcome, "{} with {:?}", case.template, case.chat);
    }
}

fn render(source: &str, wire: &Json) -> Result<String, TextError> {
    let clock: Clock = clock("2026-07-04T15:06:07");
    ChatTemplate::compile(source, Vec::new(), clock).unwrap().render_chat(&chat(wire))
}

#[test]
fn a_template_that_wants_arguments_as_text_gets_them_as_text() {
    let call = json!({ "id": "1", "name": "f", "arguments": { "a": [1, true], "b": { "c": "é" } } });
    let wire = json!({ "messages": [{ "role": "user", "content": "u" }, { "role": "assistant", "tool_calls": [call] },
        { "role": "tool", "tool_call_id": "1", "content": "r" }] });
    let source = "{% for m in messages %}{% for c in m.tool_calls or [] %}{{ c.function.name + ':' + \
        c.function.arguments }}{% endfor %}{{ m.content }};{% endfor %}";
    assert_eq!(render(source, &wire).unwrap(), "u;f:{\"a\": [1, true], \"b\": {\"c\": \"é\"}};r;");
}

#[test]
fn reasoning_is_known_by_both_of_its_names() {
    let wire = json!({ "messages": [{ "role": "user", "content": "u" },
        { "role": "assistant", "content": "a", "reasoning": "r" }, { "role": "user", "content": "v" }] });
    let source = "{% for m in messages %}{{ m.reasoning_content }}{{ m.thinking }}{{ 'thinking' in m }};{% endfor %}";
    assert_eq!(render(source, &wire).unwrap(), "False;rrTrue;False;");
}

#[test]
fn a_template_that_raises_or_fails_with_tools_says_so() {
    let wire = json!({ "messages": [{ "role": "user", "content": "u" }], "tools": [{ "name": "f" }] });
    let refused = render("{% if tools %}{{ raise_exception('no tools, please') }}{% endif %}", &wire).unwrap_err();
    assert!(matches!(&refused, TextError::Refused(words) if words == "no tools, please"), "{refused}");
    let bomb = "{% for t in tools or [] %}{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}{% endfor %}";
    let failed = render(bomb, &wire).unwrap_err();
    assert!(matches!(failed, TextError::Template(_)), "{failed}");
}
