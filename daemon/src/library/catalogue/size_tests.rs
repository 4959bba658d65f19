use std::path::Path;

use super::super::catalogue;
use super::*;

/// Bytes of `*.safetensors` in repositories on the hub, with the revision that they were read of, where it was told.
/// Others wrote them down beside digests, in lists of downloads and records of measurements that are public on GitHub.
const WEIGHTS: &[(&str, &str, u64)] = &[
    ("HuggingFaceTB/SmolLM2-360M-Instruct", "a10cc1512eabd3dde888204e902eca88bddb4951", 723_674_912),
    ("mlx-community/Qwen2.5-3B-Instruct-4bit", "4f83f8f146fdf28b512a06562b671d7af4fab457", 1_736_293_090),
    ("mlx-community/SmolLM3-3B-4bit", "d3a7e0594d6642dbcfb7d149bed8b0bdf49f95ce", 1_730_051_993),
    ("mlx-community/Llama-3.2-3B-Instruct-4bit", "", 1_807_496_278),
    ("mlx-community/Phi-3.5-mini-instruct-4bit", "", 2_150_195_856),
    ("mlx-community/Qwen3-4B-Instruct-2507-4bit", "50d427756c6b1b2fe0c0a10f67fbda1fc8e82c1b", 2_263_022_417),
    ("mlx-community/Qwen3-8B-4bit", "545dc4251c05440727734bcd94334791f6ab0192", 4_607_835_174),
];

/// Of all files that are downloaded, likewise; rounded where they end in zeros.
const FILES: &[(&str, &str, u64)] = &[
    ("mlx-community/Qwen3-Embedding-0.6B-8bit", "", 664_000_000),
    ("mlx-community/SmolLM3-3B-4bit", "d3a7e0594d6642dbcfb7d149bed8b0bdf49f95ce", 1_747_319_274),
    ("mlx-community/Qwen3-4B-Instruct-2507-4bit", "50d427756c6b1b2fe0c0a10f67fbda1fc8e82c1b", 2_274_455_727),
    ("mlx-community/Mistral-7B-Instruct-v0.3-4bit", "", 4_100_000_000),
    ("mlx-community/Qwen3-8B-4bit", "545dc4251c05440727734bcd94334791f6ab0192", 4_623_782_544),
    ("mlx-community/gemma-3-text-12b-it-4bit", "83eda451975103fff6f11e97bf75cd0f1c61af2c", 7_225_400_219),
    ("mlx-community/gpt-oss-20b-MXFP4-Q8", "773a7da77e569019bb0fd17a554b263738d669a3", 12_104_215_835),
    ("mlx-community/Mistral-Small-24B-Instruct-2501-4bit", "", 13_300_000_000),
    ("mlx-community/Qwen3-30B-A3B-Instruct-2507-4bit", "e9675aa3ca5f900ccef55267914466d55ab325fa", 17_197_087_380),
    ("mlx-community/Llama-3.3-70B-Instruct-4bit", "de2dfaf56839b7d0e834157d2401dee02726874d", 39_700_000_000),
    ("mlx-community/gpt-oss-120b-MXFP4-Q8", "", 63_400_000_000),
];

#[test]
fn sizes_are_those_of_the_repositories() {
    let models = catalogue(Path::new("/nowhere"), 0, |_| false).models;
    let size = |id: &str| models.iter().find(|model| model.id.0 == id).unwrap().size;
    let weights = WEIGHTS.iter().map(|(id, _, bytes)| (id, size(id) - TEXT_BYTES, *bytes, 200));
    let files = FILES.iter().map(|(id, _, bytes)| (id, size(id), *bytes, 50));
    for (id, computed, known, part) in weights.chain(files) {
        assert!(computed.abs_diff(known) <= known / part, "{id} has {known} bytes, not {computed}");
    }
}

fn fact(text: &str) -> Fact {
    Fact::of(&text.parse().unwrap()).map_err(|wrong| wrong.why).unwrap()
}

#[test]
fn a_group_of_weights_has_a_scale_and_affine_a_bias_too() {
    for (packing, bits_of_64_weights) in [
        ("", 64 * 16),
        ("bits = 4", 64 * 4 + 32),
        ("mode = 'affine'\nbits = 4", 64 * 4 + 32),
        ("bits = 3\ngroup_size = 32", 64 * 3 + 2 * 32),
        ("bits = 8\ngroup_size = 128", 64 * 8 + 16),
        ("mode = 'mxfp4'", 64 * 4 + 2 * 8),
        ("mode = 'nvfp4'\nbits = 4\ngroup_size = 16", 64 * 4 + 4 * 8),
        ("mode = 'mxfp8'", 64 * 8 + 2 * 8),
    ] {
        let fact = fact(&format!("id = 'a/b'\nparameters = 64_000_000\n{packing}"));
        assert_eq!(weight_bytes(&fact), bits_of_64_weights * 1_000_000 / 8, "{packing}");
    }
}

#[test]
fn parts_count_in_place_of_the_whole() {
    let parts =
        "weights = [{ parameters = 32_000, mode = 'mxfp4' }, { parameters = 64_000, bits = 8 }, { parameters = 10 }]";
    let fact = fact(&format!("id = 'a/b'\nparameters = 7\nbits = 2\n{parts}"));
    assert_eq!(weight_bytes(&fact), 17_000 + 68_000 + 20);
    let known_by = fact.parts[0].packing.map(Packing::quantization);
    assert_eq!(known_by, Some(Quantization { bits: 4, group_size: 32 }));
}

/// 2 layers of 8 heads with 128 numbers take 4096 bytes for each key, and as many for its value.
#[test]
fn a_window_keeps_its_tokens_and_no_more() {
    let layers = "id = 'a/b'\nparameters = 1\nkv_heads = 8\nhead_dim = 128\nlayers = 2";
    assert_eq!(kv_bytes(&fact(layers), 1000), 1000 * 2 * 4096);
    let windowed = fact(&format!("{layers}\nwindowed_layers = 1\nwindow = 100"));
    assert_eq!(kv_bytes(&windowed, 1000), (1000 + 100) * 4096);
    assert_eq!(kv_bytes(&windowed, 50), (50 + 50) * 4096);
}

#[test]
fn the_largest_numbers_do_not_overflow() {
    let (most, many) = (1_u64 << 44, 1 << 16);
    let parts = vec![format!("{{ parameters = {most}, bits = 8, group_size = 128 }}"); 16].join(", ");
    let cache = format!("layers = {many}\nkv_heads = {many}\nhead_dim = {many}");
    let fact = fact(&format!("id = 'a/b'\nparameters = {most}\nweights = [{parts}]\n{cache}"));
    assert_eq!(memory_bytes(&fact, 4096), 16 * (most + most / 32) + (4096 << 50) + SCRATCH_BYTES);
}
