use super::Template;

const TEMPLATE: Template = Template("<a>@A@</a>\n<b>@B@</b>\n<c>@A@</c>\n");

#[test]
fn what_was_filled_in_is_read_back() {
    let filled = TEMPLATE.fill(&[("A", "1"), ("B", "")]);
    assert_eq!(filled, "<a>1</a>\n<b></b>\n<c>1</c>\n");
    assert_eq!(TEMPLATE.read(&filled), Some(vec![("A", "1"), ("B", ""), ("A", "1")]));
}

#[test]
fn a_file_that_differs_elsewhere_is_not_read() {
    for other in ["", "<a>1</a>", "<a>1</a>\n<b></b>\n<c>1</c>", "<a>1</a>\n<B></b>\n<c>1</c>\n", "<x>1</a>\n"] {
        assert_eq!(TEMPLATE.read(other), None, "{other}");
    }
}
