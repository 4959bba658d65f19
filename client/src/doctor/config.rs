//! The settings: whether talkied would start with them.

use super::patient::Settings;
use super::{Patient, Said, fine, problem, quoted};

pub fn check(patient: &Patient) -> Said {
    match &patient.settings {
        // Without the program nobody knows; another check says that it is not there.
        None => Vec::new(),
        Some(Settings { wrong, .. }) if wrong.is_empty() => vec![fine("the settings are right")],
        Some(Settings { file, wrong }) => {
            let mend = |what: &str| match variable(what) {
                Some(name) => format!("unset {name}"),
                None => format!("${{EDITOR:-vi}} {}", quoted(file)),
            };
            wrong.iter().map(|what| problem(what, mend(what))).collect()
        }
    }
}

/// The variable that is wrong, where it is one and not the file.
fn variable(what: &str) -> Option<&str> {
    let (name, _) = what.split_once(" is ")?;
    let is_variable = |name: &str| name.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_');
    (!name.is_empty() && is_variable(name)).then_some(name)
}
