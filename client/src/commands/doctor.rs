//! `doctor`: what is wrong, and how it is mended.

use serde::Serialize;

use super::Session;
use crate::doctor::{self, Findings, Patient};
use crate::failure::Failure;
use crate::render;

/// Examines; one who is ill is shown, and a failure.
pub async fn doctor(session: &Session, clear: bool) -> Result<(), Failure> {
    if clear {
        return cleared(session);
    }
    let mut progress = session.progress();
    progress.show("looking");
    let patient = Patient::meet(session.paths.clone()).await;
    let findings = doctor::examine(&patient);
    progress.clear();
    let quiet = session.quiet;
    session.print(&findings, |findings: &Findings, _| render::doctor::findings(findings, quiet))?;
    if findings.healthy { Ok(()) } else { Err(Failure::Unwell) }
}

/// What `doctor --clear` has done.
#[derive(Debug, Serialize)]
struct Cleared {
    removed: usize,
}

fn cleared(session: &Session) -> Result<(), Failure> {
    let failed = |source| {
        let path = session.paths.home.join("crashes");
        talkiectl::Error::Io { action: "remove the reports in", path, source }
    };
    let removed = doctor::clear(&session.paths.home).map_err(failed)?;
    session.print(&Cleared { removed }, |cleared, _| match cleared.removed {
        1 => "1 report removed\n".into(),
        count => format!("{count} reports removed\n"),
    })
}
