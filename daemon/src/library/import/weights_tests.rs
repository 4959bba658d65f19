use std::collections::BTreeMap;

use safetensors::SafeTensors;

use super::super::llama::Llama;
use super::*;
use crate::library::fixture::{self, Entry, File as Fixture, HEAD_DIM, Q4_0, Q4_1, Q8_0, half_to_f32};
use crate::library::gguf;

/// The numbers of every layer of a written folder, by the definition of MLX's affine groups.
fn written(folder: &Path) -> BTreeMap<String, Vec<f32>> {
    let mut tensors = BTreeMap::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|end| end != "safetensors") {
            continue;
        }
        let bytes = std::fs::read(path).unwrap();
        let file = SafeTensors::deserialize(&bytes).expect("the reference reader takes the file");
        for (name, tensor) in file.tensors() {
            let at = tensor.data().as_ptr().addr() - bytes.as_ptr().addr();
            assert_eq!(at % (tensor.dtype().bitsize() / 8), 0, "{name} is aligned in the file");
            tensors.insert(name, (tensor.dtype(), tensor.shape().to_vec(), tensor.data().to_vec()));
        }
    }
    let mut numbers = BTreeMap::new();
    for (name, (dtype, shape, data)) in &tensors {
        let Some(path) = name.strip_suffix(".weight") else { continue };
        let kind = match dtype {
            safetensors::Dtype::F32 => fixture::F32,
            safetensors::Dtype::F16 => fixture::F16,
            safetensors::Dtype::U32 => {
                let [scales, biases] = ["scales", "biases"].map(|part| &tensors[&format!("{path}.{part}")].2);
                let groups = scales.len() / 2;
                let bits = data.len() * 8 / (groups * 32);
                assert_eq!(shape[1] * 32 / bits, tensors[&format!("{path}.scales")].1[1] * 32);
                let half =
                    |bytes: &[u8], at: usize| half_to_f32(u16::from_le_bytes([bytes[2 * at], bytes[2 * at + 1]]));
                let number = |at: usize| match bits {
                    4 => data[at / 2] >> (4 * (at % 2)) & 15,
                    _ => data[at],
                };
                let weight = |at: usize| half(scales, at / 32) * f32::from(number(at)) + half(biases, at / 32);
                numbers.insert(path.to_owned(), (0..groups * 32).map(weight).collect());
                continue;
            }
            other => panic!("{name} has the type {other}"),
        };
        numbers.insert(path.to_owned(), fixture::numbers(kind, data));
    }
    numbers
}

/// Writes the fixture's tensors and compares each with the original, row by row.
fn check(file: &mut Fixture, shard_bytes: u64, expected_files: usize) {
    let folder = tempfile::tempdir().unwrap();
    let gguf = gguf::open(&file.write(folder.path())).unwrap();
    let pieces = Llama::read(&gguf).unwrap().pieces(&gguf).unwrap();
    let plan = Plan::new(&pieces, shard_bytes);
    let mut last = Progress { done_bytes: 0, total_bytes: plan.bytes };
    let mut progress = |now: Progress| {
        assert!(now.done_bytes > last.done_bytes && now.total_bytes == last.total_bytes);
        last = now;
        ControlFlow::Continue(())
    };
    plan.write(&gguf, folder.path(), &mut progress).unwrap();
    assert_eq!(last.done_bytes, last.total_bytes, "progress ends at the whole");
    let files = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap());
    let files: Vec<_> = files.filter(|file| file.file_name().to_string_lossy().ends_with(".safetensors")).collect();
    assert_eq!(files.len(), expected_files);
    assert_eq!(files.iter().map(|file| file.metadata().unwrap().len()).sum::<u64>(), plan.bytes);

    let written = written(folder.path());
    assert_eq!(written.len(), pieces.len());
    for piece in &pieces {
        let original = file.tensor(&piece.tensor.name);
        let numbers = fixture::numbers(original.kind, &original.data);
        let width = piece.tensor.width() as usize;
        let mut rows: Vec<&[f32]> = numbers.chunks_exact(width).collect();
        if piece.path.ends_with("q_proj") || piece.path.ends_with("k_proj") {
            let half = HEAD_DIM as usize / 2;
            let source = |row: usize| row / (2 * half) * 2 * half + (row % half) * 2 + row / half % 2;
            rows = (0..rows.len()).map(|row| &numbers[source(row) * width..][..width]).collect();
        }
        assert_eq!(written[&piece.path], rows.concat(), "{}", piece.path);
    }
}

#[test]
fn every_encoding_keeps_every_weight_exactly() {
    for kind in [fixture::F32, fixture::F16, Q4_0, Q4_1, Q8_0] {
        check(&mut Fixture::tiny(kind), SHARD_BYTES, 1);
    }
}

#[test]
fn numbers_are_aligned_in_the_file_even_if_some_tensors_are_odd() {
    let mut file = Fixture::of_width(fixture::F16, 33);
    file.set("llama.attention.key_length", Entry::U32(HEAD_DIM as u32));
    check(&mut file, SHARD_BYTES, 1);
}

#[test]
fn encodings_mix_in_one_file() {
    let mut file = Fixture::tiny(Q4_1);
    for (name, kind) in
        [("token_embd", Q8_0), ("blk.0.attn_q", fixture::F16), ("blk.1.attn_k", Q8_0), ("blk.1.ffn_up", Q4_0)]
    {
        let name = format!("{name}.weight");
        let shape = file.tensor(&name).shape.clone();
        file.remove(&name);
        file.push(&name, &shape, kind);
    }
    check(&mut file, SHARD_BYTES, 1);
}

#[test]
fn a_large_model_becomes_several_files_with_an_index() {
    let mut file = Fixture::tiny(Q8_0);
    check(&mut file, 1, 2 + 2 * 9);
    check(&mut file, 40_000, 3);
    let folder = tempfile::tempdir().unwrap();
    let gguf = gguf::open(&file.write(folder.path())).unwrap();
    let pieces = Llama::read(&gguf).unwrap().pieces(&gguf).unwrap();
    assert_eq!(Plan::new(&pieces, SHARD_BYTES).index(), None);
    let index = Plan::new(&pieces, 40_000).index().unwrap();
    assert_eq!(index["weight_map"]["model.embed_tokens.scales"], "model-00001-of-00003.safetensors");
    assert_eq!(index["weight_map"]["model.layers.1.mlp.down_proj.weight"], "model-00003-of-00003.safetensors");
    assert_eq!(index["weight_map"].as_object().unwrap().len(), 3 * (1 + 2 * 7) + 1 + 2 * 2);
}
