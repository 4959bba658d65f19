//! One matrix gives what three give.

use mlx_rs::random;

use super::*;
use crate::checkpoint::Checkpoint;
use crate::config::Config;
use crate::config::rope::Rope as Settings;
use crate::device::{Device, WeightPolicy};

const PATH: &str = "model.layers.0.self_attn";
const HEADS: [Heads; 2] = [Heads { count: 4, dims: 16 }, Heads { count: 2, dims: 16 }];

/// A quantized checkpoint with a bias for each projection.
fn checkpoint() -> Checkpoint {
    let mut checkpoint = Checkpoint::llama().quantized(4);
    for (seed, (name, rows)) in (0..).zip([("q_proj", 64), ("k_proj", 32), ("v_proj", 32)]) {
        let bias = random::normal::<f32>(&[rows], 0.0, 1.0, &random::key(seed).unwrap()).unwrap();
        checkpoint.tensors.insert(format!("{PATH}.{name}.bias"), bias);
    }
    checkpoint
}

fn load(checkpoint: &Checkpoint, joins: bool, bias: Bias) -> Qkv {
    let folder = checkpoint.write();
    let config = Config::read(folder.path()).unwrap();
    let mut device = Device::open().unwrap();
    device.weights = WeightPolicy { unpack_bytes: 0, joins, ..device.weights };
    let mut progress = |_, _| {};
    let mut weights = Weights::open(folder.path(), config.quantization(), &device, &mut progress).unwrap();
    Qkv::load(&mut weights, PATH, 64, HEADS, bias).unwrap()
}

fn check_same(one: &Qkv, each: &Qkv) {
    let config = Config::read(Checkpoint::llama().write().path()).unwrap();
    let rope = Rope::new(&Settings::read(&config, 10_000.0).unwrap(), HEADS[0]).unwrap();
    for tokens in [1, 5] {
        let x = random::normal::<f32>(&[1, tokens, 64], 0.0, 1.0, &random::key(9).unwrap()).unwrap();
        let [one, each] = [one, each].map(|qkv| qkv.forward(&x, &rope, &Offset::new(vec![3])).unwrap());
        for (one, each) in one.iter().zip(&each) {
            assert_eq!(one.shape(), each.shape());
            let difference = one.subtract(each).unwrap().abs().unwrap().max(None).unwrap().item_exact::<f32>();
            assert!(difference < 1e-5, "{difference}");
        }
    }
}

#[test]
fn one_matrix_gives_what_three_give() {
    let checkpoint = checkpoint();
    for bias in [Bias::None, Bias::Added] {
        let (one, each) = (load(&checkpoint, true, bias), load(&checkpoint, false, bias));
        assert!(matches!((&one.projection, &each.projection), (Projection::One(_), Projection::Each(_))));
        check_same(&one, &each);
    }
}

#[test]
fn projections_that_are_not_packed_alike_stay_three() {
    let mut mixed = checkpoint();
    let other = Checkpoint::llama().quantized(8).tensors;
    mixed.tensors.extend(other.into_iter().filter(|(name, _)| name.starts_with(&format!("{PATH}.k_proj."))));
    let found = load(&mixed, true, Bias::Added);
    assert!(matches!(found.projection, Projection::Each(_)));
    check_same(&found, &load(&mixed, false, Bias::Added));
}
