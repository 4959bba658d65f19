//! The reference of the wire says what the code does: examples parse, and no method, kind, field or limit is missing.

mod examples;

use std::collections::BTreeMap;

use examples::{blocks, filled, fits};
use protocol::error::Fault;
use protocol::format::MAX_FORMAT_BYTES;
use protocol::openrpc::{METHODS, document, method};
use protocol::tools::{MAX_NAME_BYTES, MAX_TOOL_BYTES, MAX_TOOLS};
use protocol::{
    CancelRequest, Cancelled, Catalogue, CheckWorkflow, Configuration, ConfigureProvider, DeleteModel, Deleted,
    EmbeddingsRequest, EmbeddingsResult, ErrorData, GenerateEvent, GenerateRequest, GenerateResult, GetUsage, Hello,
    ImportModel, Kind, ListRuns, LoadModel, MAX_MESSAGE_BYTES, Metrics, Model, ModelEvent, ModelList, ModelRef,
    PROTOCOL_VERSION, Pong, Provider, ProviderList, ProviderRef, ProviderTest, Pull, PullEvent, PullList, PullRef,
    Reloaded, RemovedProvider, RemovedSecret, ResumeRun, Run, RunDetails, RunEvent, RunList, RunRef, RunStarted,
    RunWorkflow, Secret, SecretList, SecretRef, SetSecret, ShowRun, StartPull, Status, Storage, SubscribeModels,
    SubscribePulls, SubscribeRuns, TokenCount, Unloaded, UsageReport, Verified, Welcome, WorkflowCheck, WorkflowFile,
    WorkflowList, WorkflowRef,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

const README: &str = include_str!("../../README.md");

/// Parses `example` as `T`, and fails for fields that `T` does not have.
fn check<T: DeserializeOwned + Serialize>(example: &Value) {
    let parsed: T = serde_json::from_value(example.clone()).unwrap_or_else(|error| panic!("{error} in {example}"));
    known(example, &serde_json::to_value(parsed).expect("JSON"));
}

/// Fails for fields of `example` that `parsed` has lost.
fn known(example: &Value, parsed: &Value) {
    match (example, parsed) {
        (Value::Object(fields), Value::Object(parsed)) => {
            for (name, value) in fields {
                let parsed = parsed.get(name).unwrap_or_else(|| panic!("no type has the field {name} of {example}"));
                known(value, parsed);
            }
        }
        (Value::Array(items), Value::Array(parsed)) => items.iter().zip(parsed).for_each(|(a, b)| known(a, b)),
        _ => {}
    }
}

type Check = fn(&Value);

/// How params and result of each method are checked.
fn checks() -> BTreeMap<&'static str, (Option<Check>, Check)> {
    let ignored: Check = |_| ();
    let subscription: Check = |params| check::<[u64; 1]>(params);
    BTreeMap::from([
        ("generate.text", (Some(check::<GenerateRequest> as Check), check::<GenerateResult> as Check)),
        ("generate.stream", (Some(check::<GenerateRequest>), check::<u64>)),
        ("generate.unsubscribe", (Some(subscription), check::<bool>)),
        ("generate.count_tokens", (Some(check::<GenerateRequest>), check::<TokenCount>)),
        ("generate.cancel", (Some(check::<CancelRequest>), check::<Cancelled>)),
        ("embeddings.create", (Some(check::<EmbeddingsRequest>), check::<EmbeddingsResult>)),
        ("models.list", (None, check::<ModelList>)),
        ("models.get", (Some(check::<ModelRef>), check::<Model>)),
        ("models.load", (Some(check::<LoadModel>), check::<Model>)),
        ("models.unload", (Some(check::<ModelRef>), check::<Unloaded>)),
        ("models.catalogue", (None, check::<Catalogue>)),
        ("models.subscribe", (Some(check::<SubscribeModels>), check::<u64>)),
        ("models.unsubscribe", (Some(subscription), check::<bool>)),
        ("models.import", (Some(check::<ImportModel>), check::<Model>)),
        ("models.delete", (Some(check::<DeleteModel>), check::<Deleted>)),
        ("models.verify", (Some(check::<ModelRef>), check::<Verified>)),
        ("models.storage", (None, check::<Storage>)),
        ("pulls.start", (Some(check::<StartPull>), check::<Pull>)),
        ("pulls.list", (None, check::<PullList>)),
        ("pulls.pause", (Some(check::<PullRef>), check::<Pull>)),
        ("pulls.resume", (Some(check::<PullRef>), check::<Pull>)),
        ("pulls.cancel", (Some(check::<PullRef>), check::<Pull>)),
        ("pulls.subscribe", (Some(check::<SubscribePulls>), check::<u64>)),
        ("pulls.unsubscribe", (Some(subscription), check::<bool>)),
        ("providers.list", (None, check::<ProviderList>)),
        ("providers.get", (Some(check::<ProviderRef>), check::<Provider>)),
        ("providers.configure", (Some(check::<ConfigureProvider>), check::<Provider>)),
        ("providers.remove", (Some(check::<ProviderRef>), check::<RemovedProvider>)),
        ("providers.test", (Some(check::<ProviderRef>), check::<ProviderTest>)),
        ("secrets.list", (None, check::<SecretList>)),
        ("secrets.set", (Some(check::<SetSecret>), check::<Secret>)),
        ("secrets.remove", (Some(check::<SecretRef>), check::<RemovedSecret>)),
        ("workflows.list", (None, check::<WorkflowList>)),
        ("workflows.get", (Some(check::<WorkflowRef>), check::<WorkflowFile>)),
        ("workflows.check", (Some(check::<CheckWorkflow>), check::<WorkflowCheck>)),
        ("workflows.schema", (None, ignored)),
        ("workflows.run", (Some(check::<RunWorkflow>), check::<RunStarted>)),
        ("workflows.runs", (Some(check::<ListRuns>), check::<RunList>)),
        ("workflows.show", (Some(check::<ShowRun>), check::<RunDetails>)),
        ("workflows.cancel", (Some(check::<RunRef>), check::<Run>)),
        ("workflows.resume", (Some(check::<ResumeRun>), check::<Run>)),
        ("workflows.subscribe", (Some(check::<SubscribeRuns>), check::<u64>)),
        ("workflows.unsubscribe", (Some(subscription), check::<bool>)),
        ("usage.get", (Some(check::<GetUsage>), check::<UsageReport>)),
        ("daemon.hello", (Some(check::<Hello>), check::<Welcome>)),
        ("daemon.ping", (None, check::<Pong>)),
        ("daemon.status", (None, check::<Status>)),
        ("daemon.metrics", (None, check::<Metrics>)),
        ("daemon.config", (None, check::<Configuration>)),
        ("daemon.reload", (None, check::<Reloaded>)),
        ("daemon.shutdown", (None, check::<()>)),
        ("rpc.discover", (None, ignored)),
    ])
}

/// How the events of a stream are checked, by the name of their notifications.
fn event(name: &str) -> Option<Check> {
    match name {
        "generate.event" => Some(check::<GenerateEvent>),
        "models.event" => Some(check::<ModelEvent>),
        "pulls.event" => Some(check::<PullEvent>),
        "workflows.event" => Some(check::<RunEvent>),
        _ => None,
    }
}

/// The messages of a line: itself, or the items of a batch.
fn messages(line: Value) -> Vec<Value> {
    match filled(line) {
        Value::Array(items) => items,
        message => vec![message],
    }
}

fn check_error(error: &Value) {
    check::<ErrorData>(&error["data"]);
    let kind = serde_json::from_value::<Kind>(error["data"]["kind"].clone()).expect("a kind");
    assert_eq!(error["code"], kind.code());
}

#[test]
fn every_example_is_of_the_types() {
    let checks = checks();
    let mut pending: BTreeMap<u64, String> = BTreeMap::new();
    for block in blocks(README) {
        for message in block.messages.into_iter().flat_map(messages) {
            assert_eq!(message["jsonrpc"], "2.0", "{message}");
            let name = message["method"].as_str().unwrap_or_default();
            if let Some(check_event) = event(name) {
                check_event(&message["params"]["result"]);
                check::<u64>(&message["params"]["subscription"]);
                continue;
            }
            let id = message["id"].as_u64().expect("a number as id");
            if block.is_request {
                match (checks[name].0, message.get("params")) {
                    (Some(check), Some(params)) => check(params),
                    (None, None) => {}
                    _ => panic!("params of {name}: {message}"),
                }
                pending.insert(id, name.to_owned());
            } else {
                let name = pending.remove(&id).unwrap_or_else(|| panic!("no request before {message}"));
                match message.get("error") {
                    Some(error) => check_error(error),
                    None => checks[&*name].1(&message["result"]),
                }
            }
        }
    }
}

#[test]
fn every_method_has_its_section_and_example() {
    let checks = checks();
    let requests: Vec<Value> = blocks(README)
        .into_iter()
        .filter(|block| block.is_request)
        .flat_map(|block| block.messages.into_iter().flat_map(messages))
        .collect();
    for described in METHODS {
        let name = described.name;
        assert!(README.contains(&format!("\n### `{name}`\n")), "{name} has a section");
        assert!(requests.iter().any(|request| request["method"] == name), "{name} has an example");
        assert_eq!(described.params.is_some(), checks[name].0.is_some(), "{name} takes params or not");
    }
    let sections = README.lines().filter_map(|line| line.strip_prefix("### `")?.strip_suffix('`'));
    for section in sections {
        assert!(method(section).is_some(), "{section} is a method");
    }
}

#[test]
fn every_kind_has_its_row() {
    let rows: Vec<String> = Kind::ALL
        .into_iter()
        .map(|kind| {
            let mended_by = match kind.fault() {
                Fault::Caller => "caller",
                Fault::Ours => "daemon",
                Fault::TryLater => "time",
            };
            let name = serde_json::to_value(kind).expect("JSON");
            format!("| {} | `{}` | {mended_by} | ", kind.code(), name.as_str().expect("a text"))
        })
        .collect();
    let (_, table) =
        README.split_once("| code | kind | mended by | meaning |\n|---|---|---|---|\n").expect("the table");
    let table: Vec<&str> = table.lines().take_while(|line| line.starts_with('|')).collect();
    assert_eq!(table.len(), rows.len());
    for (line, row) in table.iter().zip(&rows) {
        assert!(line.starts_with(row), "{line} should start with {row}");
    }
}

#[test]
fn every_field_and_value_of_the_schemas_is_described() {
    fn names(schema: &Value, found: &mut Vec<String>) {
        match schema {
            Value::Object(fields) => {
                let properties = fields.get("properties").and_then(Value::as_object);
                found.extend(properties.into_iter().flat_map(serde_json::Map::keys).cloned());
                found.extend(fields.get("const").and_then(Value::as_str).map(str::to_owned));
                let values = fields.get("enum").and_then(Value::as_array).into_iter().flatten();
                found.extend(values.filter_map(Value::as_str).map(str::to_owned));
                fields.values().for_each(|schema| names(schema, found));
            }
            Value::Array(items) => items.iter().for_each(|schema| names(schema, found)),
            _ => {}
        }
    }
    let mut found = Vec::new();
    names(&document()["components"]["schemas"], &mut found);
    assert!(found.len() > 100, "the schemas are searched");
    let missing: Vec<&String> = found.iter().filter(|name| !README.contains(&format!("`{name}`"))).collect();
    assert!(missing.is_empty(), "not described: {missing:?}");
}

#[test]
fn limits_and_version_are_the_code_s() {
    assert!(README.contains(&format!("{} MiB ({MAX_MESSAGE_BYTES} bytes)", MAX_MESSAGE_BYTES >> 20)));
    assert!(README.contains(&format!("{} KiB ({MAX_FORMAT_BYTES} bytes)", MAX_FORMAT_BYTES >> 10)));
    assert!(README.contains(&format!("| tools of a request; calls of a message | {MAX_TOOLS} |")));
    assert!(README.contains(&format!("parameters | {} KiB ({MAX_TOOL_BYTES} bytes)", MAX_TOOL_BYTES >> 10)));
    assert!(README.contains(&format!("id of a call | {MAX_NAME_BYTES} bytes |")));
    assert!(README.contains(&format!("`protocol`, now {PROTOCOL_VERSION}.")));
}

#[test]
fn defaults_of_the_options_are_the_code_s() {
    let defaults = serde_json::to_value(protocol::GenerationOptions::default()).expect("JSON");
    for (name, default) in defaults.as_object().expect("an object") {
        let row = README.lines().find(|line| line.starts_with(&format!("| `{name}` | "))).expect("a row");
        let written = row.split('|').nth(2).expect("a column").trim().trim_matches('`');
        let written: Value = serde_json::from_str(written).expect("JSON");
        // f32 and f64 write the same number differently.
        let same = match (written.as_f64(), default.as_f64()) {
            (Some(written), Some(default)) => (written - default).abs() < 1e-6,
            _ => written == *default,
        };
        assert!(same, "{name}: {written} in the reference, {default} in the code");
    }
}

#[test]
fn placeholders_fit_values_of_their_type_alone() {
    let example = json!({"a": "<integer>", "b": ["<text>", "<number>"], "c": true});
    assert!(fits(&example, &json!({"a": 7, "b": ["x", 0.25], "c": true})));
    for real in [
        json!({"a": 7.5, "b": ["x", 1], "c": true}),
        json!({"a": 7, "b": ["x"], "c": true}),
        json!({"a": 7, "b": ["x", 1], "c": false}),
        json!({"a": 7, "b": ["x", 1], "c": true, "d": 1}),
    ] {
        assert!(!fits(&example, &real), "{real}");
    }
}
