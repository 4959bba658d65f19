//! The products against sums in the order of the definition, and MLX's use of them.

use std::ffi::{c_char, c_void};

use mlx_rs::{Array, random};

use super::*;

/// Numbers without any pattern, small enough that sums stay exact to a few digits.
fn numbers(count: usize, seed: u64) -> Vec<f32> {
    let key = random::key(seed).unwrap();
    random::uniform::<f32, f32>(-1.0, 1.0, &[count as i32], &key).unwrap().to_vec_exact().unwrap()
}

fn at(numbers: &[f32], stride: usize, transposed: bool, [row, column]: [usize; 2]) -> f32 {
    if transposed { numbers[column * stride + row] } else { numbers[row * stride + column] }
}

/// One product with rows 3 numbers longer than needed, in each way of storing the operands.
#[expect(clippy::many_single_char_names, reason = "the names are BLAS's")]
fn check([m, n, k]: [usize; 3], alpha: f32, beta: f32) {
    for (transpose_a, transpose_b) in [(false, false), (false, true), (true, false), (true, true)] {
        let lda = 3 + if transpose_a { m } else { k };
        let ldb = 3 + if transpose_b { k } else { n };
        let ldc = 3 + n;
        let (a, b) = (numbers(lda * m.max(k), 1), numbers(ldb * n.max(k), 2));
        let before = numbers(ldc * m, 3);
        let mut c = before.clone();
        let [flag_a, flag_b] = [transpose_a, transpose_b].map(|transposed| if transposed { 112 } else { 111 });
        let [rows, columns, depth, strides @ ..] = [m, n, k, lda, ldb, ldc].map(|size| size as i32);
        // SAFETY: the vectors are as long as the sizes say.
        unsafe {
            let (a, b, c) = (a.as_ptr(), b.as_ptr(), c.as_mut_ptr());
            cblas_sgemm(
                101, flag_a, flag_b, rows, columns, depth, alpha, a, strides[0], b, strides[1], beta, c, strides[2],
            );
        }
        for (place, found) in c.iter().enumerate() {
            let (row, column) = (place / ldc, place % ldc);
            let sum: f32 = (0..k)
                .map(|i| at(&a, lda, transpose_a, [row, i]) * at(&b, ldb, transpose_b, [i, column.min(n - 1)]))
                .sum();
            let expected = if column < n { alpha * sum + beta * before[place] } else { before[place] };
            assert!((found - expected).abs() < 1e-3, "{m}×{k}·{k}×{n} at {row}, {column}: {found}, not {expected}");
        }
    }
}

#[test]
fn products_of_all_sizes_are_right() {
    for m in [1, 2, 4, 5, 9] {
        for n in [1, 2, 3, 16, 33] {
            for k in [1, 7, 8, 9, 64, 67] {
                check([m, n, k], 1.0, 0.0);
            }
        }
    }
}

#[test]
fn factors_are_applied() {
    check([3, 5, 9], 0.5, 1.0);
    check([3, 5, 9], -2.0, 0.25);
}

#[test]
fn products_on_several_threads_are_right() {
    check([5, 1001, 1700], 1.0, 1.0);
}

#[test]
fn columns_may_come_first() {
    // By columns, [1 3; 2 4] · [5 7; 6 8] = [23 31; 34 46].
    let (a, b) = ([1.0, 2.0, 3.0, 4.0], [5.0, 6.0, 7.0, 8.0]);
    let mut c = [0.0; 4];
    // SAFETY: all are two by two.
    unsafe { cblas_sgemm(102, 111, 111, 2, 2, 2, 1.0, a.as_ptr(), 2, b.as_ptr(), 2, 0.0, c.as_mut_ptr(), 2) };
    assert_eq!(c.map(|number| number as i32), [23, 34, 31, 46]);
}

#[test]
fn nothing_is_read_where_it_does_not_count() {
    let mut c = [f32::NAN; 2];
    let a = [1.0, 2.0];
    // SAFETY: a product of one row and one column; then one of no numbers at all, which reads neither.
    unsafe {
        cblas_sgemm(101, 111, 111, 1, 1, 2, 1.0, a.as_ptr(), 2, a.as_ptr(), 1, 0.0, c.as_mut_ptr(), 1);
        let none = std::ptr::null();
        cblas_sgemm(101, 111, 111, 1, 1, 0, 1.0, none, 0, none, 1, 0.0, c[1..].as_mut_ptr(), 1);
        cblas_sgemm(101, 111, 111, 0, 1, 1, 1.0, none, 1, none, 1, 0.0, std::ptr::null_mut(), 1);
    }
    assert!(c[0].total_cmp(&5.0).is_eq() && c[1].total_cmp(&0.0).is_eq(), "{c:?}");
}

#[test]
fn the_loader_finds_this_product_first() {
    unsafe extern "C" {
        fn dlsym(library: *mut c_void, name: *const c_char) -> *mut c_void;
    }
    // SAFETY: no library in particular means all of them in the loader's order, which is how MLX's call is bound.
    let found = unsafe { dlsym(std::ptr::null_mut(), c"cblas_sgemm".as_ptr()) };
    assert_eq!(found.cast_const(), cblas_sgemm as *const c_void);
}

#[test]
fn mlx_gets_its_products_from_here() {
    let (a, b) = (numbers(6, 4), numbers(8, 5));
    let product = Array::from_slice(&a, &[3, 2]).matmul(Array::from_slice(&b, &[2, 4])).unwrap();
    let sum = |row: usize, column: usize| a[row * 2] * b[column] + a[row * 2 + 1] * b[4 + column];
    for (place, found) in product.to_vec_exact::<f32>().unwrap().iter().enumerate() {
        assert!((found - sum(place / 4, place % 4)).abs() < 1e-6);
    }
}
