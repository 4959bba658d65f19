//! Looks at JSON without decoding it, in memory that does not grow with what a client sent.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, SeqAccess, Visitor};
use serde_json::value::RawValue;

/// Deepest nesting of a message. `serde_json` decodes 127 levels; one more is added when `params` becomes an array.
pub(super) const MAX_DEPTH: usize = 126;

/// Whether brackets are nested deeper than [`MAX_DEPTH`]. The text need not be JSON.
///
/// `serde_json` skips values of any depth without recursion, so depth could not overflow the stack; but such a value
/// would be refused only where it is decoded, and passed on where it is not.
pub(super) fn is_too_deep(text: &str) -> bool {
    let mut depth = 0_usize;
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth = depth.saturating_sub(1),
            b'"' => skip_string(&mut bytes),
            _ => {}
        }
        if depth > MAX_DEPTH {
            return true;
        }
    }
    false
}

fn skip_string(bytes: &mut std::str::Bytes<'_>) {
    while let Some(byte) = bytes.next() {
        match byte {
            b'"' => return,
            b'\\' => _ = bytes.next(),
            _ => {}
        }
    }
}

/// The first elements of an array.
#[derive(Debug)]
pub(super) struct Elements<'a> {
    /// As many as asked for, if there are so many.
    pub(super) first: Vec<&'a RawValue>,
    /// How many there are in all.
    pub(super) count: usize,
}

/// Splits an array, keeping its first `most` elements.
pub(super) fn elements(array: &str, most: usize) -> serde_json::Result<Elements<'_>> {
    let mut deserializer = serde_json::Deserializer::from_str(array);
    let elements = Most(most).deserialize(&mut deserializer)?;
    deserializer.end()?;
    Ok(elements)
}

struct Most(usize);

impl<'de> DeserializeSeed<'de> for Most {
    type Value = Elements<'de>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Most {
    type Value = Elements<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut array: A) -> Result<Self::Value, A::Error> {
        let mut elements = Elements { first: Vec::new(), count: 0 };
        while elements.count < self.0 {
            let Some(element) = array.next_element()? else { return Ok(elements) };
            elements.first.push(element);
            elements.count += 1;
        }
        while array.next_element::<IgnoredAny>()?.is_some() {
            elements.count += 1;
        }
        Ok(elements)
    }
}

#[cfg(test)]
#[path = "json_tests.rs"]
mod tests;
