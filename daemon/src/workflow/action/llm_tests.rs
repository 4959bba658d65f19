use protocol::{ModelId, ProviderId, RequestId, Timings, Usage as Tokens};
use serde_json::json;

use super::*;

fn answer(text: &str, finish_reason: FinishReason) -> GenerateResult {
    GenerateResult {
        request_id: RequestId("req_1".into()),
        trace_id: None,
        model: ModelId("org/name".into()),
        provider: ProviderId("mlx".into()),
        passed_over: Vec::new(),
        text: text.into(),
        logprobs: None,
        reasoning: None,
        tool_calls: Vec::new(),
        finish_reason,
        blocked: None,
        others: Vec::new(),
        usage: Tokens::default(),
        timings: Timings::default(),
    }
}

#[test]
fn an_answer_is_a_text_or_the_value_that_was_asked_for() {
    assert_eq!(value(answer("{}", FinishReason::Stop), false), Ok(json!("{}")));
    assert_eq!(value(answer("{}", FinishReason::Stop), true), Ok(json!({})));
    assert_eq!(value(answer("cut", FinishReason::Length), false), Ok(json!("cut")));
}

#[test]
fn an_answer_that_is_none_says_why() {
    for (answer, words) in [
        (answer("{\"a\": ", FinishReason::Length), "max_tokens"),
        (answer("no json", FinishReason::Stop), "no JSON"),
        (answer("", FinishReason::Cancelled), "cancelled"),
        (answer("", FinishReason::Blocked), "withheld"),
    ] {
        let failure = value(answer, true).expect_err("this is none");
        assert!(failure.to_string().contains(words), "{failure}");
    }
}

#[test]
fn the_callers_fault_is_final_and_what_may_pass_is_not() {
    let error = |kind| failure(ErrorData::new(kind, "words"));
    assert!(matches!(error(Kind::ModelNotFound), Failure::Final(_)));
    for kind in [Kind::EngineLost, Kind::ProviderUnavailable, Kind::GenerationFailed, Kind::Cancelled] {
        assert!(matches!(error(kind), Failure::MayPass { .. }), "{kind:?}");
    }
}

#[test]
fn an_app_is_named_after_its_workflow_within_what_is_kept() {
    assert_eq!(app_of("memo"), "workflow/memo");
    assert_eq!(app_of(&"x".repeat(64)).len(), LONGEST_APP);
}
