use std::sync::Arc;

use engine::{Submission, Work};
use protocol::ModelId;

use super::*;
use crate::app::App;
use crate::backend::Backend;
use crate::local::{Key, LocalModel};
use crate::scheduler::Claim;

/// A queue with a clock, in seconds.
struct Line {
    queue: Queue,
    start: Instant,
    rows: Rows,
}

impl Line {
    fn new() -> Self {
        Self { queue: Queue::default(), start: Instant::now(), rows: Rows::new() }
    }

    fn at(&self, second: u64) -> Instant {
        self.start + Duration::from_secs(second)
    }

    /// A request of an app, and its place.
    fn push(&mut self, sequence: u64, app: i32, priority: Priority, second: u64) -> u32 {
        let mut job = job(sequence, app, priority);
        job.arrived = self.at(second);
        let now = self.at(second);
        self.queue.push(job, &self.rows, now)
    }

    fn order(&self, second: u64) -> Vec<u64> {
        self.queue.order(&self.rows, self.at(second)).into_iter().map(|sequence| sequence.0).collect()
    }

    /// The one whose turn it is.
    fn serve(&mut self, second: u64) -> u64 {
        let next = self.queue.next(&self.rows, self.at(second), |_| true).unwrap().work.sequence();
        assert_eq!(next.0, self.order(second)[0], "the next is the first of the order");
        self.queue.serve(next).unwrap();
        next.0
    }

    fn better(&mut self, millis: u64) -> Vec<(u64, u32)> {
        let now = self.start + Duration::from_millis(millis);
        self.queue.better(&self.rows, now).into_iter().map(|(sequence, place)| (sequence.0, place)).collect()
    }
}

fn job(sequence: u64, app: i32, priority: Priority) -> Job {
    let key = Key { id: ModelId("a".into()), backend: Backend::Mlx };
    let app = App { name: app.to_string(), source: Source::Process(app) };
    Job {
        model: Arc::new(LocalModel::new(key, "/models/a".into(), Vec::new(), Vec::new())),
        work: Work::Generate(Submission::greedy(SequenceId(sequence), &[1], 1)),
        keep_alive: None,
        trace_id: None,
        arrived: Instant::now(),
        claim: Claim { app, priority, queue_timeout: None, deadline: None },
    }
}

#[test]
fn the_more_urgent_goes_first_and_of_equals_the_one_that_came_first() {
    let mut line = Line::new();
    for (sequence, priority) in [Priority::Background, Priority::Normal, Priority::Interactive].into_iter().enumerate()
    {
        line.push(sequence as u64, 1, priority, 0);
        line.push(sequence as u64 + 10, 1, priority, 0);
    }
    assert_eq!(line.order(0), [2, 12, 1, 11, 0, 10]);
}

#[test]
fn ten_seconds_make_a_request_more_urgent_by_a_step_up_to_the_most_urgent() {
    let mut line = Line::new();
    line.push(1, 1, Priority::Background, 0);
    line.push(2, 1, Priority::Normal, 5);
    assert_eq!(line.order(9), [2, 1]);
    assert_eq!(line.order(10), [1, 2], "both are normal, and 1 came first");
    line.push(3, 1, Priority::Interactive, 19);
    assert_eq!(line.order(19), [2, 3, 1], "2 has become interactive, and came before 3");
}

#[test]
fn ageing_has_steps_and_an_end() {
    for (priority, seconds, expected) in [
        (Priority::Background, 9, Priority::Background),
        (Priority::Background, 10, Priority::Normal),
        (Priority::Background, 20, Priority::Interactive),
        (Priority::Normal, 10, Priority::Interactive),
        (Priority::Interactive, u64::MAX, Priority::Interactive),
    ] {
        assert_eq!(aged(priority, Duration::from_secs(seconds)), expected, "{priority} after {seconds} s");
    }
}

#[test]
fn of_equally_urgent_ones_goes_the_app_with_the_fewest_rows() {
    let mut line = Line::new();
    line.rows.insert(Source::Process(1), 2);
    for sequence in 0..3 {
        line.push(sequence, 1, Priority::Normal, 0);
    }
    line.push(10, 2, Priority::Normal, 1);
    line.push(11, 2, Priority::Normal, 1);
    line.push(12, 2, Priority::Normal, 1);
    // Two of app 2 bring it to two rows; then both have as many, and app 1 was served longer ago.
    assert_eq!(line.order(1), [10, 11, 0, 12, 1, 2]);
}

#[test]
fn apps_with_as_many_rows_take_turns() {
    let mut line = Line::new();
    for sequence in 0..3 {
        line.push(sequence, 1, Priority::Normal, 0);
    }
    line.push(10, 2, Priority::Normal, 0);
    line.push(20, 3, Priority::Normal, 0);
    // Nothing keeps running, so that only the turns tell apps apart.
    let served: Vec<u64> = (0..5).map(|_| line.serve(0)).collect();
    assert_eq!(served, [0, 10, 20, 1, 2]);
}

#[test]
fn an_app_that_asks_for_much_does_not_keep_others_waiting() {
    let mut line = Line::new();
    for sequence in 0..100 {
        line.push(sequence, 1, Priority::Normal, 0);
    }
    assert_eq!(line.push(100, 2, Priority::Normal, 0), 1, "the other app has as many rows, and came first");
    line.rows.insert(Source::Process(1), 1);
    assert_eq!(line.push(101, 3, Priority::Normal, 0), 1);
    assert_eq!(line.order(0)[..3], [100, 101, 0]);
}

#[test]
fn who_is_taken_out_is_gone_and_the_rest_keeps_its_order() {
    let mut line = Line::new();
    for sequence in 0..3 {
        line.push(sequence, 1, Priority::Normal, 0);
    }
    assert!(line.queue.remove(SequenceId(1)).is_some());
    assert!(line.queue.remove(SequenceId(1)).is_none());
    assert_eq!(line.order(0), [0, 2]);
    assert_eq!(line.queue.clear().len(), 2);
    assert!(line.queue.is_empty());
}

#[test]
fn who_waits_too_long_gives_up_and_nobody_else() {
    let mut line = Line::new();
    let times = [(Some(3), None), (None, Some(2)), (None, None), (Some(9), Some(4))];
    for (sequence, (queue_timeout, deadline)) in times.into_iter().enumerate() {
        let mut job = job(sequence as u64, 1, Priority::Normal);
        job.arrived = line.at(0);
        (job.claim.queue_timeout, job.claim.deadline) =
            (queue_timeout.map(Duration::from_secs), deadline.map(Duration::from_secs));
        let now = line.at(0);
        line.queue.push(job, &line.rows, now);
    }
    assert_eq!(line.queue.wakes_at(), Some(line.at(2)));
    let now = line.at(3);
    let gone: Vec<u64> = line.queue.expire(now).iter().map(|job| job.work.sequence().0).collect();
    assert_eq!(gone, [1, 0]);
    assert_eq!(line.queue.wakes_at(), Some(line.at(4)));
    line.queue.remove(SequenceId(3));
    assert_eq!(line.queue.wakes_at(), None, "one that has left gives up no more");
}

#[test]
fn better_places_are_told_now_and_then_and_worse_ones_never() {
    let mut line = Line::new();
    for sequence in 0..4 {
        assert_eq!(line.push(sequence, 1, Priority::Normal, 0), sequence as u32);
    }
    assert_eq!(line.better(0), [], "nobody has left");
    line.serve(0);
    let now = line.at(0);
    line.queue.changed(now);
    assert_eq!(line.better(0), [(1, 0), (2, 1), (3, 2)]);
    line.serve(0);
    line.queue.changed(now);
    assert_eq!(line.queue.wakes_at(), Some(line.start + TELLING));
    assert_eq!(line.better(199), [], "they were told just now");
    assert_eq!(line.better(200), [(2, 0), (3, 1)]);
    line.push(9, 1, Priority::Interactive, 1);
    line.queue.changed(line.at(1));
    assert_eq!(line.better(1000), [], "an interactive one is before them");
}

#[test]
fn turns_of_apps_that_left_are_forgotten() {
    let mut line = Line::new();
    for app in 0..1000 {
        line.push(app, app as i32, Priority::Normal, 0);
        line.serve(0);
    }
    assert!(line.queue.served.len() <= REMEMBERED, "{}", line.queue.served.len());
}
