//! A panic anywhere in the daemon leaves a report. Whether it ends more than its own task is not decided here.

use std::backtrace::Backtrace;
use std::panic::PanicHookInfo;

use super::{Report, Reports};

/// From here on a panic is reported, in place of its words on standard error, which may have what a request had.
pub fn watch(reports: Reports) {
    std::panic::set_hook(Box::new(move |panic| {
        let body = Backtrace::force_capture().to_string();
        reports.write(&Report { kind: "panic", what: what(panic), heading: "backtrace", body });
    }));
}

fn what(panic: &PanicHookInfo<'_>) -> String {
    let thread = std::thread::current();
    let thread = thread.name().unwrap_or("without a name");
    let place = panic.location().map_or_else(|| "an unknown place".into(), ToString::to_string);
    // A text that lives as long as the program is part of it. One made at run time may be made of what came in.
    match panic.payload().downcast_ref::<&'static str>() {
        Some(words) => format!("a panic at {place}, in the thread {thread}: {words}"),
        None => format!("a panic at {place}, in the thread {thread}"),
    }
}
