//! The tokens with a part of their own: where a text begins, where an answer ends, what stands for the unknown.

use serde_json::{Value, json};

use super::{Kind, Pieces, absent};
use crate::library::gguf::{GgufError, Metadata};

/// Control tokens that end a turn or a text whatever model has them; files often name only one of several.
const ENDS: [&str; 5] = ["<|eot_id|>", "<|eom_id|>", "<|im_end|>", "<|endoftext|>", "<|end_of_text|>"];

/// Tokens with a part of their own, and which of them are put around a prompt.
#[derive(Debug)]
pub(super) struct Marks {
    pub unknown: Option<u32>,
    pub bos: Option<u32>,
    pub eos: u32,
    pub padding: Option<u32>,
    /// Tokens that end an answer, the file's own first.
    pub ends: Vec<u32>,
    /// Whether a text begins with the one.
    pub bos_first: bool,
    /// Whether a text ends with the other.
    pub eos_last: bool,
}

impl Marks {
    /// Reads them and makes them special. `defaults` are unknown, bos and eos where the file names none.
    pub(super) fn read(
        metadata: &Metadata,
        pieces: &mut Pieces,
        defaults: [Option<u32>; 3],
        bos_by_default: bool,
    ) -> Result<Self, GgufError> {
        let count = pieces.texts.len();
        let id = |name| named(metadata, name, count);
        let [unknown, bos, eos] = defaults.map(|default| default.filter(|id| (*id as usize) < count));
        let (unknown, bos, eos) = (id("unknown")?.or(unknown), id("bos")?.or(bos), id("eos")?.or(eos));
        let eos = eos.ok_or_else(|| absent("eos_token_id"))?;
        let (padding, eot, eom) = (id("padding")?, id("eot")?, id("eom")?);
        for special in [unknown, bos, Some(eos), padding, eot, eom].into_iter().flatten() {
            pieces.kinds[special as usize] = Kind::Special;
        }
        let known = ENDS.iter().filter_map(|end| pieces.numbers.get(end).copied());
        let known = known.filter(|end| pieces.kinds[*end as usize] == Kind::Special);
        let mut ends = vec![eos];
        for end in [eot, eom].into_iter().flatten().chain(known) {
            if !ends.contains(&end) {
                ends.push(end);
            }
        }
        let bos_first = metadata.bool("tokenizer.ggml.add_bos_token")?.unwrap_or(bos_by_default);
        if bos_first && bos.is_none() {
            return Err(absent("bos_token_id"));
        }
        let eos_last = metadata.bool("tokenizer.ggml.add_eos_token")?.unwrap_or(false);
        Ok(Self { unknown, bos, eos, padding, ends, bos_first, eos_last })
    }

    /// `post_processor`: puts the marks around each text.
    pub(super) fn post_processor(&self, pieces: &Pieces) -> Value {
        let before = self.bos.filter(|_| self.bos_first);
        let after = Some(self.eos).filter(|_| self.eos_last);
        if before.is_none() && after.is_none() {
            return Value::Null;
        }
        let around = |name: &str, kind: u32| {
            let mark = |id: u32| json!({"SpecialToken": {"id": pieces.text(id), "type_id": kind}});
            let text = json!({"Sequence": {"id": name, "type_id": kind}});
            before.map(mark).into_iter().chain([text]).chain(after.map(mark)).collect::<Vec<_>>()
        };
        let marks = before.into_iter().chain(after).map(|id| {
            let text = pieces.text(id);
            (text.to_owned(), json!({"id": text, "ids": [id], "tokens": [text]}))
        });
        json!({
            "type": "TemplateProcessing",
            "single": around("A", 0),
            "pair": ([around("A", 0), around("B", 1)].concat()),
            "special_tokens": marks.collect::<serde_json::Map<_, _>>(),
        })
    }
}

/// The token that a key names, which must exist.
fn named(metadata: &Metadata, name: &str, count: usize) -> Result<Option<u32>, GgufError> {
    let key = format!("tokenizer.ggml.{name}_token_id");
    let Some(id) = metadata.unsigned(&key)? else { return Ok(None) };
    if id < count as u64 {
        return Ok(Some(id as u32));
    }
    Err(GgufError::Damaged(format!("{key} is {id}, but there are only {count} tokens")))
}
