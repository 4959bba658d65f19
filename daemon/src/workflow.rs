//! Workflows: what is done step by step while nobody asks.
//!
//! In reading order: [`directory`] knows the files, [`store`] keeps runs and their logs, [`queue`] is the loop that owns which
//! runs wait and which go on, [`run`] takes one run through its course, [`tools`] has each step done by its
//! [`action`], [`trigger`] starts what starts by itself, and
//! [`hooks`] follow what [happens](happening). What comes next in a
//! run is decided by the crate `workflow` alone. [`Workflows`] is the handle; [`Workflows::start`] is how runs begin, whoever
//! wants one.

pub mod action;
pub mod directory;
mod happening;
mod hooks;
mod queue;
mod run;
mod store;
mod tell;
pub mod tools;
mod trigger;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use jiff::Zoned;
use protocol::{
    CheckWorkflow, ErrorData, Kind, ListRuns, OpenStep, PlannedStep, ResumeRun, Run, RunDetails, RunEvent, RunId,
    RunState, ShowRun, SubscribeRuns, WorkflowCheck, WorkflowFile, WorkflowList,
};
use serde_json::{Map, Value};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use workflow::course::{Course, Given, Program, Texts, plan};
use workflow::{MOST_OUTPUT_BYTES, Workflow};

use crate::error::{internal, invalid};
use crate::events::Events;
use directory::{Directory, Snapshot};
use happening::Happenings;
use queue::{By, Loop, Message};
use store::{Change, New, Store, Wanted};
use tools::Tools;
pub use trigger::webhook;

/// Messages that may wait for the loop; senders wait when it is full.
const MESSAGES: usize = 64;

/// Runs of a workflow that may wait when a trigger wants one more, and runs of all that may wait at all.
const MOST_WAITING_OF_ONE: u32 = 64;
const MOST_WAITING: u32 = 1000;

/// Runs that are listed where nothing is said.
const LISTED: u32 = 100;

/// What starts a run.
#[derive(Debug, Clone)]
pub enum Cause {
    /// Somebody asks for it.
    ByHand,
    /// A trigger.
    Trigger {
        /// Which, in words.
        words: String,
        /// What happened, for `EVENT`.
        event: Option<Value>,
    },
}

/// What is told of a run that somebody asked for.
const BY_HAND: &str = "by hand";

/// A handle on workflows and their runs.
#[derive(Debug, Clone)]
pub struct Workflows {
    directory: Arc<Directory>,
    store: Store,
    messages: mpsc::Sender<Message>,
    /// How many runs wait or go on.
    busy: watch::Receiver<usize>,
    /// What keeps triggers from starting runs.
    troubles: trigger::Troubles,
}

/// The tasks behind a handle, to be waited for at the end.
#[derive(Debug)]
pub struct Tasks {
    /// The loop, which ends when its runs have.
    pub runs: JoinHandle<()>,
    /// The watch of the folder.
    pub watch: JoinHandle<()>,
    /// What starts runs by itself, and hooks.
    pub triggers: JoinHandle<()>,
}

impl Workflows {
    /// Starts the loop, which goes on with the runs that were not at rest when the daemon last ended. At `stop` a step that is
    /// at work has so long to end.
    pub fn start_loop(
        home: &Path,
        tools: Tools,
        events: &Events,
        drain: watch::Receiver<Duration>,
        stop: CancellationToken,
    ) -> (Self, Tasks) {
        let (messages, receiver) = mpsc::channel(MESSAGES);
        let (store, directory) = (Store::new(home), Arc::new(Directory::new(home)));
        let (told, busy) = watch::channel(0);
        let (user, tools) = (tools.user_home().to_path_buf(), Arc::new(tools));
        let hooks = hooks::follow(
            home.to_path_buf(),
            Arc::clone(&tools),
            Happenings::follow(events, Some(store.ends())),
            stop.clone(),
        );
        let looped = Loop::new(store.clone(), tools, drain, told, stop.clone());
        let runs = tokio::spawn(looped.run(receiver));
        let watch = tokio::spawn(directory::watch(Arc::clone(&directory), stop.clone()));
        let workflows = Self { directory, store, messages, busy, troubles: trigger::Troubles::default() };
        let triggers = trigger::follow(workflows.clone(), user, Happenings::follow(events, None), stop);
        let triggers = tokio::spawn(async { _ = tokio::join!(triggers, hooks) });
        (workflows, Tasks { runs, watch, triggers })
    }

    /// Begins a run of a workflow as its file is now, or has it wait for its turn.
    pub async fn start(&self, name: &str, inputs: Map<String, Value>, cause: Cause) -> Result<Run, ErrorData> {
        let by = match cause {
            Cause::ByHand => By::Hand,
            Cause::Trigger { .. } => By::Trigger,
        };
        let new = self.new_run(name, inputs, cause).await?;
        let run = self.store.add(new).await?;
        self.tell(Message::Queue(number(&run.run)?, by)).await?;
        Ok(run)
    }

    /// A run of a workflow as its file is now, if there is room for one more.
    async fn new_run(&self, name: &str, inputs: Map<String, Value>, cause: Cause) -> Result<New, ErrorData> {
        let snapshot = self.directory.look().await?;
        let (words, event) = match cause {
            Cause::ByHand => (BY_HAND.to_owned(), None),
            Cause::Trigger { words, event } => {
                self.make_room(Some(name), MOST_WAITING_OF_ONE).await?;
                (words, event)
            }
        };
        self.make_room(None, MOST_WAITING).await?;
        let (texts, given) = runnable(&snapshot, name, inputs, event)?;
        Ok(New { workflow: name.to_owned(), cause: words, texts, given })
    }

    /// What a run would do; nothing is done.
    pub async fn plan(&self, name: &str, inputs: Map<String, Value>) -> Result<Vec<PlannedStep>, ErrorData> {
        let snapshot = self.directory.look().await?;
        let (texts, given) = runnable(&snapshot, name, inputs, None)?;
        planned(name, &texts, &given)
    }

    /// All workflows.
    pub async fn list(&self) -> Result<WorkflowList, ErrorData> {
        let snapshot = self.directory.look().await?;
        let runs = self.store.latest_of_each().await?;
        let last = |name: &str| runs.iter().find(|run| run.workflow == name).cloned();
        let told = snapshot
            .entries
            .values()
            .map(|entry| tell::workflow(&snapshot, entry, self.troubles.of(&entry.name), last(&entry.name)));
        let folder = self.directory.folder().display().to_string();
        Ok(WorkflowList { folder, problem: snapshot.problem.clone(), workflows: told.collect() })
    }

    /// One workflow with its text and its steps.
    pub async fn get(&self, name: &str) -> Result<WorkflowFile, ErrorData> {
        let snapshot = self.directory.look().await?;
        let entry = snapshot.entry(name)?;
        let wanted = Wanted { workflow: Some(name.to_owned()), state: None, limit: 1 };
        let last = self.store.list(wanted).await?.pop();
        let workflow = tell::workflow(&snapshot, entry, self.troubles.of(name), last);
        let steps = match snapshot.runnable(name) {
            Ok((_, texts)) => planned(name, &texts, &Given::new(Map::new(), None, &Zoned::now()))?,
            Err(_) => Vec::new(),
        };
        Ok(WorkflowFile { workflow, steps, text: entry.text.clone() })
    }

    /// Everything that is wrong with a text.
    pub async fn check(&self, request: CheckWorkflow) -> Result<WorkflowCheck, ErrorData> {
        let snapshot = self.directory.look().await?;
        let name = request.name.unwrap_or_else(|| "new".into());
        let checked = tokio::task::spawn_blocking(move || snapshot.problems_of_text(&name, &request.text)).await;
        Ok(WorkflowCheck { problems: checked.map_err(|_| internal("checking a workflow panicked"))? })
    }

    /// Runs, the latest first.
    pub async fn runs(&self, request: ListRuns) -> Result<Vec<Run>, ErrorData> {
        let limit = request.limit.unwrap_or(LISTED);
        let most = protocol::runs::MOST_RUNS;
        if !(1..=most).contains(&limit) {
            return Err(invalid(format!("`limit` is {limit}, but must lie in 1 to {most}")));
        }
        self.store.list(Wanted { workflow: request.workflow, state: request.state, limit }).await
    }

    /// One run with a part of its log.
    pub async fn show(&self, request: ShowRun) -> Result<RunDetails, ErrorData> {
        let page = self.store.page(number(&request.run)?, request.after).await?;
        let page = page.ok_or_else(|| not_found(&request.run))?;
        let (output, outputs) = page.result.unzip();
        Ok(RunDetails { run: page.run, inputs: page.given.inputs, output, outputs, log: page.log, more: page.more })
    }

    /// Stops a run, which is at rest when this returns.
    pub async fn cancel(&self, id: &RunId) -> Result<Run, ErrorData> {
        let (reply, ended) = oneshot::channel();
        self.tell(Message::Cancel(number(id)?, reply)).await?;
        let was_at_work = ended.await.map_err(|_| ending())?;
        let page = self.store.page(number(id)?, u64::MAX).await?;
        let run = page.ok_or_else(|| not_found(id))?.run;
        if was_at_work {
            return Ok(run);
        }
        Err(invalid(format!("{id} is {} already, so there is nothing to cancel", run.state)))
    }

    /// Goes on with a run that is at rest and has not done all.
    pub async fn resume(&self, request: ResumeRun) -> Result<Run, ErrorData> {
        const FROM: &[RunState] = &[RunState::Failed, RunState::Cancelled, RunState::Interrupted];
        let id = number(&request.run)?;
        let kept = self.store.kept(id).await?.ok_or_else(|| not_found(&request.run))?;
        let refuse = |state| {
            invalid(format!(
                "{} is {state}: only one that failed, or was cancelled or interrupted, goes on",
                request.run
            ))
        };
        if !FROM.contains(&kept.run.state) {
            return Err(refuse(kept.run.state));
        }
        let (run, open) = (request.run.0.clone(), request.open);
        let decided = tokio::task::spawn_blocking(move || decided(kept, &run, open)).await;
        let mut changes = decided.map_err(|_| internal("looking at a run panicked"))??;
        changes.push(Change::state(RunState::Waiting, Some("somebody has it go on".into())));
        match self.store.turn(id, FROM, changes).await? {
            None => Err(not_found(&request.run)),
            Some((run, false)) => Err(refuse(run.state)),
            Some((run, true)) => {
                self.tell(Message::Queue(id, By::Hand)).await?;
                Ok(run)
            }
        }
    }

    /// Follows runs.
    pub async fn follow(&self, request: &SubscribeRuns) -> Result<Follower, ErrorData> {
        // Before the look, so that nothing falls between.
        let signs = self.store.signs();
        let Some(id) = &request.run else {
            if request.after.is_some() {
                return Err(invalid("`after` needs a `run`: each run counts its entries by itself"));
            }
            let seen = self.store.place(None, None).await?;
            return Ok(Follower { store: self.store.clone(), signs, run: None, seen, is_over: false });
        };
        let number = number(id)?;
        let page = self.store.page(number, u64::MAX).await?.ok_or_else(|| not_found(id))?;
        // Of one at rest the last entry is still to come, which says so.
        let after = match request.after {
            None if page.run.state.is_at_rest() => Some(self.store.last_of(number).await?.saturating_sub(1)),
            after => after,
        };
        let seen = self.store.place(Some(number), after).await?;
        Ok(Follower { store: self.store.clone(), signs, run: Some(number), seen, is_over: false })
    }

    /// Whether a run waits or goes on, or something may start one that no client does.
    pub fn is_busy(&self) -> bool {
        let files = self.files();
        let starts_by_itself = files.borrow().entries.values().any(|entry| trigger::is_needed(entry));
        *self.busy.borrow() > 0 || starts_by_itself
    }

    /// What lies in the folder, and its changes, for triggers.
    pub fn files(&self) -> watch::Receiver<Arc<Snapshot>> {
        self.directory.follow()
    }

    async fn make_room(&self, workflow: Option<&str>, most: u32) -> Result<(), ErrorData> {
        let waiting = self.store.waiting(workflow.map(str::to_owned)).await?;
        if waiting < most {
            return Ok(());
        }
        let of = workflow.map_or(String::new(), |name| format!(" of {name:?}"));
        let words = format!("{waiting} runs{of} wait already, which are the most: try again when some are done");
        Err(ErrorData { retry_after_ms: Some(10_000), ..ErrorData::new(Kind::Busy, words) })
    }

    async fn tell(&self, message: Message) -> Result<(), ErrorData> {
        self.messages.send(message).await.map_err(|_| ending())
    }
}

/// One who follows runs. Nothing is lost, however slow it is: it reads what the file has.
#[derive(Debug)]
pub struct Follower {
    store: Store,
    signs: watch::Receiver<i64>,
    run: Option<u64>,
    seen: i64,
    is_over: bool,
}

impl Follower {
    /// Waits for what happens next; `None` after the end of the one run. Dropping the future loses nothing.
    pub async fn next(&mut self) -> Option<Vec<RunEvent>> {
        while !self.is_over {
            self.signs.mark_unchanged();
            let (events, seen) = match self.store.news(self.run, self.seen).await {
                Ok(news) => news,
                Err(error) => {
                    tracing::warn!("runs cannot be followed: {}", error.message);
                    return None;
                }
            };
            self.seen = seen;
            if !events.is_empty() {
                self.is_over = self.run.is_some() && events.last().is_some_and(tell::is_end);
                return Some(events);
            }
            if self.signs.changed().await.is_err() {
                return None;
            }
        }
        None
    }
}

/// The files of a workflow, and what a run of it is given.
fn runnable(
    snapshot: &Snapshot,
    name: &str,
    inputs: Map<String, Value>,
    event: Option<Value>,
) -> Result<(Texts, Given), ErrorData> {
    let (workflow, texts) = snapshot.runnable(name)?;
    check_inputs(workflow, &inputs)?;
    Ok((texts, Given::new(inputs, event, &Zoned::now())))
}

fn check_inputs(workflow: &Workflow, inputs: &Map<String, Value>) -> Result<(), ErrorData> {
    if let Some(problem) = workflow.input_problems(inputs.keys().map(String::as_str)).into_iter().next() {
        return Err(ErrorData::new(
            Kind::WorkflowInvalid,
            format!("a run of {:?} cannot begin: {problem}", workflow.name),
        ));
    }
    for (name, value) in inputs {
        let bytes = value.to_string().len();
        if bytes > MOST_OUTPUT_BYTES {
            return Err(invalid(format!("the input `{name}` has {bytes} bytes, but {MOST_OUTPUT_BYTES} are the most")));
        }
    }
    Ok(())
}

fn planned(name: &str, texts: &Texts, given: &Given) -> Result<Vec<PlannedStep>, ErrorData> {
    let program = Program::read(name, texts)
        .map_err(|(name, problems)| directory::invalid(&name, &directory::told_all(problems)))?;
    plan(&program, "run_0", given).map_err(internal)
}

/// What has a run go on.
fn decided(kept: store::Kept, run: &str, open: Option<OpenStep>) -> Result<Vec<Change>, ErrorData> {
    let mut course = run::course(kept, run).map_err(invalid)?;
    let changes = Course::resume(&mut course, open).map_err(|words| invalid(format!("{run}: {words}")))?;
    Ok(changes.into_iter().map(Change::Entry).collect())
}

fn number(id: &RunId) -> Result<u64, ErrorData> {
    id.number().ok_or_else(|| not_found(id))
}

fn not_found(id: &RunId) -> ErrorData {
    let shown: String = id.0.chars().take(100).collect();
    ErrorData::new(Kind::RunNotFound, format!("there is no run {shown:?}; `workflows.runs` lists them"))
}

fn ending() -> ErrorData {
    ErrorData::new(Kind::ShuttingDown, "the daemon is ending; start it again and repeat the request")
}
