//! The tokenizer of one model: text to token numbers, and one token back to what a decoder makes of it.
//!
//! Never hands out a token the model's vocabulary has no row for. Called by `TextModel` and `Detokenizer`.

mod pieces;

use std::path::Path;

use tokenizers::{DecoderWrapper, Model};

use self::pieces::Pieces;
use super::error::TextError;
use super::folder::{broken, bytes};

/// The largest real files have about 35 MB.
const TOKENIZER_BYTES: u64 = 256 << 20;

/// Longest run of white space in a text. On runs of about a million the regular expressions of most tokenizers give up,
/// and some tokenizers then leave the rest of the text out without a word.
const WHITE_SPACE_BYTES: usize = 100_000;

/// Whether the tokenizer adds the special tokens of its post-processor.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum SpecialTokens {
    /// Only those that stand in the text.
    AsWritten,
    /// Those too that begin and end a text.
    Add,
}

/// How tokens become text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Decoding {
    /// Each token is bytes; the text is the bytes of all of them.
    ByteLevel,
    /// Each token is whole characters, except `<0x00>` to `<0xFF>`, which are single bytes where the flag is set.
    Pieces {
        /// Whether those are bytes.
        byte_fallback: bool,
    },
}

/// One model's tokenizer.
#[derive(Debug)]
pub(super) struct Tokenizer {
    inner: tokenizers::Tokenizer,
    pieces: Pieces,
    vocab_size: Option<u32>,
    decoding: Decoding,
}

impl Tokenizer {
    /// Reads `tokenizer.json` and holds it against the size of the model's vocabulary.
    pub(super) fn open(path: &Path, vocab_size: Option<u32>) -> Result<Self, TextError> {
        let bytes = bytes(path, TOKENIZER_BYTES)?.ok_or_else(|| TextError::Missing(path.to_owned()))?;
        let mut inner = tokenizers::Tokenizer::from_bytes(bytes).map_err(|error| broken(path, &error))?;
        // Left over from training in some files; they would cut prompts and fill them up.
        inner.with_truncation(None).map_err(|error| broken(path, &error))?;
        inner.with_padding(None);
        // What each thread would keep of every word outlives the prompt, and the model too.
        let mut model = inner.get_model().clone();
        model.resize_cache(0);
        inner.with_model(model);
        let decoding = decoding(inner.get_decoder()).ok_or_else(|| TextError::NotSupported {
            path: path.to_owned(),
            problem: "unknown kind of decoder".into(),
        })?;
        let pieces = Pieces::of(inner.get_added_vocabulary());
        let tokenizer = Self { inner, pieces, vocab_size, decoding };
        tokenizer.check_vocabulary(path)?;
        Ok(tokenizer)
    }

    /// Added tokens are left to `encode`: some models carry a few that they have no row for and never use.
    fn check_vocabulary(&self, path: &Path) -> Result<(), TextError> {
        let Some(vocab_size) = self.vocab_size else { return Ok(()) };
        let highest = self.inner.get_vocab(false).into_iter().max_by_key(|(_, id)| *id);
        match highest {
            Some((token, id)) if id >= vocab_size => Err(broken(
                path,
                &format!(
                    "the tokenizer does not match the vocabulary: token {id} ({token:?}) is not below the vocab_size \
                     of {vocab_size} in config.json"
                ),
            )),
            _ => Ok(()),
        }
    }

    /// The tokens of a text.
    pub(super) fn encode(&self, text: &str, special: SpecialTokens) -> Result<Vec<u32>, TextError> {
        if text.split(|c: char| !c.is_whitespace()).any(|run| run.len() > WHITE_SPACE_BYTES) {
            return Err(TextError::Chat(format!(
                "the prompt has more than {WHITE_SPACE_BYTES} bytes of white space in a row"
            )));
        }
        let ids = match special {
            SpecialTokens::Add => self.ids(text, special)?,
            SpecialTokens::AsWritten => self.pieces.encode(text, |piece| self.ids(piece, special))?,
        };
        if let Some(size) = self.vocab_size
            && let Some(id) = ids.iter().find(|id| **id >= size)
        {
            let token = self.inner.id_to_token(*id).unwrap_or_default();
            return Err(TextError::Chat(format!(
                "the prompt has token {id} ({token:?}), but the model's vocabulary ends at {size}"
            )));
        }
        Ok(ids)
    }

    fn ids(&self, text: &str, special: SpecialTokens) -> Result<Vec<u32>, TextError> {
        let encoding = self.inner.encode_fast(text, special == SpecialTokens::Add);
        let encoding = encoding.map_err(|error| TextError::Chat(format!("the tokenizer refuses the text: {error}")))?;
        Ok(encoding.get_ids().to_vec())
    }

    /// The text of tokens, special ones skipped.
    pub(super) fn decode(&self, ids: &[u32]) -> String {
        // One of the library's decoders cannot take nothing.
        if !ids.iter().any(|id| self.shown(*id).is_some()) {
            return String::new();
        }
        // The decoders that fail are those that `decoding` refuses.
        self.inner.decode(ids, true).unwrap_or_default()
    }

    /// The token that a text is as a whole.
    pub(super) fn id(&self, token: &str) -> Option<u32> {
        self.inner.token_to_id(token)
    }

    /// The special token that a text is as a whole.
    pub(super) fn special_id(&self, token: &str) -> Option<u32> {
        self.id(token).filter(|id| self.shown(*id).is_none())
    }

    /// A token as its decoder is given it; `None` if it is special or unknown, so that it shows nothing.
    pub(super) fn shown(&self, id: u32) -> Option<String> {
        let added = self.inner.get_added_vocabulary();
        let token = added.simple_id_to_token(id).or_else(|| self.inner.get_model().id_to_token(id))?;
        (!added.is_special_token(&token)).then_some(token)
    }

    /// How tokens become text.
    pub(super) fn decoding(&self) -> Decoding {
        self.decoding
    }
}

/// `None` for decoders that split characters in a way of their own.
fn decoding(decoder: Option<&DecoderWrapper>) -> Option<Decoding> {
    let steps = match decoder {
        Some(DecoderWrapper::Sequence(sequence)) => sequence.get_decoders(),
        Some(one) => std::slice::from_ref(one),
        None => &[],
    };
    let byte_fallback = steps.iter().any(|step| matches!(step, DecoderWrapper::ByteFallback(_)));
    match steps {
        [DecoderWrapper::ByteLevel(_)] | [DecoderWrapper::ByteLevel(_), DecoderWrapper::Fuse(_)] => {
            Some(Decoding::ByteLevel)
        }
        _ if steps.iter().any(unknown) => None,
        _ => Some(Decoding::Pieces { byte_fallback }),
    }
}

fn unknown(step: &DecoderWrapper) -> bool {
    match step {
        DecoderWrapper::ByteLevel(_) | DecoderWrapper::CTC(_) | DecoderWrapper::Sequence(_) => true,
        // The library indexes out of bounds on a text shorter than what it strips from the end.
        DecoderWrapper::Strip(strip) => strip.stop > 0,
        _ => false,
    }
}
