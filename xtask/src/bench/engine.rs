//! The engine program by itself, spoken to as the daemon does, with prompts of token numbers.

use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command as Program, Stdio};
use std::time::Instant;

use engine::{Command, Event, Finished, Load, Loaded, SequenceId, Submission, Work, frame};

use super::contest::Generation;
use crate::command;
use crate::error::{Error, Result};

/// `talkied-mlx` with one folder; started anew for each load, since that is what a load is.
pub struct Engine {
    program: PathBuf,
    folder: PathBuf,
    running: Option<Running>,
    next: u64,
}

/// Its process, ended when dropped.
struct Running {
    child: Child,
    socket: UnixStream,
    loaded: Loaded,
}

impl Engine {
    /// Of a program and a model's folder. Starts nothing.
    pub fn new(program: PathBuf, folder: &Path) -> Self {
        Self { program, folder: folder.to_owned(), running: None, next: 0 }
    }

    /// The device and the type of the activations, known after the first load.
    pub fn description(&self) -> String {
        let loaded = self.running.as_ref().map(|running| &running.loaded);
        loaded.map_or_else(String::new, |loaded| format!("{} in {}", loaded.device, loaded.dtype))
    }

    /// Loads the model anew and returns the milliseconds from the start of the process until it is warm.
    pub fn load(&mut self) -> Result<f64> {
        self.running = None;
        let started = Instant::now();
        self.running = Some(Running::start(&self.program, &self.folder)?);
        Ok(started.elapsed().as_secs_f64() * 1e3)
    }

    /// The likeliest `tokens` tokens after `prompt`, and the milliseconds that a step's graph took to build.
    pub fn generate(&mut self, prompt: &[u32], tokens: u32) -> Result<(Generation, f64)> {
        self.next += 1;
        let submission = Submission::greedy(SequenceId(self.next), prompt, tokens);
        let running = self.running.as_mut().ok_or_else(|| Error::Unexpected("no model is loaded".into()))?;
        running.generate(submission)
    }
}

impl Running {
    fn start(program: &Path, folder: &Path) -> Result<Self> {
        let (socket, theirs) = UnixStream::pair().map_err(io("make a socket"))?;
        let mut engine = Program::new(program);
        engine.stdin(Stdio::from(OwnedFd::from(theirs))).stdout(Stdio::null());
        let child = engine.spawn().map_err(command::start_error(&engine))?;
        drop(engine);
        let loaded = Loaded { vocab_size: 0, weight_bytes: 0, device: String::new(), dtype: String::new() };
        let mut running = Self { child, socket, loaded };
        running.send(&Command::Load(Load { path: folder.to_owned() }))?;
        running.loaded = loop {
            match running.event()? {
                Event::Ready(loaded) => break loaded,
                Event::LoadFailed(failure) => return Err(Error::Unexpected(format!("the engine: {failure}"))),
                _ => {}
            }
        };
        Ok(running)
    }

    fn generate(&mut self, submission: Submission) -> Result<(Generation, f64)> {
        let prompt_tokens = submission.prompt.len() as u32;
        let submitted = Instant::now();
        self.send(&Command::Submit(Work::Generate(submission)))?;
        let (mut answer, mut times) = (Vec::new(), Vec::new());
        let finished = loop {
            match self.event()? {
                Event::Token { id, .. } => {
                    times.push(submitted.elapsed().as_secs_f64());
                    answer.push(id);
                }
                Event::Finished(finished) => break finished,
                Event::Failed { failure, .. } => return Err(Error::Unexpected(format!("the engine: {failure}"))),
                _ => {}
            }
        };
        let (Some(first), Some(last)) = (times.first(), times.last()) else {
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
        Ok((generation, build_ms(&finished)))
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

fn build_ms(finished: &Finished) -> f64 {
    finished.build_us as f64 / 1e3 / f64::from(finished.completion_tokens.max(1))
}

fn io(action: &'static str) -> impl FnOnce(std::io::Error) -> Error {
    move |source| Error::Io { action: action.into(), source }
}
