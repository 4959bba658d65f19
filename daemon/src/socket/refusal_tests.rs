use serde_json::{Value, json};

use super::*;

fn value(error: &ErrorObjectOwned) -> Value {
    serde_json::to_value(error).unwrap()
}

#[test]
fn an_unknown_method_is_answered_with_the_one_that_was_meant() {
    for (sent, meant) in [
        ("daemon.pign", "daemon.ping"),
        ("daemon_status", "daemon.status"),
        ("ping", "daemon.ping"),
        ("generate.txt", "generate.text"),
        ("model.list", "models.list"),
    ] {
        assert_eq!(closest_method(sent), Some(meant), "{sent}");
    }
}

#[test]
fn a_name_that_resembles_none_gets_no_suggestion() {
    for sent in ["", "eth_blockNumber", "x", &"daemon.ping".repeat(100)] {
        assert_eq!(closest_method(sent), None, "{sent}");
    }
}

#[test]
fn a_long_name_is_quoted_in_part() {
    let error = unknown_method(&"ä".repeat(1 << 20));
    assert!(error.message().len() < 200, "{}", error.message());
}

#[test]
fn data_is_an_object_with_the_kind_where_the_contract_has_one() {
    assert_eq!(value(&parse_error("why"))["data"], json!({"message": "why"}));
    assert_eq!(value(&invalid_params("why"))["data"], json!({"kind": "invalid_params", "message": "why"}));
    assert_eq!(value(&busy("why"))["data"], json!({"kind": "busy", "message": "why", "retry_after_ms": 1000}));
}
