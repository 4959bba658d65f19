use std::path::Path;

use minijinja::value::Serde;
use serde::Deserialize;
use serde_json::{Map, Value as Json};

use super::super::MAX_MESSAGES;
use super::super::fixtures::clock;
use super::bounds::{SOURCE_BYTES, TAG_CHARACTERS};
use super::*;

/// What a short conversation gets.
const FUEL: u64 = 500_000;

/// What the reference did.
#[derive(Debug, Deserialize, PartialEq)]
struct Outcome {
    text: Option<String>,
    refused: Option<String>,
    fails: Option<String>,
}

#[derive(Deserialize)]
struct Case {
    template: String,
    chat: String,
    tokens: Map<String, Json>,
    #[serde(flatten)]
    outcome: Outcome,
}

#[derive(Deserialize)]
struct Feature {
    area: String,
    source: String,
    #[serde(flatten)]
    outcome: Outcome,
}

#[derive(Deserialize)]
struct Fixture {
    now: String,
    chats: Map<String, Json>,
    #[serde(rename = "cases")]
    conversations: Vec<Case>,
    variables: Map<String, Json>,
    features: Vec<Feature>,
}

fn fixtures() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src/text/fixtures")
}

fn fixture() -> Fixture {
    let bytes = std::fs::read(fixtures().join("chat_cases.json")).unwrap();
    serde_json::from_slice(&bytes).unwrap()
}

fn render(source: &str, clock: Clock, variables: &Map<String, Json>) -> Outcome {
    let variables: Vec<(&str, Value)> =
        variables.iter().map(|(name, value)| (name.as_str(), Value::from(Serde(value)))).collect();
    let rendered = ChatTemplate::compile(source, Vec::new(), clock).and_then(|it| it.render(&variables, FUEL));
    let none = Outcome { text: None, refused: None, fails: None };
    match rendered {
        Ok(text) => Outcome { text: Some(text), ..none },
        Err(TextError::Refused(words)) => Outcome { refused: Some(words), ..none },
        Err(error) => Outcome { fails: Some(error.to_string()), ..none },
    }
}

/// Failures are alike whatever their words.
fn alike(ours: &Outcome, reference: &Outcome) -> bool {
    ours.fails.is_some() && reference.fails.is_some() || ours == reference
}

#[test]
fn conversations_render_byte_for_byte_as_the_reference_renders_them() {
    let fixture = fixture();
    assert!(fixture.conversations.len() >= 140, "the fixture has lost cases");
    for case in &fixture.conversations {
        let source = std::fs::read_to_string(fixtures().join(format!("templates/{}.jinja", case.template))).unwrap();
        let mut variables = fixture.chats[&case.chat].as_object().unwrap().clone();
        variables.extend(case.tokens.clone());
        variables.entry("add_generation_prompt").or_insert(Json::Bool(true));
        let ours = render(&source, clock(&fixture.now), &variables);
        assert!(
            alike(&ours, &case.outcome),
            "{} with {:?}\n     ours {ours:?}\nreference {:?}",
            case.template,
            case.chat,
            case.outcome
        );
    }
}

/// Where the engine differs from the reference, and why that is left so. No template of a model is known that needs
/// one of these.
const DIFFERENCES: &[(&str, &str)] = &[
    ("{{ floats }}", "the engine prints floats in its own notation, 1e-5 for 1e-05"),
    ("{{ 1.0 }} {{ 1e-5 }} {{ 1e16 }}", "the engine prints floats without an exponent"),
    ("{{ '%s-%d' % ('a', 5) }}", "% does not format texts; the filter `format` does"),
    ("{{ '%.2f' % 3.14159 }}", "% does not format texts; the filter `format` does"),
    ("{{ \"it's a dog's\".title() }}", "Python begins a word after an apostrophe"),
    ("{{ 'ǆ'.title() }}", "there are no title case characters in Rust's standard library"),
    ("{{ ' \\x1c x \\x1f '.strip() }}|", "Python counts the separators U+001C to U+001F as white space"),
    ("{{ 'a,b;c'.translate({44: ' '}) }}", "no such method"),
    ("{{ 'abc'.expandtabs() }}", "no such method"),
    ("{{ 'a b c' | wordcount }}", "no such filter"),
    ("{{ 'x' | int }} {{ 'x' | int(5) }}", "the engine fails where Jinja takes 0"),
    ("{{ 'hello world foo' | truncate(9) }}", "no such filter"),
    ("{{ 1234567 | filesizeformat }}", "no such filter"),
    ("{{ map | xmlattr }}", "no such filter"),
    ("{{ 'a' | center(5) }}|", "no such filter; the method is there"),
    ("{{ 'a b' | wordwrap(1) }}", "no such filter"),
    ("{{ raise_exception is callable }}", "no such test"),
    ("{{ namespace(a=1) is mapping }}", "the engine's namespaces are maps"),
    ("{% for x in none %}{% endfor %}", "the engine takes None for an empty list"),
    ("{% macro f(x) %}{{ varargs }}{{ kwargs }}{% endmacro %}{{ f(1, 2, z=3) }}", "macros take what they declare"),
    ("{{ lipsum is defined }}", "no filler text"),
];

#[test]
fn single_features_render_as_the_reference_renders_them_but_for_the_known_differences() {
    let fixture = fixture();
    assert!(fixture.features.len() >= 200, "the fixture has lost features");
    let mut unequal = Vec::new();
    for Feature { area, source, outcome } in &fixture.features {
        let ours = render(source, clock(&fixture.now), &fixture.variables);
        if alike(&ours, outcome) {
            assert!(
                !DIFFERENCES.iter().any(|(known, _)| known == source),
                "{source:?} is alike now: take it off the list"
            );
        } else if !DIFFERENCES.iter().any(|(known, _)| known == source) {
            unequal.push(format!("{area}: {source:?}\n     ours {ours:?}\nreference {outcome:?}"));
        }
    }
    assert!(unequal.is_empty(), "{}", unequal.join("\n"));
    for (known, _) in DIFFERENCES {
        assert!(fixture.features.iter().any(|feature| feature.source == *known), "{known:?} is no longer a case");
    }
}

fn compile(source: &str) -> Result<ChatTemplate, TextError> {
    ChatTemplate::compile(source, Vec::new(), clock("2026-07-04T15:06:07"))
}

#[test]
fn a_template_that_does_too_much_fails_instead_of_taking_memory_or_time() {
    let bombs = [
        ("loops", "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}"),
        ("doubling", "{% set n = namespace(x='x') %}{% for i in range(60) %}{% set n.x = n.x + n.x %}{% endfor %}"),
        ("repeating", "{{ ('x' * 99999999) | length }}{{ (('x' * 99999999) * 99) | length }}"),
        ("a long range", "{{ range(999999999) | list | length }}"),
        ("padding", "{{ 'x'.center(999999999999) | length }}"),
        ("zeros", "{{ 'x'.zfill(999999999999) | length }}"),
        ("a format's width", "{{ '{:>999999999999}'.format('x') | length }}"),
        ("a format's width, given", "{{ '{:>{}}'.format('x', 999999999999) | length }}"),
        ("a format's precision", "{{ '{:.999999999}'.format(1.5) | length }}"),
        ("a printf width", "{{ '%999999999999s' | format('x') | length }}"),
        ("replacing", "{% set x = 'x' * 999999 %}{{ x.replace('x', x) | length }}"),
        ("replacing nothing", "{% set x = 'x' * 999999 %}{{ x.replace('', x) | length }}"),
        ("joining", "{% set x = 'x' * 999999 %}{{ x.join([x] * 99999) | length }}"),
        ("the filter join", "{% set x = 'x' * 999999 %}{{ ([x] * 99999) | join(x) | length }}"),
        ("splitting", "{% set x = 'x,' * 999999 %}{% for i in range(99) %}{% set y = x.split(',') %}{% endfor %}"),
        ("searching", "{% set x = 'x' * 9999999 %}{% for i in range(9999) %}{% set y = x.find('y') %}{% endfor %}"),
        (
            "JSON of shared parts",
            "{% set n = namespace(x=[1]) %}{% for i in range(40) %}{% set n.x = [n.x, n.x] %}{% endfor %}{{ n.x | tojson }}",
        ),
        (
            "printing shared parts",
            "{% set n = namespace(x=[1]) %}{% for i in range(40) %}{% set n.x = [n.x, n.x] %}{% endfor %}{{ n.x }}",
        ),
        ("JSON of itself", "{% set n = namespace() %}{% set n.x = n %}{{ n | tojson }}"),
        (
            "a list around itself",
            "{% set n = namespace(x=[]) %}{% for i in range(9999) %}{% set n.x = [n.x] %}{% endfor %}",
        ),
        (
            "a map around itself",
            "{% set n = namespace(x=1) %}{% for i in range(9999) %}{%- set n.x={'a':n.x} -%}{% endfor %}",
        ),
        (
            "a list around itself in a tuple",
            "{% set n = namespace(x=[]) %}{% for i in range(9999) %}{% set n.x, y = [n.x], 2 %}{% endfor %}",
        ),
        (
            "a list around itself through a block",
            "{% set n = namespace(x=[]) %}{% for i in range(9999) %}{% set n.x | batch(2, [n.x]) %}a{% endset %}{% endfor %}",
        ),
        ("a namespace within itself", "{% set n = namespace() %}{% set n.x = [n] %}{{ n }}"),
        (
            "namespaces within namespaces",
            "{% set n = namespace(x=1) %}{% for i in range(9999) %}{% set m = namespace(y=n.x) %}{% set n.x = m %}{% endfor %}",
        ),
        (
            "adding one by one",
            "{% set n = namespace(x=[]) %}{% for i in range(99999) %}{% set n.x = n.x + [1] %}{% endfor %}",
        ),
        ("a macro without end", "{% macro f(x) %}{{ f(x + 1) }}{% endmacro %}{{ f(0) }}"),
        ("a loop without end", "{% for x in [[[]]] recursive %}{{ loop([[[]]]) }}{% endfor %}"),
        ("indentation", "{{ ('\n' * 999999) | indent(99999) | length }}"),
        ("JSON's indentation", "{{ [[[[[[1]]]]]] | tojson(indent='x' * 9999999) | length }}{{ 1 / 0 }}"),
        ("batches", "{{ [1] | batch(999999999999, 'x') | list | length }}"),
        ("slices", "{{ [1] | slice(999999999999) | list | length }}"),
        ("a power", "{{ 9 ** 9 ** 9 }}"),
        ("a date's width", "{{ strftime_now('%999999999999Y') }}"),
    ];
    for (name, source) in bombs {
        let rendered = compile(source).and_then(|template| template.render(&[], FUEL));
        let error = rendered.expect_err(name);
        assert!(matches!(error, TextError::Template(_)), "{name}: {error}");
    }
}

#[test]
fn a_template_that_writes_without_end_is_too_long() {
    let rendered = compile("{% for i in range(99999) %}{{ 'x' * 999 }}{% endfor %}").unwrap().render(&[], FUEL);
    assert!(matches!(rendered, Err(TextError::TooLong { limit: MAX_PROMPT_BYTES })), "{rendered:?}");
}

#[test]
fn a_template_nested_without_end_does_not_compile() {
    for (open, close) in
        [("(", ")"), ("[", "]"), ("{1: ", "}"), ("not ", ""), ("-", ""), ("x if ", " else y"), ("f(", ")")]
    {
        let source = format!("{{{{ {}1{} }}}}", open.repeat(50_000), close.repeat(50_000));
        let compiled = compile(&source).map(drop);
        assert!(matches!(compiled, Err(TextError::Template(_))), "{open}: {compiled:?}");
    }
    let source = format!("{}{}", "{% if x %}".repeat(9000), "{% endif %}".repeat(9000));
    assert!(matches!(compile(&source), Err(TextError::Template(_))));
}

#[test]
fn chains_within_the_bounds_compile_and_render_without_overflowing_the_stack() {
    let operators = "not ".repeat(TAG_CHARACTERS / 4 - 1);
    assert!(compile(&format!("{{{{ {operators}x }}}}")).unwrap().render(&[], FUEL).is_ok());
    let calls = "()".repeat(TAG_CHARACTERS / 2 - 2);
    assert!(compile(&format!("{{{{ x{calls} }}}}")).unwrap().render(&[], FUEL).is_err());
    let branches = "{% elif x %}".repeat(SOURCE_BYTES / 12 - 10);
    assert!(compile(&format!("{{% if x %}}{branches}{{% endif %}}")).unwrap().render(&[], FUEL).is_ok());
    let lists = "{%set x=[x]%}".repeat(SOURCE_BYTES / 13 - 10);
    assert!(compile(&format!("{{% set x = 1 %}}{lists}{{{{ x == [x] }}}}")).unwrap().render(&[], FUEL).is_ok());
}

#[test]
fn the_longest_conversation_is_within_the_bounds() {
    let turn = |index: usize| {
        let role = if index.is_multiple_of(2) { Role::User } else { Role::Assistant };
        Message::new(role, "x".repeat(MAX_PROMPT_BYTES / MAX_MESSAGES - 64))
    };
    let messages: Vec<Message> = (0..MAX_MESSAGES).map(turn).collect();
    for name in ["qwen3", "llama3.2", "mistral-v0.3", "gemma2", "smollm3-generation"] {
        let source = std::fs::read_to_string(fixtures().join(format!("templates/{name}.jinja"))).unwrap();
        let tokens = [("bos_token", "<s>"), ("eos_token", "</s>")].map(|(name, text)| (name.into(), text.into()));
        let template = ChatTemplate::compile(&source, tokens.to_vec(), clock("2026-07-04T15:06:07")).unwrap();
        let chat = Chat { messages: messages.clone(), ..Chat::default() };
        let prompt = template.render_chat(&chat).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(prompt.len() > MAX_PROMPT_BYTES * 9 / 10, "{name}");
    }
}

#[test]
fn a_refusal_keeps_the_templates_words_even_from_within_a_macro() {
    let template =
        compile("{% macro f() %}{{ raise_exception('only users, please') }}{% endmacro %}{{ f() }}").unwrap();
    let refused = template.render(&[], FUEL);
    assert!(matches!(&refused, Err(TextError::Refused(words)) if words == "only users, please"), "{refused:?}");
}

#[test]
fn an_unknown_variable_prints_nothing_but_its_parts_are_a_fault_of_the_template() {
    assert_eq!(compile("{{ nothing }}|").unwrap().render(&[], FUEL).unwrap(), "|");
    let failed = compile("{{ nothing.inner }}").unwrap().render(&[], FUEL);
    assert!(matches!(failed, Err(TextError::Template(_))), "{failed:?}");
}
