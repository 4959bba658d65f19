//! Every number of bits and group size gives back what was packed.

use super::*;

/// `values` of so many bits, one after the other, the lowest first.
fn pack(values: &[u32], bits: u32) -> Vec<u32> {
    let bit = |place: usize| values[place / bits as usize] >> (place % bits as usize) & 1;
    let word = |word: usize| (0..32).map(|place| bit(word * 32 + place) << place).sum();
    (0..values.len() * bits as usize / 32).map(word).collect()
}

#[test]
fn all_packings_give_back_their_numbers() {
    for bits in BITS {
        for group in GROUP_SIZES {
            let (rows, columns) = (3, 2 * group as usize);
            let values: Vec<u32> = (0..(rows * columns) as u32).map(|i| i * 37 % (1 << bits)).collect();
            let scales: Vec<f32> = (0..2 * rows).map(|place| 0.5 + place as f32).collect();
            let biases: Vec<f32> = (0..2 * rows).map(|place| -(place as f32)).collect();
            let expected = |(place, value): (usize, &u32)| {
                let group = place / group as usize;
                scales[group] * *value as f32 + biases[group]
            };
            let expected: Vec<f32> = values.iter().enumerate().map(expected).collect();
            let found = unpack(&pack(&values, bits), &scales, &biases, rows, columns);
            assert_eq!(found, Some(expected), "{bits} bits in groups of {group}");
        }
    }
}

#[test]
fn what_does_not_add_up_is_refused() {
    let ones = [1.0; 4];
    assert!(unpack(&[0; 16], &ones, &ones, 2, 64).is_some());
    assert!(unpack(&[0; 15], &ones, &ones, 2, 64).is_none(), "bits");
    assert!(unpack(&[0; 16], &ones[..3], &ones[..3], 2, 64).is_none(), "groups");
    assert!(unpack(&[0; 16], &ones, &ones[..3], 2, 64).is_none(), "biases");
    assert!(unpack(&[], &[], &[], usize::MAX, 2).is_none(), "more numbers than there are");
}
