use std::time::{Duration, Instant};

use proptest::prelude::*;
use serde_json::json;

use super::*;

fn scope() -> Scope {
    let mut scope = Scope::default();
    for (name, value) in [
        ("TITLE", json!("Memo")),
        ("TRANSCRIPT", json!("Call <Ann> & \"Bob\".")),
        ("tasks", json!({ "list": ["a", "b"], "due": { "day": 3 } })),
        ("count", json!(3)),
        ("empty", json!("")),
        ("nothing", json!(null)),
    ] {
        scope.set(name, &value);
    }
    scope
}

fn text(source: &str) -> Result<String, String> {
    Template::new(source).and_then(|template| template.render_text(&scope())).map_err(|error| error.to_string())
}

fn value(source: &str) -> Result<Value, String> {
    Template::new(source).and_then(|template| template.render_value(&scope())).map_err(|error| error.to_string())
}

fn truth(source: &str) -> Result<bool, String> {
    Expression::new(source).and_then(|expression| expression.is_true(&scope())).map_err(|error| error.to_string())
}

#[test]
fn a_text_gets_its_places_filled() {
    for (source, expected) in [
        ("Of {{TITLE}}", "Of Memo"),
        ("{{ TITLE | upper }}{# no #}\n", "MEMO"),
        ("{{ '../../.ssh/' + TITLE | safe_name }} {{ count | safe_name }}", "../../.ssh/Memo 3"),
        ("{{ ('../../.ssh/' + TITLE) | safe_name }}", "ssh-Memo"),
        // HTML is no matter here.
        ("{{TRANSCRIPT}}", "Call <Ann> & \"Bob\"."),
        ("{{TRANSCRIPT[:4]}}", "Call"),
        ("{{TRANSCRIPT | tojson}}", r#""Call <Ann> & \"Bob\".""#),
        ("{{tasks | tojson}}", r#"{"list":["a","b"],"due":{"day":3}}"#),
        ("{{tasks.list | tojson(indent=1)}}", "[\n \"a\",\n \"b\"\n]"),
        ("{{tasks.list | tojson(true)}}", "[\n  \"a\",\n  \"b\"\n]"),
        ("{% for task in tasks.list %}\n- {{task}}\n{% endfor %}\n", "- a\n- b\n"),
        ("{{ missing if false else 'x' }}", "x"),
        ("{{ missing | default('x') }}", "x"),
        ("{{tasks.list | join(', ')}} {{count + 1}}", "a, b 4"),
        ("{{tasks}} {{[1, none]}} {{range(3)}}", r#"{"list":["a","b"],"due":{"day":3}} [1,null] [0,1,2]"#),
        ("{% raw %}{{ TITLE }}{% endraw %}", "{{ TITLE }}"),
    ] {
        assert_eq!(text(source).as_deref(), Ok(expected), "{source}");
    }
}

#[test]
fn one_expression_keeps_its_type() {
    for (source, expected) in [
        ("{{tasks}}", json!({ "list": ["a", "b"], "due": { "day": 3 } })),
        (" {{ tasks.list }}\n", json!(["a", "b"])),
        ("{{count}}", json!(3)),
        ("{{count / 2}}", json!(1.5)),
        ("{{nothing}}", json!(null)),
        ("{{ count > 2 }}", json!(true)),
        ("{{ '}}' }}", json!("}}")),
        ("{{- count -}}", json!(3)),
        ("{{count}}{{count}}", json!("33")),
        ("{{count}}.", json!("3.")),
        ("{{ [1, {'a': none}] }}", json!([1, { "a": null }])),
        ("{{ range(3) }}", json!([0, 1, 2])),
    ] {
        assert_eq!(value(source), Ok(expected), "{source}");
    }
}

#[test]
fn what_has_no_value_is_named_with_the_nearest_that_has_one() {
    for (source, expected) in [
        ("{{TITEL}}", "`TITEL` has no value in this run; did you mean `TITLE`?"),
        ("{{zzz}}", "`zzz` has no value in this run"),
        ("{{tasks.lists}}", "`tasks` has no `lists`; did you mean `list`?"),
        ("{{tasks.due.dya}}", "`tasks.due` has no `dya`; did you mean `day`?"),
        ("{{TITLE.length}}", "`TITLE` has no `length`: it is a string"),
        ("{{zzz + yyy}}", "`yyy` has no value in this run; `zzz` has no value in this run"),
        ("{% for x in zzz %}{% endfor %}", "`zzz` has no value in this run"),
        ("{% if zzz %}{% endif %}", "`zzz` has no value in this run"),
        ("{{tasks['x']}}", "a value that it needs is not there"),
    ] {
        assert_eq!(text(source), Err(expected.to_owned()), "{source}");
        if source.starts_with("{{") {
            assert_eq!(value(source), Err(expected.to_owned()), "{source}");
        }
    }
    assert_eq!(truth("zzz"), Err("`zzz` has no value in this run".to_owned()));
    assert_eq!(truth("tasks.lists | length > 1"), Err("`tasks` has no `lists`; did you mean `list`?".to_owned()));
}

#[test]
fn no_filter_makes_something_of_what_has_no_value() {
    let lenient = ["d", "default"];
    for filter in source::FILTERS.into_iter().filter(|filter| !lenient.contains(filter)) {
        let source = format!("{{{{zzz | {filter}}}}}");
        assert_eq!(text(&source), Err("`zzz` has no value in this run".to_owned()), "{source}");
    }
    for source in ["{{ {'a': zzz} | tojson }}", "{{ [[zzz]] | tojson }}", "{{ [1, zzz] }}", "a {{ {'a': [zzz]} }}"] {
        assert_eq!(text(source), Err("`zzz` has no value in this run".to_owned()), "{source}");
        assert_eq!(value(source), Err("`zzz` has no value in this run".to_owned()), "{source}");
    }
    assert_eq!(text("{{zzz | default(none) | tojson}}"), Ok("null".to_owned()));
}

#[test]
fn truth_is_that_of_python() {
    for (source, expected) in [
        ("TRANSCRIPT | length > 10", true),
        ("count == 3 and TITLE == 'Memo'", true),
        ("tasks.list", true),
        ("empty", false),
        ("nothing", false),
        ("zzz is defined", false),
        ("'b' in tasks.list", true),
        ("not count", false),
    ] {
        assert_eq!(truth(source), Ok(expected), "{source}");
    }
}

#[test]
fn names_that_are_needed_are_known_before() {
    let names = |source: &str| Template::new(source).unwrap().names().into_iter().collect::<Vec<_>>();
    assert_eq!(names("{{a}} {% for b in c %}{{b}}{{loop.index}}{% endfor %}{{range(3)}}"), ["a", "c"]);
    assert_eq!(names("{% set d = e %}{{d}} {{f | default('')}}"), ["e", "f"]);
    assert_eq!(Expression::new("g.h > i[j]").unwrap().names().into_iter().collect::<Vec<_>>(), ["g", "i", "j"]);
}

#[test]
fn what_is_no_template_is_refused_when_it_is_read() {
    for (source, expected) in [
        ("{{", "this is no template: syntax error: unexpected end of input"),
        ("{{ TITLE", "this is no template: syntax error"),
        ("{% if TITLE %}", "this is no template: syntax error"),
        ("{{ a b }}", "this is no template: syntax error"),
        ("{{ TITLE | uper }}", "there is no filter `uper`; did you mean `upper`?"),
        ("{{ TITLE is not sting }}", "there is no test `sting`; did you mean `string`?"),
        ("{% include 'a' %}", "{% include %} has no place here: a template of a workflow stands alone"),
        ("{% extends 'a' %}", "{% extends %} has no place here"),
        ("{% from 'a' import b %}", "{% from %} has no place here"),
    ] {
        let error = Template::new(source).unwrap_err().to_string();
        assert!(error.starts_with(expected), "{source}: {error}");
    }
    for (source, expected) in [
        ("", "an expression is missing here"),
        ("{{ TITLE }}", "an expression stands here without {{ and }}"),
        ("TITLE ==", "this is no template: syntax error"),
        ("a | lengt > 3", "there is no filter `lengt`; did you mean `length`?"),
    ] {
        let error = Expression::new(source).unwrap_err().to_string();
        assert!(error.starts_with(expected), "{source}: {error}");
    }
}

/// Templates that take for ever, or all memory, or all of the stack.
const ENDLESS: [&str; 14] = [
    "{% for a in range(1000000000) %}x{% endfor %}",
    "{% for a in range(99999) %}{% for b in range(99999) %}{% for c in range(99999) %}{% endfor %}{% endfor %}{% endfor %}",
    "{% for a in range(99999) %}{% for b in range(99999) %}x{% endfor %}{% endfor %}",
    "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
    "{% macro f(n) %}{{ f(n + 1) }}{{ f(n + 1) }}{% endmacro %}{{ f(0) }}",
    "{% macro f(n) %}{{ f([n]) }}{% endmacro %}{{ f(0) }}",
    "{{ 'x' * 9999999999 }}",
    "{{ [1] * 9999999999 }}",
    "{{ ('x' * 900000) * 900000 }}",
    "{% set a = 'x' * 1000000 %}{% for i in range(1000) %}{{ a | upper | lower | length }}{% endfor %}",
    "{% set a = range(99999) | list %}{% for i in a %}{{ a | sort | reverse | list | length }}{% endfor %}",
    "{{ '%999999999s' | format('x') }}",
    "{{ range(99999) | map('string') | join('xxxxxxxxxxxxxxxxxxxx') }}",
    "{% for a in [[1]] recursive %}{{ loop([a]) }}{% endfor %}",
];

#[test]
fn a_template_that_never_ends_is_an_error_soon() {
    for source in ENDLESS {
        let began = Instant::now();
        let error = text(source).expect_err(source);
        assert!(!error.is_empty() && error.len() < 300, "{source}: {error}");
        assert!(began.elapsed() < Duration::from_mins(1), "{source} took {:?}", began.elapsed());
        if let Some(expression) = source.strip_prefix("{{").and_then(|source| source.strip_suffix("}}")) {
            assert!(value(source).is_err(), "{source}");
            assert!(truth(expression).is_err() || truth(expression) == Ok(true), "{source}");
        }
    }
    let never = "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}";
    assert_eq!(text(never), Err("it does not end within 2000000 steps, which are the most of a template".into()));
}

/// Of a value that is 500 GB when it is written out.
const HEAVY: [&str; 22] = [
    "{{ c }}",
    "{{ c | string | length }}",
    "{{ c | pprint | length }}",
    "{{ c | join('') | length }}",
    "{{ c | tojson | length }}",
    "{{ '%s' | format(c) | length }}",
    "{{ c | lower | length }}",
    "{{ c | replace('a', 'b') | length }}",
    "{% filter upper %}{{ c }}{% endfilter %}",
    "{% set d %}{{ c }}{% endset %}{{ d | length }}",
    "{{ c | sum(start=[]) | length }}",
    "{{ c | map('string') | list | length }}",
    "{{ c | urlencode | length }}",
    "{{ c | indent | length }}",
    "{{ c | title | length }}",
    "{{ c | trim | length }}",
    "{{ c | escape | length }}",
    "{{ c | safe | length }}",
    "{{ c | sort | length }}",
    "{{ c | groupby('x') }}",
    "{{ [1, c] }}",
    "{{ {'c': c} }}",
];

#[test]
fn what_is_small_until_it_is_written_out_is_an_error_soon() {
    let heavy = "{% set a = 'x' * 500000 %}{% set b = [a] * 1000 %}{% set c = [b] * 1000 %}";
    for source in HEAVY {
        let began = Instant::now();
        let error = text(&format!("{heavy}{source}")).expect_err(source);
        assert!(error.contains("bytes, which are the most"), "{source}: {error}");
        assert!(began.elapsed() < Duration::from_secs(30), "{source} took {:?}", began.elapsed());
    }
    assert!(text("{{ 'a' ~ 'b' }}").unwrap_err().starts_with("`~` has no place here"));
}

#[test]
fn what_a_template_gives_is_bounded() {
    let mut scope = scope();
    scope.set("half", &json!("ä".repeat(MOST_HALF)));
    let text = |source: &str| Template::new(source).unwrap().render_text(&scope).map_err(|error| error.to_string());
    assert_eq!(text("{{half}}").unwrap().len(), 2 * MOST_HALF);
    let words = "it gives more than 1048576 bytes, which are the most";
    assert_eq!(text("{{half}}{{half}}{{half}}"), Err(words.into()));
    // The greatest text can be worked with.
    let most = "\n".repeat(crate::MOST_OUTPUT_BYTES);
    scope.set("most", &json!(most));
    let text = |source: &str| Template::new(source).unwrap().render_text(&scope).map_err(|error| error.to_string());
    assert_eq!(Template::new("{{most}}").unwrap().render_value(&scope), Ok(json!(most)));
    assert_eq!(text("{{most | upper}}").as_ref(), Ok(&most));
    assert_eq!(text("{{most | trim | length}}").as_deref(), Ok("0"));
    assert_eq!(text("{{most}}."), Err(words.into()));
    let value = Expression::new("[half, half, half]").unwrap().value(&scope);
    assert_eq!(value.map_err(|error| error.to_string()), Err(words.into()));
    let error = text("{{[half, half, half] | tojson}}").unwrap_err();
    assert!(error.contains("tojson: more than 1048576 bytes"), "{error}");
}

const MOST_HALF: usize = 200_000;

#[test]
fn deep_sources_overflow_no_stack() {
    for source in [
        format!("{{{{ {}1 }}}}", "1+".repeat(2000)),
        format!("{{{{ {}1 }}}}", "-".repeat(4000)),
        format!("{{{{ {}1{} }}}}", "[".repeat(2000), "]".repeat(2000)),
        format!("{{{{ {}1{} }}}}", "(".repeat(2000), ")".repeat(2000)),
        format!("{{{{ x{} }}}}", ".a".repeat(2000)),
        format!("{{{{ {}1 }}}}", "1 if 1 else ".repeat(330)),
        format!("{{{{ {}1 }}}}", "not ".repeat(1000)),
        format!("{}{}", "{% if 1 %}".repeat(5000), "{% endif %}".repeat(5000)),
        format!("{}{}", "{% for a in [1] %}".repeat(3000), "{% endfor %}".repeat(3000)),
        format!("{{{{ 1{} }}}}", "|abs".repeat(1000)),
    ] {
        let _ = text(&source);
        let _ = value(&source);
    }
    let error = text(&format!("{{{{ {}1 }}}}", "1+".repeat(3000))).unwrap_err();
    assert_eq!(error, "an expression has at most 4096 characters outside quotes");
    assert_eq!(text(&format!("{{{{ '{}' | length }}}}", "x".repeat(5000))).as_deref(), Ok("5000"));
}

#[test]
fn a_template_reaches_nothing_outside() {
    for source in
        ["{% import 'a' as b %}", "{{ namespace(a=1) }}", "{{ debug() }}", "{{ self }}", "{{ TITLE.__class__ }}"]
    {
        let rendered = text(source);
        assert!(rendered.is_err(), "{source}: {rendered:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn any_source_is_refused_or_rendered(
        pieces in prop::collection::vec(
            prop::sample::select(vec![
                "{{", "}}", "{%", "%}", "{#", "#}", " for a in ", " endfor ", " if ", " endif ", " else ", "raw", "endraw",
                " tasks", ".list", "[0]", " | ", "upper", "tojson", "join", "(", ")", "'", "\"", "\\", " is ", " not ", "defined",
                " set x = ", "count", " + ", " * ", "99999999", "range", "-", "ä", "\n", " macro f() ", " endmacro ", "f()", "%", "{",
            ]),
            0..30,
        )
    ) {
        let source = pieces.concat();
        if let Ok(rendered) = text(&source) {
            prop_assert!(rendered.len() <= crate::MOST_OUTPUT_BYTES);
        }
        let _ = truth(&source);
        let _ = value(&source);
    }
}
