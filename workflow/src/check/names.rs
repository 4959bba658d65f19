//! Names: that each is said once, and that each that a template needs has a value by then.

use std::collections::{BTreeMap, BTreeSet};

use super::{identifier, plain};
use crate::file::{Action, Given, Step, Trigger, Workflow};
use crate::node::At;
use crate::problem::{Problems, nearest, position, quote};
use crate::scope::{BUILT_IN, EVENT, PREVIOUS_OUTPUT};
use crate::template::{Expression, Template};

/// Whether the names that steps bring are names, and said once.
pub fn of_steps(workflow: &Workflow, problems: &mut Problems) {
    let mut names: BTreeMap<&str, usize> = BTreeMap::new();
    for step in workflow.all_steps() {
        let Some(name) = &step.name else { continue };
        plain(name, "the step", problems);
        if let Some(first) = names.insert(name, name.at) {
            let (line, _) = position(problems.text(), first);
            problems.add(name.at, format!("another step has the name `{name}`, on line {line}; choose another"));
        }
    }
    outputs(workflow, &workflow.steps, &mut BTreeMap::new(), problems);
}

/// The names that a list of steps brings. `taken` are those before, with their places.
fn outputs<'w>(workflow: &Workflow, steps: &'w [Step], taken: &mut BTreeMap<&'w str, usize>, problems: &mut Problems) {
    for step in steps {
        match &step.action {
            Action::Conditional(conditional) => {
                // Only one of the two ways is gone, so both may bring the same.
                let mut other = taken.clone();
                outputs(workflow, &conditional.then, taken, problems);
                outputs(workflow, &conditional.otherwise, &mut other, problems);
                taken.append(&mut other);
            }
            Action::ForEach(for_each) => {
                let mut inside = taken.clone();
                name(workflow, &for_each.name, "the item", &mut inside, problems);
                outputs(workflow, &for_each.steps, &mut inside, problems);
            }
            _ => {}
        }
        if let Some(key) = &step.output_key {
            name(workflow, key, "the output", taken, problems);
        }
    }
}

fn name<'w>(
    workflow: &Workflow,
    name: &'w At<String>,
    what: &str,
    taken: &mut BTreeMap<&'w str, usize>,
    problems: &mut Problems,
) {
    identifier(name, name.at, what, problems);
    if BUILT_IN.contains(&name.as_str()) {
        problems.add(name.at, format!("{what} `{name}` hides what every run has by that name; choose another"));
    } else if workflow.inputs.contains_key(&name.value) {
        problems.add(name.at, format!("{what} `{name}` hides the input of that name; choose another"));
    } else if let Some(first) = taken.insert(name, name.at) {
        let (line, _) = position(problems.text(), first);
        problems.add(name.at, format!("{what} `{name}` hides that of the same name on line {line}; choose another"));
    }
}

/// Whether every name that a template needs may have a value by then.
pub fn known(workflow: &Workflow, problems: &mut Problems) {
    let has_event = workflow.triggers.iter().any(|trigger| matches!(trigger.value, Trigger::Event(_)));
    let always = BUILT_IN.into_iter().filter(|name| *name != PREVIOUS_OUTPUT && (*name != EVENT || has_event));
    let mut known: BTreeSet<&str> = always.chain(workflow.inputs.keys().map(String::as_str)).collect();
    let mut all = BTreeMap::new();
    for step in workflow.all_steps() {
        all.extend(step.output_key.as_ref().map(|key| (key.as_str(), key.at)));
    }
    Walk { all, problems }.steps(&workflow.steps, &mut known);
}

struct Walk<'w, 'p, 't> {
    /// Every output of the file.
    all: BTreeMap<&'w str, usize>,
    problems: &'p mut Problems<'t>,
}

impl<'w> Walk<'w, '_, '_> {
    fn steps(&mut self, steps: &'w [Step], known: &mut BTreeSet<&'w str>) {
        for step in steps {
            self.step(step, known);
            known.insert(PREVIOUS_OUTPUT);
            known.extend(step.output_key.as_ref().map(|key| key.as_str()));
        }
    }

    fn step(&mut self, step: &'w Step, known: &mut BTreeSet<&'w str>) {
        let (templates, expressions) = places(step);
        let templates = templates.into_iter().map(|template| (template.names(), template.at));
        let expressions = expressions.into_iter().map(|expression| (expression.names(), expression.at));
        let needed: Vec<_> = templates.chain(expressions).collect();
        for (names, at) in needed {
            for name in names.iter().filter(|name| !known.contains(name.as_str())) {
                self.tell(name, at, known);
            }
        }
        match &step.action {
            Action::Transform(transform) if transform.from.is_none() && !known.contains(PREVIOUS_OUTPUT) => {
                self.problems.add(step.at, "no step comes before this, so it must say `from` what");
            }
            Action::Conditional(conditional) => {
                let mut other = known.clone();
                self.steps(&conditional.then, known);
                self.steps(&conditional.otherwise, &mut other);
                known.append(&mut other);
            }
            Action::ForEach(for_each) => {
                let mut inside = known.clone();
                inside.insert(&for_each.name);
                self.steps(&for_each.steps, &mut inside);
            }
            _ => {}
        }
    }

    fn tell(&mut self, name: &str, at: usize, known: &BTreeSet<&'w str>) {
        let quoted = quote(name);
        let why = match self.all.get(name) {
            _ if name == PREVIOUS_OUTPUT => "has no value here: no step comes before this".to_owned(),
            _ if name == EVENT => "has a value only in a workflow with an event trigger".to_owned(),
            Some(later) => {
                let (line, _) = position(self.problems.text(), *later);
                format!("has no value here: the step that gives it, on line {line}, comes later or lies inside another")
            }
            None if self.problems.may_define(name) => return,
            None => {
                let meant = nearest(name, known.iter().copied());
                let meant = meant.map_or(String::new(), |meant| format!("; did you mean `{meant}`?"));
                format!("is no input and no output of a step before{meant}")
            }
        };
        let place = self.place(name, at);
        self.problems.add(place, format!("`{quoted}` {why}"));
    }

    /// Where the name stands in the text of a value that begins at `at`, if it is written there as it is read.
    fn place(&self, name: &str, at: usize) -> usize {
        let text = self.problems.text().get(at..).unwrap_or_default();
        let is_of_word = |c: char| c.is_alphanumeric() || c == '_';
        let is_whole = |start: &usize| {
            let (before, after) = (&text[..*start], &text[*start + name.len()..]);
            !before.ends_with(is_of_word) && !after.starts_with(is_of_word)
        };
        // In a template what stands before the first place is text.
        let first = text.find(['{', '"', '\'']).unwrap_or(0);
        let mut starts = text[first..].match_indices(name).map(|(start, _)| first + start);
        at + starts.find(is_whole).unwrap_or(0)
    }
}

/// The templates and the expressions of a step itself, those of the steps inside it left out.
fn places(step: &Step) -> (Vec<&Template>, Vec<&Expression>) {
    let mut templates: Vec<&Template> = Vec::new();
    let mut expressions: Vec<&Expression> = step.when.iter().collect();
    match &step.action {
        Action::Llm(llm) => {
            templates.push(&llm.prompt);
            templates.extend(&llm.system_prompt);
        }
        Action::Shell(shell) => {
            templates.extend(shell.command.iter().flatten());
            templates.extend(shell.stdin.iter().chain(&shell.directory).chain(shell.environment.values()));
        }
        Action::Webhook(webhook) => {
            templates.push(&webhook.url);
            templates.extend(webhook.headers.values().chain(&webhook.body));
        }
        Action::SaveFile(save_file) => templates.extend([&save_file.path, &save_file.text]),
        Action::Transform(transform) => expressions.extend(&transform.from),
        Action::Conditional(conditional) => expressions.push(&conditional.condition),
        Action::ForEach(for_each) => expressions.push(&for_each.items),
        Action::Workflow(call) => templates.extend(call.inputs.values().filter_map(|given| match given {
            Given::Template(template) => Some(template),
            Given::Value(_) => None,
        })),
        Action::Notify(notify) => templates.extend(notify.title.iter().chain([&notify.text])),
    }
    (templates, expressions)
}
