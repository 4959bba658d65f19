//! What only a daemon has: a ping, a start, an idle process.

use std::path::Path;
use std::time::Duration;

use serde::Serialize;

use super::connection::Connection;
use super::figures::Samples;
use super::memory::Memory;
use crate::daemon::Daemon;
use crate::error::{Error, Result};
use crate::interrupt::Interrupt;

const PINGS: usize = 10_000;
/// Pings that are not counted.
const WARM_UP: usize = 1_000;
const PING: &str = "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"daemon.ping\"}\n";

/// Figures of talkied that mlx-lm has no counterpart of; absent what could not be measured.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Alone {
    /// Microseconds of a round trip on one connection.
    #[serde(rename = "ping_us")]
    pub ping: Option<Samples>,
    /// Milliseconds from the start of the process until it takes connections.
    #[serde(rename = "listening_ms")]
    pub listening: Option<Samples>,
    /// Of the daemon before any model was loaded.
    pub idle: Option<Memory>,
    /// Of the daemon after the contest, a model resident.
    pub resident: Option<Memory>,
    /// Of the engine then.
    pub engine: Option<Memory>,
}

/// Starts one daemon after another.
pub fn listening(programs: &Path, starts: usize, interrupt: &Interrupt) -> Result<Samples> {
    let start = || Daemon::start(programs)?.wait_until_listening(interrupt);
    // The first brings the program into memory.
    start()?;
    (0..starts).map(|_| start().map(milliseconds)).collect()
}

/// Pings on one connection of a daemon that has nothing else to do.
pub fn ping(connection: &mut Connection) -> Result<Samples> {
    let mut answer = String::new();
    let mut once = || connection.round_trip(PING, &mut answer);
    for _ in 0..WARM_UP {
        once()?;
    }
    let samples = (0..PINGS).map(|_| once().map(|time| time.as_secs_f64() * 1e6)).collect::<Result<_>>()?;
    if answer.contains("\"pid\"") {
        Ok(samples)
    } else {
        Err(Error::Unexpected(format!("a ping was answered {answer}")))
    }
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}
