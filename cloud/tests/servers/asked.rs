//! What is sent, in each API's words.

use cloud::{Client, Endpoint};
use protocol::{Message, Reasoning, ResponseFormat, Role, Tool, ToolCall, ToolChoice};
use serde_json::{Map, Value, json};

use crate::server::{Reply, Server, completion};
use crate::{KEY, answer, call, endpoint, gemini, openai};

fn object(value: Value) -> Map<String, Value> {
    serde_json::from_value(value).unwrap()
}

/// A conversation with a call and what came of it, and everything that can be asked for beside it.
fn conversation() -> cloud::Call {
    let mut call = call("Weather?");
    let arguments = object(json!({"city": "Bonn"}));
    let called = ToolCall { id: "axn9".into(), name: "weather".into(), arguments };
    let assistant = Message { tool_calls: vec![called], ..Message::new(Role::Assistant, "") };
    let (tool_call_id, name) = (Some("axn9".into()), Some("weather".into()));
    let tool = Message { tool_call_id, name, ..Message::new(Role::Tool, "{\"celsius\":22}") };
    call.messages.extend([assistant, tool]);
    let parameters = Some(object(json!({"type": "object", "properties": {"city": {"type": "string"}}})));
    let weather = Tool { name: "weather".into(), description: Some("Tells.".into()), parameters, strict: true };
    call.tools = vec![weather];
    call.tool_choice = ToolChoice::Named("weather".into());
    call.options.system_prompt = Some("Be brief.".into());
    call.options.seed = Some(7);
    call.options.stop_sequences = vec!["END".into()];
    call.options.top_k = 40;
    call
}

#[tokio::test]
async fn openais_words() {
    let server = Server::start(|_| Reply::stream(completion(&["x"])));
    answer(&openai(&server), &conversation()).await.unwrap();
    let asked = server.asked().remove(0);
    assert_eq!(asked.path, "/some/v1/chat/completions");
    assert!(asked.headers.contains(&format!("authorization: bearer {KEY}")));
    let function = json!({"name": "weather", "arguments": "{\"city\":\"Bonn\"}"});
    let parameters = json!({"type": "object", "properties": {"city": {"type": "string"}}});
    let tool = json!({"name": "weather", "parameters": parameters, "description": "Tells.", "strict": true});
    let number = |name: &str| (asked.body[name].as_f64().unwrap() * 10.0).round() / 10.0;
    assert_eq!((number("temperature"), number("top_p")), (0.7, 0.9));
    let mut body = asked.body.clone();
    for rounded in ["temperature", "top_p"] {
        body.as_object_mut().unwrap().remove(rounded);
    }
    let expected = json!({
        "model": "m",
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "Weather?"},
            {"role": "assistant", "content": "", "tool_calls": [{"id": "axn9", "type": "function", "function": function}]},
            {"role": "tool", "content": "{\"celsius\":22}", "tool_call_id": "axn9"},
        ],
        "stream": true, "stream_options": {"include_usage": true}, "max_tokens": 512,
        "stop": ["END"], "seed": 7, "top_k": 40,
        "tools": [{"type": "function", "function": tool}],
        "tool_choice": {"type": "function", "function": {"name": "weather"}},
    });
    assert_eq!(body, expected);
}

#[tokio::test]
async fn geminis_words_and_the_signature_of_a_call() {
    let first = r#"data: {"candidates":[{"content":{"parts":[{"functionCall":{"id":"axn9","name":"weather","args":{}},"thoughtSignature":"c2ln"}]},"finishReason":"STOP"}]}"#;
    let server = Server::start(move |_| Reply::stream(format!("{first}\n\n")));
    let client = gemini(&server);
    answer(&client, &conversation()).await.unwrap();
    answer(&client, &conversation()).await.unwrap();
    let asked = server.asked();
    assert_eq!(asked[0].path, "/some/v1/models/m:streamGenerateContent?alt=sse");
    assert!(
        asked[0].headers.contains(&format!("x-goog-api-key: {KEY}")) && !asked[0].headers.contains("authorization")
    );
    let body = &asked[0].body;
    let contents = |signature: &str| {
        json!([
            {"role": "user", "parts": [{"text": "Weather?"}]},
            {"role": "model", "parts": [{
                "functionCall": {"id": "axn9", "name": "weather", "args": {"city": "Bonn"}},
                "thoughtSignature": signature,
            }]},
            {"role": "user", "parts": [{
                "functionResponse": {"id": "axn9", "name": "weather", "response": {"celsius": 22}},
            }]},
        ])
    };
    assert_eq!(body["contents"], contents("skip_thought_signature_validator"));
    assert_eq!(asked[1].body["contents"], contents("c2ln"));
    assert_eq!(body["systemInstruction"], json!({"parts": [{"text": "Be brief."}]}));
    let config = &body["generationConfig"];
    let told = (&config["maxOutputTokens"], &config["topK"], &config["seed"], &config["stopSequences"]);
    assert_eq!(told, (&json!(512), &json!(40), &json!(7), &json!(["END"])));
    let parameters = json!({"type": "object", "properties": {"city": {"type": "string"}}});
    let tool = json!({"name": "weather", "description": "Tells.", "parametersJsonSchema": parameters});
    assert_eq!(body["tools"], json!([{"functionDeclarations": [tool]}]));
    let choice = json!({"mode": "ANY", "allowedFunctionNames": ["weather"]});
    assert_eq!(body["toolConfig"], json!({"functionCallingConfig": choice}));
}

#[tokio::test]
async fn formats_and_reasoning_in_both() {
    let server = Server::start(|asked| {
        let gemini = "data: {\"candidates\":[{\"finishReason\":\"STOP\"}]}\n\n".to_owned();
        Reply::stream(if asked.path.contains("models/") { gemini } else { completion(&["{}"]) })
    });
    let schema = object(json!({"type": "object"}));
    let mut call = call("x");
    call.response_format = Some(ResponseFormat::JsonSchema { schema });
    call.reasoning = Reasoning::Off;
    answer(&openai(&server), &call).await.unwrap();
    answer(&gemini(&server), &call).await.unwrap();
    let asked = server.asked();
    let format =
        json!({"type": "json_schema", "json_schema": {"name": "answer", "schema": {"type": "object"}, "strict": true}});
    assert_eq!(asked[0].body["response_format"], format);
    assert_eq!(asked[0].body["chat_template_kwargs"], json!({"enable_thinking": false}));
    let config = &asked[1].body["generationConfig"];
    assert_eq!(
        (&config["responseMimeType"], &config["responseJsonSchema"]),
        (&json!("application/json"), &json!({"type": "object"}))
    );
    assert_eq!(config["thinkingConfig"], json!({"thinkingBudget": 0}));
}

#[tokio::test]
async fn vectors_come_in_the_order_of_their_texts() {
    let server = Server::start(|asked| {
        if asked.path.ends_with("/embeddings") {
            let vector = |index: usize, first: f64| json!({"index": index, "embedding": [first, 0.5]});
            let data = [vector(1, 1.0), vector(0, 0.0)];
            return Reply::json(200, &json!({"data": data, "usage": {"prompt_tokens": 4, "total_tokens": 4}}));
        }
        let texts = asked.body["requests"].as_array().unwrap().len();
        Reply::json(200, &json!({"embeddings": vec![json!({"values": [texts]}); texts]}))
    });
    let made = openai(&server).embed("m", &["a".into(), "b".into()]).await.unwrap();
    assert_eq!((made.vectors, made.prompt_tokens), (vec![vec![0.0, 0.5], vec![1.0, 0.5]], 4));
    let texts = vec!["a".to_owned(); 130];
    let made = gemini(&server).embed("m", &texts).await.unwrap();
    let sizes: Vec<f32> = made.vectors.iter().map(|vector| vector[0]).collect();
    assert_eq!((sizes.len(), sizes[0], sizes[129]), (130, 100.0, 30.0));
    let asked = server.asked();
    assert_eq!(asked[1].path, "/some/v1/models/m:batchEmbedContents");
    assert_eq!(asked[1].body["requests"][0], json!({"model": "models/m", "content": {"parts": [{"text": "a"}]}}));
    // One vector too few.
    let short = Server::start(|_| Reply::json(200, &json!({"data": [{"embedding": [1.0]}]})));
    assert!(openai(&short).embed("m", &["a".into(), "b".into()]).await.is_err());
}

#[tokio::test]
async fn models_are_listed_page_by_page() {
    let server = Server::start(|asked| {
        if asked.path.contains("pageToken=a%2Fb") {
            return Reply::json(200, &json!({"models": [{"name": "models/two"}]}));
        }
        Reply::json(200, &json!({"models": [{"name": "models/one"}], "nextPageToken": "a/b"}))
    });
    assert_eq!(gemini(&server).models().await.unwrap(), ["one", "two"]);
    let server = Server::start(|_| Reply::json(200, &json!({"object": "list", "data": [{"id": "one"}]})));
    assert_eq!(openai(&server).models().await.unwrap(), ["one"]);
}

#[tokio::test]
async fn headers_of_the_user_are_sent_and_shown_by_nothing() {
    let server = Server::start(|_| Reply::stream(completion(&["x"])));
    let headers = [("X-Team".to_owned(), "notes-secret".to_owned())].into();
    let client = Client::openai(Endpoint { headers, ..endpoint(server.url()) }).unwrap();
    answer(&client, &call("x")).await.unwrap();
    assert!(server.asked()[0].headers.contains("x-team: notes-secret"));
    let shown = format!("{client:?}");
    assert!(!shown.contains("notes-secret") && !shown.contains(KEY), "{shown}");
}
