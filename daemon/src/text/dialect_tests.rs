use std::path::Path;

use super::*;

fn template(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("src/text/fixtures/templates/{name}.jinja"));
    std::fs::read_to_string(path).unwrap()
}

#[test]
fn templates_tell_the_family_and_whether_there_is_reasoning() {
    for (name, family, thinks) in [
        ("qwen2.5", Some(Family::Hermes), false),
        ("qwen3", Some(Family::Hermes), true),
        ("llama3.2", Some(Family::Llama), false),
        ("mistral-v0.3", Some(Family::Mistral), false),
        ("mistral-nemo", Some(Family::Mistral), false),
        ("phi4-mini", Some(Family::Phi), false),
        ("function-gemma", Some(Family::Gemma), false),
        ("gpt-oss", Some(Family::Harmony), false),
        ("phi3.5", None, false),
        ("gemma2", None, false),
        ("smollm2", None, false),
    ] {
        let dialect = Dialect::of(&template(name), |_| false);
        assert_eq!((dialect.family, dialect.thinking.is_some()), (family, thinks), "{name}");
    }
}

#[test]
fn marks_tell_families_apart_that_share_some() {
    for (source, family) in [
        ("<tool_call>\n<function=name>", Family::Xml),
        ("<|tool_call_start|>", Family::Lfm),
        ("List of tools: <|tool_list_start|>", Family::Lfm),
        ("functools[{\"name\"", Family::Phi),
    ] {
        assert_eq!(Dialect::of(source, |_| false).family, Some(family), "{source}");
    }
}

#[test]
fn where_a_template_is_silent_tokens_tell_the_family() {
    let of = |tokens: &'static [&str]| Dialect::of("{{ tools }}", |token| tokens.contains(&token));
    assert_eq!(of(&["<tool_call>", "<think>", "</think>"]).family, Some(Family::Hermes));
    assert_eq!(of(&["<tool_call>", "<think>", "</think>"]).thinking.map(|it| it.open), Some("<think>"));
    assert_eq!(of(&["[TOOL_CALLS]"]).family, Some(Family::Mistral));
    assert_eq!(of(&["<|tool_call_start|>"]).family, Some(Family::Lfm));
    assert_eq!(of(&["<think>"]), Dialect::default());
}
