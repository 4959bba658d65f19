//! A conversion holds one tensor at a time: MLX's peak of memory says so. Alone in its program, since that peak is the
//! process's.

#![expect(clippy::unwrap_used, reason = "a test may end in a panic")]

#[path = "../src/checkpoint.rs"]
#[expect(dead_code, reason = "each program of tests needs a part of it")]
mod checkpoint;

use std::fs;
use std::ops::ControlFlow;

use mlx_rs::{Array, memory};
use serde_json::json;

use crate::checkpoint::Checkpoint;
use talkied_mlx::convert::{Options, convert};

/// Of the only large tensors, the halves of the MLPs, in numbers of 32 bits.
const TENSOR_BYTES: usize = 64 * 8192 * 4;

#[test]
fn a_conversion_holds_one_tensor_at_a_time() {
    let mut large = Checkpoint::llama().with("intermediate_size", json!(8192));
    for (name, tensor) in &mut large.tensors {
        match name.rsplit('.').nth(1) {
            Some("gate_proj" | "up_proj") => *tensor = Array::zeros::<f32>(&[8192, 64]).unwrap(),
            Some("down_proj") => *tensor = Array::zeros::<f32>(&[64, 8192]).unwrap(),
            _ => {}
        }
    }
    let (source, out) = (large.write(), tempfile::tempdir().unwrap());
    drop(large);
    assert!(fs::metadata(source.path().join("model.safetensors")).unwrap().len() > 6 * TENSOR_BYTES as u64);
    for (name, bits) in [("plain", None), ("packed", Some(8))] {
        let (from, to) = (source.path().to_owned(), out.path().join(name));
        memory::reset_peak_memory().unwrap();
        let before = memory::active_memory().unwrap();
        let options = Options { from, to, bits, group_size: 64, dtype: None };
        convert(&options, &mut |_| ControlFlow::Continue(())).unwrap();
        let peak = memory::peak_memory().unwrap() - before;
        // The tensor as it was read and what it becomes, and the few that the plan itself makes.
        assert!((TENSOR_BYTES..TENSOR_BYTES * 9 / 4).contains(&peak), "{name} needed {peak} bytes");
    }
}
