use super::*;

/// Serde knows the fields of an entry, and `KEYS` must tell the same.
#[test]
fn keys_are_the_fields_of_an_entry() {
    let error = Fact::deserialize(ValueDeserializer::parse("{ none = 1 }").unwrap()).unwrap_err();
    let told = error.message().split_once("expected one of ").unwrap().1;
    let fields: Vec<&str> = told.split(", ").map(|name| name.trim_matches('`')).collect();
    assert_eq!(fields, KEYS);
}

#[test]
fn a_name_is_near_when_few_letters_differ() {
    for (name, meant) in [
        ("licence", Some("license")),
        ("groupsize", Some("group_size")),
        ("parameter", Some("parameters")),
        ("kv_head", Some("kv_heads")),
        ("context-length", Some("context_length")),
        ("colour", None),
        ("", None),
        (&"parameters".repeat(1000), None),
    ] {
        assert_eq!(nearest(name, KEYS), meant, "{name}");
    }
}

#[test]
fn lines_are_counted_from_one_on() {
    let text = Text::new("f", "a\n\nb");
    assert_eq!([0, 1, 2, 3, 99].map(|at| text.line(at)), [1, 1, 2, 3, 3]);
    assert_eq!(text.place(3, "why"), "f, line 3: why");
}
