//! A daemon for a task: a child process with a temporary home, both gone when the value is dropped.
//!
//! The demo and the bench run the release programs with it. The user's own daemon and models are never touched.

use std::env;
use std::ffi::OsStr;
use std::fs::{self, DirBuilder, File};
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::command;
use crate::error::{Error, Result};
use crate::interrupt::Interrupt;
use crate::workspace::{Workspace, cargo};

/// Where no hub ever answers.
const NO_HUB: &str = "http://127.0.0.1:1";

const READY_WITHIN: Duration = Duration::from_secs(20);
const STOPPED_WITHIN: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(50);
/// Short against what is measured with it, and long enough to leave the processor to the daemon.
const FINE_POLL: Duration = Duration::from_micros(200);

/// Builds the programs as they are released and returns their folder.
pub fn build(workspace: &Workspace) -> Result<PathBuf> {
    let programs = ["-p", "talkied", "-p", "talkied-mlx", "-p", "talkied-candle", "-p", "talkiectl"];
    command::visible(cargo().current_dir(&workspace.root).args(["build", "--release"]).args(programs))?;
    Ok(workspace.target.join("release"))
}

/// A running daemon. Fields are dropped in order: the process first, then its home.
pub struct Daemon {
    process: Process,
    home: Home,
    client: PathBuf,
    started: Instant,
}

impl Daemon {
    /// Starts `talkied` of the folder `programs`, with MLX's engine alone: that is what is measured.
    pub fn start(programs: &Path) -> Result<Self> {
        Self::start_at_hub(programs, NO_HUB)
    }

    /// The same, with downloads from a hub. Else it has one that never answers.
    pub fn start_at_hub(programs: &Path, hub: &str) -> Result<Self> {
        Self::start_with(programs, hub, &programs.join("none"), &[])
    }

    /// With an engine of its own in place of MLX's, and with more options.
    pub fn start_of(programs: &Path, engine: &Path, more: &[&str]) -> Result<Self> {
        let engine = ["--engine".as_ref(), engine.as_os_str()];
        let more: Vec<&OsStr> = engine.into_iter().chain(more.iter().map(OsStr::new)).collect();
        Self::start_with(programs, NO_HUB, &programs.join("none"), &more)
    }

    /// Starts it with whatever engine it prefers on this machine.
    pub fn start_as_installed(programs: &Path) -> Result<Self> {
        Self::start_with(programs, NO_HUB, &programs.join("talkied-candle"), &[])
    }

    fn start_with(programs: &Path, hub: &str, candle: &Path, more: &[&OsStr]) -> Result<Self> {
        let home = Home::create()?;
        let log = home.0.join("log");
        let log = File::create(&log).map_err(Error::io("create", &log))?;
        let errors = log.try_clone().map_err(Error::io("open", &home.0))?;
        let mut talkied = Command::new(programs.join("talkied"));
        talkied.args(["--hub", hub, "--hf-cache", "none", "--candle"]).arg(candle).args(more);
        home.name_to(&mut talkied).stdin(Stdio::null()).stdout(log).stderr(errors);
        let started = Instant::now();
        let process = Process(talkied.spawn().map_err(command::start_error(&talkied))?);
        Ok(Self { process, home, client: programs.join("talkiectl"), started })
    }

    /// `talkiectl`, to talk to this daemon.
    pub fn client(&self) -> Command {
        let mut client = Command::new(&self.client);
        self.home.name_to(&mut client);
        client
    }

    /// Its home.
    pub fn folder(&self) -> &Path {
        &self.home.0
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.process.0.id()
    }

    /// A new connection to it.
    pub fn connect(&self) -> Result<UnixStream> {
        let socket = self.home.socket();
        UnixStream::connect(&socket).map_err(Error::io("connect to", &socket))
    }

    /// Waits until the daemon answers its client; fails when it ends or takes too long.
    pub fn wait_until_ready(&mut self, interrupt: &Interrupt) -> Result<()> {
        let ping = |daemon: &Self| command::output(daemon.client().arg("ping")).map(|_| ());
        self.wait_until(ping, POLL, interrupt)
    }

    /// Waits until the daemon takes connections and returns the time since its start.
    pub fn wait_until_listening(&mut self, interrupt: &Interrupt) -> Result<Duration> {
        self.wait_until(|daemon| daemon.connect().map(|_| ()), FINE_POLL, interrupt)?;
        Ok(self.started.elapsed())
    }

    fn wait_until(&mut self, so: impl Fn(&Self) -> Result<()>, poll: Duration, interrupt: &Interrupt) -> Result<()> {
        loop {
            match so(self) {
                Ok(()) => return Ok(()),
                Err(error) if self.started.elapsed() > READY_WITHIN => return Err(error),
                Err(_) => thread::sleep(poll),
            }
            interrupt.check()?;
            if let Ok(Some(status)) = self.process.0.try_wait() {
                return Err(Error::Unexpected(format!("talkied ended before it answered: {status}")));
            }
        }
    }

    /// Prints what the daemon wrote.
    pub fn show_log(&self) {
        let log = fs::read_to_string(self.home.0.join("log")).unwrap_or_default();
        eprintln!("process {} wrote:\n{}", self.pid(), log.trim_end());
    }
}

/// A folder of this run, readable by its user only. Its path is short because a socket's path has room for 103 bytes.
struct Home(PathBuf);

impl Home {
    fn create() -> Result<Self> {
        let path = Path::new("/tmp").join(format!("talkied-xtask-{}", std::process::id()));
        DirBuilder::new().mode(0o700).create(&path).map_err(Error::io("create", &path))?;
        Ok(Self(path))
    }

    fn socket(&self) -> PathBuf {
        self.0.join("s")
    }

    /// Tells a program to use this home, and nothing else of the user's.
    fn name_to<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        for (name, _) in env::vars_os() {
            if name.to_string_lossy().starts_with("TALKIE") {
                command.env_remove(name);
            }
        }
        command.env("TALKIE_HOME", &self.0).env("TALKIE_SOCKET", self.socket())
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.0) {
            eprintln!("failed to remove {}: {error}", self.0.display());
        }
    }
}

/// A child process that is asked to end, then made to.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let asked = Command::new("kill").arg(self.0.id().to_string()).stderr(Stdio::null()).status();
        let deadline = Instant::now() + if asked.is_ok() { STOPPED_WITHIN } else { Duration::ZERO };
        while Instant::now() < deadline {
            if let Ok(Some(_)) = self.0.try_wait() {
                return;
            }
            thread::sleep(POLL);
        }
        // Either fails only when the process has ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
