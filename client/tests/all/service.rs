//! `talkiectl service` against a `launchctl` and a `systemctl` that write down what they are told, and answer as told.

mod installing;
mod looking;
mod refusals;

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use tempfile::TempDir;

use crate::fake::{Ended, run};

/// Forgets a job only some time after it was told to, and refuses to load one before that, as launchd does.
const LAUNCHCTL: &str = r#"
job=$0.job
case $1 in
print)
    if [ -e "$job.leaving" ]; then mv "$job.leaving" "$job.left"; printf '\tpid = 4711\n'
    elif [ -e "$job" ]; then printf 'gui/0/dev.talkie.talkied = {\n\tstate = running\n\tpid = %s\n\tlast exit code = 0\n}\n' "$(cat "$job")"
    else echo 'Could not find service "dev.talkie.talkied" in domain for user gui: 501' >&2; exit 113; fi ;;
bootstrap)
    if [ -e "$job" ]; then echo 'Bootstrap failed: 5: Input/output error' >&2; exit 5; fi
    if [ -e "$job.leaving" ]; then echo 'Bootstrap failed: 37: Operation already in progress' >&2; exit 37; fi
    echo 4711 > "$job" ;;
bootout) mv "$job" "$job.leaving"; echo 'Boot-out failed: 36: Operation now in progress' >&2; exit 36 ;;
kill) echo 4712 > "$job" ;;
print-disabled) printf 'disabled services = {\n\t"dev.talkie.talkied" => enabled\n}\n' ;;
esac
"#;

/// Units are loaded when their files are there, and active once started.
const SYSTEMCTL: &str = r#"
units=$HOME/.config/systemd/user
unit() {
    echo "Id=$1"
    if [ -e "$units/$1" ]; then echo LoadState=loaded; else echo LoadState=not-found; fi
    if [ -e "$0.$1" ]; then printf 'ActiveState=active\nMainPID=4711\n'; else printf 'ActiveState=inactive\nMainPID=0\n'; fi
    if [ -e "$0.enabled" ]; then echo UnitFileState=enabled; else echo UnitFileState=disabled; fi
    printf 'NeedDaemonReload=no\nExecMainCode=0\nExecMainStatus=0\nNRestarts=0\nResult=success\n\n'
}
case $2 in
show) unit talkied.socket; unit talkied.service ;;
enable) : > "$0.enabled" ;;
disable) rm -f "$0.enabled" ;;
start | restart) shift 2; for unit; do : > "$0.$unit"; done ;;
stop) shift 2; for unit; do rm -f "$0.$unit"; done ;;
reset-failed) echo 'Failed to reset failed state of unit talkied.service: Unit talkied.service not loaded.' >&2; exit 1 ;;
esac
"#;

/// Commands that only look.
const LOOKS: [&str; 3] = ["launchctl print ", "launchctl print-disabled ", "systemctl --user show "];

/// A user with a manager of some lines.
pub struct User {
    pub home: TempDir,
    manager: &'static str,
}

impl User {
    pub fn of_launchd() -> Self {
        Self::of("launchd", LAUNCHCTL)
    }

    pub fn of_systemd() -> Self {
        Self::of("systemd", SYSTEMCTL)
    }

    pub fn of(manager: &'static str, script: &str) -> Self {
        let home = TempDir::with_prefix("t").expect("a directory");
        let user = Self { home, manager };
        fs::create_dir_all(user.path("bin")).expect("a folder");
        user.tool(if manager == "launchd" { "launchctl" } else { "systemctl" }, script);
        user.program("bin/talkied", concat!("echo talkied ", env!("CARGO_PKG_VERSION")));
        user
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    /// A program of some lines.
    pub fn program(&self, name: &str, script: &str) {
        fs::write(self.path(name), format!("#!/bin/sh\n{script}\n")).expect("a file");
        fs::set_permissions(self.path(name), Permissions::from_mode(0o755)).expect("a program");
    }

    /// The manager's tool.
    pub fn tool(&self, name: &str, script: &str) {
        let record = format!(r#"echo "{name} $*" >> "$HOME/calls""#);
        self.program(&format!("bin/{name}"), &format!("{record}\n{script}"));
    }

    pub fn command(&self, arguments: &[&str]) -> Command {
        self.talkiectl(&[&["service", "--manager", self.manager], arguments].concat())
    }

    pub fn talkiectl(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_talkiectl"));
        command.env_clear().env("HOME", self.home.path()).env("XDG_RUNTIME_DIR", self.path("run"));
        command.env("TALKIE_HOME", self.path("home"));
        command.env("PATH", format!("{}:/usr/bin:/bin", self.path("bin").display()));
        command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    pub fn service(&self, arguments: &[&str]) -> Ended {
        run(self.command(arguments))
    }

    /// Installs the program that is there.
    pub fn install(&self, arguments: &[&str]) -> Ended {
        let program = self.path("bin/talkied").display().to_string();
        self.service(&[&["install", "--program", &program], arguments].concat())
    }

    /// What the manager was told since the last time, but for questions; the user's number is told as `UID`.
    pub fn told(&self) -> Vec<String> {
        let calls = fs::read_to_string(self.path("calls")).unwrap_or_default();
        let _ = fs::remove_file(self.path("calls"));
        let uid = format!("gui/{}", rustix::process::getuid().as_raw());
        let calls = calls.lines().filter(|call| !LOOKS.iter().any(|look| call.starts_with(look)));
        calls.map(|call| self.anonymous(call).replace(&uid, "gui/UID")).collect()
    }

    /// Text without what differs from run to run.
    pub fn anonymous(&self, text: &str) -> String {
        let uid = format!("gui/{}", rustix::process::getuid().as_raw());
        text.replace(&self.home.path().display().to_string(), "~")
            .replace(&uid, "gui/UID")
            .replace(env!("CARGO_PKG_VERSION"), "VERSION")
    }

    pub fn plist(&self) -> PathBuf {
        self.path("Library/LaunchAgents/dev.talkie.talkied.plist")
    }

    pub fn unit(&self, name: &str) -> PathBuf {
        self.path(".config/systemd/user").join(name)
    }
}

/// Succeeds, and says nothing on standard error.
pub fn good(ended: Ended) -> String {
    assert_eq!((ended.code, &*ended.stderr), (Some(0), ""));
    ended.stdout
}
