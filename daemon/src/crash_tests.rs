use tempfile::TempDir;

use super::*;

fn written(home: &TempDir) -> Vec<String> {
    let Ok(entries) = fs::read_dir(home.path().join("crashes")) else { return Vec::new() };
    let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths.iter().map(|path| fs::read_to_string(path).unwrap()).collect()
}

fn report(what: &str, body: &str) -> Report {
    Report { kind: "engine", what: what.into(), heading: "it said", body: body.into() }
}

#[test]
fn a_report_says_what_when_and_where() {
    use std::os::unix::fs::PermissionsExt;
    let home = TempDir::new().unwrap();
    Reports::new(home.path()).write(&report("an engine\nended", "the end"));
    let text = &written(&home)[0];
    for part in ["what: an engine ended\nwhen: 2", "\ndaemon: talkied ", "\nsystem: ", "\n\nit said:\nthe end\n"] {
        assert!(text.contains(part), "{part:?} is not in {text}");
    }
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let folder = home.path().join("crashes");
    assert_eq!(mode(&folder), 0o700);
    assert_eq!(mode(&fs::read_dir(folder).unwrap().next().unwrap().unwrap().path()), 0o600);
}

#[test]
fn the_same_is_told_once_an_hour_and_a_long_body_is_cut() {
    let home = TempDir::new().unwrap();
    let reports = Reports::new(home.path());
    reports.write(&report("one", &"ä".repeat(LONGEST)));
    reports.write(&report("one", "again"));
    let all = written(&home);
    assert_eq!(all.len(), 1);
    assert!(all[0].len() < LONGEST + 1000, "{}", all[0].len());
}

#[test]
fn the_newest_are_kept() {
    let home = TempDir::new().unwrap();
    let reports = Reports::new(home.path());
    fs::create_dir(home.path().join("crashes")).unwrap();
    for number in 0..30 {
        fs::write(home.path().join(format!("crashes/20200101T0000{number:02}000Z-panic-1.txt")), "").unwrap();
    }
    fs::write(home.path().join("crashes/notes.md"), "the user's own").unwrap();
    reports.write(&report("new", ""));
    let names: Vec<_> = fs::read_dir(home.path().join("crashes"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert_eq!(names.len(), KEPT + 1, "{names:?}");
    assert!(names.contains(&"notes.md".into()) && names.contains(&"20200101T000029000Z-panic-1.txt".into()));
}

#[test]
fn a_run_that_ended_in_order_leaves_nothing() {
    let home = TempDir::new().unwrap();
    let reports = Reports::new(home.path());
    drop(Marker::begin(home.path(), &reports).unwrap());
    assert!(!home.path().join("run/talkied.run").exists());
    drop(Marker::begin(home.path(), &reports).unwrap());
    assert_eq!(written(&home).len(), 0);
}

/// The marker of a run whose process is gone.
fn abandoned(home: &TempDir, change: impl FnOnce(&mut serde_json::Value)) {
    let mut run = serde_json::json!({
        "pid": 4711, "version": "0.0.7", "started": "2026-01-01T00:00:00Z", "boot": crate::boot::id(), "is_ending": false,
    });
    change(&mut run);
    fs::create_dir_all(home.path().join("run")).unwrap();
    fs::write(home.path().join("run/talkied.run"), run.to_string()).unwrap();
}

#[test]
fn a_run_that_ended_without_a_word_is_reported_with_the_end_of_its_log() {
    let home = TempDir::new().unwrap();
    abandoned(&home, |_| {});
    fs::create_dir(home.path().join("logs")).unwrap();
    fs::write(home.path().join("logs/talkied.log"), "one\ntwo\n").unwrap();
    let _marker = Marker::begin(home.path(), &Reports::new(home.path())).unwrap();
    let all = written(&home);
    assert_eq!(all.len(), 1);
    assert!(all[0].contains("talkied 0.0.7, process 4711") && all[0].ends_with("log:\none\ntwo\n"), "{}", all[0]);
}

#[test]
fn a_machine_that_went_down_and_an_end_that_was_asked_for_are_no_crashes() {
    for change in [("boot", serde_json::json!("another")), ("is_ending", serde_json::json!(true))] {
        let home = TempDir::new().unwrap();
        abandoned(&home, |run| run[change.0] = change.1);
        drop(Marker::begin(home.path(), &Reports::new(home.path())).unwrap());
        assert_eq!(written(&home).len(), 0);
    }
}

#[test]
fn a_marker_of_a_daemon_that_runs_is_left_alone() {
    let home = TempDir::new().unwrap();
    let reports = Reports::new(home.path());
    let mut first = Marker::begin(home.path(), &reports).unwrap();
    assert!(Marker::begin(home.path(), &reports).is_none());
    first.ending();
    let text = fs::read_to_string(home.path().join("run/talkied.run")).unwrap();
    assert!(text.contains("\"is_ending\":true"), "{text}");
    assert_eq!(written(&home).len(), 0);
}

#[test]
fn a_marker_that_cannot_be_read_is_written_anew() {
    let home = TempDir::new().unwrap();
    fs::create_dir(home.path().join("run")).unwrap();
    fs::write(home.path().join("run/talkied.run"), b"\xff\0 half").unwrap();
    assert!(Marker::begin(home.path(), &Reports::new(home.path())).is_some());
    assert_eq!(written(&home).len(), 0);
}

#[test]
fn the_end_of_a_long_log_is_read_by_whole_lines() {
    let home = TempDir::new().unwrap();
    let path = home.path().join("log");
    let lines: Vec<String> = (0..10_000).map(|number| format!("line {number}")).collect();
    fs::write(&path, lines.join("\n") + "\n").unwrap();
    let tail = last_lines(&path).unwrap();
    assert!(tail.starts_with("line 9940\n") && tail.ends_with("line 9999"), "{tail}");
}

/// No test of its own: the process of the one below, when it starts this program as such.
#[test]
fn panic_twice() {
    let Some(home) = std::env::var_os("PANIC_HOME") else { return };
    watch_panics(Reports::new(Path::new(&home)));
    let text = "a prompt: größe".to_owned();
    for _ in 0..2 {
        std::thread::spawn(|| panic!("words of the program")).join().unwrap_err();
    }
    let cut = std::thread::Builder::new().name("cutter".into()).spawn(move || text[..13].len()).unwrap();
    cut.join().unwrap_err();
}

#[test]
fn a_panic_is_reported_with_its_place_and_without_data() {
    let home = TempDir::new().unwrap();
    let this = std::env::current_exe().unwrap();
    let mut command = std::process::Command::new(this);
    command.args(["--exact", "crash::tests::panic_twice", "--nocapture"]).env("PANIC_HOME", home.path());
    let output = command.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let all = written(&home);
    assert_eq!(all.len(), 2, "{all:?}");
    let of = |words: &str| all.iter().find(|text| text.contains(words)).unwrap();
    assert!(of("words of the program").contains("crash_tests.rs"), "{all:?}");
    let cut = of("in the thread cutter");
    assert!(cut.contains("\nbacktrace:\n") && cut.contains("panic_twice"), "{cut}");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!cut.contains("größe") && !said.contains("größe"), "{cut}{said}");
}
