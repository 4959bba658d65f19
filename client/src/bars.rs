//! How far a download is while it is waited for, on standard error: bars on a terminal, a line now and then elsewhere.
//!
//! It never touches standard output. Called by `talkiectl pull`.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use protocol::{Pull, PullFile, PullState};

use crate::render::{self, pulls};

/// Files with a bar at a time: as many as are downloaded together.
const MAX_FILES: usize = 8;

/// Narrower terminals get no bars, only words.
const MIN_COLUMNS: usize = 60;

/// Bars of the files that come just now, and one of all of them below. Dropping them leaves the terminal clean.
pub struct Bars {
    screen: MultiProgress,
    total: ProgressBar,
    files: HashMap<String, ProgressBar>,
    layout: Layout,
}

/// What stands on a line.
struct Layout {
    style: ProgressStyle,
    has_bars: bool,
}

impl Bars {
    /// Bars on standard error; `None` where that is no terminal.
    pub fn on_stderr() -> Option<Self> {
        let target = ProgressDrawTarget::stderr();
        let columns = render::columns(&std::io::stderr()).unwrap_or(80);
        (!target.is_hidden()).then(|| Self::on(target, columns))
    }

    fn on(target: ProgressDrawTarget, columns: usize) -> Self {
        let layout = Layout::new(columns);
        let screen = MultiProgress::with_draw_target(target);
        let total = screen.add(layout.bar());
        Self { screen, total, files: HashMap::new(), layout }
    }

    /// Shows a pull as it is now.
    pub fn show(&mut self, pull: &Pull) {
        let Self { screen, total, files, layout } = self;
        let moving = moving(pull);
        files.retain(|path, bar| {
            let stays = moving.iter().any(|file| file.path == *path);
            if !stays {
                bar.finish_and_clear();
                screen.remove(bar);
            }
            stays
        });
        for file in moving {
            let new = || screen.insert_before(total, layout.bar());
            let bar = files.entry(file.path.clone()).or_insert_with(new);
            bar.set_length(file.total_bytes);
            bar.set_position(file.done_bytes);
            let words = format!("{} of {}", render::bytes(file.done_bytes), render::bytes(file.total_bytes));
            layout.put(bar, &file.path, words);
        }
        total.set_length(pull.total_bytes.unwrap_or(0).max(1));
        total.set_position(pull.done_bytes);
        layout.put(total, pull.model.0.rsplit('/').next().unwrap_or_default(), pulls::progress(pull));
    }
}

impl Layout {
    fn new(columns: usize) -> Self {
        let has_bars = columns >= MIN_COLUMNS;
        let template = if has_bars { "{prefix:26!} {bar:10} {wide_msg}" } else { "{wide_msg}" };
        let style = ProgressStyle::with_template(template).expect("the templates above are sound");
        Self { style, has_bars }
    }

    fn bar(&self) -> ProgressBar {
        ProgressBar::no_length().with_style(self.style.clone())
    }

    fn put(&self, bar: &ProgressBar, name: &str, words: String) {
        let name = render::printable(name);
        if self.has_bars {
            bar.set_prefix(name);
            bar.set_message(words);
        } else {
            bar.set_message(format!("{words} {name}"));
        }
    }
}

/// The files that have begun and are not whole, largest first.
fn moving(pull: &Pull) -> Vec<&PullFile> {
    let is_moving = |file: &&PullFile| file.done_bytes > 0 && file.done_bytes < file.total_bytes;
    pull.files.iter().filter(is_moving).take(MAX_FILES).collect()
}

impl Drop for Bars {
    fn drop(&mut self) {
        // Bars that cannot be taken away are no reason to fail.
        let _ = self.screen.clear();
    }
}

/// A line at every change and every few seconds, for logs.
#[derive(Debug, Default)]
pub struct Lines {
    /// When the last line was written, and of what.
    last: Option<(Instant, PullState, bool)>,
}

/// Between two lines of a pull that just goes on.
const LINE_EVERY: Duration = Duration::from_secs(5);

impl Lines {
    /// The line to write at this time, if one is due.
    pub fn line(&mut self, pull: &Pull, now: Instant) -> Option<String> {
        let (state, has_problem) = (pull.state, pull.error.is_some());
        let is_old_news = self.last.is_some_and(|(at, last_state, had_problem)| {
            (last_state, had_problem) == (state, has_problem) && now.duration_since(at) < LINE_EVERY
        });
        // How it ends is said by the command.
        if is_old_news || state.is_at_rest() {
            return None;
        }
        self.last = Some((now, state, has_problem));
        Some(format!("{}: {}\n", render::printable(&pull.model.0), pulls::progress(pull)))
    }
}

#[cfg(test)]
#[path = "bars_tests.rs"]
mod tests;
