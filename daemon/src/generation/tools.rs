//! The tools of a request, checked before a model is loaded for them.

use std::collections::HashSet;

use engine::Grammar;
use protocol::tools::MAX_TOOLS;
use protocol::{ErrorData, GenerateRequest, ResponseFormat, Tool, ToolChoice};
use serde_json::Value;

use crate::error::{internal, invalid};

/// The tools that the model is told of.
pub(super) async fn offered(request: &GenerateRequest) -> Result<Vec<Tool>, ErrorData> {
    check(request)?;
    let tools = checked(request.tools.clone()).await?;
    Ok(if request.tool_choice == ToolChoice::None { Vec::new() } else { tools })
}

fn check(request: &GenerateRequest) -> Result<(), ErrorData> {
    let GenerateRequest { tools, tool_choice, .. } = request;
    if tools.len() > MAX_TOOLS {
        return Err(invalid(format!("`tools` has {} entries, but {MAX_TOOLS} are the most", tools.len())));
    }
    if let Some(problem) = tools.iter().find_map(Tool::problem) {
        return Err(invalid(format!("tools: {problem}")));
    }
    let mut names = HashSet::new();
    if let Some(tool) = tools.iter().find(|tool| !names.insert(tool.name.as_str())) {
        return Err(invalid(format!("two of `tools` have the name {}", tool.name)));
    }
    match tool_choice {
        ToolChoice::Required if tools.is_empty() => {
            return Err(invalid("tool_choice is required, but there are no `tools`"));
        }
        ToolChoice::Named(name) if !names.contains(name.as_str()) => {
            return Err(invalid(format!("tool_choice names {name:?}, which is none of `tools`")));
        }
        ToolChoice::Auto | ToolChoice::None | ToolChoice::Required | ToolChoice::Named(_) => {}
    }
    let is_free = matches!(request.response_format, None | Some(ResponseFormat::Text {}));
    if !tools.is_empty() && *tool_choice != ToolChoice::None && !is_free {
        return Err(invalid("response_format leaves no room for calls of `tools`; leave one of them out"));
    }
    Ok(())
}

/// Off the event loop: large schemas take milliseconds.
async fn checked(tools: Vec<Tool>) -> Result<Vec<Tool>, ErrorData> {
    let checked = tokio::task::spawn_blocking(move || {
        let problem = tools.iter().find_map(|tool| schema_problem(tool).or_else(|| strict_problem(tool)));
        problem.map_or(Ok(tools), Err)
    });
    checked.await.map_err(|_| internal("checking tools panicked"))?.map_err(invalid)
}

/// Why the parameters of a tool are no JSON schema of an object.
fn schema_problem(Tool { name, parameters, .. }: &Tool) -> Option<String> {
    let schema = Value::Object(parameters.clone()?);
    let refuse = |pointer: &str, words: &str| {
        Some(format!("tools: the parameters of {name} are no JSON schema of an object: {pointer}: {words}"))
    };
    if let Err(error) = jsonschema::meta::validate(&schema) {
        return refuse(error.instance_path().as_str(), &error.masked().to_string());
    }
    match schema.get("type") {
        None => None,
        Some(kind) if kind == "object" => None,
        Some(kind) => refuse("/type", &format!("arguments are an \"object\", not {kind}")),
    }
}

/// Why the arguments of a tool cannot be held to its parameters.
fn strict_problem(Tool { name, parameters, strict, .. }: &Tool) -> Option<String> {
    let schema = parameters.clone().filter(|_| *strict)?;
    let error = Grammar::JsonSchema(Value::Object(schema).to_string()).check().err()?;
    Some(format!("tools: {name} cannot be strict: {error}"))
}
