//! The `tojson` filter as `transformers` has it: Python's `json.dumps`, which unlike Jinja's own escapes no HTML.
//!
//! Pays fuel for what it writes. Called by templates.

use std::fmt::Write;

use minijinja::value::{Kwargs, Rest, Value, ValueKind};
use minijinja::{Error, ErrorKind, State};

/// Python stops at about a thousand; no schema comes near this.
const DEPTH: usize = 100;

/// How the JSON is laid out.
struct Layout {
    ensure_ascii: bool,
    /// One level of indentation; `None` writes one line.
    indent: Option<String>,
    item_separator: String,
    key_separator: String,
    sort_keys: bool,
}

/// `value | tojson(ensure_ascii=false, indent=none, separators=none, sort_keys=false)`.
#[expect(clippy::needless_pass_by_value, reason = "the template engine hands these over by value")]
pub(super) fn tojson(state: &mut State, value: &Value, positional: Rest<Value>, named: Kwargs) -> Result<Value, Error> {
    let layout = Layout::of(&positional, &named)?;
    named.assert_all_used()?;
    let mut writer = Writer { state, layout, text: String::new(), paid: 0 };
    writer.value(value, 0)?;
    Ok(Value::from(writer.text))
}

impl Layout {
    fn of(positional: &[Value], named: &Kwargs) -> Result<Self, Error> {
        let argument = |index: usize, name: &str| -> Result<Option<Value>, Error> {
            let named = named.get::<Option<Value>>(name)?;
            Ok(positional.get(index).cloned().or(named).filter(|value| !value.is_none()))
        };
        let ensure_ascii = argument(0, "ensure_ascii")?.is_some_and(|value| value.is_true());
        let indent = argument(1, "indent")?.map(indentation).transpose()?;
        let (item_separator, key_separator) = match argument(2, "separators")? {
            Some(pair) => (pair.get_item_by_index(0)?.to_string(), pair.get_item_by_index(1)?.to_string()),
            None if indent.is_some() => (",".into(), ": ".into()),
            None => (", ".into(), ": ".into()),
        };
        let sort_keys = argument(3, "sort_keys")?.is_some_and(|value| value.is_true());
        Ok(Self { ensure_ascii, indent, item_separator, key_separator, sort_keys })
    }
}

/// A number of spaces, or the text itself.
fn indentation(indent: Value) -> Result<String, Error> {
    if let Some(text) = indent.as_str() {
        return Ok(text.to_owned());
    }
    let spaces = i64::try_from(indent)?.clamp(0, 64);
    Ok(" ".repeat(spaces as usize))
}

struct Writer<'a, 'template, 'env> {
    state: &'a State<'template, 'env>,
    layout: Layout,
    text: String,
    /// Bytes of `text` that fuel was paid for.
    paid: usize,
}

impl Writer<'_, '_, '_> {
    fn value(&mut self, value: &Value, depth: usize) -> Result<(), Error> {
        if depth > DEPTH {
            return Err(problem("nested too deeply, or a part of itself"));
        }
        self.pay()?;
        match value.kind() {
            ValueKind::None => self.text.push_str("null"),
            ValueKind::Bool => self.text.push_str(if value.is_true() { "true" } else { "false" }),
            ValueKind::Number => self.text.push_str(&number(value)?),
            ValueKind::String => self.string(value.as_str().unwrap_or_default()),
            ValueKind::Seq | ValueKind::Iterable => {
                let items = value.try_iter()?.collect::<Vec<_>>();
                self.container(['[', ']'], depth, items, |writer, item| writer.value(&item, depth + 1))?;
            }
            ValueKind::Map => {
                let mut pairs = Vec::new();
                for key in value.try_iter()? {
                    pairs.push((key_text(&key)?, value.get_item(&key)?));
                }
                if self.layout.sort_keys {
                    pairs.sort_by(|(left, _), (right, _)| left.cmp(right));
                }
                self.container(['{', '}'], depth, pairs, |writer, (key, item)| {
                    writer.string(&key);
                    writer.text.push_str(&writer.layout.key_separator);
                    writer.value(&item, depth + 1)
                })?;
            }
            other => return Err(problem(&format!("a value of type {other} has no JSON form"))),
        }
        Ok(())
    }

    fn container<T>(
        &mut self,
        [open, close]: [char; 2],
        depth: usize,
        items: Vec<T>,
        mut write: impl FnMut(&mut Self, T) -> Result<(), Error>,
    ) -> Result<(), Error> {
        self.text.push(open);
        let is_empty = items.is_empty();
        for (index, item) in items.into_iter().enumerate() {
            if index > 0 {
                self.text.push_str(&self.layout.item_separator);
            }
            self.new_line(depth + 1);
            write(self, item)?;
        }
        if !is_empty {
            self.new_line(depth);
        }
        self.text.push(close);
        Ok(())
    }

    fn new_line(&mut self, depth: usize) {
        if let Some(indent) = &self.layout.indent {
            self.text.push('\n');
            self.text.extend(std::iter::repeat_n(indent.as_str(), depth));
        }
    }

    fn string(&mut self, string: &str) {
        self.text.push('"');
        for character in string.chars() {
            match character {
                '"' => self.text.push_str("\\\""),
                '\\' => self.text.push_str("\\\\"),
                '\n' => self.text.push_str("\\n"),
                '\r' => self.text.push_str("\\r"),
                '\t' => self.text.push_str("\\t"),
                '\u{8}' => self.text.push_str("\\b"),
                '\u{C}' => self.text.push_str("\\f"),
                '\0'..='\u{1F}' => self.escape(character),
                '\u{7F}'.. if self.layout.ensure_ascii => self.escape(character),
                _ => self.text.push(character),
            }
        }
        self.text.push('"');
    }

    fn escape(&mut self, character: char) {
        for unit in character.encode_utf16(&mut [0; 2]) {
            // Writing to a string cannot fail.
            let _ = write!(self.text, "\\u{unit:04x}");
        }
    }

    /// One unit for the value, and one for each 64 bytes since the last time.
    fn pay(&mut self) -> Result<(), Error> {
        let written = self.text.len() - self.paid;
        self.paid = self.text.len();
        self.state.consume_fuel(1 + written as u64 / 64)
    }
}

/// Keys are texts; Python takes numbers, booleans and None too, and writes them as it writes them as values.
fn key_text(key: &Value) -> Result<String, Error> {
    match key.kind() {
        ValueKind::String => Ok(key.as_str().unwrap_or_default().to_owned()),
        ValueKind::None => Ok("null".into()),
        ValueKind::Bool => Ok(if key.is_true() { "true" } else { "false" }.into()),
        ValueKind::Number => number(key),
        other => Err(problem(&format!("a value of type {other} cannot be a key"))),
    }
}

fn number(value: &Value) -> Result<String, Error> {
    if value.is_integer() { Ok(value.to_string()) } else { Ok(float(f64::try_from(value.clone())?)) }
}

/// Python's `repr`: the shortest digits that give the number back, with an exponent below 1e-4 and from 1e16 on.
fn float(number: f64) -> String {
    if number.is_nan() {
        return "NaN".into();
    }
    if number.is_infinite() {
        return if number > 0.0 { "Infinity" } else { "-Infinity" }.into();
    }
    let scientific = format!("{number:e}");
    let (digits, exponent) = scientific.split_once('e').expect("the format writes an exponent");
    match exponent.parse::<i32>().expect("the format writes a number") {
        -4..16 => format!("{number:?}"),
        exponent @ ..0 => format!("{digits}e-{:02}", -exponent),
        exponent => format!("{digits}e+{exponent:02}"),
    }
}

fn problem(words: &str) -> Error {
    Error::new(ErrorKind::InvalidOperation, format!("tojson: {words}"))
}
