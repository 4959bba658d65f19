//! Against values worked out by hand.

use super::*;

#[test]
fn the_likeliest_come_first_and_the_chosen_need_not_be_one() {
    // Probabilities 0.5, 0.25, 0.125, 0.125.
    let logits = Array::from_slice(&[3.0_f32, 5.0, 4.0, 3.0].map(|log| log * std::f32::consts::LN_2), &[1, 4]);
    let found = at(&logits, 3, 2).unwrap();
    let close = |found: f32, probability: f32| (found - probability.ln()).abs() < 1e-6;
    assert!(close(found.chosen, 0.125));
    assert_eq!(found.top.iter().map(|(token, _)| *token).collect::<Vec<_>>(), [1, 2]);
    assert!(close(found.top[0].1, 0.5) && close(found.top[1].1, 0.25));
    assert_eq!(at(&logits, 0, 0).unwrap().top, []);
    // More than there are: all, in order.
    let all: Vec<_> = at(&logits, 1, 9).unwrap().top.into_iter().map(|(token, _)| token).collect();
    assert_eq!(all, [1, 2, 0, 3]);
}
