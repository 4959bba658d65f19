//! Keys of servers: there where they are needed, and nobody else's to read.

use std::fs;

use protocol::{KeyStatus, Provider, Unavailable};

use super::files::private;
use super::{Patient, Said, SaidOne, Severity, fine, problem, quoted, warning};

/// Longest `providers.toml` that is looked at, in bytes.
const LONGEST: u64 = 1 << 20;

pub fn check(patient: &Patient) -> Said {
    let mut said = files(patient);
    let wanted = wanted(patient);
    match patient.answers().map(|answers| &answers.providers) {
        None => {}
        Some(Err(error)) => said.push(problem(format!("talkied cannot list who answers: {error}"), "talkiectl logs")),
        Some(Ok(providers)) => said.extend(providers.iter().filter_map(|provider| without(provider, &wanted))),
    }
    if said.is_empty() { vec![fine("nobody else can read them, and none is missing")] } else { said }
}

/// A key that others can read is not used by the daemon, so here that is no mere warning.
fn files(patient: &Patient) -> Said {
    let Ok(entries) = fs::read_dir(patient.paths.home.join("keys")) else { return Vec::new() };
    let mut paths: Vec<_> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    paths.sort();
    let found = paths.iter().filter_map(|path| Some((path, fs::metadata(path).ok()?)));
    let said =
        found.flat_map(|(path, found)| private(path, &found, "they can read the key, so talkied does not use it"));
    said.map(|(_, what, fix)| (Severity::Problem, what, fix)).collect()
}

/// What the user's own file says of servers. Those that come with talkied need no key until somebody wants them.
fn wanted(patient: &Patient) -> String {
    let path = patient.paths.home.join("providers.toml");
    let is_short = fs::metadata(&path).is_ok_and(|found| found.is_file() && found.len() <= LONGEST);
    if is_short { fs::read_to_string(path).unwrap_or_default() } else { String::new() }
}

fn without(provider: &Provider, wanted: &str) -> Option<SaidOne> {
    let is_wanted =
        wanted.split(|c: char| !c.is_ascii_alphanumeric() && c != '-' && c != '_').any(|word| word == provider.id.0);
    let lacks = provider.key == KeyStatus::Missing && provider.availability.reason == Some(Unavailable::NotConfigured);
    let what = format!("{} has no key, though providers.toml names it", provider.id);
    (is_wanted && lacks).then(|| warning(what, format!("talkiectl providers set-key {}", quoted(&provider.id.0))))
}
