//! Kernels of our own that threads compile, each once for what it is for. Until then, MLX does without.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

/// Those of one sort, by what they are compiled for.
pub struct Compiled<K>(Mutex<Vec<(K, Ready)>>);

/// Whether one is compiled.
#[derive(Clone)]
pub struct Ready(Arc<AtomicBool>);

impl Ready {
    /// Whether it is by now.
    pub fn get(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

impl<K: Copy + PartialEq + Send + 'static> Compiled<K> {
    /// None yet.
    pub const fn new() -> Self {
        Self(Mutex::new(Vec::new()))
    }

    /// That for `kind`, which the first who asks has `compile` put where MLX finds it.
    pub fn of(&self, kind: K, compile: fn(K) -> io::Result<()>) -> Ready {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, known)) = all.iter().find(|(known, _)| *known == kind) {
            return known.clone();
        }
        let new = Ready(Arc::default());
        let waiting = new.clone();
        let compiling = move || waiting.0.store(compile(kind).is_ok(), Ordering::Release);
        // Without a thread, a compiler, or a folder that can be written, it is never ready.
        let _ = thread::Builder::new().name("kernels".into()).spawn(compiling);
        all.push((kind, new.clone()));
        new
    }
}

#[cfg(test)]
#[path = "compiled_tests.rs"]
mod tests;
