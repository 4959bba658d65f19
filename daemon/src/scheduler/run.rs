//! The scheduler's loop: takes messages, lets the residency decide, carries out its effects.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use engine::{Command, SequenceId};
use protocol::ErrorData;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::listeners::{Heard, Listeners};
use super::residency::Residency;
use super::resident::{Effect, EngineId, Ticket, Update};
use super::{Message, Settings, Snapshot};
use crate::backend::Backend;
use crate::memory::{self, Level};
use crate::process::{Engine, Report};

/// Owner of the engines, of the requests' channels, and of the residency that decides about them.
pub(super) struct Loop {
    settings: Settings,
    residency: Residency,
    engines: HashMap<EngineId, Engine>,
    listeners: Arc<Listeners>,
    tickets: HashMap<Ticket, oneshot::Sender<Result<(), ErrorData>>>,
    next_ticket: u64,
    /// One task for each request, done when its receiver is dropped.
    hangups: JoinSet<SequenceId>,
    /// Engines on their way out.
    retired: JoinSet<()>,
    /// For the engines' reports.
    messages: mpsc::Sender<Message>,
    /// How short the machine is of memory, which is asked as long as a model is there.
    pressure: watch::Receiver<Level>,
    has_models: watch::Sender<bool>,
    stop: CancellationToken,
}

impl Loop {
    pub(super) fn new(settings: Settings, messages: mpsc::Sender<Message>, stop: CancellationToken) -> Self {
        let (has_models, are_there) = watch::channel(false);
        let (levels, pressure) = watch::channel(Level::Calm);
        // It ends when nobody listens any more.
        if let Err(error) = memory::watch(settings.pressure.clone(), are_there, levels) {
            tracing::warn!("whether memory runs short is not known, for no thread could be started: {error}");
        }
        Self {
            residency: Residency::new(settings.limits.clone()),
            settings,
            engines: HashMap::new(),
            listeners: Arc::default(),
            tickets: HashMap::new(),
            next_ticket: 0,
            hangups: JoinSet::new(),
            retired: JoinSet::new(),
            messages,
            pressure,
            has_models,
            stop,
        }
    }

    /// Runs until stopped, then lets running requests end and takes every engine down.
    pub(super) async fn run(mut self, mut messages: mpsc::Receiver<Message>) {
        let stop = self.stop.clone();
        while !stop.is_cancelled() {
            tokio::select! {
                () = stop.cancelled() => {}
                message = messages.recv() => self.step(message),
                // That of a request that has ended is aborted, which must not keep the others from being heard.
                Some(gone) = self.hangups.join_next() => if let Ok(sequence) = gone { self.hang_up(sequence) },
                () = sleep_until(self.residency.next_expiry()) => self.expire(),
                Ok(()) = self.pressure.changed() => self.press(),
                Some(_) = self.retired.join_next() => {}
            }
            let has_models = self.residency.residents().next().is_some();
            self.has_models.send_if_modified(|told| std::mem::replace(told, has_models) != has_models);
        }
        self.drain(messages).await;
    }

    async fn drain(mut self, mut messages: mpsc::Receiver<Message>) {
        let effects = self.residency.drain(Instant::now());
        self.carry_out(effects);
        let deadline = tokio::time::Instant::now() + self.settings.drain;
        while !self.residency.is_quiet() {
            tokio::select! {
                () = tokio::time::sleep_until(deadline) => break,
                message = messages.recv() => self.step(message),
                Some(gone) = self.hangups.join_next() => if let Ok(sequence) = gone { self.hang_up(sequence) },
                () = sleep_until(self.residency.next_expiry()) => self.expire(),
            }
        }
        // Nothing more comes; what came meanwhile is answered, requests with the word that they are to be sent again.
        messages.close();
        while let Some(message) = messages.recv().await {
            self.step(Some(message));
        }
        let effects = self.residency.end_all();
        self.carry_out(effects);
        while self.retired.join_next().await.is_some() {}
    }

    fn step(&mut self, message: Option<Message>) {
        // The loop holds a sender itself, so the channel never closes.
        let Some(message) = message else { return };
        self.hear();
        let now = Instant::now();
        let effects = match message {
            Message::Submit(job, updates) => {
                let sequence = job.work.sequence();
                let reserved = job.work.results() + super::FIXED_UPDATES;
                let watched = updates.clone();
                let watch = self.hangups.spawn(async move {
                    watched.closed().await;
                    sequence
                });
                self.listeners.add(sequence, updates, reserved, watch);
                self.residency.submit(*job, now)
            }
            Message::Warm(model, keep_alive) => self.residency.load(&model, keep_alive, None, now),
            Message::Load(model, keep_alive, reply) => {
                let ticket = self.ticket(reply);
                self.residency.load(&model, keep_alive, Some(ticket), now)
            }
            Message::Close(id, force, hold, reply) => {
                let ticket = self.ticket(reply);
                self.residency.close(&id, force, hold, ticket)
            }
            Message::Unload(id, reply) => match self.residency.unload(&id) {
                Ok((unloaded, effects)) => {
                    answer(reply, Ok(unloaded));
                    effects
                }
                Err(error) => return answer(reply, Err(error)),
            },
            Message::Cancel(sequence, reply) => {
                let (cancelled, effects) = self.residency.cancel(sequence, now);
                answer(reply, cancelled);
                effects
            }
            Message::End(sequence, sample) => self.residency.end_sample(sequence, sample),
            Message::Limits(limits, drain) => {
                self.settings.drain = drain;
                self.residency.limit(limits, now)
            }
            Message::Snapshot(reply) => {
                let pid = |engine| self.engines.get(&engine).map(Engine::pid);
                return answer(reply, Snapshot::of(&self.residency, pid, now));
            }
            Message::Beat(reply) => return answer(reply, ()),
            Message::Engine(engine, Report::Event(event)) => self.residency.report(engine, event, now),
            Message::Engine(engine, Report::Gone(how)) => {
                self.engines.remove(&engine);
                self.residency.gone(engine, &how, now)
            }
        };
        self.carry_out(effects);
    }

    fn press(&mut self) {
        let level = *self.pressure.borrow_and_update();
        match level {
            Level::Calm => tracing::info!("there is enough memory again"),
            Level::Soft => tracing::warn!("memory runs short: caches are given back, and background work stands still"),
            Level::Hard => tracing::warn!("memory runs out: idle models leave, and nothing new is taken"),
        }
        self.settings.events.press(level);
        self.hear();
        let effects = self.residency.pressure(level, Instant::now());
        self.carry_out(effects);
    }

    fn ticket(&mut self, reply: oneshot::Sender<Result<(), ErrorData>>) -> Ticket {
        let ticket = Ticket(self.next_ticket);
        self.next_ticket += 1;
        self.tickets.insert(ticket, reply);
        ticket
    }

    /// The receiver of a request's updates was dropped: whoever asked is gone, or has all of it.
    fn hang_up(&mut self, sequence: SequenceId) {
        self.hear();
        self.listeners.remove(sequence);
        let (_, effects) = self.residency.cancel(sequence, Instant::now());
        self.carry_out(effects);
    }

    /// Does what time has brought.
    fn expire(&mut self) {
        self.hear();
        let effects = self.residency.expire(Instant::now());
        self.carry_out(effects);
    }

    fn carry_out(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Spawn(id, backend) => self.spawn(id, backend),
                Effect::Send(id, command) => self.send(id, command),
                Effect::Retire(id) => {
                    if let Some(engine) = self.engines.remove(&id) {
                        let task = engine.retire();
                        self.retired.spawn(async move {
                            // The task only ends; how the engine ended is reported by it.
                            let _ = task.await;
                        });
                    }
                }
                Effect::Kill(id, why) => {
                    if let Some(engine) = self.engines.remove(&id) {
                        tracing::error!(engine = engine.pid(), "the engine is killed: {why}");
                        let task = engine.kill(why);
                        self.retired.spawn(async move {
                            // The task only ends; how the engine ended is reported by it.
                            let _ = task.await;
                        });
                    }
                }
                Effect::Update(sequence, update) => self.update(sequence, update),
                Effect::Tell(change) => self.settings.events.tell(change),
                Effect::Answer(ticket, result) => {
                    if let Some(reply) = self.tickets.remove(&ticket) {
                        answer(reply, result);
                    }
                }
            }
        }
    }

    fn spawn(&mut self, id: EngineId, backend: Backend) {
        let program = self.settings.programs.of(backend);
        let wrap = move |report| Message::Engine(id, report);
        let listeners = Arc::clone(&self.listeners);
        let at_once = move |event| listeners.take(event);
        match Engine::start(program, self.settings.reports.clone(), self.messages.clone(), wrap, at_once) {
            Ok(engine) => {
                tracing::info!(engine = engine.pid(), program = %program.display(), "engine started");
                self.engines.insert(id, engine);
            }
            Err(error) => {
                let how = format!("failed to start {}: {error}", program.display());
                tracing::error!("{how}");
                let messages = self.messages.clone();
                tokio::spawn(async move {
                    // Fails only when the scheduler itself is gone.
                    let _ = messages.send(Message::Engine(id, Report::Gone(how))).await;
                });
            }
        }
    }

    /// An engine that takes no more commands is as good as gone; its own end says how.
    fn send(&mut self, id: EngineId, command: Command) {
        if let Some(engine) = self.engines.get(&id)
            && !engine.send(command)
        {
            tracing::warn!(engine = engine.pid(), "the engine takes no commands");
        }
    }

    fn update(&mut self, sequence: SequenceId, update: Update) {
        if !self.listeners.tell(sequence, update) {
            tracing::error!(?sequence, "an engine sent more tokens than it was asked for; the request is given up");
            self.hang_up(sequence);
        }
    }

    /// Learns how far the requests are: their tokens go past this loop.
    fn hear(&mut self) {
        for Heard { sequence, tokens, at } in self.listeners.heard() {
            self.residency.heard(sequence, tokens, at);
        }
    }
}

/// Answers a question whose asker may have gone away, which is no fault.
fn answer<T>(reply: oneshot::Sender<T>, value: T) {
    drop(reply.send(value));
}

async fn sleep_until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline.into()).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
#[path = "run_tests.rs"]
mod tests;
