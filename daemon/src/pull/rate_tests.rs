use super::*;

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn a_rate_is_of_the_last_seconds() {
    let (mut meter, start) = (Meter::default(), Instant::now());
    assert_eq!(meter.note(1000, start), None, "what was there before is no rate");
    assert_eq!(meter.note(3000, start + SECOND), Some(2000));
    for second in 2..20 {
        meter.note(3000 + (second - 1) * 500, start + SECOND * second as u32);
    }
    assert_eq!(meter.note(3000 + 19 * 500, start + SECOND * 20), Some(500));
    assert_eq!(meter.note(3000 + 19 * 500, start + SECOND * 40), Some(0), "nothing has come for long");
}

#[test]
fn a_limit_is_shared_and_made_up_for() {
    let (limit, now) = (Limit::new(Some(1000)), Instant::now());
    let first = limit.take(500, now);
    assert!(first <= SECOND / 2 && first > SECOND * 4 / 10, "{first:?}");
    assert!(limit.take(500, now) > SECOND * 9 / 10);
    let later = now + SECOND * 10;
    assert!(limit.take(500, later) <= SECOND / 2, "time that was not used is not saved up");
    for unlimited in [None, Some(0)] {
        assert_eq!(Limit::new(unlimited).take(usize::MAX, now), Duration::ZERO);
    }
}

#[test]
fn waits_grow_to_a_minute_and_keep_a_servers_wish() {
    let waits: Vec<u64> = (1..10).map(|failures| wait(failures, None, 1.0).as_millis() as u64).collect();
    assert_eq!(waits, [500, 1000, 2000, 4000, 8000, 16_000, 32_000, 60_000, 60_000]);
    assert_eq!(wait(1, None, 0.0), Duration::from_millis(250));
    assert_eq!(wait(1, Some(SECOND * 90), 0.5), SECOND * 90);
    assert_eq!(wait(u32::MAX, None, 1.0), Duration::from_mins(1));
}

#[tokio::test]
async fn another_limit_wakes_who_waits_by_the_one_before() {
    let limit = Limit::new(Some(1));
    let changed = limit.changed();
    assert!(limit.take(1 << 20, Instant::now()) > SECOND * 3600);
    limit.set(Some(1 << 20));
    changed.await;
    assert!(limit.take(1 << 20, Instant::now()) <= SECOND, "what was owed by the limit before is forgotten");
    limit.set(None);
    assert_eq!(limit.take(usize::MAX, Instant::now()), Duration::ZERO);
}
