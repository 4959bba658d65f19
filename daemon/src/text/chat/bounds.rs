//! What keeps a template that means harm from taking the daemon's time, memory or stack.
//!
//! The template engine itself bounds the depth of blocks and calls and pays fuel for work; this adds what it lacks.
//! Called by `chat.rs` around each compilation and rendering.

use std::io;
use std::thread;

use minijinja::value::{Tuple, Value, ValueKind};
use minijinja::{Error, ErrorKind, State};

use super::super::MAX_PROMPT_BYTES;
use super::super::error::TextError;

/// Longest source; those of real models reach 40 kB.
pub(super) const SOURCE_BYTES: usize = 256 << 10;

/// Most characters of one tag outside quotes; those of real models reach 300. The engine parses a chain of operators
/// with a recursion for each, without a limit of its own.
pub(super) const TAG_CHARACTERS: usize = 4096;

/// Name of the filter [`kept`].
pub(super) const KEPT: &str = "kept_in_a_namespace";

/// Room for the deepest recursion that the other bounds leave, in a build without optimisation. Only what is used
/// becomes memory.
const STACK_BYTES: usize = 256 << 20;

/// Deepest nesting of what a namespace holds; the JSON schemas of tools reach about 20.
const KEPT_DEPTH: usize = 64;

/// Runs on a thread with room for deep recursion, for which the caller's stack may be too small.
pub(super) fn with_room<T: Send>(work: impl FnOnce() -> Result<T, TextError> + Send) -> Result<T, TextError> {
    thread::scope(|scope| {
        let builder = thread::Builder::new().name("chat template".into()).stack_size(STACK_BYTES);
        let spawned = builder.spawn_scoped(scope, work);
        let thread = spawned.map_err(|error| TextError::Template(format!("no thread to run on: {error}")))?;
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// Instructions, and units of 64 bytes made or read, for a conversation: five times what the hungriest known templates
/// take, which look at each character (8 units) and take 75 units for a message. At most a second or two.
pub(super) fn fuel(messages: usize, bytes: usize) -> u64 {
    (500_000 + 1000 * messages as u64 + 20 * bytes as u64).min(20_000_000)
}

/// A copy of a value, made flat: every assignment to a namespace goes through this.
///
/// Only namespaces outlive a turn of a loop, so only there could a value grow deeper with each turn, or become a part
/// of itself, until dropping or printing it overflows the stack.
pub(super) fn kept(state: &mut State, value: &Value) -> Result<Value, Error> {
    copy(state, value, 0)
}

fn copy(state: &State, value: &Value, depth: usize) -> Result<Value, Error> {
    let refuse = |words| Err(Error::new(ErrorKind::InvalidOperation, words));
    match value.kind() {
        ValueKind::Seq | ValueKind::Iterable | ValueKind::Map if depth >= KEPT_DEPTH => {
            refuse("a namespace cannot hold a value nested that deeply")
        }
        ValueKind::Seq | ValueKind::Iterable => {
            let mut items = Vec::new();
            for item in value.try_iter()? {
                pay_for(state, items.len())?;
                items.push(copy(state, &item, depth + 1)?);
            }
            Ok(if value.is_tuple() { Value::from(Tuple::from(items)) } else { Value::from(items) })
        }
        ValueKind::Map if is_namespace(value) => refuse("a namespace cannot hold a namespace"),
        ValueKind::Map => {
            let mut pairs = Vec::new();
            for key in value.try_iter()? {
                pay_for(state, pairs.len())?;
                let item = copy(state, &value.get_item(&key)?, depth + 1)?;
                pairs.push((key, item));
            }
            Ok(Value::from_pairs(pairs))
        }
        _ => Ok(value.clone()),
    }
}

/// One unit for each 16 items.
fn pay_for(state: &State, index: usize) -> Result<(), Error> {
    if index.is_multiple_of(16) { state.consume_fuel(1) } else { Ok(()) }
}

/// The engine's own type, which it does not export.
fn is_namespace(value: &Value) -> bool {
    value.as_object().is_some_and(|object| object.type_name().ends_with("::Namespace"))
}

/// Takes as many bytes as a prompt may have.
#[derive(Default)]
pub(super) struct Output {
    pub(super) bytes: Vec<u8>,
    pub(super) overflown: bool,
}

impl io::Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.bytes.len() + bytes.len() > MAX_PROMPT_BYTES {
            self.overflown = true;
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
