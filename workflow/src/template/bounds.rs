//! What keeps a template from taking the machine's time, memory or stack.
//!
//! The template engine bounds the depth of calls and pays fuel for work; this adds what it lacks.

use std::cell::Cell;
use std::io;
use std::thread;

use minijinja::value::{Kwargs, Value, ValueKind};
use minijinja::{Error, ErrorKind, State};
use serde::Serialize;
use serde_json::Value as Json;
use serde_json::ser::{CompactFormatter, PrettyFormatter, Serializer};

use super::error::RenderError;
use crate::MOST_OUTPUT_BYTES;

/// Instructions, and units of 64 bytes made or read: a text of 1 MiB can be taken apart some times. About half a second.
pub const FUEL: u64 = 2_000_000;

/// The deepest nesting of calls, counted as the engine does.
pub const RECURSION: usize = 50;

/// Most characters of one tag outside quotes. The engine reads a chain of operators with a recursion for each, without a
/// limit of its own.
pub const TAG_CHARACTERS: usize = 4096;

/// Room for the deepest recursion that the other bounds leave, in a build without optimisation. Only what is used
/// becomes memory.
const STACK_BYTES: usize = 256 << 20;

thread_local! {
    /// Whether this thread has that room.
    static HAS_ROOM: Cell<bool> = const { Cell::new(false) };
}

/// Runs on a thread with room for deep recursion, for which the caller's stack may be too small.
pub fn with_room<T: Send>(work: impl FnOnce() -> T + Send) -> Result<T, RenderError> {
    let work = || {
        HAS_ROOM.set(true);
        work()
    };
    if HAS_ROOM.get() {
        return Ok(work());
    }
    thread::scope(|scope| {
        let builder = thread::Builder::new().name("template".into()).stack_size(STACK_BYTES);
        let spawned = builder.spawn_scoped(scope, work);
        let thread = spawned.map_err(|error| RenderError::new(format!("no thread to run on: {error}")))?;
        thread.join().map_err(|_| RenderError::new("the template engine gave up on it"))
    })
}

/// Takes as many bytes as an output may have.
#[derive(Default)]
pub struct Output {
    bytes: Vec<u8>,
    is_full: bool,
}

impl Output {
    /// The text, of a rendering that ended so.
    pub fn text(self, rendered: Result<(), Error>) -> Result<Result<String, RenderError>, Error> {
        match rendered {
            _ if self.is_full => Ok(Err(too_long())),
            Ok(()) => Ok(Ok(String::from_utf8(self.bytes).expect("templates write whole strings"))),
            Err(error) => Err(error),
        }
    }
}

impl io::Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.bytes.len() + bytes.len() > MOST_OUTPUT_BYTES {
            self.is_full = true;
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn too_long() -> RenderError {
    RenderError::new(format!("it gives more than {MOST_OUTPUT_BYTES} bytes, which are the most"))
}

/// The bytes that an output has: of a text its own, of any other value those of its JSON.
pub fn output_bytes(value: &Json) -> usize {
    value.as_str().map_or_else(|| value.to_string().len(), str::len)
}

/// Whether a value, or one in it, is not there, which would be `null` as JSON. Of what is too long for an output not all is
/// looked at.
pub fn lacks_value(value: &Value) -> bool {
    // Each takes at least a byte.
    let mut room = MOST_OUTPUT_BYTES;
    lacks_one(value, &mut room)
}

fn lacks_one(value: &Value, room: &mut usize) -> bool {
    let Some(left) = room.checked_sub(1) else { return false };
    *room = left;
    match value.kind() {
        ValueKind::Undefined => true,
        ValueKind::Seq | ValueKind::Iterable => {
            value.try_iter().into_iter().flatten().any(|item| lacks_one(&item, room))
        }
        ValueKind::Map => {
            let mut keys = value.try_iter().into_iter().flatten();
            keys.any(|key| value.get_item(&key).is_ok_and(|item| lacks_one(&item, room)))
        }
        _ => false,
    }
}

/// A template's value as JSON.
pub fn json(value: &Value) -> Result<Json, RenderError> {
    if let Some(text) = value.as_str() {
        return if text.len() > MOST_OUTPUT_BYTES { Err(too_long()) } else { Ok(text.into()) };
    }
    let mut output = Output::default();
    let written = value.serialize(&mut Serializer::with_formatter(&mut output, CompactFormatter));
    if output.is_full {
        return Err(too_long());
    }
    let read = written.and_then(|()| serde_json::from_slice(&output.bytes));
    read.map_err(|error| RenderError::new(format!("it gives nothing that JSON can hold: {error}")))
}

/// `value | tojson(indent=none)`: on one line, or indented by so many spaces. Unlike the engine's own it escapes no HTML.
#[expect(clippy::needless_pass_by_value, reason = "the template engine hands these over by value")]
pub fn tojson(state: &State, value: &Value, indent: Option<Value>, named: Kwargs) -> Result<Value, Error> {
    let indent = match indent {
        Some(indent) => Some(indent),
        None => named.get::<Option<Value>>("indent")?,
    };
    named.assert_all_used()?;
    if lacks_value(value) {
        return Err(ErrorKind::UndefinedError.into());
    }
    let mut output = Output::default();
    let spaces = indent.filter(|indent| !indent.is_none()).map(spaces).transpose()?;
    let written = match &spaces {
        None => value.serialize(&mut Serializer::with_formatter(&mut output, CompactFormatter)),
        Some(spaces) => {
            let formatter = PrettyFormatter::with_indent(spaces.as_bytes());
            value.serialize(&mut Serializer::with_formatter(&mut output, formatter))
        }
    };
    let refuse = |words: String| Err(Error::new(ErrorKind::InvalidOperation, words));
    if output.is_full {
        return refuse(format!("tojson: more than {MOST_OUTPUT_BYTES} bytes, which are the most"));
    }
    if let Err(error) = written {
        return refuse(format!("tojson: {error}"));
    }
    // Walking a value is slower than copying bytes.
    state.consume_fuel(output.bytes.len() as u64 / 4)?;
    Ok(Value::from(String::from_utf8(output.bytes).expect("JSON is text")))
}

fn spaces(indent: Value) -> Result<String, Error> {
    if let Ok(is_indented) = bool::try_from(indent.clone()) {
        return Ok(if is_indented { "  " } else { "" }.into());
    }
    Ok(" ".repeat(i64::try_from(indent)?.clamp(0, 16) as usize))
}
