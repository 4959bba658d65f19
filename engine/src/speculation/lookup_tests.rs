//! Guesses by example, and against a search through all tokens.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

#[test]
fn guesses_follow_the_latest_and_longest_occurrence() {
    let cases: &[(&[TokenId], &[TokenId])] = &[
        (&[], &[]),
        (&[1], &[]),
        (&[1, 2, 3, 4], &[]),
        // A single token is too little.
        (&[1, 2, 3, 1], &[]),
        (&[1, 2, 3, 4, 5, 1, 2], &[3, 4, 5, 1]),
        // The later of two.
        (&[1, 2, 3, 0, 1, 2, 4, 0, 0, 1, 2], &[4, 0, 0, 1]),
        // Three tokens are better than two.
        (&[9, 1, 2, 3, 0, 8, 1, 2, 4, 0, 9, 1, 2], &[3, 0, 8, 1]),
        // What reaches up to here repeats itself.
        (&[5, 7, 7, 7], &[7, 7, 7, 7]),
        (&[1, 2, 3, 1, 2], &[3, 1, 2, 3]),
    ];
    for (tokens, expected) in cases {
        assert_eq!(Lookup::new(tokens).guess(4), *expected, "{tokens:?}");
    }
    assert_eq!(Lookup::new(&[1, 2, 1, 2]).guess(0), [0; 0]);
    assert_eq!(Lookup::new(&[4, 6]).last(), Some(6));
}

/// Behind the latest earlier occurrence of the last `count` tokens.
fn found(tokens: &[TokenId], count: usize) -> Option<usize> {
    let start = tokens.len().checked_sub(count)?;
    (0..start).rev().find(|place| tokens[*place..place + count] == tokens[start..]).map(|place| place + count)
}

proptest! {
    #[test]
    fn guesses_are_those_of_a_search(tokens in vec(0_u32..4, 0..60), most in 0_usize..12) {
        let mut text = tokens.clone();
        if let Some(next) = found(&tokens, 3).or_else(|| found(&tokens, 2)) {
            for place in next..next + most {
                text.push(text[place]);
            }
        }
        prop_assert_eq!(Lookup::new(&tokens).guess(most), &text[tokens.len()..]);
    }
}
