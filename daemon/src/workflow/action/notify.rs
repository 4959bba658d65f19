//! Steps that show the user a notification, by the system's own program. Texts are arguments of it, and never a
//! part of what it runs.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::Failure;
use super::program::{self, Broken, Call};

/// Longest texts that are shown, in characters.
const LONGEST_TITLE: usize = 200;
const LONGEST_TEXT: usize = 2000;

/// How long it may take to show one.
const PATIENCE: Duration = Duration::from_secs(10);

/// What those programs need to find the user's desktop.
const PASSED_ON: [&str; 9] = [
    "PATH",
    "HOME",
    "USER",
    "LANG",
    "TMPDIR",
    "DBUS_SESSION_BUS_ADDRESS",
    "XDG_RUNTIME_DIR",
    "DISPLAY",
    "WAYLAND_DISPLAY",
];

/// What is shown. What is longer than a notification is cut short.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// The first line.
    pub title: String,
    /// What stands below; may be empty.
    pub text: String,
}

/// How the program is called.
struct Shown {
    path: PathBuf,
    arguments: Vec<String>,
    stdin: &'static str,
}

/// Shows a notification. `environment` reads variables, as [`std::env::var_os`] does.
pub async fn show(
    notice: Notice,
    environment: impl Fn(&str) -> Option<OsString>,
    cancel: &CancellationToken,
) -> Result<(), Failure> {
    let (title, text) = (plain(&notice.title, LONGEST_TITLE), plain(&notice.text, LONGEST_TEXT));
    if title.trim().is_empty() {
        return Err(Failure::last("a notification needs a `title`"));
    }
    let Shown { path, arguments, stdin } = system::shown(&title, &text, &environment)?;
    let name = path.display().to_string();
    let environment = PASSED_ON.iter().filter_map(|name| Some(((*name).to_owned(), environment(name)?))).collect();
    let call = Call {
        path,
        arguments,
        environment,
        secrets: BTreeMap::new(),
        directory: "/".into(),
        stdin: stdin.into(),
        timeout: PATIENCE,
    };
    let failed = |why: String| Failure::last(format!("the notification was not shown: {why}"));
    match program::run(call, cancel).await {
        Ok(ran) if ran.status.success() => Ok(()),
        Ok(ran) => Err(failed(format!("{name}: {}", String::from_utf8_lossy(&ran.said.bytes).trim()))),
        Err(Broken::Cancelled) => Err(Failure::Cancelled),
        Err(Broken::TimedOut(_)) => {
            Err(Failure::may_pass(format!("the notification was not shown: {name} did not end for {PATIENCE:?}")))
        }
        Err(Broken::NotStarted(error) | Broken::Lost(error)) => Err(failed(format!("{name}: {error}"))),
        Err(Broken::TooMuch(_)) => Err(failed(format!("{name} prints without end"))),
    }
}

/// A text of bounded length, without what no argument can have or a terminal would obey.
fn plain(text: &str, longest: usize) -> String {
    let clean: String = text.chars().filter(|c| !c.is_control() || *c == '\n').collect();
    if clean.chars().count() <= longest {
        return clean;
    }
    clean.chars().take(longest).chain(['…']).collect()
}

#[cfg(target_os = "macos")]
mod system {
    use super::{Failure, OsString, Shown};

    /// The texts are behind the name of the script, so that neither is taken for an option.
    const SCRIPT: &str = "on run argv\ndisplay notification (item 2 of argv) with title (item 1 of argv)\nend run\n";

    #[expect(clippy::unnecessary_wraps, reason = "elsewhere the program may be missing")]
    pub(super) fn shown(title: &str, text: &str, _: &impl Fn(&str) -> Option<OsString>) -> Result<Shown, Failure> {
        Ok(Shown {
            path: "/usr/bin/osascript".into(),
            arguments: vec!["-".into(), title.into(), text.into()],
            stdin: SCRIPT,
        })
    }
}

#[cfg(not(target_os = "macos"))]
mod system {
    use super::super::shell::allowed::find;
    use super::{Failure, OsString, Shown};

    /// What shows the text may read it as markup.
    pub(super) fn shown(
        title: &str,
        text: &str,
        environment: &impl Fn(&str) -> Option<OsString>,
    ) -> Result<Shown, Failure> {
        let found = environment("PATH").and_then(|path| find("notify-send", &path));
        let path = found.ok_or_else(|| {
            Failure::last("notifications cannot be shown here: there is no notify-send, which comes with libnotify")
        })?;
        let text = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
        Ok(Shown { path, arguments: vec!["--app-name=talkied".into(), "--".into(), title.into(), text], stdin: "" })
    }
}

#[cfg(test)]
#[path = "notify_tests.rs"]
mod tests;
