//! Servers that say the last message again, word by word, in the words of their API, and heed what they are asked.

use serde_json::{Value, json};

use super::server::{Asked, Reply};

/// The words that are said of a prompt, and why they end.
fn words(prompt: &str, stops: &[&str], limit: usize) -> (Vec<String>, bool, bool) {
    let end = stops.iter().filter_map(|stop| prompt.find(stop)).min();
    let said = &prompt[..end.unwrap_or(prompt.len())];
    let words: Vec<String> = said.split_inclusive(' ').map(str::to_owned).collect();
    let is_cut = words.len() > limit;
    (words.into_iter().take(limit).collect(), is_cut, prompt == "on and on")
}

fn list(stops: &Value) -> Vec<&str> {
    stops.as_array().into_iter().flatten().filter_map(Value::as_str).collect()
}

/// What `OpenAI`'s API says.
pub fn openai(asked: &Asked) -> Reply {
    if asked.body["model"] == "org/no-such-model" {
        let error = json!({"error": {"message": "The model does not exist", "type": "invalid_request_error", "code": "model_not_found"}});
        return Reply::json(404, &error);
    }
    let prompt = asked.body["messages"].as_array().and_then(|all| all.last()).and_then(|last| last["content"].as_str());
    let limit = asked.body["max_tokens"].as_u64().unwrap_or(0) as usize;
    let (words, is_cut, hangs) = words(prompt.unwrap_or_default(), &list(&asked.body["stop"]), limit);
    let chunk = |delta: Value, reason: Value| {
        format!("data: {}\n\n", json!({"choices": [{"index": 0, "delta": delta, "finish_reason": reason}]}))
    };
    let mut body: String = words.iter().map(|word| chunk(json!({"content": word}), Value::Null)).collect();
    if !hangs {
        body += &chunk(json!({}), json!(if is_cut { "length" } else { "stop" }));
        let usage = json!({"choices": [], "usage": {"prompt_tokens": 9, "completion_tokens": words.len()}});
        body = [body, format!("data: {usage}\n\ndata: [DONE]\n\n")].concat();
    }
    Reply { hangs, ..Reply::stream(body) }
}

/// What Gemini's says.
pub fn gemini(asked: &Asked) -> Reply {
    if !asked.headers.contains("x-goog-api-key: ") || asked.path.contains("key=") {
        let error = json!({"error": {"code": 403, "message": "no key", "status": "PERMISSION_DENIED"}});
        return Reply::json(403, &error);
    }
    if !asked.path.ends_with("/models/echo:streamGenerateContent?alt=sse") {
        let error = json!({"error": {"code": 404, "message": "models/x is not found", "status": "NOT_FOUND"}});
        return Reply::json(404, &error);
    }
    let config = &asked.body["generationConfig"];
    let prompt = asked.body["contents"].as_array().and_then(|all| all.last());
    let prompt = prompt.and_then(|last| last["parts"][0]["text"].as_str()).unwrap_or_default();
    let limit = config["maxOutputTokens"].as_u64().unwrap_or(0) as usize;
    let (words, is_cut, hangs) = words(prompt, &list(&config["stopSequences"]), limit);
    let chunk = |word: &str, reason: Value| {
        let content = json!({"parts": [{"text": word}], "role": "model"});
        let usage =
            json!({"promptTokenCount": 9, "candidatesTokenCount": words.len(), "totalTokenCount": 9 + words.len()});
        let candidate = json!({"content": content, "finishReason": reason, "index": 0});
        // Gemini ends its lines as HTTP does.
        format!("data: {}\r\n\r\n", json!({"candidates": [candidate], "usageMetadata": usage, "modelVersion": "echo"}))
    };
    let mut body: String = words.iter().map(|word| chunk(word, Value::Null)).collect();
    if !hangs {
        body += &chunk("", json!(if is_cut { "MAX_TOKENS" } else { "STOP" }));
    }
    Reply { hangs, ..Reply::stream(body) }
}
