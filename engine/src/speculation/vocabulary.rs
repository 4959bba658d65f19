//! Whether two models number the same tokens alike, as their `tokenizer.json`s say: else what one guesses means something
//! else to the other.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use serde::Deserialize;

use crate::message::TokenId;

/// The largest real files have about 35 MB.
const MAX_BYTES: u64 = 256 << 20;

#[derive(Deserialize)]
struct Tokenizer {
    #[serde(default)]
    added_tokens: Vec<Added>,
    model: Model,
}

#[derive(Deserialize)]
struct Added {
    id: TokenId,
    content: String,
}

#[derive(Deserialize)]
struct Model {
    vocab: Vocab,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Vocab {
    Numbers(BTreeMap<String, TokenId>),
    /// With the likelihood of each, in the order of their numbers.
    List(Vec<(String, f64)>),
}

/// That the models of two folders have the same tokens under the same numbers; else the first that differs, in words.
pub fn same_tokens(model: &Path, draft: &Path) -> Result<(), String> {
    let (tokens, others) = (tokens(model)?, tokens(draft)?);
    let differs = |id: &&TokenId| tokens.get(id) != others.get(id);
    let Some(id) = tokens.keys().chain(others.keys()).filter(differs).min() else { return Ok(()) };
    let named = |tokens: &BTreeMap<TokenId, String>| tokens.get(id).map_or("none".into(), |token| format!("{token:?}"));
    Err(format!(
        "its vocabulary is another: token {id} is {}, but {} of the model's; it has {} tokens, and the model {}",
        named(&others),
        named(&tokens),
        others.len(),
        tokens.len()
    ))
}

/// The tokens of a folder by number.
fn tokens(folder: &Path) -> Result<BTreeMap<TokenId, String>, String> {
    let path = folder.join("tokenizer.json");
    let broken = |why: &dyn std::fmt::Display| format!("{}: {why}", path.display());
    let mut text = Vec::new();
    let file = File::open(&path).and_then(|file| file.take(MAX_BYTES + 1).read_to_end(&mut text));
    if file.map_err(|error| broken(&error))? as u64 > MAX_BYTES {
        return Err(broken(&format!("more than {MAX_BYTES} bytes")));
    }
    let Tokenizer { added_tokens, model } = serde_json::from_slice(&text).map_err(|error| broken(&error))?;
    let mut tokens: BTreeMap<TokenId, String> = match model.vocab {
        Vocab::Numbers(numbers) => numbers.into_iter().map(|(token, id)| (id, token)).collect(),
        Vocab::List(list) => (0..).zip(list.into_iter().map(|(token, _)| token)).collect(),
    };
    tokens.extend(added_tokens.into_iter().map(|added| (added.id, added.content)));
    Ok(tokens)
}

#[cfg(test)]
#[path = "vocabulary_tests.rs"]
mod tests;
