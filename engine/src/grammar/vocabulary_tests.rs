//! Both kinds of tokenizer, and files that are none.

use serde_json::json;
use tempfile::TempDir;

use super::*;

fn read_json(tokenizer: &Value, size: u32) -> Result<Vec<Vec<u8>>, Error> {
    let folder = TempDir::new().unwrap();
    std::fs::write(folder.path().join("tokenizer.json"), tokenizer.to_string()).unwrap();
    read(folder.path(), size)
}

fn words(error: Result<Vec<Vec<u8>>, Error>) -> String {
    error.unwrap_err().to_string()
}

#[test]
fn characters_of_byte_level_tokens_stand_for_bytes() {
    let tokens = read_json(
        &json!({
            "model": { "type": "BPE", "vocab": { "a": 0, "Ġthe": 1, "Ċ": 2, "Ã¤": 3, "ð": 4, "€": 5 } },
            "decoder": { "type": "ByteLevel" },
            "added_tokens": [{ "id": 6, "content": "<|end|>", "special": true },
                { "id": 7, "content": "<tool é>", "special": false }],
        }),
        10,
    );
    let expected: [&[u8]; 10] = [
        b"a",
        b" the",
        b"\n",
        "ä".as_bytes(),
        &[0xF0],
        "€".as_bytes(),
        b"\xff<|end|>",
        "<tool é>".as_bytes(),
        b"",
        b"",
    ];
    assert_eq!(tokens.unwrap(), expected);
}

#[test]
fn every_byte_has_its_character() {
    let mut bytes: Vec<u8> = byte_table().into_values().collect();
    bytes.sort_unstable();
    assert_eq!(bytes, (0..=u8::MAX).collect::<Vec<_>>());
    let table = byte_table();
    assert_eq!((table[&'A'], table[&'Ġ'], table[&'Ń'], table[&'Ā']), (b'A', b' ', 0xAD, 0));
}

#[test]
fn pieces_are_text_and_single_bytes() {
    let decoder = json!({ "type": "Sequence", "decoders": [
        { "type": "Replace", "pattern": { "String": "▁" }, "content": " " }, { "type": "ByteFallback" },
        { "type": "Fuse" }, { "type": "Strip", "content": " ", "start": 1, "stop": 0 }] });
    let vocab = json!({ "<unk>": 0, "<0xE2>": 1, "▁the": 2, "▁▁": 3, "ä": 4, "<0xZZ>": 5 });
    let added = json!([{ "id": 0, "content": "<unk>", "special": true }]);
    let tokens =
        read_json(&json!({ "model": { "vocab": vocab }, "decoder": decoder, "added_tokens": added }), 6).unwrap();
    let expected: [&[u8]; 6] = [b"\xff<unk>", &[0xE2], b" the", b"  ", "ä".as_bytes(), b"<0xZZ>"];
    assert_eq!(tokens, expected);
    let metaspace = json!({ "type": "Metaspace", "replacement": "▁" });
    let tokens = read_json(&json!({ "model": { "vocab": { "▁a": 0, "<0xE2>": 1 } }, "decoder": metaspace }), 2);
    assert_eq!(tokens.unwrap(), [b" a".to_vec(), b"<0xE2>".to_vec()]);
}

#[test]
fn tokens_without_a_row_and_endless_ones_never_come() {
    let vocab = json!({ "a".repeat(1024): 0, "b".repeat(1025): 1, "c": 2, "d": 3 });
    let tokens = read_json(&json!({ "model": { "vocab": vocab }, "decoder": { "type": "Fuse" } }), 3).unwrap();
    assert_eq!(tokens.iter().map(Vec::len).collect::<Vec<_>>(), [1024, 0, 1]);
    crate::grammar::factory(&tokens, &[2]).unwrap();
}

#[test]
fn files_that_are_no_tokenizer_are_named() {
    let absent = read(Path::new("/absent"), 3);
    assert!(words(absent).starts_with("/absent/tokenizer.json: "));
    let broken = read_json(&json!({ "model": { "vocab": [["a", 0.0]] } }), 3);
    assert!(matches!(broken, Err(Error::Broken(_))), "{broken:?}");
    for decoder in [json!(null), json!({ "type": "WordPiece" }), json!({ "type": "CTC" })] {
        let unknown = read_json(&json!({ "model": { "vocab": { "a": 0 } }, "decoder": decoder }), 3);
        assert!(words(unknown).contains("its kind of decoder is not known"));
    }
}
