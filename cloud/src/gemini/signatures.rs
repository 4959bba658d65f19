//! Signatures of the thoughts behind calls of tools: Gemini wants them back with the calls, and our calls have no place
//! for them.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

/// Most that are kept; the oldest go first.
const MOST: usize = 256;

/// Longest that is kept, in bytes; they have some hundreds.
const LONGEST: usize = 64 << 10;

/// By the id of the call, as far back as is likely to be asked for again. Held for one look at a time.
#[derive(Debug, Default)]
pub(crate) struct Signatures(Mutex<VecDeque<(String, String)>>);

impl Signatures {
    /// Keeps the signature of a call.
    pub(super) fn keep(&self, id: &str, signature: String) {
        if signature.len() > LONGEST || id.len() > LONGEST {
            return;
        }
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() >= MOST {
            kept.pop_front();
        }
        kept.push_back((id.to_owned(), signature));
    }

    /// The signature of a call, the latest of that id.
    pub(super) fn of(&self, id: &str) -> Option<String> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.iter().rev().find(|(known, _)| known == id).map(|(_, signature)| signature.clone())
    }
}
