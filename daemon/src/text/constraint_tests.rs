use engine::grammar::{Compiled, factory};
use serde_json::Value;

use super::super::answer::{Parser, Part, Reading};
use super::super::fixtures::{ModelFolder, byte_level, size, with_special};
use super::*;

/// A byte-level tokenizer with these special tokens besides its own.
fn model(special: &[&str]) -> (super::super::TextModel, Vec<Vec<u8>>, usize) {
    let first = size(&byte_level());
    let tokenizer = with_special(byte_level(), special);
    // The grammar's vocabulary: bytes by their numbers, and the special tokens by theirs.
    let mut vocabulary: Vec<Vec<u8>> = (0..=u8::MAX).map(|byte| vec![byte]).collect();
    vocabulary.resize(first, Vec::new());
    vocabulary.extend(special.iter().map(|token| [b"\xff", token.as_bytes()].concat()));
    vocabulary.push(b"\xff<end>".to_vec());
    (ModelFolder::new(&tokenizer).open().unwrap(), vocabulary, first)
}

fn tools() -> Vec<Tool> {
    let schema = json!({ "type": "object", "properties": { "n": { "$ref": "#/$defs/n" } }, "required": ["n"],
        "additionalProperties": false, "$defs": { "n": { "type": "integer", "minimum": 1 } } });
    let tool = |name: &str, schema: Option<&Value>| Tool {
        name: name.into(),
        description: None,
        parameters: schema.and_then(Value::as_object).cloned(),
        strict: schema.is_some(),
    };
    vec![tool("f", Some(&schema)), tool("g", None)]
}

/// One family's answers.
struct Case {
    family: Family,
    special: &'static [&'static str],
    thinking: bool,
    is_thinking: bool,
}

impl Case {
    fn dialect(&self) -> Dialect {
        let source = if self.thinking { "<think>" } else { "" };
        Dialect { family: Some(self.family), ..Dialect::of(source, |_| false) }
    }

    /// Whether the grammar for a choice takes an answer as a whole.
    fn takes(&self, choice: &ToolChoice, answer: &str) -> bool {
        let (model, vocabulary, first) = model(self.special);
        let tools = tools();
        let grammar = grammar(&model.tokenizer, self.dialect(), self.is_thinking, (&tools, choice)).unwrap().unwrap();
        let end = vocabulary.len() as u32 - 1;
        let factory = factory(&vocabulary, &[end]).unwrap();
        let Compiled { mut matcher, .. } =
            grammar.compile(&factory).unwrap_or_else(|error| panic!("{error}: {grammar:?}"));
        let mut rest = answer;
        while !rest.is_empty() {
            let special = self.special.iter().position(|token| rest.starts_with(token));
            let (token, bytes) =
                special.map_or((u32::from(rest.as_bytes()[0]), 1), |it| ((first + it) as u32, self.special[it].len()));
            let is_allowed = matcher.compute_mask().is_ok_and(|mask| mask.is_allowed(token));
            if !is_allowed || matcher.consume_token(token).is_err() {
                return false;
            }
            rest = rest.get(bytes..).expect("answers here are ASCII");
        }
        matcher.is_accepting().unwrap()
    }

    /// What is taken is read as a call, too.
    fn check(&self, choice: &ToolChoice, answer: &str) {
        assert!(self.takes(choice, answer), "{answer:?} is refused for {choice:?}");
        let mut parser = Parser::new(Reading::new(self.dialect(), self.is_thinking, tools()));
        let mut parts = parser.push(answer);
        parts.extend(parser.finish());
        assert!(parts.iter().any(|part| matches!(part, Part::Call(_))), "{answer:?}: {parts:?}");
    }
}

const HERMES: Case = Case { family: Family::Hermes, special: &[], thinking: false, is_thinking: false };

const F: &str = "<tool_call>\n{\"name\": \"f\", \"arguments\": {\"n\": 2}}\n</tool_call>";
const G: &str = "<tool_call>\n{\"name\": \"g\", \"arguments\": {\"any\": []}}\n</tool_call>";

#[test]
fn required_calls_are_whole_and_strict_ones_obey_their_schema() {
    for family in [HERMES, Case { special: &["<tool_call>", "</tool_call>"], ..HERMES }] {
        family.check(&ToolChoice::Required, F);
        family.check(&ToolChoice::Required, &format!("{F}\n{G}"));
        for refused in ["", "No.", &F.replace('2', "0"), &F.replace("\"n\"", "\"m\""), &F.replace('f', "h"), &F[..40]] {
            assert!(!family.takes(&ToolChoice::Required, refused), "{refused:?}");
        }
    }
}

#[test]
fn a_named_tool_is_called_once_and_alone() {
    let named = ToolChoice::Named("g".into());
    HERMES.check(&named, G);
    for refused in [F, &format!("{G}\n{G}")] {
        assert!(!HERMES.takes(&named, refused), "{refused:?}");
    }
}

#[test]
fn what_is_free_may_speak_and_calls_in_it_obey() {
    for family in [HERMES, Case { special: &["<tool_call>", "</tool_call>"], ..HERMES }] {
        family.check(&ToolChoice::Auto, F);
        family.check(&ToolChoice::Auto, &format!("I call {F}"));
        assert!(family.takes(&ToolChoice::Auto, "Just\nwords. <tool>"));
        for refused in [&F.replace('2', "0"), &format!("I call {}", F.replace('2', "-1"))] {
            assert!(!family.takes(&ToolChoice::Auto, refused), "{refused:?}");
        }
    }
}

#[test]
fn reasoning_comes_before_calls() {
    for special in [&[][..], &["<think>", "</think>", "<tool_call>", "</tool_call>"]] {
        let thinks = Case { special, thinking: true, ..HERMES };
        let opened = Case { is_thinking: true, ..Case { special, thinking: true, ..HERMES } };
        for choice in [ToolChoice::Required, ToolChoice::Auto] {
            thinks.check(&choice, &format!("<think>\nf or g?\n</think>\n\n{F}"));
            opened.check(&choice, &format!("f or g?\n</think>\n\n{F}"));
            thinks.check(&choice, F);
        }
        assert!(!opened.takes(&ToolChoice::Required, "f or g?\n</think>\n\nNo."));
        assert!(opened.takes(&ToolChoice::Auto, "f or g?\n</think>\n\nNo."));
    }
}

#[test]
fn every_family_whose_calls_are_json_can_be_held_to_them() {
    let llama = Case { family: Family::Llama, ..HERMES };
    let f = "{\"name\": \"f\", \"parameters\": {\"n\": 2}}";
    llama.check(&ToolChoice::Required, f);
    llama.check(&ToolChoice::Auto, f);
    assert!(llama.takes(&ToolChoice::Auto, "Words. {"));
    assert!(!llama.takes(&ToolChoice::Auto, &f.replace('2', "0")));
    let mistral = Case { family: Family::Mistral, special: &["[TOOL_CALLS]"], ..HERMES };
    let f = "{\"name\": \"f\", \"arguments\": {\"n\": 2}}";
    mistral.check(&ToolChoice::Required, &format!("[TOOL_CALLS][{f}, {f}]"));
    let headers = Case { special: &["[TOOL_CALLS]", "[ARGS]"], ..mistral };
    headers.check(&ToolChoice::Required, "[TOOL_CALLS]f[ARGS]{\"n\": 2}[TOOL_CALLS]g[ARGS]{}");
    let phi = Case { family: Family::Phi, special: &["<|tool_call|>", "<|/tool_call|>"], ..HERMES };
    phi.check(&ToolChoice::Required, &format!("<|tool_call|>[{f}]<|/tool_call|>"));
    let marks: &[&str] = &["<|channel|>", "<|message|>", "<|end|>", "<|start|>", "<|constrain|>"];
    let harmony = Case { family: Family::Harmony, special: marks, ..HERMES };
    let call = "<|channel|>commentary to=functions.f <|constrain|>json<|message|>{\"n\": 2}";
    for before in ["", "<|channel|>analysis<|message|>f or g?<|end|><|start|>assistant"] {
        harmony.check(&ToolChoice::Required, &format!("{before}{call}"));
        harmony.check(&ToolChoice::Auto, &format!("{before}{call}"));
        let said = format!("{before}<|channel|>final<|message|>No.");
        assert!(harmony.takes(&ToolChoice::Auto, &said) && !harmony.takes(&ToolChoice::Required, &said));
    }
}

#[test]
fn answers_are_free_where_nothing_is_asked_and_forms_that_are_no_json_cannot_be_held() {
    let (model, ..) = model(&[]);
    let of = |family: Family, tools: &[Tool], choice: &ToolChoice| {
        let dialect = Dialect { family: Some(family), thinking: None };
        grammar(&model.tokenizer, dialect, false, (tools, choice))
    };
    assert_eq!(of(Family::Hermes, &tools()[1..], &ToolChoice::Auto), Ok(None));
    assert_eq!(of(Family::Lfm, &tools()[1..], &ToolChoice::Auto), Ok(None));
    assert_eq!(of(Family::Hermes, &[], &ToolChoice::Auto), Ok(None));
    for family in [Family::Xml, Family::Gemma, Family::Lfm] {
        assert_eq!(of(family, &tools(), &ToolChoice::Auto), Err(()));
        assert_eq!(of(family, &tools()[1..], &ToolChoice::Required), Err(()));
    }
}
