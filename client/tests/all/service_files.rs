//! The files in `launchd/` name the socket where clients look for it.

use tempfile::TempDir;

use crate::fake::{run, talkiectl};

const PLIST: &str = include_str!("../../../launchd/dev.talkie.talkied.plist");
const SOCKET: &str = include_str!("../../../launchd/talkied.socket");

/// The first text between two others.
fn between<'a>(text: &'a str, before: &str, after: &str) -> &'a str {
    let (_, rest) = text.split_once(before).expect("what stands before");
    rest.split_once(after).expect("what stands after").0
}

#[test]
fn the_service_listens_where_clients_connect() {
    let home = TempDir::new().expect("a directory");
    let place = home.path().display().to_string();
    let listens = if cfg!(target_os = "macos") {
        between(PLIST, "<key>SockPathName</key>\n            <string>", "</string>").replace("@HOME@", &place)
    } else {
        between(SOCKET, "ListenStream=", "\n").replace("%t", &place)
    };
    let mut command = talkiectl(&home, &["ping"]);
    command.env_remove("TALKIE_HOME").env("HOME", &place).env("XDG_RUNTIME_DIR", &place);
    let ended = run(command);
    assert!(ended.stderr.contains(&format!("nobody listens on {listens}\n")), "{listens}: {}", ended.stderr);
}
