//! Downloads that do not go on by themselves.

use protocol::error::Fault;
use protocol::{Kind, Pull, PullState};

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
        problem(format!("the download of {} failed: {why}", pull.model), mend(pull))
    });
    let failed: Said = failed.collect();
    if failed.is_empty() { vec![fine("none has failed")] } else { failed }
}

/// It goes on, unless it cannot: what the hub does not have will not come. A token may be given meanwhile.
fn mend(pull: &Pull) -> String {
    let kind = pull.error.as_ref().map(|error| error.kind);
    let is_vain = kind.is_some_and(|kind| kind.fault() == Fault::Caller && kind != Kind::AccessDenied);
    let what = if is_vain { "cancel" } else { "resume" };
    format!("talkiectl pulls {what} {}", quoted(&pull.model.0))
}
