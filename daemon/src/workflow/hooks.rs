//! Hooks: programs and requests that follow what happens in the daemon, as `hooks.toml` in its home says.
//!
//! The file is read when something happens and it has changed. It must be the user's alone to write, and programs are those
//! that workflows may run. A few hooks run at once, some wait, and what is more is counted and said: nothing here is waited
//! for by anybody, and a hook that fails is a line in the log.

use std::collections::VecDeque;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::Value;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use workflow::course::{ShellTask, WebhookTask};
use workflow::file::{Method, Output};
use workflow::hooks::{self, Hook, HookWebhook};

use super::action::Failure;
use super::directory::{self, Stamp};
use super::happening::{Happening, Happenings};
use super::tools::Tools;

/// Hooks that run at once, and that wait.
const AT_ONCE: usize = 4;
const MOST_WAITING: usize = 64;

/// A hook for something that happened.
#[derive(Debug, Clone)]
struct Call {
    hook: Arc<Hook>,
    happening: Arc<Happening>,
}

/// The loop.
struct Hooks {
    file: PathBuf,
    tools: Arc<Tools>,
    known: Vec<Arc<Hook>>,
    /// What the file looked like when it was read.
    read: Option<Stamp>,
    waiting: VecDeque<Call>,
    at_work: JoinSet<()>,
    /// What found no room, since the last time that something did.
    dropped: u64,
    stop: CancellationToken,
}

/// Follows what happens, until `stop`.
pub async fn follow(home: PathBuf, tools: Arc<Tools>, mut happenings: Happenings, stop: CancellationToken) {
    let mut hooks = Hooks {
        file: home.join("hooks.toml"),
        tools,
        known: Vec::new(),
        read: None,
        waiting: VecDeque::new(),
        at_work: JoinSet::new(),
        dropped: 0,
        stop: stop.clone(),
    };
    // What is wrong with it is told at once.
    hooks.look().await;
    loop {
        tokio::select! {
            () = stop.cancelled() => break,
            happened = happenings.next() => {
                if !happened.is_empty() {
                    hooks.look().await;
                }
                for happening in happened {
                    hooks.take(&Arc::new(happening));
                }
            }
            Some(_) = hooks.at_work.join_next() => hooks.begin(),
        }
    }
    // They are told to end by `stop`, and get a moment for it.
    while hooks.at_work.join_next().await.is_some() {}
}

impl Hooks {
    /// Reads the file if it has changed.
    async fn look(&mut self) {
        let (file, read) = (self.file.clone(), self.read);
        let looked = tokio::task::spawn_blocking(move || {
            let stamp = fs::metadata(&file).ok().map(|metadata| Stamp::of(&metadata));
            (stamp, (stamp != read && stamp.is_some()).then(|| text(&file)))
        });
        let Ok((stamp, text)) = looked.await else { return };
        self.read = stamp;
        if stamp.is_none() {
            self.known.clear();
        }
        let Some(text) = text else { return };
        self.known = text.and_then(|text| hooks_of(&text)).unwrap_or_else(|problems| {
            tracing::error!(file = %self.file.display(), "no hook runs: {problems}");
            Vec::new()
        });
    }

    fn take(&mut self, happening: &Arc<Happening>) {
        for hook in self.known.iter().filter(|hook| hook.on.contains(&happening.kind)) {
            if self.waiting.len() < MOST_WAITING {
                self.waiting.push_back(Call { hook: Arc::clone(hook), happening: Arc::clone(happening) });
                continue;
            }
            self.dropped += 1;
            if self.dropped == 1 {
                tracing::warn!("{MOST_WAITING} hooks wait, and no more are taken until some have run");
            }
        }
        self.begin();
    }

    fn begin(&mut self) {
        while self.at_work.len() < AT_ONCE {
            let Some(call) = self.waiting.pop_front() else { break };
            if self.dropped > 0 {
                tracing::warn!(dropped = self.dropped, "hooks were not run, because too many waited");
                self.dropped = 0;
            }
            let (tools, stop) = (Arc::clone(&self.tools), self.stop.clone());
            self.at_work.spawn(async move { call.run(&tools, &stop).await });
        }
    }
}

impl Call {
    async fn run(&self, tools: &Tools, stop: &CancellationToken) {
        let timeout = self.hook.timeout.0;
        let told = Value::Object(self.happening.told.clone()).to_string();
        let (shown, ran) = match (&self.hook.command, &self.hook.webhook) {
            (Some(command), _) => {
                let task = self.shell(command, told);
                let shown = command.first().cloned().unwrap_or_default();
                (shown, tools.shell(&task, timeout, stop).await.map(drop))
            }
            (None, Some(webhook)) => {
                let sent = async { tools.webhook(&request(webhook, told), None, timeout).await.map(drop) };
                let sent = tokio::select! {
                    sent = sent => sent,
                    () = stop.cancelled() => Err(Failure::Cancelled),
                };
                ("a request".to_owned(), sent)
            }
            (None, None) => return,
        };
        let event = self.happening.kind.name();
        match ran {
            Ok(()) => tracing::debug!(hook = shown, event, "a hook has run"),
            Err(failure) => tracing::warn!(hook = shown, event, "a hook failed: {failure}"),
        }
    }

    fn shell(&self, command: &[String], stdin: String) -> ShellTask {
        let variable = |(name, value): (&String, &Value)| {
            Some((format!("TALKIE_{}", name.to_ascii_uppercase()), value.as_str()?.replace('\0', "")))
        };
        ShellTask {
            command: command.to_vec(),
            script: None,
            stdin: Some(stdin),
            directory: None,
            environment: self.happening.told.iter().filter_map(variable).collect(),
            secrets: std::collections::BTreeMap::new(),
            output: Output::Text,
        }
    }
}

fn request(webhook: &HookWebhook, body: String) -> WebhookTask {
    WebhookTask {
        url: webhook.url.clone(),
        method: Method::Post,
        headers: webhook.headers.0.clone(),
        body: Some(body),
        bearer: webhook.bearer.as_ref().map(|name| name.value.clone()),
        api_key: webhook.api_key.as_ref().map(|key| (key.header.value.clone(), key.secret.value.clone())),
        hmac: webhook.hmac.as_ref().map(|hmac| (hmac.header.value.clone(), hmac.secret.value.clone())),
        output: Output::Text,
    }
}

/// What stands in the file, if nobody else may change it.
fn text(file: &Path) -> Result<String, String> {
    let home = file.parent().unwrap_or(Path::new("/"));
    let metadata = fs::metadata(home).map_err(|error| format!("{} cannot be read: {error}", home.display()))?;
    match directory::unsafe_of(&metadata) {
        Some(problem) => Err(format!("of its folder: {problem}")),
        None => directory::text(file),
    }
}

fn hooks_of(text: &str) -> Result<Vec<Arc<Hook>>, String> {
    let told =
        |problems: Vec<workflow::Problem>| problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
    hooks::read(text).map(|hooks| hooks.into_iter().map(Arc::new).collect()).map_err(told)
}
