use serde_json::Value;

use super::*;

fn machine() -> Machine {
    let [date, commit, cpu, os] = ["d", "c1", "Chip", "Linux"].map(str::to_owned);
    let [load_average, rustc, talkied, reference] = ["0.1 0.2 0.3", "r", "0.1.0", "mlx-lm 1"].map(str::to_owned);
    Machine { date, commit, cpu, cores: 2, os, load_average, rustc, talkied, reference }
}

fn row(name: &str, decode: f64, first_token: f64, slow: bool) -> Row {
    let one = |value: f64| [value].into_iter().collect::<Samples>();
    let prefill_tokens_per_s = if slow { Samples::default() } else { one(50.0) };
    let figures = Figures {
        decode_tokens_per_s: one(decode),
        prefill_tokens_per_s,
        first_token_ms: one(first_token),
        load_ms: one(100.0),
        prompt_tokens: [Some(40), Some(512)],
    };
    let dtype = match name {
        "talkied" => None,
        "f" => Some("float32".into()),
        _ => Some("float16".into()),
    };
    Row { name: name.into(), dtype, slow, figures }
}

fn report() -> Report {
    let mut report = Report::new(machine());
    report.plan = Some(Plan { rounds: 7, tokens: 64, slow_rounds: 2, slow_tokens: 8 });
    report.candidates =
        vec![row("talkied", 20.0, 100.0, false), row("f", 10.0, 150.0, false), row("h", 0.5, 9e4, true)];
    report
}

fn line<'a>(text: &'a str, begin: &str) -> Vec<&'a str> {
    let line = text.lines().find(|line| line.starts_with(begin)).unwrap_or_else(|| panic!("no {begin} in\n{text}"));
    line[begin.len()..].split_whitespace().collect()
}

#[test]
fn more_tokens_and_fewer_milliseconds_are_both_better() {
    let text = report().to_string();
    assert_eq!(line(&text, "f "), ["10.0", "50.0", "150", "100"]);
    assert_eq!(line(&text, "  talkied is better by"), ["×", "2.00", "×", "1.00", "×", "1.50", "×", "1.00"]);
    assert_eq!(line(&text, "h *"), ["0.500", "–", "90000", "100"]);
}

#[test]
fn aims_are_met_missed_or_not_measured() {
    let mut report = report();
    report.alone.ping = Some([150.0].into_iter().collect());
    let text = report.to_string();
    assert_eq!(line(&text, "decode, times mlx-lm in float32"), ["≥", "1", "2.00", "met"]);
    assert_eq!(line(&text, "decode, times mlx-lm in half precision"), ["≥", "30", "40.0", "met"]);
    assert_eq!(line(&text, "ping p50, µs"), ["<", "100", "150", "not", "met"]);
    assert_eq!(line(&text, "memory of the idle daemon, MB"), ["<", "25", "–", "not", "measured"]);
}

#[test]
fn pairs_are_told_with_the_aim_of_output_control() {
    let mut report = report();
    assert_eq!(line(&report.to_string(), "decode held to a JSON schema"), ["not", "measured"]);
    assert_eq!(line(&report.to_string(), "decode held to a schema, times free"), ["≥", "0.95", "–", "not", "measured"]);
    let schema_over_free = [0.9, 0.97, 0.96].into_iter().collect();
    report.held = Some(Held { schema_over_free, ..Held::default() });
    report.cold = Some(Cold { talkied_ms: [400.0].into_iter().collect(), ..Cold::default() });
    let text = report.to_string();
    assert!(line(&text, "decode held to a JSON schema").contains(&"(0.900–0.970),"));
    assert_eq!(line(&text, "cold start to the first token")[..2], ["400", "ms,"]);
    assert_eq!(line(&text, "decode held to a schema, times free"), ["≥", "0.95", "0.960", "met"]);
}

#[test]
fn what_failed_is_said_and_the_rest_is_still_shown() {
    let mut report = Report::new(machine());
    assert_eq!(report.keep("ping", Err::<(), _>(Error::Unexpected("no daemon".into()))), None);
    assert!(report.to_string().contains("failed to measure ping: no daemon"));
    assert_eq!(report.problems.len(), 1);
}

#[test]
fn the_json_has_the_samples_of_each_candidate() {
    let json: Value = serde_json::to_value(report()).unwrap();
    assert_eq!(json["candidates"][2]["decode_tokens_per_s"]["samples"], serde_json::json!([0.5]));
    assert_eq!(json["machine"]["cores"], 2);
}
