//! The code for any processor against the code for this one.

use super::*;

#[test]
fn every_processor_gets_the_same_products() {
    let numbers: Vec<f32> = (0..80_u16).map(|i| f32::from(i * 37 % 19) - 9.0).collect();
    for transposed in [false, true] {
        // SAFETY: four rows of 17 and 17 columns of four are fewer numbers than there are.
        let (a, b) = unsafe {
            let start = numbers.as_ptr();
            let stride = if transposed { 17 } else { 4 };
            (Matrix::new(start, [4, 17], 17, false), Matrix::new(start.add(2), [17, 4], stride, transposed))
        };
        let mut plain = vec![0.0; 4 * 4];
        compute::<Plain>(&a, &b, 0..4, &mut plain);
        assert_eq!(product(&a, &b, 0..4), plain);
    }
}
