//! What somebody may have meant who named a model that is not there. Only suggested: nothing is done on a guess.
//!
//! Called by the commands that take a model's id, after the daemon has refused it.

use std::time::Duration;

use protocol::rpc::{ModelsClient, PullsClient};
use protocol::{Kind, ModelId};
use talkiectl::{Client, Error};

use crate::failure::Failure;

/// How long an error message may wait for a better hint.
const PATIENCE: Duration = Duration::from_secs(2);

/// Most names that are suggested.
const MAX_NAMES: usize = 3;

/// Longest name that is compared; none that is valid is longer.
const MAX_BYTES: usize = 128;

/// Fewest letters that say which model may be meant.
const MIN_LETTERS: usize = 3;

/// Least likeness of names that differ by slips of the finger; 1 is the same name.
const MIN_LIKENESS: f64 = 0.75;

/// The same of words, which are short: half of the letters.
const MIN_LIKENESS_OF_WORDS: f64 = 0.5;

/// The same outcome; where a name was not found, with a hint that names what is nearest.
pub async fn advised<T>(client: &Client, wanted: &str, outcome: Result<T, Failure>) -> Result<T, Failure> {
    let error = match outcome {
        Err(Failure::Client(error)) => error,
        other => return other,
    };
    let hint = match error {
        Error::Rpc { kind: Some(kind), .. } => tokio::time::timeout(PATIENCE, hint(client, wanted, kind)).await,
        _ => Ok(None),
    };
    Err(match hint {
        Ok(Some(hint)) => Failure::Advised { error, hint },
        // A daemon that does not say what it has is no reason to hold the error back.
        Ok(None) | Err(_) => error.into(),
    })
}

/// The same outcome; of what a request lacks or has wrong, with the option of this command that sets it.
pub fn hinted<T>(outcome: Result<T, Failure>, hint: &str) -> Result<T, Failure> {
    outcome.map_err(|failure| match failure {
        Failure::Client(error @ Error::Rpc { kind: Some(Kind::InvalidParams), .. }) => {
            Failure::Advised { error, hint: hint.to_owned() }
        }
        failure => failure,
    })
}

async fn hint(client: &Client, wanted: &str, kind: Kind) -> Option<String> {
    match kind {
        Kind::ModelNotFound => match did_you_mean(wanted, &installed(client).await) {
            Some(question) => Some(format!("{question} `talkiectl models` lists what is installed")),
            None => of_catalogue(wanted, &catalogue(client).await),
        },
        Kind::RepositoryNotFound => {
            let known = [catalogue(client).await, installed(client).await].concat();
            let question = did_you_mean(wanted, &known)?;
            Some(format!("{question} `talkiectl catalogue` lists models that are known to work"))
        }
        Kind::PullNotFound => {
            let pulls = PullsClient::list(&**client).await.ok()?.pulls.into_iter().map(|pull| pull.model);
            let question = did_you_mean(wanted, &pulls.collect::<Vec<_>>())?;
            Some(format!("{question} `talkiectl pulls` lists the downloads"))
        }
        _ => None,
    }
}

async fn installed(client: &Client) -> Vec<ModelId> {
    let listed = ModelsClient::list(&**client).await.map(|list| list.models).unwrap_or_default();
    listed.into_iter().map(|model| model.id).collect()
}

async fn catalogue(client: &Client) -> Vec<ModelId> {
    let listed = client.catalogue().await.map(|catalogue| catalogue.models).unwrap_or_default();
    listed.into_iter().map(|model| model.id).collect()
}

fn did_you_mean(wanted: &str, known: &[ModelId]) -> Option<String> {
    let mut names = nearest(wanted, known);
    names.retain(|name| *name != wanted);
    let (last, others) = names.split_last()?;
    let others = if others.is_empty() { String::new() } else { format!("{} or ", others.join(", ")) };
    Some(format!("did you mean {others}{last}?"))
}

fn of_catalogue(wanted: &str, known: &[ModelId]) -> Option<String> {
    if known.iter().any(|id| id.0 == wanted) {
        return Some(format!("it is not installed; `talkiectl pull {wanted}` downloads it"));
    }
    Some(format!("{} `talkiectl pull MODEL` downloads it", did_you_mean(wanted, known)?))
}

/// The names most like the one that was wanted, best first: those that differ in the org or in case alone; where there
/// are none, those with all its words; where there are none of these either, those with nearly its letters.
fn nearest<'a>(wanted: &str, known: &'a [ModelId]) -> Vec<&'a str> {
    let alike = |rule: &fn(&Name, &Name) -> f64| {
        let wanted = Name::of(wanted)?;
        let scored = known.iter().filter_map(|id| Some((rule(&wanted, &Name::of(&id.0)?), &*id.0)));
        let mut scored: Vec<(f64, &str)> = scored.filter(|(likeness, _)| *likeness >= MIN_LIKENESS).collect();
        // Equal ones keep the order of the list.
        scored.sort_by(|(a, _), (b, _)| b.total_cmp(a));
        let mut names: Vec<&str> = Vec::new();
        for (_, name) in scored {
            if !names.contains(&name) && names.len() < MAX_NAMES {
                names.push(name);
            }
        }
        Some(names).filter(|names| !names.is_empty())
    };
    let rules: [fn(&Name, &Name) -> f64; 3] = [by_bare_name, by_words, by_letters];
    rules.iter().find_map(alike).unwrap_or_default()
}

/// The word of a few that was probably meant.
pub fn word<'a>(wanted: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let wanted = Some(wanted).filter(|wanted| wanted.len() <= MAX_BYTES)?.to_lowercase();
    let begun = |word: &str| word.starts_with(&wanted) || wanted.starts_with(word);
    let likeness = |word: &str| {
        if begun(word) { 1.0 } else { strsim::normalized_damerau_levenshtein(&wanted, word) }
    };
    let scored = known.map(|word| (likeness(word), word)).filter(|(likeness, _)| *likeness >= MIN_LIKENESS_OF_WORDS);
    scored.max_by(|(a, _), (b, _)| a.total_cmp(b)).map(|(_, word)| word)
}

/// An id as it is compared: in lower case, with and without its org.
struct Name {
    whole: String,
    bare: String,
}

impl Name {
    /// `None` for what is longer than any id.
    fn of(id: &str) -> Option<Self> {
        let whole = id.to_lowercase();
        let bare = whole.rsplit('/').next().unwrap_or_default().to_owned();
        (id.len() <= MAX_BYTES).then_some(Self { whole, bare })
    }
}

fn by_bare_name(wanted: &Name, known: &Name) -> f64 {
    f64::from(u8::from(wanted.bare == known.bare))
}

/// `llama-3b` has its words in `org/Llama-3.2-3B-Instruct`.
fn by_words(wanted: &Name, known: &Name) -> f64 {
    let is_separator = |c: char| matches!(c, '-' | '_' | '/' | ' ' | ':');
    let has = |word: &str| known.whole.split(is_separator).any(|of_known| of_known.starts_with(word));
    let all = wanted.bare.split(is_separator).filter(|word| !word.is_empty()).all(has);
    f64::from(u8::from(all && wanted.bare.len() >= MIN_LETTERS))
}

fn by_letters(wanted: &Name, known: &Name) -> f64 {
    let whole = strsim::normalized_damerau_levenshtein(&wanted.whole, &known.whole);
    whole.max(strsim::normalized_damerau_levenshtein(&wanted.bare, &known.bare))
}

#[cfg(test)]
#[path = "suggest_tests.rs"]
mod tests;
