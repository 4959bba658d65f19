use super::*;

const KNOWN: [&str; 6] = [
    "mlx-community/Qwen2.5-3B-Instruct-4bit",
    "mlx-community/Qwen2.5-7B-Instruct-4bit",
    "mlx-community/Llama-3.2-3B-Instruct-4bit",
    "mlx-community/gemma-3-1b-it-4bit",
    "local/notes",
    "Orca",
];

fn known() -> Vec<ModelId> {
    KNOWN.map(|id| ModelId(id.into())).to_vec()
}

#[track_caller]
fn check(wanted: &str, expected: &[&str]) {
    assert_eq!(nearest(wanted, &known()), expected, "{wanted}");
}

#[test]
fn a_name_without_its_org_in_any_case_is_found() {
    check("Qwen2.5-3B-Instruct-4bit", &[KNOWN[0]]);
    check("other/llama-3.2-3b-instruct-4bit", &[KNOWN[2]]);
    check("orca", &["Orca"]);
}

#[test]
fn the_words_of_a_name_are_enough() {
    check("qwen2.5-3b", &[KNOWN[0]]);
    check("qwen", &[KNOWN[0], KNOWN[1]]);
    check("llama-3b", &[KNOWN[2]]);
    check("gemma:1b", &[KNOWN[3]]);
}

#[test]
fn slips_of_the_finger_are_forgiven() {
    check("local/ntoes", &["local/notes"]);
    check("qwem2.5-3b-instruct-4bit", &[KNOWN[0], KNOWN[1]]);
    check("gema-3-1b-it-4bit", &[KNOWN[3]]);
}

#[test]
fn what_is_not_like_anything_gets_no_suggestion() {
    for wanted in ["", "-", "/", "x", "ab", "mistral-large", "org/phi-4", &"q".repeat(100_000)] {
        check(wanted, &[]);
    }
}

#[test]
fn suggestions_are_a_question() {
    assert_eq!(did_you_mean("qwen2.5-3b", &known()).as_deref(), Some(&*format!("did you mean {}?", KNOWN[0])));
    assert_eq!(
        did_you_mean("qwen", &known()).as_deref(),
        Some(&*format!("did you mean {} or {}?", KNOWN[0], KNOWN[1]))
    );
    assert_eq!(did_you_mean("local/notes", &known()), None, "that is what was asked for");
    assert_eq!(did_you_mean("phi", &known()), None);
}

#[test]
fn a_model_of_the_catalogue_can_be_pulled() {
    let exact = of_catalogue(KNOWN[3], &known());
    assert_eq!(exact, Some(format!("it is not installed; `talkiectl pull {}` downloads it", KNOWN[3])));
    let near = of_catalogue("gemma", &known());
    assert_eq!(near, Some(format!("did you mean {}? `talkiectl pull MODEL` downloads it", KNOWN[3])));
}
