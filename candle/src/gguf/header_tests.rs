//! Sound headers are read, and what is damaged is refused, wherever that is.

use std::io::Cursor;

use candle_core::quantized::QTensor;
use candle_core::quantized::gguf_file::{self, Value as Written};
use candle_core::{DType, Device, Tensor};

use super::*;

fn file(alignment: u32) -> Vec<u8> {
    let plain = Tensor::zeros((2, 32), DType::F32, &Device::Cpu).unwrap();
    let packed = QTensor::quantize(&plain, GgmlDType::Q4_0).unwrap();
    let plain = QTensor::quantize(&plain, GgmlDType::F32).unwrap();
    let texts = Written::Array(vec![Written::String("a".into()), Written::String(String::new())]);
    let numbers = Written::Array(vec![Written::F32(1.0); 3]);
    let entries = [
        ("general.alignment", &Written::U32(alignment)),
        ("texts", &texts),
        ("numbers", &numbers),
        ("long", &Written::String("x".repeat(2000))),
        ("small", &Written::I8(-3)),
        ("yes", &Written::Bool(true)),
        ("share", &Written::F64(0.5)),
    ];
    let mut bytes = Cursor::new(Vec::new());
    gguf_file::write(&mut bytes, &entries, &[("first", &plain), ("second", &packed)]).unwrap();
    bytes.into_inner()
}

fn read(bytes: &[u8]) -> Result<Header> {
    Header::read(bytes, bytes.len() as u64)
}

/// Puts `number` behind the first `name`, `skipped` bytes further on.
fn with(name: &str, skipped: usize, number: &[u8]) -> Vec<u8> {
    let mut bytes = file(32);
    let place = bytes.windows(name.len()).position(|window| window == name.as_bytes()).unwrap();
    let place = place + name.len() + skipped;
    bytes[place..place + number.len()].copy_from_slice(number);
    bytes
}

#[test]
fn values_and_tensors_are_found() {
    let bytes = file(32);
    let header = read(&bytes).unwrap();
    let keys: Vec<&str> = header.entries.keys().map(String::as_str).collect();
    assert_eq!(keys, ["general.alignment", "share", "small", "yes"]);
    assert_eq!(header.entries["small"], -3);
    assert_eq!(header.entries["share"], 0.5);
    let (first, second) = (&header.tensors["first"], &header.tensors["second"]);
    assert_eq!((first.shape.as_slice(), first.dtype, first.bytes), (&[2, 32][..], Ok(GgmlDType::F32), 256));
    assert_eq!((second.dtype, second.bytes, second.offset), (Ok(GgmlDType::Q4_0), 36, first.offset + 256));
    assert!(first.offset.is_multiple_of(32));
}

#[test]
fn a_file_that_ends_anywhere_is_refused() {
    let bytes = file(32);
    let end = read(&bytes).unwrap().tensors["second"].offset as usize + 36;
    for length in 0..end {
        assert!(read(&bytes[..length]).is_err(), "cut to {length}");
    }
    assert!(read(&bytes[..end]).is_ok());
}

#[test]
fn what_is_impossible_is_refused() {
    let huge = u64::MAX.to_le_bytes();
    for (bytes, words) in [
        (file(0), "general.alignment"),
        (file(48), "general.alignment"),
        (file(1 << 20), "general.alignment"),
        // The number of entries stands behind that of tensors.
        (with("GGUF", 4, &huge), "the number of tensors"),
        (with("GGUF", 12, &huge), "the number of entries"),
        (with("GGUF", 0, &1_u32.to_le_bytes()), "version 1"),
        (with("texts", 8, &huge), "texts"),
        (with("numbers", 8, &huge), "numbers"),
        (with("numbers", 4, &99_u32.to_le_bytes()), "unknown type 99"),
        (with("first", 0, &5_u32.to_le_bytes()), "tensor first: it has 5 dimensions"),
        (with("first", 4, &huge), "tensor first: its shape"),
        (with("first", 4, &0_u64.to_le_bytes()), "tensor first: its shape"),
        (with("first", 24, &huge), "tensor first ends behind the file"),
        (with("second", 4, &33_u64.to_le_bytes()), "tensor second: its rows of 33 numbers"),
    ] {
        let why = read(&bytes).map(drop).unwrap_err();
        assert!(why.contains(words), "{words}: {why}");
    }
}

/// Many tensors of the same place would take more memory than the file has.
#[test]
fn tensors_that_lie_over_others_are_refused() {
    let plain = Tensor::zeros((128, 128), DType::F32, &Device::Cpu).unwrap();
    let plain = QTensor::quantize(&plain, GgmlDType::F32).unwrap();
    let mut bytes = Cursor::new(Vec::new());
    gguf_file::write(&mut bytes, &[], &[("first", &plain), ("second", &plain)]).unwrap();
    let mut bytes = bytes.into_inner();
    let first = read(&bytes).unwrap().tensors["first"].clone();
    let place = bytes.windows(6).position(|window| window == b"second").unwrap() + 6 + 24;
    bytes[place..place + 8].fill(0);
    bytes.truncate((first.offset + first.bytes) as usize);
    assert_eq!(read(&bytes).map(drop).unwrap_err(), "tensor second lies over others");
}

#[test]
fn a_type_that_is_not_known_is_told_when_it_is_asked_for() {
    let header = read(&with("second", 20, &20_u32.to_le_bytes())).unwrap();
    assert_eq!(header.tensors["second"].dtype, Err(20));
}
