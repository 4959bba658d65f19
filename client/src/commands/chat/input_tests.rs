use super::*;

#[test]
fn several_lines_make_a_turn() {
    for (text, whole) in [
        ("a", Some("a")),
        ("a\\", None),
        ("a\\\nb", Some("a\nb")),
        ("\"\"\"", None),
        ("\"\"\"a", None),
        ("\"\"\"a\n\nb\"\"\"", Some("a\n\nb")),
        ("\"\"\"\na\\\nb\n\"\"\"", Some("a\\\nb")),
        ("\"\"\"one\"\"\"", Some("one")),
        ("a \"\"\"", Some("a \"\"\"")),
    ] {
        assert_eq!((!is_open(text)).then(|| turn(text)).as_deref(), whole, "{text:?}");
    }
}
