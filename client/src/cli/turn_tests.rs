use super::*;

#[test]
fn times_have_units_and_bounds() {
    for (text, millis) in [("500ms", 500), ("30", 30_000), ("30s", 30_000), ("5m", 300_000), ("24h", LONGEST_MS)] {
        assert_eq!(time(text), Ok(Duration::from_millis(millis)), "{text}");
    }
    for text in ["", "0", "0ms", "25h", "forever", "-1", "1.5s", "ms", "5 m", "86400001ms"] {
        assert!(time(text).unwrap_err().contains("up to a day"), "{text}");
    }
}

#[test]
fn priorities_have_the_names_of_the_wire() {
    assert_eq!(priority("background"), Ok(Priority::Background));
    assert!(priority("urgent").unwrap_err().contains("interactive"));
}
