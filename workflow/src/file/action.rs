//! What a step can do: a struct for each kind.

use protocol::{GenerationOptions, ModelId, Priority, ProviderId, Tier};
use serde_json::Value;

use super::kinds::{Mapping, Parallel, Schema};
use super::path::{Group, Pointer, Regex};
use super::step::Step;
use crate::declare::{table, words};
use crate::node::At;
use crate::scope::Scope;
use crate::template::{Expression, RenderError, Template};
use crate::transform::described;

/// What a step does.
#[derive(Debug, Clone)]
pub enum Action {
    /// Asks a model.
    Llm(Box<Llm>),
    /// Runs a program.
    Shell(Box<Shell>),
    /// Sends a request to a server.
    Webhook(Box<Webhook>),
    /// Writes a file.
    SaveFile(SaveFile),
    /// Takes a value apart or puts it together.
    Transform(Box<Transform>),
    /// Goes one of two ways.
    Conditional(Conditional),
    /// Does steps for each item of a list.
    ForEach(ForEach),
    /// Runs another workflow.
    Workflow(WorkflowCall),
    /// Tells the user.
    Notify(Notify),
}

table! {
    /// Asks a model. The output is its answer: a text, or the value that `schema` describes.
    pub struct Llm {
        /// What it is asked. A template.
        pub prompt: Template,
        /// What it is told before. A template.
        pub system_prompt: Option<Template>,
        /// Which model, by its id alone or as `provider/model`; the file's `model` when absent.
        pub model: Option<ModelId>,
        /// Who is to answer; the file's `provider` when absent.
        pub provider: Option<ProviderId>,
        /// How much the answer may cost, instead of `model` and `provider`; the file's `tier` when absent.
        pub tier: Option<Tier>,
        /// Whose turn it is where not all can be served at once; the file's `priority` when absent.
        pub priority: Option<Priority>,
        /// A JSON Schema that the answer obeys; the output is then the value, not its text.
        pub schema: Option<Schema>,
        /// Most tokens of the answer; the same as `options.max_tokens`.
        pub max_tokens: Option<u32>,
        /// How the answer is generated.
        pub options: GenerationOptions = GenerationOptions::default(),
    }
}

table! {
    /// Runs a program. The settings must allow it. The output is what it prints.
    pub struct Shell {
        /// The program and its arguments, each a template; no shell reads them.
        pub command: Option<Vec<Template>>,
        /// A script for /bin/sh, instead of `command`; the settings must allow scripts. No template: values reach it by
        /// `environment` and `stdin`.
        pub script: Option<String>,
        /// What it reads on its standard input. A template.
        pub stdin: Option<Template>,
        /// The folder it runs in. A template.
        pub directory: Option<Template>,
        /// Variables of its environment. Values are templates.
        pub environment: Mapping<Template> = Mapping::default(),
        /// Variables of its environment that are secrets: the variable, then the secret's name.
        pub secrets: Mapping<At<String>> = Mapping::default(),
        /// What its output is.
        pub output: Output = Output::Text,
    }
}

table! {
    /// Sends a request to a server. The output is the body of its answer. Anything but a status of 2xx is a failure.
    pub struct Webhook {
        /// Where to, `https://` or `http://`. A template.
        pub url: Template,
        /// How.
        pub method: Method = Method::Post,
        /// Headers of the request. Values are templates.
        pub headers: Mapping<Template> = Mapping::default(),
        /// What is sent. A template.
        pub body: Option<Template>,
        /// The name of the secret that goes along as `Authorization: Bearer …`.
        pub bearer: Option<At<String>>,
        /// A secret that goes along in a header of its own.
        pub api_key: Option<ApiKey>,
        /// A secret that the body is signed with.
        pub hmac: Option<Hmac>,
        /// What its output is.
        pub output: Output = Output::Text,
    }
}

table! {
    /// A secret in a header.
    pub struct ApiKey {
        /// The header, as `X-API-Key`.
        pub header: At<String>,
        /// The secret's name.
        pub secret: At<String>,
    }
}

table! {
    /// A signature of the body: `sha256=` and the HMAC-SHA256 in hexadecimal digits.
    pub struct Hmac {
        /// The secret's name.
        pub secret: At<String>,
        /// The header, as `X-Signature`.
        pub header: At<String>,
    }
}

table! {
    /// Writes a file, whole or not at all. The output is its path.
    pub struct SaveFile {
        /// Where to: absolute, or from `~/` on. A template.
        pub path: Template,
        /// What. A template.
        pub text: Template,
        /// What happens to a file that is there.
        pub exists: Exists = Exists::Replace,
    }
}

table! {
    /// Takes a value apart or puts it together. Exactly one of `pointer`, `regex`, `split`, `join` and `json`.
    pub struct Transform {
        /// The value, an expression; the output of the step before when absent.
        pub from: Option<Expression>,
        /// A JSON pointer, as `/tasks/0`: the output is what it points to.
        pub pointer: Option<Pointer>,
        /// A regular expression: the output is what it matches first.
        pub regex: Option<Regex>,
        /// The group of `regex` that is the output, by its number or name; all of the match when absent.
        pub group: Option<Group>,
        /// Whether the output is the list of all that `regex` matches.
        pub all: bool = false,
        /// Splits a text at this; the output is a list of texts.
        pub split: Option<At<String>>,
        /// Joins a list with this between; the output is a text.
        pub join: Option<At<String>>,
        /// Reads a text as JSON; the output is its value.
        pub json: bool = false,
    }
}

table! {
    /// Goes one of two ways. The output is that of the last step on it.
    pub struct Conditional {
        /// The question, an expression.
        pub condition: Expression as "if",
        /// The steps where it is true.
        pub then: Vec<Step>,
        /// The steps where it is not.
        pub otherwise: Vec<Step> as "else" = Vec::new(),
    }
}

table! {
    /// Does steps for each item of a list. The output is the list of the last step's outputs, in the items' order.
    pub struct ForEach {
        /// The list, an expression.
        pub items: Expression,
        /// The name of the item in the templates of the steps.
        pub name: At<String> as "as" = At { value: "item".into(), at: 0 },
        /// How many items at once, 1 to 16.
        pub parallel: Parallel = Parallel(1),
        /// The steps. The names of their outputs hold for their item alone.
        pub steps: Vec<Step> as "step",
    }
}

table! {
    /// Runs another workflow. The output is an object of its outputs by their keys.
    pub struct WorkflowCall {
        /// Which.
        pub name: At<String>,
        /// What it is given. A text is a template; one that is exactly one expression keeps its type.
        pub inputs: Mapping<Given> = Mapping::default(),
    }
}

table! {
    /// Tells the user. There is no output.
    pub struct Notify {
        /// In a few words. A template; the workflow's name when absent.
        pub title: Option<Template>,
        /// What. A template.
        pub text: Template,
    }
}

words! {
    /// What an output is.
    pub enum Output {
        /// A text.
        Text = "text",
        /// The value that the text is as JSON.
        Json = "json",
    }
}

words! {
    /// How a request is made.
    pub enum Method {
        /// GET.
        Get = "GET",
        /// POST.
        Post = "POST",
        /// PUT.
        Put = "PUT",
        /// PATCH.
        Patch = "PATCH",
        /// DELETE.
        Delete = "DELETE",
    }
}

words! {
    /// What happens to a file that is there.
    pub enum Exists {
        /// It is replaced.
        Replace = "replace",
        /// The step fails.
        Fail = "fail",
        /// It stays, and the new one gets a number: `memo-2.json`.
        Number = "number",
        /// The text goes to its end.
        Append = "append",
    }
}

/// What another workflow is given under one name.
#[derive(Debug, Clone)]
pub enum Given {
    /// A text with places.
    Template(Template),
    /// Anything else.
    Value(Value),
}

impl Action {
    /// Its kind, as a file says it.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Llm(_) => "llm",
            Self::Shell(_) => "shell",
            Self::Webhook(_) => "webhook",
            Self::SaveFile(_) => "save_file",
            Self::Transform(_) => "transform",
            Self::Conditional(_) => "conditional",
            Self::ForEach(_) => "for_each",
            Self::Workflow(_) => "workflow",
            Self::Notify(_) => "notify",
        }
    }

    /// The steps inside it.
    pub fn steps(&self) -> Vec<&Step> {
        match self {
            Self::Conditional(conditional) => conditional.then.iter().chain(&conditional.otherwise).collect(),
            Self::ForEach(for_each) => for_each.steps.iter().collect(),
            _ => Vec::new(),
        }
    }
}

impl Llm {
    /// How the answer is generated.
    pub fn generation_options(&self) -> GenerationOptions {
        let max_tokens = self.max_tokens.unwrap_or(self.options.max_tokens);
        GenerationOptions { max_tokens, ..self.options.clone() }
    }
}

impl Given {
    /// What is given.
    pub fn value(&self, scope: &Scope) -> Result<Value, RenderError> {
        match self {
            Self::Template(template) => template.render_value(scope),
            Self::Value(value) => Ok(value.clone()),
        }
    }
}

impl ForEach {
    /// The items.
    pub fn list(&self, scope: &Scope) -> Result<Vec<Value>, RenderError> {
        match self.items.value(scope)? {
            Value::Array(items) => Ok(items),
            other => Err(RenderError::new(format!("`items` is {}, not a list", described(&other)))),
        }
    }
}

#[cfg(test)]
#[path = "action_tests.rs"]
mod tests;
