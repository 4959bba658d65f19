//! A conversion as a program: reports on standard output, a JSON document a line, and ends when it is told to or when
//! whoever started it is gone.

use std::io::{self, Write};
use std::ops::ControlFlow;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use engine::convert::{Failed, FailedKind, Progress, Report};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use super::{Options, convert};

/// Converts. A signal, or the end of whoever holds the other end of standard input, cancels; a second signal ends the
/// process at once.
pub fn run(options: &Options) -> ExitCode {
    let done = cancelled_by_signals().map_err(internal).and_then(|told| {
        let mut progress = |now: Progress| {
            // Nobody who listens means nobody who wants it.
            let heard = say(&Report::Progress(now)).is_ok();
            if heard && !told.load(Ordering::Relaxed) && !is_abandoned() {
                ControlFlow::Continue(())
            } else {
                ControlFlow::Break(())
            }
        };
        convert(options, &mut progress).map_err(Failed::from)
    });
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failed) => {
            // The exit code says it too.
            let _ = say(&Report::Failed(failed));
            ExitCode::FAILURE
        }
    }
}

fn cancelled_by_signals() -> io::Result<Arc<AtomicBool>> {
    let told = Arc::new(AtomicBool::new(false));
    for signal in [SIGTERM, SIGINT, SIGHUP] {
        // In this order: the first signal finds the flag unset.
        signal_hook::flag::register_conditional_shutdown(signal, 1, Arc::clone(&told))?;
        signal_hook::flag::register(signal, Arc::clone(&told))?;
    }
    Ok(told)
}

/// Whether standard input is a pipe, a socket or a terminal whose other end is closed. A file or `/dev/null` never is.
fn is_abandoned() -> bool {
    let stdin = io::stdin();
    let mut ends = [PollFd::new(&stdin, PollFlags::empty())];
    poll(&mut ends, Some(&Timespec::default())).is_ok() && ends[0].revents().contains(PollFlags::HUP)
}

fn say(report: &Report) -> io::Result<()> {
    let mut line = serde_json::to_vec(report)?;
    line.push(b'\n');
    let mut stdout = io::stdout().lock();
    stdout.write_all(&line)?;
    stdout.flush()
}

#[expect(clippy::needless_pass_by_value, reason = "it is passed to map_err")]
fn internal(error: io::Error) -> Failed {
    Failed { kind: FailedKind::Internal, message: format!("watch for signals: {error}") }
}
