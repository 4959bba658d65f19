//! `response_format` as an engine takes it, checked before a model is loaded for it.

use engine::Grammar;
use protocol::{ErrorData, GenerateRequest, ResponseFormat};

use crate::error::{internal, invalid};

/// The grammar that the answer to a request must match; `None` where it is free.
pub(super) async fn grammar(request: &GenerateRequest) -> Result<Option<Grammar>, ErrorData> {
    let Some(format) = &request.response_format else { return Ok(None) };
    if let Some(problem) = format.problem() {
        return Err(invalid(problem));
    }
    let Some(grammar) = of(format)? else { return Ok(None) };
    if !request.options.stop_sequences.is_empty() {
        return Err(invalid(
            "options.stop_sequences could cut the answer that response_format promises whole; leave one of them out",
        ));
    }
    checked(grammar).await.map(Some)
}

fn of(format: &ResponseFormat) -> Result<Option<Grammar>, ErrorData> {
    Ok(Some(match format {
        ResponseFormat::Text {} => return Ok(None),
        ResponseFormat::JsonObject {} => Grammar::JsonObject,
        ResponseFormat::JsonSchema { schema } => {
            let text = serde_json::to_string(schema).map_err(|error| internal(format!("the schema: {error}")))?;
            Grammar::JsonSchema(text)
        }
        ResponseFormat::Regex { pattern } => Grammar::Regex(pattern.clone()),
        ResponseFormat::Lark { grammar } => Grammar::Lark(grammar.clone()),
    }))
}

/// Off the event loop: the largest grammars take a second.
async fn checked(grammar: Grammar) -> Result<Grammar, ErrorData> {
    let checked = tokio::task::spawn_blocking(move || grammar.check().map(|()| grammar)).await;
    let checked = checked.map_err(|_| internal("checking response_format panicked"))?;
    checked.map_err(|error| invalid(format!("response_format cannot be used: {error}")))
}
