use super::*;

#[test]
fn an_error_without_a_request_is_a_refusal() {
    let line = r#"{"jsonrpc":"2.0","id":null,"error":{"code":-32007,"message":"message too long"}}"#;
    let error = refusal(line).expect("its id is null");
    assert_eq!((error.code(), error.message()), (-32007, "message too long"));
}

#[test]
fn a_null_id_elsewhere_is_no_refusal() {
    for line in [
        r#"{"jsonrpc":"2.0","id":1,"result":{"id":null}}"#,
        r#"{"jsonrpc":"2.0","id":1,"error":{"code":1,"message":"m","data":{"id":null}}}"#,
        r#"{"jsonrpc":"2.0","id":null,"result":1}"#,
    ] {
        assert!(refusal(line).is_none(), "{line}");
    }
}
