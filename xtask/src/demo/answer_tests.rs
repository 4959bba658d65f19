use super::*;

fn check(events: &str) -> (Result<Option<Answer>>, String) {
    let mut out = Vec::new();
    let answer = read(events.as_bytes(), &mut out, &Interrupt::never());
    (answer, String::from_utf8(out).unwrap())
}

#[test]
fn text_is_shown_and_figures_are_read() {
    let (answer, shown) = check(concat!(
        r#"{"type":"queued","request_id":"req_1","model":"a/b","position":0}"#,
        "\n",
        r#"{"type":"text","text":"The "}"#,
        "\n",
        r#"{"type":"text","text":"sea."}"#,
        "\n",
        r#"{"type":"finished","finish_reason":"stop","usage":{"prompt_tokens":9,"completion_tokens":3},"#,
        r#""timings":{"queue_ms":0,"load_ms":5.5,"first_token_ms":7,"prefill_tokens_per_s":1,"decode_tokens_per_s":2.5}}"#,
        "\n",
    ));
    assert_eq!(shown, "The sea.\n");
    let expected = Answer { first_token_ms: 7.0, load_ms: 5.5, tokens_per_s: 2.5, tokens: 3 };
    assert_eq!(answer.unwrap(), Some(expected));
}

#[test]
fn a_failed_answer_is_an_error_with_its_reason() {
    let (answer, _) = check(r#"{"type":"failed","error":{"code":1,"message":"engine lost"}}"#);
    assert!(answer.unwrap_err().to_string().contains("engine lost"));
}

#[test]
fn an_answer_that_breaks_off_has_no_figures() {
    let (answer, shown) = check(r#"{"type":"text","text":"The"}"#);
    assert_eq!((answer.unwrap(), shown.as_str()), (None, "The"));
}

#[test]
fn what_is_no_event_is_named() {
    assert!(check("panic!").0.unwrap_err().to_string().contains("`panic!` is no event"));
}
