//! The scheduler's loop: takes messages, lets the residency decide, carries out its effects.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use engine::{Command, SequenceId};
use protocol::{ErrorData, Residency as ResidencyStatus, ResidencyState};
use tokio::sync::{mpsc, oneshot};
use tokio::task::{AbortHandle, JoinSet};
use tokio_util::sync::CancellationToken;

use super::residency::Residency;
use super::resident::{Effect, EngineId, Phase, Resident, Ticket, Update};
use super::{Message, RequestSnapshot, ResidentSnapshot, Settings, Snapshot};
use crate::backend::Backend;
use crate::process::{Engine, Report};

/// Owner of the engines, of the requests' channels, and of the residency that decides about them.
pub(super) struct Loop {
    settings: Settings,
    residency: Residency,
    engines: HashMap<EngineId, Engine>,
    requests: HashMap<SequenceId, Request>,
    tickets: HashMap<Ticket, oneshot::Sender<Result<(), ErrorData>>>,
    next_ticket: u64,
    /// One task for each request, done when its receiver is dropped.
    hangups: JoinSet<SequenceId>,
    /// Engines on their way out.
    retired: JoinSet<()>,
    /// For the engines' reports.
    messages: mpsc::Sender<Message>,
    stop: CancellationToken,
}

/// The way to a request.
struct Request {
    updates: mpsc::Sender<Update>,
    /// Room in `updates` that is kept for what must not be lost: every token and the fixed updates.
    reserved: usize,
    /// Waits for the receiver to be dropped; holds a sender itself until then.
    watch: AbortHandle,
}

impl Drop for Request {
    fn drop(&mut self) {
        self.watch.abort();
    }
}

impl Loop {
    pub(super) fn new(settings: Settings, messages: mpsc::Sender<Message>, stop: CancellationToken) -> Self {
        Self {
            residency: Residency::new(settings.limits.clone()),
            settings,
            engines: HashMap::new(),
            requests: HashMap::new(),
            tickets: HashMap::new(),
            next_ticket: 0,
            hangups: JoinSet::new(),
            retired: JoinSet::new(),
            messages,
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
                Some(Ok(gone)) = self.hangups.join_next() => self.hang_up(gone),
                () = sleep_until(self.residency.next_expiry()) => {
                    let effects = self.residency.expire(Instant::now());
                    self.carry_out(effects);
                }
                Some(_) = self.retired.join_next() => {}
            }
        }
        self.drain(messages).await;
    }

    async fn drain(mut self, mut messages: mpsc::Receiver<Message>) {
        let effects = self.residency.drain();
        self.carry_out(effects);
        let deadline = tokio::time::Instant::now() + self.settings.drain;
        while !self.residency.is_quiet() {
            tokio::select! {
                () = tokio::time::sleep_until(deadline) => break,
                message = messages.recv() => self.step(message),
                Some(Ok(gone)) = self.hangups.join_next() => self.hang_up(gone),
            }
        }
        let effects = self.residency.end_all();
        self.carry_out(effects);
        // Engines report their end into a channel that nobody reads any more.
        drop(messages);
        while self.retired.join_next().await.is_some() {}
    }

    fn step(&mut self, message: Option<Message>) {
        // The loop holds a sender itself, so the channel never closes.
        let Some(message) = message else { return };
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
                self.requests.insert(sequence, Request { updates, reserved, watch });
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
                let (cancelled, effects) = self.residency.cancel(sequence);
                answer(reply, cancelled);
                effects
            }
            Message::End(sequence, sample) => self.residency.end_sample(sequence, sample),
            Message::Limits(limits, drain) => {
                self.settings.drain = drain;
                self.residency.limit(limits);
                return;
            }
            Message::Snapshot(reply) => return answer(reply, self.snapshot(now)),
            Message::Beat(reply) => return answer(reply, ()),
            Message::Engine(engine, Report::Event(event)) => self.residency.report(engine, event, now),
            Message::Engine(engine, Report::Gone(how)) => {
                self.engines.remove(&engine);
                self.residency.gone(engine, &how, now)
            }
        };
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
        self.requests.remove(&sequence);
        let (_, effects) = self.residency.cancel(sequence);
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
        match Engine::start(program, self.settings.reports.clone(), self.messages.clone(), wrap) {
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
        let last = matches!(update, Update::Finished(_) | Update::Failed(_));
        let Some(request) = self.requests.get(&sequence) else { return };
        let room = request.updates.capacity();
        let is_progress = matches!(update, Update::Loading { .. });
        if is_progress && room <= request.reserved {
            return;
        }
        if request.updates.try_send(update).is_err() && room == 0 {
            tracing::error!(?sequence, "an engine sent more tokens than it was asked for; the request is given up");
            self.requests.remove(&sequence);
            let (_, effects) = self.residency.cancel(sequence);
            return self.carry_out(effects);
        }
        if last {
            self.requests.remove(&sequence);
        }
    }

    fn snapshot(&self, now: Instant) -> Snapshot {
        let mut snapshot = Snapshot::default();
        for resident in self.residency.residents() {
            let (id, backend) = (&resident.model.id, resident.model.backend);
            let pid = self.engines.get(&resident.engine).map(Engine::pid);
            let residency = status(resident, pid, now);
            snapshot.residents.push(ResidentSnapshot {
                model: Arc::clone(&resident.model),
                residency,
                memory: resident.memory,
            });
            let running = resident.running.iter().map(|running| RequestSnapshot {
                sequence: running.sequence,
                model: id.clone(),
                backend,
                trace_id: running.trace_id.clone(),
                arrived: running.arrived,
                tokens: Some(running.tokens),
            });
            let waiting = resident.waiting.iter().map(|job| RequestSnapshot {
                sequence: job.work.sequence(),
                model: id.clone(),
                backend,
                trace_id: job.trace_id.clone(),
                arrived: job.arrived,
                tokens: None,
            });
            snapshot.requests.extend(running.chain(waiting));
        }
        snapshot.requests.sort_by_key(|request| request.sequence);
        snapshot
    }
}

fn status(resident: &Resident, pid: Option<u32>, now: Instant) -> ResidencyStatus {
    let (done, total) = resident.progress;
    let state = match resident.phase {
        Phase::Loading => ResidencyState::Loading,
        Phase::Unloading => ResidencyState::Unloading,
        Phase::Ready if resident.running.is_some() => ResidencyState::Busy,
        Phase::Ready => ResidencyState::Idle,
    };
    ResidencyStatus {
        state,
        loaded_share: match resident.phase {
            Phase::Loading if total == 0 => 0.0,
            Phase::Loading => done as f64 / total as f64,
            Phase::Ready | Phase::Unloading => 1.0,
        },
        pid,
        device: resident.loaded.as_ref().map(|loaded| loaded.device.clone()),
        memory_bytes: resident.memory.active_bytes,
        running: u32::from(resident.running.is_some()),
        waiting: resident.waiting.len() as u32,
        keep_alive: resident.keep_alive,
        expires_in_ms: resident.expires_at().map(|at| at.saturating_duration_since(now).as_millis() as u64),
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
