//! Byte-level BPE, `gpt2` in GGUF: merges come with the file, and the way text is cut before them goes by a name.

use serde_json::{Value, json};

use super::{Pieces, absent};
use crate::library::gguf::{GgufError, Metadata};

/// GPT-2's cut, which byte level knows by itself, as a step among others.
const GPT2: &str = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+";

/// How text is cut before merging, by `tokenizer.ggml.pre`.
#[derive(Debug)]
struct Cut {
    names: &'static [&'static str],
    /// Patterns whose matches and the stretches between them are cut apart, one after the other; none is [`GPT2`].
    patterns: &'static [&'static str],
    /// Whether every digit stands alone, before all else.
    digits: bool,
    /// Whether text is brought into Unicode's composed form first.
    compose: bool,
    /// Whether a stretch that is a token needs no merges, and a beginning mark is added where the file does not say:
    /// vocabularies from tiktoken want both.
    tiktoken: bool,
}

/// A cut with GPT-2's manners.
const PLAIN: Cut = Cut { names: &[], patterns: &[], digits: false, compose: false, tiktoken: false };

const CUTS: [Cut; 6] = [
    Cut { names: &["gpt-2"], ..PLAIN },
    Cut { names: &["smollm", "starcoder", "refact"], digits: true, ..PLAIN },
    Cut {
        names: &["llama-bpe", "llama-v3", "llama3"],
        patterns: &[
            r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
        ],
        tiktoken: true,
        ..PLAIN
    },
    Cut {
        names: &["qwen2"],
        patterns: &[
            r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
        ],
        compose: true,
        ..PLAIN
    },
    // Mistral Nemo and its kin.
    Cut {
        names: &["tekken"],
        patterns: &[
            r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+",
        ],
        tiktoken: true,
        ..PLAIN
    },
    // What llama.cpp does with a file whose converter did not know better.
    Cut { names: &["default"], patterns: &[r"[\p{P}\$\+<=>\^~\|]+", GPT2, r"\p{N}+", "[0-9][0-9][0-9]"], ..PLAIN },
];

/// The algorithm of one file.
#[derive(Debug)]
pub(super) struct ByteLevel<'a> {
    cut: &'static Cut,
    pub merges: Vec<(&'a str, &'a str)>,
}

impl<'a> ByteLevel<'a> {
    pub(super) fn read(metadata: &'a Metadata, pieces: &Pieces) -> Result<Self, GgufError> {
        if metadata.bool("tokenizer.ggml.add_space_prefix")?.unwrap_or(false) {
            let text =
                "it sets tokenizer.ggml.add_space_prefix, which no byte-level tokenizer that can be imported has";
            return Err(GgufError::NotSupported(text.into()));
        }
        let merges = metadata.texts("tokenizer.ggml.merges")?.ok_or_else(|| absent("merges"))?;
        let merges = merges.iter().map(|merge| parts(merge, pieces)).collect::<Result<_, _>>()?;
        Ok(Self { cut: cut(metadata)?, merges })
    }

    /// Whether a beginning mark is added where the file does not say.
    pub(super) fn adds_bos(&self) -> bool {
        self.cut.tiktoken
    }

    /// The parts of `tokenizer.json` that differ from a plain BPE's.
    pub(super) fn pipeline(&self) -> Vec<(&'static str, Value)> {
        let byte_level = |own_cut: bool| json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": own_cut});
        let mut steps = Vec::new();
        if self.cut.digits {
            steps.push(json!({"type": "Digits", "individual_digits": true}));
        }
        let split =
            |pattern| json!({"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": false});
        steps.extend(self.cut.patterns.iter().map(split));
        steps.push(byte_level(self.cut.patterns.is_empty()));
        let normalizer = if self.cut.compose { json!({"type": "NFC"}) } else { Value::Null };
        vec![
            ("/normalizer", normalizer),
            ("/pre_tokenizer", json!({"type": "Sequence", "pretokenizers": steps})),
            ("/decoder", byte_level(true)),
            ("/model/ignore_merges", self.cut.tiktoken.into()),
        ]
    }
}

fn cut(metadata: &Metadata) -> Result<&'static Cut, GgufError> {
    let known = || CUTS.iter().flat_map(|cut| cut.names).copied().collect::<Vec<_>>().join(", ");
    let Some(name) = metadata.text("tokenizer.ggml.pre")? else {
        return Err(GgufError::NotSupported(format!(
            "it lacks tokenizer.ggml.pre, as files of before May 2024 do, and so does not say how text is cut: convert \
             the model anew (known: {})",
            known()
        )));
    };
    CUTS.iter().find(|cut| cut.names.contains(&name)).ok_or_else(|| {
        GgufError::NotSupported(format!("its tokenizer.ggml.pre is {name:?}; only these can be imported: {}", known()))
    })
}

/// The two tokens of a merge, which together must be one.
fn parts<'a>(merge: &'a str, pieces: &Pieces) -> Result<(&'a str, &'a str), GgufError> {
    let known = |text: &str| pieces.numbers.contains_key(text);
    // A token may itself be a space.
    let space = merge.char_indices().skip(1).find(|(_, c)| *c == ' ').map(|(at, _)| at);
    let parts = space.map(|at| (&merge[..at], &merge[at + 1..]));
    let sound = |(left, right): &(&str, &str)| known(left) && known(right) && known(&format!("{left}{right}"));
    parts.filter(sound).ok_or_else(|| GgufError::Damaged(format!("the merge {merge:?} does not make one token of two")))
}
