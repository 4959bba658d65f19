//! The examples of `protocol/README.md`, sent to a real daemon in their order.

#[path = "../../protocol/tests/readme/examples.rs"]
mod examples;

use std::collections::BTreeSet;

use examples::{Block, blocks, filled, fits};
use serde_json::{Value, json};
use talkied_hub::{Fault, Hub, Kind, Match, Repo};

use crate::support::{Connection, Daemon, Start, until};
use crate::workflows::bench::{at_rest, count, run, show, write};

/// The workflows of the examples: one is done at once, the other fails and waits for another try.
const WORKFLOWS: [(&str, &str); 2] = [
    (
        "words",
        "description = \"The words of a memo\"\n[inputs]\nbetween = { default = \" \" }\n[[step]]\noutput_key = \"words\"\ntransform = { from = \"TRANSCRIPT\", split = \" \" }\n",
    ),
    (
        "call",
        "[[step]]\nname = \"send\"\non_error = { retry = { times = 1, wait = \"1h\", most_wait = \"1h\" } }\nwebhook = { url = \"http://127.0.0.1:1/\" }\n",
    ),
];

const README: &str = include_str!("../../protocol/README.md");

/// A library as the examples have it: a whole model and half a one; and a hub with another, of which a part comes.
fn daemon() -> (Daemon, Hub) {
    let whole = |files: &mut crate::support::model::Files| {
        files.config["max_position_embeddings"] = json!(8192);
        files.config["quantization"] = json!({ "group_size": 64, "bits": 4 });
        files.config["fake"] = json!({ "token_ms": 1 });
        let call = r#"<tool_call>{"name": "get_weather", "arguments": {"city": "Bonn"}}</tool_call>"#;
        files.answers("Bonn", &json!(["<think>A tool helps.</think>I look.", call]));
        files.template.push_str("{# <think> #}");
    };
    let half = |files: &mut crate::support::model::Files| files.without.push("config.json");
    let hub = Hub::start();
    hub.add(Repo::new("org/new", 1).with_model(4 << 20, 1));
    hub.fail(Fault::always(Match::File("model.safetensors".into()), Kind::Stall(1 << 20)));
    let daemon = Start::fake().args(&["--hub", &hub.endpoint()]).model("org/name", whole).model("org/half", half).run();
    (daemon, hub)
}

/// Each request of a part of the README with what follows it there.
fn dialogues(part: &str) -> Vec<(Value, Vec<Value>)> {
    let mut dialogues: Vec<(Value, Vec<Value>)> = Vec::new();
    for Block { is_request, messages } in blocks(part) {
        if is_request {
            dialogues.extend(messages.into_iter().map(|message| (filled(message), Vec::new())));
        } else {
            dialogues.last_mut().expect("a response follows a request").1.extend(messages);
        }
    }
    dialogues
}

/// Subscribes and waits for the first event: jsonrpsee answers a moment before it can be asked to end the stream.
fn begun(connection: &mut Connection, method: &str, params: Value) -> Value {
    let id = connection.call(method, params).unwrap();
    while connection.line().unwrap()["params"]["subscription"] != id {}
    id
}

/// What the example needs to be so before it is sent.
fn prepare(daemon: &Daemon, other: &mut Connection, connection: &mut Connection, request: &mut Value) {
    let long = json!({ "prompt": "on and on ".repeat(100), "options": { "max_tokens": 1000 } });
    match request["method"].as_str().unwrap_or_default() {
        "generate.unsubscribe" => request["params"][0] = begun(connection, "generate.stream", long),
        "generate.cancel" => request["params"]["request_id"] = other.stream(long)["request_id"].clone(),
        "models.list" => {
            other.events_until("finished");
            other.call("models.unload", json!({ "model": "org/name" })).unwrap();
            let idle = || daemon.call("daemon.status", json!({})).unwrap()["residents"] == json!([]);
            until("nothing is loaded", idle);
        }
        "models.unsubscribe" => request["params"][0] = begun(connection, "models.subscribe", json!({})),
        "pulls.unsubscribe" => request["params"][0] = begun(connection, "pulls.subscribe", json!({})),
        "pulls.pause" => until("the small files are there, and a part of the large one", || {
            let pull = &other.call("pulls.list", json!({})).unwrap()["pulls"][0];
            let part = pull["files"][0]["done_bytes"].as_u64().is_some_and(|done| done > 0);
            part && pull["files"][1]["verified"] == true && pull["files"][2]["verified"] == true
        }),
        "workflows.list" => {
            for (name, text) in WORKFLOWS {
                write(daemon, name, text);
            }
        }
        "workflows.show" => drop(at_rest(daemon, "run_1")),
        "workflows.cancel" => {
            run(daemon, "call", json!({}));
            until("its step has failed", || count(&show(daemon, "run_2"), "failed", "1") > 0);
        }
        "workflows.unsubscribe" => {
            request["params"][0] = begun(connection, "workflows.subscribe", json!({ "run": "run_2", "after": 0 }));
        }
        "daemon.status" => {
            let mut alone = || {
                let status = connection.call("daemon.status", json!({})).unwrap();
                status["connections"] == 2 && status["residents"] == json!([])
            };
            until("no other connection and no model is left", &mut alone);
        }
        _ => {}
    }
}

#[test]
fn calls_without_a_model() {
    let daemon = Start::fake().run();
    let (part, _) = README.split_once("## Streams").unwrap();
    for (request, responses) in dialogues(part) {
        let mut connection = daemon.connect();
        connection.send(format!("{request}\n").as_bytes());
        let answer = connection.line().unwrap();
        assert!(fits(&responses[0], &answer), "{request}\n{answer}");
    }
}

#[test]
fn methods_in_their_order() {
    let (daemon, _hub) = daemon();
    let (_, part) = README.split_once("## Streams").unwrap();
    let (mut connection, mut other) = (daemon.connect(), daemon.connect());
    let mut seen = BTreeSet::new();
    for (mut request, responses) in dialogues(part) {
        if ["models.import", "models.catalogue", "workflows.schema", "rpc.discover"]
            .iter()
            .any(|method| request["method"] == *method)
        {
            // The first needs a file, and is tested with a real one; the second has more entries than its example; the
            // others have no example of their result, and the last comes after the daemon's end.
            continue;
        }
        prepare(&daemon, &mut other, &mut connection, &mut request);
        connection.send(format!("{request}\n").as_bytes());
        let mut answer = connection.line().unwrap();
        while answer["id"] != request["id"] {
            answer = connection.line().unwrap();
        }
        let mut expected = responses[0].clone();
        if request["method"] == "daemon.status" {
            expected["result"]["connections"] = json!(2);
        }
        if request["method"] == "daemon.config" {
            // The example shows the first.
            answer["result"]["settings"].as_array_mut().unwrap().truncate(1);
        }
        if request["method"] == "daemon.metrics" {
            shorten(&mut answer["result"]);
        }
        assert!(fits(&expected, &answer), "{request}\n{expected}\n{answer}");
        if request["method"] == "generate.stream" {
            events(&mut connection, &responses[1..]);
        }
        seen.insert(request["method"].to_string());
    }
    assert_eq!(seen.len(), protocol::openrpc::METHODS.len() - 4, "every method has its example");
}

/// Leaves of the metrics what their example shows: one of each.
fn shorten(metrics: &mut Value) {
    for (list, map, kept) in [("requests", "outcomes", "stop"), ("models", "unloads", "requested")] {
        let all = metrics[list].as_array_mut().unwrap();
        all.retain(|it| it["model"] == "org/name");
        for it in all {
            it[map].as_object_mut().unwrap().retain(|name, _| name == kept);
            for histogram in it.as_object_mut().unwrap().values_mut().filter(|value| value["buckets"].is_array()) {
                histogram["buckets"].as_array_mut().unwrap().truncate(1);
            }
        }
    }
}

/// Every event of a stream is like the example of its type.
fn events(connection: &mut Connection, examples: &[Value]) {
    loop {
        let line = connection.line().unwrap();
        let kind = &line["params"]["result"]["type"];
        let example = examples.iter().find(|example| example["params"]["result"]["type"] == *kind);
        assert!(fits(example.unwrap_or(&Value::Null), &line), "{line}");
        if kind == "finished" {
            return;
        }
    }
}
