//! What is wrong with a template, or with what it was given.

use std::collections::{BTreeSet, HashSet};
use std::error::Error as _;

use minijinja::value::ValueKind;
use minijinja::{Environment, Error, ErrorKind, Value};

use super::bounds::FUEL;
use crate::problem::{nearest, quote};
use crate::scope::Scope;

/// Why a template gives nothing, in words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct RenderError(String);

impl RenderError {
    pub(crate) fn new(words: impl Into<String>) -> Self {
        Self(words.into())
    }
}

/// What is wrong with a source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    /// Where, in bytes of the source.
    pub at: Option<usize>,
    /// In words.
    pub message: String,
}

/// What the engine says, with the names that have no value.
pub fn explained(error: &Error, source: &str, scope: &Scope, environment: &Environment) -> RenderError {
    match error.kind() {
        ErrorKind::OutOfFuel => {
            RenderError::new(format!("it does not end within {FUEL} steps, which are the most of a template"))
        }
        ErrorKind::UndefinedError => undefined_in(source, scope, environment),
        // Operators say it in their own way.
        _ if error.detail().is_some_and(|detail| detail.contains("undefined")) => {
            undefined_in(source, scope, environment)
        }
        ErrorKind::TemplateNotFound => RenderError::new("it includes another template, of which there are none here"),
        _ => RenderError::new(words(error)),
    }
}

/// The engine's words, of the error that lies deepest.
pub fn words(error: &Error) -> String {
    let mut deepest = error;
    while let Some(cause) = deepest.source().and_then(|cause| cause.downcast_ref::<Error>()) {
        deepest = cause;
    }
    let kind = deepest.kind();
    let detail = deepest.detail().map_or_else(|| kind.to_string(), |detail| format!("{kind}: {detail}"));
    quote_less(&detail)
}

/// On one line, without what a terminal would obey.
fn quote_less(words: &str) -> String {
    words.split_whitespace().collect::<Vec<_>>().join(" ").replace(|c: char| c.is_control(), "")
}

/// Which names of a source have no value.
pub fn undefined_in(source: &str, scope: &Scope, environment: &Environment) -> RenderError {
    let paths = paths(source, environment);
    let missing: Vec<String> = paths.iter().filter_map(|path| missing(path, scope)).collect();
    match &*missing {
        [] => RenderError::new("a value that it needs is not there"),
        missing => RenderError::new(missing.join("; ")),
    }
}

/// `tasks.first.due`, of every name that a source needs.
fn paths(source: &str, environment: &Environment) -> BTreeSet<String> {
    let of_expression =
        || environment.compile_expression_owned(source.to_owned()).map(|it| it.undeclared_variables(true));
    let of_template =
        || environment.template_from_str(source).map(|it| it.undeclared_variables(true)).unwrap_or_default();
    let is_template = source.contains("{{") || source.contains("{%");
    let paths: HashSet<String> = if is_template { of_template() } else { of_expression().unwrap_or_default() };
    let functions: BTreeSet<&str> = environment.globals().map(|(name, _)| name).collect();
    paths.into_iter().filter(|path| !functions.contains(path.as_str())).collect()
}

/// What is missing on the way of a path.
fn missing(path: &str, scope: &Scope) -> Option<String> {
    let mut parts = path.split('.');
    let name = parts.next()?;
    let Some(value) = scope.value(name) else {
        let meant = nearest(name, scope.names());
        let meant = meant.map_or(String::new(), |meant| format!("; did you mean `{meant}`?"));
        return Some(format!("`{}` has no value in this run{meant}", quote(name)));
    };
    let (mut value, mut way) = (value.clone(), name.to_owned());
    for part in parts {
        let next = value.get_attr(part).ok().filter(|next| !next.is_undefined());
        let Some(next) = next else { return Some(lacks(&way, &value, part)) };
        value = next;
        way = format!("{way}.{part}");
    }
    None
}

fn lacks(way: &str, value: &Value, part: &str) -> String {
    let keys: Vec<String> = match value.kind() {
        ValueKind::Map => value.try_iter().into_iter().flatten().map(|key| key.to_string()).collect(),
        kind => return format!("`{}` has no `{}`: it is a {kind}", quote(way), quote(part)),
    };
    let meant = nearest(part, keys.iter().map(String::as_str));
    let meant = meant.map_or(String::new(), |meant| format!("; did you mean `{}`?", quote(meant)));
    format!("`{}` has no `{}`{meant}", quote(way), quote(part))
}
