//! The conversation of a request, checked: who may speak when, and that every result of a tool answers a call.

use std::collections::HashMap;

use protocol::tools::{MAX_NAME_BYTES, MAX_TOOLS, is_name};
use protocol::{ErrorData, GenerateRequest, Message, Role};

use crate::error::invalid;
use crate::text::MAX_MESSAGES;

/// The messages of a request; those of tools know the names of their tools.
pub(super) fn checked(request: &GenerateRequest) -> Result<Vec<Message>, ErrorData> {
    let mut messages = match (&request.prompt, &request.messages) {
        (Some(prompt), None) => vec![Message::new(Role::User, prompt)],
        (None, Some(messages)) => messages.clone(),
        (Some(_), Some(_)) => return Err(invalid("both `prompt` and `messages` are given; give one of them")),
        (None, None) => return Err(invalid("missing field `prompt` (or `messages`)")),
    };
    let Some(last) = messages.last() else { return Err(invalid("`messages` is empty")) };
    if messages.len() > MAX_MESSAGES {
        return Err(invalid(format!("`messages` has {} entries, but {MAX_MESSAGES} are the most", messages.len())));
    }
    if !matches!(last.role, Role::User | Role::Tool) {
        return Err(invalid("the last of `messages` must be of role `user` or `tool`: it is what the model answers"));
    }
    if last.role == Role::User && last.content.trim().is_empty() {
        let field = if request.prompt.is_some() { "`prompt`" } else { "the last of `messages`" };
        return Err(invalid(format!("{field} is empty")));
    }
    if messages.iter().skip(1).any(|message| message.role == Role::System) {
        return Err(invalid("a message of role `system` can only be the first of `messages`"));
    }
    check_calls(&mut messages).map_err(invalid)?;
    Ok(messages)
}

/// Each call has an id of its own, and each message of role `tool` answers a call before it.
fn check_calls(messages: &mut [Message]) -> Result<(), String> {
    // The tool of each call that is not answered yet.
    let mut open: HashMap<String, String> = HashMap::new();
    for (index, message) in messages.iter_mut().enumerate() {
        let at = |problem: String| format!("messages[{index}]: {problem}");
        check_fields(message).map_err(at)?;
        if message.role == Role::Tool {
            answer(message, &mut open).map_err(at)?;
        }
        for call in &message.tool_calls {
            check_call(&call.id, &call.name).map_err(at)?;
            if open.insert(call.id.clone(), call.name.clone()).is_some() {
                return Err(at(format!("two calls have the id {:?}", call.id)));
            }
        }
    }
    Ok(())
}

/// Fields of other roles are refused, since no template would show them.
fn check_fields(message: &Message) -> Result<(), String> {
    let Message { role, tool_calls, reasoning, tool_call_id, name, .. } = message;
    let fields = [
        ("tool_calls", !tool_calls.is_empty(), Role::Assistant),
        ("reasoning", reasoning.is_some(), Role::Assistant),
        ("tool_call_id", tool_call_id.is_some(), Role::Tool),
        ("name", name.is_some(), Role::Tool),
    ];
    let (field, .., owner) = match fields.into_iter().find(|(_, is_given, owner)| *is_given && owner != role) {
        Some(field) => field,
        None if tool_calls.len() > MAX_TOOLS => {
            return Err(format!("`tool_calls` has {} entries, but {MAX_TOOLS} are the most", tool_calls.len()));
        }
        None => return Ok(()),
    };
    let owner = if owner == Role::Tool { "tool" } else { "assistant" };
    Err(format!("only messages of role `{owner}` have `{field}`"))
}

fn check_call(id: &str, name: &str) -> Result<(), String> {
    if id.is_empty() || id.len() > MAX_NAME_BYTES {
        return Err(format!("the id of a call has {} bytes, but must have 1 to {MAX_NAME_BYTES}", id.len()));
    }
    if is_name(name) { Ok(()) } else { Err(format!("the name of call {id:?} is no name of a tool")) }
}

/// Finds the call that a message answers, and gives it the name of the tool.
fn answer(message: &mut Message, open: &mut HashMap<String, String>) -> Result<(), String> {
    let Some(id) = &message.tool_call_id else {
        return Err("a message of role `tool` needs `tool_call_id`: the id of the call that it answers".into());
    };
    let Some(called) = open.remove(id) else {
        return Err(format!("`tool_call_id` {id:?} is the id of no call before it that is not answered yet"));
    };
    match message.name.replace(called.clone()) {
        Some(name) if name != called => Err(format!("call {id:?} is one of {called}, not of {name:?}")),
        _ => Ok(()),
    }
}

#[cfg(test)]
#[path = "conversation_tests.rs"]
mod tests;
