//! Tools and reasoning, through a whole daemon: each family's calls, tokens of their own among them.

use serde_json::{Value, json};

use crate::support::model::Files;
use crate::support::{Daemon, Start, text};

const CHATML: &str = "{% for m in messages %}{{ m.role }}: {{ m.content }}{% for c in m.tool_calls or [] %}\
    [{{ c.function.name }} {{ c.function.arguments | tojson }} {{ c.id }}]{% endfor %}\
    {% if m.role == 'tool' %}[{{ m.name }} {{ m.tool_call_id }}]{% endif %};{% endfor %}";

/// A daemon with one model, whose template shows tools by name behind `mark`, and which answers so.
fn daemon(mark: &str, special: &[&str], say: &Value) -> Daemon {
    let template =
        format!("{{# {mark} #}}{{% for t in tools or [] %}}{{{{ t.function.name }}}},{{% endfor %}}{CHATML}");
    let change = |files: &mut Files| {
        files.template = template;
        files.special_tokens(special);
        files.answers("user: ", say);
    };
    Start::fake().model("test/tools", change).run()
}

fn tool() -> Value {
    json!({ "name": "get_weather", "description": "Tells the weather.", "parameters": { "type": "object",
        "properties": { "city": { "type": "string" } }, "required": ["city"] } })
}

fn request() -> Value {
    json!({ "prompt": "Weather in Bonn?", "tools": [tool()] })
}

#[track_caller]
fn check(daemon: &Daemon, text: &str, reasoning: Option<&str>) {
    let result = daemon.call("generate.text", request()).unwrap();
    let calls = result["tool_calls"].as_array().unwrap();
    assert_eq!(calls.len(), 1, "{result}");
    assert_eq!((&calls[0]["name"], &calls[0]["arguments"]), (&json!("get_weather"), &json!({ "city": "Bonn" })));
    assert_eq!((&result["text"], result["reasoning"].as_str()), (&json!(text), reasoning));
    assert_eq!(result["finish_reason"], "tool_calls");
}

#[test]
fn every_family_calls_by_marks_that_are_tokens() {
    let call = r#"{"name": "get_weather", "arguments": {"city": "Bonn"}}"#;
    let list = format!("[{call}]");
    check(
        &daemon("<tool_call>", &["<tool_call>", "</tool_call>"], &json!(["I look.\n", 257, call, 258])),
        "I look.",
        None,
    );
    check(&daemon("[TOOL_CALLS]", &["[TOOL_CALLS]"], &json!([257, list])), "", None);
    check(
        &daemon("[TOOL_CALLS]", &["[TOOL_CALLS]", "[ARGS]"], &json!([257, "get_weather", 258, "{\"city\": \"Bonn\"}"])),
        "",
        None,
    );
    check(&daemon("<|tool_call|>", &["<|tool_call|>", "<|/tool_call|>"], &json!([257, list, 258])), "", None);
    let llama = r#"{"name": "get_weather", "parameters": {"city": "Bonn"}}"#;
    check(&daemon("<|python_tag|>", &["<|python_tag|>"], &json!([257, llama])), "", None);
    check(&daemon("<|start_header_id|> \"parameters\": ", &[], &json!([llama])), "", None);
    let gemma = json!([257, "call:get_weather{city:", 259, "Bonn", 259, "}", 258]);
    check(
        &daemon("<start_function_call>", &["<start_function_call>", "<end_function_call>", "<escape>"], &gemma),
        "",
        None,
    );
    let lfm = json!([257, "[get_weather(city='Bonn')]", 258]);
    check(&daemon("<|tool_call_start|>", &["<|tool_call_start|>", "<|tool_call_end|>"], &lfm), "", None);
}

#[test]
fn harmony_reasons_calls_and_ends_at_its_mark() {
    let special = ["<|start|>", "<|end|>", "<|channel|>", "<|constrain|>", "<|message|>", "<|call|>"];
    let say = json!([
        259,
        "analysis",
        261,
        "A tool.",
        258,
        257,
        "assistant",
        259,
        "commentary to=functions.get_weather ",
        260,
        "json",
        261,
        "{\"city\": \"Bonn\"}",
        262
    ]);
    check(&daemon("<|channel|><|message|>", &special, &say), "", Some("A tool."));
}

#[test]
fn reasoning_comes_apart_and_stop_sequences_do_not_end_it() {
    let say = json!([257, "\nIt says stop.\n", 258, "\n\nFour. stop Five."]);
    let daemon = daemon("<think>", &["<think>", "</think>"], &say);
    let request = json!({ "prompt": "2+2?", "options": { "stop_sequences": ["stop"] } });
    let result = daemon.call("generate.text", request).unwrap();
    assert_eq!((&result["text"], &result["reasoning"]), (&json!("Four. "), &json!("It says stop.")));
    assert_eq!(result["finish_reason"], "stop");
    assert_eq!(result["usage"]["completion_tokens"], 29, "marks are counted: {result}");
}

#[test]
fn a_stream_tells_reasoning_text_and_calls_apart() {
    let call = r#"{"name": "get_weather", "arguments": {"city": "Bonn"}}"#;
    let marks = ["<think>", "</think>", "<tool_call>", "</tool_call>"];
    let say = json!([257, "Hm.", 258, "So: ", 259, call, 260, 259, call, 260]);
    let daemon = daemon("<think><tool_call>", &marks, &say);
    let mut connection = daemon.connect();
    connection.stream(request());
    let events = connection.events_until("finished");
    assert_eq!(text(&events), "So:");
    let of = |kind: &str| events.iter().filter(|event| event["type"] == kind).collect::<Vec<_>>();
    let reasoning: String = of("reasoning").iter().filter_map(|event| event["text"].as_str()).collect();
    assert_eq!(reasoning, "Hm.");
    let (calls, arguments) = (of("tool_call"), of("tool_arguments"));
    assert_eq!((calls.len(), arguments.len()), (2, 2));
    for index in 0..2 {
        assert_eq!((&calls[index]["index"], &calls[index]["name"]), (&json!(index), &json!("get_weather")));
        assert_eq!(
            (&arguments[index]["index"], &arguments[index]["text"]),
            (&json!(index), &json!(r#"{"city":"Bonn"}"#))
        );
    }
    assert_ne!(calls[0]["id"], calls[1]["id"]);
    assert_eq!(events.last().unwrap()["finish_reason"], "tool_calls");
}

#[test]
fn reasoning_is_turned_off_where_that_is_asked_for_and_where_a_format_leaves_no_room() {
    let template = "{{ 'on' if enable_thinking is not defined or enable_thinking else 'off' }} {{ messages[0].content }}{# <think> #}";
    let daemon = Start::fake().model("test/thinks", |files| files.template = template.into()).run();
    let said = |change: Value| {
        let mut request = json!({ "prompt": "a" });
        request.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        daemon.call("generate.text", request).unwrap()["text"].clone()
    };
    assert_eq!(said(json!({})), "on a");
    assert_eq!(said(json!({ "reasoning": "auto" })), "on a");
    assert_eq!(said(json!({ "reasoning": "off" })), "off a");
    assert_eq!(said(json!({ "response_format": { "type": "text" } })), "on a");
    assert_eq!(said(json!({ "response_format": { "type": "regex", "pattern": "[a-z ]{5}" } })), "off a");
}

#[test]
fn a_format_ends_the_reasoning_that_a_template_begins() {
    let (begins, channels) =
        ("{{ messages[0].content }}<think>", "{{ messages[0].content }}{# <|channel|><|message|> #}");
    let daemon = Start::fake()
        .model("test/begins", |files| files.template = begins.into())
        .model("test/channels", |files| files.template = channels.into())
        .run();
    let said = |model: &str| {
        let format = json!({ "type": "regex", "pattern": "(.|\n)*" });
        let request = json!({ "model": model, "prompt": "a", "response_format": format });
        daemon.call("generate.text", request).unwrap()["text"].clone()
    };
    assert_eq!(said("test/begins"), "a<think></think>\n\n");
    assert_eq!(said("test/channels"), "a<|channel|>final<|message|>");
}

#[test]
fn a_call_and_its_result_go_back_to_the_model() {
    let daemon = Start::fake().model("test/echo", |files| files.template = CHATML.into()).run();
    let call = json!({ "id": "abcDEF123", "name": "f", "arguments": { "x": 1 } });
    let messages = json!([{ "role": "user", "content": "u" }, { "role": "assistant", "tool_calls": [call] },
        { "role": "tool", "tool_call_id": "abcDEF123", "content": "r" }]);
    let result = daemon.call("generate.text", json!({ "messages": messages })).unwrap();
    assert_eq!(result["text"], "user: u;assistant: [f {\"x\": 1} abcDEF123];tool: r[f abcDEF123];");
}

#[test]
fn a_call_that_is_cut_or_none_is_text() {
    let daemon = daemon("<tool_call>", &["<tool_call>", "</tool_call>"], &json!([257, "{\"name\": get}", 258]));
    let result = daemon.call("generate.text", request()).unwrap();
    assert_eq!(
        (&result["text"], &result["finish_reason"]),
        (&json!("<tool_call>{\"name\": get}</tool_call>"), &json!("stop"))
    );
    assert_eq!(result.get("tool_calls"), None);
    let mut cut = request();
    cut["options"] = json!({ "max_tokens": 5 });
    let result = daemon.call("generate.text", cut).unwrap();
    assert_eq!((&result["text"], &result["finish_reason"]), (&json!("<tool_call>{\"na"), &json!("length")));
}

#[test]
fn without_tools_or_with_the_choice_none_nothing_is_called() {
    let call = r#"{"name": "get_weather", "arguments": {}}"#;
    let daemon = daemon("<tool_call>", &[], &json!(["<tool_call>", call, "</tool_call>"]));
    let said = format!("<tool_call>{call}</tool_call>");
    assert_eq!(daemon.call("generate.text", json!({ "prompt": "Hi" })).unwrap()["text"], json!(said));
    let mut none = request();
    none["tool_choice"] = json!("none");
    let result = daemon.call("generate.text", none).unwrap();
    assert_eq!((&result["text"], result.get("tool_calls")), (&json!(said), None));
}

#[test]
fn a_model_without_tools_or_without_a_switch_says_so() {
    let plain = |files: &mut Files| files.template = "{{ messages[-1].content }}".into();
    let strange = |files: &mut Files| files.template = "{{ tools }}{{ messages[-1].content }}".into();
    let thinks = |files: &mut Files| files.template = "{{ messages[-1].content }}<think>".into();
    let daemon =
        Start::fake().model("test/plain", plain).model("test/strange", strange).model("test/thinks", thinks).run();
    let refused = |model: &str, field: &str, value: Value| {
        let error = daemon.call("generate.text", json!({ "model": model, "prompt": "a", field: value })).unwrap_err();
        (error["code"].as_i64().unwrap(), error["message"].as_str().unwrap().to_owned())
    };
    for (model, field, value, words) in [
        ("test/plain", "tools", json!([tool()]), "chat template has no place for tools"),
        ("test/strange", "tools", json!([tool()]), "how this model writes calls of tools is not known"),
        ("test/thinks", "reasoning", json!("off"), "no way to turn reasoning off"),
    ] {
        let (code, message) = refused(model, field, value);
        assert!(code == 1003 && message.contains(words), "{model}: {code} {message}");
    }
    let fine = json!({ "model": "test/plain", "prompt": "a", "reasoning": "off" });
    assert_eq!(daemon.call("generate.text", fine).unwrap()["text"], "a");
}

#[test]
fn bad_tools_are_refused_by_name_and_load_nothing() {
    let daemon = daemon("<tool_call>", &[], &json!([]));
    let with = |change: Value| {
        let mut tool = tool();
        tool.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        json!({ "prompt": "a", "tools": [tool] })
    };
    let many: Vec<Value> = (0..129).map(|number| json!({ "name": format!("f{number}") })).collect();
    let choice = |choice: Value| json!({ "prompt": "a", "tools": [tool()], "tool_choice": choice });
    let format = json!({ "type": "json_object" });
    let cases = [
        (with(json!({ "name": "get weather" })), "\"get weather\" is no name of a tool"),
        (
            with(json!({ "parameters": { "properties": { "city": { "type": "strin" } } } })),
            "the parameters of get_weather are no JSON schema of an object: /properties/city/type:",
        ),
        (with(json!({ "parameters": { "required": "city" } })), "/required:"),
        (with(json!({ "parameters": { "type": "array" } })), "/type: arguments are an \"object\""),
        (with(json!({ "parameters": { "$schema": "http://example.com/own" } })), "no JSON schema of an object"),
        (with(json!({ "parameters": [] })), "expected a map"),
        (with(json!({ "description": "x".repeat(65537) })), "tool get_weather: 65537 bytes of description"),
        (with(json!({ "returns": {} })), "unknown field `returns`"),
        (json!({ "prompt": "a", "tools": many }), "`tools` has 129 entries"),
        (json!({ "prompt": "a", "tools": [tool(), tool()] }), "two of `tools` have the name get_weather"),
        (choice(json!("any")), "tool_choice \"any\" is none of"),
        (choice(json!({ "name": "other" })), "tool_choice names \"other\", which is none of `tools`"),
        (json!({ "prompt": "a", "tool_choice": "required" }), "tool_choice is required, but there are no `tools`"),
        (json!({ "prompt": "a", "tools": [tool()], "response_format": format }), "leaves no room for calls"),
        (json!({ "messages": [{ "role": "tool", "content": "r", "tool_call_id": "1" }] }), "is the id of no call"),
        (json!({ "prompt": "a", "reasoning": "high" }), "unknown variant `high`"),
    ];
    for (params, words) in cases {
        let error = daemon.call("generate.text", params.clone()).unwrap_err();
        assert_eq!(error["code"], -32602, "{params}: {error}");
        assert!(error["data"]["message"].as_str().unwrap().contains(words), "{words}: {error}");
    }
    assert_eq!(daemon.call("daemon.status", json!({})).unwrap()["residents"], json!([]));
}

#[test]
fn a_template_that_raises_or_loops_over_tools_is_told() {
    let raises = |files: &mut Files| {
        files.template = "{% if tools %}{{ raise_exception('no tools before noon') }}{% endif %}{{ messages }}".into();
    };
    let loops = |files: &mut Files| {
        files.template = "{% for t in tools %}{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}\
            {% endfor %}{% endfor %}"
            .into();
    };
    let roles = |files: &mut Files| {
        files.template =
            "{% for m in messages if m.role == 'tool' %}{{ raise_exception('role tool?') }}{% endfor %}".into();
    };
    let daemon = Start::fake().model("test/raises", raises).model("test/loops", loops).model("test/roles", roles).run();
    let call = json!({ "id": "1", "name": "f", "arguments": {} });
    let result = json!([{ "role": "user", "content": "u" }, { "role": "assistant", "tool_calls": [call] },
        { "role": "tool", "tool_call_id": "1", "content": "r" }]);
    for (request, code, words) in [
        (json!({ "model": "test/raises", "prompt": "a", "tools": [tool()] }), -32602, "no tools before noon"),
        (json!({ "model": "test/loops", "prompt": "a", "tools": [tool()] }), 1002, "chat template failed"),
        (json!({ "model": "test/roles", "messages": result }), -32602, "role tool?"),
    ] {
        let error = daemon.call("generate.text", request).unwrap_err();
        assert_eq!(error["code"], code, "{error}");
        assert!(error["message"].as_str().unwrap().contains(words), "{error}");
    }
}

#[test]
fn a_model_that_must_call_calls_and_a_strict_call_obeys_its_schema() {
    let marks = ["<tool_call>", "</tool_call>"];
    let daemon = daemon("<tool_call>", &marks, &json!(["No, I will not. 7"]));
    let whole = json!({ "type": "object", "properties": { "days": { "type": "integer", "minimum": 1 } }, "required": ["days"],
        "additionalProperties": false });
    let strict = json!({ "name": "forecast", "parameters": whole, "strict": true });
    let call = |choice: Value| {
        let request = json!({ "prompt": "a", "tools": [tool(), strict], "tool_choice": choice });
        let result = daemon.call("generate.text", request).unwrap();
        (result["text"].clone(), result["tool_calls"][0]["name"].clone(), result["tool_calls"][0]["arguments"].clone())
    };
    let (text, name, arguments) = call(json!({ "name": "forecast" }));
    assert_eq!((text, name), (json!(""), json!("forecast")));
    assert!(arguments["days"].is_i64() && arguments.as_object().unwrap().len() == 1, "{arguments}");
    let (text, name, arguments) = call(json!({ "name": "get_weather" }));
    assert_eq!((text, name), (json!(""), json!("get_weather")));
    assert!(arguments.is_object());
    let (text, name, _) = call(json!("required"));
    assert_eq!(text, "");
    assert!(name.is_string(), "{name}");
    assert_eq!(call(json!("auto")).0, "No, I will not. 7", "strict tools leave the choice");
}

#[test]
fn a_strict_call_that_would_break_its_schema_is_mended_as_it_is_written() {
    let say = json!([257, "\n{\"name\": \"f\", \"arguments\": {\"days\": \"two\"}}\n", 258]);
    let daemon = daemon("<tool_call>", &["<tool_call>", "</tool_call>"], &say);
    let schema = json!({ "type": "object", "properties": { "days": { "type": "integer", "minimum": 1 } }, "required": ["days"],
        "additionalProperties": false });
    let tool = |strict: bool| json!({ "name": "f", "parameters": schema, "strict": strict });
    let days = |strict: bool| {
        let result = daemon.call("generate.text", json!({ "prompt": "a", "tools": [tool(strict)] })).unwrap();
        assert_eq!(result["finish_reason"], "tool_calls", "{result}");
        result["tool_calls"][0]["arguments"]["days"].clone()
    };
    assert_eq!(days(false), "two");
    assert!(days(true).is_i64());
}

#[test]
fn what_cannot_be_held_to_a_schema_is_told() {
    let daemon = daemon("<|tool_call_start|>", &[], &json!([]));
    let required = json!({ "prompt": "a", "tools": [tool()], "tool_choice": "required" });
    let error = daemon.call("generate.text", required).unwrap_err();
    assert_eq!(error["code"], 1003, "{error}");
    assert!(error["message"].as_str().unwrap().contains("cannot be held to a schema yet"), "{error}");
    let schema = json!({ "type": "object", "properties": { "a": { "not": {} } } });
    let strict = json!({ "prompt": "a", "tools": [{ "name": "f", "parameters": schema, "strict": true }] });
    let error = daemon.call("generate.text", strict).unwrap_err();
    assert_eq!(error["code"], -32602, "{error}");
    assert!(error["message"].as_str().unwrap().contains("tools: f cannot be strict: /properties/a: "), "{error}");
}
