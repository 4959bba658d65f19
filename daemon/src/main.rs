//! The program: arguments, log, signals, and an exit code. Everything else is in the library.

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use clap::Parser;
use signal_hook::consts::{SIGINT, SIGTERM};
use talkied::config::{Arguments, Config};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// What a process ended by a second signal exits with.
const FORCED: i32 = 130;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    talkied::telemetry::start_log();
    talkied::secrets::forbid_core_files();
    let ended = arguments.resolve().map_err(|error| error.to_string()).and_then(|config| serve(&config));
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(words) => {
            tracing::error!("{words}");
            ExitCode::FAILURE
        }
    }
}

fn serve(config: &Config) -> Result<(), String> {
    end_at_second_signal().map_err(|error| format!("failed to watch for signals: {error}"))?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(std::thread::available_parallelism().map_or(2, |cores| cores.get().min(4)))
        .enable_all()
        .build()
        .map_err(|error| format!("failed to start the runtime: {error}"))?;
    runtime.block_on(async {
        let stop = CancellationToken::new();
        let signals = tokio::spawn(stop_at_signal(stop.clone()));
        let ended = talkied::run(config, stop).await;
        signals.abort();
        ended.map_err(|error| error.to_string())
    })
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

async fn stop_at_signal(stop: CancellationToken) {
    let (Ok(mut interrupt), Ok(mut terminate)) = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
    else {
        return tracing::error!("signals cannot be watched: only a second one ends this process");
    };
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    tracing::info!("ending; a second signal ends at once");
    stop.cancel();
}
