//! `OpenAI`'s API, as its reference describes `POST /chat/completions`, `POST /embeddings` and `GET /models`, and as vLLM,
//! `SGLang`, llama.cpp and mlx-lm speak it.

mod read;

use protocol::{Message, Reasoning, ResponseFormat, Role, Tool, ToolCall, ToolChoice};
use reqwest::Method;
use reqwest::header::{AUTHORIZATION, HeaderName};
use serde::Deserialize;
use serde_json::{Map, Value, json};

pub(crate) use read::Reader;

use crate::http::Http;
use crate::refuse::{self, differs, not_supported};
use crate::{Call, Error, Stream, Vectors, stream};

/// Most stop sequences that `OpenAI` takes; others take as many or more.
const MOST_STOPS: usize = 4;

/// `OpenAI`'s own server, which refuses what others have added.
const OPENAI: &str = "api.openai.com";

/// Most models that are listed.
const MOST_MODELS: usize = 10_000;

/// How the key is sent.
pub(crate) fn key_header(key: &str) -> (HeaderName, String) {
    (AUTHORIZATION, format!("Bearer {key}"))
}

/// Asks for an answer.
pub(crate) async fn generate(http: &Http, call: &Call) -> Result<Stream, Error> {
    let body = body(call, http.is_host(OPENAI))?;
    let body = http.events("chat/completions", &body).await?;
    Ok(Stream::new(body, stream::Reader::Openai(Reader::default())))
}

fn body(call: &Call, is_openai: bool) -> Result<Value, Error> {
    let Call { model, messages, options, tools, tool_choice, reasoning, response_format } = call;
    refuse::options(options, MOST_STOPS)?;
    refuse::format(response_format.as_ref())?;
    let system = options.system_prompt.iter().map(|text| json!({"role": "system", "content": text}));
    let messages: Vec<Value> = system.chain(messages.iter().map(message)).collect();
    // What newer models of OpenAI's take alone is what the others do not know.
    let limit = if is_openai { "max_completion_tokens" } else { "max_tokens" };
    let mut body = json!({
        "model": model, "messages": messages, "stream": true, "stream_options": {"include_usage": true},
        "temperature": options.temperature, "top_p": options.top_p, limit: options.max_tokens,
    });
    let mut set = |name: &str, value: Value| body[name] = value;
    for (name, value) in
        [("presence_penalty", options.presence_penalty), ("frequency_penalty", options.frequency_penalty)]
    {
        if differs(value, 0.0) {
            set(name, json!(value));
        }
    }
    if !options.stop_sequences.is_empty() {
        set("stop", json!(options.stop_sequences));
    }
    if let Some(seed) = options.seed {
        set("seed", json!(seed));
    }
    if !options.logit_bias.is_empty() {
        set("logit_bias", json!(options.logit_bias));
    }
    let filters =
        [("top_k", options.top_k > 0, json!(options.top_k)), ("min_p", options.min_p > 0.0, json!(options.min_p))];
    for (name, _, value) in filters.into_iter().filter(|(_, is_asked, _)| *is_asked) {
        if is_openai {
            return Err(not_supported(name));
        }
        set(name, value);
    }
    if let Some(format) = response_format.as_ref().and_then(format) {
        set("response_format", format);
    }
    if !tools.is_empty() && *tool_choice != ToolChoice::None {
        set("tools", tools.iter().map(tool).collect());
        set("tool_choice", choice(tool_choice));
    }
    if *reasoning == Reasoning::Off {
        if is_openai {
            set("reasoning_effort", json!("none"));
        } else {
            set("chat_template_kwargs", json!({"enable_thinking": false}));
        }
    }
    Ok(body)
}

fn message(message: &Message) -> Value {
    let Message { role, content, tool_calls, tool_call_id, .. } = message;
    let role = match role {
        Role::System => "system",
        Role::User => "user",
        Role::Assistant => "assistant",
        Role::Tool => "tool",
    };
    let mut written = json!({"role": role, "content": content});
    if !tool_calls.is_empty() {
        let call = |ToolCall { id, name, arguments }: &ToolCall| {
            let arguments = Value::Object(arguments.clone()).to_string();
            json!({"id": id, "type": "function", "function": {"name": name, "arguments": arguments}})
        };
        written["tool_calls"] = tool_calls.iter().map(call).collect();
    }
    if let Some(id) = tool_call_id {
        written["tool_call_id"] = json!(id);
    }
    written
}

fn tool(Tool { name, description, parameters, strict }: &Tool) -> Value {
    let parameters = parameters.clone().unwrap_or_else(nothing);
    let mut function = json!({"name": name, "parameters": parameters});
    if let Some(description) = description {
        function["description"] = json!(description);
    }
    if *strict {
        function["strict"] = json!(true);
    }
    json!({"type": "function", "function": function})
}

/// The schema of no arguments.
fn nothing() -> Map<String, Value> {
    let empty = Value::Object(Map::new());
    Map::from_iter([("type".into(), json!("object")), ("properties".into(), empty)])
}

fn choice(choice: &ToolChoice) -> Value {
    match choice {
        ToolChoice::Auto => json!("auto"),
        ToolChoice::None => json!("none"),
        ToolChoice::Required => json!("required"),
        ToolChoice::Named(name) => json!({"type": "function", "function": {"name": name}}),
    }
}

fn format(format: &ResponseFormat) -> Option<Value> {
    match format {
        ResponseFormat::JsonObject {} => Some(json!({"type": "json_object"})),
        ResponseFormat::JsonSchema { schema } => {
            let schema = json!({"name": "answer", "schema": schema, "strict": true});
            Some(json!({"type": "json_schema", "json_schema": schema}))
        }
        // The others are refused before.
        ResponseFormat::Text {} | ResponseFormat::Regex { .. } | ResponseFormat::Lark { .. } => None,
    }
}

/// Makes a vector of each text.
pub(crate) async fn embed(http: &Http, model: &str, texts: &[String]) -> Result<Vectors, Error> {
    #[derive(Deserialize)]
    struct Made {
        data: Vec<Vector>,
        #[serde(default)]
        usage: Usage,
    }
    #[derive(Deserialize)]
    struct Vector {
        index: Option<usize>,
        embedding: Vec<f32>,
    }
    #[derive(Default, Deserialize)]
    struct Usage {
        #[serde(default)]
        prompt_tokens: u32,
    }
    let body = json!({"model": model, "input": texts, "encoding_format": "float"});
    let made: Made = http.json(Method::POST, "embeddings", Some(&body)).await?;
    let mut vectors = vec![Vec::new(); texts.len()];
    for (place, Vector { index, embedding }) in made.data.into_iter().enumerate() {
        if let Some(vector) = vectors.get_mut(index.unwrap_or(place)) {
            *vector = embedding;
        }
    }
    if vectors.iter().any(|vector| vector.is_empty() || vector.len() != vectors[0].len()) {
        return Err(Error::Malformed(format!("not one vector of one length for each of {} texts", texts.len())));
    }
    Ok(Vectors { vectors, prompt_tokens: made.usage.prompt_tokens })
}

/// The names of its models.
pub(crate) async fn models(http: &Http) -> Result<Vec<String>, Error> {
    #[derive(Deserialize)]
    struct Models {
        data: Vec<Model>,
    }
    #[derive(Deserialize)]
    struct Model {
        id: String,
    }
    let models: Models = http.json(Method::GET, "models", None).await?;
    Ok(models.data.into_iter().take(MOST_MODELS).map(|model| model.id).collect())
}
