use std::cell::RefCell;
use std::sync::LazyLock;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::super::super::fixtures::{byte_fallback, byte_level, with_special};
use super::super::SpecialTokens;
use super::*;

fn library(tokenizer: &Value) -> tokenizers::Tokenizer {
    tokenizers::Tokenizer::from_bytes(tokenizer.to_string()).unwrap()
}

fn pieces(tokenizer: &Value) -> Pieces {
    Pieces::of(library(tokenizer).get_added_vocabulary())
}

/// With one more added token.
fn with(mut tokenizer: Value, token: &Value) -> Value {
    let mut whole = json!({
        "id": super::super::super::fixtures::size(&tokenizer), "special": true,
        "single_word": false, "lstrip": false, "rstrip": false, "normalized": false,
    });
    whole.as_object_mut().unwrap().extend(token.as_object().unwrap().clone());
    tokenizer["added_tokens"].as_array_mut().unwrap().push(whole);
    tokenizer
}

/// The pieces of which tokens were made, each by its characters.
fn made(pieces: &Pieces, text: &str) -> Vec<String> {
    let made = RefCell::new(Vec::new());
    let tokens = pieces.encode(text, |piece| {
        made.borrow_mut().push(piece.to_owned());
        Ok::<_, ()>(piece.chars().map(u32::from).collect())
    });
    assert_eq!(tokens.unwrap(), text.chars().map(u32::from).collect::<Vec<_>>());
    made.into_inner()
}

#[test]
fn of_a_conversation_that_goes_on_only_the_end_is_new() {
    let pieces = pieces(&byte_level());
    let turn = |text: &str| format!("<|im_start|>user\n{}<|im_end|>\n", text.repeat(200));
    let mut conversation = String::from("<|bos|>");
    for text in ["one ", "two ", "three "] {
        conversation += &turn(text);
        let all = made(&pieces, &conversation);
        assert_eq!(all.len(), 2, "{all:?}");
        assert!(all[0].contains(text) && all[1] == "<|im_end|>\n", "{all:?}");
    }
    // Another that begins alike and goes on in another way.
    assert_eq!(made(&pieces, &(turn("one ") + "<|im_start|>assistant\n")).len(), 2);
    assert_eq!(made(&pieces, &(String::from("<|bos|>") + &turn("one ") + &turn("new "))).len(), 2);
    // A text without such tokens is one piece, and as a whole the same again.
    assert_eq!(made(&pieces, &"plain ".repeat(100)).len(), 1);
    assert_eq!(made(&pieces, &"plain ".repeat(100)).len(), 0);
    assert_eq!(made(&pieces, "short").len(), 1);
    assert_eq!(made(&pieces, "short").len(), 1);
}

#[test]
fn what_is_kept_is_bounded_and_the_oldest_goes_first() {
    let pieces = pieces(&byte_level());
    // Each with its tokens takes five bytes a character.
    let text = |number: usize| format!("{number:07} ").repeat(MOST_BYTES / 5 / 8 / 4);
    for number in 0..3 {
        assert_eq!(made(&pieces, &text(number)).len(), 1);
    }
    assert_eq!(made(&pieces, &text(0)).len(), 0);
    for number in 3..5 {
        assert_eq!(made(&pieces, &text(number)).len(), 1);
    }
    assert_eq!(made(&pieces, &text(0)).len(), 0);
    assert_eq!(made(&pieces, &text(1)).len(), 1);
    let kept = pieces.kept.lock().unwrap();
    assert!(kept.bytes <= MOST_BYTES);
    assert_eq!(kept.bytes, kept.pieces.iter().map(|(text, piece)| bytes(text, &piece.tokens)).sum::<usize>());
    drop(kept);
    // What would not fit even alone.
    assert_eq!(made(&pieces, &"x".repeat(MOST_BYTES)).len(), 1);
    assert_eq!(made(&pieces, &"x".repeat(MOST_BYTES)).len(), 1);
}

#[test]
fn texts_are_cut_only_before_tokens_that_stand_by_themselves() {
    let cuts_before = |tokenizer: &Value, token: &str| {
        let text = "a ".repeat(300) + token + "b";
        pieces(tokenizer).cut(&text).len() == 2
    };
    let plain = json!({"content": "[CALL]"});
    assert!(cuts_before(&with(byte_level(), &plain), "[CALL]"));
    assert!(cuts_before(&with(byte_level(), &json!({"content": "[CALL]", "rstrip": true})), "[CALL]"));
    assert!(!cuts_before(&byte_level(), "[CALL]"));
    assert!(!cuts_before(&byte_level(), "<tool>"));
    for other in [
        json!({"content": "[CALL]", "lstrip": true}),
        json!({"content": "[CALL]", "single_word": true}),
        json!({"content": "[CALL]", "normalized": true}),
        json!({"content": "[CALL]", "special": false}),
    ] {
        assert!(!cuts_before(&with(byte_level(), &other), "[CALL]"), "{other}");
    }
    for letter in ["Call", "_call", " [CALL]"] {
        assert!(!cuts_before(&with(byte_level(), &json!({"content": letter})), letter));
    }
    // Another may begin before it and take part of it.
    for other in ["x[CALL]", "[CALL]s", "x[", "say[CA", "[[CALL]"] {
        let both = with(with(byte_level(), &plain), &json!({"content": other, "special": false}));
        assert!(!cuts_before(&both, "[CALL]"), "{other}");
    }
    for other in ["[CALL", "[CALLS]", "ALL]", "CALL"] {
        let both = with(with(byte_level(), &plain), &json!({"content": other, "special": false}));
        assert!(cuts_before(&both, "[CALL]"), "{other}");
    }
}

/// Tokenizers of both kinds, with added tokens of all sorts, and pre-tokenizers that know where a text begins.
fn all() -> &'static [(Value, super::super::Tokenizer)] {
    static ALL: LazyLock<Vec<(Value, super::super::Tokenizer)>> = LazyLock::new(|| {
        let odd = |tokenizer: Value| {
            let tokenizer = with_special(tokenizer, &["[CALL]", "[END]", "[E", "<|x"]);
            let tokenizer = with(tokenizer, &json!({"content": "<r>", "rstrip": true}));
            let tokenizer = with(tokenizer, &json!({"content": "<l>", "lstrip": true}));
            let tokenizer = with(tokenizer, &json!({"content": "<w>", "single_word": true}));
            with(tokenizer, &json!({"content": "<n>", "normalized": true, "special": false}))
        };
        let mut first = odd(byte_fallback());
        first["normalizer"] = Value::Null;
        first["pre_tokenizer"] =
            json!({"type": "Metaspace", "replacement": "▁", "prepend_scheme": "first", "split": false});
        let mut spaced = odd(byte_level());
        spaced["pre_tokenizer"]["add_prefix_space"] = json!(true);
        let mut stripped = odd(byte_fallback());
        stripped["normalizer"]["normalizers"]
            .as_array_mut()
            .unwrap()
            .insert(0, json!({"type": "Strip", "strip_left": true, "strip_right": true}));
        let open = |tokenizer: Value| {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("tokenizer.json");
            std::fs::write(&path, tokenizer.to_string()).unwrap();
            let opened = super::super::Tokenizer::open(&path, None).unwrap();
            (tokenizer, opened)
        };
        [odd(byte_level()), odd(byte_fallback()), first, spaced, stripped].map(open).into()
    });
    &ALL
}

proptest! {
    #[test]
    fn pieces_have_the_tokens_of_the_whole(
        parts in prop::collection::vec(
            prop_oneof![
                prop::sample::select(vec![
                    "<|bos|>", "<|im_start|>", "<|im_end|>", "<tool>", "<s>", "</s>", "<unk>", "[CALL]", "[END]", "[E",
                    "<|x", "<r>", "<l>", "<w>", "<n>", " ", "\n\n", "the ", " a", "é漢", "<|im_", "[",
                ]).prop_map(str::to_owned),
                "[a-z .,!<>|]{0,12}",
                prop::sample::select(vec![600_usize, 700]).prop_map(|count| "the tin he ".repeat(count / 11)),
            ],
            0..14,
        ),
    ) {
        let text = parts.concat();
        for (_, tokenizer) in all() {
            let whole = tokenizer.ids(&text, SpecialTokens::AsWritten).unwrap();
            for _ in 0..2 {
                prop_assert_eq!(&tokenizer.encode(&text, SpecialTokens::AsWritten).unwrap(), &whole);
            }
        }
    }
}
