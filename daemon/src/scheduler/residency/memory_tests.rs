//! Scripts of models and requests that share a hundred bytes.

use std::sync::Arc;

use engine::{Event, FinishReason, Finished, KvBits, Load, Loaded, Memory, Pace, Submission, Work};
use protocol::{ModelChange, ModelId, Priority};

use super::super::tests::{Script, claim, limits};
use super::*;
use crate::local::{Draft, LocalModel};
use crate::scheduler::resident::{Claim, EngineId, Limits, Ticket};

/// What models may take.
const BUDGET: u64 = 100;

/// Of engines with batches of eight rows.
fn script() -> Script {
    let mut script = Script::with(64, 8);
    let keep_alive = KeepAlive::For(Duration::from_mins(5));
    let limits = Limits { batch: 8, keep_alive, memory: Some(BUDGET), ..limits() };
    script.residency.limit(limits, script.now);
    script
}

impl Script {
    /// An engine that says what its model needs.
    fn says(&mut self, engine: u64, weight_bytes: u64) {
        self.report(engine, Event::Needs(Needs { weight_bytes, ..Needs::default() }));
    }

    /// One whose model is loaded.
    fn is_ready(&mut self, engine: u64, weight_bytes: u64, token_bytes: u64) {
        self.is_ready_with_windows(engine, weight_bytes, token_bytes, (0, 0));
    }

    /// One some layers of which keep so many tokens, and so many bytes of each.
    fn is_ready_with_windows(&mut self, engine: u64, weight_bytes: u64, token_bytes: u64, windows: (u32, u64)) {
        let (window_tokens, window_bytes) = windows;
        self.report(
            engine,
            Event::Ready(Loaded {
                vocab_size: 8,
                weight_bytes,
                device: "test".into(),
                dtype: "float32".into(),
                token_bytes,
                window_tokens,
                window_bytes,
                draft_refused: None,
            }),
        );
    }

    /// A model that is there, idle.
    fn warm(&mut self, model: &str, engine: u64, weight_bytes: u64, token_bytes: u64) {
        self.load(model, engine);
        self.says(engine, weight_bytes);
        self.is_ready(engine, weight_bytes, token_bytes);
    }

    fn keeps(&mut self, engine: u64, prefix_bytes: u64) {
        self.report(engine, Event::Memory(Memory { prefix_bytes, ..Memory::default() }));
    }

    fn sent(&self, engine: u64, command: &Command) -> bool {
        self.seen.contains(&Effect::Send(EngineId(engine), command.clone()))
    }

    fn retired(&self, engine: u64) -> bool {
        self.seen.contains(&Effect::Retire(EngineId(engine)))
    }

    fn press(&mut self, level: Level) {
        self.seen = self.residency.pressure(level, self.now);
    }

    /// A request of two tokens that may become six.
    fn request(&mut self, model: &str, priority: Priority) -> SequenceId {
        self.ask(model, None, claim(priority), 1)
    }
}

fn told(script: &Script, model: &str, reason: UnloadReason) -> bool {
    let model = ModelId(model.into());
    script.seen.contains(&Effect::Tell(ModelChange::Unloaded { model, reason, error: None }))
}

#[test]
fn an_idle_model_makes_room_for_another() {
    let mut script = script();
    script.warm("a", 0, 60, 1);
    script.load("b", 1);
    script.says(1, 60);
    assert!(script.retired(0) && !script.sent(1, &Command::Proceed), "{:?}", script.seen);
    script.gone(0);
    assert!(told(&script, "a", UnloadReason::Memory) && script.sent(1, &Command::Proceed), "{:?}", script.seen);
}

#[test]
fn what_fits_beside_others_is_loaded_at_once() {
    let mut script = script();
    script.warm("a", 0, 60, 1);
    script.load("b", 1);
    script.says(1, 40);
    assert!(script.sent(1, &Command::Proceed));
    // What is promised is taken, even before it is used.
    script.load("c", 2);
    script.says(2, 10);
    assert!(!script.sent(2, &Command::Proceed) && script.retired(0));
}

#[test]
fn a_model_that_never_fits_is_refused_with_the_numbers() {
    let mut script = script();
    let request = script.request("a", Priority::Normal);
    script.says(0, 101);
    let error = script.error(request);
    assert_eq!(error.kind, Kind::ModelTooLarge);
    assert_eq!((error.needed_bytes, error.available_bytes), (Some(101), Some(100)));
    assert!(error.message.contains("101 bytes") && error.message.contains("100 bytes"), "{}", error.message);
    assert!(script.retired(0));
}

#[test]
fn a_model_in_use_is_waited_for() {
    let mut script = script();
    script.warm("a", 0, 60, 1);
    let running = script.request("a", Priority::Normal);
    script.load("b", 1);
    script.says(1, 60);
    assert!(!script.retired(0) && !script.sent(1, &Command::Proceed));
    script.finish(0, running);
    assert!(script.retired(0));
}

#[test]
fn a_model_that_is_to_stay_stays() {
    let mut script = script();
    script.warm("a", 0, 60, 1);
    let stays = script.ask("a", Some(KeepAlive::Forever), claim(Priority::Normal), 1);
    script.finish(0, stays);
    let request = script.request("b", Priority::Normal);
    script.says(1, 60);
    let error = script.error(request);
    assert_eq!((error.kind, error.available_bytes), (Kind::ModelTooLarge, Some(40)));
    assert!(error.message.contains("of which 60 bytes are taken by models that stay"), "{}", error.message);
    script.press(Level::Hard);
    assert!(!script.retired(0), "not even then");
}

#[test]
fn a_request_waits_for_what_it_may_grow_to() {
    let mut script = script();
    script.warm("a", 0, 40, 10);
    let first = script.request("a", Priority::Normal);
    assert!(script.started(first));
    let second = script.request("a", Priority::Normal);
    assert!(!script.started(second));
    script.finish(0, first);
    assert!(script.started(second), "{:?}", script.seen);
}

#[test]
fn what_windows_keep_is_promised_too() {
    let mut script = script();
    script.load("a", 0);
    script.says(0, 40);
    // Six tokens take 6, and 4 in the window 40 more.
    script.is_ready_with_windows(0, 40, 1, (4, 10));
    let first = script.request("a", Priority::Normal);
    assert!(script.started(first));
    let second = script.request("a", Priority::Normal);
    assert!(!script.started(second));
    assert_eq!(script.residency.memory().pools[0].held_bytes, 40 + 6 + 40);
    let wide = script.ask("a", None, claim(Priority::Normal), 2);
    script.finish(0, first);
    assert!(script.started(second));
    assert_eq!(script.error(wide).needed_bytes, Some(12 + 80));
}

#[test]
fn packed_keys_and_values_are_counted_as_they_are() {
    let mut script = script();
    script.warm("a", 0, 40, 10);
    let packed = |script: &mut Script| {
        let sequence = SequenceId(script.next());
        let submission = Submission { kv_bits: Some(KvBits::Four), ..Submission::greedy(sequence, &[1, 2], 4) };
        script.submit_work(Work::Generate(submission));
        sequence
    };
    // Each takes 17 of the 60 bytes in place of all.
    for _ in 0..3 {
        let sequence = packed(&mut script);
        assert!(script.started(sequence), "{:?}", script.seen);
    }
    let fourth = packed(&mut script);
    assert!(!script.started(fourth));
}

#[test]
fn a_request_that_never_fits_fails_and_others_go_on() {
    let mut script = script();
    script.warm("a", 0, 40, 10);
    let wide = script.ask("a", None, claim(Priority::Normal), 2);
    let error = script.error(wide);
    assert_eq!((error.kind, error.needed_bytes, error.available_bytes), (Kind::ModelTooLarge, Some(120), Some(60)));
    let next = script.request("a", Priority::Normal);
    assert!(script.started(next));
}

#[test]
fn kept_prefixes_are_given_back_before_anybody_waits() {
    let mut script = script();
    script.warm("a", 0, 40, 10);
    script.keeps(0, 30);
    let request = script.request("a", Priority::Normal);
    assert!(!script.started(request) && script.sent(0, &Command::Trim));
    let other = script.request("a", Priority::Normal);
    assert!(!script.sent(0, &Command::Trim), "once is enough");
    script.keeps(0, 0);
    assert!(script.started(request));
    assert!(!script.started(other));
}

#[test]
fn a_paused_request_keeps_what_it_has_and_no_more() {
    let mut script = script();
    script.warm("a", 0, 20, 10);
    let background = script.request("a", Priority::Background);
    assert!(script.started(background));
    // 60 bytes of 80: what it has are 20.
    let urgent = script.request("a", Priority::Interactive);
    assert!(script.sent(0, &Command::Pause(background)) && script.started(urgent), "{:?}", script.seen);
    assert!(!script.sent(0, &Command::Resume(background)));
    script.finish(0, urgent);
    assert!(script.sent(0, &Command::Resume(background)));
}

#[test]
fn steady_work_of_one_model_does_not_keep_another_out() {
    let mut script = script();
    script.warm("a", 0, 60, 1);
    let running = script.request("a", Priority::Normal);
    script.load("b", 1);
    script.says(1, 60);
    script.pass(9);
    script.expire();
    let second = script.request("a", Priority::Normal);
    assert!(script.started(second), "until then it goes on");
    assert_eq!(script.residency.next_expiry(), Some(script.now + Duration::from_secs(1)));
    script.pass(1);
    script.expire();
    let third = script.request("a", Priority::Normal);
    assert!(!script.started(third), "then others have their turn");
    script.finish(0, running);
    assert!(!script.retired(0));
    script.finish(0, second);
    assert!(script.retired(0));
    // What waits is for its successor, which asks for room in its turn.
    script.gone(0);
    assert!(script.sent(1, &Command::Proceed));
    assert!(script.seen.contains(&Effect::Spawn(EngineId(2), Backend::Mlx)));
    script.is_ready(1, 60, 1);
    script.says(2, 60);
    assert!(script.retired(1), "b is idle and makes room");
    script.gone(1);
    script.is_ready(2, 60, 1);
    assert!(script.started(third));
}

#[test]
fn nobody_is_held_up_for_what_waits_no_longer() {
    let mut script = script();
    script.warm("a", 0, 40, 10);
    let (_, waits) = (script.request("a", Priority::Normal), script.request("a", Priority::Normal));
    let (cancelled, _) = script.residency.cancel(waits, script.now);
    assert!(cancelled);
    script.warm("b", 1, 0, 0);
    script.pass(PATIENCE.as_secs());
    script.expire();
    let other = script.request("b", Priority::Normal);
    assert!(script.started(other), "{:?}", script.seen);
}

#[test]
fn nobody_is_held_up_for_a_load_that_nobody_waits_for() {
    let mut script = script();
    script.warm("a", 0, 60, 1);
    script.request("a", Priority::Normal);
    let gone = script.request("b", Priority::Normal);
    script.says(1, 60);
    assert!(script.residency.cancel(gone, script.now).0);
    script.pass(PATIENCE.as_secs());
    script.expire();
    assert!(script.residency.next_expiry().is_none_or(|next| next > script.now));
    let other = script.request("a", Priority::Normal);
    assert!(script.started(other), "{:?}", script.seen);
}

#[test]
fn who_was_held_up_goes_on_when_the_one_who_waited_gives_up() {
    let mut script = script();
    script.warm("a", 0, 40, 10);
    script.request("a", Priority::Normal);
    let brief = Claim { queue_timeout: Some(PATIENCE + Duration::from_secs(5)), ..claim(Priority::Normal) };
    let (waits, gives_up) = (script.request("a", Priority::Normal), script.ask("a", None, brief, 1));
    script.warm("b", 1, 0, 0);
    script.pass(PATIENCE.as_secs());
    script.expire();
    let held = script.request("b", Priority::Normal);
    assert!(!script.started(held));
    script.seen = script.residency.cancel(waits, script.now).1;
    assert!(!script.started(held), "another waits still");
    script.pass(5);
    script.expire();
    assert_eq!(script.error(gives_up).kind, Kind::Timeout);
    assert!(script.started(held), "{:?}", script.seen);
}

#[test]
fn soft_pressure_gives_back_caches_and_has_background_work_stand_still() {
    let mut script = script();
    script.warm("a", 0, 40, 1);
    script.keeps(0, 10);
    let (background, normal) = (script.request("a", Priority::Background), script.request("a", Priority::Normal));
    assert!(script.started(normal));
    script.press(Level::Soft);
    assert!(script.sent(0, &Command::Trim) && script.sent(0, &Command::Pause(background)));
    assert!(!script.sent(0, &Command::Pause(normal)));
    let waits = script.request("a", Priority::Background);
    assert!(!script.started(waits));
    let other = script.request("a", Priority::Normal);
    assert!(script.started(other));
    script.press(Level::Calm);
    assert!(script.sent(0, &Command::Resume(background)) && script.started(waits));
}

#[test]
fn hard_pressure_unloads_what_is_idle_and_refuses_what_is_new() {
    let mut script = script();
    script.warm("a", 0, 40, 1);
    script.warm("b", 1, 40, 1);
    let running = script.request("b", Priority::Normal);
    script.press(Level::Hard);
    assert!(script.retired(0) && !script.retired(1));
    let refused = script.request("b", Priority::Interactive);
    let error = script.error(refused);
    assert_eq!((error.kind, error.retry_after_ms), (Kind::MemoryPressure, Some(10_000)));
    script.gone(0);
    assert!(told(&script, "a", UnloadReason::MemoryPressure));
    let reason = FinishReason::Stop;
    script.report(1, Event::Finished(Finished { reason, ..Finished::before_its_start(running, 2) }));
    assert_eq!(script.update(running).map(|update| matches!(update, Update::Finished(_))), Some(true));
    script.press(Level::Calm);
    let taken = script.request("b", Priority::Normal);
    assert!(!matches!(script.update(taken), Some(Update::Failed(_))));
}

#[test]
fn memory_of_a_gpu_is_its_own() {
    let mut script = script();
    let limits = Limits { batch: 8, machine: 10, ..limits() };
    script.residency.limit(limits, script.now);
    script.load("a", 0);
    let needs = Needs { weight_bytes: 60, scratch_bytes: 0, device: DeviceMemory::Own(100) };
    script.report(0, Event::Needs(needs));
    assert!(script.sent(0, &Command::Proceed));
    script.is_ready(0, 60, 1);
    script.report(0, Event::Memory(Memory { active_bytes: 60, ..Memory::default() }));
    // What is free is less now, but by what is held here.
    script.load("b", 1);
    script.report(1, Event::Needs(Needs { weight_bytes: 40, device: DeviceMemory::Own(40), ..needs }));
    assert!(script.sent(1, &Command::Proceed));
    let pools = script.residency.memory().pools;
    let told: Vec<_> = pools.iter().map(|pool| (pool.budget_bytes, pool.held_bytes)).collect();
    assert_eq!(told, [(100, 100), (10, 0)]);
}

#[test]
fn what_a_load_has_read_is_not_taken_for_somebody_elses() {
    let mut script = script();
    let keep_alive = KeepAlive::For(Duration::from_mins(5));
    script.residency.limit(Limits { keep_alive, ..limits() }, script.now);
    script.load("a", 0);
    let needs = Needs { weight_bytes: 14, scratch_bytes: 0, device: DeviceMemory::Own(24) };
    script.report(0, Event::Needs(needs));
    script.report(0, Event::Loading { done_bytes: 12, total_bytes: 14 });
    script.load("b", 1);
    script.report(1, Event::Needs(Needs { weight_bytes: 13, device: DeviceMemory::Own(12), ..needs }));
    let is_refused = |effect: &Effect| matches!(effect, Effect::Answer(Ticket(1), Err(_)));
    assert!(!script.seen.iter().any(is_refused), "it fits when a has gone: {:?}", script.seen);
    assert_eq!(script.residency.memory().pools[0].budget_bytes, 24);
}

#[test]
fn an_engine_that_does_no_step_of_its_work_is_killed() {
    let mut script = script();
    script.warm("a", 0, 40, 1);
    script.pass(200);
    script.expire();
    let killed = |script: &Script| script.seen.iter().any(|effect| matches!(effect, Effect::Kill(EngineId(0), _)));
    assert!(!killed(&script), "it has nothing to do");
    let request = script.request("a", Priority::Normal);
    script.pass(119);
    script.expire();
    assert!(!killed(&script));
    script.token(request);
    script.pass(119);
    script.expire();
    assert!(!killed(&script), "a token is a sign of life");
    script.pass(1);
    script.expire();
    assert!(killed(&script), "{:?}", script.seen);
    script.expire();
    assert!(!killed(&script), "once");
    let waits = script.request("a", Priority::Normal);
    assert!(!script.started(waits), "not on one that is being killed");
    script.gone(0);
    assert_eq!(script.error(request).kind, Kind::EngineLost);
    assert!(script.seen.contains(&Effect::Spawn(EngineId(1), Backend::Mlx)), "{:?}", script.seen);
    script.is_ready(1, 40, 1);
    assert!(script.started(waits));
}

#[test]
fn an_idle_engine_has_time_to_give_back_what_it_keeps() {
    let mut script = script();
    script.warm("a", 0, 40, 1);
    script.pass(150);
    script.press(Level::Soft);
    assert!(script.sent(0, &Command::Trim));
    let killed = |script: &Script| script.seen.iter().any(|effect| matches!(effect, Effect::Kill(EngineId(0), _)));
    script.pass(119);
    script.expire();
    assert!(!killed(&script));
    script.pass(1);
    script.expire();
    assert!(killed(&script), "it was told and does nothing");
}

#[test]
fn what_made_room_does_not_take_it_back_at_once() {
    let mut script = script();
    let (first, second) = (script.request("a", Priority::Background), script.request("a", Priority::Background));
    script.says(0, 20);
    // They have waited for so long that they are as urgent as anybody.
    script.pass(20);
    script.is_ready(0, 20, 5);
    assert!(script.started(first) && script.started(second));
    let urgent = script.request("a", Priority::Interactive);
    assert!(script.sent(0, &Command::Pause(second)) && script.started(urgent), "{:?}", script.seen);
    assert!(!script.sent(0, &Command::Resume(second)));
    script.finish(0, urgent);
    assert!(script.sent(0, &Command::Resume(second)));
}

#[test]
fn a_paused_request_goes_on_when_there_is_room_again() {
    let mut script = script();
    script.warm("a", 0, 20, 10);
    let paused = script.request("a", Priority::Background);
    script.press(Level::Soft);
    script.keeps(0, 30);
    script.press(Level::Calm);
    assert!(script.sent(0, &Command::Trim) && !script.sent(0, &Command::Resume(paused)), "{:?}", script.seen);
    script.keeps(0, 0);
    assert!(script.sent(0, &Command::Resume(paused)), "{:?}", script.seen);
}

#[test]
fn nothing_is_due_for_a_wish_that_nobody_can_make_room_for() {
    let mut script = script();
    script.warm("a", 0, 40, 10);
    let (running, waits) = (script.request("a", Priority::Normal), script.request("a", Priority::Normal));
    script.pass(PATIENCE.as_secs());
    script.expire();
    assert!(script.residency.next_expiry().is_none_or(|next| next > script.now));
    script.finish(0, running);
    assert!(script.started(waits));
}

#[test]
fn a_model_that_waits_for_room_does_not_hang() {
    let mut script = script();
    script.warm("a", 0, 60, 1);
    let running = script.request("a", Priority::Normal);
    script.load("b", 1);
    script.says(1, 60);
    for _ in 0..20 {
        script.pass(50);
        script.token(running);
        script.expire();
        assert!(!script.seen.iter().any(|effect| matches!(effect, Effect::Kill(..))));
    }
}

#[test]
fn a_draft_goes_with_its_model_and_counts_in_what_that_needs() {
    let mut script = script();
    for (engine, path) in [(0, Ok("/models/small".into())), (1, Err("it is gone".to_owned()))] {
        let draft = Draft { id: ModelId("small".into()), path: path.clone() };
        let key = Key { id: ModelId("a".into()), backend: Backend::Mlx };
        let model = LocalModel::new(key, "/models/a".into(), Vec::new(), Vec::new()).drafted_by(Some(draft));
        script.seen = script.residency.load(&Arc::new(model), None, Some(Ticket(engine)), script.now);
        let load = Load { prefix_bytes: limits().prefixes, draft: path.ok(), ..Load::new("/models/a") };
        assert!(script.sent(engine, &Command::Load(load)), "{:?}", script.seen);
        let (draft, problem) = script.residency.residents().next().unwrap().draft();
        assert_eq!((draft.is_some(), problem.is_some()), (engine == 0, engine == 1));
        script.says(engine, BUDGET + 1);
        let words = script.seen.iter().find_map(|effect| match effect {
            Effect::Answer(_, Err(error)) => Some(error.message.clone()),
            _ => None,
        });
        let (words, with) = (words.unwrap(), if engine == 0 { " with its draft small" } else { "" });
        assert!(words.starts_with(&format!("a{with} needs 101 bytes")), "{words}");
        script.gone(engine);
    }
}

#[test]
fn a_load_is_told_of_others_that_decode_when_it_begins() {
    let mut script = script();
    let pace = |script: &Script| {
        let told = script.seen.iter().find_map(|effect| match effect {
            Effect::Send(_, Command::Load(load)) => Some(load.pace),
            _ => None,
        });
        told.unwrap()
    };
    script.load("a", 0);
    assert_eq!(pace(&script), Pace::Alone);
    script.says(0, 10);
    script.is_ready(0, 10, 1);
    script.load("b", 1);
    assert_eq!(pace(&script), Pace::Alone, "a model that has nothing to do");
    let running = script.request("a", Priority::Background);
    script.load("c", 2);
    assert_eq!(pace(&script), Pace::Shared);
    script.press(Level::Soft);
    script.load("d", 3);
    assert_eq!(pace(&script), Pace::Alone, "what is paused decodes nothing");
    script.press(Level::Calm);
    script.finish(0, running);
    script.load("e", 4);
    assert_eq!(pace(&script), Pace::Alone);
}
