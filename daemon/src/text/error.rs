//! What can go wrong between text and tokens. Made everywhere in `text`; whoever calls it maps variants to the wire.

use std::path::PathBuf;

/// A model's folder that cannot be used, or a conversation that cannot become a prompt.
#[derive(Debug, thiserror::Error)]
pub enum TextError {
    /// The model's folder lacks a file it needs.
    #[error("{} is missing", .0.display())]
    Missing(PathBuf),
    /// A file of the model is damaged, or contradicts another.
    #[error("{} is broken: {problem}", .path.display())]
    Broken {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// A file of the model is sound, but asks for something that is not there.
    #[error("{} cannot be used: {problem}", .path.display())]
    NotSupported {
        /// Which file.
        path: PathBuf,
        /// What it asks for.
        problem: String,
    },
    /// The chat template has a fault, or does too much: the model's fault, not the conversation's.
    #[error("the model's chat template failed: {0}")]
    Template(String),
    /// The chat template refuses this conversation, in its own words: the caller's fault.
    #[error("the model's chat template refuses the conversation: {0}")]
    Refused(String),
    /// The model has no chat template, so it takes a single user message only: the caller's fault.
    #[error("{} has no chat template, so it takes one user message, no system prompt and no tools", .folder.display())]
    NoTemplate {
        /// The model's folder.
        folder: PathBuf,
    },
    /// The model's chat template does not have what the request needs.
    #[error("{0}")]
    Lacks(Lack),
    /// The conversation cannot be a prompt of any model, or not of this one: the caller's fault.
    #[error("{0}")]
    Chat(String),
    /// The conversation is longer than any model's context: the caller's fault.
    #[error("the prompt is longer than {limit} bytes")]
    TooLong {
        /// Most bytes.
        limit: usize,
    },
}

/// What a model may lack, and the way out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Lack {
    /// A place for tools.
    #[error("the model's chat template has no place for tools; leave out `tools`, or use another model")]
    Tools,
    /// A place for calls and what came of them.
    #[error(
        "the model's chat template leaves out calls of tools and what came of them; put them into the text of messages, \
         or use another model"
    )]
    Calls,
    /// A form of calls that is known here.
    #[error("how this model writes calls of tools is not known; leave out `tools`, or use another model")]
    Family,
    /// A form of calls that is JSON.
    #[error(
        "this model writes calls of tools in a form that cannot be held to a schema yet; leave out `strict`, and \
         choose \"auto\" as `tool_choice`"
    )]
    Constraint,
    /// A way to answer at once.
    #[error("the model's chat template has no way to turn reasoning off; leave out `reasoning`, or use another model")]
    Switch,
}
