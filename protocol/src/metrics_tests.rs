use super::*;

/// Of counts up to 1, 10 and 100, and how many there are in all.
fn histogram(counts: [u64; 3], count: u64) -> Histogram {
    let buckets = [1.0, 10.0, 100.0].into_iter().zip(counts).map(|(le, count)| Bucket { le, count }).collect();
    Histogram::new(count, count as f64 * 2.0, buckets)
}

#[test]
fn quantiles_are_estimated_within_their_bucket() {
    // Ten up to 1, eighty up to 10, ten up to 100.
    let spread = histogram([10, 90, 100], 100);
    assert_eq!((spread.p50, spread.p90, spread.p99), (Some(5.5), Some(10.0), Some(91.0)));
    assert_eq!((spread.quantile(0.0), spread.quantile(1.0)), (Some(0.0), Some(100.0)));
    // All in the first bucket: half of it.
    assert_eq!(histogram([4, 4, 4], 4).p50, Some(0.5));
    // Empty buckets before are stepped over.
    assert_eq!(histogram([0, 0, 2], 2).p50, Some(55.0));
}

#[test]
fn quantiles_beyond_the_last_bound_are_that_bound_and_of_nothing_there_are_none() {
    assert_eq!(histogram([0, 0, 0], 5).p50, Some(100.0));
    assert_eq!(histogram([1, 1, 1], 4).p99, Some(100.0));
    assert_eq!(histogram([0, 0, 0], 0).p50, None);
    assert_eq!(Histogram::default().quantile(0.5), None);
}

#[test]
fn a_difference_has_what_came_between() {
    let (then, now) = (histogram([1, 2, 3], 3), histogram([1, 4, 6], 7));
    let between = now.since(&then);
    assert_eq!(between.buckets.iter().map(|bucket| bucket.count).collect::<Vec<_>>(), [0, 2, 3]);
    assert_eq!((between.count, between.sum), (4, 8.0));
    assert_eq!(now.since(&now).p50, None);
}

#[test]
fn a_daemon_that_began_anew_has_all_it_has_since_then() {
    let (before, after) = (histogram([5, 5, 5], 5), histogram([1, 1, 1], 1));
    assert_eq!(after.since(&before), after);
    assert_eq!(after.since(&Histogram::default()), after);
}

#[test]
fn two_together_have_the_values_of_both() {
    let both = histogram([1, 2, 3], 3).with(&histogram([0, 0, 1], 2));
    assert_eq!(both, Histogram { sum: 10.0, ..histogram([1, 2, 4], 5) });
    assert_eq!(Histogram::default().with(&both), both);
    assert_eq!(both.with(&Histogram::default()), both);
}
