//! Texts with places, and expressions: what they look like, which names they need, and what they give.
//!
//! Whatever a template does, it ends, and takes bounded memory and stack; it sees no file and no other template.

mod bounds;
mod error;
mod name;
mod source;
mod weight;

use std::collections::BTreeSet;
use std::sync::LazyLock;

use minijinja::syntax::SyntaxConfig;
use minijinja::{AutoEscape, Environment, UndefinedBehavior};
use serde_json::Value;

use crate::scope::Scope;

pub use bounds::output_bytes;
pub(crate) use bounds::with_room;
pub(crate) use error::Mistake;
pub use error::RenderError;
pub(crate) use source::{expression_mistakes, template_mistakes};

/// A text with places, as `Of {{TITLE}}`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Template {
    source: String,
    /// Where it stands in the file, in bytes.
    pub(crate) at: usize,
}

/// An expression, as `tasks | length > 3`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expression {
    source: String,
    /// Where it stands in the file, in bytes.
    pub(crate) at: usize,
}

impl Template {
    /// Of its source; what is wrong with it where it is no template.
    pub fn new(source: impl Into<String>) -> Result<Self, RenderError> {
        let source = source.into();
        match source::template_mistakes(&source).into_iter().next() {
            Some(mistake) => Err(RenderError::new(mistake.message)),
            None => Ok(Self { source, at: 0 }),
        }
    }

    pub(crate) fn unchecked(source: String, at: usize) -> Self {
        Self { source, at }
    }

    /// As it is written.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// The names it needs.
    pub fn names(&self) -> BTreeSet<String> {
        bounds::with_room(|| {
            let environment = environment();
            let template = environment.template_from_str(&self.source);
            template.map(|template| template.undeclared_variables(false)).unwrap_or_default()
        })
        .map(known_apart)
        .unwrap_or_default()
    }

    /// The text with everything in its place.
    pub fn render_text(&self, scope: &Scope) -> Result<String, RenderError> {
        bounds::with_room(|| {
            let environment = environment();
            let mut output = bounds::Output::default();
            let rendered = environment
                .template_from_str(&self.source)
                .and_then(|template| template.render_captured_to(scope.context(), &mut output).map(drop));
            let text = output.text(rendered);
            text.unwrap_or_else(|error| Err(error::explained(&error, &self.source, scope, environment)))
        })?
    }

    /// What it gives: of a template that is exactly one expression, `{{tasks}}`, its value, of any type; of any other its
    /// text.
    pub fn render_value(&self, scope: &Scope) -> Result<Value, RenderError> {
        match source::only_expression(&self.source) {
            Some(expression) => evaluate(expression, scope, |value| bounds::json(&value)),
            None => self.render_text(scope).map(Value::String),
        }
    }
}

impl Expression {
    /// Of its source; what is wrong with it where it is no expression.
    pub fn new(source: impl Into<String>) -> Result<Self, RenderError> {
        let source = source.into();
        match source::expression_mistakes(&source).into_iter().next() {
            Some(mistake) => Err(RenderError::new(mistake.message)),
            None => Ok(Self { source, at: 0 }),
        }
    }

    pub(crate) fn unchecked(source: String, at: usize) -> Self {
        Self { source, at }
    }

    /// As it is written.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// The names it needs.
    pub fn names(&self) -> BTreeSet<String> {
        bounds::with_room(|| {
            let environment = environment();
            let expression = environment.compile_expression(&self.source);
            expression.map(|expression| expression.undeclared_variables(false)).unwrap_or_default()
        })
        .map(known_apart)
        .unwrap_or_default()
    }

    /// Its value.
    pub fn value(&self, scope: &Scope) -> Result<Value, RenderError> {
        evaluate(&self.source, scope, |value| bounds::json(&value))
    }

    /// Whether it is true, as Python sees it: an empty text or list, 0 and none are not.
    pub fn is_true(&self, scope: &Scope) -> Result<bool, RenderError> {
        evaluate(&self.source, scope, |value| Ok(value.is_true()))
    }
}

fn evaluate<T: Send>(
    source: &str,
    scope: &Scope,
    told: impl FnOnce(minijinja::Value) -> Result<T, RenderError> + Send,
) -> Result<T, RenderError> {
    bounds::with_room(|| {
        let environment = environment();
        let value = environment.compile_expression(source).and_then(|it| it.eval(scope.context()));
        let value = value.map_err(|error| error::explained(&error, source, scope, environment))?;
        if bounds::lacks_value(&value) {
            return Err(error::undefined_in(source, scope, environment));
        }
        told(value)
    })?
}

/// Without the functions that every template has.
fn known_apart(names: std::collections::HashSet<String>) -> BTreeSet<String> {
    let functions: BTreeSet<&str> = environment().globals().map(|(name, _)| name).collect();
    names.into_iter().filter(|name| !functions.contains(name.as_str())).collect()
}

/// Shared by all.
static ENVIRONMENT: LazyLock<Environment<'static>> = LazyLock::new(|| {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_auto_escape_callback(|_| AutoEscape::None);
    // A line with nothing but a block is no line; any other text stays as it is written.
    let syntax = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).keep_trailing_newline(true).build();
    environment.set_syntax(syntax.expect("the default delimiters do not clash"));
    environment.set_debug(false);
    environment.set_fuel(Some(bounds::FUEL));
    environment.set_recursion_limit(bounds::RECURSION);
    // What outlives a turn of a loop could grow deeper with each, until dropping it overflows the stack.
    environment.remove_global("namespace");
    environment.remove_global("debug");
    weight::guard(&mut environment);
    environment.set_formatter(weight::written);
    environment.add_filter("tojson", bounds::tojson);
    environment
});

fn environment() -> &'static Environment<'static> {
    &ENVIRONMENT
}

#[cfg(test)]
#[path = "template_tests.rs"]
mod tests;
