//! The caches are written in place: MLX's peak of memory says so. Alone in its program, since that peak is the
//! process's.

#![expect(clippy::unwrap_used, reason = "a test may end in a panic")]

#[path = "../src/checkpoint.rs"]
#[expect(dead_code, reason = "each program of tests needs a part of it")]
mod checkpoint;

use engine::backend::{Backend, Step};
use engine::message::{Load, SequenceId, Submission};
use mlx_rs::memory;
use serde_json::json;

use crate::checkpoint::Checkpoint;
use talkied_mlx::Mlx;

/// Room for the prompt and the steps in whole steps of the cache, so that it never grows while it is watched.
const PROMPT: usize = 4000;

/// One buffer of one layer: 4096 tokens, two heads of 16 numbers of 32 bits.
const BUFFER_BYTES: usize = 4096 * 2 * 16 * 4;

#[test]
fn a_step_copies_no_cache() {
    let folder = Checkpoint::llama().with("max_position_embeddings", json!(8192)).write();
    let mut mlx = Mlx::new();
    let loaded = mlx.load(&Load { path: folder.path().to_owned() }, &mut |_, _| {}).unwrap();
    let submission = Submission::greedy(SequenceId(1), &vec![3; PROMPT], 40);
    let mut sequence = mlx.begin(&submission).unwrap();
    while matches!(mlx.step(&mut sequence).unwrap(), Step::Prefill { .. }) {}
    let before = memory::active_memory().unwrap();
    assert!(before > 4 * BUFFER_BYTES + loaded.weight_bytes as usize, "the caches are not counted");
    memory::reset_peak_memory().unwrap();
    for _ in 0..32 {
        mlx.step(&mut sequence).unwrap();
    }
    let more = memory::peak_memory().unwrap().saturating_sub(before);
    // On a GPU the step before may still read a buffer, which is then copied once; on a processor none is ever.
    let most = if loaded.device == "cpu" { BUFFER_BYTES / 2 } else { 4 * BUFFER_BYTES };
    assert!(more < most, "steps needed {more} bytes more, and one buffer has {BUFFER_BYTES}");
}
