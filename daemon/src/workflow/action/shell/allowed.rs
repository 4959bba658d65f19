//! Which programs workflows may run, and where they are. Nothing is run here.

use std::ffi::OsStr;
use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::super::Failure;

/// What runs scripts.
const SHELL: &str = "/bin/sh";

/// What the user allows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Policy {
    /// The setting `workflow_shell`: absolute paths and names that PATH finds; `None` where it is off.
    pub programs: Option<Vec<String>>,
    /// The setting `workflow_scripts`.
    pub scripts: bool,
}

impl Policy {
    /// Where an allowed program is: a name is looked up once, and what is found is what runs.
    pub(super) fn program(&self, name: &str, path: &OsStr) -> Result<PathBuf, Failure> {
        let refuse = |words: String| Err(Failure::Final(words));
        let Some(programs) = &self.programs else {
            return refuse(format!(
                "workflows may run no programs: `workflow_shell` is off. To allow this one, set \
                 `workflow_shell = [{name:?}]` in config.toml"
            ));
        };
        let is_path = name.contains('/');
        if name.is_empty() || name.contains('\0') || (is_path && !name.starts_with('/')) {
            return refuse(format!("{name:?} is neither a program's name nor an absolute path"));
        }
        let found = if is_path { Some(PathBuf::from(name)).filter(|path| is_program(path)) } else { find(name, path) };
        let place = found.as_deref().and_then(place);
        let is_meant = |allowed: &String| {
            allowed == name || {
                let meant = if allowed.contains('/') { Some(PathBuf::from(allowed)) } else { find(allowed, path) };
                place.is_some() && meant.as_deref().and_then(self::place) == place
            }
        };
        if !programs.iter().any(is_meant) {
            return refuse(format!(
                "{name} is not among the programs that workflows may run. To allow it, add {name:?} to \
                 `workflow_shell` in config.toml"
            ));
        }
        let Some(found) = found else {
            let place =
                if is_path { "there is no such program".into() } else { format!("PATH ({}) has none", path.display()) };
            return refuse(format!("{name} cannot be run: {place}"));
        };
        check_owner(&found)?;
        Ok(found)
    }

    /// The shell, where scripts are allowed.
    pub(super) fn script(&self) -> Result<PathBuf, Failure> {
        if self.scripts {
            return Ok(SHELL.into());
        }
        Err(Failure::last(
            "workflows may run no scripts: `workflow_scripts` is off. To allow them, and with them every program, set \
             `workflow_scripts = true` in config.toml; or name one program and its arguments in `command`",
        ))
    }
}

/// The first program of that name in the folders of a PATH. Folders that are not absolute are passed over.
pub fn find(name: &str, path: &OsStr) -> Option<PathBuf> {
    let folders = std::env::split_paths(path).filter(|folder| folder.is_absolute());
    folders.map(|folder| folder.join(name)).find(|path| is_program(path))
}

fn is_program(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|meta| meta.is_file() && meta.mode() & 0o111 != 0)
}

/// A path by which two names of one place are the same. The last name stays: what a link is called may decide what the
/// program behind it does.
fn place(path: &Path) -> Option<PathBuf> {
    Some(path.parent()?.canonicalize().ok()?.join(path.file_name()?))
}

/// That nobody but the user and the system can put another program in its place.
fn check_owner(path: &Path) -> Result<(), Failure> {
    let failed = |error| Failure::Final(format!("failed to look at {}: {error}", path.display()));
    let target = path.canonicalize().map_err(failed)?;
    let refuse = |what: &str, path: &Path, cure: &str| {
        let path = path.display();
        Err(Failure::Final(format!("{path} is not run, for {what}: {cure}")))
    };
    let meta = fs::metadata(&target).map_err(failed)?;
    if !is_trusted(&meta) {
        return refuse("another user owns it", &target, "use a program of your own or of the system");
    }
    if meta.mode() & 0o022 != 0 {
        return refuse("others may change it", &target, &format!("chmod go-w {}", target.display()));
    }
    for folder in [path.parent(), target.parent()].into_iter().flatten() {
        let meta = fs::metadata(folder).map_err(failed)?;
        if !is_trusted(&meta) {
            let cure =
                format!("{} is a folder of theirs; use a program of your own or of the system", folder.display());
            return refuse("another user may put another in its place", path, &cure);
        }
        // In a sticky folder nobody removes what is another's.
        if meta.mode() & 0o002 != 0 && meta.mode() & 0o1000 == 0 {
            return refuse("others may put another in its place", path, &format!("chmod o-w {}", folder.display()));
        }
    }
    Ok(())
}

fn is_trusted(meta: &Metadata) -> bool {
    meta.uid() == 0 || meta.uid() == rustix::process::geteuid().as_raw()
}
