//! The interface described to programs: one table of methods, and the OpenRPC document made of it.

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde_json::{Value, json};

use crate::error::Kind;
use crate::{embeddings, generate, models, status};

/// One method as the wire sees it.
#[derive(Debug)]
pub struct Method {
    /// Full name.
    pub name: &'static str,
    /// One sentence.
    pub summary: &'static str,
    /// Schema of its one parameter object; `None` when it takes none.
    pub params: Option<fn(&mut SchemaGenerator) -> Schema>,
    /// Schema of its result.
    pub result: fn(&mut SchemaGenerator) -> Schema,
    /// Schema of what a subscription sends afterwards.
    pub event: Option<fn(&mut SchemaGenerator) -> Schema>,
}

fn schema<T: JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    generator.subschema_for::<T>()
}

const fn call(name: &'static str, summary: &'static str, result: fn(&mut SchemaGenerator) -> Schema) -> Method {
    Method { name, summary, params: None, result, event: None }
}

const fn call_with(
    name: &'static str,
    summary: &'static str,
    params: fn(&mut SchemaGenerator) -> Schema,
    result: fn(&mut SchemaGenerator) -> Schema,
) -> Method {
    Method { name, summary, params: Some(params), result, event: None }
}

/// Every method of the interface.
pub const METHODS: &[Method] = &[
    call_with(
        "generate.text",
        "Answers when the whole text is there; closing the connection cancels it.",
        schema::<generate::GenerateRequest>,
        schema::<generate::GenerateResult>,
    ),
    Method {
        name: "generate.stream",
        summary: "Answers with a subscription id, then sends generate.event notifications until finished or failed.",
        params: Some(schema::<generate::GenerateRequest>),
        result: schema::<u64>,
        event: Some(schema::<generate::GenerateEvent>),
    },
    Method {
        name: "generate.unsubscribe",
        summary: "Ends a stream of this connection and cancels its request; params is an array with the subscription id.",
        params: Some(schema::<u64>),
        result: schema::<bool>,
        event: None,
    },
    call_with(
        "generate.count_tokens",
        "Counts the tokens of the prompt that the request would have, and runs nothing.",
        schema::<generate::GenerateRequest>,
        schema::<generate::TokenCount>,
    ),
    call_with(
        "generate.cancel",
        "Ends a request of any connection.",
        schema::<generate::CancelRequest>,
        schema::<generate::Cancelled>,
    ),
    call_with(
        "embeddings.create",
        "Makes a vector of each text; closing the connection cancels it.",
        schema::<embeddings::EmbeddingsRequest>,
        schema::<embeddings::EmbeddingsResult>,
    ),
    call("models.list", "All models on disk, broken ones with their problem.", schema::<models::ModelList>),
    call_with("models.get", "One model.", schema::<models::ModelRef>, schema::<models::Model>),
    call_with(
        "models.load",
        "Loads a model and answers when it is warm.",
        schema::<models::LoadModel>,
        schema::<models::Model>,
    ),
    call_with(
        "models.unload",
        "Gives a model's memory back; refused while requests use it.",
        schema::<models::ModelRef>,
        schema::<models::Unloaded>,
    ),
    call_with(
        "models.import",
        "Makes a GGUF file into a model and answers when it is installed.",
        schema::<models::ImportModel>,
        schema::<models::Model>,
    ),
    call("daemon.ping", "A sign of life, without any work behind it.", schema::<status::Pong>),
    call("daemon.status", "What the daemon is doing.", schema::<status::Status>),
    call("daemon.shutdown", "Ends the daemon after the requests that run.", schema::<()>),
    call("rpc.discover", "This document.", schema::<Value>),
];

/// The method of that name.
pub fn method(name: &str) -> Option<&'static Method> {
    METHODS.iter().find(|method| method.name == name)
}

/// The OpenRPC 1.3 document of the interface.
pub fn document() -> Value {
    let settings = SchemaSettings::draft07().with(|settings| settings.definitions_path = "/components/schemas".into());
    let mut generator = settings.into_generator();
    let methods: Vec<Value> = METHODS.iter().map(|method| describe(method, &mut generator)).collect();
    let errors: serde_json::Map<String, Value> = Kind::ALL
        .into_iter()
        .map(|kind| {
            let name = serde_json::to_value(kind).unwrap_or_default();
            let name = name.as_str().unwrap_or_default().to_owned();
            (name.clone(), json!({ "code": kind.code(), "message": name }))
        })
        .collect();
    let data = generator.subschema_for::<crate::error::ErrorData>();
    json!({
        "openrpc": "1.3.2",
        "info": {
            "title": "talkied",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Language models kept warm, over one Unix socket.",
            "license": { "name": "MIT OR Apache-2.0" },
        },
        "methods": methods,
        "components": { "schemas": generator.take_definitions(true), "errors": errors },
        "x-error-data": data,
    })
}

fn describe(method: &Method, generator: &mut SchemaGenerator) -> Value {
    let params = method.params.map(|params| {
        json!([{ "name": "params", "required": true, "schema": params(generator),
            "description": "The object that stands as `params`." }])
    });
    let mut described = json!({
        "name": method.name,
        "summary": method.summary,
        "paramStructure": "either",
        "params": params.unwrap_or_else(|| json!([])),
        "result": { "name": "result", "schema": (method.result)(generator) },
    });
    if let Some(event) = method.event {
        described["x-event"] = json!({ "method": "generate.event", "schema": event(generator) });
    }
    described
}

#[cfg(test)]
#[path = "openrpc_tests.rs"]
mod tests;
