//! Finds stop sequences in text that arrives in pieces.
//!
//! Never shows a part of a stop sequence, and holds back only what may still become one. Called by the local provider,
//! behind the detokenizer, once per request.

/// Watches one answer.
///
/// The sequence that is complete first wins, as if the model had stopped at that very character; of several complete
/// at the same character, the longest. How the text is cut into pieces changes nothing.
#[derive(Debug, Clone)]
pub struct StopMatcher {
    stops: Vec<Stop>,
    /// The end of the text so far, as far as it is the beginning of a stop sequence.
    held: String,
    hit: bool,
}

/// What one piece of text brings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StopPiece {
    /// Safe to show.
    pub text: String,
    /// The stop sequence that ends the answer here.
    pub hit: Option<String>,
}

/// One sequence and how much of it the end of the text matches (Knuth, Morris, Pratt).
#[derive(Debug, Clone)]
struct Stop {
    sequence: String,
    /// At `i`: how many of the first `i + 1` bytes remain matched, at most, once the next byte fails to match.
    shorter: Vec<usize>,
    matched: usize,
}

impl StopMatcher {
    /// Looks for these sequences; empty ones are never found.
    pub fn new(sequences: Vec<String>) -> Self {
        let stops = sequences.into_iter().filter(|sequence| !sequence.is_empty()).map(Stop::new).collect();
        Self { stops, held: String::new(), hit: false }
    }

    /// Takes the next piece of text. After a hit everything is swallowed.
    pub fn push(&mut self, piece: impl Into<String>) -> StopPiece {
        let piece = piece.into();
        if self.stops.is_empty() {
            return StopPiece { text: piece, hit: None };
        }
        if self.hit {
            return StopPiece { text: String::new(), hit: None };
        }
        for (index, byte) in piece.bytes().enumerate() {
            for stop in &mut self.stops {
                stop.advance(byte);
            }
            let complete = self.stops.iter().filter(|stop| stop.is_complete());
            if let Some(stop) = complete.max_by_key(|stop| stop.matched) {
                self.hit = true;
                let hit = stop.sequence.clone();
                let mut text = std::mem::take(&mut self.held) + &piece[..=index];
                text.truncate(text.len() - hit.len());
                return StopPiece { text, hit: Some(hit) };
            }
        }
        let mut text = std::mem::take(&mut self.held) + &piece;
        let matched = self.stops.iter().map(|stop| stop.matched).max().unwrap_or(0);
        self.held = text.split_off(text.len() - matched);
        StopPiece { text, hit: None }
    }

    /// The text held back at the end of the answer: no stop sequence came of it.
    pub fn finish(&mut self) -> String {
        std::mem::take(&mut self.held)
    }
}

impl Stop {
    fn new(sequence: String) -> Self {
        let bytes = sequence.as_bytes();
        let mut shorter = vec![0; bytes.len()];
        for index in 1..bytes.len() {
            shorter[index] = next(bytes, &shorter, shorter[index - 1], bytes[index]);
        }
        Self { sequence, shorter, matched: 0 }
    }

    fn advance(&mut self, byte: u8) {
        self.matched = next(self.sequence.as_bytes(), &self.shorter, self.matched, byte);
    }

    fn is_complete(&self) -> bool {
        self.matched == self.sequence.len()
    }
}

/// How much is matched after `byte` where `matched` bytes, not all, were matched before.
fn next(sequence: &[u8], shorter: &[usize], mut matched: usize, byte: u8) -> usize {
    while matched > 0 && sequence[matched] != byte {
        matched = shorter[matched - 1];
    }
    matched + usize::from(sequence[matched] == byte)
}

#[cfg(test)]
#[path = "stop_tests.rs"]
mod tests;
