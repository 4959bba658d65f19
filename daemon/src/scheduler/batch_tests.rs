//! Scripts of requests that share an engine's batch: who begins, who is paused, and who has no more time.

use std::time::Duration;

use engine::FinishReason;
use protocol::Force;

use super::tests::{Script, claim, limits};
use super::*;
use crate::scheduler::resident::Claim;

const BACKGROUND: Priority = Priority::Background;
const NORMAL: Priority = Priority::Normal;
const INTERACTIVE: Priority = Priority::Interactive;

/// A model `a` that is loaded, on an engine of so many rows.
fn warm(batch: u32) -> Script {
    let mut script = Script::with(64, batch);
    script.load("a", 1);
    script.ready(0);
    script
}

impl Script {
    fn of(&mut self, priority: Priority) -> SequenceId {
        self.ask("a", None, claim(priority), 1)
    }

    fn wide(&mut self, priority: Priority, samples: u32) -> SequenceId {
        self.ask("a", None, claim(priority), samples)
    }

    fn several(&mut self, priority: Priority, count: usize) -> Vec<SequenceId> {
        (0..count).map(|_| self.of(priority)).collect()
    }

    fn cancelled(&mut self, sequence: SequenceId) {
        let reason = FinishReason::Cancelled;
        self.report(0, Event::Finished(Finished { reason, ..Finished::before_its_start(sequence, 2) }));
    }

    fn cancel(&mut self, sequence: SequenceId) {
        let (cancelled, effects) = self.residency.cancel(sequence, self.now);
        assert!(cancelled);
        self.seen = effects;
    }

    /// What the engine was last told to pause, to take up again, and to begin.
    fn told(&self) -> (Vec<SequenceId>, Vec<SequenceId>, Vec<SequenceId>) {
        let (mut paused, mut resumed, mut begun) = (Vec::new(), Vec::new(), Vec::new());
        for effect in &self.seen {
            match effect {
                Effect::Send(_, Command::Pause(sequence)) => paused.push(*sequence),
                Effect::Send(_, Command::Resume(sequence)) => resumed.push(*sequence),
                Effect::Send(_, Command::Submit(work, _)) => begun.push(work.sequence()),
                _ => {}
            }
        }
        (paused, resumed, begun)
    }

    fn begun(&self) -> Vec<SequenceId> {
        self.told().2
    }

    /// Whether the engine was last told to end it.
    fn is_ended(&self, engine: u64, sequence: SequenceId) -> bool {
        self.seen.contains(&Effect::Send(EngineId(engine), Command::Cancel(sequence)))
    }
}

#[test]
fn as_many_begin_as_the_batch_has_rows_and_the_next_when_one_ends() {
    let mut script = warm(3);
    let all = script.several(NORMAL, 3);
    let waits = script.of(NORMAL);
    assert!(all.iter().all(|sequence| *sequence != waits) && script.begun().is_empty());
    script.finish(0, all[1]);
    assert_eq!(script.begun(), [waits]);
}

#[test]
fn what_waited_for_a_load_begins_together() {
    let mut script = Script::with(64, 3);
    let all = script.several(NORMAL, 4);
    script.ready(0);
    assert_eq!(script.begun(), all[..3]);
}

#[test]
fn a_larger_batch_lets_more_begin_and_a_smaller_one_ends_nothing() {
    let mut script = warm(2);
    let all = script.several(NORMAL, 4);
    let limits = |batch| Limits { batch, ..limits() };
    script.seen = script.residency.limit(limits(3), script.now);
    assert_eq!(script.begun(), [all[2]]);
    script.seen = script.residency.limit(limits(1), script.now);
    assert_eq!(script.seen, []);
    script.finish(0, all[0]);
    script.finish(0, all[1]);
    assert_eq!(script.begun(), [], "one row is taken");
    script.finish(0, all[2]);
    assert_eq!(script.begun(), [all[3]]);
}

#[test]
fn samples_take_a_row_each_until_they_end() {
    let mut script = warm(4);
    let wide = script.wide(NORMAL, 3);
    let [one, two] = [script.of(NORMAL), script.of(NORMAL)];
    assert_eq!(script.begun(), []);
    script.report(0, Event::Ended { sequence: wide, sample: 1, reason: FinishReason::Stop });
    assert_eq!(script.begun(), [two]);
    script.finish(0, one);
    assert_eq!(script.begun(), []);
}

#[test]
fn a_request_wider_than_the_batch_runs_alone_and_is_not_passed_by() {
    let mut script = warm(2);
    let first = script.of(NORMAL);
    let wide = script.wide(NORMAL, 5);
    let behind = script.of(NORMAL);
    assert_eq!(script.begun(), [], "there is a row, but the wide one is first");
    script.finish(0, first);
    assert_eq!(script.begun(), [wide]);
    script.finish(0, wide);
    assert_eq!(script.begun(), [behind]);
}

#[test]
fn a_wide_request_that_is_cancelled_lets_those_behind_it_begin() {
    let mut script = warm(2);
    script.of(NORMAL);
    let wide = script.wide(NORMAL, 2);
    let behind = script.of(NORMAL);
    script.cancel(wide);
    assert_eq!(script.begun(), [behind]);
}

#[test]
fn an_interactive_request_pauses_the_background_one_that_began_last() {
    let mut script = warm(2);
    let background = script.several(BACKGROUND, 2);
    script.pass(1);
    let urgent = script.of(INTERACTIVE);
    assert_eq!(script.told(), (vec![background[1]], vec![], vec![urgent]));
    let submitted = script.seen.iter().find_map(|effect| match effect {
        Effect::Send(_, Command::Submit(_, priority)) => Some(*priority),
        _ => None,
    });
    assert_eq!(submitted, Some(engine::Priority::Interactive));
    script.finish(0, urgent);
    assert_eq!(script.told(), (vec![], vec![background[1]], vec![]));
}

#[test]
fn nothing_else_pauses_and_nothing_else_is_paused() {
    let mut script = warm(2);
    script.several(BACKGROUND, 2);
    script.of(NORMAL);
    assert_eq!(script.seen.len(), 1, "a normal one waits: {:?}", script.seen);
    let mut script = warm(2);
    script.several(NORMAL, 2);
    script.of(INTERACTIVE);
    assert_eq!(script.seen.len(), 1, "normal ones run on: {:?}", script.seen);
}

#[test]
fn a_paused_request_goes_on_before_those_that_are_no_more_urgent_and_after_those_that_are() {
    let mut script = warm(1);
    let background = script.of(BACKGROUND);
    let urgent = script.of(INTERACTIVE);
    let (normal, waits) = (script.of(NORMAL), script.of(BACKGROUND));
    script.finish(0, urgent);
    assert_eq!(script.told(), (vec![], vec![], vec![normal]));
    script.finish(0, normal);
    assert_eq!(script.told(), (vec![], vec![background], vec![]));
    script.finish(0, background);
    assert_eq!(script.begun(), [waits]);
}

#[test]
fn an_interactive_request_with_samples_pauses_as_many_rows_as_it_needs_or_none() {
    let mut script = warm(4);
    let background = script.several(BACKGROUND, 3);
    let wide = script.wide(INTERACTIVE, 3);
    assert_eq!(script.told(), (vec![background[2], background[1]], vec![], vec![wide]), "one row was free");
    let mut script = warm(4);
    script.several(NORMAL, 3);
    script.of(BACKGROUND);
    script.wide(INTERACTIVE, 2);
    assert_eq!(script.told(), (vec![], vec![], vec![]), "one row is not enough");
}

#[test]
fn no_more_is_paused_than_the_batch_has_rows() {
    let mut script = warm(2);
    script.several(BACKGROUND, 2);
    let urgent = script.several(INTERACTIVE, 2);
    script.several(BACKGROUND, 2);
    // The paused ones have waited longer, and so go on first.
    script.finish(0, urgent[0]);
    script.finish(0, urgent[1]);
    assert_eq!(script.told().1.len(), 1);
    let again = script.several(INTERACTIVE, 2);
    let paused = |script: &Script| {
        let resident = script.residency.residents().next().unwrap();
        resident.running.iter().filter(|running| running.paused.is_some()).count()
    };
    assert_eq!(paused(&script), 2);
    let more = script.of(INTERACTIVE);
    assert_eq!((script.begun(), paused(&script)), (vec![], 2), "two run, and two are paused");
    script.finish(0, again[0]);
    assert_eq!(script.begun(), [more]);
}

#[test]
fn background_work_that_has_waited_keeps_an_eighth_of_the_batch() {
    let mut script = warm(2);
    let normal = script.several(NORMAL, 2);
    let background = script.several(BACKGROUND, 2);
    script.pass(10);
    script.finish(0, normal[0]);
    script.finish(0, normal[1]);
    assert_eq!(script.begun(), [background[1]]);
    let urgent = script.several(INTERACTIVE, 2);
    assert_eq!(script.begun(), [], "one row stays");
    script.finish(0, urgent[0]);
    assert_eq!(script.begun(), [urgent[1]], "it is the turn of what somebody waits for");
}

#[test]
fn a_pause_counts_as_waiting() {
    let mut script = warm(1);
    let background = script.of(BACKGROUND);
    let urgent = script.of(INTERACTIVE);
    script.pass(20);
    let late = script.of(INTERACTIVE);
    script.finish(0, urgent);
    assert_eq!(script.told().1, [background], "it has become as urgent");
    assert_eq!(script.begun(), [], "and is not paused again");
    script.finish(0, background);
    assert_eq!(script.begun(), [late]);
}

#[test]
fn an_interactive_request_does_not_wait_behind_background_work_that_has_aged() {
    let mut script = warm(2);
    let runs = script.several(BACKGROUND, 2);
    script.several(BACKGROUND, 8);
    script.pass(60);
    let urgent = script.of(INTERACTIVE);
    assert_eq!(script.told(), (vec![runs[1]], vec![], vec![urgent]));
}

#[test]
fn a_paused_request_is_cancelled_as_any_other() {
    let mut script = warm(1);
    let background = script.of(BACKGROUND);
    let urgent = script.of(INTERACTIVE);
    script.cancel(background);
    assert!(script.is_ended(0, background));
    script.cancelled(background);
    assert!(matches!(script.update(background), Some(Update::Finished(_))));
    script.finish(0, urgent);
    assert_eq!(script.told(), (vec![], vec![], vec![]), "nothing is left to go on");
}

#[test]
fn an_engine_that_dies_fails_all_that_it_had_begun_and_nothing_else() {
    let mut script = warm(2);
    let background = script.several(BACKGROUND, 2);
    let urgent = script.of(INTERACTIVE);
    let waits = script.of(NORMAL);
    let other = script.ask("b", None, claim(NORMAL), 1);
    script.gone(0);
    for lost in [background[0], background[1], urgent] {
        assert_eq!(script.error(lost).kind, Kind::EngineLost);
    }
    assert_eq!((script.update(waits), script.update(other)), (None, None));
    script.ready(2);
    assert_eq!(script.begun(), [waits]);
}

#[test]
fn a_model_is_closed_by_cancelling_all_that_it_has_begun() {
    let mut script = warm(1);
    let background = script.of(BACKGROUND);
    let urgent = script.of(INTERACTIVE);
    let hold = Arc::new(());
    let id = protocol::ModelId("a".into());
    script.seen = script.residency.close(&id, Some(Force::Cancel), Arc::downgrade(&hold), Ticket(9));
    assert!(script.is_ended(0, background) && script.is_ended(0, urgent));
    script.cancelled(urgent);
    assert_eq!(script.residency.unload(&id).unwrap_err().kind, Kind::ModelInUse);
    script.cancelled(background);
    assert!(script.seen.contains(&Effect::Retire(EngineId(0))));
}

#[test]
fn draining_lets_paused_requests_go_on() {
    let mut script = warm(1);
    let background = script.of(BACKGROUND);
    let urgent = script.of(INTERACTIVE);
    script.seen = script.residency.drain(script.now);
    script.finish(0, urgent);
    assert_eq!(script.told().1, [background]);
    assert!(!script.residency.is_quiet());
}

#[test]
fn a_queue_timeout_ends_the_waiting_and_nothing_that_has_begun() {
    let mut script = warm(1);
    let start = script.now;
    let bounded = || Claim { queue_timeout: Some(Duration::from_secs(2)), ..claim(NORMAL) };
    let runs = script.ask("a", None, bounded(), 1);
    let waits = script.ask("a", None, bounded(), 1);
    script.pass(1);
    script.expire();
    assert_eq!(script.seen, []);
    assert_eq!(script.residency.next_expiry(), Some(script.now + Duration::from_secs(1)));
    script.pass(1);
    script.expire();
    let error = script.error(waits);
    assert_eq!((error.kind, error.retry_after_ms), (Kind::Timeout, Some(1000)));
    assert!(error.message.contains("waited for a for 2000 ms, longer than its queue_timeout_ms"), "{}", error.message);
    assert_eq!(script.update(runs), None);
    // What is left is to see that the engine gets on.
    assert_eq!(script.residency.next_expiry(), Some(start + limits().silence));
}

#[test]
fn a_deadline_fails_what_waits_and_what_has_no_token_and_cuts_the_rest() {
    let mut script = warm(2);
    let bounded = || Claim { deadline: Some(Duration::from_secs(2)), ..claim(NORMAL) };
    let (answers, reads) = (script.ask("a", None, bounded(), 1), script.ask("a", None, bounded(), 1));
    let waits = script.ask("a", None, bounded(), 1);
    script.token(answers);
    script.pass(2);
    script.expire();
    assert_eq!(script.error(waits).kind, Kind::Timeout);
    assert!(script.is_ended(0, answers) && script.is_ended(0, reads));
    script.expire();
    assert_eq!(script.seen, [], "it is told once");
    script.cancelled(answers);
    assert!(matches!(script.update(answers), Some(Update::Cut(_))));
    script.cancelled(reads);
    assert_eq!(script.error(reads).kind, Kind::Timeout);
    script.ask("a", None, bounded(), 1);
    assert_eq!(script.begun().len(), 1);
}

#[test]
fn a_deadline_that_is_over_at_arrival_or_comes_after_a_cancel_says_so() {
    let mut script = warm(1);
    let bounded = || Claim { deadline: Some(Duration::ZERO), ..claim(NORMAL) };
    let late = script.ask("a", None, bounded(), 1);
    assert_eq!(script.error(late).kind, Kind::Timeout);
    let runs = script.ask("a", None, Claim { deadline: Some(Duration::from_secs(1)), ..claim(NORMAL) }, 1);
    script.cancel(runs);
    script.pass(2);
    script.expire();
    script.cancelled(runs);
    assert!(matches!(script.update(runs), Some(Update::Finished(_))));
}

#[test]
fn the_last_places_are_not_for_background_and_the_hint_is_how_fast_requests_end() {
    let mut script = Script::with(8, 1);
    script.load("a", 1);
    script.ready(0);
    let mut runs = script.of(NORMAL);
    for _ in 0..5 {
        script.pass(2);
        script.finish(0, runs);
        runs = script.of(NORMAL);
    }
    for _ in 0..7 {
        script.of(BACKGROUND);
    }
    let refused = script.of(BACKGROUND);
    let error = script.error(refused);
    assert_eq!((error.kind, error.queue_length, error.retry_after_ms), (Kind::Busy, Some(7), Some(2000)));
    assert!(error.message.contains("not for background"), "{}", error.message);
    let taken = script.of(NORMAL);
    assert_eq!(script.update(taken), Some(&Update::Queued(0)));
    let refused = script.of(NORMAL);
    assert_eq!(script.error(refused).queue_length, Some(8));
}

#[test]
fn better_places_are_told_to_those_who_wait() {
    let mut script = warm(1);
    let all = script.several(NORMAL, 4);
    assert_eq!(script.update(all[3]), Some(&Update::Queued(2)));
    script.finish(0, all[0]);
    assert_eq!(script.residency.next_expiry(), Some(script.now));
    script.expire();
    assert_eq!((script.update(all[2]), script.update(all[3])), (Some(&Update::Queued(0)), Some(&Update::Queued(1))));
}
