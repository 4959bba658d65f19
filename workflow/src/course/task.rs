//! What a step does, with everything put in its place: values that are done as they are. Secrets stand as their names.

use std::collections::BTreeMap;
use std::fmt::Write;

use protocol::{GenerateRequest, GenerationOptions, ResponseFormat};
use serde::Serialize;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use crate::Workflow;
use crate::file::{Action, Exists, Llm, Mapping, Method, Output, SaveFile, Shell, Webhook};
use crate::node::At;
use crate::scope::Scope;
use crate::template::Template;

/// What is to be done.
#[derive(Debug, Clone, PartialEq)]
pub enum Task {
    /// Ask a model.
    Llm(Box<LlmTask>),
    /// Run a program.
    Shell(ShellTask),
    /// Send a request.
    Webhook(Box<WebhookTask>),
    /// Write a file.
    SaveFile(SaveFileTask),
    /// Tell the user.
    Notify(NotifyTask),
    /// Nothing but to wait: a step of this kind, which has others inside, goes on by those.
    Enter(&'static str),
}

/// A request to a model.
#[derive(Debug, Clone, PartialEq)]
pub struct LlmTask {
    /// The request. Who asks is not in it.
    pub request: GenerateRequest,
}

/// A program to be run.
#[derive(Debug, Clone, PartialEq)]
pub struct ShellTask {
    /// The program and its arguments; empty where there is a script.
    pub command: Vec<String>,
    /// A script for /bin/sh.
    pub script: Option<String>,
    /// What it reads.
    pub stdin: Option<String>,
    /// The folder it runs in.
    pub directory: Option<String>,
    /// Variables of its environment.
    pub environment: BTreeMap<String, String>,
    /// Variables of its environment, and the names of the secrets that they are.
    pub secrets: BTreeMap<String, String>,
    /// What its output is.
    pub output: Output,
}

/// A request to be sent.
#[derive(Debug, Clone, PartialEq)]
pub struct WebhookTask {
    /// Where to.
    pub url: String,
    /// How.
    pub method: Method,
    /// Headers.
    pub headers: BTreeMap<String, String>,
    /// What is sent.
    pub body: Option<String>,
    /// The name of a secret for `Authorization: Bearer`.
    pub bearer: Option<String>,
    /// A header, and the name of the secret in it.
    pub api_key: Option<(String, String)>,
    /// A header, and the name of the secret that signs the body for it.
    pub hmac: Option<(String, String)>,
    /// What its output is.
    pub output: Output,
}

/// A file to be written.
#[derive(Debug, Clone, PartialEq)]
pub struct SaveFileTask {
    /// Where to: absolute, or from `~/` on.
    pub path: String,
    /// What.
    pub text: String,
    /// What happens to one that is there.
    pub exists: Exists,
}

/// Something to tell the user.
#[derive(Debug, Clone, PartialEq)]
pub struct NotifyTask {
    /// In a few words.
    pub title: String,
    /// What.
    pub text: String,
}

/// How places in templates are filled.
pub enum Fill<'a> {
    /// What is not known is an error.
    Strictly(&'a Scope),
    /// A template with something that is not known stays as it is.
    AsKnown(&'a Scope),
}

impl Fill<'_> {
    fn text(&self, what: &str, template: &Template) -> Result<String, String> {
        match self {
            Self::Strictly(scope) => template.render_text(scope).map_err(|error| format!("{what}: {error}")),
            Self::AsKnown(scope) => Ok(template.render_text(scope).unwrap_or_else(|_| template.source().to_owned())),
        }
    }

    fn perhaps(&self, what: &str, template: Option<&Template>) -> Result<Option<String>, String> {
        template.map(|template| self.text(what, template)).transpose()
    }

    fn each(&self, what: &str, templates: &Mapping<Template>) -> Result<BTreeMap<String, String>, String> {
        let filled = |(name, template): (&String, &Template)| {
            Ok((name.clone(), self.text(&format!("{what}.{name}"), template)?))
        };
        templates.iter().map(filled).collect()
    }
}

impl Task {
    /// Of an action of a workflow that does something outside of it.
    pub fn of(action: &Action, workflow: &Workflow, fill: &Fill<'_>) -> Result<Self, String> {
        Ok(match action {
            Action::Llm(llm) => Self::Llm(Box::new(LlmTask { request: request(llm, workflow, fill)? })),
            Action::Shell(shell) => Self::Shell(shell_task(shell, fill)?),
            Action::Webhook(webhook) => Self::Webhook(Box::new(webhook_task(webhook, fill)?)),
            Action::SaveFile(SaveFile { path, text, exists }) => Self::SaveFile(SaveFileTask {
                path: fill.text("path", path)?,
                text: fill.text("text", text)?,
                exists: *exists,
            }),
            Action::Notify(notify) => Self::Notify(NotifyTask {
                title: fill.perhaps("title", notify.title.as_ref())?.unwrap_or_else(|| workflow.name.clone()),
                text: fill.text("text", &notify.text)?,
            }),
            Action::Transform(_) | Action::Conditional(_) | Action::ForEach(_) | Action::Workflow(_) => {
                Self::Enter(kind_of(action))
            }
        })
    }

    /// What it is, as a file says it.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Llm(_) => "llm",
            Self::Shell(_) => "shell",
            Self::Webhook(_) => "webhook",
            Self::SaveFile(_) => "save_file",
            Self::Notify(_) => "notify",
            Self::Enter(kind) => kind,
        }
    }

    /// Everything that it is told.
    pub fn parameters(&self) -> Value {
        match self {
            Self::Llm(llm) => llm.parameters(),
            Self::Shell(shell) => without_nothing(json!({
                "command": shell.command, "script": shell.script, "stdin": shell.stdin, "directory": shell.directory,
                "environment": shell.environment, "secrets": shell.secrets, "output": shell.output.name(),
            })),
            Self::Webhook(webhook) => without_nothing(json!({
                "url": webhook.url, "method": webhook.method.name(), "headers": webhook.headers, "body": webhook.body,
                "bearer": webhook.bearer, "api_key": webhook.api_key, "hmac": webhook.hmac,
                "output": webhook.output.name(),
            })),
            Self::SaveFile(file) => json!({ "path": file.path, "text": file.text, "exists": file.exists.name() }),
            Self::Notify(notify) => json!({ "title": notify.title, "text": notify.text }),
            Self::Enter(_) => Value::Null,
        }
    }

    /// Of everything that it is told, SHA-256 in hexadecimal digits.
    pub fn hash(&self) -> String {
        hash_of(&self.parameters())
    }
}

impl LlmTask {
    /// Whether the answer is a value that a schema describes.
    pub fn is_value(&self) -> bool {
        self.request.response_format.is_some()
    }

    /// The request without what is as it always is.
    fn parameters(&self) -> Value {
        let mut told = serde_json::to_value(&self.request).unwrap_or_default();
        let usual = serde_json::to_value(GenerationOptions::default()).unwrap_or_default();
        if let Some(Value::Object(options)) = told.get_mut("options") {
            options.retain(|name, value| usual.get(name) != Some(value));
        }
        without_nothing(told)
    }
}

fn request(llm: &Llm, workflow: &Workflow, fill: &Fill<'_>) -> Result<GenerateRequest, String> {
    let says = llm.model.is_some() || llm.provider.is_some() || llm.tier.is_some();
    let (model, provider, tier) = if says {
        (llm.model.clone(), llm.provider.clone(), llm.tier)
    } else {
        (workflow.model.clone(), workflow.provider.clone(), workflow.tier)
    };
    let mut options = llm.options.clone();
    if let Some(max_tokens) = llm.max_tokens {
        options.max_tokens = max_tokens;
    }
    if let Some(system_prompt) = fill.perhaps("system_prompt", llm.system_prompt.as_ref())? {
        options.system_prompt = Some(system_prompt);
    }
    let schema = llm.schema.as_ref().map(|schema| ResponseFormat::JsonSchema { schema: schema.0.clone() });
    Ok(GenerateRequest {
        model,
        provider,
        tier,
        prompt: Some(fill.text("prompt", &llm.prompt)?),
        options,
        response_format: schema,
        priority: llm.priority.unwrap_or(workflow.priority),
        ..GenerateRequest::default()
    })
}

fn shell_task(shell: &Shell, fill: &Fill<'_>) -> Result<ShellTask, String> {
    let arguments = shell.command.iter().flatten().map(|argument| fill.text("command", argument));
    Ok(ShellTask {
        command: arguments.collect::<Result<_, _>>()?,
        script: shell.script.clone(),
        stdin: fill.perhaps("stdin", shell.stdin.as_ref())?,
        directory: fill.perhaps("directory", shell.directory.as_ref())?,
        environment: fill.each("environment", &shell.environment)?,
        secrets: shell.secrets.iter().map(|(variable, name)| (variable.clone(), name.value.clone())).collect(),
        output: shell.output,
    })
}

fn webhook_task(webhook: &Webhook, fill: &Fill<'_>) -> Result<WebhookTask, String> {
    let pair = |header: &At<String>, secret: &At<String>| (header.value.clone(), secret.value.clone());
    Ok(WebhookTask {
        url: fill.text("url", &webhook.url)?,
        method: webhook.method,
        headers: fill.each("headers", &webhook.headers)?,
        body: fill.perhaps("body", webhook.body.as_ref())?,
        bearer: webhook.bearer.as_ref().map(|name| name.value.clone()),
        api_key: webhook.api_key.as_ref().map(|key| pair(&key.header, &key.secret)),
        hmac: webhook.hmac.as_ref().map(|hmac| pair(&hmac.header, &hmac.secret)),
        output: webhook.output,
    })
}

/// The kind of an action, as a file says it.
pub fn kind_of(action: &Action) -> &'static str {
    match action {
        Action::Llm(_) => "llm",
        Action::Shell(_) => "shell",
        Action::Webhook(_) => "webhook",
        Action::SaveFile(_) => "save_file",
        Action::Transform(_) => "transform",
        Action::Conditional(_) => "conditional",
        Action::ForEach(_) => "for_each",
        Action::Workflow(_) => "workflow",
        Action::Notify(_) => "notify",
    }
}

/// Whether a step of this kind goes on by others inside.
pub fn is_container(action: &Action) -> bool {
    matches!(action, Action::Conditional(_) | Action::ForEach(_) | Action::Workflow(_))
}

/// SHA-256 of a value as JSON, in hexadecimal digits.
pub fn hash_of(value: &impl Serialize) -> String {
    let bytes = serde_json::to_vec(value).unwrap_or_default();
    Sha256::digest(bytes).iter().fold(String::with_capacity(64), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// An object without what is absent or empty.
pub fn without_nothing(value: Value) -> Value {
    let Value::Object(entries) = value else { return value };
    let is_something = |value: &Value| match value {
        Value::Null => false,
        Value::Array(items) => !items.is_empty(),
        Value::Object(entries) => !entries.is_empty(),
        _ => true,
    };
    Value::Object(entries.into_iter().filter(|(_, value)| is_something(value)).collect::<Map<_, _>>())
}
