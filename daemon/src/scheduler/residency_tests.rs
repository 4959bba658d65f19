//! Scripts of inputs, and what the loop is told to do about them.

use std::time::Duration;

use engine::{Submission, Work};
use protocol::{Force, ModelId, UnloadReason};

use super::*;
use crate::app::{App, Source};
use crate::backend::Backend;
use crate::scheduler::resident::Claim;

/// Of whoever asks for a model to be deleted.
const CLOSE: Ticket = Ticket(99);

/// A residency with a clock of its own.
pub(super) struct Script {
    pub residency: Residency,
    pub now: Instant,
    next: u64,
    pub seen: Vec<Effect>,
}

impl Script {
    /// Of engines that run one row.
    fn new(waiting: usize) -> Self {
        Self::with(waiting, 1)
    }

    pub fn with(waiting: usize, batch: u32) -> Self {
        let keep_alive = KeepAlive::For(Duration::from_mins(5));
        let limits = Limits { waiting, batch, keep_alive, ..limits() };
        Self { residency: Residency::new(limits), now: Instant::now(), next: 0, seen: Vec::new() }
    }

    pub fn pass(&mut self, seconds: u64) {
        self.now += Duration::from_secs(seconds);
    }

    /// A token more.
    pub fn token(&mut self, sequence: SequenceId) {
        self.residency.heard(sequence, 1, self.now);
    }

    fn submit(&mut self, model: &str, keep_alive: Option<KeepAlive>) -> SequenceId {
        let claim = claim(Priority::Normal);
        self.ask(model, keep_alive, claim, 1)
    }

    pub fn ask(&mut self, model: &str, keep_alive: Option<KeepAlive>, claim: Claim, samples: u32) -> SequenceId {
        let sequence = SequenceId(self.next());
        let work = Work::Generate(Submission { samples, ..Submission::greedy(sequence, &[1, 2], 4) });
        let job = Job { model: local(model), work, keep_alive, trace_id: None, arrived: self.now, claim };
        self.seen = self.residency.submit(job, self.now);
        sequence
    }

    /// The number of the next request.
    pub fn next(&mut self) -> u64 {
        self.next += 1;
        self.next - 1
    }

    /// Of `a`, whatever it is.
    pub fn submit_work(&mut self, work: Work) {
        let claim = claim(Priority::Normal);
        let job = Job { model: local("a"), work, keep_alive: None, trace_id: None, arrived: self.now, claim };
        self.seen = self.residency.submit(job, self.now);
    }

    pub fn load(&mut self, model: &str, ticket: u64) {
        self.seen = self.residency.load(&local(model), None, Some(Ticket(ticket)), self.now);
    }

    pub fn report(&mut self, engine: u64, event: Event) {
        self.seen = self.residency.report(EngineId(engine), event, self.now);
    }

    pub fn ready(&mut self, engine: u64) {
        let loaded = Loaded {
            vocab_size: 8,
            weight_bytes: 1,
            device: "test".into(),
            dtype: "float32".into(),
            token_bytes: 1,
            window_tokens: 0,
            window_bytes: 0,
            draft_refused: None,
        };
        self.report(engine, Event::Ready(loaded));
    }

    pub fn finish(&mut self, engine: u64, sequence: SequenceId) {
        self.report(engine, Event::Finished(Finished::before_its_start(sequence, 2)));
    }

    pub fn gone(&mut self, engine: u64) {
        self.seen = self.residency.gone(EngineId(engine), "signal 9", self.now);
    }

    pub fn expire(&mut self) {
        self.seen = self.residency.expire(self.now);
    }

    /// Engines spawned by the last input.
    fn spawned(&self) -> usize {
        self.seen.iter().filter(|effect| matches!(effect, Effect::Spawn(..))).count()
    }

    /// The last input's update of a request, the newest.
    pub fn update(&self, sequence: SequenceId) -> Option<&Update> {
        self.seen.iter().rev().find_map(|effect| match effect {
            Effect::Update(of, update) if *of == sequence => Some(update),
            _ => None,
        })
    }

    pub fn error(&self, sequence: SequenceId) -> &ErrorData {
        match self.update(sequence) {
            Some(Update::Failed(error)) => error,
            other => panic!("expected a failure of {sequence:?}, saw {other:?} in {:?}", self.seen),
        }
    }

    /// Asks for `a` to be deleted, for as long as what is returned lives.
    fn close(&mut self, force: Option<Force>) -> Arc<()> {
        let hold = Arc::new(());
        self.seen = self.residency.close(&ModelId("a".into()), force, Arc::downgrade(&hold), CLOSE);
        hold
    }

    /// Whether it may be deleted now.
    fn is_closed(&self) -> bool {
        self.seen.contains(&Effect::Answer(CLOSE, Ok(())))
    }

    pub fn started(&self, sequence: SequenceId) -> bool {
        matches!(self.update(sequence), Some(Update::Started { .. }))
    }
}

/// Of a machine with as much memory as anybody wants.
pub(super) fn limits() -> Limits {
    Limits {
        waiting: 64,
        batch: 1,
        keep_alive: KeepAlive::Forever,
        memory: None,
        machine: 0,
        prefixes: 0,
        silence: Duration::from_mins(2),
    }
}

/// Of a request that waits for ever.
pub(super) fn claim(priority: Priority) -> Claim {
    let app = App { name: "test".into(), source: Source::Process(1) };
    Claim { app, priority, queue_timeout: None, deadline: None }
}

/// What is told of the end of `a`.
fn told(reason: UnloadReason) -> Effect {
    Effect::Tell(ModelChange::Unloaded { model: ModelId("a".into()), reason, error: None })
}

fn local(id: &str) -> Arc<LocalModel> {
    let key = Key { id: ModelId(id.into()), backend: Backend::Mlx };
    Arc::new(LocalModel::new(key, format!("/models/{id}").into(), Vec::new(), Vec::new()))
}

impl PartialEq for LocalModel {
    fn eq(&self, other: &Self) -> bool {
        self.id == other.id
    }
}

#[test]
fn engines_do_not_share_a_model() {
    let mut script = Script::new(8);
    script.load("a", 1);
    let key = Key { backend: Backend::Candle, ..local("a").key() };
    let model = Arc::new(LocalModel::new(key, "/models/a".into(), Vec::new(), Vec::new()));
    script.seen = script.residency.load(&model, None, Some(Ticket(2)), script.now);
    assert!(script.seen.contains(&Effect::Spawn(EngineId(1), Backend::Candle)));
    script.ready(0);
    assert_eq!(script.residency.unload(&model.id).unwrap_err().kind, Kind::ModelInUse);
    script.ready(1);
    let both = vec![Effect::Retire(EngineId(0)), Effect::Retire(EngineId(1))];
    assert_eq!(script.residency.unload(&model.id), Ok((true, both)));
}

#[test]
fn loads_of_one_model_coalesce_and_all_askers_are_told() {
    let mut script = Script::new(8);
    script.load("a", 1);
    assert_eq!(script.spawned(), 1);
    script.load("a", 2);
    let request = script.submit("a", None);
    assert_eq!(script.spawned(), 0);
    script.ready(0);
    assert!(script.seen.contains(&Effect::Answer(Ticket(1), Ok(()))));
    assert!(script.seen.contains(&Effect::Answer(Ticket(2), Ok(()))));
    assert!(script.started(request));
}

#[test]
fn a_load_of_one_model_does_not_hold_up_another() {
    let mut script = Script::new(8);
    let a = script.submit("a", None);
    script.ready(0);
    assert!(script.started(a));
    let b = script.submit("b", None);
    assert_eq!(script.update(b), Some(&Update::Queued(0)));
    script.finish(0, a);
    let again = script.submit("a", None);
    assert!(script.started(again), "a runs while b loads");
}

#[test]
fn requests_to_a_busy_model_run_in_their_order() {
    let mut script = Script::new(8);
    let first = script.submit("a", None);
    script.ready(0);
    let (second, third) = (script.submit("a", None), script.submit("a", None));
    assert_eq!(script.update(third), Some(&Update::Queued(1)));
    script.finish(0, first);
    assert!(script.started(second) && !script.started(third));
    script.finish(0, second);
    assert!(script.started(third));
}

#[test]
fn a_full_queue_answers_busy_with_its_length_and_a_hint() {
    let mut script = Script::new(2);
    script.submit("a", None);
    script.submit("b", None);
    let refused = script.submit("c", None);
    let error = script.error(refused);
    assert_eq!((error.kind, error.queue_length, error.retry_after_ms), (Kind::Busy, Some(2), Some(1000)));
    assert_eq!(script.spawned(), 0, "a refused request loads nothing");
}

#[test]
fn an_idle_model_goes_when_its_time_is_over_and_not_before() {
    let mut script = Script::new(8);
    let request = script.submit("a", Some(KeepAlive::For(Duration::from_secs(10))));
    script.ready(0);
    script.pass(60);
    script.expire();
    assert_eq!(script.seen, [], "a running request holds it");
    script.finish(0, request);
    script.pass(9);
    script.expire();
    assert_eq!(script.seen, []);
    script.pass(1);
    script.expire();
    assert_eq!(script.seen, [Effect::Retire(EngineId(0))]);
}

#[test]
fn a_model_kept_forever_stays() {
    let mut script = Script::new(8);
    let request = script.submit("a", Some(KeepAlive::Forever));
    script.ready(0);
    script.finish(0, request);
    assert_eq!(script.residency.next_expiry(), None);
}

#[test]
fn keep_alive_zero_unloads_at_once() {
    let mut script = Script::new(8);
    let request = script.submit("a", Some(KeepAlive::For(Duration::ZERO)));
    script.ready(0);
    script.finish(0, request);
    assert_eq!(script.residency.next_expiry(), Some(script.now));
}

#[test]
fn a_model_in_use_is_not_unloaded() {
    let mut script = Script::new(8);
    let request = script.submit("a", None);
    let id = ModelId("a".into());
    assert_eq!(script.residency.unload(&id).unwrap_err().kind, Kind::ModelInUse);
    script.ready(0);
    assert_eq!(script.residency.unload(&id).unwrap_err().kind, Kind::ModelInUse);
    script.finish(0, request);
    assert_eq!(script.residency.unload(&id), Ok((true, vec![Effect::Retire(EngineId(0))])));
    assert_eq!(script.residency.unload(&ModelId("b".into())), Ok((false, vec![])));
}

#[test]
fn a_request_to_a_model_on_its_way_out_gets_the_next_engine() {
    let mut script = Script::new(8);
    script.load("a", 1);
    script.ready(0);
    script.residency.unload(&ModelId("a".into())).unwrap();
    let request = script.submit("a", None);
    assert_eq!(script.spawned(), 0, "two copies would not fit");
    script.gone(0);
    assert_eq!(script.spawned(), 1);
    script.ready(1);
    assert!(script.started(request));
}

#[test]
fn a_dead_engine_fails_only_what_ran_on_it() {
    let mut script = Script::new(8);
    let (ran, waited) = (script.submit("a", None), script.submit("a", None));
    script.ready(0);
    script.gone(0);
    let error = script.error(ran);
    assert_eq!((error.kind, error.retry_after_ms), (Kind::EngineLost, Some(0)));
    assert_eq!(script.update(waited), None);
    assert_eq!(script.spawned(), 1);
    script.ready(1);
    assert!(script.started(waited));
}

#[test]
fn an_engine_that_dies_while_loading_fails_its_requests_and_backs_off() {
    let mut script = Script::new(8);
    let first = script.submit("a", None);
    script.gone(0);
    assert_eq!(script.error(first).kind, Kind::EngineLost);
    let second = script.submit("a", None);
    assert_eq!(script.spawned(), 1, "the first death may have been an accident");
    script.gone(1);
    assert_eq!(script.error(second).retry_after_ms, Some(1000));
    let third = script.submit("a", None);
    assert_eq!(script.error(third).retry_after_ms, Some(1000));
    script.pass(1);
    script.submit("a", None);
    assert_eq!(script.spawned(), 1);
}

#[test]
fn a_model_that_cannot_be_loaded_fails_everybody_who_waits_for_it() {
    let mut script = Script::new(8);
    script.load("a", 1);
    let request = script.submit("a", None);
    script.report(
        0,
        Event::LoadFailed(engine::Failure::new(engine::FailureKind::ModelBroken, "model.safetensors is cut")),
    );
    assert_eq!(script.error(request).kind, Kind::ModelBroken);
    assert_eq!(script.error(request).message, "failed to load a: model.safetensors is cut");
    assert!(script.seen.iter().any(|effect| matches!(effect, Effect::Answer(Ticket(1), Err(_)))));
    script.gone(0);
    assert_eq!(script.spawned(), 0);
    assert_eq!(script.residency.residents().count(), 0);
}

#[test]
fn cancelling_a_waiting_request_ends_it_and_a_running_one_asks_the_engine() {
    let mut script = Script::new(8);
    let (runs, waits) = (script.submit("a", None), script.submit("a", None));
    script.ready(0);
    let (cancelled, effects) = script.residency.cancel(waits, script.now);
    assert!(cancelled);
    assert_eq!(effects, [Effect::Update(waits, Update::Finished(Finished::before_its_start(waits, 2)))]);
    let (cancelled, effects) = script.residency.cancel(runs, script.now);
    assert!(cancelled);
    assert_eq!(effects, [Effect::Send(EngineId(0), Command::Cancel(runs))]);
    assert_eq!(script.residency.cancel(SequenceId(99), script.now), (false, vec![]));
}

#[test]
fn an_engine_of_another_release_is_refused_by_both_versions() {
    let mut script = Script::new(8);
    let request = script.submit("a", None);
    script.report(0, Event::Hello { version: engine::VERSION + 1 });
    let error = script.error(request);
    assert_eq!(error.kind, Kind::ConfigurationError);
    assert!(error.message.contains("install both from one release"), "{}", error.message);
}

#[test]
fn draining_refuses_what_waits_and_what_comes_but_lets_run_what_runs() {
    let mut script = Script::new(8);
    let (runs, waits) = (script.submit("a", None), script.submit("a", None));
    script.ready(0);
    script.seen = script.residency.drain(script.now);
    assert_eq!(script.error(waits).kind, Kind::ShuttingDown);
    assert!(!script.residency.is_quiet());
    let late = script.submit("a", None);
    assert_eq!(script.error(late).kind, Kind::ShuttingDown);
    script.finish(0, runs);
    assert!(script.residency.is_quiet());
    let expected = [Effect::Retire(EngineId(0)), told(UnloadReason::ShuttingDown)];
    assert_eq!(script.residency.end_all(), expected);
}

#[test]
fn tokens_of_an_engine_given_up_reach_nobody() {
    let mut script = Script::new(8);
    let request = script.submit("a", None);
    script.ready(0);
    script.gone(0);
    script.report(0, Event::Token { sequence: request, sample: 0, id: 3, logprobs: None });
    assert_eq!(script.seen, []);
}

#[test]
fn a_model_that_nobody_needs_is_closed_when_its_engine_is_gone() {
    let mut script = Script::new(8);
    let hold = script.close(None);
    assert!(script.is_closed(), "it was not in memory");
    drop(hold);
    script.load("a", 1);
    script.ready(0);
    let hold = script.close(None);
    assert!(!script.is_closed() && script.seen.contains(&Effect::Retire(EngineId(0))));
    let late = script.submit("a", None);
    assert_eq!(script.error(late).kind, Kind::ModelNotFound);
    script.gone(0);
    assert!(script.is_closed() && script.seen.contains(&told(UnloadReason::Deleted)));
    assert_eq!(script.residency.residents().count(), 0);
    drop(hold);
    let next = script.submit("a", None);
    assert_eq!(script.update(next), Some(&Update::Queued(0)));
}

#[test]
fn a_model_in_use_is_closed_only_by_force() {
    let mut script = Script::new(8);
    let (runs, waits) = (script.submit("a", None), script.submit("a", None));
    script.ready(0);
    drop(script.close(None));
    assert!(matches!(&script.seen[..], [Effect::Answer(CLOSE, Err(error))] if error.kind == Kind::ModelInUse));
    let hold = script.close(Some(Force::Wait));
    assert_eq!(script.seen, []);
    script.finish(0, runs);
    assert!(script.started(waits), "what waited runs");
    script.finish(0, waits);
    assert!(script.seen.contains(&Effect::Retire(EngineId(0))));
    script.gone(0);
    assert!(script.is_closed());
    drop(hold);
}

#[test]
fn closing_by_cancel_ends_what_runs_and_what_waits() {
    let mut script = Script::new(8);
    let (runs, waits) = (script.submit("a", None), script.submit("a", None));
    script.ready(0);
    let hold = script.close(Some(Force::Cancel));
    assert!(script.seen.contains(&Effect::Send(EngineId(0), Command::Cancel(runs))));
    assert!(matches!(script.update(waits), Some(Update::Finished(_))));
    drop(script.close(None));
    assert!(matches!(&script.seen[..], [Effect::Answer(CLOSE, Err(_))]), "it is being deleted already");
    script.finish(0, runs);
    script.gone(0);
    assert!(script.is_closed());
    drop(hold);
}

#[test]
fn who_gives_up_waiting_for_a_model_to_be_closed_leaves_it_as_it_was() {
    let mut script = Script::new(8);
    let runs = script.submit("a", None);
    script.ready(0);
    drop(script.close(Some(Force::Wait)));
    script.finish(0, runs);
    assert!(!script.seen.contains(&Effect::Retire(EngineId(0))));
    let next = script.submit("a", None);
    assert!(script.started(next));
}
