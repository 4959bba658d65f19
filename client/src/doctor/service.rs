//! talkied as a service of the login: nothing, where it was never made one.

use talkiectl::service::Status;

use super::{Patient, Said, SaidOne, fine, problem, warning};

pub fn check(patient: &Patient) -> Said {
    match &patient.service {
        None => vec![fine("talkied is no service of this login; `talkiectl service install` makes it one")],
        Some(Err(error)) => vec![warning(error.to_string(), "talkiectl service status")],
        Some(Ok(status)) => vec![state(status)],
    }
}

fn state(status: &Status) -> SaidOne {
    let manager = status.manager.name();
    if !status.installed {
        return problem(format!("a part of the service of {manager} is missing"), "talkiectl service install");
    }
    if !status.current {
        let what = format!("the service of {manager} is not as this version writes it");
        return problem(what, "talkiectl service install");
    }
    if let Some(what) = status.problems.first() {
        return problem(what, "talkiectl service install --force");
    }
    if !status.listens {
        return problem(format!("the service is installed, but {manager} does not listen"), "talkiectl service start");
    }
    if status.at_login == Some(false) {
        let what = format!("the service is installed, but {manager} does not start it at login");
        return warning(what, "talkiectl service install --force");
    }
    fine(format!("talkied is a service of {manager}"))
}
