use std::fs;

use serde_json::Value;

use super::{User, good};
use crate::fake::run;

fn json(text: &str) -> Value {
    serde_json::from_str(text).expect("one JSON document")
}

#[test]
fn status_tells_what_is_installed_and_runs() {
    for (user, name) in [(User::of_launchd(), "launchd_status"), (User::of_systemd(), "systemd_status")] {
        let place = |command| user.anonymous(&good(run(command)));
        insta::assert_snapshot!(format!("{name}_of_none"), place(user.command(&["status"])));
        let program = user.path("bin/talkied").display().to_string();
        place(user.command(&["install", "--program", &program]));
        insta::assert_snapshot!(name, place(user.command(&["status"])));
        insta::assert_snapshot!(format!("{name}_json"), place(user.command(&["status", "--json"])));
    }
}

#[test]
fn files_of_another_version_are_told() {
    for user in [User::of_launchd(), User::of_systemd()] {
        good(user.install(&[]));
        let file = if user.plist().exists() { user.plist() } else { user.unit("talkied.service") };
        let text = fs::read_to_string(&file).unwrap();
        fs::write(&file, text.replace("talkied, written by", "talkied by").replace("WatchdogSec=30", "")).unwrap();
        let status = json(&good(user.service(&["status", "--json"])));
        assert_eq!((&status["installed"], &status["current"]), (&true.into(), &false.into()));
        assert!(status["problems"][0].as_str().unwrap().contains("service install"), "{status}");
        good(user.install(&[]));
        let status = json(&good(user.service(&["status", "--json"])));
        assert_eq!((&status["current"], &status["problems"]), (&true.into(), &Value::Array(vec![])));
    }
}

#[test]
fn a_program_that_is_gone_is_told() {
    let user = User::of_systemd();
    good(user.install(&[]));
    fs::remove_file(user.path("bin/talkied")).unwrap();
    let status = json(&good(user.service(&["status", "--json"])));
    let problem = status["problems"][0].as_str().unwrap();
    assert!(problem.contains("bin/talkied does not run"), "{problem}");
}

#[test]
fn a_stopped_service_says_how_to_start_it() {
    for user in [User::of_launchd(), User::of_systemd()] {
        good(user.install(&[]));
        good(user.service(&["stop"]));
        let status = good(user.service(&["status"]));
        assert!(status.contains("talkiectl service start"), "{status}");
    }
}

#[test]
fn the_service_listens_where_clients_connect() {
    for user in [User::of_launchd(), User::of_systemd()] {
        let by_default = |arguments: &[&str]| {
            let mut command = user.talkiectl(arguments);
            command.env_remove("TALKIE_HOME");
            run(command)
        };
        let program = user.path("bin/talkied").display().to_string();
        let manager = if user.path("bin/launchctl").exists() { "launchd" } else { "systemd" };
        good(by_default(&["service", "--manager", manager, "install", "--program", &program]));
        let status = json(&good(by_default(&["service", "--manager", manager, "status", "--json"])));
        let listens = status["socket"].as_str().unwrap();
        let ended = by_default(&["ping"]);
        assert!(ended.stderr.contains(&format!("nobody listens on {listens}\n")), "{listens}: {}", ended.stderr);
    }
}
