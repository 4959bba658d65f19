//! What mlx-lm makes of the same folder and the same conversations.
//!
//! It takes a minute, so it is kept in the target folder under a name made of everything that decides it.

use std::fs;
use std::hash::{DefaultHasher, Hasher};
use std::path::Path;
use std::sync::OnceLock;

use serde::Deserialize;
use serde_json::{Value, json};

use crate::{given, model};

const SCRIPT: &str = include_str!("reference.py");

/// Tokens of each answer.
pub const TOKENS: u32 = 64;

/// The conversations: a question, one with digits and code, one in other scripts, one with turns, and a long one, whose
/// answer outgrows the first piece of the caches.
pub fn conversations() -> Value {
    let long: Vec<String> = (1..=10)
        .map(|day| format!("On day {day} the keeper climbed the stairs, lit the lamp and counted the passing ships. "))
        .collect();
    let long = long.concat();
    json!([
        [{ "role": "user", "content": "Write one sentence about the sea." }],
        [{ "role": "user", "content": "What does this print?\n\n```python\nprint([x**2 for x in range(10)])\n```" }],
        [{ "role": "user", "content": "Übersetze ins Englische: „Der Zug fährt um 8:15 Uhr ab.“ 🚆 それから?" }],
        [
            { "role": "system", "content": "You answer in one short sentence." },
            { "role": "user", "content": "What is the capital of France?" },
            { "role": "assistant", "content": "Paris is the capital of France." },
            { "role": "user", "content": "And of Italy?" }
        ],
        [{ "role": "user", "content": format!("{long}\nSummarise this.") }]
    ])
}

/// What mlx-lm found.
#[derive(Deserialize)]
pub struct Reference {
    /// One for each conversation.
    pub answers: Vec<Answer>,
    /// Weights of the folder that are not those of the GGUF file.
    pub differing: Vec<String>,
}

/// One conversation's.
#[derive(Deserialize)]
pub struct Answer {
    /// Token numbers of the rendered conversation.
    pub prompt: Vec<u32>,
    /// The likeliest tokens, not ended by any.
    pub tokens: Vec<u32>,
    /// The text of the tokens before the first that ends an answer.
    pub text: String,
    /// Whether one of them ends the answer.
    pub ended: bool,
    /// After the prompt.
    pub logits: Vec<f32>,
    /// After the last of the tokens.
    pub last_logits: Vec<f32>,
}

/// The reference of the imported model.
pub fn reference() -> &'static Reference {
    static REFERENCE: OnceLock<Reference> = OnceLock::new();
    REFERENCE.get_or_init(|| {
        let (gguf, python, folder) = (model::gguf(), given::python(), model::folder());
        let request = json!({ "folder": folder, "gguf": gguf, "conversations": conversations(), "tokens": TOKENS });
        let key = key(&request.to_string(), &python, folder);
        let kept = Path::new(env!("CARGO_TARGET_TMPDIR")).join("real").join(format!("reference-{key:016x}.json"));
        let text = fs::read_to_string(&kept).unwrap_or_else(|_| {
            let text = given::ask(&python, SCRIPT, &request);
            let unfinished = kept.with_extension("unfinished");
            fs::write(&unfinished, &text).unwrap();
            fs::rename(&unfinished, &kept).unwrap();
            text
        });
        serde_json::from_str(&text).expect("the reference writes JSON")
    })
}

/// Of the question, the program and every byte of the model. The environment's path carries its recipe's number.
fn key(request: &str, python: &Path, folder: &Path) -> u64 {
    let mut hasher = DefaultHasher::new();
    for part in [request, SCRIPT, &python.display().to_string()] {
        hasher.write(part.as_bytes());
        hasher.write_u8(0xff);
    }
    let mut files: Vec<_> = fs::read_dir(folder).unwrap().map(|file| file.unwrap().path()).collect();
    files.sort();
    for file in files {
        hasher.write(file.display().to_string().as_bytes());
        hasher.write(&fs::read(&file).unwrap());
    }
    hasher.finish()
}
