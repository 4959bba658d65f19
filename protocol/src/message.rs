//! What is said in a conversation.

use schemars::JsonSchema;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};

use crate::tools::ToolCall;

/// One turn of a conversation.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Message {
    /// Who says it.
    pub role: Role,
    /// What is said. Only a message with `tool_calls` can do without.
    #[serde(default)]
    pub content: String,
    /// What the assistant called, at most 128.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tool_calls: Vec<ToolCall>,
    /// What the assistant reasoned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reasoning: Option<String>,
    /// The call that a message of role `tool` answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tool_call_id: Option<String>,
    /// The tool that a message of role `tool` comes from: the one of its call.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

impl Message {
    /// A message that is nothing but text.
    pub fn new(role: Role, content: impl Into<String>) -> Self {
        let (tool_calls, content) = (Vec::new(), content.into());
        Self { role, content, tool_calls, reasoning: None, tool_call_id: None, name: None }
    }
}

impl<'de> Deserialize<'de> for Message {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Form {
            role: Role,
            content: Option<String>,
            tool_calls: Option<Vec<ToolCall>>,
            reasoning: Option<String>,
            tool_call_id: Option<String>,
            name: Option<String>,
        }
        let Form { role, content, tool_calls, reasoning, tool_call_id, name } = Form::deserialize(deserializer)?;
        let tool_calls = tool_calls.unwrap_or_default();
        let content = match content {
            None if tool_calls.is_empty() => return Err(D::Error::missing_field("content")),
            content => content.unwrap_or_default(),
        };
        Ok(Self { role, content, tool_calls, reasoning, tool_call_id, name })
    }
}

/// Who says something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Sets the rules; only first.
    System,
    /// Asks.
    User,
    /// Answers.
    Assistant,
    /// Says what came of a call.
    Tool,
}
