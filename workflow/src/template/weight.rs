//! How much a value is when all of it is written out.
//!
//! A list may hold one text a thousand times, and another that list a thousand times: that takes no memory until somebody
//! writes it out. The template engine pays no fuel before it does, so every filter is given only what is not too heavy, and
//! only what has a value.
//! What the engine's operators do with two such values, `==`, `<` or a key of a map, nothing here can weigh.

use std::sync::LazyLock;

use minijinja::value::{Rest, Value, ValueKind, ValueOrKwargs};
use minijinja::{Environment, Error, ErrorKind, Output, State, UndefinedBehavior, escape_formatter};

use super::bounds::{FUEL, json, lacks_value};
use super::name::safe_name;
use super::source::FILTERS;
use crate::MOST_OUTPUT_BYTES;

/// Most bytes that a filter is given: a text of the greatest size, and something with it.
const MOST_BYTES: usize = 2 * MOST_OUTPUT_BYTES;

/// Filters of what may have no value.
const LENIENT: [&str; 2] = ["d", "default"];

/// Has the engine's own filters, and ours.
static PLAIN: LazyLock<Environment<'static>> = LazyLock::new(|| {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_fuel(Some(FUEL));
    environment.add_filter("safe_name", |value: &Value| safe_name(&value.to_string()));
    environment
});

/// Puts a scale before every filter.
pub fn guard(environment: &mut Environment<'static>) {
    for filter in FILTERS {
        environment.add_filter(filter, move |state: &State, values: Rest<ValueOrKwargs>| {
            let values = values.into_values();
            if values.first().is_some_and(Value::is_undefined) && !LENIENT.contains(&filter) {
                return Err(ErrorKind::UndefinedError.into());
            }
            state.consume_fuel(1 + weight(&values)? as u64 / 64)?;
            PLAIN.empty_state().apply_filter(filter, &values)
        });
    }
}

/// Writes a value into a text: lists and objects as JSON.
pub fn written(output: &mut Output, state: &mut State, value: &Value) -> Result<(), Error> {
    if !matches!(value.kind(), ValueKind::Seq | ValueKind::Map | ValueKind::Iterable) {
        return escape_formatter(output, state, value);
    }
    if lacks_value(value) {
        return Err(ErrorKind::UndefinedError.into());
    }
    let text = json(value).map_err(|error| Error::new(ErrorKind::InvalidOperation, error.to_string()))?.to_string();
    state.consume_fuel(1 + text.len() as u64 / 4)?;
    output.write_str(&text).map_err(|error| Error::new(ErrorKind::WriteFailure, "a value").with_source(error))
}

fn weight(values: &[Value]) -> Result<usize, Error> {
    let mut room = MOST_BYTES;
    for value in values {
        weigh(value, &mut room)?;
    }
    Ok(MOST_BYTES - room)
}

/// Takes of the room what the value is.
fn weigh(value: &Value, room: &mut usize) -> Result<(), Error> {
    let own = 1 + value.as_str().map_or(0, str::len);
    *room = room.checked_sub(own).ok_or_else(|| {
        let words = format!("a filter is given more than {MOST_BYTES} bytes, which are the most");
        Error::new(ErrorKind::InvalidOperation, words)
    })?;
    match value.kind() {
        ValueKind::Seq | ValueKind::Iterable => {
            for item in value.try_iter()? {
                weigh(&item, room)?;
            }
        }
        ValueKind::Map => {
            for key in value.try_iter()? {
                weigh(&key, room)?;
                weigh(&value.get_item(&key)?, room)?;
            }
        }
        _ => {}
    }
    Ok(())
}
