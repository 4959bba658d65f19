//! Methods of Python's types that templates call and the template engine does not have, or has without a bound.
//!
//! Pays fuel for the text a method reads and makes, before it is made. Called by the template engine for every method
//! it does not know; what is not here goes on to the engine's own collection.

use minijinja::value::{Kwargs, Tuple, Value, ValueKind, from_args};
use minijinja::{Error, ErrorKind, State};
use minijinja_contrib::pycompat::unknown_method_callback;

/// Calls a method of a Python type.
pub(super) fn call(state: &mut State, value: &Value, method: &str, arguments: &[Value]) -> Result<Value, Error> {
    match value.as_str() {
        Some(text) if value.kind() == ValueKind::String => {
            pay(state, text.len())?;
            match on_text(state, text, method, arguments)? {
                Some(result) => Ok(result),
                None => unknown_method_callback(state, value, method, arguments),
            }
        }
        // Values never change, so a copy is the value.
        _ if method == "copy" && arguments.is_empty() => Ok(value.clone()),
        _ => unknown_method_callback(state, value, method, arguments),
    }
}

/// `None` where the engine's own method will do.
fn on_text(state: &State, text: &str, method: &str, arguments: &[Value]) -> Result<Option<Value>, Error> {
    let result = match method {
        "removeprefix" => {
            let (prefix,): (&str,) = from_args(arguments)?;
            Value::from(text.strip_prefix(prefix).unwrap_or(text))
        }
        "removesuffix" => {
            let (suffix,): (&str,) = from_args(arguments)?;
            Value::from(text.strip_suffix(suffix).unwrap_or(text))
        }
        "partition" | "rpartition" => partition(text, method, arguments)?,
        "split" | "rsplit" => split(state, text, method, arguments)?,
        "ljust" | "rjust" | "center" => pad(state, text, method, arguments)?,
        "zfill" => zfill(state, text, arguments)?,
        "index" | "rindex" => index(text, method, arguments)?,
        "swapcase" => Value::from(text.chars().flat_map(swapped).collect::<String>()),
        "join" => join(state, text, arguments)?,
        "replace" => {
            let (old, new): (&str, &str) = from_args(&arguments[..arguments.len().min(2)])?;
            let found = if old.is_empty() { text.len() + 1 } else { text.matches(old).count() };
            pay(state, found.saturating_mul(new.len()))?;
            return Ok(None);
        }
        "format" => {
            bounded_widths(text)?;
            return Ok(None);
        }
        _ => return Ok(None),
    };
    Ok(Some(result))
}

fn partition(text: &str, method: &str, arguments: &[Value]) -> Result<Value, Error> {
    let (separator,): (&str,) = from_args(arguments)?;
    not_empty(separator)?;
    let last = method == "rpartition";
    let halves = if last { text.rsplit_once(separator) } else { text.split_once(separator) };
    let parts = match halves {
        Some((before, after)) => [before, separator, after],
        None if last => ["", "", text],
        None => [text, "", ""],
    };
    Ok(Value::from(Tuple::from(parts.map(Value::from))))
}

fn split(state: &State, text: &str, method: &str, arguments: &[Value]) -> Result<Value, Error> {
    let (separator, most, named): (Option<Value>, Option<i64>, Kwargs) = from_args(arguments)?;
    let separator = separator.map_or_else(|| named.get::<Option<Value>>("sep"), |value| Ok(Some(value)))?;
    let most = most.map_or_else(|| named.get::<Option<i64>>("maxsplit"), |most| Ok(Some(most)))?;
    named.assert_all_used()?;
    let most = most.and_then(|most| usize::try_from(most).ok()).unwrap_or(usize::MAX);
    let from_right = method == "rsplit";
    let parts: Vec<&str> = match separator.as_ref().filter(|separator| !separator.is_none()) {
        None => {
            state.consume_fuel(text.split_whitespace().count() as u64)?;
            split_words(text, most, from_right)
        }
        Some(separator) => {
            let separator = separator.as_str().ok_or_else(|| problem("the separator must be a text"))?;
            not_empty(separator)?;
            state.consume_fuel(text.matches(separator).count() as u64)?;
            let parts = most.saturating_add(1);
            if from_right {
                let mut parts: Vec<&str> = text.rsplitn(parts, separator).collect();
                parts.reverse();
                parts
            } else {
                text.splitn(parts, separator).collect()
            }
        }
    };
    Ok(parts.into_iter().map(Value::from).collect())
}

/// At white space of any length; the part that is not split further keeps its own.
fn split_words(text: &str, most: usize, from_right: bool) -> Vec<&str> {
    let mut parts = Vec::new();
    let mut rest = if from_right { text.trim_end() } else { text.trim_start() };
    while !rest.is_empty() {
        let cut = if from_right { rest.rfind(char::is_whitespace) } else { rest.find(char::is_whitespace) };
        let Some(cut) = cut.filter(|_| parts.len() < most) else {
            parts.push(rest);
            break;
        };
        let (left, right) = rest.split_at(cut);
        if from_right {
            parts.push(right.trim_start());
            rest = left.trim_end();
        } else {
            parts.push(left);
            rest = right.trim_start();
        }
    }
    if from_right {
        parts.reverse();
    }
    parts
}

fn pad(state: &State, text: &str, method: &str, arguments: &[Value]) -> Result<Value, Error> {
    let (width, fill): (i64, Option<&str>) = from_args(arguments)?;
    let fill = fill.unwrap_or(" ");
    if fill.chars().count() != 1 {
        return Err(problem("the fill character must be exactly one character long"));
    }
    let width = usize::try_from(width).unwrap_or(0);
    let missing = width.saturating_sub(text.chars().count());
    pay(state, missing.saturating_mul(fill.len()))?;
    let left = match method {
        "ljust" => 0,
        "rjust" => missing,
        // Python puts the odd one to the left if the width is odd.
        _ => missing / 2 + (missing & width & 1),
    };
    Ok(Value::from(format!("{}{text}{}", fill.repeat(left), fill.repeat(missing - left))))
}

fn zfill(state: &State, text: &str, arguments: &[Value]) -> Result<Value, Error> {
    let (width,): (i64,) = from_args(arguments)?;
    let missing = usize::try_from(width).unwrap_or(0).saturating_sub(text.chars().count());
    pay(state, missing)?;
    let digits = text.trim_start_matches(['+', '-']);
    // At most one sign goes before the zeros.
    let sign = text.len() - digits.len();
    let (sign, digits) = text.split_at(sign.min(1));
    Ok(Value::from(format!("{sign}{}{digits}", "0".repeat(missing))))
}

fn index(text: &str, method: &str, arguments: &[Value]) -> Result<Value, Error> {
    let (part,): (&str,) = from_args(arguments)?;
    let found = if method == "rindex" { text.rfind(part) } else { text.find(part) };
    let byte = found.ok_or_else(|| problem("substring not found"))?;
    Ok(Value::from(text[..byte].chars().count()))
}

fn swapped(character: char) -> Vec<char> {
    if character.is_uppercase() { character.to_lowercase().collect() } else { character.to_uppercase().collect() }
}

fn join(state: &State, separator: &str, arguments: &[Value]) -> Result<Value, Error> {
    let (values,): (&Value,) = from_args(arguments)?;
    let mut joined = String::new();
    for (index, value) in values.try_iter()?.enumerate() {
        let part = value.as_str().ok_or_else(|| problem("join takes texts only"))?;
        pay(state, separator.len() + part.len())?;
        if index > 0 {
            joined.push_str(separator);
        }
        joined.push_str(part);
    }
    Ok(Value::from(joined))
}

/// A width of many digits would make a text of that length.
fn bounded_widths(format: &str) -> Result<(), Error> {
    let fields = format.split('{').skip(1).filter_map(|field| field.split_once('}'));
    let mut numbers = fields.flat_map(|(field, _)| field.split(|c: char| !c.is_ascii_digit()));
    if numbers.any(|number| number.len() > 4) { Err(problem("a width of five digits and more")) } else { Ok(()) }
}

fn not_empty(separator: &str) -> Result<(), Error> {
    if separator.is_empty() { Err(problem("empty separator")) } else { Ok(()) }
}

/// One unit for each 64 bytes, as the engine itself counts.
fn pay(state: &State, bytes: usize) -> Result<(), Error> {
    state.consume_fuel(1 + bytes as u64 / 64)
}

fn problem(words: &str) -> Error {
    Error::new(ErrorKind::InvalidOperation, words.to_owned())
}
