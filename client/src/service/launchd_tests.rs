use plist::{Dictionary, Value};

use super::*;
use crate::service::job::tests::nasty;

/// What launchd.plist(5) knows of a job, with the type it wants. Those that a job of ours could ever have.
const KEYS: [(&str, Kind); 45] = [
    ("Label", Kind::Text),
    ("Disabled", Kind::Flag),
    ("UserName", Kind::Text),
    ("GroupName", Kind::Text),
    ("inetdCompatibility", Kind::Table),
    ("LimitLoadToHosts", Kind::List),
    ("LimitLoadFromHosts", Kind::List),
    ("LimitLoadToSessionType", Kind::Text),
    ("LimitLoadToHardware", Kind::Table),
    ("LimitLoadFromHardware", Kind::Table),
    ("Program", Kind::Text),
    ("BundleProgram", Kind::Text),
    ("ProgramArguments", Kind::List),
    ("EnableGlobbing", Kind::Flag),
    ("EnableTransactions", Kind::Flag),
    ("EnablePressuredExit", Kind::Flag),
    ("KeepAlive", Kind::Table),
    ("RunAtLoad", Kind::Flag),
    ("RootDirectory", Kind::Text),
    ("WorkingDirectory", Kind::Text),
    ("EnvironmentVariables", Kind::Table),
    ("Umask", Kind::Number),
    ("TimeOut", Kind::Number),
    ("ExitTimeOut", Kind::Number),
    ("ThrottleInterval", Kind::Number),
    ("InitGroups", Kind::Flag),
    ("WatchPaths", Kind::List),
    ("QueueDirectories", Kind::List),
    ("StartOnMount", Kind::Flag),
    ("StartInterval", Kind::Number),
    ("StartCalendarInterval", Kind::Table),
    ("StandardInPath", Kind::Text),
    ("StandardOutPath", Kind::Text),
    ("StandardErrorPath", Kind::Text),
    ("Debug", Kind::Flag),
    ("WaitForDebugger", Kind::Flag),
    ("SoftResourceLimits", Kind::Table),
    ("HardResourceLimits", Kind::Table),
    ("Nice", Kind::Number),
    ("ProcessType", Kind::Text),
    ("AbandonProcessGroup", Kind::Flag),
    ("LowPriorityIO", Kind::Flag),
    ("LaunchOnlyOnce", Kind::Flag),
    ("MachServices", Kind::Table),
    ("Sockets", Kind::Table),
];

const KEEP_ALIVE_KEYS: [(&str, Kind); 5] = [
    ("SuccessfulExit", Kind::Flag),
    ("NetworkState", Kind::Flag),
    ("PathState", Kind::Table),
    ("OtherJobEnabled", Kind::Table),
    ("Crashed", Kind::Flag),
];

const SOCKET_KEYS: [(&str, Kind); 12] = [
    ("SockType", Kind::Text),
    ("SockPassive", Kind::Flag),
    ("SockNodeName", Kind::Text),
    ("SockServiceName", Kind::Text),
    ("SockFamily", Kind::Text),
    ("SockProtocol", Kind::Text),
    ("SockPathName", Kind::Text),
    ("SecureSocketWithKey", Kind::Text),
    ("SockPathOwner", Kind::Number),
    ("SockPathGroup", Kind::Number),
    ("SockPathMode", Kind::Number),
    ("MulticastGroup", Kind::Text),
];

#[derive(Debug, Clone, Copy, PartialEq)]
enum Kind {
    Text,
    Flag,
    Number,
    List,
    Table,
}

fn kind(value: &Value) -> Kind {
    match value {
        Value::String(_) => Kind::Text,
        Value::Boolean(_) => Kind::Flag,
        Value::Integer(_) => Kind::Number,
        Value::Array(_) => Kind::List,
        Value::Dictionary(_) => Kind::Table,
        other => panic!("launchd takes no {other:?}"),
    }
}

fn check(table: &Dictionary, known: &[(&str, Kind)]) {
    for (key, value) in table {
        let wanted = known.iter().find(|(name, _)| name == key).unwrap_or_else(|| panic!("launchd knows no {key}"));
        assert_eq!(kind(value), wanted.1, "{key}");
    }
}

fn written(job: &Job) -> Dictionary {
    let file = file(Path::new("/Users/x"), job).unwrap();
    let read = Value::from_reader_xml(file.text.as_bytes()).expect("a property list");
    read.into_dictionary().expect("a dictionary")
}

fn table<'a>(table: &'a Dictionary, key: &str) -> &'a Dictionary {
    table[key].as_dictionary().expect("a dictionary")
}

#[test]
fn launchd_knows_every_key_and_takes_its_type() {
    let list = written(&nasty());
    check(&list, &KEYS);
    check(table(&list, "KeepAlive"), &KEEP_ALIVE_KEYS);
    check(table(table(&list, "Sockets"), "rpc"), &SOCKET_KEYS);
    for (name, value) in table(&list, "EnvironmentVariables") {
        assert_eq!(kind(value), Kind::Text, "{name}");
    }
}

#[test]
fn what_is_written_is_what_was_meant_whatever_is_in_it() {
    let job = nasty();
    let list = written(&job);
    let program = list["ProgramArguments"].as_array().unwrap();
    assert_eq!(program, &[Value::from(job.program.to_str().unwrap())]);
    assert_eq!(table(table(&list, "Sockets"), "rpc")["SockPathName"].as_string(), job.socket.to_str());
    assert_eq!(list["StandardOutPath"].as_string(), job.log().to_str());
    let variables: Vec<(String, String)> = table(&list, "EnvironmentVariables")
        .iter()
        .map(|(name, value)| (name.clone(), value.as_string().unwrap().to_owned()))
        .collect();
    assert_eq!(variables, job.environment);
}

#[test]
fn it_listens_for_its_user_alone_and_comes_back_after_a_failure_only() {
    let list = written(&nasty());
    let number = |value: &Value| value.as_signed_integer();
    assert_eq!(number(&table(table(&list, "Sockets"), "rpc")["SockPathMode"]), Some(0o600));
    assert_eq!(number(&list["Umask"]), Some(0o077));
    assert_eq!(table(&list, "KeepAlive")["SuccessfulExit"].as_boolean(), Some(false));
    assert_eq!(list["ProcessType"].as_string(), Some("Interactive"));
}

#[test]
fn an_installed_list_is_read_back_and_another_is_not() {
    let home = tempfile::tempdir().unwrap();
    let job = nasty();
    let file = file(home.path(), &job).unwrap();
    assert_eq!(read(home.path()), None);
    files::write(&file).unwrap();
    assert_eq!(read(home.path()), Some(Found { program: job.program, socket: job.socket }));
    std::fs::write(&file.path, file.text.replace("<integer>384</integer>", "<integer>438</integer>")).unwrap();
    assert_eq!(read(home.path()), None);
}

#[test]
fn a_job_that_runs_is_read_from_what_launchctl_prints() {
    let printed = "gui/501/dev.talkie.talkied = {\n\tactive count = 2\n\tpath = /x.plist\n\tstate = running\n\n\t\
                   program = /usr/local/bin/talkied\n\tpid = 4711\n\truns = 3\n\tlast exit code = 78: EX_CONFIG\n\n\t\
                   sockets = {\n\t\t\"rpc\" = {\n\t\t\tpid = 1\n\t\t}\n\t}\n}\n";
    let loaded = parsed(printed);
    assert_eq!((loaded.known, loaded.pid), (true, Some(4711)));
    assert_eq!(loaded.last_end.as_deref(), Some("exit code 78: EX_CONFIG"));
    let fresh = parsed("x = {\n\tstate = not running\n\tlast exit code = (never exited)\n}\n");
    assert_eq!((fresh.pid, fresh.last_end), (None, None));
    let killed = parsed("x = {\n\tlast terminating signal = Killed: 9\n}\n");
    assert_eq!(killed.last_end.as_deref(), Some("signal Killed: 9"));
}

#[test]
fn a_disabled_job_is_seen_in_both_spellings() {
    for (state, disabled) in [("true", true), ("disabled", true), ("false", false), ("enabled", false)] {
        let printed = format!("disabled services = {{\n\t\"com.x\" => true\n\t\"dev.talkie.talkied\" => {state}\n}}\n");
        assert_eq!(is_disabled(&printed), disabled, "{state}");
    }
    assert!(!is_disabled("disabled services = {\n}\n"));
}

#[test]
fn every_known_refusal_says_the_way_out() {
    for (code, words, way_out) in [
        (5, "Bootstrap failed: 5: Input/output error", "service install --force"),
        (17, "Bootstrap failed: 17: File exists", "bootout"),
        (37, "Bootstrap failed: 37: Operation already in progress", "wait"),
        (113, "Could not find service \"dev.talkie.talkied\" in domain for user gui: 501", "service install"),
        (119, "Bootstrap failed: 119: Service is disabled", "launchctl enable gui/"),
        (125, "Bootstrap failed: 125: Domain does not support specified action", "ssh"),
        (1, "Boot-out failed: 1: Operation not permitted", "sudo"),
        (
            150,
            "Bootstrap failed: 150: Operation not permitted while System Integrity Protection is engaged",
            "Login Items",
        ),
        (99, "Something new", "launchctl error 99"),
    ] {
        let hint = hint(code, words);
        assert!(hint.contains(way_out), "{code}: {hint}");
        assert!(!hint.contains("  "), "{hint}");
    }
}
