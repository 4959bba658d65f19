//! A real model calls tools whose schemas its calls obey, over the socket.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::model::{ID, folder};
use crate::support::{Daemon, Start};

/// As Qwen 2.5 shows tools, around the turns that the model knows.
const TEMPLATE: &str = "{% if tools %}<|im_start|>system\nYou may call one of these tools:\n\
    {% for tool in tools %}{{ tool | tojson }}\n{% endfor %}\
    Call it as <tool_call>\n{\"name\": <name>, \"arguments\": <arguments>}\n</tool_call><|im_end|>\n{% endif %}\
    {% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n{% endfor %}\
    <|im_start|>assistant\n";

/// The model's files with that template.
fn daemon(name: &str) -> Daemon {
    let home = Path::new(env!("CARGO_TARGET_TMPDIR")).join("tools").join(name);
    if home.exists() {
        fs::remove_dir_all(&home).unwrap();
    }
    fs::create_dir_all(&home).unwrap();
    for entry in fs::read_dir(folder()).unwrap() {
        let file = entry.unwrap();
        fs::hard_link(file.path(), home.join(file.file_name())).unwrap();
    }
    // Some models come without; and what a link points to must not be written to.
    let _ = fs::remove_file(home.join("chat_template.jinja"));
    fs::write(home.join("chat_template.jinja"), TEMPLATE).unwrap();
    Start::with_engine(Path::new(env!("CARGO_BIN_EXE_talkied-mlx"))).linked(ID, &home).run()
}

fn schema() -> Value {
    json!({
        "type": "object", "additionalProperties": false, "required": ["city", "unit", "days"],
        "properties": {
            "city": { "type": "string", "maxLength": 20 },
            "unit": { "enum": ["celsius", "fahrenheit"] },
            "days": { "type": "integer", "minimum": 1, "maximum": 14 },
        },
    })
}

#[test]
fn drawn_calls_are_calls_and_obey_their_schema() {
    let daemon = daemon("drawn");
    let validator = jsonschema::validator_for(&schema()).unwrap();
    let tool = json!({ "name": "get_forecast", "description": "Tells the weather of the next days.",
        "parameters": schema(), "strict": true });
    for seed in 0..4 {
        let request = json!({ "prompt": "Will it rain in Paris this week?", "tools": [tool],
            "tool_choice": { "name": "get_forecast" },
            "options": { "temperature": 1.0, "top_p": 1.0, "seed": seed, "max_tokens": 120 } });
        let result = daemon.call("generate.text", request).unwrap();
        assert_eq!((&result["text"], &result["finish_reason"]), (&json!(""), &json!("tool_calls")), "{result}");
        let calls = result["tool_calls"].as_array().unwrap();
        assert_eq!((calls.len(), &calls[0]["name"]), (1, &json!("get_forecast")));
        let arguments = &calls[0]["arguments"];
        validator.validate(arguments).unwrap_or_else(|error| panic!("{error}: {arguments}"));
    }
}

#[test]
fn the_likeliest_call_means_what_was_asked() {
    let tool = json!({ "name": "get_forecast", "parameters": schema(), "strict": true });
    let request = json!({ "prompt": "What is the weather in Paris?", "tools": [tool], "tool_choice": "required",
        "options": { "temperature": 0, "max_tokens": 200 } });
    let result = daemon("likeliest").call("generate.text", request).unwrap();
    assert_eq!(result["tool_calls"][0]["arguments"]["city"], "Paris", "{result}");
}
