//! What `/words` mean in a conversation. Nothing is done here.
//!
//! Called by [`super`], and by [`super::input`] for completion.

use std::fmt::Write;
use std::path::PathBuf;

use rustyline::completion::unescape;

use crate::commands::suggest;
use crate::failure::Failure;

/// What somebody wants beside an answer.
#[derive(Debug, PartialEq, Eq)]
pub enum Order {
    Model(Option<String>),
    System(Option<String>),
    Save(PathBuf),
    Load(PathBuf),
    Regen,
    Tokens,
    Clear,
    Help,
    Exit,
}

/// Every word, what stands behind it, and what it does.
pub const TABLE: [(&str, &str, &str); 9] = [
    ("/model", "[ID]", "go on with another model; without ID, say which it is"),
    ("/system", "[TEXT]", "set the system prompt; \"\" takes it away"),
    ("/save", "FILE", "write the conversation to a file"),
    ("/load", "FILE", "go on with a conversation from a file"),
    ("/regen", "", "answer the last turn again"),
    ("/tokens", "", "count the tokens of the conversation"),
    ("/clear", "", "forget what was said"),
    ("/help", "", "list these"),
    ("/exit", "", "end; so does Ctrl-D"),
];

/// What a turn orders; `None` for one that is for the model.
pub fn parse(text: &str) -> Result<Option<Order>, Failure> {
    let text = text.trim();
    let (word, argument) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
    let argument = argument.trim();
    let is_order = word.strip_prefix('/').is_some_and(|word| word.chars().all(|c| c.is_ascii_alphabetic()));
    if !is_order || (word == "/" && !argument.is_empty()) {
        return Ok(None);
    }
    let given = (!argument.is_empty()).then(|| argument.to_owned());
    let order = match (word, given) {
        ("/model", model) => Order::Model(model),
        ("/system", text) => Order::System(text.map(|text| if text == "\"\"" { String::new() } else { text })),
        ("/save", Some(written)) => Order::Save(file(&written)),
        ("/load", Some(written)) => Order::Load(file(&written)),
        ("/save" | "/load", None) => return Err(refused(format!("{word} needs the name of a file"))),
        ("/regen", None) => Order::Regen,
        ("/tokens", None) => Order::Tokens,
        ("/clear", None) => Order::Clear,
        ("/help" | "/", _) => Order::Help,
        ("/exit" | "/quit", None) => Order::Exit,
        ("/regen" | "/tokens" | "/clear" | "/exit" | "/quit", Some(_)) => {
            return Err(refused(format!("{word} takes nothing behind it")));
        }
        _ => return Err(unknown(word)),
    };
    Ok(Some(order))
}

/// A file as it is typed, or as completion writes it: `~/` is the home, `\ ` a space; quotes are left off.
fn file(written: &str) -> PathBuf {
    let within = |quote| written.strip_prefix(quote)?.strip_suffix(quote);
    let text = match (within('\''), within('"')) {
        (Some(plain), _) => plain.into(),
        (None, escaped) => unescape(escaped.unwrap_or(written), Some('\\')),
    };
    match (text.strip_prefix("~/"), std::env::home_dir()) {
        (Some(rest), Some(home)) => home.join(rest),
        _ => text.into_owned().into(),
    }
}

fn refused(message: String) -> Failure {
    Failure::Usage { message, hint: "/help lists what there is" }
}

fn unknown(word: &str) -> Failure {
    let nearest = suggest::word(word, TABLE.iter().map(|(word, ..)| *word));
    let question = nearest.map_or(String::new(), |nearest| format!("; did you mean {nearest}?"));
    refused(format!("there is no {word}{question}"))
}

/// The table for people.
pub fn help() -> String {
    let mut text = String::new();
    for (word, argument, meaning) in TABLE {
        let form = format!("{word} {argument}");
        let _ = writeln!(text, "{form:<16}{meaning}");
    }
    text + "\"\"\" … \"\"\"       a turn of several lines; so does \\ at the end of a line\n\
            Ctrl-C          stop the answer\n"
}

#[cfg(test)]
#[path = "orders_tests.rs"]
mod tests;
