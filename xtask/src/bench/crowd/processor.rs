//! The processor's time that a process took, to the nanosecond.

use std::time::Duration;

use crate::error::{Error, Result};

/// Of all threads that live, since their start: the first number of `schedstat`, proc(5).
#[cfg(target_os = "linux")]
pub fn time_of(pid: u32) -> Result<Duration> {
    use std::fs;

    let folder = format!("/proc/{pid}/task");
    let mut total = 0;
    for task in fs::read_dir(&folder).map_err(Error::io("read", folder.as_ref()))? {
        let path = task.map_err(Error::io("read", folder.as_ref()))?.path().join("schedstat");
        // A thread may have ended meanwhile.
        let text = fs::read_to_string(&path).unwrap_or_default();
        total += text.split(' ').next().and_then(|first| first.parse::<u64>().ok()).unwrap_or(0);
    }
    Ok(Duration::from_nanos(total))
}

/// Of this thread, likewise; `None` where that is not told.
#[cfg(target_os = "linux")]
pub fn own_time() -> Option<Duration> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    text.split(' ').next()?.parse().ok().map(Duration::from_nanos)
}

/// See above.
#[cfg(not(target_os = "linux"))]
pub fn own_time() -> Option<Duration> {
    None
}

/// `ps` knows it to hundredths of a second.
#[cfg(not(target_os = "linux"))]
pub fn time_of(pid: u32) -> Result<Duration> {
    let text = crate::command::output(std::process::Command::new("ps").args(["-o", "time=", "-p", &pid.to_string()]))?;
    let unknown = || Error::Unexpected(format!("ps told no time of {pid}: {text}"));
    let parts = text.trim().split(':').map(str::parse::<f64>).collect::<std::result::Result<Vec<_>, _>>();
    let seconds = parts.map_err(|_| unknown())?.into_iter().fold(0.0, |sum, part| sum * 60.0 + part);
    Ok(Duration::from_secs_f64(seconds))
}
