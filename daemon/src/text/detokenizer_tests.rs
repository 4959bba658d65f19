use std::sync::LazyLock;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::super::fixtures::{ModelFolder, byte_fallback, byte_level, size, with_special};
use super::super::tokenizer::SpecialTokens;
use super::*;

fn model(tokenizer: &Value) -> Arc<TextModel> {
    Arc::new(ModelFolder::new(tokenizer).open().unwrap())
}

/// With the tokenizer of bytes.
fn bytes() -> Arc<TextModel> {
    static MODEL: LazyLock<Arc<TextModel>> = LazyLock::new(|| model(&byte_level()));
    Arc::clone(&MODEL)
}

/// With the tokenizer of pieces that falls back to bytes.
fn pieces() -> Arc<TextModel> {
    static MODEL: LazyLock<Arc<TextModel>> = LazyLock::new(|| model(&byte_fallback()));
    Arc::clone(&MODEL)
}

/// Tokenizers of pieces with other decoders.
fn others() -> &'static [(Value, Arc<TextModel>)] {
    static MODELS: LazyLock<Vec<(Value, Arc<TextModel>)>> = LazyLock::new(|| {
        let decoders = [
            json!(null),
            json!({"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": true}),
            json!({"type": "Metaspace", "replacement": "▁", "prepend_scheme": "never", "split": true}),
            json!({"type": "WordPiece", "prefix": "he", "cleanup": true}),
            json!({"type": "BPEDecoder", "suffix": "a"}),
            json!({"type": "Sequence", "decoders": [
                {"type": "Fuse"}, {"type": "Strip", "content": "▁", "start": 1, "stop": 0},
            ]}),
        ];
        let with = |decoder: Value| {
            let mut tokenizer = byte_fallback();
            tokenizer["decoder"] = decoder.clone();
            (decoder, model(&tokenizer))
        };
        decoders.into_iter().map(with).collect()
    });
    &MODELS
}

/// The pieces, one for each token, and the rest.
fn stream(model: &Arc<TextModel>, ids: &[u32]) -> (Vec<String>, String) {
    let mut detokenizer = Detokenizer::new(Arc::clone(model), &[]);
    let pieces = ids.iter().map(|id| detokenizer.push(*id)).collect();
    (pieces, detokenizer.finish())
}

fn whole(model: &Arc<TextModel>, ids: &[u32]) -> String {
    let (pieces, rest) = stream(model, ids);
    pieces.concat() + &rest
}

fn encode(model: &Arc<TextModel>, text: &str) -> Vec<u32> {
    model.tokenizer.encode(text, SpecialTokens::AsWritten).unwrap()
}

fn id(model: &Arc<TextModel>, token: &str) -> u32 {
    model.tokenizer.id(token).unwrap()
}

/// Texts with what is hard: characters of two to four bytes, joined emoji, white space, the tokenizers' own marks.
fn text() -> impl Strategy<Value = String> {
    const HARD: &[&str] = &["👩‍👩‍👧", "é", "漢字", " ", "  ", "\n", "▁", "�", "the ", "Ġ", "<0x41>", "\u{0}", "𝄞", "🇨🇭"];
    let part = prop_oneof![prop::sample::select(HARD).prop_map(String::from), any::<String>()];
    prop::collection::vec(part, 0..12).prop_map(|parts| parts.concat())
}

#[test]
fn marks_are_shown_though_they_are_special_and_end_a_character_that_is_cut_off() {
    for tokenizer in [byte_level(), byte_fallback()] {
        let model = model(&with_special(tokenizer, &["[CALL]", "[END]"]));
        let mark = id(&model, "[CALL]");
        let mut detokenizer = Detokenizer::new(Arc::clone(&model), &["[CALL]", "[NONE]"]);
        let first_byte = *encode(&model, "𝄞").iter().nth_back(3).unwrap();
        let last = *encode(&model, "the").last().unwrap();
        let pieces: Vec<String> =
            [mark, first_byte, mark, id(&model, "[END]"), last].iter().map(|id| detokenizer.push(*id)).collect();
        assert_eq!(pieces[..4], ["[CALL]", "", "\u{fffd}[CALL]", ""]);
        assert!(!pieces[4].is_empty());
    }
}

#[test]
fn a_character_is_shown_when_its_last_byte_arrives_and_not_before() {
    for model in [bytes(), pieces()] {
        let ids = encode(&model, "a👩‍👧b");
        let (pieces, rest) = stream(&model, &ids);
        assert_eq!(pieces.concat(), "a👩‍👧b");
        assert_eq!(rest, "");
        for piece in pieces.iter().filter(|piece| !piece.is_empty()) {
            assert_eq!(piece.chars().count(), 1, "{pieces:?}");
        }
    }
}

#[test]
fn a_character_cut_off_by_the_end_is_one_replacement_character() {
    let model = bytes();
    let ids = encode(&model, "漢");
    let (pieces, rest) = stream(&model, &ids[..2]);
    assert_eq!((pieces.concat().as_str(), rest.as_str()), ("", "\u{FFFD}"));
}

#[test]
fn a_byte_of_a_piece_tokenizer_cut_off_by_the_end_is_a_replacement_character_each() {
    let model = pieces();
    let ids = [id(&model, "<0xF0>"), id(&model, "<0x9F>")];
    let (pieces, rest) = stream(&model, &ids);
    assert_eq!((pieces.concat().as_str(), rest.as_str()), ("", "\u{FFFD}\u{FFFD}"));
    assert_eq!(model.decode(&ids), rest);
}

#[test]
fn special_tokens_show_nothing_even_within_a_character() {
    let model = bytes();
    let (bos, plain) = (id(&model, "<|bos|>"), id(&model, "<tool>"));
    let mut ids = encode(&model, "é");
    ids.insert(1, bos);
    ids.push(plain);
    assert_eq!(whole(&model, &ids), "é<tool>");
    let model = pieces();
    let ids = ["<0xC3>", "</s>", "<0xA9>"].map(|token| id(&model, token));
    assert_eq!(whole(&model, &ids), "é");
}

#[test]
fn an_unknown_token_shows_nothing() {
    let model = bytes();
    assert_eq!(whole(&model, &[u32::MAX, id(&model, "he"), 99_999]), "he");
}

#[test]
fn only_the_first_space_of_an_answer_is_stripped() {
    let model = pieces();
    let the = id(&model, "▁the");
    assert_eq!(stream(&model, &[the, the]).0, ["the", " the"]);
    let stray = id(&model, "<0xFF>");
    assert_eq!(stream(&model, &[stray, the]).0, ["\u{FFFD}", " the"]);
}

#[test]
fn a_long_run_of_stray_bytes_is_shown_as_it_comes() {
    for (model, token) in [(bytes(), "Ã"), (pieces(), "<0xC3>")] {
        let ids = vec![id(&model, token); 3000];
        let (pieces, rest) = stream(&model, &ids);
        assert!(pieces[1..].iter().all(|piece| piece == "\u{FFFD}"));
        assert_eq!(rest, "\u{FFFD}");
    }
}

#[test]
fn a_character_shown_stays_shown_when_a_stray_byte_follows_it() {
    let model = pieces();
    let ids = ["<0xC3>", "<0xA9>", "<0xFF>", "a"].map(|token| id(&model, token));
    assert_eq!(whole(&model, &ids), "é\u{FFFD}a");
    assert_eq!(model.decode(&ids), "\u{FFFD}\u{FFFD}\u{FFFD}a", "the one known difference is gone");
}

/// What a whole decode gives but for the known difference: rows of bytes with a stray one among them are decoded
/// character by character. Each such row is decoded as a letter that stands nowhere else, then put in its place.
fn expected(model: &Arc<TextModel>, ids: &[u32]) -> String {
    let stand_in = id(model, "z");
    let bytes_from = id(model, "<0x00>");
    let byte = |id: u32| u8::try_from(id.checked_sub(bytes_from)?).ok();
    let shown: Vec<u32> = ids.iter().copied().filter(|id| model.tokenizer.shown(*id).is_some()).collect();
    let (mut decoded, mut rows) = (Vec::new(), Vec::new());
    for row in shown.chunk_by(|left, right| byte(*left).is_some() == byte(*right).is_some()) {
        let bytes: Vec<u8> = row.iter().filter_map(|id| byte(*id)).collect();
        if std::str::from_utf8(&bytes).is_ok() {
            decoded.extend_from_slice(row);
            continue;
        }
        let mut text = String::new();
        for chunk in bytes.utf8_chunks() {
            text.push_str(chunk.valid());
            text.push_str(&"\u{FFFD}".repeat(chunk.invalid().len()));
        }
        let first = decoded.is_empty();
        rows.push(if first { text.strip_prefix(' ').unwrap_or(&text).to_owned() } else { text });
        decoded.push(stand_in);
    }
    let mut rows = rows.into_iter();
    model.decode(&decoded).chars().map(|c| if c == 'z' { rows.next().unwrap() } else { c.to_string() }).collect()
}

proptest! {
    #[test]
    fn any_text_comes_back_whole(text in text()) {
        for model in [bytes(), pieces()] {
            let ids = encode(&model, &text);
            let (pieces, rest) = stream(&model, &ids);
            prop_assert_eq!(pieces.concat() + &rest, model.decode(&ids));
            prop_assert_eq!(rest, "");
        }
    }

    #[test]
    fn any_tokens_of_bytes_give_what_a_whole_decode_gives_and_lag_at_most_a_character_behind(
        ids in prop::collection::vec(0..280_u32, 0..80),
    ) {
        let model = bytes();
        let (pieces, rest) = stream(&model, &ids);
        prop_assert_eq!(pieces.concat() + &rest, model.decode(&ids));
        let mut shown = String::new();
        for (count, piece) in pieces.iter().enumerate() {
            shown.push_str(piece);
            let so_far = model.decode(&ids[..=count]);
            let behind = so_far.strip_prefix(&shown);
            prop_assert!(matches!(behind, Some("" | "\u{FFFD}")), "{:?} of {:?}", shown, so_far);
        }
    }

    #[test]
    fn any_pieces_and_bytes_give_what_a_whole_decode_gives_but_for_the_known_difference(
        ids in prop::collection::vec(prop_oneof![0..3_u32, 3..259_u32, 3..40_u32, 180..250_u32, 259..300_u32], 0..60),
    ) {
        let model = pieces();
        let stand_ins = [id(&model, "z"), id(&model, "<0x7A>")];
        let ids: Vec<u32> = ids.into_iter().filter(|id| !stand_ins.contains(id)).collect();
        prop_assert_eq!(whole(&model, &ids), expected(&model, &ids));
    }

    #[test]
    fn any_tokens_of_decoders_without_bytes_give_what_a_whole_decode_gives(
        ids in prop::collection::vec(259..310_u32, 0..60),
    ) {
        for (decoder, model) in others() {
            prop_assert_eq!(whole(model, &ids), model.decode(&ids), "{}", decoder);
        }
    }
}

#[test]
fn the_fixtures_have_the_tokens_the_properties_draw_from() {
    assert_eq!(size(&byte_level()), 270);
    assert_eq!(size(&byte_fallback()), 297);
}
