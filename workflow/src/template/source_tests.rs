use super::*;

#[test]
fn filters_and_tests_that_are_suggested_exist() {
    for filter in FILTERS {
        assert!(exists("filter", filter), "{filter}");
    }
    for test in TESTS {
        assert!(exists("test", test), "{test}");
    }
}

#[test]
fn tags_are_found_around_quotes_comments_and_raw_text() {
    let tags = |source| Tags::of(source).map(|tag| tag.code).collect::<Vec<_>>();
    assert_eq!(
        tags("a {{ b }} c {%- if '%}' -%} {# {{ d }} #} {{ \"}}\\\"}}\" }}"),
        ["{{ b }}", "{%- if '%}' -%}", "{{ \"}}\\\"}}\" }}"]
    );
    assert_eq!(tags("{% raw %}{{ a }}{% endraw %}{{ b }}"), ["{% raw %}", "{% endraw %}", "{{ b }}"]);
    assert_eq!(tags("{{ open"), ["{{ open"]);
}

#[test]
fn mistakes_have_their_places() {
    let at = |source| template_mistakes(source).into_iter().map(|mistake| mistake.at).collect::<Vec<_>>();
    assert_eq!(at("ä {{ a | b }} {% if c is d %}{% endif %}"), [Some(10), Some(26)]);
    assert_eq!(at("{% filter upper %}{% include 'x' %}{% endfilter %}"), [Some(18)]);
    assert_eq!(at("{{ 'a | b is c' | upper }}"), []);
    assert_eq!(expression_mistakes("a | b").first().unwrap().at, Some(4));
}
