//! Who answers: this machine, and servers, by the whole daemon.

mod echo;
mod server;

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::process::Stdio;

use serde_json::{Value, json};

use crate::support::contract::Contract;
use crate::support::{Daemon, Start, text, until};
use server::{Reply, Server, completion};

const KEY: &str = "sk-very-secret-0815";

/// A daemon without models that knows a server by the name `cluster`, with a key.
fn knowing(server: &Server, start: Start) -> Daemon {
    let daemon = start.run();
    let params = json!({ "provider": "cluster", "base_url": server.url(), "default_model": "qwen", "key": KEY });
    let cluster = daemon.call("providers.configure", params).unwrap();
    assert_eq!(
        (&cluster["key"], &cluster["type"], &cluster["kind"]),
        (&json!("file"), &json!("local"), &json!("openai"))
    );
    daemon
}

fn kind(error: &Value) -> &str {
    error["data"]["kind"].as_str().unwrap()
}

#[test]
fn the_engine_holds_to_the_contract() {
    let slow = |files: &mut crate::support::model::Files| files.config["fake"] = json!({ "token_ms": 2, "repeat": 1 });
    let endless =
        |files: &mut crate::support::model::Files| files.config["fake"] = json!({ "token_ms": 5, "repeat": 500 });
    let daemon = Start::fake().model("test/echo", slow).model("test/endless", endless).run();
    let long = json!({ "model": "test/endless", "prompt": "on and on", "options": { "max_tokens": 4000 } });
    Contract { provider: "mlx", model: Some("test/echo"), long, knows_its_models: true, counts_prompts: true }
        .holds(&daemon);
}

#[test]
fn a_server_of_openais_api_holds_to_the_contract() {
    let server = Server::start(echo::openai);
    let daemon = knowing(&server, Start::fake());
    let long = json!({ "prompt": "on and on" });
    Contract { provider: "cluster", model: None, long, knows_its_models: true, counts_prompts: true }.holds(&daemon);
}

#[test]
fn gemini_holds_to_the_contract() {
    let server = Server::start(echo::gemini);
    let daemon = Start::fake().env("GEMINI_API_KEY", KEY).run();
    let params = json!({ "provider": "gemini", "base_url": server.url(), "default_model": "echo" });
    daemon.call("providers.configure", params).unwrap();
    let long = json!({ "prompt": "on and on" });
    Contract { provider: "gemini", model: None, long, knows_its_models: true, counts_prompts: true }.holds(&daemon);
    let asked = server.asked();
    let conversation = asked.iter().find(|asked| asked.body["contents"].as_array().is_some_and(|all| all.len() == 3));
    let conversation = &conversation.expect("the conversation was asked").body;
    assert_eq!(conversation["systemInstruction"]["parts"][0]["text"], "You answer in one short sentence.");
    assert_eq!(conversation["contents"][1]["role"], "model");
}

#[test]
fn the_same_call_is_answered_by_a_server() {
    let server = Server::start(|_| Reply::stream(completion(&["Rhi", "ne, zwölf 🦀"])));
    let daemon = knowing(&server, Start::fake());
    let options = json!({ "temperature": 0, "max_tokens": 9, "system_prompt": "Be brief." });
    let params = json!({ "provider": "cluster", "prompt": "Name a river.", "options": options, "trace_id": "memo" });
    let result = daemon.call("generate.text", params.clone()).unwrap();
    assert_eq!((&result["text"], &result["finish_reason"]), (&json!("Rhine, zwölf 🦀"), &json!("stop")));
    assert_eq!(
        (&result["provider"], &result["model"], &result["trace_id"]),
        (&json!("cluster"), &json!("qwen"), &json!("memo"))
    );
    assert_eq!(result["usage"], json!({ "prompt_tokens": 7, "completion_tokens": 3, "cached_tokens": 0 }));
    let asked = server.asked().remove(0);
    assert_eq!(asked.path, "/some/v1/chat/completions");
    assert!(asked.headers.contains(&format!("authorization: bearer {KEY}")), "{}", asked.headers);
    let messages = json!([{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Name a river."}]);
    assert_eq!(
        (&asked.body["model"], &asked.body["messages"], &asked.body["max_tokens"]),
        (&json!("qwen"), &messages, &json!(9))
    );

    let mut connection = daemon.connect();
    let first = connection.stream(params);
    assert_eq!((&first["type"], &first["provider"]), (&json!("queued"), &json!("cluster")));
    assert_eq!(text(&connection.events_until("finished")), "Rhine, zwölf 🦀");
}

#[test]
fn requests_to_servers_are_counted_under_their_names() {
    let server = Server::start(echo::openai);
    let daemon = knowing(&server, Start::fake());
    daemon.call("generate.text", json!({ "prompt": "one two", "provider": "cluster" })).unwrap();
    let stopped = json!({ "prompt": "one two", "provider": "cluster", "options": { "stop_sequences": ["two"] } });
    daemon.call("generate.text", stopped).unwrap();
    let unknown = json!({ "prompt": "x", "provider": "cluster", "model": "org/no-such-model" });
    assert_eq!(kind(&daemon.call("generate.text", unknown).unwrap_err()), "model_not_found");
    let mut client = daemon.connect();
    client.stream(json!({ "prompt": "on and on", "provider": "cluster" }));
    client.event_of("text");
    assert_eq!(daemon.call("daemon.metrics", json!({})).unwrap()["server_requests"], 1);
    drop(client);
    let counted = |model: Option<&str>| {
        let metrics = daemon.call("daemon.metrics", json!({})).unwrap();
        let of = |it: &&Value| it["engine"] == "cluster" && it["model"].as_str() == model;
        metrics["requests"].as_array().unwrap().iter().find(of).cloned().unwrap_or_default()
    };
    until("who left is counted", || counted(Some("qwen"))["outcomes"]["abandoned"] == 1);
    let qwen = counted(Some("qwen"));
    assert_eq!(qwen["outcomes"], json!({ "abandoned": 1, "stop": 2 }));
    assert_eq!((&qwen["prompt_tokens"], &qwen["first_token_ms"]["count"]), (&json!(18), &json!(3)), "{qwen}");
    assert_eq!((&qwen["queue_ms"]["count"], &qwen["total_ms"]["count"]), (&json!(0), &json!(2)), "{qwen}");
    // A name that only a client knows takes no room.
    assert_eq!(counted(None)["outcomes"], json!({ "model_not_found": 1 }));
}

#[test]
fn a_model_names_the_server_that_has_it() {
    let server = Server::start(|asked| match &*asked.path {
        "/some/v1/models" => Reply::json(200, &json!({"data": [{"id": "org/big"}, {"id": "small"}]})),
        _ => Reply::stream(completion(&["yes"])),
    });
    let daemon = knowing(&server, Start::fake().model("test/echo", |_| {}));
    for (model, provider, named) in
        [("org/big", "cluster", "org/big"), ("cluster/any", "cluster", "any"), ("test/echo", "mlx", "test/echo")]
    {
        let result = daemon.call("generate.text", json!({ "model": model, "prompt": "x" })).unwrap();
        assert_eq!((&result["provider"], &result["model"]), (&json!(provider), &json!(named)));
    }
    let error = daemon.call("generate.text", json!({ "model": "org/none", "prompt": "x" })).unwrap_err();
    assert_eq!(kind(&error), "model_not_found");
    let shown = daemon.call("providers.get", json!({ "provider": "cluster" })).unwrap();
    assert_eq!(shown["models"], json!(["org/big", "small"]));
    let tested = daemon.call("providers.test", json!({ "provider": "cluster" })).unwrap();
    assert_eq!((&tested["ok"], &tested["models"]), (&json!(true), &json!(2)));
}

#[test]
fn a_key_is_told_by_nothing() {
    let echo = json!({"error": {"message": format!("Incorrect API key provided: {KEY}."), "code": "invalid_api_key"}});
    let server = Server::start(move |_| Reply::json(401, &echo));
    let daemon = knowing(&server, Start::fake().env("TALKIE_LOG", "trace"));
    set_key_by_http(&daemon);
    let error = daemon.call("generate.text", json!({ "provider": "cluster", "prompt": "x" })).unwrap_err();
    assert_eq!(kind(&error), "key_refused");
    let mut told = vec![error.to_string()];
    for method in ["providers.list", "daemon.status", "models.list"] {
        told.push(daemon.call(method, json!({})).unwrap().to_string());
    }
    told.push(daemon.call("providers.test", json!({ "provider": "cluster" })).unwrap().to_string());
    until("there is a log", || daemon.log().contains("INFO"));
    told.push(daemon.log());
    for told in told {
        assert!(!told.contains(KEY), "{told}");
    }
}

/// The other framing, which is not the daemon's own code.
fn set_key_by_http(daemon: &Daemon) {
    let answer = by_http(daemon, "providers.configure", &json!({ "provider": "cluster", "key": KEY }));
    assert!(answer.contains(r#""key":"file""#), "{answer}");
}

fn by_http(daemon: &Daemon, method: &str, params: &Value) -> String {
    let body = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params }).to_string();
    let mut stream = UnixStream::connect(daemon.socket()).unwrap();
    let head = format!("POST / HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {}\r\n\r\n", body.len());
    stream.write_all((head + &body).as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn prompts_and_answers_are_not_logged() {
    let server = Server::start(|_| Reply::stream(completion(&["an answer of theirs"])));
    let daemon = knowing(&server, Start::fake().env("TALKIE_LOG", "trace"));
    let request = json!({ "provider": "cluster", "prompt": "a question of theirs" });
    assert_eq!(daemon.call("generate.text", request.clone()).unwrap()["text"], "an answer of theirs");
    assert!(by_http(&daemon, "generate.text", &request).contains("an answer of theirs"));
    let log = daemon.log();
    assert!(log.contains("INFO") && !log.contains("of theirs"), "{log}");
}

#[test]
fn a_key_that_is_none_changes_nothing() {
    let server = Server::start(|_| Reply::stream(completion(&["yes"])));
    let daemon = knowing(&server, Start::fake());
    let params = json!({ "provider": "cluster", "key": "two words", "default_model": "other" });
    let error = daemon.call("providers.configure", params).unwrap_err();
    assert_eq!(kind(&error), "invalid_params");
    let cluster = daemon.call("providers.get", json!({ "provider": "cluster" })).unwrap();
    assert_eq!((&cluster["default_model"], &cluster["key"]), (&json!("qwen"), &json!("file")));
}

#[test]
fn a_redirect_is_not_followed_with_the_key() {
    let other = Server::start(|_| Reply::stream(completion(&["stolen"])));
    let location = format!("location: {}/chat/completions\r\n", other.url());
    let server = Server::start(move |_| Reply { status: 307, headers: location.clone(), ..Reply::stream("") });
    let daemon = knowing(&server, Start::fake());
    let error = daemon.call("generate.text", json!({ "provider": "cluster", "prompt": "x" })).unwrap_err();
    assert_eq!(kind(&error), "provider_unavailable");
    assert!(error["message"].as_str().unwrap().contains("redirects to the host 127.0.0.1"), "{error}");
    assert!(other.asked().is_empty());
}

#[test]
fn nothing_leaves_a_machine_that_is_local_only() {
    let server = Server::start(|_| Reply::stream(completion(&["here"])));
    let daemon = knowing(&server, Start::fake().env("TALKIE_LOCAL_ONLY", "1").env("GEMINI_API_KEY", "a-key"));
    let list = daemon.call("providers.list", json!({})).unwrap();
    assert_eq!(list["local_only"], true);
    let far = json!({ "provider": "far", "base_url": "http://192.0.2.1/v1", "default_model": "x" });
    assert_eq!(daemon.call("providers.configure", far).unwrap()["availability"]["reason"], "not_allowed");
    for request in [
        json!({ "provider": "gemini", "prompt": "x" }),
        json!({ "provider": "far", "prompt": "x" }),
        json!({ "model": "gemini/gemini-flash-latest", "prompt": "x" }),
    ] {
        assert_eq!(kind(&daemon.call("generate.text", request).unwrap_err()), "not_allowed");
    }
    let embeddings = json!({ "provider": "far", "model": "x", "input": ["x"] });
    assert_eq!(kind(&daemon.call("embeddings.create", embeddings).unwrap_err()), "not_allowed");
    assert_eq!(daemon.call("providers.test", json!({ "provider": "far" })).unwrap()["error"]["kind"], "not_allowed");
    // A server of this machine may be asked.
    assert_eq!(daemon.call("generate.text", json!({ "provider": "cluster", "prompt": "x" })).unwrap()["text"], "here");
}

#[test]
fn the_next_is_asked_if_the_caller_allows_it() {
    let server = Server::start(|_| Reply::json(400, &json!({"error": {"message": "no such option"}})));
    let daemon = knowing(&server, Start::fake().model("test/echo", |_| {}));
    let down = json!({ "provider": "down", "base_url": "http://127.0.0.1:9/v1", "default_model": "x" });
    daemon.call("providers.configure", down).unwrap();
    let request = |fallback: bool| json!({ "provider": "down", "prompt": "x", "fallback": fallback });
    assert_eq!(kind(&daemon.call("generate.text", request(false)).unwrap_err()), "provider_unavailable");
    let result = daemon.call("generate.text", request(true)).unwrap();
    assert_eq!((&result["provider"], &result["text"]), (&json!("mlx"), &json!("x")));
    assert_eq!(result["passed_over"][0]["provider"], "down");
    assert_eq!(result["passed_over"][0]["error"]["kind"], "provider_unavailable");
    let list = daemon.call("providers.list", json!({})).unwrap();
    let down = list["providers"].as_array().unwrap().iter().find(|provider| provider["id"] == "down").unwrap();
    assert_eq!(down["availability"]["reason"], "unreachable");
}

#[test]
fn an_answer_that_broke_off_is_no_other_providers_to_finish() {
    let half = completion(&["Rhi", "ne"]).split("data: ").take(3).collect::<Vec<_>>().join("data: ");
    let server = Server::start(move |_| Reply::stream(half.clone()));
    let daemon = knowing(&server, Start::fake().model("test/echo", |_| {}));
    let mut connection = daemon.connect();
    connection.stream(json!({ "provider": "cluster", "prompt": "x", "fallback": true }));
    let events = connection.events_until("text");
    assert_eq!(events.last().unwrap()["text"], "Rhi");
    assert_eq!(connection.event_of("failed")["error"]["kind"], "provider_unavailable");
}

#[test]
fn a_cancel_closes_the_connection_to_the_server() {
    let begun = completion(&["Rhi"]).split("data: ").take(2).collect::<Vec<_>>().join("data: ");
    let server = Server::start(move |_| Reply { hangs: true, ..Reply::stream(begun.clone()) });
    let daemon = knowing(&server, Start::fake());
    let mut connection = daemon.connect();
    let id =
        connection.stream(json!({ "provider": "cluster", "prompt": "x", "trace_id": "long" }))["request_id"].clone();
    connection.event_of("text");
    let status = daemon.call("daemon.status", json!({})).unwrap();
    let running = &status["requests"][0];
    assert_eq!(
        (&running["request_id"], &running["provider"], &running["trace_id"]),
        (&id, &json!("cluster"), &json!("long"))
    );
    assert_eq!(daemon.call("generate.cancel", json!({ "request_id": id })).unwrap()["cancelled"], true);
    assert_eq!(connection.event_of("finished")["finish_reason"], "cancelled");
    until("the connection to the server is closed", || server.open() == 0);
    // A client that goes away cancels too.
    let mut connection = daemon.connect();
    connection.stream(json!({ "provider": "cluster", "prompt": "x" }));
    connection.event_of("text");
    drop(connection);
    until("the connection to the server is closed", || server.open() == 0);
    until("nothing runs", || daemon.call("daemon.status", json!({})).unwrap()["requests"] == json!([]));
}

#[test]
fn vectors_of_a_server_are_listed_and_cancelled() {
    let server = Server::start(|_| Reply { hangs: true, ..Reply::stream("") });
    let daemon = knowing(&server, Start::fake());
    let mut connection = daemon.connect();
    connection.request("embeddings.create", json!({ "provider": "cluster", "input": ["x"], "trace_id": "long" }));
    let mut running = json!(null);
    until("it is listed", || {
        running = daemon.call("daemon.status", json!({})).unwrap()["requests"][0].clone();
        running["trace_id"] == "long" && server.open() == 1
    });
    assert_eq!((&running["provider"], &running["model"]), (&json!("cluster"), &json!("qwen")));
    let id = json!({ "request_id": running["request_id"] });
    assert_eq!(daemon.call("generate.cancel", id.clone()).unwrap()["cancelled"], true);
    let answer = connection.line().unwrap();
    assert_eq!(kind(&answer["error"]), "cancelled", "{answer}");
    until("the connection to the server is closed", || server.open() == 0);
    assert_eq!(daemon.call("generate.cancel", id).unwrap()["cancelled"], false);
}

#[test]
fn a_server_that_goes_on_behind_a_stop_sequence_is_cut_there() {
    let body = completion(&["one, two, th", "ree, four"]);
    let server = Server::start(move |_| Reply { hangs: true, ..Reply::stream(body.clone()) });
    let daemon = knowing(&server, Start::fake());
    let options = json!({ "stop_sequences": [", three"] });
    let result =
        daemon.call("generate.text", json!({ "provider": "cluster", "prompt": "x", "options": options })).unwrap();
    assert_eq!((&result["text"], &result["finish_reason"]), (&json!("one, two"), &json!("stop")));
    until("the connection to the server is closed", || server.open() == 0);
}

#[test]
fn json_that_is_none_is_an_error() {
    let server = Server::start(|_| Reply::stream(completion(&["Sure! ", "{\"river\": 1}"])));
    let daemon = knowing(&server, Start::fake());
    let format = json!({ "type": "json_object" });
    let params = json!({ "provider": "cluster", "prompt": "x", "response_format": format });
    let error = daemon.call("generate.text", params).unwrap_err();
    assert_eq!(kind(&error), "generation_failed");
    assert!(error["message"].as_str().unwrap().contains("did not heed response_format"), "{error}");
    assert_eq!(server.asked()[0].body["response_format"], json!({ "type": "json_object" }));
}

#[test]
fn a_file_of_providers_that_is_wrong_keeps_everything_here() {
    let server = Server::start(|_| Reply::stream(completion(&["there"])));
    let daemon = knowing(&server, Start::fake().model("test/echo", |_| {}));
    let path = daemon.home.path().join("providers.toml");
    let right = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, format!("{right}\nlocal_onli = true\n")).unwrap();
    let error = daemon.call("generate.text", json!({ "provider": "cluster", "prompt": "x" })).unwrap_err();
    assert_eq!(kind(&error), "configuration_error");
    assert!(error["message"].as_str().unwrap().contains("local_onli"), "{error}");
    assert_eq!(daemon.call("generate.text", json!({ "prompt": "x" })).unwrap()["provider"], "mlx");
    std::fs::write(&path, right).unwrap();
    assert_eq!(daemon.call("generate.text", json!({ "provider": "cluster", "prompt": "x" })).unwrap()["text"], "there");
}

#[test]
fn talkiectl_reads_a_key_from_standard_input() {
    let daemon = Start::fake().run();
    let mut set = daemon.talkiectl(&["providers", "set-key", "gemini"]);
    let mut set = set.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    set.stdin.take().unwrap().write_all(format!("{KEY}\n").as_bytes()).unwrap();
    let output = set.wait_with_output().unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "the key of gemini is in a file that only you can read\n");
    let list = daemon.call("providers.list", json!({})).unwrap();
    let gemini = list["providers"].as_array().unwrap().iter().find(|provider| provider["id"] == "gemini").unwrap();
    assert_eq!((&gemini["key"], &gemini["availability"]["is_available"]), (&json!("file"), &json!(true)));
    let output = daemon.talkiectl(&["providers", "remove-key", "gemini"]).output().unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "gemini has no key\n");
}

#[test]
fn tokens_are_counted_by_provider_model_and_app() {
    let server = Server::start(|_| Reply::stream(completion(&["yes"])));
    let daemon = knowing(&server, Start::fake().model("test/echo", |_| {}));
    std::fs::write(
        daemon.home.path().join("prices.toml"),
        "[[price]]\nprovider = \"cluster\"\nmodel = \"*\"\nprompt = 1000\ncompletion = 2000\n",
    )
    .unwrap();
    for (provider, app) in [("cluster", Some("notes")), ("mlx", Some("notes")), ("mlx", None)] {
        daemon.call("generate.text", json!({ "provider": provider, "prompt": "four", "app": app })).unwrap();
    }
    let output = daemon.talkiectl(&["generate", "hello"]).output().unwrap();
    assert!(output.status.success());
    let report = daemon.call("usage.get", json!({})).unwrap();
    let row = |provider: &str, app: &str| {
        let rows = report["rows"].as_array().unwrap().iter();
        let row = rows.clone().find(|row| row["provider"] == provider && row["app"] == app);
        row.unwrap_or_else(|| panic!("{provider} {app}: {report}")).clone()
    };
    let cluster = row("cluster", "notes");
    assert_eq!(
        (&cluster["prompt_tokens"], &cluster["completion_tokens"], &cluster["model"]),
        (&json!(7), &json!(3), &json!("qwen"))
    );
    assert!((cluster["cost_usd"].as_f64().unwrap() - 0.013).abs() < 1e-9, "{cluster}");
    assert_eq!((&row("mlx", "notes")["requests"], &row("mlx", "notes")["cost_usd"]), (&json!(1), &json!(0.0)));
    assert_eq!(row("mlx", "talkiectl")["requests"], 1);
    let output = daemon.talkiectl(&["usage", "--by", "provider"]).output().unwrap();
    let shown = String::from_utf8(output.stdout).unwrap();
    assert!(shown.contains("$0.0130") && shown.contains("cluster"), "{shown}");
}

#[cfg(target_os = "linux")]
#[test]
fn a_key_of_the_environment_goes_to_no_engine_and_no_core_file() {
    let daemon =
        Start::fake().model("test/echo", |_| {}).env("GEMINI_API_KEY", KEY).env("TALKIE_KEY_CLUSTER", KEY).run();
    let list = daemon.call("providers.list", json!({})).unwrap();
    assert!(list.to_string().contains(r#""key":"environment""#), "{list}");
    let loaded = daemon.call("models.load", json!({ "model": "test/echo" })).unwrap();
    let environment = |pid: &Value| std::fs::read(format!("/proc/{pid}/environ")).unwrap();
    let has_key = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).contains(KEY);
    assert!(has_key(environment(&json!(daemon.pid()))), "the daemon has it");
    assert!(!has_key(environment(&loaded["residency"]["pid"])));
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", daemon.pid())).unwrap();
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    assert_eq!(core.split_whitespace().nth(4), Some("0"), "{core}");
}

#[test]
fn a_deadline_holds_for_a_server_too() {
    let whole = completion(&["Rhi"]);
    let said = whole.split_inclusive("\n\n").next().unwrap().to_owned();
    let server = Server::start(move |asked| match asked.body["messages"][0]["content"].as_str() {
        Some("begin") => Reply { hangs: true, ..Reply::stream(said.clone()) },
        _ => Reply { hangs: true, ..Reply::stream("") },
    });
    let daemon = knowing(&server, Start::fake());
    let asked = |prompt: &str| json!({ "provider": "cluster", "prompt": prompt, "deadline_ms": 300 });
    let cut = daemon.call("generate.text", asked("begin")).unwrap();
    assert_eq!((&cut["text"], &cut["finish_reason"]), (&json!("Rhi"), &json!("deadline")));
    let error = daemon.call("generate.text", asked("say nothing")).unwrap_err();
    assert_eq!(kind(&error), "timeout");
    let vectors = json!({ "provider": "cluster", "input": ["a"], "deadline_ms": 300 });
    assert_eq!(kind(&daemon.call("embeddings.create", vectors).unwrap_err()), "timeout");
    until("no server is asked on", || server.open() == 0);
    let status = daemon.call("daemon.status", json!({})).unwrap();
    assert_eq!(status["requests"], json!([]));
}

#[test]
fn who_does_not_wait_for_long_is_answered_by_the_next() {
    let server = Server::start(|_| Reply::stream(completion(&["Rhine"])));
    let endless =
        |files: &mut crate::support::model::Files| files.config["fake"] = json!({ "token_ms": 5, "repeat": 500 });
    let daemon = knowing(&server, Start::fake().args(&["--batch", "1"]).model("test/endless", endless));
    let mut runs = daemon.connect();
    runs.stream(json!({ "provider": "mlx", "prompt": "on and on", "options": { "max_tokens": 4000 } }));
    runs.events_until("text");
    let asked = |time: &str| json!({ "provider": "mlx", "prompt": "x", "fallback": true, time: 100 });
    let result = daemon.call("generate.text", asked("queue_timeout_ms")).unwrap();
    assert_eq!((&result["provider"], &result["text"]), (&json!("cluster"), &json!("Rhine")));
    assert_eq!(result["passed_over"][0]["error"]["kind"], "timeout");
    let error = daemon.call("generate.text", asked("deadline_ms")).unwrap_err();
    assert_eq!(kind(&error), "timeout", "nobody else has more time");
}
