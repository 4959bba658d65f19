//! Decisions from made-up times.

use super::*;

/// A device on which a step with so many guesses takes so many milliseconds.
type Device = fn(usize) -> f64;

/// Each position costs as much as the first.
const PROCESSOR: Device = |guesses| 10.0 * (1 + guesses) as f64;

/// A few positions cost nothing more.
const GPU: Device = |guesses| 5.0 + 0.1 * guesses as f64;

/// Runs `tokens` tokens of which the guesses are right as `hit` says of each; answers the milliseconds, and the guesses of
/// each step.
fn run(worth: &mut Worth, device: Device, tokens: usize, hit: impl Fn(usize) -> bool) -> (f64, Vec<usize>) {
    let ms = |time: f64| Duration::from_secs_f64(time / 1000.0);
    let (mut spent, mut counts, mut done) = (0.0, Vec::new(), 0);
    while done < tokens {
        let count = worth.count(MOST_GUESSES);
        let right = (0..count).take_while(|place| hit(done + place)).count();
        for _ in 0..right {
            worth.told(true);
        }
        if count == 0 {
            worth.told(hit(done));
            worth.stepped(ms(device(0)));
        } else {
            if right < count {
                worth.told(false);
            }
            worth.guessed(count, ms(device(count)));
        }
        spent += device(count);
        counts.push(count);
        done += right + 1;
    }
    (spent, counts)
}

#[test]
fn plain_steps_are_measured_first() {
    let (_, counts) = run(&mut Worth::default(), GPU, 8, |_| true);
    assert_eq!(counts[..5], [0, 0, 0, 0, 3], "and then a trial, of as many as four hits make likely");
    let (_, counts) = run(&mut Worth::default(), GPU, 8, |place| place > 2);
    assert_eq!(counts[..5], [0, 0, 0, 0, TRIAL], "of few at least");
}

#[test]
fn where_any_guesses_cost_two_steps_more_many_are_tried_and_pay() {
    let device: Device = |guesses| if guesses == 0 { 3.0 } else { 9.0 + 0.1 * guesses as f64 };
    let (spent, counts) = run(&mut Worth::default(), device, 400, |_| true);
    assert_eq!(counts.last(), Some(&MOST_GUESSES));
    assert!(spent < 400.0 * device(0) / 1.8, "{spent}");
}

#[test]
fn where_positions_cost_little_and_guesses_are_right_all_are_computed() {
    let (spent, counts) = run(&mut Worth::default(), GPU, 400, |_| true);
    assert_eq!(counts.last(), Some(&MOST_GUESSES));
    assert!(spent < 400.0 * GPU(0) / 5.0, "{spent}");
}

#[test]
fn where_each_position_costs_a_step_nearly_nothing_is_lost() {
    for hit in [(|_| true) as fn(usize) -> bool, |place| place % 2 == 0, |place| place % 5 == 0, |_| false] {
        let (spent, counts) = run(&mut Worth::default(), PROCESSOR, 2000, hit);
        let trials = counts.iter().filter(|count| **count > 0).count();
        // After 4 tokens, and then after rests of 64, 128, … tokens.
        assert!(trials <= 6, "{trials}");
        assert!(spent < 2000.0 * PROCESSOR(0) * 1.01, "{spent}");
    }
}

#[test]
fn where_guesses_are_wrong_none_is_computed() {
    let (spent, counts) = run(&mut Worth::default(), GPU, 2000, |_| false);
    let last = counts.iter().rposition(|count| *count > 0);
    // Half of them were expected to be right at first.
    assert!(last.is_none_or(|last| last < 12), "{last:?}");
    assert!(spent < 2000.0 * GPU(0) * 1.01, "{spent}");
}

#[test]
fn guesses_that_become_right_are_computed_again_and_those_that_no_longer_are_not() {
    let mut worth = Worth::default();
    run(&mut worth, GPU, 100, |_| false);
    assert_eq!(worth.count(8), 0);
    let (_, counts) = run(&mut worth, GPU, 200, |_| true);
    assert_eq!(counts.last(), Some(&8));
    run(&mut worth, GPU, 100, |_| false);
    assert_eq!(worth.count(8), 0);
}

#[test]
fn a_device_that_becomes_faster_is_tried_again() {
    let mut worth = Worth::default();
    run(&mut worth, PROCESSOR, 100, |_| true);
    assert_eq!(worth.count(8), 0);
    let (_, counts) = run(&mut worth, GPU, 600, |_| true);
    assert_eq!(counts.last(), Some(&8));
}

#[test]
fn some_that_are_right_get_some_guesses() {
    // Right half of the time, where three guesses cost a step.
    let device: Device = |guesses| 6.0 + 2.0 * guesses as f64;
    let mut worth = Worth::default();
    run(&mut worth, device, 300, |place| place * 7919 % 13 < 10);
    let count = worth.count(8);
    assert!((1..8).contains(&count), "{count}");
}

#[test]
fn never_more_are_computed_than_there_are() {
    let mut worth = Worth::default();
    run(&mut worth, GPU, 400, |_| true);
    assert_eq!([0, 1, 3, 100].map(|most| worth.count(most)), [0, 1, 3, MOST_GUESSES]);
}

#[test]
fn likely_guesses_follow_what_was_right_and_not_what_it_took() {
    let mut worth = Worth::default();
    assert_eq!([0, 1, 8].map(|most| worth.likely(most)), [0, 1, 1], "one is tried whatever comes of it");
    for _ in 0..20 {
        worth.told(true);
    }
    assert_eq!([3, 8, 100].map(|most| worth.likely(most)), [3, MOST_GUESSES, MOST_GUESSES]);
    for _ in 0..20 {
        worth.told(false);
    }
    assert_eq!(worth.likely(8), 1);
}

#[test]
fn guesses_that_only_a_step_tells_of_are_tried_again_after_a_rest() {
    let mut worth = Worth::default();
    let plain = |worth: &mut Worth, steps: u32| (0..steps).for_each(|_| worth.stepped(Duration::from_millis(5)));
    plain(&mut worth, FIRST);
    while worth.count(8) > 0 {
        worth.told(false);
        worth.guessed(2, Duration::from_millis(6));
    }
    let mut tried = 0;
    for _ in 0..3 * REST {
        plain(&mut worth, 1);
        tried += u32::from(worth.count(8) > 0);
    }
    assert!(tried > 0, "{worth:?}");
    assert!(worth.speed(2) <= 0.0, "what it was is forgotten");
}

#[test]
fn work_beforehand_must_repay_itself_within_the_tokens_that_are_left() {
    let mut worth = Worth::default();
    assert!(worth.repays(Duration::from_secs(100), 1), "nothing is measured");
    for _ in 0..FIRST {
        worth.stepped(Duration::from_millis(10));
    }
    assert!(worth.repays(Duration::from_millis(200), 100));
    assert!(!worth.repays(Duration::from_millis(300), 100));
    assert!(!worth.repays(Duration::from_millis(1), 0));
}
