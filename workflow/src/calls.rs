//! Workflows that call each other: whether they find each other, and whether that ends.

use std::collections::{BTreeMap, BTreeSet};

use crate::DEEPEST;
use crate::file::{Workflow, WorkflowCall};
use crate::problem::{Problem, Problems, listed, way_out};

/// What is wrong with a workflow's calls, given all workflows that can be read, itself among them. `text` is its file's.
pub fn call_problems(workflow: &Workflow, text: &str, all: &[Workflow]) -> Vec<Problem> {
    let mut problems = Problems::new(text);
    for call in workflow.calls() {
        if let Some(other) = all.iter().find(|other| other.name == *call.name) {
            inputs(call, other, &mut problems);
        } else {
            let names: Vec<&str> = all.iter().map(|other| other.name.as_str()).collect();
            let way_out = way_out(&call.name, names.iter().copied());
            problems.add(call.name.at, format!("there is no workflow `{}` that can run{way_out}", call.name));
        }
        let mut way = vec![workflow.name.clone(), call.name.value.clone()];
        if let Some(rest) = cycle(&call.name, |name| calls_of(name, all)).filter(|rest| rest.contains(&workflow.name)) {
            way.extend(rest.into_iter().skip(1));
            let end = way.iter().skip(1).position(|name| *name == workflow.name).map_or(way.len(), |end| end + 2);
            problems.add(call.name.at, format!("this never ends: {}", way[..end].join(" calls ")));
        }
    }
    if let Some(call) = workflow.calls().into_iter().find(|call| depth(&call.name, all) > DEEPEST - 1) {
        problems.add(call.name.at, format!("workflows that call each other lie at most {DEEPEST} deep"));
    }
    problems.or(Some(())).err().unwrap_or_default()
}

/// The names of workflows that call each other in a circle, from `name` on: the last is one that came before.
pub fn cycle(name: &str, calls: impl Fn(&str) -> Vec<String>) -> Option<Vec<String>> {
    let mut done = BTreeSet::new();
    let mut way: Vec<(String, Vec<String>)> = vec![(name.to_owned(), calls(name))];
    while let Some((_, left)) = way.last_mut() {
        let Some(next) = left.pop() else {
            done.extend(way.pop().map(|(name, _)| name));
            continue;
        };
        if way.iter().any(|(name, _)| *name == next) {
            return Some(way.into_iter().map(|(name, _)| name).chain([next]).collect());
        }
        if !done.contains(&next) {
            let calls = calls(&next);
            way.push((next, calls));
        }
    }
    None
}

fn calls_of(name: &str, all: &[Workflow]) -> Vec<String> {
    let workflow = all.iter().find(|workflow| workflow.name == name);
    workflow.map(|workflow| workflow.calls().iter().map(|call| call.name.value.clone()).collect()).unwrap_or_default()
}

/// How many workflows lie in each other from this one on; 1 where it calls none. Circles count as far as they were seen.
fn depth(name: &str, all: &[Workflow]) -> usize {
    fn look(name: &str, all: &[Workflow], known: &mut BTreeMap<String, usize>) -> usize {
        if let Some(depth) = known.get(name) {
            return *depth;
        }
        known.insert(name.to_owned(), 1);
        let deepest = calls_of(name, all).iter().map(|next| look(next, all, known)).max().unwrap_or(0);
        known.insert(name.to_owned(), deepest + 1);
        deepest + 1
    }
    look(name, all, &mut BTreeMap::new())
}

fn inputs(call: &WorkflowCall, other: &Workflow, problems: &mut Problems) {
    let given = call.inputs.keys().map(String::as_str);
    let missing = other.missing_inputs(given.clone());
    if !missing.is_empty() {
        let words = format!("the workflow `{}` must be given {}", call.name, listed(&missing));
        problems.add(call.name.at, words);
    }
    for name in given {
        if !other.input_names().contains(&name) {
            let way_out = way_out(name, other.input_names());
            problems.add(call.name.at, format!("the workflow `{}` has no input `{name}`{way_out}", call.name));
        }
    }
}

#[cfg(test)]
#[path = "calls_tests.rs"]
mod tests;
