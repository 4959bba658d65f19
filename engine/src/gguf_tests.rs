use proptest::prelude::*;

use super::fixture::{Entry, F16, F32, File, Q4_0, Q4_1, Q5_0, Q8_0};
use super::*;

/// Some of what files of models have, and two tensors, the first of which is in one encoding.
fn tiny(kind: u32) -> File {
    let mut file = File::empty();
    file.set("general.architecture", Entry::Text("llama"));
    file.set("general.name", Entry::Text("Tiny (test) Model"));
    file.set("llama.block_count", Entry::U32(2));
    file.set("llama.rope.freq_base", Entry::F32(100_000.0));
    file.set("tokenizer.ggml.tokens", Entry::Texts(vec!["a".into(), String::new(), "b".into()]));
    file.set("tokenizer.ggml.token_type", Entry::Integers(vec![3, 1, -1]));
    file.set("tokenizer.ggml.scores", Entry::Floats(vec![0.5, -1.0, 0.0]));
    file.set("tokenizer.ggml.add_bos_token", Entry::Bool(true));
    file.push("token_embd.weight", &[3, 64], kind);
    file.push("output_norm.weight", &[64], F32);
    file
}

fn read(bytes: &[u8]) -> Result<Header, GgufError> {
    let kept = Header::read(bytes, bytes.len() as u64, Lists::Kept);
    let passed_over = Header::read(bytes, bytes.len() as u64, Lists::PassedOver);
    assert!(passed_over.is_ok() || kept.is_err(), "without its lists a sound file is sound too");
    kept
}

/// Checks that a file is refused, in words that contain `part`.
fn refused(file: &File, part: &str) {
    let error = read(&file.bytes()).expect_err(part).to_string();
    assert!(error.contains(part), "{error:?} does not say {part:?}");
}

#[test]
fn the_header_of_a_sound_file_is_read() {
    let mut file = tiny(Q4_0);
    for version in [2, 3] {
        file.version = version;
        let header = read(&file.bytes()).unwrap();
        assert_eq!(header.metadata.unsigned("llama.block_count").unwrap(), Some(2));
        assert_eq!(header.metadata.text("general.architecture").unwrap(), Some("llama"));
        let embedding = header.tensor("token_embd.weight").unwrap();
        assert_eq!((embedding.width(), embedding.row_bytes(), embedding.encoding), (64, 36, Encoding::Q4_0));
        assert_eq!(embedding.offset, file.header().len() as u64);
    }
}

#[test]
fn values_are_found_by_key_and_type() {
    let bytes = tiny(Q4_0).bytes();
    let Header { metadata, .. } = read(&bytes).unwrap();
    assert_eq!(metadata.float("llama.rope.freq_base").unwrap(), Some(100_000.0));
    assert_eq!(metadata.bool("tokenizer.ggml.add_bos_token").unwrap(), Some(true));
    assert_eq!(metadata.texts("tokenizer.ggml.tokens").unwrap().unwrap(), ["a", "", "b"]);
    assert_eq!(metadata.integers("tokenizer.ggml.token_type").unwrap().unwrap(), [3, 1, -1]);
    assert_eq!(metadata.floats("tokenizer.ggml.scores").unwrap().unwrap(), [0.5, -1.0, 0.0]);
    assert_eq!(metadata.json("llama.block_count"), Some(2.into()));
    assert_eq!(metadata.json("tokenizer.ggml.add_bos_token"), Some(true.into()));
    assert_eq!(metadata.json("general.architecture"), Some("llama".into()));
    assert_eq!((metadata.json("tokenizer.ggml.tokens"), metadata.json("absent")), (None, None));
    assert_eq!(metadata.keys().count(), 8);

    let passed_over = Header::read(bytes.as_slice(), bytes.len() as u64, Lists::PassedOver).unwrap().metadata;
    assert_eq!(passed_over.unsigned("llama.block_count").unwrap(), Some(2));
    for list in ["tokens", "token_type", "scores"] {
        assert_eq!(passed_over.json(&format!("tokenizer.ggml.{list}")), None);
    }
    let error = passed_over.texts("tokenizer.ggml.tokens").unwrap_err().to_string();
    assert_eq!(error, "tokenizer.ggml.tokens is not a list of texts");
}

#[test]
fn bytes_are_those_of_the_tensor() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tiny.gguf");
    for kind in [F16, Q4_0, Q4_1, Q5_0, Q8_0] {
        let mut file = tiny(kind);
        std::fs::write(&path, file.bytes()).unwrap();
        let gguf = Gguf::new(std::fs::File::open(&path).unwrap(), &path, Lists::PassedOver).unwrap();
        for name in ["token_embd.weight", "output_norm.weight"] {
            let tensor = gguf.header.tensor(name).unwrap();
            let mut bytes = vec![0; tensor.bytes as usize - 4];
            gguf.read_at(tensor, 4, &mut bytes).unwrap();
            assert_eq!(bytes, file.tensor(name).data[4..], "{name}, {}", tensor.encoding);
        }
    }
}

#[test]
fn an_encoding_that_is_not_known_is_named() {
    for (kind, name) in [(20, "IQ4_NL"), (39, "MXFP4"), (77, "of the unknown type 77")] {
        let mut file = tiny(Q4_0);
        file.tensor("token_embd.weight").kind = kind;
        let header = read(&file.bytes()).unwrap();
        let tensor = header.tensor("token_embd.weight").unwrap();
        assert_eq!((tensor.encoding, tensor.bytes), (Encoding::Other(kind), 0));
        assert_eq!(tensor.encoding.to_string(), name);
    }
}

#[test]
fn a_file_cut_anywhere_in_its_header_is_refused() {
    let file = tiny(Q4_0);
    let (bytes, header) = (file.bytes(), file.header().len());
    for cut in 0..header {
        assert!(matches!(read(&bytes[..cut]), Err(GgufError::Damaged(_))), "cut at {cut}");
    }
    for cut in header..bytes.len() {
        let error = read(&bytes[..cut]).unwrap_err().to_string();
        assert!(error.contains("cut short"), "{error}");
    }
}

#[test]
fn a_file_that_shrinks_while_it_is_read_is_refused() {
    let bytes = tiny(Q4_0).bytes();
    let error = Header::read(&bytes[..100], bytes.len() as u64, Lists::Kept).unwrap_err().to_string();
    assert!(error.contains("became shorter"), "{error}");
}

#[test]
fn other_formats_and_versions_are_refused_by_name() {
    assert!(read(b"PK\x03\x04 something").unwrap_err().to_string().contains("does not begin with GGUF"));
    let mut file = tiny(Q4_0);
    for (version, part) in [(1, "version 1"), (4, "version 4"), (3_u32.swap_bytes(), "big-endian")] {
        file.version = version;
        refused(&file, part);
    }
}

#[test]
fn claims_larger_than_the_file_take_no_memory() {
    let bytes = tiny(Q4_0).bytes();
    let with = |at: usize, number: u64| {
        let mut bytes = bytes.clone();
        bytes[at..at + 8].copy_from_slice(&number.to_le_bytes());
        read(&bytes).expect_err("the claim is a lie").to_string()
    };
    for number in [u64::MAX, u64::MAX / 2, 1 << 40, 1 << 20] {
        assert!(with(8, number).contains("tensors, more than"), "number of tensors");
        assert!(with(16, number).contains("the number of metadata entries"), "number of entries");
        assert!(with(24, number).contains("metadata entry 1 of"), "length of the first key");
    }
    for kind in [0, 2, 5, 8, 10] {
        let mut file = tiny(Q4_0);
        let list = [u32::to_le_bytes(kind).as_slice(), &(1_u64 << 60).to_le_bytes()].concat();
        file.set("some.list", Entry::Raw(9, list));
        refused(&file, "(some.list) claims 1152921504606846976 entries");
    }
}

#[test]
fn a_header_longer_than_any_real_one_is_left_alone() {
    let mut start = b"GGUF\x03\0\0\0".to_vec();
    start.extend([0_u64, 2, 4].iter().flat_map(|n| n.to_le_bytes()));
    start.extend(b"list\x09\0\0\0\0\0\0\0");
    // A list of bytes that leaves four of those that are read.
    let count = (64 << 20) - (start.len() as u64 + 8) - 4;
    start.extend(count.to_le_bytes());
    let error = Header::read(start.chain(std::io::repeat(0)), 1 << 40, Lists::Kept).unwrap_err().to_string();
    assert!(error.contains("metadata entry 2 of 2 lies past the 67108864 bytes"), "{error}");
}

#[test]
fn values_of_unknown_or_wrong_types_are_refused_by_key() {
    for (value, part) in [
        (Entry::Raw(13, vec![0; 8]), "(some.key) has the unknown type 13"),
        (Entry::Raw(7, vec![2]), "(some.key) is 2 where true or false"),
        (Entry::Raw(9, [9_u32.to_le_bytes().as_slice(), &[0; 16]].concat()), "(some.key) is a list of lists"),
        (Entry::Raw(9, [99_u32.to_le_bytes().as_slice(), &[0; 16]].concat()), "list of the unknown type 99"),
        (
            Entry::Raw(8, [1_u64.to_le_bytes().as_slice(), &[0xff]].concat()),
            "(some.key) has a string that is not UTF-8",
        ),
    ] {
        let mut file = tiny(Q4_0);
        file.set("some.key", value);
        refused(&file, part);
    }
    let mut file = tiny(Q4_0);
    file.set_again("general.name", Entry::Text("again"));
    refused(&file, "(general.name) has a key that occurred before");
    let mut file = tiny(Q4_0);
    file.set("llama.block_count", Entry::I32(-2));
    let error = read(&file.bytes()).unwrap().metadata.unsigned("llama.block_count").unwrap_err().to_string();
    assert_eq!(error, "llama.block_count is not a whole number");
}

#[test]
fn every_type_of_value_is_passed_over_where_nothing_asks_for_it() {
    let mut file = tiny(Q4_0);
    let widths = [1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8];
    for (kind, width) in widths.into_iter().enumerate().filter(|(_, width)| *width > 0) {
        file.set(&format!("scalar.{kind}"), Entry::Raw(kind as u32, vec![1; width]));
        let list = [(kind as u32).to_le_bytes().as_slice(), &3_u64.to_le_bytes(), &vec![1; 3 * width]].concat();
        file.set(&format!("list.{kind}"), Entry::Raw(9, list));
    }
    assert_eq!(read(&file.bytes()).unwrap().metadata.unsigned("scalar.10").unwrap(), Some(0x0101_0101_0101_0101));
}

#[test]
fn tensors_of_impossible_shapes_are_refused_by_name() {
    for (shape, part) in [
        (vec![], "tensor output_norm.weight: it has 0 dimensions"),
        (vec![1; 5], "tensor output_norm.weight: it has 5 dimensions"),
        (vec![64, 0], "impossible"),
        (vec![1 << 40, 1 << 40], "impossible"),
        (vec![1 << 62], "larger than any file"),
        (vec![1 << 40], "end past the file"),
    ] {
        let mut file = tiny(Q4_0);
        file.tensor("output_norm.weight").shape = shape;
        refused(&file, part);
    }
    let mut file = tiny(Q4_0);
    file.tensor("token_embd.weight").shape = vec![4, 48];
    refused(&file, "tensor token_embd.weight: its rows of 48 numbers are not whole blocks of 32");
}

#[test]
fn tensors_outside_the_data_or_upon_each_other_are_refused_by_name() {
    for (offset, part) in [
        (u64::MAX - 31, "end past the file"),
        (1 << 40, "end past the file"),
        (33, "its offset 33 is no multiple of 32"),
        (0, "tensors token_embd.weight and output_norm.weight overlap"),
        (32, "tensors token_embd.weight and output_norm.weight overlap"),
    ] {
        let mut file = tiny(F16);
        file.tensor("output_norm.weight").claimed_offset = Some(offset);
        let error = read(&file.bytes()).expect_err(part).to_string();
        let either_way =
            error.replace("output_norm.weight and token_embd.weight", "token_embd.weight and output_norm.weight");
        assert!(either_way.contains(part), "{error:?} does not say {part:?}");
    }
    let mut file = tiny(Q4_0);
    file.push("output_norm.weight", &[64], F32);
    refused(&file, "tensor output_norm.weight: the name occurs twice");
    file.tensor("output_norm.weight").name = "x".repeat(257);
    refused(&file, "has a string of 257 bytes");
}

#[test]
fn an_alignment_that_is_none_is_refused() {
    for alignment in [0, 3, 1 << 17] {
        let mut file = tiny(Q4_0);
        file.set("general.alignment", Entry::U32(alignment));
        refused(&file, &format!("general.alignment is {alignment}"));
    }
}

proptest! {
    #[test]
    fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..512)) {
        let _ = read(&[b"GGUF\x03\0\0\0".as_slice(), &bytes].concat());
    }

    #[test]
    fn a_file_with_any_few_bytes_changed_never_panics(
        changes in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 1..8),
    ) {
        let mut bytes = tiny(Q4_0).bytes();
        let header = tiny(Q4_0).header().len();
        for (at, byte) in changes {
            bytes[at.index(header)] = byte;
        }
        let _ = read(&bytes);
    }
}
