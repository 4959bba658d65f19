use mlx_rs::Array;

use super::*;
use crate::array::{add, heads, multiply, reshape, rows, write};

/// Whether the operation that `make` asks for was kept by an earlier one, and what it answered.
fn asked(make: impl Fn() -> Array) -> (bool, Array) {
    let before = again::made();
    let array = make();
    (again::made() > before, array)
}

fn numbers(shape: &[i32]) -> Array {
    Array::from_iter((0..shape.iter().product::<i32>()).map(|number| number as f32), shape)
}

fn values(array: &Array) -> Vec<f32> {
    array.contiguous().unwrap().as_slice::<f32>().to_vec()
}

#[test]
fn the_same_on_other_arrays_is_made_again() {
    let [a, b] = [numbers(&[2, 3]), numbers(&[2, 3])];
    let (known, sum) = asked(|| add(&a, &b).unwrap());
    assert!(!known);
    assert_eq!(values(&sum), [0.0, 2.0, 4.0, 6.0, 8.0, 10.0]);
    // What is computed lets go of what it was computed from; what is kept of it has to do without.
    drop((a, b));
    let (known, sum) = asked(|| add(&sum, &sum).unwrap());
    assert!(known);
    assert_eq!(values(&sum), [0.0, 4.0, 8.0, 12.0, 16.0, 20.0]);
}

#[test]
fn another_shape_type_number_or_operation_is_another() {
    let x = numbers(&[1, 4, 2, 3]);
    let half = x.as_dtype(mlx_rs::Dtype::Float16).unwrap();
    let tall = numbers(&[1, 2, 4, 3]);
    let makers: [&dyn Fn() -> Array; 8] = [
        &|| heads(&x, 0, 2).unwrap(),
        &|| heads(&x, 2, 4).unwrap(),
        &|| heads(&half, 0, 2).unwrap(),
        &|| rows(&tall, 0, 2).unwrap(),
        &|| rows(&tall, 1, 3).unwrap(),
        &|| reshape(&x, [4, 6]).unwrap(),
        &|| reshape(&x, [6, 4]).unwrap(),
        &|| multiply(&x, &x).unwrap(),
    ];
    let first = makers.map(asked);
    assert!(first.iter().all(|(known, _)| !known));
    for ((known, again), (_, made)) in makers.map(asked).iter().zip(&first) {
        assert!(known);
        assert_eq!((again.shape(), again.dtype()), (made.shape(), made.dtype()));
        let plain = |array: &Array| values(&array.as_dtype(mlx_rs::Dtype::Float32).unwrap());
        assert_eq!(plain(again), plain(made));
    }
}

#[test]
fn what_takes_several_operations_is_made_as_usual() {
    // The smaller one is repeated first.
    let (x, row) = (numbers(&[2, 3]), numbers(&[3]));
    for _ in 0..2 {
        let (known, sum) = asked(|| add(&x, &row).unwrap());
        assert!(!known);
        assert_eq!(values(&sum), [0.0, 2.0, 4.0, 3.0, 5.0, 7.0]);
    }
}

#[test]
fn what_cannot_be_is_an_error_each_time() {
    let (x, y) = (numbers(&[2, 3]), numbers(&[2, 4]));
    for _ in 0..2 {
        add(&x, &y).unwrap_err();
    }
}

#[test]
fn more_than_can_be_kept_is_made_as_usual() {
    let buffer = numbers(&[1, 1, 2000, 1]);
    for _ in 0..2 {
        for row in 0..1000 {
            assert_eq!(values(&rows(&buffer, row, row + 1).unwrap()), [row as f32]);
        }
    }
}

#[test]
fn a_write_made_again_still_writes_in_place() {
    let mut buffer = numbers(&[1, 1, 4, 2]);
    buffer.eval().unwrap();
    let mut places = Vec::new();
    for _ in 0..3 {
        let new = multiply(&numbers(&[1, 1, 1, 2]), &numbers(&[1, 1, 1, 2])).unwrap();
        buffer = write(buffer, &new, [0, 0, 2, 0]).unwrap();
        buffer.eval().unwrap();
        // With CUDA a thread of MLX holds what was written for a moment longer, however the write was made.
        std::thread::sleep(std::time::Duration::from_millis(30));
        places.push(buffer.as_slice::<f32>().as_ptr());
    }
    assert_eq!(values(&buffer), [0.0, 1.0, 2.0, 3.0, 0.0, 1.0, 6.0, 7.0]);
    assert!(places.iter().all(|place| *place == places[0]));
}
