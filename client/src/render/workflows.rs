//! Workflows, their runs, and what happens in them.
//!
//! Called by the commands.

use std::fmt::Write;

use anstyle::Style;
use protocol::{
    PlannedStep, Run, RunChange, RunEntry, RunList, RunState, Workflow, WorkflowCheck, WorkflowFile, WorkflowList,
    WorkflowProblem,
};
use serde_json::Value;

use super::table::{Cell, Table};
use super::{GREEN, NONE, PLAIN, RED, YELLOW, dimmed, duration_ms, printable, printable_lines};

/// Longest piece of an output on a line of a log, in characters.
const LONGEST_PIECE: usize = 100;

/// `workflow ls`.
pub fn list(list: &WorkflowList, width: Option<usize>) -> String {
    if list.workflows.is_empty() {
        let why = list.problem.clone().unwrap_or_else(|| format!("there are no workflows in {}", list.folder));
        return format!("{}\n", printable(&why));
    }
    let mut table = Table::new(&["WORKFLOW", "STARTS", "LAST RUN", "WHAT"]);
    for workflow in &list.workflows {
        let (ran, colour) = last(workflow);
        table.row(vec![
            (&*workflow.name).into(),
            starts(workflow).into(),
            Cell::new(ran, colour),
            workflow.description.as_deref().unwrap_or(NONE).into(),
        ]);
        if let Some(problem) = workflow.problems.first() {
            table.note(&told_problem(problem), RED);
        }
        for problem in &workflow.trigger_problems {
            table.note(problem, YELLOW);
        }
    }
    table.render(width)
}

fn starts(workflow: &Workflow) -> String {
    if workflow.triggers.is_empty() { "by hand".into() } else { workflow.triggers.join("; ") }
}

fn last(workflow: &Workflow) -> (String, Style) {
    match &workflow.last_run {
        Some(run) => (format!("{} {}", run.run, run.state), style(run.state)),
        None => (NONE.into(), PLAIN),
    }
}

fn style(state: RunState) -> Style {
    match state {
        RunState::Waiting | RunState::Cancelled => PLAIN,
        RunState::Running | RunState::Finished => GREEN,
        RunState::Interrupted => YELLOW,
        RunState::Failed => RED,
    }
}

/// `workflow show`.
pub fn one(file: &WorkflowFile, width: Option<usize>) -> String {
    let workflow = &file.workflow;
    let mut text = format!("{}  {}\n", printable(&workflow.name), dimmed(&printable(&workflow.path)));
    if let Some(description) = &workflow.description {
        let _ = writeln!(text, "{}", printable(description));
    }
    let _ = writeln!(text, "starts: {}", printable(&starts(workflow)));
    for input in &workflow.inputs {
        let default = input.default.as_ref().map_or(String::new(), |value| format!(", else {value}"));
        let needed = if input.required { " is needed" } else { "" };
        let _ = writeln!(text, "input {}{needed}{}", printable(&input.name), printable(&default));
    }
    for problem in &workflow.problems {
        let _ = writeln!(text, "{RED}{}{RED:#}", printable(&told_problem(problem)));
    }
    for problem in &workflow.trigger_problems {
        let _ = writeln!(text, "{YELLOW}{}{YELLOW:#}", printable(problem));
    }
    if file.steps.is_empty() {
        return text;
    }
    let mut table = Table::new(&["PLACE", "STEP", "KIND", "OUTPUT", "AFTER A CRASH"]);
    for step in &file.steps {
        table.row(vec![
            (&*step.place).into(),
            (&*step.name).into(),
            (&*step.kind).into(),
            step.output_key.as_deref().unwrap_or(NONE).into(),
            if step.idempotent { "done again" } else { "asks" }.into(),
        ]);
    }
    text + &table.render(width)
}

/// `workflow check`, of one file.
pub fn checked(file: &str, check: &WorkflowCheck) -> String {
    if check.problems.is_empty() {
        return format!("{}: nothing is wrong\n", printable(file));
    }
    let line = |problem: &WorkflowProblem| match (problem.line, problem.column) {
        (Some(line), Some(column)) => {
            format!("{}:{line}:{column}: {}\n", printable(file), printable(&problem.message))
        }
        _ => format!("{}: {}\n", printable(file), printable(&problem.message)),
    };
    check.problems.iter().map(line).collect()
}

fn told_problem(problem: &WorkflowProblem) -> String {
    match (problem.line, problem.column) {
        (Some(line), Some(column)) => format!("line {line}, column {column}: {}", problem.message),
        _ => problem.message.clone(),
    }
}

/// `workflow run --dry-run`.
pub fn plan(steps: &[PlannedStep]) -> String {
    let mut text = String::new();
    for step in steps {
        let name = if step.name == step.place { String::new() } else { format!(" {}", printable(&step.name)) };
        let key = step.output_key.as_ref().map_or(String::new(), |key| format!(" → {}", printable(key)));
        let _ = writeln!(text, "{}{name}: {}{key}", printable(&step.place), printable(&step.kind));
        for (name, value) in step.parameters.as_object().into_iter().flatten() {
            let value = match value {
                Value::String(text) => text.clone(),
                other => other.to_string(),
            };
            let lines = printable_lines(&value).replace('\n', "\n      ");
            let _ = writeln!(text, "    {} {lines}", dimmed(&printable(name)));
        }
    }
    text + "nothing was done\n"
}

/// `workflow runs`.
pub fn runs(list: &RunList, width: Option<usize>) -> String {
    if list.runs.is_empty() {
        return "there are no runs; `talkiectl workflow run NAME` begins one\n".into();
    }
    let mut table = Table::new(&["RUN", "WORKFLOW", "STATE", "STARTED BY", "AT", "TOKENS"]);
    for run in &list.runs {
        table.row(vec![
            (&*run.run.0).into(),
            (&*run.workflow).into(),
            Cell::new(run.state.name(), style(run.state)),
            (&*run.cause).into(),
            (&*run.created).into(),
            (run.prompt_tokens + run.completion_tokens).to_string().into(),
        ]);
        if let Some(why) = run.why.as_ref().filter(|_| run.state.is_at_rest()) {
            table.note(why, style(run.state));
        }
    }
    table.render(width)
}

/// What became of a run that was told something.
pub fn told(run: &Run) -> String {
    let id = printable(&run.run.0);
    match run.state {
        RunState::Waiting | RunState::Running => {
            format!("{id} goes on; `talkiectl workflow log {id} --follow` shows it\n")
        }
        state => format!("{id} is {state}\n"),
    }
}

/// One entry of a log, on a line.
pub fn entry(entry: &RunEntry) -> String {
    let line = match &entry.change {
        RunChange::Began { place, name, kind, attempt, .. } => {
            let name = if name == place { String::new() } else { format!(" {}", printable(name)) };
            let attempt = if *attempt > 1 { format!(", attempt {attempt}") } else { String::new() };
            format!("{}{name}: {} begins{attempt}", printable(place), printable(kind))
        }
        RunChange::Done { place, output, completion_tokens, duration_ms, .. } => {
            let tokens = if *completion_tokens > 0 { format!(", {completion_tokens} tokens") } else { String::new() };
            let took = duration_ms_of(*duration_ms);
            format!("{}: {GREEN}done{GREEN:#}{took}{tokens}: {}", printable(place), piece(output))
        }
        RunChange::Failed { place, error, duration_ms, .. } => {
            let took = duration_ms_of(*duration_ms);
            format!("{}: {RED}failed{RED:#}{took}: {}", printable(place), printable(error))
        }
        RunChange::Skipped { place, why, goto } => {
            let goto = goto.as_ref().map_or(String::new(), |name| format!("; goes on at {}", printable(name)));
            format!("{}: passed by, because {}{goto}", printable(place), printable(why))
        }
        RunChange::State { state, why } => {
            let (style, why) =
                (style(*state), why.as_ref().map_or(String::new(), |why| format!(": {}", printable(why))));
            format!("{style}{state}{style:#}{why}")
        }
    };
    format!("{} {line}\n", dimmed(&printable(&entry.time)))
}

fn duration_ms_of(ms: u64) -> String {
    if ms == 0 { String::new() } else { format!(" in {}", duration_ms(ms as f64)) }
}

/// The beginning of an output, on one line.
fn piece(output: &Value) -> String {
    let text = match output {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let line: String = text.chars().take(LONGEST_PIECE).collect();
    let more = if text.chars().count() > LONGEST_PIECE { "…" } else { "" };
    format!("{}{more}", printable(&line))
}

/// What a run gave: a text as it is, anything else as JSON.
pub fn output(output: &Value) -> String {
    match output {
        Value::Null => String::new(),
        Value::String(text) => printable_lines(text) + "\n",
        other => format!("{other:#}\n"),
    }
}

#[cfg(test)]
#[path = "workflows_tests.rs"]
mod tests;
