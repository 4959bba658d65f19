use super::*;

#[test]
fn a_pointer_leads_to_the_innermost_that_is_there() {
    let text = "a = { b = [1, { 'c/d' = 2 }] }";
    let table = DeTable::parse(text).unwrap();
    let span = table.span();
    let node = Spanned::new(span, DeValue::Table(table.into_inner()));
    for (pointer, expected) in [
        ("/a/b/0", "1"),
        ("/a/b/1/c~1d", "2"),
        ("/a/b/7", "[1, { 'c/d' = 2 }]"),
        ("/a/x/y", "{ b = [1, { 'c/d' = 2 }] }"),
    ] {
        assert_eq!(&text[within(&node, pointer).span()], expected, "{pointer}");
    }
}
