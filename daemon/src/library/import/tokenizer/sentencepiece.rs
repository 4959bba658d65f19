//! BPE as sentencepiece does it, `llama` in GGUF: the file has a score for each piece, from which the merges follow.
//!
//! The library joins the neighbours whose whole has the highest score. As a list of merges: every way to divide a
//! piece in two pieces, by the score of the whole. That is how the published tokenizers of Llama 2 and Mistral were
//! made, too.

use std::collections::HashSet;

use serde_json::{Value, json};

use super::{Kind, Pieces, absent};
use crate::library::gguf::{GgufError, Metadata};

/// The algorithm of one file.
#[derive(Debug)]
pub(super) struct SentencePiece<'a> {
    space_prefix: bool,
    byte_fallback: bool,
    pub merges: Vec<(&'a str, &'a str)>,
}

/// One way to make a piece.
struct Merge<'a> {
    score: f32,
    whole: u32,
    parts: [u32; 2],
    texts: (&'a str, &'a str),
}

impl<'a> SentencePiece<'a> {
    pub(super) fn read(metadata: &Metadata, pieces: &Pieces<'a>) -> Result<Self, GgufError> {
        let scores = metadata.floats("tokenizer.ggml.scores")?.ok_or_else(|| absent("scores"))?;
        if scores.len() != pieces.texts.len() || scores.iter().any(|score| !score.is_finite()) {
            let text = "tokenizer.ggml.scores is not one finite number for each token";
            return Err(GgufError::Damaged(text.into()));
        }
        Ok(Self {
            space_prefix: metadata.bool("tokenizer.ggml.add_space_prefix")?.unwrap_or(true),
            byte_fallback: pieces.kinds.contains(&Kind::Byte),
            merges: merges(pieces, scores)?,
        })
    }

    /// The parts of `tokenizer.json` that differ from a plain BPE's.
    pub(super) fn pipeline(&self, unknown: Option<&str>) -> Vec<(&'static str, Value)> {
        let mut before = vec![json!({"type": "Replace", "pattern": {"String": " "}, "content": "▁"})];
        let mut after = vec![
            json!({"type": "Replace", "pattern": {"String": "▁"}, "content": " "}),
            json!({"type": "ByteFallback"}),
            json!({"type": "Fuse"}),
        ];
        if self.space_prefix {
            before.insert(0, json!({"type": "Prepend", "prepend": "▁"}));
            after.push(json!({"type": "Strip", "content": " ", "start": 1, "stop": 0}));
        }
        vec![
            ("/normalizer", json!({"type": "Sequence", "normalizers": before})),
            ("/decoder", json!({"type": "Sequence", "decoders": after})),
            ("/model/unk_token", json!(unknown)),
            ("/model/fuse_unk", true.into()),
            ("/model/byte_fallback", self.byte_fallback.into()),
        ]
    }
}

/// All merges, the first to be tried first.
fn merges<'a>(pieces: &Pieces<'a>, scores: &[f32]) -> Result<Vec<(&'a str, &'a str)>, GgufError> {
    let piece = |text: &str| {
        let number = pieces.numbers.get(text).copied();
        number.filter(|number| pieces.kinds[*number as usize] == Kind::Normal)
    };
    let mut merges = Vec::new();
    let mut wholes = 0;
    for (text, whole) in pieces.texts.iter().zip(0_u32..).filter(|(text, _)| piece(text).is_some()) {
        let before = merges.len();
        for (at, _) in text.char_indices().skip(1) {
            let texts = text.split_at(at);
            if let (Some(left), Some(right)) = (piece(texts.0), piece(texts.1)) {
                merges.push(Merge { score: scores[whole as usize], whole, parts: [left, right], texts });
            }
        }
        wholes += usize::from(merges.len() > before);
    }
    refuse_alike(&merges, wholes)?;
    merges.sort_by(|a, b| b.score.total_cmp(&a.score).then_with(|| (a.whole, a.parts).cmp(&(b.whole, b.parts))));
    Ok(merges.into_iter().map(|merge| merge.texts).collect())
}

/// Some converters write one score for all pieces: the order of merges is then lost.
fn refuse_alike(merges: &[Merge], wholes: usize) -> Result<(), GgufError> {
    let different: HashSet<u32> = merges.iter().map(|merge| merge.score.to_bits()).collect();
    if different.len() * 2 >= wholes {
        return Ok(());
    }
    Err(GgufError::NotSupported(format!(
        "tokenizer.ggml.scores has only {} different numbers for {wholes} pieces, so the order of merges is lost: \
         convert the model anew, from its tokenizer.model",
        different.len()
    )))
}
