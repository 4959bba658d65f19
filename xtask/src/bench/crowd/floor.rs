//! What the system alone takes for a token: a message that wakes a thread, which writes one and sleeps on.

use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::Duration;

use super::processor::own_time;
use crate::error::{Error, Result};

/// As long as an engine's message of a token, and as a client's.
const COMES: [u8; 9] = [0; 9];
const GOES: [u8; 123] = [0; 123];

/// Microseconds of a processor for each of `messages`, one every `step_ms`; `None` where the system does not tell.
pub fn of(step_ms: u32, messages: u32) -> Result<Option<f64>> {
    let failed = |source| Error::Io { action: "pass a message".into(), source };
    let (mut engine, daemon) = UnixStream::pair().map_err(failed)?;
    let (out, mut client) = UnixStream::pair().map_err(failed)?;
    let relay = thread::spawn(move || relay(daemon, out));
    // Somebody is woken by what is written, as a client is.
    let reader = thread::spawn(move || io::copy(&mut client, &mut io::sink()));
    for _ in 0..messages {
        thread::sleep(Duration::from_millis(step_ms.into()));
        engine.write_all(&COMES).map_err(failed)?;
    }
    drop(engine);
    let spent =
        relay.join().map_err(|_| Error::Unexpected("a thread of the bench panicked".into()))?.map_err(failed)?;
    let _ = reader.join();
    Ok(spent.map(|spent| spent.as_secs_f64() * 1e6 / f64::from(messages)))
}

/// Answers each message until there are no more, and how long it ran from the first on.
fn relay(mut from: UnixStream, mut to: UnixStream) -> io::Result<Option<Duration>> {
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
