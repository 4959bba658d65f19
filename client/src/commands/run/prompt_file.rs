//! A prompt in a file: options and variables in TOML between two lines `+++`, then the text with `{{places}}`.
//!
//! Every error names the file and the line. Called by [`super`].

use std::collections::{BTreeMap, HashSet};
use std::ffi::OsString;
use std::path::Path;

use clap::{CommandFactory, Parser};
use minijinja::syntax::SyntaxConfig;
use minijinja::{AutoEscape, Environment, ErrorKind, UndefinedBehavior, Value};

use crate::cli::{Asked, Tools};
use crate::commands::suggest;
use crate::failure::{Failure, complaint};

/// The variable that is what was piped in.
pub const INPUT: &str = "input";

/// Around the options.
const FENCE: &str = "+++";

/// Steps a prompt may take to be filled; a loop without end takes more.
const FUEL: u64 = 10_000_000;

/// Options whose values are files, which lie beside the prompt.
const FILES: [&str; 3] = ["json-schema", "lark", "tools"];

/// The options that a file may have: those of `generate`.
#[derive(Debug, Parser)]
#[command(no_binary_name = true, disable_help_flag = true, disable_version_flag = true)]
pub struct Options {
    #[command(flatten)]
    pub asked: Asked,
    #[command(flatten)]
    pub tools: Tools,
}

/// A file that was read.
pub struct PromptFile {
    pub options: Options,
    /// Of variables that are not given.
    pub defaults: toml::Table,
    pub template: Template,
}

/// The text with its places.
pub struct Template {
    name: String,
    text: String,
    /// Lines of the file before it.
    lines_before: usize,
    environment: Environment<'static>,
}

fn refuse(message: String) -> Failure {
    Failure::Usage { message, hint: "`talkiectl help run` shows what such a file looks like" }
}

impl PromptFile {
    /// Takes a file's text apart.
    pub fn read(text: &str, file: &Path) -> Result<Self, Failure> {
        let name = if file == Path::new("-") { "standard input".into() } else { file.display().to_string() };
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let (head, body, lines_before) = split(text).map_err(|problem| refuse(format!("{name}, {problem}")))?;
        let head = Head { name: &name, text: head };
        let mut table = head.table()?;
        let defaults = match table.remove("variables") {
            None => toml::Table::new(),
            Some(toml::Value::Table(variables)) => variables,
            Some(_) => return Err(head.wrong("variables", "variables are a table: [variables]")),
        };
        let options = head.options(table, file.parent().unwrap_or(Path::new("")))?;
        let template = Template::new(name, body.to_owned(), lines_before)?;
        Ok(Self { options, defaults, template })
    }
}

/// The TOML of a file, what stands between the fences, and how many lines come before the prompt.
fn split(text: &str) -> Result<(&str, &str, usize), &'static str> {
    let mut lines = text.split_inclusive('\n');
    let Some(first) = lines.next().filter(|line| line.trim_end() == FENCE) else { return Ok(("", text, 0)) };
    let mut end = first.len();
    for (index, line) in lines.enumerate() {
        if line.trim_end() == FENCE {
            return Ok((&text[first.len()..end], &text[end + line.len()..], index + 2));
        }
        end += line.len();
    }
    Err("line 1: the options that begin with +++ have no +++ at their end")
}

/// The TOML of a file.
struct Head<'a> {
    name: &'a str,
    text: &'a str,
}

impl Head<'_> {
    fn table(&self) -> Result<toml::Table, Failure> {
        self.text.parse::<toml::Table>().map_err(|error| {
            let before = error.span().and_then(|span| self.text.get(..span.start)).unwrap_or("");
            self.wrong_on(before.matches('\n').count(), error.message())
        })
    }

    /// The options, as if they had been typed.
    fn options(&self, table: toml::Table, folder: &Path) -> Result<Options, Failure> {
        let command = Options::command();
        let known: Vec<&str> = command.get_arguments().filter_map(clap::Arg::get_long).collect();
        let mut words = Vec::new();
        let mut keys = Vec::new();
        for (key, value) in table {
            let long = key.replace('_', "-");
            if !known.contains(&&*long) {
                let nearest = suggest::word(&long, known.iter().copied()).map(|word| word.replace('-', "_"));
                let question = nearest.map_or(String::new(), |word| format!("; did you mean {word}?"));
                return Err(self.wrong(&key, &format!("there is no option {key}{question}")));
            }
            words.extend(arguments(&long, value, folder).map_err(|problem| self.wrong(&key, &problem))?);
            keys.push((key, format!("--{long} ")));
        }
        Options::try_parse_from(words).map_err(|error| {
            let (problem, _) = complaint(&error);
            let named = keys.iter().find(|(_, long)| problem.replace('\'', " ").contains(long.as_str()));
            self.wrong(named.map_or("", |(key, _)| key), &problem)
        })
    }

    fn wrong(&self, key: &str, problem: &str) -> Failure {
        let is_of = |line: &str| line.trim_start().trim_start_matches(['[', '"']).starts_with(key);
        self.wrong_on(self.text.lines().position(is_of).unwrap_or(0), problem)
    }

    fn wrong_on(&self, line: usize, problem: &str) -> Failure {
        refuse(format!("{}, line {}: {}", self.name, line + 2, problem.trim_end()))
    }
}

/// How an option of the file would be typed.
fn arguments(long: &str, value: toml::Value, folder: &Path) -> Result<Vec<OsString>, String> {
    let said = |value: String| -> OsString {
        let value = if FILES.contains(&long) { folder.join(value).into_os_string() } else { value.into() };
        let mut argument = OsString::from(format!("--{long}="));
        argument.push(value);
        argument
    };
    Ok(match value {
        toml::Value::Boolean(true) => vec![format!("--{long}").into()],
        toml::Value::Boolean(false) => Vec::new(),
        toml::Value::String(text) => vec![said(text)],
        toml::Value::Integer(number) => vec![said(number.to_string())],
        toml::Value::Float(number) => vec![said(number.to_string())],
        toml::Value::Array(values) => {
            let each = values.into_iter().map(|value| arguments(long, value, folder));
            each.collect::<Result<Vec<_>, _>>()?.concat()
        }
        toml::Value::Datetime(_) | toml::Value::Table(_) => {
            return Err(format!("{} takes a text, a number or true", long.replace('-', "_")));
        }
    })
}

impl Template {
    fn new(name: String, text: String, lines_before: usize) -> Result<Self, Failure> {
        let mut environment = Environment::new();
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        environment.set_auto_escape_callback(|_| AutoEscape::None);
        let syntax = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build();
        environment.set_syntax(syntax.expect("the default delimiters do not clash"));
        environment.set_fuel(Some(FUEL));
        let template = Self { name, text, lines_before, environment };
        match template.environment.template_from_str(&template.text) {
            Ok(_) => Ok(template),
            Err(error) => Err(template.explained(&error, &HashSet::new())),
        }
    }

    /// The variables that stand in the prompt.
    pub fn places(&self) -> HashSet<String> {
        let template = self.environment.template_from_str(&self.text);
        template.map(|template| template.undeclared_variables(false)).unwrap_or_default()
    }

    /// The prompt with everything in its place.
    pub fn fill(
        &self,
        defaults: toml::Table,
        given: Vec<(String, String)>,
        input: Option<String>,
    ) -> Result<String, Failure> {
        let places = self.places();
        let mut values: BTreeMap<String, Value> = BTreeMap::new();
        for (key, text) in given {
            if !places.contains(&key) {
                return Err(self.no_place(&key, &places));
            }
            let value = of_kind(defaults.get(&key), &text)
                .map_err(|kind| refuse(format!("{key}={text}: {} has {kind} there", self.name)))?;
            values.insert(key, value);
        }
        if let Some(input) = input {
            values.entry(INPUT.into()).or_insert_with(|| input.trim_end_matches(['\r', '\n']).into());
        }
        for (key, value) in defaults {
            values.entry(key).or_insert_with(|| of_toml(value));
        }
        let missing: HashSet<String> = places.into_iter().filter(|place| !values.contains_key(place)).collect();
        let template = self.environment.template_from_str(&self.text);
        template.and_then(|template| template.render(values)).map_err(|error| self.explained(&error, &missing))
    }

    fn no_place(&self, key: &str, places: &HashSet<String>) -> Failure {
        let mut known: Vec<&str> = places.iter().map(String::as_str).collect();
        known.sort_unstable();
        let way = match (suggest::word(key, known.iter().copied()), &*known) {
            (Some(nearest), _) => format!("did you mean {nearest}?"),
            (None, []) => "it has no variables".into(),
            (None, known) => format!("it has {}", known.join(", ")),
        };
        refuse(format!("{key} stands nowhere in {}: {way}", self.name))
    }

    /// What went wrong, on which line of the file, with the names that have no value.
    fn explained(&self, error: &minijinja::Error, missing: &HashSet<String>) -> Failure {
        let line = error.line().unwrap_or(1);
        let text = self.text.lines().nth(line.saturating_sub(1)).unwrap_or_default();
        let is_of_name = |c: char| c.is_alphanumeric() || c == '_';
        let mut words: Vec<&str> = text.split(|c| !is_of_name(c)).filter(|word| missing.contains(*word)).collect();
        words.dedup();
        let place = format!("{}, line {}", self.name, self.lines_before + line);
        if error.kind() == ErrorKind::UndefinedError && !words.is_empty() {
            let hint = if words.contains(&INPUT) {
                "pipe it in: talkiectl run FILE < input.txt"
            } else {
                "give it as key=value, or a default in the file under [variables]"
            };
            return Failure::Usage { message: format!("{place}: {} has no value", words.join(", ")), hint };
        }
        let detail = error.detail().map_or_else(|| error.kind().to_string(), str::to_owned);
        refuse(format!("{place}: {detail}"))
    }
}

/// The text as what the default is, so that `false` is not a text that counts as true.
fn of_kind(default: Option<&toml::Value>, text: &str) -> Result<Value, &'static str> {
    match default {
        Some(toml::Value::Boolean(_)) => text.parse::<bool>().map(Value::from).map_err(|_| "true or false"),
        Some(toml::Value::Integer(_)) => text.parse::<i64>().map(Value::from).map_err(|_| "a whole number"),
        Some(toml::Value::Float(_)) => text.parse::<f64>().map(Value::from).map_err(|_| "a number"),
        _ => Ok(text.into()),
    }
}

fn of_toml(value: toml::Value) -> Value {
    match value {
        toml::Value::String(text) => text.into(),
        toml::Value::Integer(number) => number.into(),
        toml::Value::Float(number) => number.into(),
        toml::Value::Boolean(yes) => yes.into(),
        toml::Value::Datetime(time) => time.to_string().into(),
        toml::Value::Array(values) => values.into_iter().map(of_toml).collect(),
        toml::Value::Table(values) => values.into_iter().map(|(key, value)| (key, of_toml(value))).collect(),
    }
}

#[cfg(test)]
#[path = "prompt_file_tests.rs"]
mod tests;
