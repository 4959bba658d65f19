//! The daemon's process: whether it answers, and whether it is the one that is installed.

use std::fs;

use protocol::Welcome;

use super::patient::{Answers, Daemon};
use super::{Patient, Said, THIS, fine, problem, quoted, warning};

pub fn check(patient: &Patient) -> Said {
    match &patient.daemon {
        Daemon::Absent => absent(patient),
        Daemon::Silent(patience) => {
            let what = format!("talkied takes connections, but says nothing for {} s", patience.as_secs());
            vec![problem(what, end_of(patient))]
        }
        Daemon::Failed(error) => {
            vec![problem(error.to_string(), error.hint().unwrap_or_else(|| "talkiectl stop".into()))]
        }
        Daemon::Answers(answers) => running(patient, answers),
    }
}

fn absent(patient: &Patient) -> Said {
    let path = &patient.program.path;
    match &patient.program.said {
        Ok(_) => vec![fine("talkied does not run; commands that need it start it")],
        Err(why) if path.is_file() => {
            let what = format!("{} cannot be run: {why}", path.display());
            vec![problem(what, format!("chmod +x {}", quoted(path)))]
        }
        Err(why) => {
            let what = format!("no talkied is beside talkiectl or on the PATH: {} ({why})", path.display());
            vec![problem(what, "cargo build --release -p talkied -p talkiectl")]
        }
    }
}

fn running(patient: &Patient, answers: &Answers) -> Said {
    let Welcome { version, pid, .. } = &answers.welcome;
    let installed = patient.program.release.as_ref().filter(|release| *release != version);
    if let Some(installed) = installed {
        let what = format!("talkied {version} runs (process {pid}), but {installed} is installed");
        return vec![warning(what, "talkiectl stop")];
    }
    if version != THIS {
        let what =
            format!("talkied is {version}, talkiectl {THIS}: they understand each other, but one lacks something");
        return vec![warning(what, "cargo build --release -p talkied -p talkiectl")];
    }
    if was_replaced(*pid) {
        let what = format!(
            "the program of the talkied that runs (process {pid}) is no longer on the disk: another replaced it"
        );
        return vec![warning(what, "talkiectl stop")];
    }
    vec![fine(format!("talkied {version} answers (process {pid})"))]
}

/// Whether a process runs a program that was deleted or replaced; Linux alone tells.
fn was_replaced(pid: u32) -> bool {
    fs::read_link(format!("/proc/{pid}/exe")).is_ok_and(|program| program.to_string_lossy().ends_with(" (deleted)"))
}

/// The command that ends a daemon that does not listen to reason: its process stands in the lock beside the socket.
fn end_of(patient: &Patient) -> String {
    let mut lock = patient.paths.socket.clone().into_os_string();
    lock.push(".lock");
    let pid = fs::read_to_string(lock).ok().and_then(|text| text.trim().parse::<u32>().ok());
    pid.map_or_else(|| "talkiectl stop".into(), |pid| format!("kill -9 {pid}"))
}
