//! A sliding window against the formula on numbers, however its tokens come.

use super::*;

/// One head of one dimension: scores are all equal, so that each token gets the mean of the values it sees.
fn means(window: i32, chunks: &[i32]) -> Vec<f32> {
    let mut cache = Cache::window(window);
    let mut means = Vec::new();
    let mut start = 0;
    for count in chunks {
        let values: Vec<f32> = (start..start + count).map(|position| position as f32).collect();
        let values = Array::from_slice(&values, &[1, 1, *count, 1]);
        let flat = Array::from_slice(&vec![0.0_f32; *count as usize], &[1, 1, *count, 1]);
        let seen = attend(&flat, &flat, &values, &mut cache, Scores::of(1)).unwrap();
        means.extend(seen.reshape(&[-1]).unwrap().to_vec_exact::<f32>().unwrap());
        start += count;
        assert_eq!(cache.len(), start);
    }
    means
}

#[test]
fn each_token_sees_its_window_however_the_tokens_come() {
    let cases: &[(i32, &[i32])] = &[
        (4, &[1, 1, 1, 1, 1, 1, 1, 1, 1, 1]),
        (4, &[10]),
        (4, &[3, 1, 1, 1, 5, 1, 2]),
        (4, &[4, 4, 1, 4, 1, 1, 1, 1, 1, 3]),
        (1, &[2, 1, 1, 3]),
        (300, &[250, 10, 1, 1, 60, 1, 1, 90, 1]),
    ];
    for (window, chunks) in cases {
        let found = means(*window, chunks);
        for (position, mean) in found.iter().enumerate() {
            let position = position as f32;
            let first = (position - *window as f32 + 1.0).max(0.0);
            let expected = f32::midpoint(first, position);
            assert!(
                (mean - expected).abs() < 1e-3,
                "window {window} of {chunks:?} at {position}: {mean}, not {expected}"
            );
        }
    }
}

#[test]
fn a_window_holds_no_more_than_itself() {
    let mut cache = Cache::window(20);
    let new = |count: i32| Array::from_slice(&vec![0.0_f32; count as usize], &[1, 1, count, 1]);
    for count in [1, 30, 1, 7, 1, 1, 100, 1] {
        let new = new(count);
        attend(&new, &new, &new, &mut cache, Scores::of(1)).unwrap();
        assert!(cache.state().all(|buffer| buffer.shape()[2] <= 20), "after {count} more");
    }
}
