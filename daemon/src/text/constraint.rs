//! What an answer must match so that its calls are whole: the family's marks around JSON that a tool's schema allows.
//!
//! Called by `TextModel::prompt`. Where the model only may call, everything before its marks is free; what it reasons is
//! free always. Marks that are special tokens are named by number: no text can take their place.

use engine::Grammar;
use engine::grammar::lark_json;
use protocol::tools::{Tool, ToolChoice};
use serde_json::{Map, json};

use super::dialect::{Dialect, Family, Thinking};
use super::tokenizer::Tokenizer;

/// White space between the parts of an answer.
const BETWEEN: &str = r"/[ \n]{0,4}/";

/// Writes the grammar of one answer.
struct Writer<'a> {
    tokenizer: &'a Tokenizer,
    family: Family,
    rules: Vec<String>,
}

/// The grammar that the choice and the tools ask for; `None` where the answer is free. An error means that the family's
/// calls are no JSON.
pub(super) fn grammar(
    tokenizer: &Tokenizer,
    dialect: Dialect,
    is_thinking: bool,
    (tools, choice): (&[Tool], &ToolChoice),
) -> Result<Option<Grammar>, ()> {
    let must_call = matches!(choice, ToolChoice::Required | ToolChoice::Named(_));
    let Some(family) = dialect.family.filter(|_| must_call || tools.iter().any(|tool| tool.strict)) else {
        return Ok(None);
    };
    if matches!(family, Family::Xml | Family::Gemma | Family::Lfm) {
        return Err(());
    }
    let mut writer = Writer { tokenizer, family, rules: Vec::new() };
    let named = |tool: &&Tool| !matches!(choice, ToolChoice::Named(name) if *name != tool.name);
    let tools: Vec<&Tool> = tools.iter().filter(named).collect();
    for (index, tool) in tools.iter().enumerate() {
        writer.tool(index, tool);
    }
    let count = tools.len();
    let start = match (choice, must_call) {
        (ToolChoice::Named(_), _) => format!("{BETWEEN} {}", writer.calls(count, "")),
        (_, true) => format!("{BETWEEN} {}", writer.calls(count, "*")),
        (_, false) => writer.free(count),
    };
    let before = writer.reasoning(dialect.thinking, is_thinking, must_call);
    let rules = writer.rules.join("\n");
    Ok(Some(Grammar::Lark(format!("start: {before} {start}\n{rules}\nTEXT: /(.|\\n)*/\n"))))
}

impl Writer<'_> {
    fn rule(&mut self, name: &str, body: &str) {
        self.rules.push(format!("{name}: {body}"));
    }

    /// A mark: its token where that is special, else its text.
    fn mark(&self, mark: &str) -> String {
        self.tokenizer.special_id(mark).map_or_else(|| text(mark), |id| format!("<[{id}]>"))
    }

    /// Whatever comes before a mark, and the mark.
    fn up_to(&mut self, name: &str, mark: &str) {
        match self.tokenizer.special_id(mark) {
            Some(id) => self.rule(name, &format!("TEXT <[{id}]>")),
            None => self.rule(&format!("{name}[suffix={}]", text(mark)), "TEXT"),
        }
    }

    /// One call of a tool, without the marks around.
    fn tool(&mut self, index: usize, tool: &Tool) {
        let free = || Map::from_iter([("type".to_owned(), json!("object"))]);
        let nothing = || {
            let closed = [("properties".to_owned(), json!({})), ("additionalProperties".to_owned(), json!(false))];
            free().into_iter().chain(closed).collect()
        };
        let schema = if tool.strict { tool.parameters.clone().unwrap_or_else(nothing) } else { free() };
        self.rule(&format!("arguments_{index}"), &lark_json(schema));
        let named = |before: &str, behind: &str| text(&format!("{before}{}{behind}", tool.name));
        let arguments = format!("arguments_{index}");
        let body = match self.family {
            Family::Llama => format!("{} {arguments} \"}}\"", named("{\"name\": \"", "\", \"parameters\": ")),
            Family::Mistral if self.has_headers() => {
                format!("{} {} {arguments}", text(&tool.name), self.mark("[ARGS]"))
            }
            Family::Harmony => {
                let (header, format) = (named(" to=functions.", " "), self.mark("<|constrain|>"));
                format!("{header} {format} \"json\" {} {arguments}", self.mark("<|message|>"))
            }
            _ => format!("{} {arguments} \"}}\"", named("{\"name\": \"", "\", \"arguments\": ")),
        };
        self.rule(&format!("call_{index}"), &body);
    }

    /// Mistral's models since 2025 have this token.
    fn has_headers(&self) -> bool {
        self.tokenizer.special_id("[ARGS]").is_some()
    }

    /// One call, or more of them as `more` says (`""` or `"*"`), with their marks.
    fn calls(&mut self, count: usize, more: &str) -> String {
        let any: Vec<String> = (0..count).map(|index| format!("call_{index}")).collect();
        self.rule("call", &any.join(" | "));
        let list =
            if more.is_empty() { "\"[\" call \"]\"".to_owned() } else { "\"[\" call (\", \" call)* \"]\"".into() };
        match self.family {
            Family::Mistral if self.has_headers() => {
                let open = self.mark("[TOOL_CALLS]");
                if more.is_empty() { format!("{open} call") } else { format!("({open} call)+") }
            }
            Family::Mistral => format!("{} {list}", self.mark("[TOOL_CALLS]")),
            Family::Phi => format!("{} {list} {}", self.mark("<|tool_call|>"), self.mark("<|/tool_call|>")),
            // One call ends the answer.
            Family::Llama => "call".into(),
            Family::Harmony => format!("{} \"commentary\" call", self.mark("<|channel|>")),
            Family::Hermes | Family::Xml | Family::Gemma | Family::Lfm => {
                let one = format!("{} \"\\n\" call \"\\n\" {}", self.mark("<tool_call>"), self.mark("</tool_call>"));
                if more.is_empty() { one } else { format!("{one} (\"\\n\" {one})*") }
            }
        }
    }

    /// An answer that may call.
    fn free(&mut self, count: usize) -> String {
        let calls = self.calls(count, "*");
        let Some(mark) = self.family.marks().first().filter(|_| self.family != Family::Llama) else {
            return match self.family {
                Family::Harmony => {
                    let (channel, message) = (self.mark("<|channel|>"), self.mark("<|message|>"));
                    format!("({calls} | {channel} \"final\" {message} TEXT)")
                }
                _ => format!("({calls} | /[^{{](.|\\n)*/)"),
            };
        };
        self.up_to("before", mark.open);
        let behind = calls.strip_prefix(&self.mark(mark.open)).unwrap_or(&calls).to_owned();
        format!("(before {behind} | TEXT)")
    }

    /// What comes before: reasoning that the prompt has begun, or that the model may begin.
    fn reasoning(&mut self, thinking: Option<Thinking>, is_thinking: bool, must_call: bool) -> String {
        if self.family == Family::Harmony {
            let [channel, message, end, start] =
                ["<|channel|>", "<|message|>", "<|end|>", "<|start|>"].map(|mark| self.mark(mark));
            let channels = "(\"analysis\" | \"commentary\")";
            return format!("({channel} {channels} {message} TEXT {end} {start} \"assistant\")*");
        }
        let Some(Thinking { open, close }) = thinking else { return String::new() };
        self.up_to("thought", close);
        let is_text = self.tokenizer.special_id(open).is_none();
        if is_thinking {
            "thought".into()
        } else if !must_call && is_text {
            // Free text has room for marks that are no tokens.
            String::new()
        } else {
            format!("({} thought)?", self.mark(open))
        }
    }
}

/// A text as Lark writes it.
fn text(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
#[path = "constraint_tests.rs"]
mod tests;
