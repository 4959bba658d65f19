use super::*;

/// What is shown, with styles as `<1>` for their numbers and `<>` for none.
fn shown(text: &str) -> String {
    let mut markdown = Markdown::default();
    let whole = markdown.push(text) + &markdown.end();
    let by_one: String = text.chars().map(|c| markdown.push(&c.to_string())).collect();
    assert_eq!(by_one + &markdown.end(), whole, "cuts change nothing: {text:?}");
    whole.replace("\u{1b}[0m", "<>").replace("\u{1b}[", "<").replace('m', ">").replace("<36>", "<code>")
}

/// The same without styles.
fn plain(text: &str) -> String {
    let mut markdown = Markdown::default();
    let whole = markdown.push(text) + &markdown.end();
    anstream::adapter::strip_str(&whole).to_string()
}

#[test]
fn text_is_shown_as_it_is() {
    for text in
        ["", "a b\nc", "2 * 3 ** 4", "a*b*", "#hashtag", "-5", "snake_case __init__", "a\n\n\nb", "``x``y", "****"]
    {
        let expected = text.replace("``", "");
        assert_eq!(plain(text).trim_end_matches('\n'), expected, "{text:?}");
    }
}

#[test]
fn bold_and_code_within_a_line() {
    assert_eq!(shown("a **b** c"), "a <><1>b<> c");
    assert_eq!(shown("a `b*` c"), "a <><code>b*<> c");
    assert_eq!(shown("**a `b` c**"), "<><1>a <><1><code>b<><1> c<>");
    assert_eq!(shown("**open\nnext"), "<><1>open<>\nnext");
}

#[test]
fn headings_bullets_and_quotes_begin_lines() {
    assert_eq!(shown("# A\n## B `c`\n"), "<1><4>A<>\n<1>B <><1><code>c<><1><>\n");
    assert_eq!(plain("- a\n  * **b**\n+ c\n1. d"), "• a\n  • b\n• c\n1. d");
    assert_eq!(shown("> said\nnot"), "<2>│ said<>\nnot");
}

#[test]
fn fenced_code_is_set_in_and_otherwise_untouched() {
    let text = "see\n```rust\nlet a = **b;\n\n    # c\n``\n```\n**after**\n";
    assert_eq!(plain(text), "see\n  rust\n  let a = **b;\n\n      # c\n  ``\nafter\n");
    assert_eq!(plain("~~~\n```\n~~~"), "  ```\n");
    assert_eq!(plain("```\nnever closed"), "  never closed");
    assert_eq!(plain("````\n```\n````\nx"), "  ```\nx");
    assert_eq!(plain("```inline``` code"), "inline code", "no fence");
}

#[test]
fn a_character_is_shown_as_soon_as_its_meaning_is_known() {
    let mut markdown = Markdown::default();
    assert_eq!(markdown.push("H"), "H");
    assert_eq!(markdown.push("ello"), "ello");
    assert_eq!(markdown.push(" *"), " ");
    assert_eq!(markdown.push("x"), "*x");
    assert_eq!(markdown.push("\n"), "\n");
    assert_eq!(markdown.push("-"), "");
    assert_eq!(markdown.push(" "), "• ");
}
