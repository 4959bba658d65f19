//! Downloads that do not go on by themselves.

use protocol::PullState;

use super::{Patient, Said, fine, problem, quoted};

pub fn check(patient: &Patient) -> Said {
    let pulls = match patient.answers().map(|answers| &answers.pulls) {
        None => return Vec::new(),
        Some(Err(error)) => {
            return vec![problem(format!("talkied cannot list the downloads: {error}"), "talkiectl logs")];
        }
        Some(Ok(pulls)) => pulls,
    };
    let failed = pulls.iter().filter(|pull| pull.state == PullState::Failed).map(|pull| {
        let why = pull.error.as_ref().map_or("it does not say why", |error| &*error.message);
        let id = quoted(&pull.model.0);
        problem(format!("the download of {} failed: {why}", pull.model), format!("talkiectl pulls resume {id}"))
    });
    let failed: Said = failed.collect();
    if failed.is_empty() { vec![fine("none has failed")] } else { failed }
}
