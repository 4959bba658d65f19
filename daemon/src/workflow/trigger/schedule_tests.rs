use jiff::tz;

use super::*;

fn at(text: &str) -> Timestamp {
    text.parse().expect("it is a time")
}

fn zone() -> TimeZone {
    TimeZone::fixed(tz::offset(1))
}

/// At seven in the morning, which is six in UTC.
fn daily(served: &str) -> Timer {
    Timer { when: When::Cron(workflow::Cron::new("0 7 * * *").expect("it is sound")), served: at(served) }
}

/// How many runs a clock starts that shows these times one after the other.
fn runs(timer: &mut Timer, clock: &[&str]) -> usize {
    let served = clock.iter().filter(|shown| {
        let now = at(shown);
        let is_due = timer.turn(now, &zone()) == Turn::Due;
        if is_due {
            timer.served = now;
        }
        is_due
    });
    served.count()
}

#[test]
fn a_time_is_waited_for_and_served_once() {
    let mut timer = daily("2026-03-01T05:00:00Z");
    let wait = Turn::In(Duration::from_hours(1));
    assert_eq!(timer.turn(at("2026-03-01T05:00:00Z"), &zone()), wait);
    assert_eq!(runs(&mut timer, &["2026-03-01T05:59:59Z", "2026-03-01T06:00:00Z", "2026-03-01T06:00:01Z"]), 1);
    assert_eq!(runs(&mut timer, &["2026-03-02T05:59:59Z", "2026-03-02T06:00:00.2Z"]), 1);
}

#[test]
fn what_was_missed_is_one_run() {
    let mut timer = daily("2026-03-01T06:00:00Z");
    assert_eq!(runs(&mut timer, &["2026-03-09T12:00:00Z", "2026-03-09T12:00:01Z", "2026-03-10T05:00:00Z"]), 1);
    let mut often = Timer { when: When::Every(Duration::from_secs(1)), served: at("2026-03-01T06:00:00Z") };
    assert_eq!(runs(&mut often, &["2026-03-02T06:00:00Z", "2026-03-02T06:00:00.5Z"]), 1);
}

#[test]
fn a_clock_that_is_set_back_serves_nothing_twice() {
    let mut timer = daily("2026-03-01T05:00:00Z");
    assert_eq!(runs(&mut timer, &["2026-03-01T06:00:00Z", "2026-03-01T05:59:00Z", "2026-03-01T06:00:00Z"]), 1);
    assert_eq!(runs(&mut timer, &["2026-02-28T12:00:00Z", "2026-03-01T05:00:00Z", "2026-03-02T06:00:00Z"]), 1);
}

#[test]
fn a_clock_that_was_years_ahead_keeps_nothing_waiting() {
    let mut timer = daily("2026-03-01T05:00:00Z");
    assert_eq!(runs(&mut timer, &["2036-03-01T06:00:00Z", "2026-03-01T05:30:00Z", "2026-03-01T06:00:00Z"]), 2);
}

#[test]
fn a_clock_is_passed_in() {
    let clock = Clock(Arc::new(|| (at("2026-03-01T05:00:00Z"), zone())));
    assert_eq!(clock.now().0, at("2026-03-01T05:00:00Z"));
}
