//! The user's systemd: units, the commands of `systemctl --user`, and what its refusals mean.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use super::error::Error;
use super::job::{Found, Job, text};
use super::template::Template;
use super::tool::{Call, Ran};
use super::{Loaded, ServiceFile, Step, files};

const TOOL: &str = "systemctl";

/// Where there is no such tool.
pub(super) const NOT_THERE: &str =
    "without systemd there is no service to install; talkiectl starts talkied on demand all the same";

const SOCKET: &str = "talkied.socket";
const SERVICE: &str = "talkied.service";

const SOCKET_UNIT: Template = Template(include_str!("../../../launchd/talkied.socket"));
const SERVICE_UNIT: Template = Template(include_str!("../../../launchd/talkied.service"));

/// What is asked of both units.
const PROPERTIES: &str = "--property=Id,LoadState,ActiveState,UnitFileState,NeedDaemonReload,Result,MainPID,ExecMainCode,\
     ExecMainStatus,NRestarts";

/// The code a broken configuration ends the daemon with, as in the unit's `RestartPreventExitStatus`.
const BROKEN_CONFIGURATION: &str = "78";

/// The socket's unit, then the service's.
pub(super) fn paths(config: &Path) -> [PathBuf; 2] {
    [SOCKET, SERVICE].map(|unit| config.join("systemd").join("user").join(unit))
}

pub(super) fn files(config: &Path, job: &Job) -> Result<[ServiceFile; 2], Error> {
    let variable = |(name, value): &(String, String)| format!("Environment={}", quoted(&format!("{name}={value}")));
    let environment: Vec<String> = job.environment.iter().map(variable).collect();
    let socket = SOCKET_UNIT.fill(&[("SOCKET", &escaped(text(&job.socket)?))]);
    let program = quoted(program(&job.program)?);
    let service = SERVICE_UNIT.fill(&[("PROGRAM", &program), ("ENVIRONMENT", &environment.join("\n"))]);
    let [socket_path, service_path] = paths(config);
    Ok([ServiceFile { path: socket_path, text: socket }, ServiceFile { path: service_path, text: service }])
}

/// systemd runs no program with a quote or a backslash in its path, however it is written.
fn program(path: &Path) -> Result<&str, Error> {
    let text = text(path)?;
    if text.contains(['"', '\'', '\\']) {
        return Err(Error::program(
            path,
            "has a quote or a backslash in it, which systemd takes in no program",
            MOVE_IT,
        ));
    }
    Ok(text)
}

const MOVE_IT: &str = "put talkied into another folder, or name a link to it with --program";

/// What the installed units say, where they are of this version's form.
pub(super) fn read(config: &Path) -> Option<Found> {
    let [socket, service] = paths(config).map(|path| files::read(&path));
    let (socket, service) = (socket?, service?);
    let socket = SOCKET_UNIT.read(&socket)?.into_iter().find(|(name, _)| *name == "SOCKET")?.1;
    let program = SERVICE_UNIT.read(&service)?.into_iter().find(|(name, _)| *name == "PROGRAM")?.1;
    Some(Found { program: unquoted(program)?.into(), socket: socket.replace("%%", "%").into() })
}

/// `%` begins a specifier everywhere.
fn escaped(text: &str) -> String {
    text.replace('%', "%%")
}

/// One word, whatever is in it.
fn quoted(text: &str) -> String {
    format!("\"{}\"", escaped(text).replace('\\', r"\\").replace('"', r#"\""#))
}

fn unquoted(word: &str) -> Option<String> {
    let inner = word.strip_prefix('"')?.strip_suffix('"')?;
    Some(inner.replace(r#"\""#, "\"").replace(r"\\", r"\").replace("%%", "%"))
}

fn call(arguments: &[&str]) -> Call {
    Call::new(TOOL, &[&["--user"], arguments].concat())
}

pub(super) async fn look() -> Result<Loaded, Error> {
    let show = call(&["show", PROPERTIES, SOCKET, SERVICE]);
    let ran = show.run(NOT_THERE).await?;
    if ran.status.success() { Ok(parsed(&ran.stdout)) } else { Err(refused(&show, ran)) }
}

/// Units as `systemctl show` tells them: lines of `key=value`, with an empty line between two units.
fn parsed(shown: &str) -> Loaded {
    let unit = |text: &str| -> HashMap<String, String> {
        let pairs = text.lines().filter_map(|line| line.split_once('='));
        pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
    };
    let units: Vec<_> = shown.split("\n\n").map(unit).collect();
    let find = |id: &str| units.iter().find(|unit| unit.get("Id").is_some_and(|known| known == id));
    let (Some(socket), Some(service)) = (find(SOCKET), find(SERVICE)) else { return Loaded::default() };
    let value = |unit: &HashMap<String, String>, name: &str| unit.get(name).cloned().unwrap_or_default();
    let both = |name: &str, wanted: &str| value(socket, name) == wanted && value(service, name) == wanted;
    Loaded {
        known: both("LoadState", "loaded") && both("NeedDaemonReload", "no"),
        listens: value(socket, "ActiveState") == "active",
        at_login: Some(both("UnitFileState", "enabled")),
        pid: value(service, "MainPID").parse().ok().filter(|pid| *pid != 0),
        last_end: last_end(&|name| value(service, name)),
        problem: problem(&|name| value(socket, name)).or_else(|| problem(&|name| value(service, name))),
    }
}

/// `ExecMainCode` is that of waitid(2): 1 for an exit, 2 and 3 for a signal.
fn last_end(value: &dyn Fn(&str) -> String) -> Option<String> {
    let status = value("ExecMainStatus");
    match (&*value("ExecMainCode"), &*value("NRestarts")) {
        ("1", _) => Some(format!("exit code {status}")),
        ("2" | "3", _) => Some(format!("signal {status}")),
        (_, "" | "0") => None,
        (_, times) => Some(format!("failed and was started again, {times} times in a row")),
    }
}

fn problem(value: &dyn Fn(&str) -> String) -> Option<String> {
    let unit = value("Id");
    if value("LoadState") == "masked" {
        return Some(format!("{unit} is masked: `systemctl --user unmask {unit}`, then `talkiectl service install`"));
    }
    if value("LoadState") == "bad-setting" || value("LoadState") == "error" {
        return Some(format!("{unit} is broken: `talkiectl service install --force` writes it anew"));
    }
    if value("ActiveState") != "failed" {
        return None;
    }
    Some(match &*value("Result") {
        "start-limit-hit" | "service-start-limit-hit" | "trigger-limit-hit" => {
            format!("{unit} failed too often: {JOURNAL} says why; then `talkiectl service start` tries again")
        }
        "watchdog" => format!("{unit} hung and was ended: {JOURNAL} says more; `talkiectl service start` starts it"),
        "exit-code" if value("ExecMainStatus") == BROKEN_CONFIGURATION => {
            format!("the configuration is broken: {JOURNAL} says where; then `talkiectl service start`")
        }
        result => format!("{unit} has failed ({result}): {JOURNAL} says why; `talkiectl service start` tries again"),
    })
}

const JOURNAL: &str = "`journalctl --user -u talkied -n 20`";

/// In which order: what may be refused comes before anything is taken down. The socket stays where it is as it should
/// be, so that clients wait and do not fail.
pub(super) fn install(job: &Job, files: Vec<ServiceFile>, loaded: &Loaded) -> Vec<Step> {
    let socket_stays = loaded.listens && files.iter().take(1).all(files::is_there);
    let mut steps: Vec<Step> = job.folders().into_iter().map(Step::Folder).collect();
    steps.extend(files.into_iter().map(Step::Write));
    steps.push(Step::Run(call(&["daemon-reload"])));
    if !socket_stays {
        steps.push(Step::RunIfNeeded(call(&["stop", SOCKET, SERVICE])));
        steps.push(Step::EndDaemon(job.socket.clone()));
    }
    steps.push(Step::Run(call(&["enable", SOCKET, SERVICE])));
    steps.extend(up());
    steps.push(Step::Run(call(&["restart", SERVICE])));
    steps
}

/// The socket listens, whatever failed before.
fn up() -> [Step; 2] {
    [Step::RunIfNeeded(call(&["reset-failed", SOCKET, SERVICE])), Step::Run(call(&["start", SOCKET]))]
}

pub(super) fn uninstall(paths: Vec<PathBuf>, loaded: &Loaded) -> Vec<Step> {
    let mut steps = Vec::new();
    if loaded.listens || loaded.pid.is_some() {
        steps.extend(stop());
    }
    steps.push(Step::RunIfNeeded(call(&["disable", SOCKET, SERVICE])));
    steps.extend(paths.into_iter().map(Step::Remove));
    steps.push(Step::Run(call(&["daemon-reload"])));
    steps.push(Step::RunIfNeeded(call(&["reset-failed", SOCKET, SERVICE])));
    steps
}

pub(super) fn start(socket: Option<PathBuf>, loaded: &Loaded) -> Vec<Step> {
    let mut steps: Vec<Step> = socket.filter(|_| !loaded.listens).map(Step::EndDaemon).into_iter().collect();
    steps.extend(up());
    steps.push(Step::Run(call(&["start", SERVICE])));
    steps
}

/// Of both: a socket that is left starts the service again.
pub(super) fn stop() -> Vec<Step> {
    vec![Step::Run(call(&["stop", SOCKET, SERVICE]))]
}

pub(super) fn restart(socket: Option<PathBuf>, loaded: &Loaded) -> Vec<Step> {
    if loaded.listens { vec![Step::Run(call(&["restart", SERVICE]))] } else { start(socket, loaded) }
}

/// Whether a command failed only because there was nothing to do it with.
pub(super) fn is_gone(ran: &Ran) -> bool {
    ["not loaded", "does not exist", "not be found", "not found"].iter().any(|words| ran.words.contains(words))
}

/// The error of a command that failed.
pub(super) fn refused(call: &Call, ran: Ran) -> Error {
    let hint = hint(&ran.words);
    call.refused(ran, hint)
}

fn hint(words: &str) -> &'static str {
    let says = |text: &str| words.contains(text);
    if says("Failed to connect to bus") || says("XDG_RUNTIME_DIR") || says("not been booted with systemd") {
        "systemd runs nothing for this user here, as behind su or in a container: log in as the user (`ssh`, `machinectl \
         shell`), or run `loginctl enable-linger` and set XDG_RUNTIME_DIR=/run/user/$(id -u); until then talkiectl \
         starts talkied on demand"
    } else if says("masked") {
        "it is masked: `systemctl --user unmask talkied.socket talkied.service`, then run it again"
    } else if says("start-limit-hit") || says("repeated too quickly") {
        "it failed too often: `journalctl --user -u talkied -n 20` says why; `systemctl --user reset-failed talkied.socket \
         talkied.service` lets it start again"
    } else if says("Address already in use") {
        "another program listens on the socket: end it, or name another socket with TALKIE_SOCKET"
    } else if says("not found") || says("not loaded") {
        "systemd does not know the units: `talkiectl service install --force` writes them where it looks"
    } else {
        "`journalctl --user -u talkied -n 20` and `systemctl --user status talkied.socket talkied.service` say why"
    }
}

#[cfg(test)]
#[path = "systemd_tests.rs"]
mod tests;
