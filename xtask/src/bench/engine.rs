//! The engine program by itself, spoken to as the daemon does, with prompts of token numbers.

use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command as Program, Stdio};
use std::time::Instant;

use engine::{Command, Event, Finished, Load, Loaded, SequenceId, Submission, frame};

use super::contest::Generation;
use crate::command;
use crate::error::{Error, Result};

/// An engine's program with one folder or file; started anew for each load, since that is what a load is.
pub struct Engine {
    program: PathBuf,
    folder: PathBuf,
    /// Where they are limited.
    threads: Option<usize>,
    running: Option<Running>,
    next: u64,
}

/// What came after a prompt, and how.
pub struct Answer {
    /// Its figures.
    pub generation: Generation,
    /// Milliseconds that a step's graph took to build.
    pub build_ms: f64,
    /// Tokens of the prompt that the engine had computed before, for another one. On a processor; a GPU may compute that fast.
    pub kept_tokens: u32,
}

/// The first report of a prompt's computation.
#[derive(Debug, Clone, Copy)]
struct Prefilled {
    tokens: u32,
    /// Since the prompt was submitted.
    seconds: f64,
}

/// A step in which an engine computes tokens of a prompt together takes longer by token than one part in so many of a step
/// for a single token, on any processor: on two cores one part in ten, on dozens one in fifty. One that computes nothing
/// takes no time, or that of a copy of keys and values.
const AT_ONCE: f64 = 128.0;

/// Its process, ended when dropped.
struct Running {
    child: Child,
    socket: UnixStream,
    loaded: Loaded,
}

impl Engine {
    /// Of a program and a model's folder. Starts nothing.
    pub fn new(program: PathBuf, folder: &Path) -> Self {
        Self { program, folder: folder.to_owned(), threads: None, running: None, next: 0 }
    }

    /// The same with so many threads, from the next load on. Candle's engine alone heeds it.
    pub fn with_threads(self, threads: usize) -> Self {
        Self { threads: Some(threads), ..self }
    }

    /// The device and the type of the activations, known after the first load.
    pub fn description(&self) -> String {
        let loaded = self.running.as_ref().map(|running| &running.loaded);
        loaded.map_or_else(String::new, |loaded| format!("{} in {}", loaded.device, loaded.dtype))
    }

    /// Bytes that the weights take in memory, known after the first load.
    pub fn weight_bytes(&self) -> u64 {
        self.running.as_ref().map_or(0, |running| running.loaded.weight_bytes)
    }

    /// Loads the model anew and returns the milliseconds from the start of the process until it is warm.
    pub fn load(&mut self) -> Result<f64> {
        self.running = None;
        let started = Instant::now();
        self.running = Some(Running::start(&self.program, &self.folder, self.threads)?);
        Ok(started.elapsed().as_secs_f64() * 1e3)
    }

    /// The likeliest `tokens` tokens after `prompt`.
    pub fn generate(&mut self, prompt: &[u32], tokens: u32) -> Result<Answer> {
        self.next += 1;
        let submission = Submission::greedy(SequenceId(self.next), prompt, tokens);
        let running = self.running.as_mut().ok_or_else(|| Error::Unexpected("no model is loaded".into()))?;
        running.generate(submission)
    }
}

impl Running {
    fn start(program: &Path, folder: &Path, threads: Option<usize>) -> Result<Self> {
        let (socket, theirs) = UnixStream::pair().map_err(io("make a socket"))?;
        let mut engine = Program::new(program);
        engine.stdin(Stdio::from(OwnedFd::from(theirs))).stdout(Stdio::null());
        if let Some(threads) = threads {
            engine.env("RAYON_NUM_THREADS", threads.to_string());
        }
        let child = engine.spawn().map_err(command::start_error(&engine))?;
        drop(engine);
        let loaded = Loaded {
            vocab_size: 0,
            weight_bytes: 0,
            device: String::new(),
            dtype: String::new(),
            token_bytes: 0,
            window_tokens: 0,
            window_bytes: 0,
            draft_refused: None,
        };
        let mut running = Self { child, socket, loaded };
        running.send(&Command::Load(Load::new(folder.to_owned())))?;
        running.send(&Command::Proceed)?;
        running.loaded = loop {
            match running.event()? {
                Event::Ready(loaded) => break loaded,
                Event::LoadFailed(failure) => return Err(Error::Unexpected(format!("the engine: {failure}"))),
                _ => {}
            }
        };
        Ok(running)
    }

    fn generate(&mut self, submission: Submission) -> Result<Answer> {
        let prompt_tokens = submission.prompt.len() as u32;
        let submitted = Instant::now();
        self.send(&Command::generate(submission))?;
        let (mut answer, mut times, mut prefills) = (Vec::new(), Vec::new(), Vec::new());
        let finished = loop {
            match self.event()? {
                Event::Prefill { done, .. } => {
                    prefills.push(Prefilled { tokens: done, seconds: submitted.elapsed().as_secs_f64() });
                }
                Event::Token { id, .. } => {
                    times.push(submitted.elapsed().as_secs_f64());
                    answer.push(id);
                }
                Event::Finished(finished) => break finished,
                Event::Failed { failure, .. } => return Err(Error::Unexpected(format!("the engine: {failure}"))),
                _ => {}
            }
        };
        let (Some(&first), Some(&last)) = (times.first(), times.last()) else {
            return Err(Error::Unexpected("the engine gave no token".into()));
        };
        let generation = Generation {
            prompt_tokens,
            tokens: answer.len() as u32,
            first_token_ms: first * 1e3,
            prefill_tokens_per_s: f64::from(prompt_tokens) / first,
            decode_tokens_per_s: if times.len() > 1 { (times.len() - 1) as f64 / (last - first) } else { 0.0 },
            answer,
        };
        // The last token of a prompt is computed by itself.
        let step_s = prefills.last().map_or(0.0, |last| first - last.seconds);
        let kept_tokens = prefills.first().map_or(0, |prefilled| kept_tokens(*prefilled, step_s));
        Ok(Answer { generation, build_ms: build_ms(&finished), kept_tokens })
    }

    fn send(&mut self, command: &Command) -> Result<()> {
        frame::write(&mut self.socket, command).map_err(io("write to the engine"))
    }

    fn event(&mut self) -> Result<Event> {
        let event = frame::read(&mut self.socket).map_err(io("read from the engine"))?;
        event.ok_or_else(|| Error::Unexpected("the engine ended; what it said stands above".into()))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Either fails only when the process has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What of a prompt was there at once, where a single token takes `step_s`.
fn kept_tokens(first: Prefilled, step_s: f64) -> u32 {
    if first.seconds * AT_ONCE < step_s * f64::from(first.tokens) { first.tokens } else { 0 }
}

fn build_ms(finished: &Finished) -> f64 {
    finished.build_us as f64 / 1e3 / f64::from(finished.completion_tokens.max(1))
}

fn io(action: &'static str) -> impl FnOnce(std::io::Error) -> Error {
    move |source| Error::Io { action: action.into(), source }
}

#[cfg(test)]
#[path = "engine_tests.rs"]
mod tests;
