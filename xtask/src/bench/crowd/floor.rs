//! What the system alone takes for a token: a message of one process that wakes a thread, which writes one to another process
//! and sleeps on.

use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::processor::own_time;
use crate::command;
use crate::error::{Error, Result};

/// As long as an engine's message of a token, and as a client's.
const COMES: [u8; 9] = [0; 9];
const GOES: [u8; 123] = [0; 123];

/// Writes as many bytes as an engine, as often.
const ENGINE: &str = "import os, sys, time
for _ in range(int(sys.argv[1])):
    time.sleep(int(sys.argv[2]) / 1000)
    os.write(1, bytes(int(sys.argv[3])))";

/// Microseconds of a processor for each of `messages`, one every `step_ms`; `None` where the system does not tell.
pub fn of(step_ms: u32, messages: u32) -> Result<Option<f64>> {
    let failed = |source| Error::Io { action: "pass a message".into(), source };
    let (mut from, theirs) = UnixStream::pair().map_err(failed)?;
    let (mut to, out) = UnixStream::pair().map_err(failed)?;
    let numbers = [messages.to_string(), step_ms.to_string(), COMES.len().to_string()];
    let mut client = Command::new("cat");
    client.stdin(OwnedFd::from(out)).stdout(Stdio::null());
    let mut client = start(client)?;
    let mut engine = Command::new("python3");
    engine.args(["-c", ENGINE]).args(numbers).stdin(Stdio::null()).stdout(OwnedFd::from(theirs));
    let mut engine = start(engine)?;
    let spent = relay(&mut from, &mut to).map_err(failed);
    drop((from, to));
    for child in [&mut client, &mut engine] {
        child.wait().map_err(failed)?;
    }
    Ok(spent?.map(|spent| spent.as_secs_f64() * 1e6 / f64::from(messages)))
}

/// Lets go of the end of a pair that the program was given, which would stay open with it.
fn start(mut program: Command) -> Result<Child> {
    program.spawn().map_err(command::start_error(&program))
}

/// Answers each message until there are no more, and how long it ran from the first on.
fn relay(from: &mut UnixStream, to: &mut UnixStream) -> io::Result<Option<Duration>> {
    let (before, mut message) = (own_time(), COMES);
    loop {
        match from.read_exact(&mut message) {
            Ok(()) => to.write_all(&GOES)?,
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => break,
            Err(error) => return Err(error),
        }
    }
    Ok(own_time().zip(before).map(|(now, before)| now.saturating_sub(before)))
}
