//! A daemon of one's own for each test: its home, its models, its process, and connections to it.

// Named, since the tests of the real engine take this file in by path.
#[path = "support/contract.rs"]
pub mod contract;
#[path = "support/model.rs"]
pub mod model;
#[cfg(target_os = "linux")]
#[path = "support/systemd.rs"]
pub mod systemd;

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

/// Longest any answer may take before a test counts as hung.
const PATIENCE: Duration = Duration::from_mins(1);

/// Path of one of this workspace's programs, built when it is not.
pub fn program(name: &str) -> PathBuf {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    let folder = BUILT.get_or_init(|| {
        let test = std::env::current_exe().expect("a test knows its own program");
        let folder = test.ancestors().nth(2).expect("a test lies in deps, beside the programs").to_path_buf();
        let mut build = Command::new(env!("CARGO"));
        build.args(["build", "--quiet", "--bins", "-p", "talkied", "-p", "talkiectl", "-p", "talkied-tests"]);
        if folder.ends_with("release") {
            build.arg("--release");
        }
        let status = build.current_dir(env!("CARGO_MANIFEST_DIR")).status().expect("cargo runs");
        assert!(status.success(), "the programs under test build");
        folder
    });
    folder.join(name)
}

/// What follows `TALKIE_` in the names of settings that whoever runs the tests may have.
const VARIABLES: [&str; 15] = [
    "CONFIG",
    "KEEP_ALIVE",
    "QUEUE",
    "BATCH",
    "MEMORY",
    "PREFIX_CACHE",
    "ENGINE_TIMEOUT",
    "PRESSURE",
    "DRAIN",
    "PRELOAD",
    "IDLE_EXIT",
    "PULL_LIMIT",
    "LOG",
    "WORKFLOW_SHELL",
    "WORKFLOW_SCRIPTS",
];

/// A running daemon with a home of its own; killed when dropped.
pub struct Daemon {
    pub home: TempDir,
    socket: PathBuf,
    child: Child,
    command: Command,
    log: Arc<Mutex<String>>,
}

/// A temporary folder as a home is: nobody else's.
pub fn private_folder() -> TempDir {
    let private = std::os::unix::fs::PermissionsExt::from_mode(0o700);
    tempfile::Builder::new().prefix("t").permissions(private).tempdir().expect("a temporary folder")
}

/// How a daemon is started.
pub struct Start {
    command: Command,
    home: TempDir,
}

impl Start {
    /// With the fake engine.
    pub fn fake() -> Self {
        Self::with_engine(&program("fake-engine"))
    }

    /// With any engine.
    pub fn with_engine(engine: &Path) -> Self {
        let home = private_folder();
        let mut command = Command::new(program("talkied"));
        command.env("TALKIE_HOME", home.path()).env_remove("TALKIE_SOCKET").env_remove("TALKIE_MODELS");
        command.env_remove("HF_ENDPOINT").env_remove("HF_TOKEN").env("HF_HOME", home.path());
        command.env("HF_HUB_CACHE", home.path().join("hub")).arg("--engine").arg(engine);
        // A Candle engine that happens to be built would be preferred.
        command.env("TALKIE_CANDLE", home.path().join("none"));
        command.env("TALKIE_NO_KEYCHAIN", "true").env_remove("TALKIE_LOCAL_ONLY");
        for name in VARIABLES {
            command.env_remove(format!("TALKIE_{name}"));
        }
        for key in ["GEMINI_API_KEY", "GOOGLE_API_KEY", "OPENAI_API_KEY"] {
            command.env_remove(key);
        }
        Self { command, home }
    }

    /// The home that it will have.
    pub fn home(&self) -> PathBuf {
        self.home.path().to_path_buf()
    }

    /// With more arguments.
    pub fn args(mut self, args: &[&str]) -> Self {
        self.command.args(args);
        self
    }

    /// By another copy of its program.
    pub fn of_program(self, program: &Path) -> Self {
        let mut command = Command::new(program);
        command.args(self.command.get_args());
        self.becomes(command)
    }

    /// With a variable in its environment.
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.command.env(name, value);
        self
    }

    /// Which can write no file longer than so many bytes, or twice as many: shells differ in the unit.
    pub fn with_files_up_to(self, bytes: u64) -> Self {
        // The signal that comes with it would end the process, where it is not ignored.
        self.within(Command::new("sh"), &format!("trap '' XFSZ; ulimit -f {}; exec \"$0\" \"$@\"", bytes / 512))
    }

    /// Which cannot write to its standard error, though it is there.
    pub fn with_a_full_stderr(self) -> Self {
        self.within(Command::new("sh"), "exec \"$0\" \"$@\" 2>/dev/full")
    }

    /// With a disk of its own in the place of its home, of which `script` makes what it will; `$TALKIE_HOME` is there.
    /// `None` where this machine lets nobody mount.
    pub fn on_a_small_disk(self, script: &str) -> Option<Self> {
        let script = format!("{SMALL_DISK}; {script}; exec \"$0\" \"$@\"");
        Some(self.within(unshared()?, &script))
    }

    /// Started by a script of a shell.
    fn within(self, mut shell: Command, script: &str) -> Self {
        shell.arg("-c").arg(script).arg(self.command.get_program()).args(self.command.get_args());
        self.becomes(shell)
    }

    /// Another command in the same environment.
    fn becomes(mut self, mut command: Command) -> Self {
        for (name, value) in self.command.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        self.command = command;
        self
    }

    /// As somebody whom permissions bind: where the superuser runs the tests, another.
    pub fn bound_by_permissions(self) -> Self {
        const NOBODY: u32 = 65534;
        if !rustix::process::geteuid().is_root() {
            return self;
        }
        // A copy, for this program may lie where others may not go.
        let copy = self.home.path().join("talkied");
        std::fs::copy(self.command.get_program(), &copy).expect("the program can be copied");
        let mut command = Command::new(copy);
        command.args(self.command.get_args()).uid(NOBODY).gid(NOBODY);
        std::os::unix::fs::chown(self.home.path(), Some(NOBODY), Some(NOBODY)).expect("the home can be given away");
        self.becomes(command)
    }

    /// With a file of settings.
    pub fn config(self, text: &str) -> Self {
        std::fs::write(self.home.path().join("config.toml"), text).expect("the home can be written");
        self
    }

    /// With a model in its library before it starts.
    pub fn model(self, id: &str, change: impl FnOnce(&mut model::Files)) -> Self {
        model::install(self.home.path(), id, change);
        self
    }

    /// With a model that lies elsewhere.
    pub fn linked(self, id: &str, folder: &Path) -> Self {
        let library = self.home.path().join("Models").join("MLX");
        std::fs::create_dir_all(&library).expect("the folder can be made");
        std::os::unix::fs::symlink(folder, library.join(id.replace('/', "_"))).expect("the folder can be linked");
        self
    }

    /// Starts it and waits until it listens.
    pub fn run(self) -> Daemon {
        let socket = self.home.path().join("run").join("talkied.sock");
        self.run_at(&socket)
    }

    /// The same, where its arguments name another socket.
    pub fn run_at(mut self, socket: &Path) -> Daemon {
        let socket = socket.to_path_buf();
        let child = self.command.stdin(Stdio::null()).stderr(Stdio::piped()).spawn().expect("talkied starts");
        Daemon { home: self.home, socket, child, command: self.command, log: Arc::default() }.listening()
    }

    /// Starts it, expects it to end by itself, and returns what it said.
    pub fn fail(mut self) -> (i32, String) {
        let output = self.command.stdin(Stdio::null()).output().expect("talkied starts");
        (output.status.code().unwrap_or(-1), String::from_utf8_lossy(&output.stderr).into_owned())
    }
}

impl Daemon {
    fn listening(mut self) -> Self {
        self.listen();
        self
    }

    /// Waits until it listens.
    fn listen(&mut self) {
        self.drain_log();
        let deadline = Instant::now() + PATIENCE;
        while UnixStream::connect(self.socket()).is_err() {
            let ended = self.child.try_wait().expect("the child can be asked");
            assert!(ended.is_none() && Instant::now() < deadline, "talkied listens: {ended:?}");
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Starts it once more in the same home, after it has ended.
    pub fn again(mut self) -> Self {
        self.restart();
        self
    }

    /// The same in its place.
    pub fn restart(&mut self) {
        self.wait();
        // A program that it was just starting may still hold what it had.
        until("nobody listens", || UnixStream::connect(self.socket()).is_err());
        self.child = self.command.spawn().expect("talkied starts");
        self.listen();
    }

    pub fn socket(&self) -> PathBuf {
        self.socket.clone()
    }

    /// What it has logged so far.
    pub fn log(&self) -> String {
        self.log.lock().expect("no test panicked").clone()
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Installs a model while it runs.
    pub fn install(&self, id: &str, change: impl FnOnce(&mut model::Files)) {
        model::install(self.home.path(), id, change);
    }

    pub fn connect(&self) -> Connection {
        Connection::new(UnixStream::connect(self.socket()).expect("the socket accepts"))
    }

    /// One call on a connection of its own.
    pub fn call(&self, method: &str, params: Value) -> Result<Value, Value> {
        self.connect().call(method, params)
    }

    /// Its client, pointed at it.
    pub fn talkiectl(&self, args: &[&str]) -> Command {
        let mut command = Command::new(program("talkiectl"));
        command.env("TALKIE_HOME", self.home.path()).env_remove("TALKIE_SOCKET").args(args);
        // What whoever runs the tests has said about colours; a build server's `CI` asks for them too.
        for name in ["CI", "CLICOLOR", "CLICOLOR_FORCE", "NO_COLOR"] {
            command.env_remove(name);
        }
        command
    }

    /// Waits for its end.
    pub fn wait(&mut self) -> Option<i32> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().expect("the child can be asked") {
                return status.code();
            }
            assert!(Instant::now() < deadline, "talkied ends");
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// A signal for its process.
    pub fn signal(&self, signal: rustix::process::Signal) {
        signal_process(self.pid(), signal);
    }

    /// Reads its log, so that it never blocks on a full pipe.
    fn drain_log(&mut self) {
        let log = self.child.stderr.take().expect("standard error is piped");
        let kept = Arc::clone(&self.log);
        std::thread::spawn(move || {
            for line in BufReader::new(log).lines().map_while(Result::ok) {
                kept.lock().expect("no test panicked").push_str(&line);
                eprintln!("talkied: {line}");
            }
        });
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Puts a disk of a megabyte in the place of the home.
pub const SMALL_DISK: &str = "set -e; mount -t tmpfs -o size=1m,mode=700 none \"$TALKIE_HOME\"";

/// A shell whose mounts nobody else sees; `None` where this machine lets nobody mount.
pub fn unshared() -> Option<Command> {
    let how = if rustix::process::geteuid().is_root() { "-m" } else { "-rm" };
    let shell = || {
        let mut command = Command::new("unshare");
        command.arg(how).arg("sh");
        command
    };
    let tried = shell().args(["-c", "mount -t tmpfs none /mnt"]).stderr(Stdio::null()).status();
    let may = tried.is_ok_and(|status| status.success());
    if !may {
        eprintln!("not tested here: mounts of one's own are not allowed");
    }
    may.then(shell)
}

/// A signal for any process.
pub fn signal_process(pid: u32, signal: rustix::process::Signal) {
    let pid = rustix::process::Pid::from_raw(pid as i32).expect("a process id is not zero");
    rustix::process::kill_process(pid, signal).expect("the process takes signals");
}

/// A file that tells of memory pressure, as Linux does.
pub struct Stalls {
    path: PathBuf,
    /// Microseconds since the start.
    total: u64,
}

impl Stalls {
    /// In a folder; nothing has stalled yet.
    pub fn none_in(folder: &Path) -> Self {
        let stalls = Self { path: folder.join("memory.pressure"), total: 0 };
        stalls.write();
        stalls
    }

    /// As an option of the daemon.
    pub fn option(&self) -> [&str; 2] {
        ["--pressure", self.path.to_str().expect("paths of tests are UTF-8")]
    }

    /// Has everything stand still until the daemon notices it.
    pub fn until_noticed(&mut self, daemon: &Daemon) {
        until("the pressure is noticed", || {
            self.total += 1_000_000;
            self.write();
            daemon.call("daemon.status", json!({})).expect("a status")["memory"]["pressure"] == "hard"
        });
    }

    fn write(&self) {
        let total = self.total;
        let line = |kind| format!("{kind} avg10=0.00 avg60=0.00 avg300=0.00 total={total}\n");
        std::fs::write(&self.path, line("some") + &line("full")).expect("the file can be written");
    }
}

/// Waits until something is so.
pub fn until(what: &str, mut so: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !so() {
        assert!(Instant::now() < deadline, "waited in vain until {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// A raw connection: lines out, lines in.
pub struct Connection {
    reader: BufReader<UnixStream>,
    next: u64,
}

impl Connection {
    fn new(stream: UnixStream) -> Self {
        stream.set_read_timeout(Some(PATIENCE)).expect("a socket has time limits");
        Self { reader: BufReader::new(stream), next: 1 }
    }

    pub fn send(&mut self, bytes: &[u8]) {
        self.reader.get_mut().write_all(bytes).expect("the daemon reads");
    }

    /// Sends a request and returns its id.
    pub fn request(&mut self, method: &str, params: Value) -> u64 {
        let id = self.next;
        self.next += 1;
        let mut line = json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params }).to_string();
        line.push('\n');
        self.send(line.as_bytes());
        id
    }

    /// The next line, `None` at the end.
    pub fn line(&mut self) -> Option<Value> {
        let mut line = String::new();
        match self.reader.read_line(&mut line).expect("the daemon answers in time") {
            0 => None,
            _ => Some(serde_json::from_str(&line).expect("a line is JSON")),
        }
    }

    /// A call, whatever else arrives before its answer.
    pub fn call(&mut self, method: &str, params: Value) -> Result<Value, Value> {
        let id = self.request(method, params);
        loop {
            let line = self.line().expect("an answer before the end");
            if line["id"] == id {
                return match line.get("error") {
                    Some(error) => Err(error.clone()),
                    None => Ok(line["result"].clone()),
                };
            }
        }
    }

    /// Opens a stream and returns its first event, `queued`.
    pub fn stream(&mut self, params: Value) -> Value {
        self.call("generate.stream", params).expect("the stream opens");
        self.event()
    }

    /// The next event of the one stream.
    pub fn event(&mut self) -> Value {
        let line = self.line().expect("an event before the end");
        assert!(line["method"].as_str().is_some_and(|method| method.split('.').nth(1) == Some("event")), "{line}");
        line["params"]["result"].clone()
    }

    /// The next event of a type, whatever comes before it.
    pub fn event_of(&mut self, kind: &str) -> Value {
        loop {
            let event = self.event();
            if event["type"] == kind {
                return event;
            }
        }
    }

    /// Events up to one of a type, that one included.
    pub fn events_until(&mut self, kind: &str) -> Vec<Value> {
        let mut events = vec![self.event()];
        while events.last().is_some_and(|event| event["type"] != kind) {
            let last = events.last().expect("never empty");
            assert!(last["type"] != "finished" && last["type"] != "failed", "no {kind} before {last}");
            events.push(self.event());
        }
        events
    }
}

/// The text of a stream's events.
pub fn text(events: &[Value]) -> String {
    events.iter().filter(|event| event["type"] == "text").filter_map(|event| event["text"].as_str()).collect()
}
