//! launchd: the agent's property list, the commands of `launchctl`, and what its refusals mean.
//!
//! Written from launchd.plist(5) and launchctl(1). Nothing here depends on the system it is compiled for.

use std::path::{Path, PathBuf};

use super::error::Error;
use super::job::{Found, Job, text};
use super::template::Template;
use super::tool::{Call, Ran};
use super::{Loaded, ServiceFile, Step, files};

/// The tool.
pub(super) const TOOL: &str = "launchctl";

/// Where there is no such tool.
pub(super) const NOT_THERE: &str = "launchd is macOS's: elsewhere talkied is a service of systemd";

const LABEL: &str = "dev.talkie.talkied";

const PLIST: Template = Template(include_str!("../../../launchd/dev.talkie.talkied.plist"));

/// What `launchctl` ends with where a job is not there: `ESRCH`, and its own code.
const NO_SUCH_PROCESS: i32 = 3;
const NO_SUCH_SERVICE: i32 = 113;

/// It is about to do what was asked.
const IN_PROGRESS: [i32; 2] = [36, 37];

/// The agent's property list.
pub(super) fn path(home: &Path) -> PathBuf {
    home.join("Library").join("LaunchAgents").join(format!("{LABEL}.plist"))
}

pub(super) fn file(home: &Path, job: &Job) -> Result<ServiceFile, Error> {
    let log = job.log();
    let variable = |(name, value): &(String, String)| {
        format!("\n        <key>{}</key>\n        <string>{}</string>", escaped(name), escaped(value))
    };
    let environment: String = job.environment.iter().map(variable).collect();
    let text = PLIST.fill(&[
        ("PROGRAM", &escaped(text(&job.program)?)),
        ("ENVIRONMENT", &environment),
        ("SOCKET", &escaped(text(&job.socket)?)),
        ("LOG", &escaped(text(&log)?)),
    ]);
    Ok(ServiceFile { path: path(home), text })
}

/// What the installed list says, where it is of this version's form.
pub(super) fn read(home: &Path) -> Option<Found> {
    let text = files::read(&path(home))?;
    let values = PLIST.read(&text)?;
    let value = |name| values.iter().find(|(known, _)| *known == name).map(|(_, value)| unescaped(value).into());
    Some(Found { program: value("PROGRAM")?, socket: value("SOCKET")? })
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

fn unescaped(text: &str) -> String {
    text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
}

/// The session that the user sees.
fn domain() -> String {
    format!("gui/{}", rustix::process::getuid().as_raw())
}

fn target() -> String {
    format!("{}/{LABEL}", domain())
}

pub(super) async fn look() -> Result<Loaded, Error> {
    let print = Call::new(TOOL, &["print", &target()]);
    let printed = print.run(NOT_THERE).await?;
    let known = printed.status.success();
    if !known && !is_gone(&printed) {
        return Err(refused(&print, printed));
    }
    let disabled = Call::new(TOOL, &["print-disabled", &domain()]).run(NOT_THERE).await?;
    let at_login = disabled.status.success().then(|| !is_disabled(&disabled.stdout));
    let problem = (at_login == Some(false)).then(|| {
        "launchd has it disabled, and does not start it at login; `talkiectl service install --force` enables it".into()
    });
    if !known {
        return Ok(Loaded { problem, ..Loaded::default() });
    }
    let loaded = parsed(&printed.stdout);
    Ok(Loaded { at_login, problem, ..loaded })
}

/// The job as `launchctl print` tells it: lines of `key = value`, of which the first of a name is the job's own.
fn parsed(printed: &str) -> Loaded {
    let value = |name: &str| {
        let mut pairs = printed.lines().filter_map(|line| line.trim().split_once(" = "));
        pairs.find(|(known, _)| *known == name).map(|(_, value)| value.trim().trim_matches('"').to_owned())
    };
    let code = value("last exit code").filter(|code| !code.starts_with('(')).map(|code| format!("exit code {code}"));
    let signal = value("last terminating signal").map(|signal| format!("signal {signal}"));
    Loaded {
        known: true,
        // It listens for as long as it knows the job.
        listens: true,
        pid: value("pid").and_then(|pid| pid.parse().ok()),
        last_end: signal.or(code),
        ..Loaded::default()
    }
}

/// Older systems say `true`, newer ones `disabled`.
fn is_disabled(printed: &str) -> bool {
    let label = format!("\"{LABEL}\"");
    let state = printed.lines().filter_map(|line| line.trim().split_once(" => ")).find(|(name, _)| *name == label);
    state.is_some_and(|(_, state)| matches!(state, "true" | "disabled"))
}

pub(super) fn install(job: &Job, file: ServiceFile, loaded: &Loaded) -> Vec<Step> {
    let load = bootstrap(&file.path);
    let mut steps: Vec<Step> = job.folders().into_iter().map(Step::Folder).collect();
    steps.push(Step::Write(file));
    if loaded.known {
        steps.extend(out());
    }
    steps.push(Step::EndDaemon(job.socket.clone()));
    steps.push(Step::Run(Call::new(TOOL, &["enable", &target()])));
    steps.push(load);
    steps
}

fn bootstrap(path: &Path) -> Step {
    Step::Run(Call::new(TOOL, &["bootstrap", &domain(), &path.to_string_lossy()]))
}

/// Bootstrapping is refused for as long as the old job is on its way out.
fn out() -> [Step; 2] {
    [Step::RunIfNeeded(Call::new(TOOL, &["bootout", &target()])), Step::WaitUntilGone]
}

pub(super) fn uninstall(paths: Vec<PathBuf>, loaded: &Loaded) -> Vec<Step> {
    let mut steps = if loaded.known { out().to_vec() } else { Vec::new() };
    steps.extend(paths.into_iter().map(Step::Remove));
    steps
}

pub(super) fn start(home: &Path, socket: Option<PathBuf>, loaded: &Loaded) -> Vec<Step> {
    if loaded.known {
        return vec![Step::Run(Call::new(TOOL, &["kickstart", &target()]))];
    }
    let mut steps: Vec<Step> = socket.map(Step::EndDaemon).into_iter().collect();
    steps.push(bootstrap(&path(home)));
    steps
}

pub(super) fn stop(loaded: &Loaded) -> Vec<Step> {
    if loaded.known { out().to_vec() } else { Vec::new() }
}

/// `kickstart -k` would kill: a signal lets running requests end. The socket stays with launchd all the while.
pub(super) fn restart(home: &Path, socket: Option<PathBuf>, loaded: &Loaded) -> Vec<Step> {
    let mut steps = Vec::new();
    if let Some(pid) = loaded.pid {
        steps.push(Step::RunIfNeeded(Call::new(TOOL, &["kill", "SIGTERM", &target()])));
        steps.push(Step::WaitForEnd(pid));
    }
    steps.extend(start(home, socket, loaded));
    steps
}

/// Whether a command failed only because there was nothing to do it with, or because it is being done.
pub(super) fn is_gone(ran: &Ran) -> bool {
    let code = code(ran);
    code == NO_SUCH_PROCESS || IN_PROGRESS.contains(&code) || is_no_service(ran)
}

fn is_no_service(ran: &Ran) -> bool {
    code(ran) == NO_SUCH_SERVICE || ran.words.contains("Could not find service")
}

/// The number that it says (`Bootstrap failed: 5: Input/output error`), else its exit code.
fn code(ran: &Ran) -> i32 {
    let said = ran.words.split("failed: ").nth(1).and_then(|rest| rest.split(':').next()?.trim().parse().ok());
    said.or(ran.status.code()).unwrap_or(-1)
}

/// The error of a command that failed.
pub(super) fn refused(call: &Call, ran: Ran) -> Error {
    let hint = hint(code(&ran), &ran.words);
    call.refused(ran, hint)
}

fn hint(code: i32, words: &str) -> String {
    let target = target();
    match code {
        5 => format!(
            "the job is loaded already, or disabled, or its file is broken, or not yours alone to write: run `talkiectl \
             service install --force`; if it stays so, `launchctl bootout {target}`, `launchctl enable {target}` and \
             `plutil -lint ~/Library/LaunchAgents/{LABEL}.plist` say which"
        ),
        17 => format!("the job is loaded already: `launchctl bootout {target}`, then run it again"),
        36 | 37 => "launchd is still busy with the old job: wait some seconds and run it again".into(),
        NO_SUCH_SERVICE => "the job is not loaded: `talkiectl service install` loads it".into(),
        119 => format!("the job is disabled: `launchctl enable {target}`, then run it again"),
        112 | 125 => NO_SESSION.into(),
        1 | 133 | 134 | 150 => {
            "macOS does not allow it: run it as yourself, without sudo, in a terminal of the desktop, \
             and allow talkied under System Settings, General, Login Items"
                .into()
        }
        _ if words.contains("does not support specified action") || words.contains("Could not find domain") => {
            NO_SESSION.into()
        }
        _ => format!(
            "`launchctl print {target}` tells how the job stands; `launchctl error {code}` what the number means"
        ),
    }
}

const NO_SESSION: &str = "launchd has no desktop session of this user, as over ssh while nobody is logged in: log in on \
     the Mac itself and run it there; until then talkiectl starts talkied on demand";

#[cfg(test)]
#[path = "launchd_tests.rs"]
mod tests;
