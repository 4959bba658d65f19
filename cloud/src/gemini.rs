//! Google's Gemini API, v1beta: `models.streamGenerateContent`, `models.batchEmbedContents` and `models.list`, as the
//! reference at ai.google.dev/api describes them.
//!
//! By `reqwest`: of the crates that cover this, `gemini-rust` brings a second HTTP stack and `genai` seven clouds.

mod read;
mod signatures;

use std::collections::VecDeque;
use std::sync::Arc;

use protocol::{Message, Reasoning, ResponseFormat, Role, Tool, ToolCall, ToolChoice};
use reqwest::Method;
use reqwest::header::HeaderName;
use serde::Deserialize;
use serde_json::{Value, json};

pub(crate) use read::Reader;
pub(crate) use signatures::Signatures;

use crate::http::Http;
use crate::refuse::{self, differs, not_supported};
use crate::{Call, Error, Stream, Vectors, stream};

/// Most stop sequences of a request.
const MOST_STOPS: usize = 5;

/// Most texts of a request for vectors.
const MOST_TEXTS: usize = 100;

/// Most pages of the list of models, and models of a page.
const MOST_PAGES: usize = 10;
const PAGE: usize = 1000;

/// Stands for the signature of the thought behind a call that is not known here; the documentation of thought signatures
/// names it for calls that come from elsewhere. Gemini 3 refuses calls without any.
const NO_SIGNATURE: &str = "skip_thought_signature_validator";

/// How the key is sent: never in the address, which lands in logs.
pub(crate) fn key_header(key: &str) -> (HeaderName, String) {
    (HeaderName::from_static("x-goog-api-key"), key.to_owned())
}

/// Asks for an answer.
pub(crate) async fn generate(http: &Http, signatures: &Arc<Signatures>, call: &Call) -> Result<Stream, Error> {
    let path = format!("{}:streamGenerateContent?alt=sse", model_path(&call.model)?);
    let body = http.events(&path, &body(call, signatures)?).await?;
    Ok(Stream::new(body, stream::Reader::Gemini(Reader::new(Arc::clone(signatures)))))
}

/// `models/NAME`, where the name cannot lead elsewhere.
fn model_path(model: &str) -> Result<String, Error> {
    let name = model.strip_prefix("models/").unwrap_or(model);
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    if name.is_empty() || name.len() > 128 || !name.bytes().all(is_name) || name.starts_with('.') {
        return Err(Error::ModelNotFound(format!("{name:?} is no name of a model of Gemini")));
    }
    Ok(format!("models/{name}"))
}

fn body(call: &Call, signatures: &Signatures) -> Result<Value, Error> {
    let Call { messages, options, tools, tool_choice, .. } = call;
    refuse::options(options, MOST_STOPS)?;
    refuse::format(call.response_format.as_ref())?;
    if options.min_p > 0.0 {
        return Err(not_supported("min_p"));
    }
    if !options.logit_bias.is_empty() {
        return Err(not_supported("logit_bias"));
    }
    let is_system = |message: &&Message| message.role == Role::System;
    let said = messages.iter().filter(is_system).map(|message| message.content.as_str());
    let system: Vec<&str> = options.system_prompt.as_deref().into_iter().chain(said).collect();
    let mut body = json!({"contents": contents(messages, signatures), "generationConfig": config(call)});
    if !system.is_empty() {
        body["systemInstruction"] = json!({"parts": [{"text": system.join("\n\n")}]});
    }
    if !tools.is_empty() && *tool_choice != ToolChoice::None {
        let declarations: Vec<Value> = tools.iter().map(declaration).collect();
        body["tools"] = json!([{"functionDeclarations": declarations}]);
        body["toolConfig"] = json!({"functionCallingConfig": choice(tool_choice)});
    }
    Ok(body)
}

fn config(call: &Call) -> Value {
    let Call { options, reasoning, response_format, .. } = call;
    let mut config = json!({
        "temperature": options.temperature, "topP": options.top_p, "maxOutputTokens": options.max_tokens,
    });
    let penalties = [("presencePenalty", options.presence_penalty), ("frequencyPenalty", options.frequency_penalty)];
    for (name, penalty) in penalties.into_iter().filter(|(_, penalty)| differs(*penalty, 0.0)) {
        config[name] = json!(penalty);
    }
    if options.top_k > 0 {
        config["topK"] = json!(options.top_k);
    }
    if !options.stop_sequences.is_empty() {
        config["stopSequences"] = json!(options.stop_sequences);
    }
    if let Some(seed) = options.seed {
        // Seeds are 32 bits wide there; the same of ours is the same of theirs.
        config["seed"] = json!(seed & 0x7fff_ffff);
    }
    if *reasoning == Reasoning::Off {
        config["thinkingConfig"] = json!({"thinkingBudget": 0});
    }
    match response_format {
        Some(ResponseFormat::JsonObject {}) => config["responseMimeType"] = json!("application/json"),
        Some(ResponseFormat::JsonSchema { schema }) => {
            config["responseMimeType"] = json!("application/json");
            config["responseJsonSchema"] = json!(schema);
        }
        // The others are refused before.
        None | Some(ResponseFormat::Text {} | ResponseFormat::Regex { .. } | ResponseFormat::Lark { .. }) => {}
    }
    config
}

/// Turns of the conversation. What several tools answer is one turn, as what called them was.
fn contents(messages: &[Message], signatures: &Signatures) -> Vec<Value> {
    let mut contents: Vec<(&str, Vec<Value>)> = Vec::new();
    for message in messages {
        let role = match message.role {
            Role::System => continue,
            Role::User | Role::Tool => "user",
            Role::Assistant => "model",
        };
        let mut parts = parts(message, signatures);
        match contents.last_mut() {
            Some((last, all)) if *last == role => all.append(&mut parts),
            _ => contents.push((role, parts)),
        }
    }
    contents.into_iter().map(|(role, parts)| json!({"role": role, "parts": parts})).collect()
}

fn parts(message: &Message, signatures: &Signatures) -> Vec<Value> {
    let Message { role, content, tool_calls, tool_call_id, name, .. } = message;
    if *role == Role::Tool {
        // What a tool says is an object there; a text is one under `result`.
        let response = serde_json::from_str(content).ok().filter(Value::is_object);
        let response = response.unwrap_or_else(|| json!({"result": content}));
        return vec![json!({"functionResponse": {"id": tool_call_id, "name": name, "response": response}})];
    }
    let mut parts = Vec::new();
    if !content.is_empty() {
        parts.push(json!({"text": content}));
    }
    for (place, ToolCall { id, name, arguments }) in tool_calls.iter().enumerate() {
        let mut part = json!({"functionCall": {"id": id, "name": name, "args": arguments}});
        // Of calls side by side only the first has one.
        let signature = signatures.of(id).or_else(|| (place == 0).then(|| NO_SIGNATURE.to_owned()));
        if let Some(signature) = signature {
            part["thoughtSignature"] = json!(signature);
        }
        parts.push(part);
    }
    parts
}

fn declaration(Tool { name, description, parameters, .. }: &Tool) -> Value {
    let mut declaration = json!({"name": name});
    if let Some(description) = description {
        declaration["description"] = json!(description);
    }
    if let Some(parameters) = parameters {
        declaration["parametersJsonSchema"] = json!(parameters);
    }
    declaration
}

fn choice(choice: &ToolChoice) -> Value {
    match choice {
        ToolChoice::Auto => json!({"mode": "AUTO"}),
        ToolChoice::None => json!({"mode": "NONE"}),
        ToolChoice::Required => json!({"mode": "ANY"}),
        ToolChoice::Named(name) => json!({"mode": "ANY", "allowedFunctionNames": [name]}),
    }
}

/// Makes a vector of each text.
pub(crate) async fn embed(http: &Http, model: &str, texts: &[String]) -> Result<Vectors, Error> {
    #[derive(Deserialize)]
    struct Made {
        embeddings: VecDeque<Vector>,
    }
    #[derive(Deserialize)]
    struct Vector {
        values: Vec<f32>,
    }
    let name = model_path(model)?;
    let mut vectors: Vec<Vec<f32>> = Vec::new();
    for texts in texts.chunks(MOST_TEXTS) {
        let request = |text: &String| json!({"model": name, "content": {"parts": [{"text": text}]}});
        let requests: Vec<Value> = texts.iter().map(request).collect();
        let path = format!("{name}:batchEmbedContents");
        let made: Made = http.json(Method::POST, &path, Some(&json!({"requests": requests}))).await?;
        if made.embeddings.len() != texts.len() {
            let words = format!("{} vectors for {} texts", made.embeddings.len(), texts.len());
            return Err(Error::Malformed(words));
        }
        vectors.extend(made.embeddings.into_iter().map(|vector| vector.values));
    }
    if vectors.iter().any(|vector| vector.is_empty() || vector.len() != vectors[0].len()) {
        return Err(Error::Malformed("vectors of different lengths".into()));
    }
    Ok(Vectors { vectors, prompt_tokens: 0 })
}

/// The names of its models, without `models/`.
pub(crate) async fn models(http: &Http) -> Result<Vec<String>, Error> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Page {
        #[serde(default)]
        models: Vec<Model>,
        next_page_token: Option<String>,
    }
    #[derive(Deserialize)]
    struct Model {
        name: String,
    }
    let (mut names, mut token) = (Vec::new(), None::<String>);
    for _ in 0..MOST_PAGES {
        let after = token.map_or_else(String::new, |token| format!("&pageToken={}", escaped(&token)));
        let page: Page = http.json(Method::GET, &format!("models?pageSize={PAGE}{after}"), None).await?;
        let name = |model: Model| model.name.strip_prefix("models/").map(str::to_owned).unwrap_or(model.name);
        names.extend(page.models.into_iter().take(PAGE).map(name));
        token = page.next_page_token.filter(|token| !token.is_empty());
        if token.is_none() {
            break;
        }
    }
    Ok(names)
}

/// As part of an address.
fn escaped(text: &str) -> String {
    let escape = |byte: u8| match byte {
        b'-' | b'_' | b'.' | b'~' => char::from(byte).to_string(),
        byte if byte.is_ascii_alphanumeric() => char::from(byte).to_string(),
        byte => format!("%{byte:02X}"),
    };
    text.bytes().map(escape).collect()
}
