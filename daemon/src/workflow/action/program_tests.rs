use std::fs;
use std::path::Path;
use std::time::Instant;

use super::*;

/// More than any of this takes on a machine that is busy, and less than any of the programs would live.
const PATIENCE: Duration = Duration::from_mins(1);

/// A role of this test program, given to it by itself: a script that it runs.
const ROLE: &str = "TALKIE_TEST_RUNS";

fn script(text: &str) -> Call {
    Call {
        path: "/bin/sh".into(),
        arguments: vec!["-c".into(), text.into()],
        environment: BTreeMap::from([("PATH".into(), std::env::var_os("PATH").unwrap_or_default())]),
        secrets: BTreeMap::new(),
        directory: "/".into(),
        stdin: Vec::new(),
        timeout: PATIENCE,
    }
}

fn brief(text: &str) -> Call {
    Call { timeout: Duration::from_millis(300), ..script(text) }
}

async fn ran(call: Call) -> Result<Ran, Broken> {
    let began = Instant::now();
    let ran = run(call, &CancellationToken::new()).await;
    assert!(began.elapsed() < PATIENCE, "it ends in time");
    ran
}

/// Whether a process is no more; one that nobody has waited for is none.
fn is_gone(pid: &str) -> bool {
    let told = std::process::Command::new("ps").args(["-o", "stat=", "-p", pid]).output().expect("ps runs");
    let told = String::from_utf8_lossy(&told.stdout).trim().to_owned();
    told.is_empty() || told.starts_with('Z')
}

/// What stands in a file once it is there whole, with a line end.
async fn line(path: &Path) -> String {
    until(|| fs::read_to_string(path).is_ok_and(|text| text.ends_with('\n'))).await;
    fs::read_to_string(path).expect("it is there").trim().to_owned()
}

async fn until(holds: impl Fn() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < PATIENCE, "it does not come to hold");
        sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn input_goes_in_and_output_comes_back_whole() {
    let input = "0123456789abcdef".repeat(LONGEST_OUTPUT / 16).into_bytes();
    let all = ran(Call { stdin: input.clone(), ..script("cat; echo oh >&2; exit 3") }).await.expect("it runs");
    assert_eq!((all.status.code(), all.printed == input, &*all.said.bytes), (Some(3), true, &b"oh\n"[..]));
    // Who does not read may do so, whether it ends at once or closes its input first.
    for text in ["true", "exec <&-; echo on"] {
        let unread = ran(Call { stdin: input.clone(), ..script(text) }).await.expect("it runs");
        assert!(unread.status.success());
    }
}

#[tokio::test]
async fn one_that_hangs_is_ended_with_its_children() {
    let folder = tempfile::tempdir().expect("a folder");
    let pids = folder.path().join("pids");
    let text = format!("sleep 1000 & echo $$ $! > {}; wait", pids.display());
    assert!(matches!(ran(brief(&text)).await, Err(Broken::TimedOut(_))));
    for pid in line(&pids).await.split(' ') {
        until(|| is_gone(pid)).await;
    }
}

#[tokio::test]
async fn one_that_ignores_sigterm_is_killed() {
    let folder = tempfile::tempdir().expect("a folder");
    let (pid, told) = (folder.path().join("pid"), folder.path().join("told"));
    let loops = "while :; do sleep 0.1; done";
    let text = format!("trap 'echo told > {}' TERM; echo $$ > {}; {loops}", told.display(), pid.display());
    // Its trap must be there before it is told.
    let call = Call { timeout: Duration::from_secs(3), ..script(&text) };
    assert!(matches!(ran(call).await, Err(Broken::TimedOut(_))));
    let pid = line(&pid).await;
    until(|| is_gone(&pid)).await;
    assert_eq!(line(&told).await, "told", "it was asked first");
}

#[tokio::test]
async fn one_that_prints_for_ever_is_ended() {
    for text in ["yes", "trap '' PIPE TERM; while :; do echo on and on; done 2>/dev/null"] {
        assert!(matches!(ran(script(text)).await, Err(Broken::TooMuch(_))), "{text}");
    }
    let endless = "yes on and on >&2 & sleep 0.5; kill $!; wait $!; echo last >&2";
    let said = ran(script(endless)).await.expect("standard error has no bound").said;
    assert!(said.is_cut && said.bytes.len() <= KEPT_ERRORS);
    assert!(said.bytes.ends_with(b"last\n"), "its end is kept");
}

#[tokio::test]
async fn a_grandchild_that_holds_the_pipe_holds_up_nothing() {
    let all = ran(script("(sleep 1000 & echo $!)")).await.expect("it runs");
    let pid = String::from_utf8(all.printed).expect("a number");
    until(|| is_gone(pid.trim())).await;
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_grandchild_that_has_left_the_group_holds_up_nothing() {
    let all = ran(script("setsid sleep 20 & echo done")).await.expect("it runs");
    assert_eq!((all.status.code(), &*all.printed), (Some(0), &b"done\n"[..]));
}

#[tokio::test]
async fn one_that_is_cancelled_ends() {
    let cancel = CancellationToken::new();
    let folder = tempfile::tempdir().expect("a folder");
    let pid = folder.path().join("pid");
    let text = format!("echo $$ > {}; exec sleep 1000", pid.display());
    let (ended, pid) = tokio::join!(run(script(&text), &cancel), async {
        let pid = line(&pid).await;
        cancel.cancel();
        pid
    });
    assert!(matches!(ended, Err(Broken::Cancelled)));
    until(|| is_gone(&pid)).await;
    assert!(matches!(run(script("true"), &cancel).await, Err(Broken::Cancelled)), "nothing begins afterwards");
}

#[tokio::test]
async fn one_that_is_no_more_wanted_is_killed() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("pid");
    let text = format!("trap '' TERM; echo $$ > {}; while :; do sleep 1; done", file.display());
    let cancel = CancellationToken::new();
    let pid = tokio::select! {
        _ = run(script(&text), &cancel) => panic!("it does not end"),
        pid = line(&file) => pid,
    };
    until(|| is_gone(&pid)).await;
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn nothing_is_left_to_wait_for() {
    let told = ran(script("read -r line < /proc/$$/stat; echo $line")).await.expect("it runs");
    let told = String::from_utf8(told.printed).expect("numbers");
    let numbers: Vec<&str> = told.split(' ').collect();
    // Its own number, and that of its group, which is the watcher's.
    for pid in [numbers[0], numbers[4]] {
        assert!(!Path::new("/proc").join(pid).exists(), "{pid} of {told}");
    }
    assert_ne!(numbers[0], numbers[4]);
}

#[tokio::test]
async fn what_is_no_program_is_not_started() {
    let call = Call { path: "/no/such/program".into(), ..script("") };
    assert!(matches!(ran(call).await, Err(Broken::NotStarted(error)) if error.kind() == io::ErrorKind::NotFound));
}

/// In its role: runs a program, and is killed meanwhile.
#[tokio::test]
async fn a_program_ends_with_its_daemon() {
    if let Some(text) = std::env::var_os(ROLE) {
        // It is killed before it comes to an end.
        let _ = run(script(&text.to_string_lossy()), &CancellationToken::new()).await;
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let pids = folder.path().join("pids");
    let own = std::env::current_exe().expect("a test knows its own program");
    let mut daemon = std::process::Command::new(own)
        .args(["--exact", "workflow::action::program::tests::a_program_ends_with_its_daemon"])
        .env(ROLE, format!("trap '' TERM HUP; sleep 1000 & echo $$ $! > {}; wait; sleep 1000", pids.display()))
        .stdout(Stdio::null())
        .spawn()
        .expect("it runs");
    let pids = line(&pids).await;
    assert!(pids.split(' ').all(|pid| !is_gone(pid)), "{pids}");
    daemon.kill().expect("it is killed");
    daemon.wait().expect("it has ended");
    for pid in pids.split(' ') {
        until(|| is_gone(pid)).await;
    }
}
