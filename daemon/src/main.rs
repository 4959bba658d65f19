//! The program: arguments, log, signals, and an exit code. Everything else is in the library.

use std::io::{IsTerminal, Write};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use signal_hook::consts::{SIGINT, SIGTERM};
use talkied::config::{self, Config, Given, Task};
use talkied::crash::{self, Marker, Reports};
use talkied::{memory, telemetry};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// What a process ended by a second signal exits with.
const FORCED: i32 = 130;

fn main() -> ExitCode {
    memory::share_one_heap();
    let parsed = Given::parse(std::env::args_os(), |name| std::env::var_os(name));
    let (given, task) = parsed.unwrap_or_else(|error| error.exit());
    if task != Task::Serve {
        return tell(task, given);
    }
    telemetry::start_log();
    talkied::secrets::forbid_core_files();
    let config = match Config::load(given) {
        Ok(config) => config,
        Err(error) => {
            tracing::error!("{error}");
            return ExitCode::from(config::EXIT_CODE);
        }
    };
    telemetry::set_filter(&config.settings.log.0);
    let kept = telemetry::keep_log(&config.home);
    // Kept to the end, so that the last words are in the log.
    let ended = match serve(config) {
        Ok(()) => ExitCode::SUCCESS,
        Err(words) => {
            telemetry::return_to_stderr();
            tracing::error!("{words}");
            ExitCode::FAILURE
        }
    };
    drop(kept);
    ended
}

/// Answers a question about the configuration.
fn tell(task: Task, given: Given) -> ExitCode {
    let (text, code) = match config::answer(task, given) {
        Ok(text) => (text, ExitCode::SUCCESS),
        Err(error) => {
            // Standard error may be closed; then there is nobody left to tell.
            let _ = writeln!(std::io::stderr(), "{error}");
            return ExitCode::from(config::EXIT_CODE);
        }
    };
    match std::io::stdout().write_all(text.as_bytes()) {
        Ok(()) => code,
        Err(_) => ExitCode::FAILURE,
    }
}

/// How long a thread for what blocks waits for more of it. Short: what looks at something every second would keep as many
/// threads as there are seconds, for each look wakes the one that has waited longest.
const THREAD_KEEP_ALIVE: Duration = Duration::from_secs(2);

/// How long threads may block on after everything has ended: on a disk that hangs, they would keep the process for ever.
const LAST_THREADS: Duration = Duration::from_secs(2);

fn serve(config: Config) -> Result<(), String> {
    end_at_second_signal().map_err(|error| format!("failed to watch for signals: {error}"))?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(std::thread::available_parallelism().map_or(2, |cores| cores.get().min(4)))
        .thread_keep_alive(THREAD_KEEP_ALIVE)
        .enable_all()
        .build()
        .map_err(|error| format!("failed to start the runtime: {error}"))?;
    let reports = Reports::new(&config.home);
    crash::watch_panics(reports.clone());
    let marker = Marker::begin(&config.home, &reports);
    let ended = runtime.block_on(async {
        let stop = CancellationToken::new();
        // Before anybody can know that there is a process to be signalled.
        let watched = Signals::watch().map_err(|error| format!("failed to watch for signals: {error}"))?;
        // One more hang-up than is being answered is all that can matter.
        let (hangups, reloads) = mpsc::channel(1);
        let signals = tokio::spawn(watched.heed(hangups, stop.clone()));
        let ending = tokio::spawn(note_the_end(marker, stop.clone()));
        let ended = talkied::run(config, reports, reloads, stop.clone()).await;
        signals.abort();
        // Where it did not run at all nobody has asked it to end.
        stop.cancel();
        // The marker is removed with the last who holds it.
        drop(ending.await);
        ended.map_err(|error| error.to_string())
    });
    runtime.shutdown_timeout(LAST_THREADS);
    ended
}

/// The second SIGINT or SIGTERM ends the process there and then, even if the runtime hangs.
fn end_at_second_signal() -> std::io::Result<()> {
    let first = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        // In this order: the handler that ends the process sees the flag as the signal before left it.
        signal_hook::flag::register_conditional_shutdown(signal, FORCED, Arc::clone(&first))?;
        signal_hook::flag::register(signal, Arc::clone(&first))?;
    }
    Ok(())
}

/// Notes that the daemon was asked to end, and returns the marker, whose removal says that it has.
async fn note_the_end(mut marker: Option<Marker>, stop: CancellationToken) -> Option<Marker> {
    stop.cancelled().await;
    if let Some(marker) = &mut marker {
        marker.ending();
    }
    marker
}

/// The signals that do not end the process by themselves.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
    has_terminal: bool,
}

impl Signals {
    fn watch() -> std::io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup: signal(SignalKind::hangup())?,
            has_terminal: std::io::stdin().is_terminal(),
        })
    }

    /// SIGHUP has the configuration read again, unless it tells that the terminal is gone where this was started.
    async fn heed(mut self, hangups: mpsc::Sender<()>, stop: CancellationToken) {
        loop {
            tokio::select! {
                _ = self.interrupt.recv() => break,
                _ = self.terminate.recv() => break,
                _ = self.hangup.recv() => {
                    if self.has_terminal && !std::io::stdin().is_terminal() {
                        break;
                    }
                    // Where one waits already, it will see what this one would.
                    let _ = hangups.try_send(());
                }
            }
        }
        tracing::info!("ending; a second signal ends at once");
        stop.cancel();
    }
}
