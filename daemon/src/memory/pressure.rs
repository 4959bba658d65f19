//! Whether the machine runs short of memory, as its kernel tells: Linux by the time that programs stall for want of it, macOS
//! by a level.
//!
//! It is asked once a second while a model is in memory, and not at all while none is. A level rises at once, and falls
//! after it has not been seen for a while: whoever gives memory back in steps must not be told to stop in between.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use tokio::sync::watch;

/// Between two questions.
const INTERVAL: Duration = Duration::from_secs(1);

/// For so long a level holds after it was seen last.
const HOLDS: Duration = Duration::from_secs(10);

/// How short memory is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// There is enough.
    #[default]
    Calm,
    /// What nobody needs right now should be given back.
    Soft,
    /// The machine is about to stand still, or to kill somebody.
    Hard,
}

/// Who tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// The kernel of this machine.
    Kernel,
    /// A file as Linux's `/proc/pressure/memory`: that of a control group, `memory.pressure`.
    File(PathBuf),
}

/// What Linux tells of stalls, in microseconds since the machine was started: `some` program's, and those of all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stalls {
    some: u64,
    full: u64,
}

/// Asks as long as somebody listens and `is_needed` says that there is a model in memory, and tells each new level.
///
/// It has a thread of its own, which nothing else wakes and which wakes nobody while the level stays: a machine that only
/// waits for a model's next token is to be left alone. Must be called within a runtime's context.
pub fn watch(
    source: Source,
    is_needed: watch::Receiver<bool>,
    levels: watch::Sender<Level>,
) -> io::Result<JoinHandle<()>> {
    let runtime = Handle::current();
    thread::Builder::new().name("memory-pressure".into()).spawn(move || ask_on(&runtime, &source, is_needed, &levels))
}

fn ask_on(runtime: &Handle, source: &Source, mut is_needed: watch::Receiver<bool>, levels: &watch::Sender<Level>) {
    let mut meter = Meter::default();
    while !levels.is_closed() {
        if *is_needed.borrow_and_update() {
            tell(levels, meter.level(source.ask(), Instant::now()));
            thread::sleep(INTERVAL);
            continue;
        }
        // What came before a pause is no measure of what comes after it.
        meter = Meter::default();
        tell(levels, Level::Calm);
        let changed = runtime.block_on(async {
            tokio::select! {
                changed = is_needed.changed() => changed.is_ok(),
                () = levels.closed() => false,
            }
        });
        if !changed {
            return;
        }
    }
}

fn tell(levels: &watch::Sender<Level>, level: Level) {
    levels.send_if_modified(|told| std::mem::replace(told, level) != level);
}

/// What was asked for and said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Said {
    /// A level.
    #[cfg_attr(not(any(target_os = "macos", test)), expect(dead_code, reason = "what macOS tells"))]
    Level(Level),
    /// Stalls until now.
    Stalls(Stalls),
    /// Nothing.
    Nothing,
}

impl Source {
    fn ask(&self) -> Said {
        match self {
            Self::Kernel => kernel(),
            Self::File(path) => stalls_in(path),
        }
    }
}

#[cfg(not(target_os = "macos"))]
fn kernel() -> Said {
    stalls_in(Path::new("/proc/pressure/memory"))
}

/// `kern.memorystatus_vm_pressure_level`, of which XNU's `sys/event.h` says what the numbers mean: 1 normal, 2 warn, 4
/// critical.
#[cfg(target_os = "macos")]
fn kernel() -> Said {
    match crate::sysctl::text("kern.memorystatus_vm_pressure_level").as_deref() {
        Some("1") => Said::Level(Level::Calm),
        Some("2") => Said::Level(Level::Soft),
        Some("4") => Said::Level(Level::Hard),
        _ => Said::Nothing,
    }
}

/// The kernel gives all of it in one read.
fn stalls_in(path: &Path) -> Said {
    let mut text = [0; 512];
    let length = File::open(path).and_then(|mut file| file.read(&mut text)).unwrap_or(0);
    stalls(&String::from_utf8_lossy(&text[..length])).map_or(Said::Nothing, Said::Stalls)
}

/// As <https://docs.kernel.org/accounting/psi.html> describes it.
fn stalls(text: &str) -> Option<Stalls> {
    let total = |kind: &str| {
        let line = text.lines().find(|line| line.split(' ').next() == Some(kind))?;
        line.split(' ').find_map(|field| field.strip_prefix("total="))?.trim().parse().ok()
    };
    Some(Stalls { some: total("some")?, full: total("full")? })
}

/// Makes levels of what is said one time after another.
#[derive(Debug, Default)]
struct Meter {
    before: Option<(Stalls, Instant)>,
    /// When each level above calm was seen last.
    soft: Option<Instant>,
    hard: Option<Instant>,
}

impl Meter {
    fn level(&mut self, said: Said, now: Instant) -> Level {
        let seen = match said {
            Said::Level(level) => level,
            Said::Stalls(stalls) => {
                let before = self.before.replace((stalls, now));
                before.map_or(Level::Calm, |(before, then)| of(before, stalls, now.saturating_duration_since(then)))
            }
            Said::Nothing => Level::Calm,
        };
        if seen >= Level::Soft {
            self.soft = Some(now);
        }
        if seen == Level::Hard {
            self.hard = Some(now);
        }
        let holds = |seen: Option<Instant>| seen.is_some_and(|seen| now.saturating_duration_since(seen) < HOLDS);
        match (holds(self.hard), holds(self.soft)) {
            (true, _) => Level::Hard,
            (false, true) => Level::Soft,
            (false, false) => Level::Calm,
        }
    }
}

/// Hard where for a tenth of the time nothing at all went on, soft where somebody stood still for as long.
fn of(before: Stalls, now: Stalls, elapsed: Duration) -> Level {
    let share = |before: u64, now: u64| now.saturating_sub(before) as f64 / (elapsed.as_micros() as f64).max(1.0);
    if share(before.full, now.full) >= 0.1 {
        Level::Hard
    } else if share(before.some, now.some) >= 0.1 {
        Level::Soft
    } else {
        Level::Calm
    }
}

#[cfg(test)]
#[path = "pressure_tests.rs"]
mod tests;
