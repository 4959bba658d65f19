//! The vocabulary of a GGUF file as the files of a Hugging Face tokenizer.
//!
//! Token numbers never change. A pre-tokenizer or a kind of vocabulary that is not known exactly is refused by name:
//! a model whose text is cut differently than in its training answers worse, and nobody would see why.

mod byte_level;
mod marks;
mod sentencepiece;

use std::collections::HashMap;

use serde_json::{Map, Value, json};

use crate::library::gguf::{GgufError, Metadata};
use byte_level::ByteLevel;
use marks::Marks;
use sentencepiece::SentencePiece;

/// Keys below `tokenizer.ggml.` that are carried over, or that have no part in making tokens of a prompt.
const KEYS: [&str; 25] = [
    "model",
    "pre",
    "tokens",
    "token_type",
    "token_type_count",
    "scores",
    "merges",
    "bos_token_id",
    "eos_token_id",
    "eot_token_id",
    "eom_token_id",
    "unknown_token_id",
    "padding_token_id",
    "seperator_token_id",
    "separator_token_id",
    "cls_token_id",
    "mask_token_id",
    "add_bos_token",
    "add_eos_token",
    "add_sep_token",
    "add_space_prefix",
    "fim_pre_token_id",
    "fim_suf_token_id",
    "fim_mid_token_id",
    "fim_pad_token_id",
];

/// The vocabulary of a file, checked.
#[derive(Debug)]
pub(super) struct Vocabulary<'a> {
    pieces: Pieces<'a>,
    algorithm: Algorithm<'a>,
    marks: Marks,
    /// Chat templates by name; the nameless one is `default`.
    templates: Vec<(String, &'a str)>,
}

/// The tokens: what each is and says.
#[derive(Debug)]
struct Pieces<'a> {
    texts: &'a [String],
    numbers: HashMap<&'a str, u32>,
    kinds: Vec<Kind>,
}

/// What a token is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// A piece of text.
    Normal,
    /// A mark that no text contains.
    Special,
    /// A text that is one token wherever it stands.
    Whole,
    /// A byte of a character without a token.
    Byte,
    /// Never produced.
    Unused,
}

/// How text becomes tokens.
#[derive(Debug)]
enum Algorithm<'a> {
    ByteLevel(ByteLevel<'a>),
    SentencePiece(SentencePiece<'a>),
}

impl<'a> Vocabulary<'a> {
    /// Reads the vocabulary of a model whose embedding has `rows`.
    pub(super) fn read(metadata: &'a Metadata, rows: u64) -> Result<Self, GgufError> {
        refuse_unknown_keys(metadata)?;
        let mut pieces = Pieces::read(metadata)?;
        if pieces.texts.len() as u64 > rows {
            let text = format!("the vocabulary has {} tokens, but the embedding {rows} rows", pieces.texts.len());
            return Err(GgufError::Damaged(text));
        }
        let (algorithm, marks) = match metadata.text("tokenizer.ggml.model")?.ok_or_else(|| absent("model"))? {
            "gpt2" => {
                let byte_level = ByteLevel::read(metadata, &pieces)?;
                let marks = Marks::read(metadata, &mut pieces, [None; 3], byte_level.adds_bos())?;
                (Algorithm::ByteLevel(byte_level), marks)
            }
            "llama" => {
                // SentencePiece's own numbers hold where a file names none.
                let marks = Marks::read(metadata, &mut pieces, [Some(0), Some(1), Some(2)], true)?;
                (Algorithm::SentencePiece(SentencePiece::read(metadata, &pieces)?), marks)
            }
            other => {
                return Err(GgufError::NotSupported(format!(
                    "its tokenizer.ggml.model is {other:?}; only \"gpt2\" (byte-level BPE) and \"llama\" \
                     (SentencePiece BPE) can be imported"
                )));
            }
        };
        Ok(Self { pieces, algorithm, marks, templates: templates(metadata)? })
    }

    /// The vocabulary's part of `config.json`.
    pub(super) fn ids(&self) -> Map<String, Value> {
        let ids = [
            ("bos_token_id", self.marks.bos),
            ("eos_token_id", Some(self.marks.eos)),
            ("pad_token_id", self.marks.padding),
        ];
        ids.into_iter().filter_map(|(name, id)| Some((name.to_owned(), id?.into()))).collect()
    }

    /// `generation_config.json`: all tokens that end an answer.
    pub(super) fn generation_config(&self) -> Value {
        let mut config = self.ids();
        config.insert("eos_token_id".into(), json!(self.marks.ends));
        config.into()
    }

    /// `tokenizer_config.json`, for a model of that context length.
    pub(super) fn tokenizer_config(&self, context: u64) -> Value {
        let mut config = Map::new();
        config.insert("tokenizer_class".into(), "PreTrainedTokenizerFast".into());
        config.insert("model_max_length".into(), context.into());
        config.insert("clean_up_tokenization_spaces".into(), false.into());
        config.insert("add_bos_token".into(), self.marks.bos_first.into());
        config.insert("add_eos_token".into(), self.marks.eos_last.into());
        let marks = [
            ("bos_token", self.marks.bos),
            ("eos_token", Some(self.marks.eos)),
            ("unk_token", self.marks.unknown),
            ("pad_token", self.marks.padding),
        ];
        for (name, id) in marks {
            if let Some(id) = id {
                config.insert(name.into(), self.pieces.text(id).into());
            }
        }
        match self.templates.as_slice() {
            [] => {}
            [(name, template)] if name == "default" => {
                config.insert("chat_template".into(), (*template).into());
            }
            several => {
                let several = several.iter().map(|(name, template)| json!({"name": name, "template": template}));
                config.insert("chat_template".into(), several.collect());
            }
        }
        config.into()
    }

    /// `tokenizer.json`, tried out.
    pub(super) fn tokenizer(&self) -> Result<Vec<u8>, GgufError> {
        let vocab: Map<String, Value> =
            self.pieces.texts.iter().zip(0..).map(|(text, id)| (text.clone(), json!(id))).collect();
        let (pipeline, merges) = match &self.algorithm {
            Algorithm::ByteLevel(byte_level) => (byte_level.pipeline(), &byte_level.merges),
            Algorithm::SentencePiece(piece) => {
                (piece.pipeline(self.marks.unknown.map(|id| self.pieces.text(id))), &piece.merges)
            }
        };
        let mut tokenizer = json!({
            "version": "1.0",
            "truncation": null,
            "padding": null,
            "added_tokens": self.pieces.added(),
            "normalizer": null,
            "pre_tokenizer": null,
            "post_processor": self.marks.post_processor(&self.pieces),
            "decoder": null,
            "model": {
                "type": "BPE",
                "dropout": null,
                "unk_token": null,
                "continuing_subword_prefix": null,
                "end_of_word_suffix": null,
                "fuse_unk": false,
                "byte_fallback": false,
                "ignore_merges": false,
            },
        });
        for (path, value) in pipeline {
            *tokenizer.pointer_mut(path).expect("the pipeline sets parts that stand above") = value;
        }
        tokenizer["model"]["vocab"] = vocab.into();
        tokenizer["model"]["merges"] = json!(merges);
        let bytes = tokenizer.to_string().into_bytes();
        match tokenizers::Tokenizer::from_bytes(&bytes) {
            Ok(_) => Ok(bytes),
            Err(error) => Err(GgufError::Damaged(format!("its vocabulary makes no tokenizer ({error})"))),
        }
    }
}

impl<'a> Pieces<'a> {
    fn read(metadata: &'a Metadata) -> Result<Self, GgufError> {
        let texts = metadata.texts("tokenizer.ggml.tokens")?.ok_or_else(|| absent("tokens"))?;
        let mut numbers = HashMap::with_capacity(texts.len());
        for (text, number) in texts.iter().zip(0_u32..) {
            if let Some(other) = numbers.insert(text.as_str(), number) {
                return Err(GgufError::Damaged(format!("tokens {other} and {number} are both {text:?}")));
            }
        }
        let kinds = metadata.integers("tokenizer.ggml.token_type")?.ok_or_else(|| absent("token_type"))?;
        if kinds.len() != texts.len() {
            let text = format!("there are {} tokens, but {} types of tokens", texts.len(), kinds.len());
            return Err(GgufError::Damaged(text));
        }
        let kinds = kinds.iter().map(|kind| match kind {
            1 => Ok(Kind::Normal),
            2 | 3 => Ok(Kind::Special),
            4 => Ok(Kind::Whole),
            5 => Ok(Kind::Unused),
            6 => Ok(Kind::Byte),
            other => Err(GgufError::Damaged(format!("tokenizer.ggml.token_type has the unknown type {other}"))),
        });
        Ok(Self { texts, numbers, kinds: kinds.collect::<Result<_, _>>()? })
    }

    fn text(&self, id: u32) -> &'a str {
        &self.texts[id as usize]
    }

    /// `added_tokens`: those that are found in a text before it is cut.
    fn added(&self) -> Vec<Value> {
        let all = self.texts.iter().zip(&self.kinds).zip(0..);
        let added = all.filter(|((_, kind), _)| matches!(kind, Kind::Special | Kind::Whole));
        added
            .map(|((text, kind), id)| {
                json!({
                    "id": id,
                    "content": text,
                    "single_word": false,
                    "lstrip": false,
                    "rstrip": false,
                    "normalized": false,
                    "special": *kind == Kind::Special,
                })
            })
            .collect()
    }
}

fn refuse_unknown_keys(metadata: &Metadata) -> Result<(), GgufError> {
    let unknown = |key: &&str| key.strip_prefix("tokenizer.ggml.").is_some_and(|key| !KEYS.contains(&key));
    metadata.keys().filter(unknown).min().map_or(Ok(()), |key| {
        Err(GgufError::NotSupported(format!("it sets {key}, which no tokenizer that can be imported has")))
    })
}

fn templates(metadata: &Metadata) -> Result<Vec<(String, &str)>, GgufError> {
    let mut templates = Vec::new();
    if let Some(template) = metadata.text("tokenizer.chat_template")? {
        templates.push(("default".to_owned(), template));
    }
    let mut named: Vec<&str> = metadata.keys().filter_map(|key| key.strip_prefix("tokenizer.chat_template.")).collect();
    named.sort_unstable();
    for name in named {
        if let Some(template) = metadata.text(&format!("tokenizer.chat_template.{name}"))? {
            templates.push((name.to_owned(), template));
        }
    }
    Ok(templates)
}

fn absent(key: &str) -> GgufError {
    GgufError::Damaged(format!("the metadata lacks tokenizer.ggml.{key}"))
}

#[cfg(test)]
#[path = "tokenizer_tests.rs"]
mod tests;
