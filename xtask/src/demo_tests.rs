use super::*;

#[test]
fn the_table_has_a_line_for_each_answer() {
    let cold = Answer { first_token_ms: 1234.5, load_ms: 900.0, tokens_per_s: 25.34, tokens: 42 };
    let warm = Answer { first_token_ms: 120.0, load_ms: 0.0, tokens_per_s: 25.0, tokens: 40 };
    let lines = [
        "         first token of it loading    tokens/s      tokens",
        "cold         1234 ms        900 ms        25.3          42",
        "warm          120 ms          0 ms        25.0          40",
    ];
    assert_eq!(table(&[cold, warm]), lines.join("\n"));
}
