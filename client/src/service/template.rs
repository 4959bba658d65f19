//! The files of `launchd/` and their markers (`@NAME@`): filled in, and read back.
//!
//! Reading back is how `status` knows what an installed file says, and that it is of this version: everything between
//! the markers must be the same. Escapes are the business of the managers.

/// A file with markers.
#[derive(Debug, Clone, Copy)]
pub struct Template(pub &'static str);

impl Template {
    /// With each marker replaced. A marker without a value stays, and is found by the tests.
    pub fn fill(self, values: &[(&str, &str)]) -> String {
        let value = |name: &str| values.iter().find(|(known, _)| *known == name).map(|(_, value)| *value);
        let mut filled = String::new();
        for (text, marker) in self.parts() {
            filled += text;
            match marker.map(|name| (name, value(name))) {
                Some((_, Some(value))) => filled += value,
                Some((name, None)) => filled.extend(["@", name, "@"]),
                None => {}
            }
        }
        filled
    }

    /// The values in a file that was filled in from this; `None` when it differs elsewhere.
    pub fn read(self, filled: &str) -> Option<Vec<(&'static str, &str)>> {
        let parts = self.parts();
        let mut rest = filled.strip_prefix(parts.first()?.0)?;
        let mut values = Vec::new();
        for pair in parts.windows(2) {
            let (name, following) = (pair[0].1?, pair[1].0);
            let last = pair[1].1.is_none();
            let (value, behind) = if last { (rest.strip_suffix(following)?, "") } else { rest.split_once(following)? };
            values.push((name, value));
            rest = behind;
        }
        rest.is_empty().then_some(values)
    }

    /// Text and the marker behind it; the last has none.
    fn parts(self) -> Vec<(&'static str, Option<&'static str>)> {
        let mut pieces = self.0.split('@');
        let mut parts = Vec::new();
        while let Some(text) = pieces.next() {
            parts.push((text, pieces.next()));
        }
        parts
    }
}

#[cfg(test)]
#[path = "template_tests.rs"]
mod tests;
