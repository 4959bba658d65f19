//! Tests of `rests.rs`: who rests, and for how long.

use super::*;

#[test]
fn a_load_beside_others_rests_half_as_long_again_as_it_has_worked_on_a_processor_alone() {
    let begin = Instant::now();
    let work = Duration::from_millis(70);
    for (pace, memory, due) in [
        (Pace::Shared, DeviceMemory::Processor, Duration::from_millis(105)),
        (Pace::Alone, DeviceMemory::Processor, Duration::ZERO),
        (Pace::Shared, DeviceMemory::Own(1), Duration::ZERO),
        (Pace::Shared, DeviceMemory::Shared(1), Duration::ZERO),
    ] {
        assert_eq!(Rests::new(pace, memory, begin).due(begin + work), due, "{pace:?} {memory:?}");
    }
}

#[test]
fn work_counts_from_the_end_of_a_rest() {
    let mut rests = Rests::new(Pace::Shared, DeviceMemory::Processor, Instant::now());
    thread::sleep(Duration::from_millis(2));
    let before = Instant::now();
    rests.take();
    let rested = Instant::now();
    assert!(rested - before >= Duration::from_millis(3));
    // It has worked since some time before this, and after the rest began.
    assert!(rests.due(rested) <= rested - before);
}
