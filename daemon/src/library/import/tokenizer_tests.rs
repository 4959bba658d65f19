use engine::gguf::{Header, Lists};
use tokenizers::{OffsetReferential, OffsetType, PreTokenizedString, PreTokenizer, Tokenizer};

use super::*;
use crate::library::fixture::{Entry, File, Q4_0};

/// Rows of the embedding, as many as the larger vocabulary below has tokens.
const ROWS: u64 = 3 + 256 + 12 + 1;

/// The tokenizer and its two other documents, of a file.
fn documents(file: &File) -> Result<(Tokenizer, Value, Value), String> {
    let bytes = file.bytes();
    let header = Header::read(bytes.as_slice(), bytes.len() as u64, Lists::Kept).map_err(|error| error.to_string())?;
    let vocabulary = Vocabulary::read(&header.metadata, ROWS).map_err(|error| error.to_string())?;
    let tokenizer = vocabulary.tokenizer().map_err(|error| error.to_string())?;
    let tokenizer = Tokenizer::from_bytes(tokenizer).unwrap();
    Ok((tokenizer, vocabulary.tokenizer_config(128), vocabulary.generation_config()))
}

fn tokenizer(file: &File) -> Tokenizer {
    documents(file).unwrap().0
}

fn tokens(tokenizer: &Tokenizer, text: &str) -> Vec<String> {
    tokenizer.encode(text, true).unwrap().get_tokens().to_vec()
}

/// Checks that a file is refused after a change, in words that contain `part`.
fn refused(part: &str, mut file: File, change: impl FnOnce(&mut File)) {
    change(&mut file);
    let error = documents(&file).expect_err(part);
    assert!(error.contains(part), "{error:?} does not say {part:?}");
}

/// A vocabulary as sentencepiece makes it: marks, bytes, and pieces by falling score.
fn sentencepiece() -> File {
    let marks = ["<unk>", "<s>", "</s>"].map(|mark| (mark.to_owned(), 0.0, if mark == "<unk>" { 2 } else { 3 }));
    let bytes = (0..=255).map(|byte| (format!("<0x{byte:02X}>"), 0.0, 6));
    let pieces = ["▁h", "el", "lo", "▁hel", "▁hello", "▁▁", "h", "e", "l", "o", "▁", "ll"];
    let pieces = pieces.into_iter().zip(1..).map(|(piece, rank)| (piece.to_owned(), -rank as f32, 1));
    let whole = [("<|tool|>".to_owned(), 0.0, 4)];
    let all: Vec<_> = marks.into_iter().chain(bytes).chain(pieces).chain(whole).collect();
    let mut file = File::tiny(Q4_0);
    file.set("tokenizer.ggml.model", Entry::Text("llama"));
    file.set("tokenizer.ggml.pre", Entry::Text("default"));
    file.set("tokenizer.ggml.tokens", Entry::Texts(all.iter().map(|(text, ..)| text.clone()).collect()));
    file.set("tokenizer.ggml.scores", Entry::Floats(all.iter().map(|(_, score, _)| *score).collect()));
    file.set("tokenizer.ggml.token_type", Entry::Integers(all.iter().map(|(.., kind)| *kind).collect()));
    for key in ["merges", "bos_token_id", "eos_token_id"] {
        file.unset(&format!("tokenizer.ggml.{key}"));
    }
    file
}

#[test]
fn byte_level_text_comes_back_as_it_was() {
    let tokenizer = tokenizer(&File::tiny(Q4_0));
    for text in ["hello world 12 12", " leading", "naïve 日本 👩‍👧", "a\r\n\t b  ", "\u{0}\u{7f}", ""] {
        let ids = tokenizer.encode(text, false).unwrap().get_ids().to_vec();
        assert_eq!(tokenizer.decode(&ids, false).unwrap(), text);
    }
}

#[test]
fn merges_numbers_and_marks_are_those_of_the_file() {
    let tokenizer = tokenizer(&File::tiny(Q4_0));
    let encoding = tokenizer.encode("<|im_start|>hello w12<|im_end|>", true).unwrap();
    // The digits stand alone before merging, so `12` is no token here.
    assert_eq!(encoding.get_tokens(), ["<|im_start|>", "hello", "Ġw", "1", "2", "<|im_end|>"]);
    assert_eq!(encoding.get_ids(), [1, 3 + 256 + 3, 3 + 256 + 4, 3 + u32::from(b'1'), 3 + u32::from(b'2'), 2]);
    assert_eq!(tokenizer.decode(encoding.get_ids(), true).unwrap(), "hello w12");
}

#[test]
fn text_is_cut_as_the_pre_tokenizer_of_the_file_says() {
    let text = "I'LL x=y 12345 don't\n\n  Ünder";
    for (name, expected) in [
        ("gpt-2", "I|'|LL| x|=|y| 12345| don|'t|\n\n | Ünder"),
        ("smollm", "I|'|LL| x|=|y| |1|2|3|4|5| don|'t|\n\n | Ünder"),
        ("llama-bpe", "I|'LL| x|=y| |123|45| don|'t|\n\n| | Ünder"),
        ("qwen2", "I|'LL| x|=y| |1|2|3|4|5| don|'t|\n\n| | Ünder"),
        ("tekken", "I|'LL| x|=y| |1|2|3|4|5| don|'t|\n\n| | Ünder"),
        ("default", "I|'|LL| x|=|y| |123|45| don|'|t|\n\n | Ünder"),
    ] {
        let mut file = File::tiny(Q4_0);
        file.set("tokenizer.ggml.pre", Entry::Text(name));
        let tokenizer = tokenizer(&file);
        let mut cut = PreTokenizedString::from(text);
        tokenizer.get_pre_tokenizer().unwrap().pre_tokenize(&mut cut).unwrap();
        let pieces = cut.get_splits(OffsetReferential::Original, OffsetType::Byte);
        let pieces: Vec<&str> = pieces.iter().map(|(_, (start, end), _)| &text[*start..*end]).collect();
        assert_eq!(pieces.join("|"), expected, "{name}");
    }
}

#[test]
fn qwen_composes_characters_and_tiktoken_vocabularies_need_no_merges() {
    let mut file = File::tiny(Q4_0);
    file.set("tokenizer.ggml.pre", Entry::Text("qwen2"));
    let whole = tokenizer(&file);
    assert_eq!(whole.encode("e\u{301}", false).unwrap().get_ids(), whole.encode("é", false).unwrap().get_ids());

    let mut file = File::tiny(Q4_0);
    file.set("tokenizer.ggml.merges", Entry::Texts(vec!["h e".into()]));
    file.set("tokenizer.ggml.pre", Entry::Text("gpt-2"));
    assert_eq!(tokens(&tokenizer(&file), "hello"), ["he", "l", "l", "o"]);
    file.set("tokenizer.ggml.pre", Entry::Text("llama-bpe"));
    assert_eq!(tokens(&tokenizer(&file), "hello"), ["<|im_start|>", "hello"]);
}

#[test]
fn marks_are_put_around_a_text_as_the_file_says() {
    let mut file = File::tiny(Q4_0);
    assert_eq!(tokens(&tokenizer(&file), "he"), ["he"]);
    file.set("tokenizer.ggml.add_bos_token", Entry::Bool(true));
    assert_eq!(tokens(&tokenizer(&file), "he"), ["<|im_start|>", "he"]);
    file.set("tokenizer.ggml.add_eos_token", Entry::Bool(true));
    assert_eq!(tokens(&tokenizer(&file), "he"), ["<|im_start|>", "he", "<|im_end|>"]);
    let pair = tokenizer(&file).encode(("he", "ll"), true).unwrap();
    assert_eq!(pair.get_tokens(), ["<|im_start|>", "he", "<|im_end|>", "<|im_start|>", "ll", "<|im_end|>"]);
}

#[test]
fn what_the_file_names_as_a_mark_is_one_whatever_its_type() {
    let mut file = File::tiny(Q4_0);
    file.set("tokenizer.ggml.token_type", Entry::Integers(vec![1; 265]));
    assert_eq!(tokens(&tokenizer(&file), "<|im_end|>he")[..2], ["<|im_end|>", "he"]);
    assert_ne!(tokens(&tokenizer(&file), "<|endoftext|>he")[0], "<|endoftext|>");
}

#[test]
fn a_vocabulary_of_strange_tokens_still_makes_a_tokenizer() {
    let mut strange: Vec<String> = (0..200).map(|n| format!("{n} \u{0}\"\\ ▁")).collect();
    strange.extend(["", " ", "\n", "\u{10ffff}", "a", "ab"].map(str::to_owned));
    for kind in 1..=6 {
        let mut file = File::tiny(Q4_0);
        file.set("tokenizer.ggml.tokens", Entry::Texts(strange.clone()));
        file.set("tokenizer.ggml.token_type", Entry::Integers(vec![kind; strange.len()]));
        file.set("tokenizer.ggml.merges", Entry::Texts(vec![]));
        let tokenizer = tokenizer(&file);
        assert_eq!(tokenizer.token_to_id("ab"), Some(205));
        assert!(tokenizer.encode("ab 7 \u{0}\"\\ ▁ \n", true).is_ok());
    }
}

#[test]
fn the_configurations_tell_marks_ends_and_templates() {
    let mut file = File::tiny(Q4_0);
    file.set("tokenizer.ggml.padding_token_id", Entry::U32(2));
    let (_, config, generation) = documents(&file).unwrap();
    let expected = json!({
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": 128,
        "clean_up_tokenization_spaces": false,
        "add_bos_token": false,
        "add_eos_token": false,
        "bos_token": "<|im_start|>",
        "eos_token": "<|im_end|>",
        "pad_token": "<|im_end|>",
        "chat_template": "{{ messages[0]['content'] }}",
    });
    assert_eq!(config, expected);
    // The file names one end, the vocabulary has another of a known name.
    assert_eq!(generation, json!({"bos_token_id": 1, "eos_token_id": [2, 0], "pad_token_id": 2}));

    file.set("tokenizer.chat_template.tool_use", Entry::Text("tools"));
    file.set("tokenizer.ggml.eot_token_id", Entry::U32(100));
    let (_, config, generation) = documents(&file).unwrap();
    assert_eq!(config["chat_template"][1], json!({"name": "tool_use", "template": "tools"}));
    assert_eq!(generation["eos_token_id"], json!([2, 100, 0]));
    file.unset("tokenizer.chat_template");
    file.unset("tokenizer.chat_template.tool_use");
    assert_eq!(documents(&file).unwrap().1.get("chat_template"), None);
}

#[test]
fn sentencepiece_joins_by_score_and_falls_back_to_bytes() {
    let tokenizer = tokenizer(&sentencepiece());
    // Joined by rank: `▁h`, then `el` before `lo`, then `▁hel`; and `▁hello` from `▁hel` and `lo`.
    assert_eq!(tokens(&tokenizer, "hello hell"), ["<s>", "▁hello", "▁hel", "l"]);
    assert_eq!(tokens(&tokenizer, "oell"), ["<s>", "▁", "o", "el", "l"]);
    assert_eq!(tokens(&tokenizer, "oé"), ["<s>", "▁", "o", "<0xC3>", "<0xA9>"]);
    assert_eq!(tokens(&tokenizer, "o<|tool|>o</s>"), ["<s>", "▁", "o", "<|tool|>", "▁", "o", "</s>"]);
    for text in ["hello hell", "o  o ", "日本 hello\n", " h"] {
        let ids = tokenizer.encode(text, true).unwrap().get_ids().to_vec();
        assert_eq!(tokenizer.decode(&ids, true).unwrap(), text);
    }
    let mut file = sentencepiece();
    file.set("tokenizer.ggml.add_space_prefix", Entry::Bool(false));
    file.set("tokenizer.ggml.add_bos_token", Entry::Bool(false));
    let plain = self::tokenizer(&file);
    assert_eq!(tokens(&plain, "hello"), ["h", "el", "lo"]);
    assert_eq!(plain.decode(plain.encode(" hello", true).unwrap().get_ids(), true).unwrap(), " hello");
}

#[test]
fn scores_that_do_not_order_merges_are_refused() {
    let count = ROWS as usize;
    refused("has only 1 different numbers for 7 pieces", sentencepiece(), |file| {
        file.set("tokenizer.ggml.scores", Entry::Floats(vec![-1000.0; count]));
    });
    refused("not one finite number for each", sentencepiece(), |file| {
        file.set("tokenizer.ggml.scores", Entry::Floats(vec![-1.0; count - 1]));
    });
    refused("not one finite number for each", sentencepiece(), |file| {
        file.set("tokenizer.ggml.scores", Entry::Floats(vec![f32::NAN; count]));
    });
    refused("lacks tokenizer.ggml.scores", sentencepiece(), |file| file.unset("tokenizer.ggml.scores"));
}

#[test]
fn vocabularies_that_are_not_known_exactly_are_refused_by_name() {
    let tiny = || File::tiny(Q4_0);
    let set = |key: &'static str, value| move |file: &mut File| file.set(key, value);
    let unset = |key: &'static str| move |file: &mut File| file.unset(key);
    refused("tokenizer.ggml.pre is \"deepseek-llm\"", tiny(), set("tokenizer.ggml.pre", Entry::Text("deepseek-llm")));
    refused("lacks tokenizer.ggml.pre", tiny(), unset("tokenizer.ggml.pre"));
    refused("tokenizer.ggml.model is \"t5\"", tiny(), set("tokenizer.ggml.model", Entry::Text("t5")));
    refused("lacks tokenizer.ggml.model", tiny(), unset("tokenizer.ggml.model"));
    refused("sets tokenizer.ggml.new_thing", tiny(), set("tokenizer.ggml.new_thing", Entry::U32(1)));
    refused("sets tokenizer.ggml.add_space_prefix", tiny(), set("tokenizer.ggml.add_space_prefix", Entry::Bool(true)));
    refused("lacks tokenizer.ggml.tokens", tiny(), unset("tokenizer.ggml.tokens"));
    refused("lacks tokenizer.ggml.token_type", tiny(), unset("tokenizer.ggml.token_type"));
    refused("265 tokens, but 3 types", tiny(), set("tokenizer.ggml.token_type", Entry::Integers(vec![1; 3])));
    refused("the unknown type 7", tiny(), set("tokenizer.ggml.token_type", Entry::Integers(vec![7; 265])));
    refused("lacks tokenizer.ggml.merges", tiny(), unset("tokenizer.ggml.merges"));
    refused("lacks tokenizer.ggml.eos_token_id", tiny(), unset("tokenizer.ggml.eos_token_id"));
    refused("eos_token_id is 265, but there are only 265", tiny(), set("tokenizer.ggml.eos_token_id", Entry::U32(265)));
    refused("lacks tokenizer.ggml.bos_token_id", tiny(), |file| {
        file.unset("tokenizer.ggml.bos_token_id");
        file.set("tokenizer.ggml.add_bos_token", Entry::Bool(true));
    });
    for merge in ["h z", "q q", "he", "h", "", " h", "h  e", "\u{10ffff}\u{10ffff}"] {
        refused("does not make one token of two", tiny(), |file| {
            file.set("tokenizer.ggml.merges", Entry::Texts(vec![merge.into()]));
        });
    }
    refused("tokens 0 and 1 are both \"x\"", tiny(), set("tokenizer.ggml.tokens", Entry::Texts(vec!["x".into(); 265])));
    refused("has 273 tokens, but the embedding 272 rows", tiny(), |file| {
        file.set("tokenizer.ggml.tokens", Entry::Texts((0..273).map(|n| n.to_string()).collect()));
        file.set("tokenizer.ggml.token_type", Entry::Integers(vec![1; 273]));
    });
}
