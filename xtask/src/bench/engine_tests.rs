use super::*;

#[test]
fn what_came_at_once_was_computed_before() {
    let check = |tokens, milliseconds: f64, step_ms: f64, expected| {
        let first = Prefilled { tokens, seconds: milliseconds / 1e3 };
        assert_eq!(kept_tokens(first, step_ms / 1e3), expected, "{tokens} tokens in {milliseconds} ms");
    };
    // Computed: together they take a tenth of what they take one by one, with many cores a fiftieth.
    check(15, 60.0, 20.0, 0);
    check(511, 1000.0, 20.0, 0);
    check(511, 200.0, 20.0, 0);
    // Though the step after it waited for another program.
    check(511, 1000.0, 200.0, 0);
    // There before: nothing happens, or keys and values are copied.
    check(511, 0.1, 20.0, 511);
    check(1023, 40.0, 20.0, 1023);
    check(40, 0.5, 20.0, 40);
}
