use super::*;

fn check(source: &str, expected: &str) {
    assert_eq!(prepared(source).unwrap(), expected);
}

#[test]
fn generation_marks_become_a_block_that_renders_the_same() {
    check("a{%- generation -%}b{% endgeneration %}", "a{%- with -%}b{% endwith %}");
}

#[test]
fn texts_comments_and_raw_blocks_stay_as_they_are() {
    for source in [
        "{{ '{% generation %}' }}",
        "{# {% generation %} #}",
        "{%- raw -%} {% generation %} {{ 'a\\\nb' }} {%- endraw %}{{ x }}",
        "{{ \"it's \\\" {% set a.b = 1 %}\" }}",
        "generation {% if x %}",
        "{{ {'a': {'b': 1}} }} { % {",
        "{{ never closed '",
        "{% set",
        "",
    ] {
        check(source, source);
    }
}

#[test]
fn lines_end_as_jinja_ends_them() {
    check("a\r\nb\rc\n{{ 'x\\\r\ny\\\\\nz' }}", "a\nb\nc\n{{ 'xy\\\\\nz' }}");
}

#[test]
fn what_a_namespace_is_assigned_goes_through_the_guard() {
    check("{%- set ns.x = a, 1 -%}", "{%- set ns.x = ( a, 1 ) | kept_in_a_namespace -%}");
    check("{% set (a, ns.x)=f('=')%}", "{% set (a, ns.x)= (f('=')) | kept_in_a_namespace %}");
    check("{% set ns.x | batch(2) %}", "{% set ns.x | batch(2)  | kept_in_a_namespace %}");
    check("{% set ns.x %}", "{% set ns.x %}");
    check("{% set x = ns.y %}", "{% set x = ns.y %}");
}

#[test]
fn a_tag_or_a_source_beyond_any_real_one_is_refused() {
    assert!(prepared(&"x".repeat(SOURCE_BYTES)).is_ok());
    assert!(prepared(&"x".repeat(SOURCE_BYTES + 1)).unwrap_err().contains("bytes"));
    let quoted = format!("{{{{ '{}' }}}}", "-".repeat(2 * TAG_CHARACTERS));
    assert!(prepared(&quoted).is_ok());
    let unquoted = format!("{{{{ {} }}}}", "-".repeat(TAG_CHARACTERS));
    assert!(prepared(&unquoted).unwrap_err().contains("characters"));
}
