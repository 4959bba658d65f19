//! The caches are written in place, and what is kept of prompts is given back: MLX's own count of memory says so. Alone in
//! their program, since that count is the process's.

#![expect(clippy::unwrap_used, reason = "a test may end in a panic")]

#[path = "../src/checkpoint.rs"]
#[expect(dead_code, reason = "each program of tests needs a part of it")]
mod checkpoint;

use std::sync::{Mutex, MutexGuard, PoisonError};

use engine::backend::{Backend, Pace, Step};
use engine::message::{KvBits, Load, Loaded, SequenceId, Submission};
use mlx_rs::memory;
use serde_json::json;

use crate::checkpoint::Checkpoint;
use talkied_mlx::{Mlx, Sequence};

/// Room for the prompt and the steps in whole steps of the cache, so that it never grows while it is watched.
const PROMPT: usize = 4000;

/// Bytes of one buffer of one layer for so many tokens: two heads of 16 numbers of 32 bits.
const fn buffer_bytes(tokens: usize) -> usize {
    tokens * 2 * 16 * 4
}

/// One after the other: the count is the process's.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How many sequences steps are for.
const ROWS: [usize; 2] = [1, 3];

#[test]
fn a_step_copies_no_cache() {
    let _alone = alone();
    for rows in ROWS {
        let full = Checkpoint::llama().with("max_position_embeddings", json!(8192));
        check(&full, None, rows, buffer_bytes(4096));
        // The window has long been full, so that each step overwrites its oldest token.
        let types = json!(["full_attention", "sliding_attention"]);
        let windows = full.with("layer_types", types).with("sliding_window", json!(2048));
        check(&windows, None, rows, buffer_bytes(2048));
        // Two heads of 64 numbers. Scales are a ninth of all that is kept, and as large as the scores of a step.
        let wide = Checkpoint::llama().wide_heads().with("max_position_embeddings", json!(8192));
        check(&wide, Some(KvBits::Eight), rows, 4096 * 2 * 64);
        check(&wide, Some(KvBits::Four), rows, 4096 * 2 * 64 / 2);
    }
}

/// That steps of `rows` sequences after their prompts need less for each than the smallest buffer of its layers.
fn check(checkpoint: &Checkpoint, kv_bits: Option<KvBits>, rows: usize, smallest: usize) {
    let folder = checkpoint.write();
    let mut mlx = Mlx::new();
    let load = Load { prefix_bytes: 1 << 30, ..Load::new(folder.path().to_owned()) };
    let loaded = mlx.load(&load, &mut |_, _| {}).unwrap();
    let submission = Submission { kv_bits, ..Submission::greedy(SequenceId(1), &vec![3; PROMPT], 40) };
    for kept in [0, PROMPT / 64 * 64] {
        let sequences: Vec<Sequence> = (0..rows).map(|_| mlx.begin(&submission).unwrap()).collect();
        assert!(sequences.iter().all(|sequence| mlx.computed(sequence) as usize == kept));
        check_steps(&mut mlx, sequences, &loaded, smallest);
    }
}

/// The last step ends a chunk, whose copy is counted: that of one chunk, and not of a cache.
fn check_steps(mlx: &mut Mlx, mut sequences: Vec<Sequence>, loaded: &Loaded, smallest: usize) {
    let rows = sequences.len();
    for sequence in &mut sequences {
        while matches!(mlx.step(sequence, Pace::Alone).unwrap(), Step::Prefill { .. }) {}
    }
    let step = |mlx: &mut Mlx, sequences: &mut [Sequence]| {
        let steps = mlx.decode(&mut sequences.iter_mut().collect::<Vec<_>>());
        assert!(steps.iter().all(|step| matches!(step, Ok(Step::Token(_)))), "{steps:?}");
    };
    // A window's buffer is a view of the last chunk's until a step writes to it.
    step(mlx, &mut sequences);
    let before = memory::active_memory().unwrap();
    assert!(before > 4 * rows * smallest + loaded.weight_bytes as usize, "the caches are not counted");
    memory::reset_peak_memory().unwrap();
    for _ in 0..32 {
        step(mlx, &mut sequences);
    }
    let more = memory::peak_memory().unwrap().saturating_sub(before);
    // On a GPU the step before may still read a buffer, which is then copied once; on a processor none is ever. Scores
    // of all sequences are there at once, and the chunk's copy may lie in spare buffers of up to twice its size: it is an
    // eighth of the smallest buffer with both layers, keys and values.
    let most = rows * if loaded.device == "cpu" { smallest / 2 + smallest / 8 } else { 4 * buffer_bytes(4096) };
    assert!(more < most, "steps of {rows} needed {more} bytes more, and one buffer has {smallest}");
}

#[test]
fn kept_prefixes_take_what_they_say_and_give_it_back() {
    let _alone = alone();
    let folder = Checkpoint::llama().wide_heads().with("max_position_embeddings", json!(8192)).write();
    // A chunk of two layers of two heads of 64 numbers: copies of 32 KiB, which MLX shares no larger buffer for.
    let chunk = 2 * buffer_bytes(64) as u64 * 4 * 2;
    let mut mlx = Mlx::new();
    let load = Load { prefix_bytes: 50 * chunk, ..Load::new(folder.path().to_owned()) };
    mlx.load(&load, &mut |_, _| {}).unwrap();
    let before = memory::active_memory().unwrap() as u64;
    for first in 0..12 {
        let prompt: Vec<u32> = (0..1000).map(|place| (first + place * 7) % 96).collect();
        mlx.tokens(&Submission::greedy(SequenceId(1), &prompt, 3)).unwrap();
        let kept = mlx.memory().prefix_bytes;
        assert!(kept <= 50 * chunk, "{kept}");
        let more = memory::active_memory().unwrap() as u64 - before;
        assert!((kept..kept + chunk).contains(&more), "{more} bytes more, {kept} of them kept");
    }
    assert_eq!(mlx.memory().prefix_bytes, 50 * chunk);
    mlx.trim();
    assert_eq!(mlx.memory().prefix_bytes, 0);
    let after = memory::active_memory().unwrap() as u64;
    assert!(after <= before, "{before} before, {after} after");
}
