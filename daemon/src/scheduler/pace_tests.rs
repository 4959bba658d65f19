use super::*;

/// What is said one second after the last of ends that are so far apart.
fn said(count: u32, apart: Duration) -> Duration {
    let (mut pace, start) = (Pace::default(), Instant::now());
    for number in 0..count {
        pace.note(start + apart * number);
    }
    pace.next(start + apart * count.saturating_sub(1) + Duration::from_secs(1))
}

#[test]
fn what_is_said_follows_how_fast_requests_ended_within_its_bounds() {
    let seconds = Duration::from_secs;
    for (count, apart, expected) in [
        (0, seconds(1), UNKNOWN),
        (1, seconds(1), UNKNOWN),
        (3, seconds(4), Duration::from_millis(4500)),
        (11, seconds(1), Duration::from_millis(1100)),
        (100, Duration::from_millis(1), SHORTEST),
        // All but the last are too old to say anything.
        (5, seconds(100), UNKNOWN),
    ] {
        assert_eq!(said(count, apart), expected, "{count} ends, {apart:?} apart");
    }
}
