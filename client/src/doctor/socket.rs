//! The socket: its path, its folder, and what lies there.

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use protocol::paths::{MAX_SOCKET_PATH, SOCKET_VARIABLE};

use super::files::{mode, move_aside, private};
use super::patient::Daemon;
use super::{Patient, Said, fine, problem, quoted, warning};

pub fn check(patient: &Patient) -> Said {
    let socket = &patient.paths.socket;
    let shown = socket.display();
    let length = socket.as_os_str().len();
    if length > MAX_SOCKET_PATH {
        let what = format!("the path {shown} has {length} bytes, and a socket's may have {MAX_SOCKET_PATH}");
        return vec![problem(what, elsewhere())];
    }
    let mut said = folder(socket.parent().unwrap_or(Path::new("/")));
    match fs::symlink_metadata(socket) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            said.push(fine(format!("{shown} is made when talkied runs")));
        }
        Err(error) => said.push(problem(format!("{shown} cannot be looked at: {error}"), elsewhere())),
        Ok(found) if !found.file_type().is_socket() => {
            said.push(problem(format!("{shown} is no socket: another file lies there"), move_aside(socket)));
        }
        Ok(found) => said.extend(file(socket, &found, &patient.daemon)),
    }
    if said.len() > 1 {
        said.retain(|(severity, ..)| *severity != super::Severity::Ok);
    }
    said
}

fn file(socket: &Path, found: &fs::Metadata, daemon: &Daemon) -> Said {
    let shown = socket.display();
    let own = rustix::process::geteuid().as_raw();
    if found.uid() != own {
        let what = format!("{shown} belongs to user {}, and you are user {own}", found.uid());
        return vec![problem(what, elsewhere())];
    }
    if matches!(daemon, Daemon::Absent) {
        let what = format!("{shown} was left there by a talkied that is gone; the next one replaces it");
        return vec![warning(what, format!("rm {}", quoted(socket)))];
    }
    let said = private(socket, found, "they could talk to talkied, were it not for the check of who they are");
    if said.is_empty() { vec![fine(format!("{shown} is yours alone"))] } else { said }
}

/// The daemon tightens its own folder, but refuses one that it was told of and in which others can write.
fn folder(folder: &Path) -> Said {
    let Ok(found) = fs::metadata(folder) else { return Vec::new() };
    let (own, shown) = (rustix::process::geteuid().as_raw(), folder.display());
    if found.uid() != own && found.uid() != 0 {
        let what = format!("the socket's folder {shown} belongs to user {}, who could replace the socket", found.uid());
        return vec![problem(what, elsewhere())];
    }
    if mode(&found) & 0o022 != 0 {
        let what = format!("others can write to the socket's folder {shown} (mode {:o})", mode(&found));
        return vec![problem(what, format!("chmod go-w {}", quoted(folder)))];
    }
    Vec::new()
}

fn elsewhere() -> String {
    format!("export {SOCKET_VARIABLE}=~/.talkied.sock")
}
