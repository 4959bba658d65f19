//! What is wrong with a workflow as a whole, although each value of it can be read.

mod action;
mod names;

use crate::file::{EventKind, Step, Then, Trigger, Workflow};
use crate::node::At;
use crate::problem::{Problems, listed, quote, way_out};
use crate::scope::{BUILT_IN, GIVABLE};

/// Longest name.
const MOST_CHARACTERS: usize = 64;

/// Words that mean something else in templates.
const RESERVED: [&str; 16] = [
    "and", "caller", "dict", "else", "false", "if", "in", "is", "loop", "none", "not", "or", "range", "self", "super",
    "true",
];

/// Adds all that is wrong with it.
pub fn whole(workflow: &Workflow, problems: &mut Problems) {
    inputs(workflow, problems);
    for trigger in &workflow.triggers {
        self::trigger(workflow, trigger, problems);
    }
    if workflow.steps.is_empty() && problems.steps == 0 {
        problems.add(0, "a workflow does at least one [[step]]");
    }
    action::tier(workflow.tier, workflow.model.as_ref(), workflow.provider.as_ref(), 0, problems);
    steps_of_list(&workflow.steps, problems);
    names::of_steps(workflow, problems);
    names::known(workflow, problems);
    for step in workflow.all_steps() {
        action::of_step(workflow, step, problems);
        for list in lists_inside(step) {
            steps_of_list(list, problems);
        }
    }
}

fn inputs(workflow: &Workflow, problems: &mut Problems) {
    for (name, input) in &workflow.inputs {
        if BUILT_IN.contains(&name.as_str()) && !GIVABLE.contains(&name.as_str()) {
            problems.add(input.at, format!("the input `{name}` has a name that every run has already; choose another"));
        } else {
            identifier(name, input.at, "the input", problems);
        }
        if input.required && input.default.is_some() {
            let words = format!("the input `{name}` is required and has a default; one of the two is enough");
            problems.add(input.at, words);
        }
    }
}

fn trigger(workflow: &Workflow, trigger: &At<Trigger>, problems: &mut Problems) {
    let (kind, given): (_, &[&str]) = match &trigger.value {
        Trigger::Folder(folder) => {
            if !(folder.path.starts_with('/') || folder.path.starts_with("~/")) {
                let words = format!("the folder `{}` must be absolute, or from ~/ on", quote(&folder.path));
                problems.add(folder.path.at, words);
            }
            ("a file", &GIVABLE)
        }
        Trigger::Schedule(_) => ("a schedule", &[]),
        Trigger::Event(event) => {
            if event.on.is_empty() {
                problems.add_lack(trigger.at, "this trigger has no event in `on`; name one, as \"model_loaded\"");
            }
            if event.on.contains(&EventKind::RunEnded) {
                let words = "runs start no others by `run_ended`; call the other with a `workflow` step, or follow `run_ended` with a hook";
                problems.add(trigger.at, words);
            }
            ("an event", &[])
        }
        Trigger::Webhook(webhook) => {
            secret(&webhook.token, problems);
            // The request says what is given.
            return;
        }
    };
    let missing = workflow.missing_inputs(given.iter().copied());
    if !missing.is_empty() {
        let words =
            format!("a run that {kind} starts is not given {}, which is required; give a default", listed(&missing));
        problems.add(trigger.at, words);
    }
}

/// The lists of steps inside a step.
fn lists_inside(step: &Step) -> Vec<&[Step]> {
    use crate::file::Action;
    match &step.action {
        Action::Conditional(conditional) => vec![&conditional.then, &conditional.otherwise],
        Action::ForEach(for_each) => vec![&for_each.steps],
        _ => Vec::new(),
    }
}

/// Whether each `goto` leads somewhere.
fn steps_of_list(list: &[Step], problems: &mut Problems) {
    let names: Vec<&str> = list.iter().filter_map(|step| Some(step.name.as_ref()?.value.as_str())).collect();
    for step in list {
        let Then::Goto(target) = &step.on_error.then else { continue };
        if step.name.as_ref().is_some_and(|name| name.value == target.value) {
            problems
                .add(target.at, format!("`{target}` goes to itself; { } tries it again", "{ retry = { times = 3 } }"));
        } else if !names.contains(&target.as_str()) && !problems.may_define(target) {
            let none = if names.is_empty() { "; none of them has a name" } else { "" };
            let way_out = way_out(target, names.iter().copied());
            let words = format!("there is no step `{}` in this list of steps{none}{way_out}", quote(target));
            problems.add(target.at, words);
        }
    }
}

/// Whether a name can stand in a template.
fn identifier(name: &str, at: usize, what: &str, problems: &mut Problems) {
    let begins = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    let is_of_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let quoted = quote(name);
    if !begins || !name.chars().all(is_of_name) || name.len() > MOST_CHARACTERS {
        let words =
            format!("{what} `{quoted}` can be no name in templates: 1 to {MOST_CHARACTERS} letters, digits and _");
        problems.add(at, format!("{words}, a letter first"));
    } else if RESERVED.contains(&name) {
        problems
            .add(at, format!("{what} `{quoted}` has a name that means something else in templates; choose another"));
    }
}

/// Whether a name can be one of a step, a secret or a workflow.
fn plain(name: &At<String>, what: &str, problems: &mut Problems) {
    let begins = name.starts_with(|c: char| c.is_ascii_alphabetic());
    let is_of_name = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    if !begins || !name.chars().all(is_of_name) || name.len() > MOST_CHARACTERS {
        let words = format!("{what} `{}` can be no name: 1 to {MOST_CHARACTERS} letters, digits, - and _", quote(name));
        problems.add(name.at, format!("{words}, a letter first"));
    }
}

pub(crate) fn secret(name: &At<String>, problems: &mut Problems) {
    plain(name, "the secret", problems);
}

#[cfg(test)]
#[path = "check_tests.rs"]
mod tests;
