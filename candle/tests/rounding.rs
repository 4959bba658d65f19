//! What rounding activations to eight bits does to the logits after long prompts, beside what it does in llama.cpp: both
//! read SmolLM2-135M written anew as `Q8_0`, and are held to the same file multiplied without rounding.

#![expect(clippy::unwrap_used, clippy::print_stderr, reason = "a test that cannot go on says so and fails")]

#[path = "../../mlx/tests/real/given.rs"]
#[expect(dead_code, reason = "the tests with MLX have another reference too")]
mod given;

use std::path::{Path, PathBuf};
use std::process::Command;

use engine::backend::Backend;
use engine::message::{Load, TokenId};
use serde::Deserialize;
use serde_json::json;
use talkied_candle::Candle;

/// Texts of which the first tokens are prompts, and how many: English, a list, prose for readers, code.
const PROMPTS: [(&str, &str, usize); 5] = [
    ("Apache's license", include_str!("../../LICENSE-APACHE"), 800),
    ("MIT's license", include_str!("../../LICENSE-MIT"), 200),
    ("the manifest", include_str!("../../Cargo.toml"), 300),
    ("the map", include_str!("../../README.md"), 400),
    ("code", include_str!("../src/sampler.rs"), 300),
];

/// How much further off than llama.cpp's the logits may be. Which of the two is nearer differs from prompt to prompt, and
/// the texts change.
const TIMES: f32 = 1.5;
const MARGIN: f32 = 0.2;

#[derive(Deserialize)]
struct Answer {
    prompt: Vec<TokenId>,
    logits: Vec<f32>,
}

fn python() -> PathBuf {
    given::given_or_made("TALKIE_TEST_LLAMA_PYTHON", &["llama"])
}

/// The model's file written anew.
fn packed() -> PathBuf {
    let (model, file) = (given::given_or_made("TALKIE_TEST_MODEL_GGUF", &["model"]), tmp("rounding-Q8_0.gguf"));
    let mut pack = Command::new(python());
    pack.args(["-c", include_str!("../../mlx/tests/real/pack.py")]).arg(model).arg(&file).arg("Q8_0");
    let output = pack.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    file
}

fn tmp(name: &str) -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(name)
}

fn llama_cpp(file: &Path) -> Vec<Answer> {
    let texts: Vec<_> = PROMPTS.iter().map(|(_, text, tokens)| json!([text, tokens])).collect();
    let request = json!({ "file": file, "texts": texts });
    let answers = given::ask(&python(), include_str!("rounding.py"), &request);
    answers.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn loaded(mut candle: Candle, file: &Path) -> Candle {
    candle.load(&Load::new(file), &mut |_, _| {}).unwrap();
    candle
}

fn furthest(logits: &[f32], exact: &[f32]) -> f32 {
    assert_eq!(logits.len(), exact.len());
    logits.iter().zip(exact).map(|(logit, exact)| (logit - exact).abs()).fold(0.0, f32::max)
}

#[test]
fn rounding_takes_logits_no_further_off_than_llama_cpps() {
    let file = packed();
    let answers = llama_cpp(&file);
    let (candle, exact) = (loaded(Candle::new(), &file), loaded(Candle::exact(), &file));
    assert_eq!(answers.len(), PROMPTS.len());
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    eprintln!("| after | tokens | span | Candle | llama.cpp |\n|---|---|---|---|---|");
    for ((name, _, length), Answer { prompt, logits }) in PROMPTS.iter().zip(&answers) {
        assert_eq!(prompt.len(), *length, "{name} is long enough");
        let exact = exact.logits(prompt).unwrap();
        let (least, most) = exact.iter().fold((f32::MAX, f32::MIN), |(a, b), logit| (a.min(*logit), b.max(*logit)));
        ours.push(furthest(&candle.logits(prompt).unwrap(), &exact));
        theirs.push(furthest(logits, &exact));
        let (ours, theirs) = (ours[ours.len() - 1], theirs[theirs.len() - 1]);
        eprintln!("| {name} | {length} | {:.0} | {ours:.2} | {theirs:.2} |", most - least);
        // Something else than rounding would be as far off as the logits are from each other.
        assert!(theirs < (most - least) / 10.0, "{name}: llama.cpp computes something else");
    }
    let most = |off: &[f32]| off.iter().copied().fold(0.0, f32::max);
    let (ours, theirs) = (most(&ours), most(&theirs));
    assert!(ours > 0.0 && ours <= TIMES * theirs + MARGIN, "Candle {ours}, llama.cpp {theirs}");
}
