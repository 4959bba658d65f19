use proptest::prelude::*;
use serde_json::json;

use super::*;

/// With tools `f` and `get_weather`, the latter with typed parameters.
fn reading(family: Option<Family>, template: &str, prompt: &str) -> Reading {
    let dialect = Dialect { family, ..Dialect::of(template, |_| false) };
    Reading::new(dialect, dialect.is_thinking(prompt), tools())
}

fn tools() -> Vec<Tool> {
    let typed = json!({ "type": "object", "properties": { "city": { "type": "string" }, "days": { "type": "integer" },
        "tags": {} } });
    let tool = |name: &str, parameters: Value| Tool {
        name: name.into(),
        description: None,
        parameters: parameters.as_object().cloned(),
        strict: false,
    };
    vec![tool("f", json!({})), tool("get_weather", typed)]
}

/// The parts of an answer in these pieces, neighbours of the same kind put together.
fn parts<'a>(reading: &Reading, pieces: impl IntoIterator<Item = &'a str>) -> Vec<Part> {
    let mut parser = Parser::new(reading.clone());
    let mut parts: Vec<Part> = pieces.into_iter().flat_map(|piece| parser.push(piece)).collect();
    parts.extend(parser.finish());
    let mut joined: Vec<Part> = Vec::new();
    for part in parts {
        match (joined.last_mut(), part) {
            (Some(Part::Text(before)), Part::Text(text)) | (Some(Part::Reasoning(before)), Part::Reasoning(text)) => {
                before.push_str(&text);
            }
            (_, part) => joined.push(part),
        }
    }
    joined
}

fn characters(text: &str) -> impl Iterator<Item = &str> {
    text.char_indices().map(|(start, character)| &text[start..start + character.len_utf8()])
}

/// Whole, character by character, and cut anywhere, an answer has these parts.
fn check(reading: &Reading, answer: &str, expected: &[Part]) {
    assert_eq!(parts(reading, [answer]), expected, "{answer}");
    assert_eq!(parts(reading, characters(answer)), expected, "{answer}, character by character");
    for (cut, _) in answer.char_indices() {
        assert_eq!(parts(reading, [&answer[..cut], &answer[cut..]]), expected, "{answer}, cut at {cut}");
    }
}

fn said(text: &str) -> Part {
    Part::Text(text.into())
}

fn reasoned(text: &str) -> Part {
    Part::Reasoning(text.into())
}

fn called(name: &str, arguments: Value) -> Part {
    let Value::Object(arguments) = arguments else { panic!("arguments are an object") };
    Part::Call(Call { name: name.into(), arguments })
}

fn check_family(family: Family, cases: &[(&str, Vec<Part>)]) {
    for (answer, expected) in cases {
        check(&reading(Some(family), "", ""), answer, expected);
    }
}

/// These answers are text alone, unchanged.
fn check_text(family: Family, answers: &[&str]) {
    for answer in answers {
        check(&reading(Some(family), "", ""), answer, &[said(answer)]);
    }
}

#[test]
fn hermes_calls_stand_between_tags() {
    let x = || called("f", json!({ "x": 1 }));
    let one = r#"<tool_call>{"name": "f", "arguments": {"x": 1}}</tool_call>"#;
    check_family(
        Family::Hermes,
        &[
            (one, vec![x()]),
            ("<tool_call>\n{\"name\": \"f\", \"arguments\": {\"x\": 1}}\n</tool_call>", vec![x()]),
            (&format!("Let me see.\n{one}\n{one}"), vec![said("Let me see."), x(), x()]),
            (&format!("{one}\n"), vec![x()]),
            (&format!("{one}\n\nDone."), vec![x(), said("\n\nDone.")]),
            (r#"<tool_call>{"name": "f", "arguments": "{\"x\": 1}"}</tool_call>"#, vec![x()]),
            (r#"<tool_call>{"name": "f"}</tool_call>"#, vec![called("f", json!({}))]),
            // The model ended before it wrote the mark.
            (r#"<tool_call>{"name": "f", "arguments": {"x": 1}}"#, vec![x()]),
            (&format!("a <tool_call> is\n{one}"), vec![said("a <tool_call> is"), x()]),
            (
                r#"<tool_call>{"name": "unknown-to-us", "arguments": {}}</tool_call>"#,
                vec![called("unknown-to-us", json!({}))],
            ),
        ],
    );
}

#[test]
fn a_call_that_is_none_comes_back_as_text_unchanged() {
    check_text(
        Family::Hermes,
        &[
            "plain",
            " \n padded \n ",
            "1 < 2 <tool",
            "<tool_call>{\"name\": \"f\", \"arguments\": {\"x\"",
            " <tool_call>\n{\"name\": f}\n</tool_call> and on",
            "<tool_call>{\"arguments\": {}}</tool_call>",
            "<tool_call>{\"name\": \"f\", \"arguments\": [1]}</tool_call>",
            "<tool_call>{\"name\": \"a b\", \"arguments\": {}}</tool_call>",
            "<tool_call></tool_call>",
            "<tool_call>7</tool_call>",
            "</tool_call>",
            "näher <tool_call 👩‍👩‍👧",
        ],
    );
    check_text(Family::Mistral, &["[TOOL_CALLS]", "[TOOL_CALLS] [{]", "[TOOL_CALLS]f[ARGS]{", "[TOOL_CALL] a"]);
    check_text(Family::Phi, &["<|tool_call|>x<|/tool_call|>", "functools[", "functools", "functools[1]"]);
    check_text(Family::Gemma, &["<start_function_call>call:f{<end_function_call>", "call:f{}"]);
    check_text(
        Family::Lfm,
        &["<|tool_call_start|>[f(x=y)]<|tool_call_end|>", "<|tool_call_start|>[f(1)]<|tool_call_end|>"],
    );
    check_text(Family::Xml, &["<tool_call><function=f><parameter=a>1</function></tool_call>"]);
}

#[test]
fn llama_calls_are_the_whole_answer_or_follow_their_mark() {
    let x = || called("f", json!({ "x": 1 }));
    check_family(
        Family::Llama,
        &[
            (r#"{"name": "f", "parameters": {"x": 1}}"#, vec![x()]),
            ("\n{\"type\": \"function\", \"name\": \"f\", \"parameters\": {\"x\": 1}}\n", vec![x()]),
            (r#"<|python_tag|>{"name": "f", "parameters": {"x": 1}}"#, vec![x()]),
            (r#"{"name": "f", "parameters": {"x": 1}}; {"name": "f", "parameters": {"x": 1}}"#, vec![x(), x()]),
            ("I call <|python_tag|>{\"name\": \"f\", \"arguments\": {\"x\": 1}}", vec![said("I call"), x()]),
        ],
    );
    check_text(
        Family::Llama,
        &[
            r#"{"name": "Bob", "parameters": {}}"#,
            r#"{"city": "Bonn"}"#,
            "{ a brace",
            "It is {\"name\": \"f\", \"parameters\": {}}",
            "<|python_tag|>print(1)",
        ],
    );
}

#[test]
fn mistral_calls_are_a_list_or_have_headers() {
    let x = || called("f", json!({ "x": 1 }));
    check_family(
        Family::Mistral,
        &[
            (r#"[TOOL_CALLS] [{"name": "f", "arguments": {"x": 1}}]"#, vec![x()]),
            (
                r#"[TOOL_CALLS][{"name": "f", "arguments": {"x": 1}, "id": "abcdefghi"}, {"name": "f", "arguments": {}}]"#,
                vec![x(), called("f", json!({}))],
            ),
            (r#"[TOOL_CALLS]f[ARGS]{"x": 1}"#, vec![x()]),
            (
                r#"So.[TOOL_CALLS]f[CALL_ID]abcdefghi[ARGS]{"x": 1}[TOOL_CALLS]f[ARGS]{"x": 1}"#,
                vec![said("So."), x(), x()],
            ),
        ],
    );
}

#[test]
fn phi_gemma_and_lfm_have_lists_and_literals_of_their_own() {
    let x = || called("f", json!({ "x": 1 }));
    check_family(
        Family::Phi,
        &[
            (r#"<|tool_call|>[{"name": "f", "arguments": {"x": 1}}]<|/tool_call|>"#, vec![x()]),
            (r#" functools[{"name": "f", "arguments": {"x": 1}}]"#, vec![x()]),
        ],
    );
    let weather = json!({ "city": "Zürich, {x}", "days": 2, "tags": ["a", { "b": true }], "mode": "fast" });
    check_family(
        Family::Gemma,
        &[
            ("<start_function_call>call:f{x:1}<end_function_call>", vec![x()]),
            ("<start_function_call>call:f{}<end_function_call>", vec![called("f", json!({}))]),
            (
                "<start_function_call>call:get_weather{city:<escape>Zürich, {x}<escape>,days:2,\
              tags:[<escape>a<escape>,{b:true}],mode:fast}<end_function_call>",
                vec![called("get_weather", weather.clone())],
            ),
        ],
    );
    check_family(
        Family::Lfm,
        &[
            ("<|tool_call_start|>[f(x=1)]<|tool_call_end|>On it.", vec![x(), said("On it.")]),
            ("<|tool_call_start|>[f(x=1), f()]<|tool_call_end|>", vec![x(), called("f", json!({}))]),
            (
                r#"<|tool_call_start|>[get_weather(city="Zürich, {x}", days=2, tags=['a', {"b": True}], mode='fa\x73t')]<|tool_call_end|>"#,
                vec![called(
                    "get_weather",
                    json!({ "city": "Zürich, {x}", "days": 2, "tags": ["a", { "b": true }], "mode": "fa\\x73t" }),
                )],
            ),
            (
                r#"<|tool_call_start|>[f(a=None, b="\u00e9\n\"", c=-1.5e3, d=false)]<|tool_call_end|>"#,
                vec![called("f", json!({ "a": null, "b": "é\n\"", "c": -1500.0, "d": false }))],
            ),
        ],
    );
}

#[test]
fn xml_calls_take_their_types_from_the_schema() {
    let answer = "Wait.\n<tool_call>\n<function=get_weather>\n<parameter=city>\n12\n</parameter>\n<parameter=days>\n2\n\
        </parameter>\n<parameter=tags>\n[1]\n</parameter>\n<parameter=other>\n3\n</parameter>\n</function>\n</tool_call>";
    let arguments = json!({ "city": "12", "days": 2, "tags": [1], "other": "3" });
    check_family(Family::Xml, &[(answer, vec![said("Wait."), called("get_weather", arguments)])]);
}

#[test]
fn reasoning_stands_before_the_answer_and_never_in_it() {
    let think = |prompt: &str| reading(None, "<think>", prompt);
    let closed = think("<|im_start|>assistant\n");
    check(&closed, "<think>\nIt is\n4.\n</think>\n\n4", &[reasoned("It is\n4."), said("4")]);
    check(&closed, "\n<think>\n\n</think>\n\n4\n", &[said("4\n")]);
    check(&closed, "4 <think>a</think>", &[said("4 <think>a</think>")]);
    check(&closed, " <thin ice", &[said(" <thin ice")]);
    check(&closed, "<think>It never </thin ends \n", &[reasoned("It never </thin ends")]);
    check(&closed, "<think>", &[]);
    let opened = think("<|im_start|>assistant\n<think>\n");
    check(&opened, "Hm.\n</think>\n4", &[reasoned("Hm."), said("4")]);
    check(&opened, "\n<think>\nHm.</think>4", &[reasoned("Hm."), said("4")]);
    check(&opened, "</think>4 </think>", &[said("4 </think>")]);
    let magistral = reading(Some(Family::Mistral), "[THINK][TOOL_CALLS]", "");
    let call = called("f", json!({}));
    check(&magistral, "[THINK]a[/THINK] [TOOL_CALLS]f[ARGS]{}", &[reasoned("a"), call]);
}

#[test]
fn calls_follow_reasoning_but_are_none_within_it() {
    let hermes = reading(Some(Family::Hermes), "<think><tool_call>", "");
    let one = r#"<tool_call>{"name": "f", "arguments": {}}</tool_call>"#;
    let answer = format!("<think>I write {one}.</think>\n\n{one}");
    check(&hermes, &answer, &[reasoned(&format!("I write {one}.")), called("f", json!({}))]);
    let llama = reading(Some(Family::Llama), "<think>", "<think>");
    check(&llama, "a</think>\n{\"name\": \"f\", \"parameters\": {}}", &[reasoned("a"), called("f", json!({}))]);
}

#[test]
fn harmony_has_its_parts_on_channels() {
    let x = || called("f", json!({ "x": 1 }));
    check_family(
        Family::Harmony,
        &[
            ("<|channel|>final<|message|>Four.", vec![said("Four.")]),
            (
                "<|channel|>analysis<|message|>Easy.<|end|><|start|>assistant<|channel|>final<|message|>Four.<|return|>",
                vec![reasoned("Easy."), said("Four.")],
            ),
            (
                "<|channel|>analysis<|message|>Call.<|end|><|start|>assistant<|channel|>commentary to=functions.f \
              <|constrain|>json<|message|>{\"x\": 1}<|call|>",
                vec![reasoned("Call."), x()],
            ),
            (
                "<|channel|>commentary<|message|>I look.<|end|><|start|>assistant to=functions.f<|channel|>commentary json\
              <|message|>{\"x\":1}",
                vec![said("I look."), x()],
            ),
            (" to=functions.f<|channel|>commentary<|message|>{\"x\": 1}<|call|>", vec![x()]),
            (
                "<|channel|>analysis<|message|>No end<|start|>assistant<|channel|>final<|message|>4",
                vec![reasoned("No end"), said("4")],
            ),
            ("no marks < at all", vec![said("no marks < at all")]),
            ("<|channel|>analysis<|message|>a <|en", vec![reasoned("a <|en")]),
            ("<|channel|>analysis<|message|>a<|end|><|start|>assist", vec![reasoned("a")]),
        ],
    );
    check_text(
        Family::Harmony,
        &[
            "<|channel|>commentary to=functions.f<|message|>{x}<|call|>",
            "<|channel|>commentary to=functions.f<|message|>{\"x\"",
        ],
    );
    let dialect = Dialect { family: Some(Family::Harmony), thinking: None };
    let without_tools = Reading::new(dialect, false, Vec::new());
    let answer = "<|channel|>commentary to=functions.f<|message|>{}<|call|>";
    check(&without_tools, answer, &[said(answer)]);
    let long = format!("<|channel|>{}", "x".repeat(600));
    check(&without_tools, &long, &[said(&long)]);
}

#[test]
fn without_tools_and_reasoning_all_is_text_at_once() {
    let dialect = Dialect { family: Some(Family::Hermes), thinking: None };
    let mut parser = Parser::new(Reading::new(dialect, false, Vec::new()));
    assert_eq!(parser.push("<tool_call>"), [said("<tool_call>")]);
    assert_eq!(parser.push(""), []);
    assert_eq!(parser.finish(), []);
}

#[test]
fn text_is_given_as_soon_as_it_is_certain() {
    let mut parser = Parser::new(reading(Some(Family::Hermes), "<think>", ""));
    assert_eq!(parser.push("Hi th"), [said("Hi th")]);
    assert_eq!(parser.push("ere <tool"), [said("ere")]);
    assert_eq!(parser.push("s>"), [said(" <tools>")]);
}

#[test]
fn marks_are_those_of_what_is_looked_for() {
    assert_eq!(Reading::default().marks(), [""; 0]);
    assert_eq!(reading(None, "<think>", "").marks(), ["<think>", "</think>"]);
    let mistral = reading(Some(Family::Mistral), "", "").marks();
    assert_eq!(mistral, ["[TOOL_CALLS]", "[ARGS]", "[CALL_ID]"]);
    assert_eq!(reading(Some(Family::Hermes), "", "").marks(), ["<tool_call>", "</tool_call>"]);
    assert!(reading(Some(Family::Harmony), "", "").marks().contains(&"<|message|>"));
}

const FAMILIES: [Family; 8] = [
    Family::Hermes,
    Family::Xml,
    Family::Llama,
    Family::Mistral,
    Family::Phi,
    Family::Gemma,
    Family::Lfm,
    Family::Harmony,
];

/// Marks of all families, halves of them, and what stands between.
const WORDS: [&str; 28] = [
    "<think>",
    "</think>",
    "<tool_call>",
    "</tool_call>",
    "[TOOL_CALLS]",
    "[ARGS]",
    "<|tool_call|>",
    "<|/tool_call|>",
    "functools[",
    "<start_function_call>",
    "<end_function_call>",
    "<|tool_call_start|>",
    "<|tool_call_end|>",
    "<|python_tag|>",
    "<|channel|>",
    "analysis",
    "<|message|>",
    "<|end|>",
    "<|start|>",
    " to=f",
    "call:f{}",
    "f",
    "f()",
    "{\"name\": \"f\"}",
    "<",
    "\n",
    " ",
    "é",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]

    #[test]
    fn any_answer_in_any_pieces_has_the_same_parts(
        family in prop::sample::select(FAMILIES.to_vec()),
        is_thinking: bool,
        words in prop::collection::vec(prop::sample::select(WORDS.to_vec()), 0..12),
        cuts in prop::collection::vec(0..200_usize, 0..6),
    ) {
        let reading = reading(Some(family), "<think>", if is_thinking { "<think>" } else { "" });
        let answer = words.concat();
        let whole = parts(&reading, [answer.as_str()]);
        prop_assert_eq!(&parts(&reading, characters(&answer)), &whole, "{}", &answer);
        let mut cuts: Vec<usize> = cuts.into_iter().filter(|cut| answer.is_char_boundary(*cut)).collect();
        cuts.extend([0, answer.len()]);
        cuts.sort_unstable();
        let pieces = cuts.windows(2).map(|cut| &answer[cut[0]..cut[1]]);
        prop_assert_eq!(&parts(&reading, pieces), &whole, "{}", &answer);
    }

    #[test]
    fn an_answer_without_whole_calls_loses_nothing_but_white_space(
        words in prop::collection::vec(prop::sample::select(vec!["<tool_call>", "</tool_call>", "a", " ", "{", "\"name\"", "é"]), 0..12),
    ) {
        let answer = words.concat();
        let whole = parts(&reading(Some(Family::Hermes), "", ""), characters(&answer));
        let expected = Vec::from_iter((!answer.is_empty()).then(|| said(&answer)));
        prop_assert_eq!(whole, expected);
    }
}
