//! talkied as a service of the user's login: under launchd on macOS, under systemd elsewhere.
//!
//! A [`Manager`] says, without doing anything, which [`Step`]s lead to what is wanted ([`launchd`], [`systemd`]); they
//! are carried out, or only shown, in one place ([`steps`]). What the files in `launchd/` are filled with is a [`Job`].
//! Both managers are here on every system; [`Manager::here`] is the one place that chooses.
//!
//! Called by `talkiectl service`.

mod daemon;
mod error;
mod files;
mod job;
mod launchd;
mod program;
mod steps;
mod systemd;
mod template;
mod tool;

use std::path::PathBuf;
use std::str::FromStr;

use serde::Serialize;

pub use error::{Error, Reason};
pub use job::{Job, Socket, Variables};
pub use program::{find_program, version_of};
pub use steps::{Step, carry_out};

/// Who starts the daemon at login and listens for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Manager {
    /// Of macOS.
    Launchd,
    /// Of most Linux systems; the user's own, not the system's.
    Systemd,
}

impl Manager {
    /// This system's.
    pub const fn here() -> Self {
        if cfg!(target_os = "macos") { Self::Launchd } else { Self::Systemd }
    }

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Launchd => "launchd",
            Self::Systemd => "systemd",
        }
    }
}

impl FromStr for Manager {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let all = [Self::Launchd, Self::Systemd];
        all.into_iter().find(|manager| manager.name() == name).ok_or_else(|| "launchd or systemd".into())
    }
}

/// A file of the manager.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceFile {
    /// Where it is.
    pub path: PathBuf,
    /// What it says.
    pub text: String,
}

/// What the manager has, as far as it tells.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Loaded {
    /// It knows the service, and listens or would.
    pub known: bool,
    /// It holds the socket.
    pub listens: bool,
    /// It starts the service at login; `None` where it does not tell.
    pub at_login: Option<bool>,
    /// The daemon's process.
    pub pid: Option<u32>,
    /// How the last process ended, in the manager's words.
    pub last_end: Option<String>,
    /// What keeps it from running, in words, and the way out.
    pub problem: Option<String>,
}

/// The service as it is.
#[derive(Debug, Clone, Serialize)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own, also in JSON")]
pub struct Status {
    /// Who looks after it.
    pub manager: Manager,
    /// All of its files are there.
    pub installed: bool,
    /// They are what this version writes.
    pub current: bool,
    /// The manager knows it.
    pub loaded: bool,
    /// The manager holds the socket.
    pub listens: bool,
    /// It is started at login; absent where the manager does not tell.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at_login: Option<bool>,
    /// The daemon runs.
    pub running: bool,
    /// As this process.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pid: Option<u32>,
    /// The version that runs, when it answers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub running_version: Option<String>,
    /// The program that the files name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub program: Option<PathBuf>,
    /// Its version.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// The socket that the files name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub socket: Option<PathBuf>,
    /// How the last process ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_end: Option<String>,
    /// Its files, there or not.
    pub files: Vec<PathBuf>,
    /// What is wrong, each with the way out.
    pub problems: Vec<String>,
}

/// The service of one user.
#[derive(Debug, Clone)]
pub struct Service {
    /// Who looks after it.
    pub manager: Manager,
    /// The user's own folder.
    home: PathBuf,
    /// Where systemd's units go, as far as the environment says.
    config: PathBuf,
}

impl Service {
    /// That of the user whose environment this is.
    pub fn of_user(manager: Manager) -> Result<Self, Error> {
        let home = std::env::home_dir().filter(|home| home.is_absolute()).ok_or_else(Error::no_home)?;
        let config = std::env::var_os("XDG_CONFIG_HOME").map(PathBuf::from).filter(|config| config.is_absolute());
        Ok(Self { manager, config: config.unwrap_or_else(|| home.join(".config")), home })
    }

    /// The paths of its files.
    pub fn paths(&self) -> Vec<PathBuf> {
        match self.manager {
            Manager::Launchd => vec![launchd::path(&self.home)],
            Manager::Systemd => systemd::paths(&self.config).to_vec(),
        }
    }

    /// Its files, for a job.
    pub fn files(&self, job: &Job) -> Result<Vec<ServiceFile>, Error> {
        match self.manager {
            Manager::Launchd => Ok(vec![launchd::file(&self.home, job)?]),
            Manager::Systemd => Ok(systemd::files(&self.config, job)?.to_vec()),
        }
    }

    /// What the manager says of it.
    pub async fn look(&self) -> Result<Loaded, Error> {
        match self.manager {
            Manager::Launchd => launchd::look().await,
            Manager::Systemd => systemd::look().await,
        }
    }

    /// The way to a service of this job. Nothing where all is as it should be, but for `anew`.
    pub async fn install(&self, job: &Job, anew: Anew) -> Result<Vec<Step>, Error> {
        let loaded = self.look().await?;
        let mut files = self.files(job)?;
        let written = files.iter().all(files::is_there);
        if anew == Anew::WhereNeeded && written && loaded.known && loaded.listens && loaded.at_login != Some(false) {
            return Ok(Vec::new());
        }
        Ok(match self.manager {
            Manager::Launchd => launchd::install(job, files.swap_remove(0), &loaded),
            Manager::Systemd => systemd::install(job, files, &loaded),
        })
    }

    /// The way to no service at all. Nothing where there is none.
    pub async fn uninstall(&self) -> Result<Vec<Step>, Error> {
        let loaded = self.look().await?;
        let paths: Vec<PathBuf> = self.paths().into_iter().filter(|path| path.symlink_metadata().is_ok()).collect();
        if paths.is_empty() && !loaded.known {
            return Ok(Vec::new());
        }
        Ok(match self.manager {
            Manager::Launchd => launchd::uninstall(paths, &loaded),
            Manager::Systemd => systemd::uninstall(paths, &loaded),
        })
    }

    /// The way to a daemon that listens and runs.
    pub async fn start(&self) -> Result<Vec<Step>, Error> {
        let (socket, loaded) = (self.installed_socket()?, self.look().await?);
        Ok(match self.manager {
            Manager::Launchd => launchd::start(&self.home, socket, &loaded),
            Manager::Systemd => systemd::start(socket, &loaded),
        })
    }

    /// The way to nobody who listens, until the next start or login.
    pub async fn stop(&self) -> Result<Vec<Step>, Error> {
        self.installed_socket()?;
        let loaded = self.look().await?;
        Ok(match self.manager {
            Manager::Launchd => launchd::stop(&loaded),
            Manager::Systemd => systemd::stop(),
        })
    }

    /// The way to a new process, behind the same socket: whoever connects meanwhile waits.
    pub async fn restart(&self) -> Result<Vec<Step>, Error> {
        let (socket, loaded) = (self.installed_socket()?, self.look().await?);
        Ok(match self.manager {
            Manager::Launchd => launchd::restart(&self.home, socket, &loaded),
            Manager::Systemd => systemd::restart(socket, &loaded),
        })
    }

    /// The service as it is.
    pub async fn status(&self) -> Result<Status, Error> {
        let found = self.read();
        let loaded = self.look().await?;
        Ok(program::status(self, found, loaded).await)
    }

    /// What its files say, where they are of this version's form.
    fn read(&self) -> Option<job::Found> {
        match self.manager {
            Manager::Launchd => launchd::read(&self.home),
            Manager::Systemd => systemd::read(&self.config),
        }
    }

    fn installed_socket(&self) -> Result<Option<PathBuf>, Error> {
        if self.paths().iter().all(|path| path.exists()) {
            return Ok(self.read().map(|found| found.socket));
        }
        Err(Error::not_installed())
    }
}

/// Whether an installation that is as it should be is made anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Anew {
    /// Only what is not as it should be.
    WhereNeeded,
    /// All of it.
    Always,
}
