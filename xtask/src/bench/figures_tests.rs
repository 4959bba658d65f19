use super::*;

fn samples(values: &[f64]) -> Samples {
    values.iter().copied().collect()
}

#[test]
fn the_median_is_the_middle_or_lies_between_the_two() {
    assert_eq!(samples(&[]).median(), None);
    assert_eq!(samples(&[9.0, 1.0, 2.0]).median(), Some(2.0));
    assert_eq!(samples(&[4.0, 1.0, 2.0, 9.0]).median(), Some(3.0));
}

#[test]
fn a_quantile_is_one_of_the_samples() {
    let hundred = (1..=100).rev().map(f64::from).collect::<Samples>();
    assert_eq!((hundred.quantile(0.99), hundred.quantile(0.5)), (Some(99.0), Some(50.0)));
    assert_eq!((samples(&[7.0]).quantile(0.0), samples(&[7.0]).quantile(1.0)), (Some(7.0), Some(7.0)));
    assert_eq!(samples(&[]).quantile(0.5), None);
}

#[test]
fn ratios_are_taken_within_a_pair() {
    let ratios = samples(&[10.0, 30.0, 8.0]).over(&samples(&[20.0, 20.0, 16.0]));
    assert_eq!((ratios.clone(), ratios.count()), (samples(&[0.5, 1.5, 0.5]), 3));
    // The median of the pairs is not the ratio of the medians.
    assert_eq!(ratios.median(), Some(0.5));
}

#[test]
fn figures_have_as_many_digits_as_they_are_worth() {
    assert_eq!(samples(&[]).to_string(), "not measured");
    assert_eq!(samples(&[0.2345]).to_string(), "0.234");
    assert_eq!(samples(&[12.34, 11.11, 13.5]).to_string(), "12.3 (11.1–13.5)");
    assert_eq!(samples(&[1234.5, 1000.2, 1300.9]).to_string(), "1234 (1000–1301)");
}

#[test]
fn many_samples_are_summed_up() {
    let few = serde_json::to_value(samples(&[2.0, 1.0])).unwrap();
    assert_eq!(few, serde_json::json!({ "count": 2, "median": 1.5, "min": 1.0, "max": 2.0, "samples": [2.0, 1.0] }));
    let many = serde_json::to_value((1..=1000).map(f64::from).collect::<Samples>()).unwrap();
    assert_eq!((&many["p99"], many.get("samples")), (&serde_json::json!(990.0), None));
}
