//! Everything that was measured, as JSON and as a table for people.

use std::fmt::{self, Display, Formatter};

use serde::Serialize;

use super::alone::Alone;
use super::cold::Cold;
use super::contest::{Candidate, Figures, Plan, Standing};
use super::figures::{Samples, places};
use super::held::{self, Held};
use super::machine::Machine;
use super::memory::Memory;
use super::mlx_lm::MlxLm;
use super::talkied::Talkied;
use crate::error::{self, Error, Result};

/// What one run found.
#[derive(Debug, Serialize)]
pub struct Report {
    /// On what.
    pub machine: Machine,
    /// The model's id.
    pub model: String,
    /// How much was asked of the candidates; absent when they never ran.
    pub plan: Option<Plan>,
    /// talkied first.
    pub candidates: Vec<Row>,
    /// Output control; absent when it could not be measured.
    pub held: Option<Held>,
    /// Cold starts; absent when they could not be measured.
    pub cold: Option<Cold>,
    /// Of talkied only.
    pub alone: Alone,
    /// What could not be measured and why.
    pub problems: Vec<String>,
}

/// A candidate and its figures.
#[derive(Debug, Serialize)]
pub struct Row {
    name: String,
    /// Type of its activations, where it says so.
    dtype: Option<String>,
    /// Whether it took few turns and decoded few tokens.
    slow: bool,
    #[serde(flatten)]
    figures: Figures,
}

impl Report {
    /// Without figures.
    pub fn new(machine: Machine) -> Self {
        let (model, candidates, problems) = (String::new(), Vec::new(), Vec::new());
        Self { machine, model, plan: None, candidates, held: None, cold: None, alone: Alone::default(), problems }
    }

    /// Notes that something could not be measured.
    pub fn problem(&mut self, what: &str, error: &Error) {
        self.problems.push(format!("failed to measure {what}: {}", error::chain(error)));
    }

    /// The measurement, or `None` and a note.
    pub fn keep<T>(&mut self, what: &str, measured: Result<T>) -> Option<T> {
        measured.inspect_err(|error| self.problem(what, error)).ok()
    }

    /// Takes over what the candidates reached. Candidates that were asked different things are a problem.
    pub fn contest(&mut self, plan: Plan, talkied: Standing<Talkied>, others: [Standing<MlxLm>; 2]) {
        self.plan = Some(plan);
        self.candidates.push(row(talkied, None));
        self.candidates.extend(others.into_iter().map(|other| {
            let dtype = other.candidate.dtype().to_owned();
            row(other, Some(dtype))
        }));
        let [first, rest @ ..] = self.candidates.as_slice() else { return };
        let expected = first.figures.prompt_tokens;
        let differs = |row: &&Row| row.figures.prompt_tokens.iter().zip(expected).any(|(a, b)| a.is_some() && *a != b);
        let problems: Vec<String> = rest.iter().filter(differs).map(|row| unequal(row, expected)).collect();
        self.problems.extend(problems);
    }
}

fn row<C: Candidate>(standing: Standing<C>, dtype: Option<String>) -> Row {
    Row { name: standing.candidate.name(), dtype, slow: standing.candidate.is_slow(), figures: standing.figures }
}

fn unequal(row: &Row, expected: [Option<u32>; 2]) -> String {
    format!("{} had prompts of {:?} tokens, talkied of {expected:?}", row.name, row.figures.prompt_tokens)
}

/// A figure of the contest: its column's head, where it is, and whether more of it is better.
type Column = (&'static str, fn(&Figures) -> &Samples, Better);

#[derive(Clone, Copy, PartialEq, Eq)]
enum Better {
    More,
    Less,
}

const COLUMNS: [Column; 4] = [
    ("decode tokens/s", |figures| &figures.decode_tokens_per_s, Better::More),
    ("prefill tokens/s", |figures| &figures.prefill_tokens_per_s, Better::More),
    ("first token ms", |figures| &figures.first_token_ms, Better::Less),
    ("load ms", |figures| &figures.load_ms, Better::Less),
];

/// How many times as good as the other's median the first one's is.
fn times(first: &Figures, other: &Figures, (_, samples, better): Column) -> Option<f64> {
    let (first, other) = (samples(first).median()?, samples(other).median()?);
    Some(if better == Better::More { first / other } else { other / first })
}

impl Display for Report {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        self.head(f)?;
        self.contest_table(f)?;
        self.pairs_table(f)?;
        self.alone_table(f)?;
        self.aims_table(f)?;
        self.problems.iter().try_for_each(|problem| writeln!(f, "\n{problem}"))
    }
}

impl Report {
    fn head(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Machine { commit, cpu, cores, os, load_average, talkied, reference, .. } = &self.machine;
        writeln!(f, "talkied {talkied} ({commit}) against {reference}")?;
        writeln!(f, "{cpu}, {cores} cores, {os}; load average at the start: {load_average}")?;
        let (Some(plan), Some(first)) = (&self.plan, self.candidates.first()) else { return Ok(()) };
        let [short, long] = first.figures.prompt_tokens.map(Option::unwrap_or_default);
        let Plan { rounds, tokens, slow_rounds, slow_tokens } = plan;
        writeln!(f, "{}: one folder, greedy, {rounds} rounds in turns; median (least–most)", self.model)?;
        writeln!(f, "decode and first token: {tokens} tokens after {short}; prefill: {long} tokens")?;
        writeln!(f, "load: talkied from the start of its engine's process until the model has run once,")?;
        writeln!(f, "      mlx-lm its load() and a cast, in a process that is up")?;
        writeln!(f, "cold start: talkied from a request to a daemon without the model, tokenizer included;")?;
        writeln!(f, "      mlx-lm from the start of a Python process, its imports included")?;
        if self.candidates.iter().any(|row| row.slow) {
            writeln!(f, "* takes seconds for a token: {slow_tokens} tokens after {short}, {slow_rounds} rounds")?;
        }
        Ok(())
    }

    fn contest_table(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let [talkied, others @ ..] = self.candidates.as_slice() else { return Ok(()) };
        write!(f, "\n{:32}", "")?;
        COLUMNS.iter().try_for_each(|(head, ..)| write!(f, "{head:>23}"))?;
        cells(f, "talkied", |(_, samples, _)| samples(&talkied.figures).to_string())?;
        for other in others {
            let name = format!("{}{}", other.name, if other.slow { " *" } else { "" });
            cells(f, &name, |(_, samples, _)| match samples(&other.figures) {
                none if other.slow && none.median().is_none() => "–".to_owned(),
                samples => samples.to_string(),
            })?;
            cells(f, "  talkied is better by", |column| factor(times(&talkied.figures, &other.figures, column)))?;
        }
        writeln!(f)
    }

    fn pairs_table(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(f, "\ndecode held to a JSON schema     {}", told(self.held.as_ref()))?;
        writeln!(f, "cold start to the first token    {}", told(self.cold.as_ref()))
    }

    fn alone_table(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Alone { ping, listening, idle, resident, engine } = &self.alone;
        let quantile = |samples: &Option<Samples>, share| shown(samples.as_ref().and_then(|s| s.quantile(share)));
        writeln!(
            f,
            "\nping over the socket             p50 {} µs, p99 {} µs",
            quantile(ping, 0.5),
            quantile(ping, 0.99)
        )?;
        let most = shown(listening.as_ref().and_then(Samples::most));
        writeln!(f, "from start to listening          median {} ms, most {most} ms", quantile(listening, 0.5))?;
        writeln!(f, "memory of the daemon, no model   {}", bytes(idle.as_ref()))?;
        writeln!(f, "memory of the daemon, one model  {}", bytes(resident.as_ref()))?;
        writeln!(f, "memory of the engine             {}", bytes(engine.as_ref()))
    }

    fn aims_table(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(f, "\n{:40}{:>12}{:>14}", "aim", "", "measured")?;
        self.aims().iter().try_for_each(|aim| {
            let verdict = aim.value.map_or("not measured", |value| if aim.is_met(value) { "met" } else { "not met" });
            let bound = if aim.better == Better::More { '≥' } else { '<' };
            writeln!(f, "{:40}{bound:>5} {:>6}{:>14}  {verdict}", aim.what, aim.limit, shown(aim.value))
        })
    }

    fn aims(&self) -> [Aim; 6] {
        let [talkied, others @ ..] = self.candidates.as_slice() else { return self.aims_against(None, None) };
        let decode = |row: &Row| times(&talkied.figures, &row.figures, COLUMNS[0]);
        let float32 = |row: &&Row| row.dtype.as_deref() == Some("float32");
        let half = |row: &&Row| !float32(row);
        self.aims_against(others.iter().find(float32).and_then(decode), others.iter().find(half).and_then(decode))
    }

    fn aims_against(&self, float32: Option<f64>, half: Option<f64>) -> [Aim; 6] {
        let Alone { ping, listening, idle, .. } = &self.alone;
        let idle_mb = idle.as_ref().map(|memory| megabytes(memory.resident));
        let held = self.held.as_ref().and_then(|held| held.schema_over_free.median());
        let aim = |what, better, limit, value| Aim { what, better, limit, value };
        [
            aim("decode, times mlx-lm in float32", Better::More, 1.0, float32),
            aim("decode, times mlx-lm in half precision", Better::More, 30.0, half),
            aim("decode held to a schema, times free", Better::More, held::LIMIT, held),
            aim("ping p50, µs", Better::Less, 100.0, ping.as_ref().and_then(|samples| samples.quantile(0.5))),
            aim("start to listening, median ms", Better::Less, 100.0, listening.as_ref().and_then(Samples::median)),
            aim("memory of the idle daemon, MB", Better::Less, 25.0, idle_mb),
        ]
    }
}

/// What the project wants of a figure. Missing it is no failure of the bench.
struct Aim {
    what: &'static str,
    better: Better,
    limit: f64,
    value: Option<f64>,
}

impl Aim {
    fn is_met(&self, value: f64) -> bool {
        if self.better == Better::More { value >= self.limit } else { value < self.limit }
    }
}

fn cells(f: &mut Formatter<'_>, name: &str, cell: impl Fn(Column) -> String) -> fmt::Result {
    write!(f, "\n{name:32}")?;
    COLUMNS.iter().try_for_each(|column| write!(f, "{:>23}", cell(*column)))
}

fn factor(times: Option<f64>) -> String {
    times.map_or_else(|| "–".to_owned(), |times| format!("× {times:.*}", places(times)))
}

fn shown(value: Option<f64>) -> String {
    value.map_or_else(|| "–".to_owned(), |value| format!("{value:.*}", places(value)))
}

fn told(row: Option<&impl Display>) -> String {
    row.map_or_else(|| "not measured".to_owned(), ToString::to_string)
}

fn bytes(memory: Option<&Memory>) -> String {
    let Some(Memory { resident, proportional, private }) = memory else { return "not measured".to_owned() };
    let part = |name: &str, bytes: &Option<u64>| bytes.map(|bytes| format!(", {name} {:.1} MB", megabytes(bytes)));
    let parts = [part("proportional", proportional), part("private", private)];
    format!("resident {:.1} MB{}", megabytes(*resident), parts.into_iter().flatten().collect::<String>())
}

fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}

#[cfg(test)]
#[path = "report_tests.rs"]
mod tests;
