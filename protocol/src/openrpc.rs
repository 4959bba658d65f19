//! The interface described to programs: one table of methods, and the OpenRPC document made of it.

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde_json::{Value, json};

use crate::error::Kind;
use crate::{
    catalogue, config, embeddings, events, generate, metrics, models, providers, pulls, runs, secrets, status, storage,
    usage, workflows,
};

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

const fn subscription(
    name: &'static str,
    summary: &'static str,
    params: fn(&mut SchemaGenerator) -> Schema,
    event: fn(&mut SchemaGenerator) -> Schema,
) -> Method {
    Method { name, summary, params: Some(params), result: schema::<u64>, event: Some(event) }
}

const fn unsubscribe(name: &'static str, summary: &'static str) -> Method {
    Method { name, summary, params: Some(schema::<u64>), result: schema::<bool>, event: None }
}

/// Every method of the interface.
pub const METHODS: &[Method] = &[
    call_with(
        "generate.text",
        "Answers when the whole text is there; closing the connection cancels it.",
        schema::<generate::GenerateRequest>,
        schema::<generate::GenerateResult>,
    ),
    subscription(
        "generate.stream",
        "Answers with a subscription id, then sends generate.event notifications until finished or failed.",
        schema::<generate::GenerateRequest>,
        schema::<generate::GenerateEvent>,
    ),
    unsubscribe(
        "generate.unsubscribe",
        "Ends a stream of this connection and cancels its request; params is an array with the subscription id.",
    ),
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
    call(
        "models.catalogue",
        "Models known to work, whether or not they are on this disk.",
        schema::<catalogue::Catalogue>,
    ),
    subscription(
        "models.subscribe",
        "Answers with a subscription id, then sends models.event notifications of what happens to models.",
        schema::<events::SubscribeModels>,
        schema::<events::ModelEvent>,
    ),
    unsubscribe("models.unsubscribe", "Ends a stream of this connection; params is an array with the subscription id."),
    call_with(
        "models.import",
        "Makes a file or folder into a model and answers when it is installed.",
        schema::<storage::ImportModel>,
        schema::<models::Model>,
    ),
    call_with(
        "models.delete",
        "Removes a model from the disk and from memory; refused while requests use it, unless forced.",
        schema::<storage::DeleteModel>,
        schema::<storage::Deleted>,
    ),
    call_with(
        "models.verify",
        "Reads every byte of a model and compares it with what is known of it.",
        schema::<models::ModelRef>,
        schema::<storage::Verified>,
    ),
    call("models.storage", "What models take of the disk.", schema::<storage::Storage>),
    call_with(
        "pulls.start",
        "Begins to download a model, or joins the download under way, and answers at once.",
        schema::<pulls::StartPull>,
        schema::<pulls::Pull>,
    ),
    call("pulls.list", "All downloads that are not over.", schema::<pulls::PullList>),
    call_with(
        "pulls.pause",
        "Stops a download and keeps what it has.",
        schema::<pulls::PullRef>,
        schema::<pulls::Pull>,
    ),
    call_with(
        "pulls.resume",
        "Goes on with a download that was paused or has failed.",
        schema::<pulls::PullRef>,
        schema::<pulls::Pull>,
    ),
    call_with(
        "pulls.cancel",
        "Gives a download up and removes what it has.",
        schema::<pulls::PullRef>,
        schema::<pulls::Pull>,
    ),
    subscription(
        "pulls.subscribe",
        "Answers with a subscription id, then sends pulls.event notifications of downloads.",
        schema::<pulls::SubscribePulls>,
        schema::<pulls::PullEvent>,
    ),
    unsubscribe("pulls.unsubscribe", "Ends a stream of this connection; params is an array with the subscription id."),
    call(
        "providers.list",
        "Who can answer, in the order in which they are tried, without asking any of them.",
        schema::<providers::ProviderList>,
    ),
    call_with(
        "providers.get",
        "One provider, with its models, for which it is asked.",
        schema::<providers::ProviderRef>,
        schema::<providers::Provider>,
    ),
    call_with(
        "providers.configure",
        "Changes a provider, or adds a server.",
        schema::<providers::ConfigureProvider>,
        schema::<providers::Provider>,
    ),
    call_with(
        "providers.remove",
        "Forgets a server that was added, and its key.",
        schema::<providers::ProviderRef>,
        schema::<providers::RemovedProvider>,
    ),
    call_with(
        "providers.test",
        "Asks a provider for its models: whether it is there and takes the key.",
        schema::<providers::ProviderRef>,
        schema::<providers::ProviderTest>,
    ),
    call("secrets.list", "The names of all secrets, and where each is from.", schema::<secrets::SecretList>),
    call_with(
        "secrets.set",
        "Keeps a secret that workflows use by its name.",
        schema::<secrets::SetSecret>,
        schema::<secrets::Secret>,
    ),
    call_with("secrets.remove", "Forgets a secret.", schema::<secrets::SecretRef>, schema::<secrets::RemovedSecret>),
    call_with(
        "usage.get",
        "Tokens used and what they cost, by day, provider, model and app.",
        schema::<usage::GetUsage>,
        schema::<usage::UsageReport>,
    ),
    call(
        "workflows.list",
        "All workflows of the folder, broken ones with their problems.",
        schema::<workflows::WorkflowList>,
    ),
    call_with(
        "workflows.get",
        "One workflow with its text and its steps.",
        schema::<workflows::WorkflowRef>,
        schema::<workflows::WorkflowFile>,
    ),
    call_with(
        "workflows.check",
        "Says everything that is wrong with the text of a workflow.",
        schema::<workflows::CheckWorkflow>,
        schema::<workflows::WorkflowCheck>,
    ),
    call("workflows.schema", "The JSON Schema of a workflow's file.", schema::<Value>),
    call_with(
        "workflows.run",
        "Begins a run and answers at once; with dry_run says what it would do, and does nothing.",
        schema::<workflows::RunWorkflow>,
        schema::<workflows::RunStarted>,
    ),
    call_with("workflows.runs", "Runs, the latest first.", schema::<runs::ListRuns>, schema::<runs::RunList>),
    call_with("workflows.show", "One run with its log.", schema::<runs::ShowRun>, schema::<runs::RunDetails>),
    call_with(
        "workflows.cancel",
        "Stops a run; what it has done stays done.",
        schema::<runs::RunRef>,
        schema::<runs::Run>,
    ),
    call_with(
        "workflows.resume",
        "Goes on with a run that failed, was cancelled or interrupted.",
        schema::<runs::ResumeRun>,
        schema::<runs::Run>,
    ),
    subscription(
        "workflows.subscribe",
        "Answers with a subscription id, then sends workflows.event notifications of what happens in runs.",
        schema::<runs::SubscribeRuns>,
        schema::<runs::RunEvent>,
    ),
    unsubscribe(
        "workflows.unsubscribe",
        "Ends a stream of this connection; params is an array with the subscription id.",
    ),
    call_with(
        "daemon.hello",
        "Which versions of the contract the daemon speaks.",
        schema::<status::Hello>,
        schema::<status::Welcome>,
    ),
    call("daemon.ping", "A sign of life, without any work behind it.", schema::<status::Pong>),
    call("daemon.status", "What the daemon is doing.", schema::<status::Status>),
    call(
        "daemon.metrics",
        "What was counted since the daemon's start, and what is so now.",
        schema::<metrics::Metrics>,
    ),
    call("daemon.config", "What the daemon is set to, and where each value is from.", schema::<config::Configuration>),
    call(
        "daemon.reload",
        "Reads the file with settings again; one that is wrong changes nothing.",
        schema::<config::Reloaded>,
    ),
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
        let namespace = method.name.split('.').next().unwrap_or_default();
        described["x-event"] = json!({ "method": format!("{namespace}.event"), "schema": event(generator) });
    }
    described
}

#[cfg(test)]
#[path = "openrpc_tests.rs"]
mod tests;
