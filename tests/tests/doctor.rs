//! `talkiectl doctor` finds what was planted, names it, and says the command that mends it. Where the command can be run
//! here it is, and then nothing is found any more.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::Command;

use rustix::process::Signal;
use serde_json::{Value, json};
use talkied_hub::{Hub, Repo};
use tempfile::TempDir;

use crate::support::{Daemon, SMALL_DISK, Stalls, Start, private_folder, program, signal_process, unshared, until};

/// `talkiectl doctor --json` for this home.
fn doctor(home: &Path) -> Command {
    let mut command = Command::new(program("talkiectl"));
    command.env("TALKIE_HOME", home).env_remove("TALKIE_SOCKET").args(["doctor", "--json"]);
    command.env("TALKIE_ENGINE", program("fake-engine")).env("TALKIE_CANDLE", home.join("none"));
    // Whoever runs the tests may have a service.
    command.env("XDG_CONFIG_HOME", home.join("none"));
    command
}

/// What is not well, as (check, severity, what, fix).
fn ills(command: &mut Command) -> Vec<(String, String, String, String)> {
    let output = command.output().unwrap();
    let said: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|_| panic!("no JSON: {}", String::from_utf8_lossy(&output.stderr)));
    let word = |finding: &Value, name: &str| finding[name].as_str().unwrap_or_default().to_owned();
    let ills: Vec<_> = said["findings"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|finding| finding["severity"] != "ok")
        .map(|it| (word(it, "check"), word(it, "severity"), word(it, "what"), word(it, "fix")))
        .collect();
    assert_eq!(output.status.code(), Some(if ills.is_empty() { 0 } else { 6 }), "{said}");
    assert_eq!(said["healthy"], ills.is_empty(), "{said}");
    assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    ills
}

/// Exactly one thing is wrong: of this check, so bad, with these words and this command.
fn finds(command: &mut Command, check: &str, severity: &str, what: &[&str], fix: &str) {
    let ills = ills(command);
    assert_eq!(ills.len(), 1, "{ills:#?}");
    let (in_check, how_bad, words, mend) = &ills[0];
    assert_eq!((&**in_check, &**how_bad), (check, severity), "{ills:#?}");
    for part in what {
        assert!(words.contains(part), "{part:?} is not in {words:?}");
    }
    assert_eq!(mend, fix);
}

fn healthy(daemon: &Daemon) {
    let ills = ills(&mut doctor(daemon.home.path()));
    assert!(ills.is_empty(), "{ills:#?}");
}

/// Runs the command that mends it, as a user would.
fn mend(command: &str) {
    let status = Command::new("sh").args(["-c", command]).status().unwrap();
    assert!(status.success(), "{command}");
}

fn sick_and_well(daemon: &Daemon, check: &str, severity: &str, what: &[&str], fix: &str) {
    finds(&mut doctor(daemon.home.path()), check, severity, what, fix);
    mend(fix);
    healthy(daemon);
}

fn echo() -> Daemon {
    Start::fake().model("test/echo", |_| {}).run()
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn a_healthy_daemon_has_no_findings() {
    let daemon = echo();
    daemon.call("generate.text", json!({ "prompt": "warm" })).unwrap();
    healthy(&daemon);
    let output = doctor(daemon.home.path()).output().unwrap();
    let said: Value = serde_json::from_slice(&output.stdout).unwrap();
    let checks: Vec<&str> =
        said["findings"].as_array().unwrap().iter().map(|it| it["check"].as_str().unwrap()).collect();
    let all = "home config service socket daemon engines models memory pulls keys crashes logs";
    assert_eq!(checks.join(" "), all);
}

#[test]
fn a_home_without_a_daemon_is_healthy_and_none_is_started() {
    let mut daemon = echo();
    daemon.call("daemon.shutdown", json!({})).unwrap();
    daemon.wait();
    healthy(&daemon);
    assert!(!daemon.socket().exists());
}

#[test]
fn the_words_have_the_command_below_each_finding() {
    let daemon = echo();
    set_mode(daemon.home.path(), 0o755);
    let output = daemon.talkiectl(&["doctor"]).env("TALKIE_ENGINE", program("fake-engine")).output().unwrap();
    let words = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(6));
    let home = daemon.home.path().display();
    assert!(words.contains(&format!("mend: chmod go= {home}\n")) && words.ends_with("\n1 warning\n"), "{words}");
    let output =
        daemon.talkiectl(&["doctor", "--quiet"]).env("TALKIE_ENGINE", program("fake-engine")).output().unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap().lines().count(), 2);
}

#[test]
fn finds_a_home_that_is_not_there() {
    let root = private_folder();
    let home = root.path().join("home");
    finds(&mut doctor(&home), "home", "warning", &["is not there", &home.display().to_string()], "talkiectl models");
}

#[test]
fn finds_a_home_that_is_a_file() {
    let root = private_folder();
    let home = root.path().join("home");
    fs::write(&home, "").unwrap();
    let ills = ills(&mut doctor(&home));
    let (_, _, what, fix) = &ills[0];
    assert!(what.contains("is no folder"), "{what}");
    assert_eq!(*fix, format!("mv {0} {0}.old", home.display()));
}

#[test]
fn finds_a_home_whose_disk_is_not_mounted() {
    let root = private_folder();
    let home = root.path().join("home");
    std::os::unix::fs::symlink(root.path().join("disk"), &home).unwrap();
    finds(&mut doctor(&home), "home", "problem", &["is its disk mounted?"], &format!("ls -l {}", home.display()));
}

#[test]
fn finds_a_home_that_is_open_to_others() {
    let daemon = echo();
    set_mode(daemon.home.path(), 0o755);
    let fix = format!("chmod go= {}", daemon.home.path().display());
    sick_and_well(&daemon, "home", "warning", &["open to others (mode 755)"], &fix);
}

#[test]
fn finds_a_home_of_another_user() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let root = private_folder();
    std::os::unix::fs::chown(root.path(), Some(65534), None).unwrap();
    let fix = format!("sudo chown -R 0 {}", root.path().display());
    finds(&mut doctor(root.path()), "home", "problem", &["belongs to user 65534"], &fix);
}

#[test]
fn finds_a_home_that_has_no_room_or_cannot_be_written() {
    let root = private_folder();
    for (script, what, fix) in [
        ("true", "left on its disk", "talkiectl du; talkiectl rm MODEL"),
        ("mount -o remount,ro \"$TALKIE_HOME\"", "on a disk that can only be read", "export TALKIE_HOME=FOLDER"),
    ] {
        let Some(mut shell) = unshared() else { return };
        let plain = doctor(root.path());
        shell.arg("-c").arg(format!("{SMALL_DISK}; {script}; exec \"$0\" \"$@\""));
        shell.arg(plain.get_program()).args(plain.get_args()).env_remove("TALKIE_SOCKET");
        for (name, value) in plain.get_envs().filter_map(|(name, value)| Some((name, value?))) {
            shell.env(name, value);
        }
        let found = ills(&mut shell);
        let right = found.iter().any(|(check, how_bad, words, mend)| {
            check == "home" && how_bad == "problem" && words.contains(what) && mend == fix
        });
        assert!(right, "{what}: {found:#?}");
    }
}

#[test]
fn finds_a_socket_path_that_is_too_long() {
    let daemon = echo();
    let mut command = doctor(daemon.home.path());
    let path = format!("/tmp/{}/t.sock", "x".repeat(120));
    let ills = ills(command.arg("--socket").arg(&path));
    let (check, _, what, fix) = &ills[0];
    assert!(check == "socket" && what.contains("107") || what.contains("103"), "{ills:#?}");
    assert_eq!(fix, "export TALKIE_SOCKET=~/.talkied.sock");
}

#[test]
fn finds_a_foreign_file_at_the_sockets_path() {
    let root = private_folder();
    fs::create_dir(root.path().join("run")).unwrap();
    set_mode(&root.path().join("run"), 0o700);
    let socket = root.path().join("run/talkied.sock");
    fs::write(&socket, "precious").unwrap();
    let fix = format!("mv {0} {0}.old", socket.display());
    finds(&mut doctor(root.path()), "socket", "problem", &["is no socket"], &fix);
    mend(&fix);
    assert_eq!(ills(&mut doctor(root.path())), []);
}

#[test]
fn finds_a_socket_that_a_killed_daemon_left() {
    let mut daemon = echo();
    daemon.signal(Signal::KILL);
    daemon.wait();
    let fix = format!("rm {}", daemon.socket().display());
    sick_and_well(&daemon, "socket", "warning", &["a talkied that is gone"], &fix);
}

#[test]
fn finds_a_socket_that_is_open_to_others() {
    let daemon = echo();
    set_mode(&daemon.socket(), 0o666);
    sick_and_well(&daemon, "socket", "warning", &["mode 666"], &format!("chmod go= {}", daemon.socket().display()));
}

#[test]
fn finds_a_socket_and_a_folder_of_another_user() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let root = private_folder();
    let run = root.path().join("run");
    fs::create_dir(&run).unwrap();
    set_mode(&run, 0o700);
    drop(UnixListener::bind(run.join("talkied.sock")).unwrap());
    let fix = "export TALKIE_SOCKET=~/.talkied.sock";
    std::os::unix::fs::chown(run.join("talkied.sock"), Some(65534), None).unwrap();
    finds(&mut doctor(root.path()), "socket", "problem", &["talkied.sock belongs to user 65534"], fix);
    fs::remove_file(run.join("talkied.sock")).unwrap();
    std::os::unix::fs::chown(&run, Some(65534), None).unwrap();
    finds(&mut doctor(root.path()), "socket", "problem", &["folder", "who could replace the socket"], fix);
}

#[test]
fn finds_a_daemon_that_hangs() {
    let daemon = echo();
    daemon.signal(Signal::STOP);
    let fix = format!("kill -9 {}", daemon.pid());
    finds(&mut doctor(daemon.home.path()), "daemon", "problem", &["takes connections, but says nothing for 5 s"], &fix);
    daemon.signal(Signal::CONT);
    healthy(&daemon);
}

/// A folder with a client and what it takes for the daemon.
fn beside(talkied: &str) -> TempDir {
    let folder = TempDir::new().unwrap();
    fs::copy(program("talkiectl"), folder.path().join("talkiectl")).unwrap();
    fs::write(folder.path().join("talkied"), format!("#!/bin/sh\n{talkied}\n")).unwrap();
    set_mode(&folder.path().join("talkied"), 0o755);
    folder
}

fn doctor_of(folder: &TempDir, home: &Path) -> Command {
    let mut command = Command::new(folder.path().join("talkiectl"));
    command.args(["doctor", "--json"]).env("TALKIE_HOME", home).env_remove("TALKIE_SOCKET");
    command.env("TALKIE_ENGINE", program("fake-engine")).env("TALKIE_CANDLE", home.join("none"));
    // Whoever runs the tests may have a service.
    command.env("XDG_CONFIG_HOME", home.join("none"));
    command
}

#[test]
fn finds_a_daemon_that_is_older_than_what_is_installed() {
    let daemon = echo();
    let folder = beside("echo talkied 99.0.0");
    let what = ["runs (process", "but 99.0.0 is installed"];
    finds(&mut doctor_of(&folder, daemon.home.path()), "daemon", "warning", &what, "talkiectl stop");
}

#[test]
fn finds_a_daemons_program_that_cannot_be_run() {
    let root = private_folder();
    let folder = beside("");
    let talkied = folder.path().join("talkied");
    set_mode(&talkied, 0o644);
    let fix = format!("chmod +x {}", talkied.display());
    finds(&mut doctor_of(&folder, root.path()), "daemon", "problem", &["cannot be run"], &fix);
}

#[test]
fn finds_an_engine_that_is_not_executable() {
    let daemon = echo();
    let engine = daemon.home.path().join("talkied-mlx");
    fs::copy(program("fake-engine"), &engine).unwrap();
    set_mode(&engine, 0o644);
    let fix = format!("chmod +x {}", engine.display());
    let mut command = doctor(daemon.home.path());
    finds(command.env("TALKIE_ENGINE", &engine), "engines", "problem", &["no program that can be run"], &fix);
    mend(&fix);
    let ills = ills(doctor(daemon.home.path()).env("TALKIE_ENGINE", &engine));
    assert!(ills.is_empty(), "{ills:#?}");
}

#[test]
fn finds_that_there_is_no_engine() {
    let daemon = Start::with_engine("/no/such/engine".as_ref()).run();
    let mut command = doctor(daemon.home.path());
    command.env("TALKIE_ENGINE", "/no/such/engine");
    finds(&mut command, "engines", "problem", &["no engine is installed", "/no/such/engine"], "cargo build --release");
}

#[test]
fn finds_an_engine_that_does_not_start() {
    let daemon = echo();
    let engine = daemon.home.path().join("talkied-mlx");
    fs::write(&engine, "#!/bin/sh\necho no driver >&2; exit 1\n").unwrap();
    set_mode(&engine, 0o755);
    let mut command = doctor(daemon.home.path());
    command.env("TALKIE_ENGINE", &engine);
    finds(&mut command, "engines", "problem", &["no driver"], &format!("{} device", engine.display()));
}

#[test]
fn finds_an_engine_of_another_release() {
    let daemon = echo();
    let engine = daemon.home.path().join("talkied-mlx");
    let says = |release: &str| {
        let script = format!("#!/bin/sh\ncase $1 in --version) echo talkied-mlx {release};; *) echo cpu;; esac\n");
        fs::write(&engine, script).unwrap();
        set_mode(&engine, 0o755);
        let mut command = doctor(daemon.home.path());
        command.env("TALKIE_ENGINE", &engine);
        command
    };
    finds(&mut says("0.0.1"), "engines", "warning", &["talkied-mlx is 0.0.1"], "cargo build --release");
    assert!(ills(&mut says(env!("CARGO_PKG_VERSION"))).is_empty());
}

#[test]
fn finds_a_model_that_is_not_whole() {
    let daemon = Start::fake().model("test/cut", |files| files.weights.truncate(9)).run();
    let fix = "talkiectl rm test/cut";
    finds(&mut doctor(daemon.home.path()), "models", "problem", &["test/cut: "], fix);
}

#[test]
fn finds_a_model_that_this_machine_has_no_memory_for() {
    let daemon = echo();
    let catalogue = "[[model]]\nid = \"test/echo\"\nparameters = 9_000_000_000_000\nlayers = 100\nkv_heads = 8\nhead_dim = 128\n\
                     context_length = 4096\nlicense = \"MIT\"\ngood_at = \"tests\"\nmachine_gb = 9000\n";
    fs::write(daemon.home.path().join("catalogue.toml"), catalogue).unwrap();
    let fix = "talkiectl catalogue --fits; talkiectl rm test/echo";
    finds(&mut doctor(daemon.home.path()), "models", "warning", &["test/echo takes", "of memory"], fix);
}

#[test]
fn finds_an_engine_that_keeps_ending() {
    let dies = |files: &mut crate::support::model::Files| files.config["fake"] = json!({ "abort_after": 1 });
    let daemon = Start::fake().model("test/dies", dies).run();
    let ask = || daemon.call("generate.text", json!({ "model": "test/dies", "prompt": "hello" }));
    assert_eq!(ask().unwrap_err()["data"]["kind"], "engine_lost");
    let once = ills(&mut doctor(daemon.home.path()));
    assert!(once.iter().all(|(check, ..)| check == "crashes"), "once is no habit: {once:#?}");
    assert_eq!(ask().unwrap_err()["data"]["kind"], "engine_lost");
    let twice = ills(&mut doctor(daemon.home.path()));
    let (_, severity, what, fix) = twice.iter().find(|(check, ..)| check == "memory").expect("it is found");
    assert_eq!(severity, "problem");
    assert!(what.contains("the engine of test/dies (mlx) ended 2 times in a row"), "{what}");
    assert_eq!(fix, "talkiectl logs; talkiectl generate --model test/dies hello");
}

#[test]
fn finds_that_memory_runs_short() {
    let start = Start::fake();
    let mut stalls = Stalls::none_in(&start.home());
    let stays = |files: &mut crate::support::model::Files| files.config["fake"] = json!({});
    let daemon = start.args(&stalls.option()).model("test/echo", stays).run();
    daemon.call("models.load", json!({ "model": "test/echo", "keep_alive": "forever" })).unwrap();
    stalls.until_noticed(&daemon);
    finds(&mut doctor(daemon.home.path()), "memory", "problem", &["next to no memory left"], "talkiectl ps");
}

#[test]
fn finds_a_model_that_runs_without_its_draft() {
    let echo = |files: &mut crate::support::model::Files| files.config["fake"] = json!({});
    let start = Start::fake().args(&["--draft-models", "test/echo=test/absent"]);
    let daemon = start.model("test/echo", echo).run();
    healthy(&daemon);
    daemon.call("models.load", json!({ "model": "test/echo" })).unwrap();
    let what = ["test/echo runs without its draft test/absent: ", "not installed"];
    let fix = "talkiectl config show; talkiectl pull DRAFT";
    finds(&mut doctor(daemon.home.path()), "memory", "warning", &what, fix);
    let status = daemon.talkiectl(&["status"]).output().unwrap();
    let told = String::from_utf8_lossy(&status.stdout).into_owned();
    assert!(told.contains("test/echo runs without its draft test/absent"), "{told}");
}

#[test]
fn finds_a_download_that_failed() {
    let hub = Hub::start();
    hub.add(Repo::new("org/name", 1).with_model(64 << 20, 1));
    hub.slow(4 << 20);
    let daemon = Start::fake().args(&["--hub", &hub.endpoint()]).with_files_up_to(10 << 20).run();
    daemon.call("pulls.start", json!({ "model": "org/name" })).unwrap();
    until("it fails", || daemon.call("pulls.list", json!({})).unwrap()["pulls"][0]["state"] == "failed");
    let fix = "talkiectl pulls resume org/name";
    finds(&mut doctor(daemon.home.path()), "pulls", "problem", &["org/name", "make room"], fix);
    daemon.call("pulls.cancel", json!({ "model": "org/name" })).unwrap();
    // What is not there does not come by waiting.
    daemon.call("pulls.start", json!({ "model": "org/none" })).unwrap();
    until("it fails", || daemon.call("pulls.list", json!({})).unwrap()["pulls"][0]["state"] == "failed");
    let fix = "talkiectl pulls cancel org/none";
    finds(&mut doctor(daemon.home.path()), "pulls", "problem", &["org/none"], fix);
}

#[test]
fn finds_a_key_that_others_can_read() {
    let daemon = echo();
    let key = daemon.home.path().join("keys/gemini");
    fs::create_dir(key.parent().unwrap()).unwrap();
    fs::write(&key, "not-a-real-key").unwrap();
    set_mode(&key, 0o644);
    let fix = format!("chmod go= {}", key.display());
    let what = ["open to others (mode 644)", "talkied does not use it"];
    finds(&mut doctor(daemon.home.path()), "keys", "problem", &what, &fix);
}

#[test]
fn finds_a_server_that_is_wanted_and_has_no_key() {
    let daemon = echo();
    fs::write(daemon.home.path().join("providers.toml"), "order = [\"gemini\", \"mlx\"]\n").unwrap();
    let fix = "talkiectl providers set-key gemini";
    finds(&mut doctor(daemon.home.path()), "keys", "warning", &["gemini has no key"], fix);
}

#[test]
fn finds_what_broke_and_clears_it() {
    let daemon = echo();
    daemon.call("models.load", json!({ "model": "test/echo" })).unwrap();
    let status = daemon.call("daemon.status", json!({})).unwrap();
    signal_process(status["residents"][0]["residency"]["pid"].as_u64().unwrap() as u32, Signal::KILL);
    until("it is reported", || !crate::crashes::reports(&daemon).is_empty());
    let ills = ills(&mut doctor(daemon.home.path()));
    assert_eq!(ills.len(), 1, "{ills:#?}");
    let (check, _, what, fix) = &ills[0];
    assert!(check == "crashes" && what.contains("signal 9") && what.contains("-engine-"), "{what}");
    assert!(fix.starts_with("less /") && fix.ends_with("; talkiectl doctor --clear"), "{fix}");
    let cleared = daemon.talkiectl(&["doctor", "--clear"]).output().unwrap();
    assert_eq!(String::from_utf8(cleared.stdout).unwrap(), "1 report removed\n");
    healthy(&daemon);
}

#[test]
fn finds_a_folder_of_logs_that_grew() {
    let daemon = echo();
    until("there is a log", || daemon.home.path().join("logs/talkied.log").exists());
    let folder = daemon.home.path().join("logs");
    fs::File::create(folder.join("other.log")).unwrap().set_len(200 << 20).unwrap();
    let fix = format!("ls -lS {0}; rm {0}/FILE", folder.display());
    finds(&mut doctor(daemon.home.path()), "logs", "warning", &["takes 210 MB"], &fix);
}

#[cfg(target_os = "linux")]
#[test]
fn finds_a_daemon_whose_program_was_replaced() {
    let folder = TempDir::new().unwrap();
    let talkied = folder.path().join("talkied");
    fs::copy(program("talkied"), &talkied).unwrap();
    let daemon = Start::fake().of_program(&talkied).run();
    fs::copy(program("talkied"), folder.path().join("new")).unwrap();
    fs::rename(folder.path().join("new"), &talkied).unwrap();
    finds(&mut doctor(daemon.home.path()), "daemon", "warning", &["another replaced it"], "talkiectl stop");
}

#[test]
fn finds_settings_that_keep_it_from_starting() {
    let daemon = echo();
    let file = daemon.home.path().join("config.toml");
    fs::write(&file, "kep_alive = \"5m\"\n").unwrap();
    let fix = format!("${{EDITOR:-vi}} {}", file.display());
    let what = ["config.toml:1:1: ", "keep_alive"];
    finds(&mut doctor(daemon.home.path()), "config", "problem", &what, &fix);
    fs::write(&file, "keep_alive = \"5m\"\n").unwrap();
    healthy(&daemon);
    // What a start would be given, and the file is not to blame for.
    let mut command = doctor(daemon.home.path());
    command.env("TALKIE_QUEUE", "abc");
    finds(&mut command, "config", "problem", &["TALKIE_QUEUE is \"abc\""], "unset TALKIE_QUEUE");
}

#[cfg(target_os = "linux")]
#[test]
fn finds_a_service_of_another_version() {
    let daemon = echo();
    let units = TempDir::new().unwrap();
    let folder = units.path().join("systemd/user");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("talkied.service"), "[Service]\nExecStart=/old/talkied --serve\n").unwrap();
    // A manager that knows nothing of it.
    let answers = units.path().join("systemctl");
    fs::write(&answers, "#!/bin/sh\nexit 0\n").unwrap();
    set_mode(&answers, 0o755);
    let path = format!("{}:{}", units.path().display(), std::env::var("PATH").unwrap());
    let mut command = doctor(daemon.home.path());
    command.env("XDG_CONFIG_HOME", units.path()).env("PATH", path);
    finds(
        &mut command,
        "service",
        "problem",
        &["a part of the service of systemd is missing"],
        "talkiectl service install",
    );
    fs::write(folder.join("talkied.socket"), "[Socket]\nListenStream=/old\n").unwrap();
    finds(&mut command, "service", "problem", &["not as this version writes it"], "talkiectl service install");
}
