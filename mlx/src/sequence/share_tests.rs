//! Rows of arrays put together anew.

use super::*;

fn shares(numbers: &[u32]) -> Vec<Share> {
    Share::each(Array::from_slice(numbers, &[numbers.len() as i32])).collect()
}

fn numbers(array: &Array) -> Vec<u32> {
    array.to_vec_exact().unwrap()
}

#[test]
fn rows_come_in_the_order_that_they_are_asked_in() {
    let (old, new) = (shares(&[1, 2, 3, 4]), shares(&[5, 6]));
    let cases: &[(&[&Share], &[u32])] = &[
        (&[&old[0], &old[1], &old[2], &old[3]], &[1, 2, 3, 4]),
        (&[&old[0], &old[2], &old[3]], &[1, 3, 4]),
        (&[&old[1], &old[0]], &[2, 1]),
        (&[&old[3], &new[0], &new[1], &old[0]], &[4, 5, 6, 1]),
        (&[&old[1], &old[1]], &[2, 2]),
    ];
    for (asked, expected) in cases {
        assert_eq!(numbers(&together(asked.iter().copied()).unwrap()), *expected);
    }
    assert_eq!(numbers(&old[2].alone().unwrap()), [3]);
}

#[test]
fn all_rows_of_an_array_are_that_array() {
    let all = Array::from_slice(&[1_u32, 2], &[2]);
    let shares: Vec<Share> = Share::each(all.clone()).collect();
    let found = together(&shares).unwrap();
    all.eval().unwrap();
    // Nothing has to be computed for it.
    assert_eq!(found.as_slice::<u32>().as_ptr(), all.as_slice::<u32>().as_ptr());
}

#[test]
fn a_number_without_an_axis_is_one_row() {
    let number = Share::whole(Array::from_int(7));
    let others: Vec<Share> = Share::each(Array::from_slice(&[1, 2], &[2])).collect();
    assert!(together([&number]).unwrap().shape().is_empty());
    let all: Vec<i32> = together([&others[1], &number]).unwrap().to_vec_exact().unwrap();
    assert_eq!(all, [2, 7]);
}

#[test]
fn rows_may_have_more_axes() {
    let logits = Array::from_iter(0..6, &[3, 2]);
    let shares: Vec<Share> = Share::each(logits).collect();
    let found = together([&shares[2], &shares[0]]).unwrap();
    assert_eq!(found.shape(), [2, 2]);
    assert_eq!(found.to_vec_exact::<i32>().unwrap(), [4, 5, 0, 1]);
    assert_eq!(shares[1].alone().unwrap().shape(), [1, 2]);
}
