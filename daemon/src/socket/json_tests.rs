use super::*;

#[test]
fn depth_counts_brackets_outside_strings() {
    let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    assert!(!is_too_deep(&nested(MAX_DEPTH)));
    assert!(is_too_deep(&nested(MAX_DEPTH + 1)));
    assert!(!is_too_deep(&format!("\"{}\"", nested(1000))));
    assert!(!is_too_deep(&format!(r#""\"{}\\""#, nested(1000))));
    assert!(is_too_deep(&format!(r#""\\"{}"#, nested(1000))));
    assert!(!is_too_deep(&"[]{}".repeat(1000)));
}

#[test]
fn what_is_not_too_deep_can_be_decoded_inside_one_more_array() {
    let text = format!("[{}{}]", "[".repeat(MAX_DEPTH), "]".repeat(MAX_DEPTH));
    serde_json::from_str::<serde_json::Value>(&text).unwrap();
}

#[test]
fn only_the_first_elements_are_kept_and_all_are_counted() {
    let elements = elements(r#"[ {"a":1}, 2, [3], "x" ]"#, 2).unwrap();
    let first: Vec<&str> = elements.first.iter().map(|raw| raw.get()).collect();
    assert_eq!(first, [r#"{"a":1}"#, "2"]);
    assert_eq!(elements.count, 4);
}

#[test]
fn what_is_not_one_array_is_an_error() {
    for text in ["", "{}", "[1", "[1,]", "[1] 2", "[1 2]"] {
        elements(text, 1).unwrap_err();
    }
}
