//! Answers of a real model that obey, over the socket.

use serde_json::{Value, json};

use crate::model::daemon;
use crate::support::{Daemon, text};

fn request(prompt: &str, format: Value, max_tokens: u32) -> Value {
    json!({ "prompt": prompt, "response_format": format, "options": { "temperature": 0, "max_tokens": max_tokens } })
}

/// The text of an answer that came to its end.
fn answer(daemon: &Daemon, prompt: &str, format: Value) -> String {
    let result = daemon.call("generate.text", request(prompt, format, 200)).unwrap();
    assert_eq!(result["finish_reason"], "stop", "{result}");
    result["text"].as_str().unwrap().to_owned()
}

fn city() -> Value {
    json!({
        "type": "object", "additionalProperties": false, "required": ["city", "country", "rivers", "population"],
        "properties": {
            "city": { "type": "string", "maxLength": 30 },
            "country": { "enum": ["France", "Germany", "Italy", "Spain"] },
            "rivers": { "type": "array", "items": { "type": "string", "maxLength": 20 }, "minItems": 1, "maxItems": 2 },
            "population": { "type": "integer", "minimum": 1000, "maximum": 40_000_000 },
        },
    })
}

#[test]
fn a_schema_gives_json_that_validates_and_means_something() {
    let daemon = daemon();
    let schema = city();
    let text = answer(&daemon, "Describe Paris as JSON.", json!({ "type": "json_schema", "schema": schema }));
    let value: Value = serde_json::from_str(&text).unwrap();
    jsonschema::validator_for(&city()).unwrap().validate(&value).unwrap_or_else(|error| panic!("{error}: {value}"));
    assert_eq!((&value["city"], &value["country"]), (&json!("Paris"), &json!("France")));
}

#[test]
fn a_pattern_and_a_grammar_are_matched() {
    let daemon = daemon();
    let date = json!({ "type": "regex", "pattern": "[0-9]{4}-[0-9]{2}-[0-9]{2}" });
    let date = answer(&daemon, "When did men first land on the moon?", date);
    let parts: Vec<usize> = date.split('-').map(|part| part.chars().filter(char::is_ascii_digit).count()).collect();
    assert_eq!((parts, date.len()), (vec![4, 2, 2], 10), "{date}");
    let sum = "start: NUMBER (\" + \" NUMBER)+ \" = \" NUMBER\nNUMBER: /[0-9]{1,3}/";
    let sum = answer(&daemon, "Write a sum with its result.", json!({ "type": "lark", "grammar": sum }));
    let (terms, result) = sum.split_once(" = ").unwrap();
    assert!(terms.split(" + ").chain([result]).all(|number| number.parse::<u16>().is_ok()), "{sum}");
}

#[test]
fn an_answer_that_is_cut_says_so_and_a_stream_obeys_too() {
    let daemon = daemon();
    let format = json!({ "type": "json_schema", "schema": city() });
    let cut = daemon.call("generate.text", request("Describe Paris as JSON.", format.clone(), 6)).unwrap();
    assert_eq!(cut["finish_reason"], "length");
    let mut connection = daemon.connect();
    connection.stream(request("Describe Rome as JSON.", format, 200));
    let events = connection.events_until("finished");
    assert_eq!(events.last().unwrap()["finish_reason"], "stop");
    let value: Value = serde_json::from_str(&text(&events)).unwrap();
    assert_eq!(value["country"], "Italy");
}

#[test]
fn free_answers_are_as_they_were_beside_held_ones() {
    let daemon = daemon();
    let free = || {
        let options = json!({ "temperature": 0, "max_tokens": 12 });
        daemon.call("generate.text", json!({ "prompt": "Name a river.", "options": options })).unwrap()["text"].clone()
    };
    let before = free();
    answer(&daemon, "Yes or no?", json!({ "type": "regex", "pattern": "yes|no" }));
    assert_eq!(free(), before);
}
