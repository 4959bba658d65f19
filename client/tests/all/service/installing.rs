use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::{Arc, Mutex};

use super::{User, good};
use crate::fake::{Fake, Seen, run};

fn text(path: &Path) -> String {
    fs::read_to_string(path).expect("the file is there")
}

fn mode(path: &Path) -> u32 {
    path.metadata().expect("it is there").permissions().mode() & 0o777
}

#[test]
fn launchd_gets_the_job_once() {
    let user = User::of_launchd();
    insta::assert_snapshot!("launchd_installed", user.anonymous(&good(user.install(&[]))));
    let list = "~/Library/LaunchAgents/dev.talkie.talkied.plist";
    let enable = "launchctl enable gui/UID/dev.talkie.talkied".to_owned();
    let bootstrap = format!("launchctl bootstrap gui/UID {list}");
    assert_eq!(user.told(), [enable.clone(), bootstrap.clone()]);
    assert_eq!(mode(&user.plist()), 0o644);
    let before = text(&user.plist());
    assert!(good(user.install(&[])).contains("nothing was changed"));
    assert_eq!((user.told(), text(&user.plist())), (vec![], before));
    good(user.install(&["--force"]));
    let bootout = "launchctl bootout gui/UID/dev.talkie.talkied".to_owned();
    assert_eq!(user.told(), [bootout, enable, bootstrap], "the old job is gone before the new one is loaded");
}

#[test]
fn systemd_gets_the_units_once() {
    let user = User::of_systemd();
    insta::assert_snapshot!("systemd_installed", user.anonymous(&good(user.install(&[]))));
    let both = "talkied.socket talkied.service";
    let from_reload = [
        "systemctl --user daemon-reload".to_owned(),
        format!("systemctl --user enable {both}"),
        format!("systemctl --user reset-failed {both}"),
        "systemctl --user start talkied.socket".to_owned(),
        "systemctl --user restart talkied.service".to_owned(),
    ];
    let mut first = from_reload.to_vec();
    first.insert(1, format!("systemctl --user stop {both}"));
    assert_eq!(user.told(), first);
    assert!(good(user.install(&[])).contains("nothing was changed"));
    assert_eq!(user.told(), [] as [&str; 0]);
    good(user.install(&["--force"]));
    assert_eq!(user.told(), from_reload, "the socket stays, so that nobody is refused meanwhile");
}

#[test]
fn another_program_or_variable_is_a_change() {
    let user = User::of_systemd();
    good(user.install(&[]));
    user.told();
    let mut command = user.command(&["install", "--program"]);
    command.arg(user.path("bin/talkied")).env("TALKIE_QUEUE", "7 & more");
    good(run(command));
    assert!(text(&user.unit("talkied.service")).contains("\nEnvironment=\"TALKIE_QUEUE=7 & more\"\n"));
    assert!(!user.told().is_empty());
}

#[test]
fn broken_files_of_older_versions_are_replaced() {
    let user = User::of_launchd();
    fs::create_dir_all(user.plist().parent().unwrap()).unwrap();
    fs::write(user.plist(), "<plist><dict><key>Label</key>").unwrap();
    fs::set_permissions(user.plist(), fs::Permissions::from_mode(0o666)).unwrap();
    good(user.install(&[]));
    assert!(text(&user.plist()).ends_with("</plist>\n"));
    assert_eq!(mode(&user.plist()), 0o644);

    let user = User::of_systemd();
    fs::create_dir_all(user.unit("")).unwrap();
    fs::write(user.unit("talkied.service"), [0xff, 0xfe]).unwrap();
    std::os::unix::fs::symlink("/dev/null", user.unit("talkied.socket")).unwrap();
    good(user.install(&[]));
    assert!(text(&user.unit("talkied.service")).contains("ExecStart="));
    assert!(text(&user.unit("talkied.socket")).contains("ListenStream="), "a mask of the user's own is taken off");
}

#[test]
fn folders_are_made_for_the_user_alone() {
    let user = User::of_launchd();
    let mut command = user.command(&["install", "--program"]);
    command.arg(user.path("bin/talkied")).env("TALKIE_HOME", user.path("a b/home"));
    good(run(command));
    for folder in ["a b", "a b/home", "a b/home/logs", "a b/home/run", "Library/LaunchAgents"] {
        assert_eq!(mode(&user.path(folder)), 0o700, "{folder}");
    }
    let list = text(&user.plist());
    assert!(list.contains(&format!("<string>{}</string>", user.path("a b/home/run/talkied.sock").display())), "{list}");
}

#[test]
fn a_dry_run_shows_everything_and_does_nothing() {
    for (user, name) in [(User::of_launchd(), "launchd_dry_run"), (User::of_systemd(), "systemd_dry_run")] {
        let shown = good(user.install(&["--dry-run"]));
        insta::assert_snapshot!(name, user.anonymous(&shown));
        assert_eq!(user.told(), [] as [&str; 0]);
        assert!(!user.path("home").exists() && !user.plist().exists() && !user.unit("talkied.socket").exists());
        let json: serde_json::Value = serde_json::from_str(&good(user.install(&["--dry-run", "--json"]))).unwrap();
        assert_eq!(json["dry_run"], true);
        assert!(json["steps"].as_array().unwrap().iter().any(|step| step["do"] == "run"), "{json}");
    }
}

#[test]
fn a_daemon_that_runs_already_ends_before_the_manager_listens() {
    let order = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&order);
    let user = User::of_systemd();
    let calls = user.path("calls");
    let fake = Fake::new(move |call| {
        seen.lock().unwrap().push((call.method().to_owned(), fs::read_to_string(&calls).unwrap_or_default()));
        call.result(&serde_json::Value::Null);
        call.hang_up();
    });
    let mut command = user.command(&["install", "--program"]);
    command.arg(user.path("bin/talkied")).arg("--socket").arg(&fake.socket);
    good(run(command));
    assert!(matches!(fake.sees(), Seen::Call(_)));
    let order = order.lock().unwrap();
    assert_eq!(order[0].0, "daemon.shutdown");
    assert!(!order[0].1.contains("start talkied.socket"), "{}", order[0].1);
    assert!(user.told().contains(&"systemctl --user start talkied.socket".into()));
}

#[test]
fn uninstalling_leaves_models_and_says_where() {
    for user in [User::of_launchd(), User::of_systemd()] {
        assert!(good(user.service(&["uninstall"])).contains("nothing was changed"));
        assert_eq!(user.told(), [] as [&str; 0]);
        good(user.install(&[]));
        user.told();
        let said = good(user.service(&["uninstall"]));
        assert!(said.contains("its models are still in ") && said.contains("Models/MLX"), "{said}");
        assert!(!user.plist().exists() && !user.unit("talkied.socket").exists());
        assert!(!user.unit("talkied.service").exists());
        let told = user.told().join("\n");
        assert!(told.contains("bootout") || (told.contains("stop") && told.contains("disable")), "{told}");
        assert!(good(user.service(&["uninstall"])).contains("nothing was changed"));
    }
}

#[test]
fn launchd_stops_starts_and_restarts_it() {
    let user = User::of_launchd();
    good(user.install(&[]));
    user.told();
    let target = "gui/UID/dev.talkie.talkied";
    good(user.service(&["restart"]));
    let drained = [format!("launchctl kill SIGTERM {target}"), format!("launchctl kickstart {target}")];
    assert_eq!(user.told(), drained, "it is asked to end, not killed, and launchd keeps the socket");
    good(user.service(&["stop"]));
    assert_eq!(user.told(), [format!("launchctl bootout {target}")]);
    assert!(good(user.service(&["stop"])).contains("does not run"));
    good(user.service(&["start"]));
    assert_eq!(user.told(), ["launchctl bootstrap gui/UID ~/Library/LaunchAgents/dev.talkie.talkied.plist"]);
}

#[test]
fn systemd_stops_starts_and_restarts_it() {
    let user = User::of_systemd();
    good(user.install(&[]));
    user.told();
    good(user.service(&["restart"]));
    assert_eq!(user.told(), ["systemctl --user restart talkied.service"]);
    good(user.service(&["stop"]));
    assert_eq!(user.told(), ["systemctl --user stop talkied.socket talkied.service"]);
    good(user.service(&["restart"]));
    let started = [
        "systemctl --user reset-failed talkied.socket talkied.service",
        "systemctl --user start talkied.socket",
        "systemctl --user start talkied.service",
    ];
    assert_eq!(user.told(), started);
}
