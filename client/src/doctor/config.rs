//! The settings: whether talkied would start with them.

use super::patient::Settings;
use super::{Patient, Said, fine, problem, quoted};

pub fn check(patient: &Patient) -> Said {
    match &patient.settings {
        // Without the program nobody knows; another check says that it is not there.
        None => Vec::new(),
        Some(Settings { wrong, .. }) if wrong.is_empty() => vec![fine("the settings are right")],
        Some(Settings { file, wrong }) => {
            let editor = format!("${{EDITOR:-vi}} {}", quoted(file));
            wrong.iter().map(|what| problem(what, &editor)).collect()
        }
    }
}
