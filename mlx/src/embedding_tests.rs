//! Pooling, over chunks and at once.

use engine::backend::Backend;
use engine::message::{FailureKind, Load, Pooling};

use crate::Mlx;
use crate::checkpoint::Checkpoint;

fn loaded(checkpoint: &Checkpoint) -> Mlx {
    let folder = checkpoint.write();
    let mut mlx = Mlx::new();
    mlx.load(&Load::new(folder.path().to_owned()), &mut |_, _| {}).unwrap();
    mlx
}

/// The vector, and the steps that it took.
fn vector(mlx: &mut Mlx, tokens: &[u32], pooling: Pooling) -> (Vec<f32>, usize) {
    let mut text = mlx.begin_text(tokens, pooling).unwrap();
    let mut steps = 0;
    loop {
        steps += 1;
        if let Some(vector) = mlx.embed(&mut text).unwrap() {
            return (vector, steps);
        }
    }
}

fn check_close(found: &[f32], expected: &[f32]) {
    assert_eq!(found.len(), expected.len());
    let difference = found.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(difference < 1e-3, "vectors differ by {difference}");
}

#[test]
fn a_mean_is_that_of_the_vectors_of_all_beginnings() {
    // A decoder's token sees nothing behind it, so its vector is the last of the text that it ends.
    let mut mlx = loaded(&Checkpoint::llama());
    let tokens: Vec<u32> = (0..150).map(|place| place * 31 % 96).collect();
    let (mean, steps) = vector(&mut mlx, &tokens, Pooling::Mean);
    assert!(steps > 1, "the text has several chunks");
    let mut expected = vec![0.0_f32; mean.len()];
    for end in 1..=tokens.len() {
        let (last, _) = vector(&mut mlx, &tokens[..end], Pooling::Last);
        expected.iter_mut().zip(last).for_each(|(sum, number)| *sum += number / tokens.len() as f32);
    }
    check_close(&mean, &expected);
    let (first, _) = vector(&mut mlx, &tokens, Pooling::First);
    check_close(&first, &vector(&mut mlx, &tokens[..1], Pooling::Last).0);
}

#[test]
fn a_text_that_does_not_fit_is_refused() {
    let mut mlx = loaded(&Checkpoint::llama());
    for (tokens, kind) in [(vec![1; 1025], FailureKind::NotSupported), (vec![96], FailureKind::Internal)] {
        assert_eq!(mlx.begin_text(&tokens, Pooling::Mean).err().unwrap().kind, kind);
    }
}
