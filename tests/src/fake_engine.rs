//! An engine for tests, and for nothing else: it knows no model and answers every prompt with the prompt itself, or with
//! what it was told to say, as far as a grammar lets it.
//!
//! It stands behind the same boundary as a real one, so that everything left of it is tested without MLX. How it
//! behaves is said in the model's `config.json`, under `fake`.

#[path = "../tests/support/model.rs"]
#[expect(dead_code, reason = "the tests change more of a model than a program does")]
mod model;

use std::io::Write;
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use engine::grammar::{self, Compiled, Grammar};
use engine::{
    Backend, Failure, FailureKind, Load, Loaded, Logprobs, Memory, Needs, Pace, Pooling, Speculation, Step, Submission,
    TokenId,
};
use serde::Deserialize;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match arguments.as_slice() {
        // As MLX's program does when it is asked where it computes.
        ["device"] => {
            let device = std::env::var("FAKE_DEVICE").unwrap_or_else(|_| "cpu".into());
            std::io::stdout().write_all(device.as_bytes())
        }
        // For the bench: writes a model of that id into a home, which behaves like this.
        ["install", home, id, behaviour] => serde_json::from_str(behaviour).map_err(std::io::Error::from).map(|fake| {
            model::install(Path::new(home), id, |files| files.config["fake"] = fake);
        }),
        _ => engine::serve::run(Fake::default()),
    };
    if done.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

#[derive(Default)]
struct Fake {
    behaviour: Behaviour,
    done: Done,
    /// Bytes of the draft's weights; `None` without one.
    draft_bytes: Option<u64>,
}

/// What it has computed since its start.
#[derive(Clone, Copy, Default)]
struct Done {
    /// Steps that gave tokens, however many sequences got one.
    steps: u64,
    /// Pieces of prompts.
    pieces: u64,
}

/// How to behave; everything is quick and sound by default.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Behaviour {
    /// Time for each step of the load.
    load_step_ms: u64,
    /// Steps of the load; 0 counts as ten.
    load_steps: u64,
    /// Time for each step, however many sequences get a token by it, and for each text.
    token_ms: u64,
    /// Tokens of a prompt that a piece of it has, and time for each; all of them where nothing is said.
    prefill_chunk: Option<u32>,
    prefill_ms: u64,
    /// Answers prompts in which this stands with three numbers: steps that it had done when the prompt came, steps that it
    /// had done before the one that gives the answer's first token, and pieces of any prompt that it computed in between.
    tell_steps_to: Option<String>,
    /// Bytes that its weights take, and each token of a sequence; 100 and 1 where nothing is said.
    weight_bytes: Option<u64>,
    token_bytes: Option<u64>,
    /// Repeats the prompt so often; 0 counts as once.
    repeat: usize,
    /// What to answer to prompts in which a text stands; the first that fits.
    answers: Vec<Script>,
    /// Its special tokens, numbered from 257 on.
    special_tokens: Vec<String>,
    /// Fails the load with these words.
    fail_load: Option<String>,
    /// Fails each sequence after so many tokens.
    fail_after: Option<usize>,
    /// Aborts the process after so many tokens of a sequence.
    abort_after: Option<usize>,
    /// Does nothing any more after so many tokens of a sequence.
    hang_after: Option<usize>,
    /// Aborts the process while it loads.
    abort_load: bool,
    /// Does without the draft that is named, and says these words.
    refuse_draft: Option<String>,
}

/// An answer that is known beforehand.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Script {
    /// Stands in the prompt.
    to: String,
    say: Vec<Piece>,
}

/// A part of an answer.
#[derive(Deserialize)]
#[serde(untagged)]
enum Piece {
    Token(TokenId),
    Text(String),
}

#[derive(Deserialize)]
struct Config {
    vocab_size: u32,
    #[serde(default)]
    fake: Behaviour,
}

#[derive(Clone)]
struct Sequence {
    answer: Answer,
    prompt: u32,
    stop: TokenId,
    prefilled: u32,
    /// What was done when it came, if it is to tell.
    tells: Option<Done>,
    next: usize,
    logprobs: Option<u32>,
    is_drafted: bool,
}

#[derive(Clone)]
struct Answer {
    tokens: Vec<TokenId>,
    /// Whether its grammar allows nothing after it.
    is_whole: bool,
}

impl Backend for Fake {
    type Sequence = Sequence;
    type Text = (Vec<TokenId>, Pooling);

    fn needs(&mut self, load: &Load) -> Result<Needs, Failure> {
        let config = config(&load.path).map_err(|words| Failure::new(FailureKind::ModelBroken, words))?;
        self.behaviour = config.fake;
        self.draft(load)?;
        Ok(Needs { weight_bytes: self.weight_bytes(), ..Needs::default() })
    }

    fn load(&mut self, load: &Load, progress: &mut dyn FnMut(u64, u64)) -> Result<Loaded, Failure> {
        let config = config(&load.path).map_err(|words| Failure::new(FailureKind::ModelBroken, words))?;
        self.behaviour = config.fake;
        let steps = if self.behaviour.load_steps == 0 { 10 } else { self.behaviour.load_steps };
        for step in 1..=steps {
            std::thread::sleep(Duration::from_millis(self.behaviour.load_step_ms));
            progress(step, steps);
            if self.behaviour.abort_load {
                std::process::abort();
            }
        }
        if let Some(words) = self.behaviour.fail_load.take() {
            return Err(Failure::new(FailureKind::ModelBroken, words));
        }
        let (device, dtype) = ("fake".to_owned(), "none".to_owned());
        Ok(Loaded {
            vocab_size: config.vocab_size,
            weight_bytes: self.weight_bytes(),
            device,
            dtype,
            token_bytes: self.behaviour.token_bytes.unwrap_or(1),
            window_tokens: 0,
            window_bytes: 0,
            draft_refused: self.behaviour.refuse_draft.clone().filter(|_| load.draft.is_some()),
        })
    }

    fn begin(&mut self, submission: &Submission) -> Result<Sequence, Failure> {
        if submission.speculation == Speculation::Draft && self.draft_bytes.is_none() {
            return Err(Failure::new(FailureKind::NotSupported, "this fake engine has no draft"));
        }
        let tokens = self.behaviour.script(&submission.prompt).unwrap_or_else(|| submission.prompt.clone());
        let answer = match &submission.grammar {
            None => Answer { tokens: tokens.repeat(self.behaviour.repeat.max(1)), is_whole: false },
            Some(grammar) => obeying(grammar, &tokens, submission, &self.behaviour.special_tokens)
                .map_err(|words| Failure::new(FailureKind::InvalidGrammar, words))?,
        };
        Ok(Sequence {
            answer,
            prompt: submission.prompt.len() as u32,
            stop: submission.stop_tokens.first().copied().unwrap_or_default(),
            prefilled: 0,
            tells: self.behaviour.is_asked_for_steps(&submission.prompt).then_some(self.done),
            next: 0,
            logprobs: submission.logprobs,
            is_drafted: submission.speculation == Speculation::Draft,
        })
    }

    /// A piece is all that others wait for, however long it is.
    fn turn_tokens(&self) -> u32 {
        self.behaviour.prefill_chunk.unwrap_or(512)
    }

    fn step(&mut self, sequence: &mut Sequence, _: Pace) -> Result<Step, Failure> {
        if sequence.prefilled < sequence.prompt {
            compute(self.behaviour.prefill_ms);
            self.done.pieces += 1;
            let piece = self.behaviour.prefill_chunk.unwrap_or(sequence.prompt).max(1);
            sequence.prefilled = sequence.prompt.min(sequence.prefilled.saturating_add(piece));
            return Ok(Step::Prefill { done: sequence.prefilled });
        }
        self.decode(&mut [sequence]).remove(0)
    }

    fn decode(&mut self, rows: &mut [&mut Sequence]) -> Vec<Result<Step, Failure>> {
        compute(self.behaviour.token_ms);
        let given = rows.iter_mut().map(|row| self.token(row)).collect();
        self.done.steps += 1;
        given
    }

    /// Another sample says the same.
    fn fork(&mut self, sequence: &Sequence, _: &Submission) -> Result<Sequence, Failure> {
        Ok(sequence.clone())
    }

    /// It is certain of what it says: everything else has no chance.
    fn logprobs(&mut self, sequence: &mut Sequence) -> Result<Option<Logprobs>, Failure> {
        let said = sequence.answer.tokens.get(sequence.next - 1).copied();
        Ok(sequence.logprobs.zip(said).map(|(count, token)| {
            let others = (0..).filter(|other| *other != token).map(|other| (other, -100.0));
            let top = std::iter::once((token, 0.0)).chain(others).take(count as usize).collect();
            Logprobs { chosen: 0.0, top }
        }))
    }

    fn begin_text(&mut self, tokens: &[TokenId], pooling: Pooling) -> Result<Self::Text, Failure> {
        Ok((tokens.to_vec(), pooling))
    }

    /// The first token, the last, how many there are, and which pooling was asked for.
    fn embed(&mut self, (tokens, pooling): &mut Self::Text) -> Result<Option<Vec<f32>>, Failure> {
        compute(self.behaviour.token_ms);
        if self.behaviour.fail_after == Some(0) {
            return Err(Failure::new(FailureKind::Internal, "this fake engine was told to fail"));
        }
        let pooling = match pooling {
            Pooling::Mean => 0.0,
            Pooling::First => 1.0,
            Pooling::Last => 2.0,
        };
        let end = |token: Option<&TokenId>| token.map_or(0.0, |token| *token as f32);
        Ok(Some(vec![end(tokens.first()), end(tokens.last()), tokens.len() as f32, pooling]))
    }

    /// Its draft guesses everything.
    fn speculated(&self, sequence: &Sequence) -> u32 {
        if sequence.is_drafted { sequence.next as u32 } else { 0 }
    }

    fn memory(&self) -> Memory {
        Memory { active_bytes: self.weight_bytes(), peak_bytes: self.weight_bytes(), ..Memory::default() }
    }
}

impl Fake {
    fn weight_bytes(&self) -> u64 {
        self.behaviour.weight_bytes.unwrap_or(100) + self.draft_bytes.unwrap_or(0)
    }

    /// Looks at the draft, unless it is to do without.
    fn draft(&mut self, load: &Load) -> Result<(), Failure> {
        let Some(folder) = load.draft.as_ref().filter(|_| self.behaviour.refuse_draft.is_none()) else { return Ok(()) };
        let config = config(folder).map_err(|words| Failure::new(FailureKind::ModelBroken, words))?;
        self.draft_bytes = Some(config.fake.weight_bytes.unwrap_or(100));
        Ok(())
    }

    /// The next token of a sequence.
    fn token(&self, sequence: &mut Sequence) -> Result<Step, Failure> {
        if self.behaviour.fail_after == Some(sequence.next) {
            return Err(Failure::new(FailureKind::Internal, "this fake engine was told to fail"));
        }
        if self.behaviour.hang_after == Some(sequence.next) {
            std::thread::sleep(Duration::from_hours(1));
        }
        if self.behaviour.abort_after == Some(sequence.next) {
            std::process::abort();
        }
        if let Some(came) = sequence.tells.take() {
            let Done { steps, pieces } = self.done;
            let told = format!("{} {steps} {}", came.steps, pieces - came.pieces);
            sequence.answer.tokens = told.bytes().map(TokenId::from).collect();
        }
        let Answer { tokens, is_whole } = &sequence.answer;
        let token = tokens.get(sequence.next).copied().unwrap_or(sequence.stop);
        sequence.next += 1;
        Ok(if *is_whole && sequence.next == tokens.len() { Step::Last(token) } else { Step::Token(token) })
    }
}

impl Behaviour {
    /// Whether a prompt asks how many steps it has done.
    fn is_asked_for_steps(&self, prompt: &[TokenId]) -> bool {
        self.tell_steps_to.as_ref().is_some_and(|words| text(prompt).contains(words))
    }

    /// The answer to a prompt that a script fits.
    fn script(&self, prompt: &[TokenId]) -> Option<Vec<TokenId>> {
        let text = text(prompt);
        let script = self.answers.iter().find(|script| text.contains(&script.to))?;
        let tokens = |piece: &Piece| match piece {
            Piece::Token(token) => vec![*token],
            Piece::Text(text) => text.bytes().map(TokenId::from).collect(),
        };
        Some(script.say.iter().flat_map(tokens).collect())
    }
}

/// Without its special tokens.
fn text(tokens: &[TokenId]) -> String {
    let bytes: Vec<u8> = tokens.iter().filter_map(|token| u8::try_from(*token).ok()).collect();
    String::from_utf8_lossy(&bytes).into_owned()
}

/// `tokens` where the grammar lets them come, and around them what ends the text soonest.
fn obeying(
    grammar: &Grammar,
    tokens: &[TokenId],
    submission: &Submission,
    special: &[String],
) -> Result<Answer, String> {
    // Its models have one token for each byte, one more, and their special tokens.
    const END: TokenId = 256;
    let end = ["<end>".to_owned()];
    let special = end.iter().chain(special).map(|token| [b"\xff", token.as_bytes()].concat());
    let bytes: Vec<Vec<u8>> = (0..=u8::MAX).map(|byte| vec![byte]).chain(special).collect();
    let last = bytes.len() as TokenId - 1;
    let factory = grammar::factory(&bytes, &submission.stop_tokens).map_err(|error| error.to_string())?;
    let Compiled { mut matcher, first: mut allowed } = grammar.compile(&factory).map_err(|error| error.to_string())?;
    let mut wanted = tokens.iter().copied().peekable();
    let enders = submission.stop_tokens.iter().copied().chain(b"\"}]".map(TokenId::from));
    let mut tokens = Vec::new();
    while tokens.len() < submission.max_tokens as usize {
        let ender = || enders.clone().chain(0x21..END).chain(0..=last).find(|token| allowed.is_allowed(*token));
        let token = wanted.next_if(|token| allowed.is_allowed(*token)).or_else(ender).unwrap_or_default();
        if submission.stop_tokens.contains(&token) {
            break;
        }
        tokens.push(token);
        matcher.consume_token(token).map_err(|error| error.to_string())?;
        if matcher.is_stopped() {
            return Ok(Answer { tokens, is_whole: true });
        }
        allowed = matcher.compute_mask().map_err(|error| error.to_string())?;
    }
    Ok(Answer { tokens, is_whole: false })
}

fn config(folder: &Path) -> Result<Config, String> {
    let text = std::fs::read_to_string(folder.join("config.json")).map_err(|error| error.to_string())?;
    serde_json::from_str(&text).map_err(|error| error.to_string())
}

/// Takes as long as a device computes, to the point: the system wakes who sleeps some 0.1 ms late.
fn compute(ms: u64) {
    const LATE: Duration = Duration::from_micros(300);
    let (begun, all) = (Instant::now(), Duration::from_millis(ms));
    std::thread::sleep(all.saturating_sub(LATE));
    while begun.elapsed() < all {
        std::hint::spin_loop();
    }
}
