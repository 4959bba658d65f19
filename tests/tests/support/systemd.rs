//! A systemd of the test's own: a user's manager with folders and control groups of its own, by which all of its processes end.

use std::fs;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use tempfile::TempDir;

use super::{program, until};

/// Set by those whose machine does not allow it, to leave these tests out.
const LEFT_OUT: &str = "TALKIE_TEST_WITHOUT_SYSTEMD";

/// Where distributions keep the program.
const PROGRAMS: [&str; 2] = ["/lib/systemd/systemd", "/usr/lib/systemd/systemd"];

/// systemd runs as a user's manager only where it seems to run the machine, and needs a control group to itself.
const SCRIPT: &str = r#"
mount -t tmpfs none /run && mkdir -p /run/systemd/system || exit 1
for tree in /sys/fs/cgroup /sys/fs/cgroup/systemd /sys/fs/cgroup/unified; do
    if [ -e "$tree/cgroup.procs" ]; then mkdir "$tree/$GROUP" && echo 0 > "$tree/$GROUP/cgroup.procs" || exit 1; fi
done
exec "$0" --user --unit=basic.target
"#;

/// A user whose manager runs.
pub struct Session {
    pub home: TempDir,
    manager: Child,
    group: String,
}

impl Session {
    /// Starts one; `None` where they are left out.
    pub fn start() -> Option<Self> {
        if std::env::var_os(LEFT_OUT).is_some() {
            eprintln!("left out, for {LEFT_OUT} is set");
            return None;
        }
        let why = format!("systemd must be here and its manager be allowed to run, as for root; or set {LEFT_OUT}=1");
        let systemd = PROGRAMS.into_iter().find(|program| Path::new(program).exists()).expect(&why);
        let home = TempDir::with_prefix("t").expect("a temporary folder");
        fs::DirBuilder::new().mode(0o700).create(home.path().join("run")).expect("a folder");
        let group = format!("talkied-test-{}", home.path().file_name().expect("a name").display());
        let mut unshare = Command::new("unshare");
        if !rustix::process::geteuid().is_root() {
            unshare.args(["--user", "--map-root-user"]);
        }
        unshare.args(["--mount", "sh", "-c", SCRIPT, systemd]);
        with_session(&mut unshare, home.path());
        let manager = unshare.env("GROUP", &group).stdin(Stdio::null()).spawn().expect(&why);
        let mut session = Self { home, manager, group };
        until(&why, || {
            assert!(session.manager.try_wait().expect("the child can be asked").is_none(), "{why}");
            session.run("systemctl", &["--user", "is-active", "basic.target"]).status.success()
        });
        Some(session)
    }

    pub fn socket(&self) -> PathBuf {
        self.home.path().join("run/talkied/talkied.sock")
    }

    /// A program in this session.
    pub fn command(&self, program: impl AsRef<Path>, args: &[&str]) -> Command {
        let mut command = Command::new(program.as_ref());
        command.args(args).stdin(Stdio::null());
        with_session(&mut command, self.home.path());
        command
    }

    pub fn run(&self, program: &str, args: &[&str]) -> Output {
        self.command(program, args).output().expect("the program starts")
    }

    pub fn talkiectl(&self, args: &[&str]) -> Output {
        self.command(program("talkiectl"), args).output().expect("talkiectl starts")
    }

    /// Does it and expects that it succeeds.
    pub fn good(&self, args: &[&str]) -> String {
        let output = self.talkiectl(args);
        let words = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(0), "{args:?}: {words}");
        text(&output)
    }

    /// Something that systemd does, and must.
    pub fn systemctl(&self, args: &[&str]) -> String {
        let output = self.run("systemctl", &[&["--user"], args].concat());
        assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        text(&output)
    }

    /// One property of the service.
    pub fn property(&self, name: &str) -> String {
        self.systemctl(&["show", "--value", "--property", name, "talkied.service"]).trim().to_owned()
    }
}

/// The environment of the session's programs, its manager included.
fn with_session(command: &mut Command, home: &Path) {
    command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
    command.env("HOME", home).env("XDG_RUNTIME_DIR", home.join("run")).current_dir("/");
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

impl Drop for Session {
    fn drop(&mut self) {
        // Services are in its control groups, and end with those.
        let _ = self.manager.kill();
        let _ = self.manager.wait();
        for tree in ["/sys/fs/cgroup", "/sys/fs/cgroup/systemd", "/sys/fs/cgroup/unified"] {
            let group = Path::new(tree).join(&self.group);
            // Its last processes may be on their way out still.
            let _ = (0..100).find(|_| {
                std::thread::sleep(std::time::Duration::from_millis(10));
                remove_groups(&group)
            });
        }
    }
}

/// Ends what is in a control group and in those below it, and removes them; they have no files of their own.
fn remove_groups(group: &Path) -> bool {
    for pid in fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default().lines() {
        if let Some(pid) = pid.parse().ok().and_then(rustix::process::Pid::from_raw) {
            // It may have ended meanwhile.
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        }
    }
    for entry in fs::read_dir(group).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_groups(&entry.path());
        }
    }
    fs::remove_dir(group).is_ok() || !group.exists()
}
