//! Tensors that no published checkpoint has; the sound ones are rows of the parity table.

use std::collections::BTreeMap;

use mlx_rs::ops;
use tempfile::TempDir;

use super::*;
use crate::config::quantization::Layers;
use crate::device::Device;
use crate::error::Error;

fn renamed(name: &str, shape: &[i32], dtype: Dtype) -> Result<()> {
    let folder = TempDir::new().unwrap();
    let tensors = BTreeMap::from([(name.to_owned(), ops::zeros_dtype(shape, dtype).unwrap())]);
    Array::save_safetensors(&tensors, None, folder.path().join("model.safetensors")).unwrap();
    let (layers, mut progress) = (Layers::new(), |_, _| {});
    let mut weights = Weights::open(folder.path(), &layers, &Device::open().unwrap(), &mut progress).unwrap();
    rename(&mut weights, "mlp")
}

#[test]
fn blocks_that_are_none_are_refused_by_name() {
    let (bytes, words) = (Dtype::Uint8, Dtype::Uint32);
    let cases: [(&str, &[i32], Dtype); 6] = [
        ("mlp.gate_up_proj_blocks", &[2, 4, 3, 8], bytes),
        ("mlp.gate_up_proj_blocks", &[2, 4, 3, 16], words),
        ("mlp.gate_up_proj_blocks", &[2, 5, 3, 16], bytes),
        ("mlp.gate_up_proj_bias", &[2, 5], Dtype::Float32),
        ("mlp.gate_up_proj_scales", &[4], bytes),
        ("mlp.down_proj_blocks", &[2, 4, 3, 16, 1], bytes),
    ];
    for (name, shape, dtype) in cases {
        match renamed(name, shape, dtype) {
            Err(Error::Broken(why)) => assert!(why.contains(name) && why.contains(&format!("{shape:?}")), "{why}"),
            other => panic!("{other:?} for {name} of {shape:?}"),
        }
    }
    renamed("mlp.gate_up_proj_blocks", &[2, 4, 3, 16], bytes).unwrap();
}
