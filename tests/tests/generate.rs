//! Answers: whole, streamed, cancelled, refused.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::{Daemon, Start, text, until};

/// A daemon with one model that repeats the prompt as a whole.
fn echo() -> Daemon {
    Start::fake().model("test/echo", |_| {}).run()
}

/// A daemon whose model goes on for minutes.
fn endless() -> Daemon {
    Start::fake().model("test/endless", |files| files.config["fake"] = json!({ "token_ms": 5, "repeat": 500 })).run()
}

fn endless_request(prompt: &str) -> Value {
    json!({ "prompt": prompt, "options": { "max_tokens": 4000 } })
}

fn running(daemon: &Daemon) -> usize {
    daemon.call("daemon.status", json!({})).unwrap()["requests"].as_array().unwrap().len()
}

#[test]
fn a_prompt_is_answered_by_the_one_installed_model() {
    let result = echo().call("generate.text", json!({ "prompt": "hello, wörld 👋" })).unwrap();
    assert_eq!(result["text"], "hello, wörld 👋");
    assert_eq!(result["model"], "test/echo");
    assert_eq!(result["finish_reason"], "stop");
    assert_eq!(result["usage"], json!({ "prompt_tokens": 18, "completion_tokens": 18, "cached_tokens": 0 }));
}

#[test]
fn a_stream_tells_its_parts_in_order_and_its_pieces_make_the_text() {
    let daemon = echo();
    let mut connection = daemon.connect();
    let first = connection.stream(json!({ "prompt": "näher 👩‍👩‍👧", "trace_id": "memo 7", "options": { "seed": 5 } }));
    assert_eq!((&first["type"], &first["trace_id"]), (&json!("queued"), &json!("memo 7")));
    let events = connection.events_until("finished");
    let kinds: Vec<&str> = events.iter().filter_map(|event| event["type"].as_str()).collect();
    let started = kinds.iter().position(|kind| *kind == "started").unwrap();
    assert!(kinds[..started].iter().all(|kind| *kind == "loading"), "{kinds:?}");
    assert!(kinds[started + 1..kinds.len() - 1].iter().all(|kind| *kind == "text"), "{kinds:?}");
    assert_eq!(events[started]["seed"], 5);
    assert_eq!(text(&events), "näher 👩‍👩‍👧");
    let timings = &events.last().unwrap()["timings"];
    assert!(timings["load_ms"].as_f64().unwrap() > 0.0, "the first request waits for the load: {timings}");
}

#[test]
fn the_second_request_finds_the_model_warm() {
    let daemon = echo();
    daemon.call("generate.text", json!({ "prompt": "one" })).unwrap();
    let pid =
        |daemon: &Daemon| daemon.call("daemon.status", json!({})).unwrap()["residents"][0]["residency"]["pid"].clone();
    let engine = pid(&daemon);
    let second = daemon.call("generate.text", json!({ "prompt": "two" })).unwrap();
    assert_eq!(second["timings"]["load_ms"], 0.0);
    assert_eq!(pid(&daemon), engine);
}

#[test]
fn messages_and_a_system_prompt_reach_the_template() {
    let daemon = echo();
    let messages = json!([{ "role": "user", "content": "a" }, { "role": "assistant", "content": "b" },
        { "role": "user", "content": "c" }]);
    let result =
        daemon.call("generate.text", json!({ "messages": messages, "options": { "system_prompt": "s" } })).unwrap();
    assert_eq!(result["text"], "sabc");
}

#[test]
fn a_stop_sequence_ends_the_answer_and_is_not_shown() {
    let daemon = echo();
    let request = json!({ "prompt": "one two three", "options": { "stop_sequences": ["o t"] } });
    let result = daemon.call("generate.text", request).unwrap();
    assert_eq!((&result["text"], &result["finish_reason"]), (&json!("one tw"), &json!("stop")));
}

#[test]
fn max_tokens_ends_the_answer_with_its_reason() {
    let result = echo().call("generate.text", json!({ "prompt": "abcdef", "options": { "max_tokens": 3 } })).unwrap();
    assert_eq!((&result["text"], &result["finish_reason"]), (&json!("abc"), &json!("length")));
}

#[test]
fn a_cut_character_is_flushed_at_the_end() {
    let result = echo().call("generate.text", json!({ "prompt": "é", "options": { "max_tokens": 1 } })).unwrap();
    assert_eq!(result["text"], "\u{fffd}");
}

#[test]
fn bad_requests_are_refused_by_name_and_load_nothing() {
    let daemon = echo();
    let many: Vec<String> = (0..17).map(|number| number.to_string()).collect();
    let cases = [
        (json!({}), "missing field `prompt`"),
        (json!({ "prompt": "" }), "`prompt` is empty"),
        (json!({ "prompt": " \n" }), "`prompt` is empty"),
        (json!({ "prompt": "a", "messages": [] }), "both `prompt` and `messages`"),
        (json!({ "messages": [] }), "`messages` is empty"),
        (json!({ "messages": [{ "role": "assistant", "content": "a" }] }), "must be of role `user` or `tool`"),
        (json!({ "messages": [{ "role": "robot", "content": "a" }] }), "messages[0].role: unknown variant `robot`"),
        (json!({ "prompt": "a", "options": { "max_tokens": 0 } }), "options.max_tokens is 0"),
        (json!({ "prompt": "a", "options": { "kv_bits": 3 } }), "options.kv_bits is 3, but must be 4 or 8"),
        (json!({ "prompt": "a", "options": { "speculation": "on" } }), "options.speculation: unknown variant `on`"),
        (json!({ "prompt": "a", "options": { "n": 0 } }), "options.n is 0, but must lie in 1 to 16"),
        (json!({ "prompt": "a", "options": { "n": 17 } }), "options.n is 17"),
        (json!({ "prompt": "a", "options": { "n": 2, "temperature": 0 } }), "all answers are alike"),
        (json!({ "prompt": "a", "options": { "max_tokens": -1 } }), "options.max_tokens: invalid value"),
        (json!({ "prompt": "a", "options": { "temperature": -1 } }), "options.temperature is -1"),
        (json!({ "prompt": "a", "options": { "temperature": "hot" } }), "options.temperature: invalid type"),
        (json!({ "prompt": "a", "options": { "temperature": 1e38 } }), "options.temperature"),
        (json!({ "prompt": "a", "options": { "temperature": 1e39 } }), "options.temperature: number out of range"),
        (json!({ "prompt": "a", "options": { "top_p": 0 } }), "options.top_p is 0"),
        (json!({ "prompt": "a", "options": { "stop_sequences": [""] } }), "empty entry"),
        (json!({ "prompt": "a", "options": { "stop_sequences": many } }), "17 entries"),
        (json!({ "prompt": "a", "options": { "tempreature": 1 } }), "unknown field `tempreature`"),
        (json!({ "prompt": "a", "response_format": { "type": "yaml" } }), "unknown variant `yaml`"),
        (json!({ "prompt": "a", "keep_alive": "5 days" }), "keep_alive"),
        (json!({ "prompt": "a", "trace_id": "x".repeat(129) }), "trace_id is longer"),
    ];
    for (params, words) in cases {
        let error = daemon.call("generate.text", params.clone()).unwrap_err();
        assert_eq!(error["code"], -32602, "{params}: {error}");
        assert!(error["data"]["message"].as_str().unwrap().contains(words), "{params}: {error}");
        let refused = daemon.call("generate.stream", params).unwrap_err();
        assert_eq!(refused["code"], -32602);
    }
    assert_eq!(daemon.call("daemon.status", json!({})).unwrap()["residents"], json!([]));
}

#[test]
fn a_number_that_is_none_is_broken_json() {
    let daemon = echo();
    let mut connection = daemon.connect();
    connection.send(
        br#"{"jsonrpc":"2.0","id":1,"method":"generate.text","params":{"prompt":"a","options":{"temperature":NaN}}}"#,
    );
    connection.send(b"\n");
    assert_eq!(connection.line().unwrap()["error"]["code"], -32700);
}

#[test]
fn an_unknown_model_is_not_found() {
    let error = echo().call("generate.text", json!({ "model": "no/such", "prompt": "a" })).unwrap_err();
    assert_eq!(error["code"], 1001);
    assert!(error["message"].as_str().unwrap().contains("no/such"), "{error}");
}

#[test]
fn a_context_that_overflows_is_an_error_with_both_numbers() {
    let error = echo().call("generate.text", json!({ "prompt": "a".repeat(4000), "options": { "max_tokens": 97 } }));
    let error = error.unwrap_err();
    assert_eq!(error["code"], 1004);
    assert_eq!((&error["data"]["needed_tokens"], &error["data"]["context_length"]), (&json!(4097), &json!(4096)));
}

#[test]
fn several_models_and_no_name_is_refused_with_the_names() {
    let daemon = Start::fake().model("test/a", |_| {}).model("test/b", |_| {}).run();
    let error = daemon.call("generate.text", json!({ "prompt": "x" })).unwrap_err();
    assert!(error["message"].as_str().unwrap().contains("test/a, test/b"), "{error}");
}

#[test]
fn a_request_is_cancelled_by_id_from_another_connection() {
    let daemon = endless();
    let mut connection = daemon.connect();
    let id = connection.stream(endless_request("endless "))["request_id"].clone();
    connection.events_until("text");
    assert_eq!(daemon.call("generate.cancel", json!({ "request_id": id })).unwrap(), json!({ "cancelled": true }));
    let last = connection.events_until("finished").pop().unwrap();
    assert_eq!(last["finish_reason"], "cancelled");
    assert_eq!(daemon.call("generate.cancel", json!({ "request_id": id })).unwrap(), json!({ "cancelled": false }));
    assert_eq!(
        daemon.call("generate.cancel", json!({ "request_id": "req_1" })).unwrap(),
        json!({ "cancelled": false })
    );
}

#[test]
fn closing_the_connection_cancels_a_stream_and_a_call() {
    let daemon = endless();
    let mut stream = daemon.connect();
    stream.stream(endless_request("one "));
    stream.events_until("text");
    let mut call = daemon.connect();
    call.request("generate.text", endless_request("two "));
    until("both requests are there", || running(&daemon) == 2);
    drop(stream);
    until("the stream is gone", || running(&daemon) == 1);
    drop(call);
    until("the call is gone", || running(&daemon) == 0);
}

#[test]
fn a_client_that_leaves_after_another_was_served_is_noticed() {
    let brief = |files: &mut crate::support::model::Files| {
        files.config["fake"] = json!({ "token_ms": 5, "repeat": 500 });
    };
    let daemon = Start::fake().args(&["--keep-alive", "0"]).model("test/endless", brief).run();
    let mut follower = daemon.connect();
    follower.call("models.subscribe", json!({})).unwrap();
    let mut leaves = daemon.connect();
    leaves.stream(endless_request("leaves "));
    leaves.events_until("text");
    let short = json!({ "prompt": "short", "options": { "max_tokens": 3 } });
    daemon.call("generate.text", short).unwrap();
    // Nobody asks the daemon for anything from here on: it has to notice by itself.
    std::thread::sleep(Duration::from_millis(300));
    drop(leaves);
    let left = Instant::now();
    assert_eq!(follower.event_of("unloaded")["reason"], "idle");
    // Its answer would have taken 20 s.
    assert!(left.elapsed() < Duration::from_secs(5), "{:?}", left.elapsed());
}

#[test]
fn unsubscribing_cancels() {
    let daemon = endless();
    let mut connection = daemon.connect();
    let subscription = connection.call("generate.stream", endless_request("endless ")).unwrap();
    connection.events_until("text");
    connection.call("generate.unsubscribe", json!([subscription])).unwrap();
    until("the request is gone", || running(&daemon) == 0);
}

#[test]
fn a_full_queue_is_busy_and_says_when_to_come_back() {
    let model =
        |files: &mut crate::support::model::Files| files.config["fake"] = json!({ "token_ms": 5, "repeat": 500 });
    let daemon = Start::fake().args(&["--queue", "1", "--batch", "1"]).model("test/endless", model).run();
    let mut runs = daemon.connect();
    runs.stream(endless_request("runs "));
    runs.events_until("text");
    let mut waits = daemon.connect();
    waits.stream(endless_request("waits "));
    let error = daemon.call("generate.text", endless_request("too many ")).unwrap_err();
    assert_eq!((&error["code"], &error["data"]["queue_length"]), (&json!(3001), &json!(1)));
    assert_eq!(error["data"]["retry_after_ms"], 1000);
}

#[test]
fn a_failing_sequence_fails_its_request_and_no_other() {
    let model = |files: &mut crate::support::model::Files| files.config["fake"] = json!({ "fail_after": 3 });
    let daemon = Start::fake().model("test/fails", model).run();
    let error = daemon.call("generate.text", json!({ "prompt": "abcdef" })).unwrap_err();
    assert_eq!(error["code"], 2002);
    assert_eq!(daemon.call("generate.text", json!({ "prompt": "ab" })).unwrap()["text"], "ab");
}

#[test]
fn a_client_that_never_reads_does_not_hold_up_others() {
    let daemon = Start::fake().model("test/flood", |files| files.config["fake"] = json!({ "repeat": 300 })).run();
    let mut deaf = daemon.connect();
    for _ in 0..20 {
        deaf.request("generate.stream", json!({ "prompt": "flood flood ", "options": { "max_tokens": 3600 } }));
    }
    let answer = daemon.call("generate.text", json!({ "prompt": "ok", "options": { "max_tokens": 2 } })).unwrap();
    assert_eq!(answer["text"], "ok");
}

#[test]
fn a_long_load_that_nobody_reads_about_loses_no_token() {
    let daemon = Start::fake().model("test/long", |files| files.config["fake"] = json!({ "load_steps": 20_000 })).run();
    let mut deaf = daemon.connect();
    deaf.request("generate.stream", json!({ "prompt": "ab", "options": { "max_tokens": 2 } }));
    until("the answer is there", || {
        let resident = daemon.call("daemon.status", json!({})).unwrap()["residents"][0]["residency"]["state"].clone();
        resident == "idle" && running(&daemon) == 0
    });
    deaf.line().unwrap();
    deaf.event();
    assert_eq!(text(&deaf.events_until("finished")), "ab");
}

fn river() -> Value {
    let schema = json!({ "type": "object", "properties": { "river": { "type": "string" } }, "required": ["river"],
        "additionalProperties": false });
    json!({ "type": "json_schema", "schema": schema })
}

#[test]
fn an_answer_is_held_to_its_format_and_ends_when_it_is_whole() {
    let daemon = echo();
    let answer = |format: Value, max_tokens: u32| {
        let options = json!({ "max_tokens": max_tokens });
        let request = json!({ "prompt": "Po", "response_format": format, "options": options });
        let result = daemon.call("generate.text", request).unwrap();
        (result["text"].as_str().unwrap().to_owned(), result["finish_reason"].as_str().unwrap().to_owned())
    };
    let whole = |text: &str| (text.to_owned(), "stop".to_owned());
    assert_eq!(answer(river(), 100), whole(r#"{"river":"Po"}"#));
    assert_eq!(answer(river(), 14), whole(r#"{"river":"Po"}"#));
    assert_eq!(answer(river(), 13), (r#"{"river":"Po""#.into(), "length".into()));
    assert_eq!(answer(json!({ "type": "text" }), 100), whole("Po"));
    assert_eq!(answer(json!({ "type": "json_object" }), 100), whole(r#"{"Po":""}"#));
    assert_eq!(answer(json!({ "type": "regex", "pattern": "(Rhine|Po)!?" }), 100), whole("Po"));
    assert_eq!(answer(json!({ "type": "lark", "grammar": "start: \"to \" \"P\" \"o\"" }), 100), whole("to Po"));
}

#[test]
fn formats_that_cannot_be_used_are_refused_by_name_and_load_nothing() {
    let daemon = echo();
    let properties = |part: Value| json!({ "type": "json_schema", "schema": { "properties": { "a": part } } });
    let cases = [
        (properties(json!({ "type": "strin" })), "response_format cannot be used: /properties/a: Invalid type: strin"),
        (properties(json!({ "not": {} })), "/properties/a: Unimplemented keys"),
        (json!({ "type": "json_schema", "schema": { "enum": [] } }), "nsatisfiable"),
        (json!({ "type": "json_schema", "schema": [] }), "expected a map"),
        (json!({ "type": "json_schema", "schema": {}, "strict": true }), "unknown field `strict`"),
        (json!({ "type": "regex", "pattern": "a(" }), "unclosed group"),
        (json!({ "type": "regex", "pattern": "[a&&b]" }), "it matches nothing"),
        (json!({ "type": "regex", "pattern": "a".repeat(65537) }), "response_format.pattern has 65537 bytes"),
        (json!({ "type": "lark", "grammar": "start: \"a\" b" }), "line 1, column 8: unknown name"),
    ];
    for (format, words) in cases {
        let error = daemon.call("generate.text", json!({ "prompt": "a", "response_format": format })).unwrap_err();
        assert_eq!(error["code"], -32602, "{error}");
        assert!(error["data"]["message"].as_str().unwrap().contains(words), "{error}");
    }
    let stopped = json!({ "prompt": "a", "response_format": river(), "options": { "stop_sequences": ["x"] } });
    let error = daemon.call("generate.text", stopped).unwrap_err();
    assert!(error["message"].as_str().unwrap().contains("leave one of them out"), "{error}");
    assert_eq!(daemon.call("daemon.status", json!({})).unwrap()["residents"], json!([]));
}

#[test]
fn what_only_the_engine_can_find_in_a_format_is_the_callers_fault_too() {
    let daemon = echo();
    let format = json!({ "type": "lark", "grammar": "start: <|nowhere|>" });
    let request = json!({ "prompt": "a", "response_format": format });
    let error = daemon.call("generate.text", request.clone()).unwrap_err();
    assert_eq!((&error["code"], &error["data"]["kind"]), (&json!(-32602), &json!("invalid_params")));
    assert!(error["message"].as_str().unwrap().contains("unknown special token"), "{error}");
    let mut connection = daemon.connect();
    connection.stream(request);
    let failed = connection.events_until("failed").pop().unwrap();
    assert_eq!(failed["error"]["kind"], "invalid_params");
}

#[test]
fn log_probabilities_come_with_each_token_where_they_are_asked_for() {
    let daemon = echo();
    let request = |options: Value| json!({ "prompt": "né", "options": options });
    let result = daemon.call("generate.text", request(json!({ "logprobs": 2 }))).unwrap();
    let told = result["logprobs"].as_array().unwrap();
    // A byte is a token here, and half of a character has no text.
    let expected = [(110, "n"), (195, "\u{fffd}"), (169, "\u{fffd}")];
    assert_eq!(told.len(), expected.len());
    for (told, (token, text)) in told.iter().zip(expected) {
        assert_eq!((&told["token"], &told["text"], &told["logprob"]), (&json!(token), &json!(text), &json!(0.0)));
        assert_eq!(told["top"].as_array().unwrap().len(), 2);
        assert_eq!(told["top"][0], json!({ "token": token, "text": text, "logprob": 0.0 }));
    }
    let events = {
        let mut connection = daemon.connect();
        connection.stream(request(json!({ "logprobs": 0 })));
        connection.events_until("finished")
    };
    let of_tokens: Vec<_> = events.iter().filter(|event| event["type"] == "logprobs").collect();
    assert_eq!((of_tokens.len(), &of_tokens[0]["top"]), (3, &json!([])));
    assert!(daemon.call("generate.text", request(json!({}))).unwrap().get("logprobs").is_none());
}

#[test]
fn a_prompt_is_counted_without_a_load() {
    let daemon = echo();
    let count = daemon.call("generate.count_tokens", json!({ "prompt": "hello" })).unwrap();
    assert_eq!(count, json!({ "model": "test/echo", "prompt_tokens": 5, "context_length": 4096 }));
    let with_system = json!({ "prompt": "hello", "options": { "system_prompt": "Be brief." } });
    assert_eq!(daemon.call("generate.count_tokens", with_system).unwrap()["prompt_tokens"], 14);
    assert_eq!(daemon.call("daemon.status", json!({})).unwrap()["residents"], json!([]));
    let error = daemon.call("generate.count_tokens", json!({ "prompt": " " })).unwrap_err();
    assert!(error["message"].as_str().unwrap().contains("empty"), "{error}");
}

#[test]
fn log_probabilities_that_no_result_can_hold_are_refused_and_streamed() {
    let daemon = echo();
    let request = json!({ "prompt": "a", "options": { "logprobs": 20, "max_tokens": 9000 } });
    let error = daemon.call("generate.text", request).unwrap_err();
    assert!(error["message"].as_str().unwrap().contains("at most 7989 tokens fit a result"), "{error}");
    let mut connection = daemon.connect();
    connection.stream(json!({ "prompt": "a", "options": { "logprobs": 20, "max_tokens": 4000 } }));
    assert_eq!(connection.events_until("finished").iter().filter(|event| event["type"] == "logprobs").count(), 1);
}
