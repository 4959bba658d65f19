//! What the chosen experts make of their tokens, against the formula one token and one expert at a time.

use std::collections::BTreeMap;

use mlx_rs::random;
use tempfile::TempDir;

use super::*;
use crate::config::quantization::Layers;
use crate::device::{Device, WeightPolicy};
use crate::error::Error;
use crate::layers::mlp::swiglu;

const EXPERTS: Experts = Experts { count: 5, chosen: 3, hidden: 64, wide: 96 };

const SHAPES: [(&str, [i32; 3]); 3] =
    [("gate_proj", [5, 96, 64]), ("up_proj", [5, 96, 64]), ("down_proj", [5, 64, 96])];

type Tensors = BTreeMap<String, Array>;

fn random(shape: &[i32], seed: u64) -> Array {
    random::normal::<f32>(shape, 0.0, 0.3, &random::key(seed).unwrap()).unwrap()
}

/// Plain matrices and biases of all experts.
fn tensors() -> Tensors {
    let mut tensors = Tensors::new();
    for (seed, (name, shape)) in (0..).zip(SHAPES) {
        tensors.insert(format!("mlp.{name}.weight"), random(&shape, seed));
        tensors.insert(format!("mlp.{name}.bias"), random(&shape[..2], seed + 10));
    }
    tensors
}

/// The matrices quantized, or the numbers that they then stand for.
fn quantized(tensors: &Tensors, packed: bool) -> Tensors {
    let mut quantized = tensors.clone();
    for (name, _) in SHAPES {
        let path = format!("mlp.{name}");
        let (weight, scales, biases) = ops::quantize(&tensors[&format!("{path}.weight")], 32, 4).unwrap();
        if packed {
            quantized.insert(format!("{path}.weight"), weight);
            quantized.insert(format!("{path}.scales"), scales);
            quantized.insert(format!("{path}.biases"), biases);
        } else {
            let numbers = ops::dequantize(&weight, &scales, &biases, 32, 4).unwrap();
            quantized.insert(format!("{path}.weight"), numbers);
        }
    }
    quantized
}

/// The tensors as experts of their own, under the names of older exports.
fn unstacked(tensors: &Tensors) -> Tensors {
    let mut unstacked = Tensors::new();
    for (name, tensor) in tensors {
        let (path, part) = name.rsplit_once('.').unwrap();
        if part == "bias" {
            unstacked.insert(name.clone(), tensor.clone());
            continue;
        }
        let matrix = path.strip_prefix("mlp.").unwrap();
        for (expert, one) in tensor.split_equal(5, 0).unwrap().iter().enumerate() {
            unstacked.insert(format!("experts.{expert}.{matrix}.{part}"), one.squeeze_axes(&[0]).unwrap());
        }
    }
    unstacked
}

/// Loads experts that are kept packed where they are.
fn load(tensors: &Tensors) -> Result<SwitchGlu> {
    let folder = TempDir::new().unwrap();
    Array::save_safetensors(tensors, None, folder.path().join("model.safetensors")).unwrap();
    let mut device = Device::open().unwrap();
    device.weights = WeightPolicy { unpack_bytes: 0, unpack_rows: None, ..device.weights };
    let (layers, mut progress) = (Layers::new(), |_, _| {});
    let mut weights = Weights::open(folder.path(), &layers, &device, &mut progress)?;
    for (name, _) in SHAPES {
        stack(&mut weights, EXPERTS.count, |expert| format!("experts.{expert}.{name}"), &format!("mlp.{name}"))?;
    }
    let experts = SwitchGlu::load(&mut weights, "mlp", EXPERTS, Bias::Added, swiglu)?;
    weights.finish()?;
    Ok(experts)
}

/// The formula, on numbers.
fn by_hand(tensors: &Tensors, x: &Array, choice: &Choice) -> Vec<f32> {
    let numbers = |name: &str| tensors[name].to_vec_exact::<f32>().unwrap();
    let (experts, scores) = (
        choice.experts.contiguous().unwrap().to_vec_exact::<u32>().unwrap(),
        choice.scores.contiguous().unwrap().to_vec_exact::<f32>().unwrap(),
    );
    let linear = |name: &str, expert: usize, x: &[f32], rows: usize| -> Vec<f32> {
        let (weight, bias) = (numbers(&format!("mlp.{name}.weight")), numbers(&format!("mlp.{name}.bias")));
        let row = |row: usize| &weight[(expert * rows + row) * x.len()..][..x.len()];
        let product = |place: usize| row(place).iter().zip(x).map(|(a, b)| a * b).sum::<f32>();
        (0..rows).map(|place| product(place) + bias[expert * rows + place]).collect()
    };
    let mut all = Vec::new();
    for (token, x) in x.to_vec_exact::<f32>().unwrap().chunks(64).enumerate() {
        let mut sum = vec![0.0; 64];
        for place in token * 3..token * 3 + 3 {
            let expert = experts[place] as usize;
            let (gate, up) = (linear("gate_proj", expert, x, 96), linear("up_proj", expert, x, 96));
            let wide: Vec<f32> = gate.iter().zip(up).map(|(gate, up)| gate / (1.0 + (-gate).exp()) * up).collect();
            let y = linear("down_proj", expert, &wide, 64);
            sum.iter_mut().zip(y).for_each(|(sum, y)| *sum += y * scores[place]);
        }
        all.extend(sum);
    }
    all
}

fn check_close(experts: &SwitchGlu, tensors: &Tensors) {
    // Few choices are taken as they come, and many in the order of their experts.
    for tokens in [1, 2, 40] {
        let x = random(&[1, tokens, 64], 20);
        let choice = Choice::best(&random(&[1, tokens, 5], 21), EXPERTS).unwrap();
        let found = experts.forward(&x, &choice).unwrap();
        assert_eq!(found.shape(), x.shape());
        let (found, expected) = (found.to_vec_exact::<f32>().unwrap(), by_hand(tensors, &x, &choice));
        let difference = found.iter().zip(&expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(difference < 1e-4, "{tokens} tokens: {difference}");
    }
}

#[test]
fn plain_experts_compute_the_formula() {
    check_close(&load(&tensors()).unwrap(), &tensors());
}

#[test]
fn packed_experts_compute_the_formula_of_the_numbers_they_stand_for() {
    check_close(&load(&quantized(&tensors(), true)).unwrap(), &quantized(&tensors(), false));
}

#[test]
fn experts_of_their_own_are_those_of_one_tensor() {
    check_close(&load(&unstacked(&tensors())).unwrap(), &tensors());
    let quantized = [true, false].map(|packed| quantized(&tensors(), packed));
    check_close(&load(&unstacked(&quantized[0])).unwrap(), &quantized[1]);
}

#[test]
fn the_best_are_chosen_with_their_scores() {
    let scores = Array::from_slice(&[0.1_f32, 0.5, -2.0, 0.3, 0.2, 9.0, 1.0, 2.0, 3.0, -1.0], &[1, 2, 5]);
    let choice = Choice::best(&scores, EXPERTS).unwrap();
    let (experts, scores) = (
        choice.experts.contiguous().unwrap().to_vec_exact::<u32>().unwrap(),
        choice.scores.contiguous().unwrap().to_vec_exact::<f32>().unwrap(),
    );
    let mut pairs: Vec<(u32, f32)> = experts.into_iter().zip(scores).collect();
    pairs[..3].sort_by_key(|(expert, _)| *expert);
    pairs[3..].sort_by_key(|(expert, _)| *expert);
    assert_eq!(pairs, [(1, 0.5), (3, 0.3), (4, 0.2), (0, 9.0), (2, 2.0), (3, 3.0)]);
}

#[test]
fn experts_that_do_not_make_one_tensor_are_named() {
    type Damage = fn(&mut Tensors);
    let cases: [(Damage, &str); 4] = [
        (|tensors| drop(tensors.remove("experts.3.up_proj.weight")), "has the tensor experts.3.up_proj.weight"),
        (
            |tensors| drop(tensors.insert("experts.2.up_proj.weight".into(), random(&[9, 64], 1))),
            "experts.2.up_proj.weight is ([9, 64]",
        ),
        (
            |tensors| drop(tensors.insert("experts.5.up_proj.weight".into(), random(&[96, 64], 1))),
            "experts.5.up_proj.weight",
        ),
        (
            |tensors| drop(tensors.insert("mlp.up_proj.weight".into(), random(&[5, 96, 64], 1))),
            "mlp.up_proj.weight is there in two forms",
        ),
    ];
    for (damage, words) in cases {
        let mut tensors = unstacked(&tensors());
        damage(&mut tensors);
        match load(&tensors).map(|_| ()) {
            Err(Error::Broken(why)) => assert!(why.contains(words), "{why}"),
            other => panic!("{other:?} does not say {words:?}"),
        }
    }
}
