//! Does what is due: looks up the secrets that a task names, and hands it to the action of its kind.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use protocol::{RunId, SecretName};
use secrecy::SecretString;
use serde_json::Value;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use workflow::course::{Due, SaveFileTask, ShellTask, Task, WebhookTask};
use workflow::file;

use super::action::Failure;
use super::action::llm::{Answered, Asker};
use super::action::notify::{self, Notice};
use super::action::save_file::{self, Exists, File, Homes};
use super::action::secret::Secrets;
use super::action::shell::{Command, Policy, Shell, What};
use super::action::webhook::{ApiKey, Hmac, Reach, Request, Sender};
use super::store::Store;
use crate::provider::Keys;

/// How long programs and requests may take where the workflow does not say.
const USUAL_TIME: Duration = Duration::from_mins(10);

/// What an action gave.
#[derive(Debug, Clone, PartialEq)]
pub struct Output {
    /// The output of the step.
    pub value: Value,
    /// Tokens of its prompt.
    pub prompt_tokens: u64,
    /// Tokens of its answer.
    pub completion_tokens: u64,
    /// What they cost, in US dollars; `None` where that is not known.
    pub cost_usd: Option<f64>,
}

/// What the settings let workflows do.
#[derive(Debug, Clone, Default)]
pub struct May {
    /// Which programs they may run.
    pub shell: Policy,
    /// Whether they may reach this machine alone.
    pub local_only: bool,
}

/// Everything that actions need.
#[derive(Debug)]
pub struct Tools {
    asker: Asker,
    secrets: Secrets,
    sender: Sender,
    homes: Homes,
    may: watch::Receiver<May>,
}

impl Tools {
    /// Of a daemon with that home.
    pub fn new(asker: Asker, keys: Keys, daemon: PathBuf, may: watch::Receiver<May>) -> Self {
        let user = std::env::var_os("HOME").map_or_else(|| daemon.clone(), PathBuf::from);
        let (secrets, sender) = (Secrets::new(keys), Sender::default());
        Self { asker, secrets, sender, homes: Homes { user, daemon }, may }
    }

    /// What `~` stands for.
    pub fn user_home(&self) -> &Path {
        &self.homes.user
    }

    /// Does one task of a run, of which the store is told what files it saves. Dropping the future stops it; `cancel` asks
    /// programs to end first.
    pub async fn act(&self, store: &Store, run: u64, due: &Due, cancel: &CancellationToken) -> Result<Output, Failure> {
        let time = due.timeout.unwrap_or(USUAL_TIME);
        match &due.task {
            Task::Llm(llm) => {
                let asked = self.asker.ask(&due.workflow, &llm.request);
                match due.timeout {
                    None => asked.await.map(Output::from),
                    Some(time) => within(time, asked).await.map(Output::from),
                }
            }
            // They keep their time themselves, and end in order when it is over.
            Task::Shell(shell) => self.shell(shell, time, cancel).await.map(Output::from),
            Task::Webhook(webhook) => {
                let key = format!("{}/{}", RunId::of(run), due.place);
                self.webhook(webhook, Some(key), time).await.map(Output::from)
            }
            Task::SaveFile(file) => within(time, self.save(file, run, store.clone())).await.map(Output::from),
            Task::Notify(notice) => {
                let notice = Notice { title: notice.title.clone(), text: notice.text.clone() };
                within(time, notify::show(notice, |name| std::env::var_os(name), cancel)).await?;
                Ok(Output::from(Value::Null))
            }
            Task::Enter(kind) => Err(Failure::Final(format!("{kind} steps are done by the steps inside"))),
        }
    }

    /// Runs a program.
    pub async fn shell(
        &self,
        shell: &ShellTask,
        timeout: Duration,
        cancel: &CancellationToken,
    ) -> Result<Value, Failure> {
        let mut secrets = BTreeMap::new();
        for (variable, name) in &shell.secrets {
            secrets.insert(variable.clone(), self.secret(name).await?);
        }
        let what = match (&shell.script, shell.command.split_first()) {
            (Some(script), _) => What::Script(script.clone()),
            (None, Some((name, arguments))) => What::Program { name: name.clone(), arguments: arguments.to_vec() },
            (None, None) => return Err(Failure::Final("there is neither a `command` nor a `script`".into())),
        };
        let command = Command {
            what,
            stdin: shell.stdin.clone().unwrap_or_default(),
            directory: shell.directory.clone(),
            environment: shell.environment.clone(),
            secrets,
            timeout,
        };
        let policy = self.may.borrow().shell.clone();
        let output = Shell::new(policy).run(command, cancel).await?;
        value(output.text, shell.output)
    }

    /// Sends a request, with a key by which a second try of the same is known.
    pub async fn webhook(
        &self,
        webhook: &WebhookTask,
        key: Option<String>,
        timeout: Duration,
    ) -> Result<Value, Failure> {
        let bearer = match &webhook.bearer {
            Some(name) => Some(self.secret(name).await?),
            None => None,
        };
        let api_key = match &webhook.api_key {
            Some((header, name)) => Some(ApiKey { header: header.clone(), key: self.secret(name).await? }),
            None => None,
        };
        let hmac = match &webhook.hmac {
            Some((header, name)) => Some(Hmac { header: header.clone(), key: self.secret(name).await? }),
            None => None,
        };
        let request = Request {
            url: webhook.url.clone(),
            method: webhook.method.name().into(),
            headers: webhook.headers.clone(),
            body: webhook.body.clone(),
            bearer,
            api_key,
            hmac,
            idempotency_key: key,
            reach: if self.may.borrow().local_only { Reach::ThisMachine } else { Reach::Anywhere },
            timeout,
        };
        let output = self.sender.send(request, SystemTime::now()).await?;
        value(output.text, webhook.output)
    }

    async fn save(&self, file: &SaveFileTask, run: u64, store: Store) -> Result<Value, Failure> {
        let exists = match file.exists {
            file::Exists::Replace => Exists::Replace,
            file::Exists::Fail => Exists::Fail,
            file::Exists::Number => Exists::Number,
            file::Exists::Append => Exists::Append,
        };
        let (path, text) = (file.path.clone(), file.text.clone());
        let claim = move |path: &Path| store.claim(run, path).map_err(|error| io::Error::other(error.message));
        let output = save_file::save(File { path, text, exists }, self.homes.clone(), claim).await?;
        Ok(Value::String(output.path.display().to_string()))
    }

    async fn secret(&self, name: &str) -> Result<SecretString, Failure> {
        self.secrets.find(&SecretName(name.to_owned())).await
    }
}

/// What was printed or answered, as the step wants it.
fn value(text: String, output: file::Output) -> Result<Value, Failure> {
    match output {
        file::Output::Text => Ok(Value::String(text)),
        file::Output::Json => {
            serde_json::from_str(&text).map_err(|error| Failure::Final(format!("its output is no JSON: {error}")))
        }
    }
}

async fn within<T>(time: Duration, acted: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let late = || Failure::MayPass { words: format!("it was not done within {time:?}"), after: None };
    tokio::time::timeout(time, acted).await.unwrap_or_else(|_| Err(late()))
}

impl From<Answered> for Output {
    fn from(answered: Answered) -> Self {
        let Answered { value, prompt_tokens, completion_tokens, cost_usd } = answered;
        Self { value, prompt_tokens, completion_tokens, cost_usd }
    }
}

impl From<Value> for Output {
    fn from(value: Value) -> Self {
        Self { value, prompt_tokens: 0, completion_tokens: 0, cost_usd: Some(0.0) }
    }
}
