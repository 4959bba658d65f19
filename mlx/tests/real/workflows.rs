//! The workflows of `workflow/examples`, as they lie there, with the real model.

#[expect(dead_code, reason = "the tests with the fake engine use more of it")]
#[path = "../../../tests/tests/workflows/bench.rs"]
mod bench;
#[path = "workflows/commits.rs"]
mod commits;

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::model;
use crate::support::{Daemon, Start, private_folder, until};

/// A daemon with one of the examples, and the home of its user.
struct Example {
    daemon: Daemon,
    user: TempDir,
    name: &'static str,
}

impl Example {
    fn of(name: &'static str) -> Self {
        let user = private_folder();
        let start = Start::with_engine(Path::new(env!("CARGO_BIN_EXE_talkied-mlx")));
        let start = start.env("HOME", user.path().to_str().unwrap()).linked(model::ID, model::folder());
        let daemon = start.run();
        bench::write(&daemon, name, &text(name));
        Self { daemon, user, name }
    }

    /// A folder in the user's home, made when its files are waited for.
    fn folder(&self, name: &str) -> PathBuf {
        until("the folder is waited for", || self.daemon.log().contains("it is not there; it is waited for"));
        let folder = self.user.path().join(name);
        fs::create_dir(&folder).unwrap();
        folder
    }

    /// Its runs, once there are so many, as they end.
    fn runs(&self, count: usize) -> Vec<Value> {
        let mut runs = Vec::new();
        until("the runs have begun", || {
            let listed = self.daemon.call("workflows.runs", json!({ "workflow": self.name })).unwrap();
            runs.clone_from(listed["runs"].as_array().unwrap());
            runs.len() == count
        });
        runs.iter().map(|run| bench::at_rest(&self.daemon, run["run"].as_str().unwrap())).collect()
    }

    /// The schema of the answer that becomes an output.
    fn schema(&self, output_key: &str) -> Value {
        let shown = self.daemon.call("workflows.get", json!({ "workflow": self.name })).unwrap();
        let steps = shown["steps"].as_array().unwrap();
        let step = steps.iter().find(|step| step["output_key"] == output_key).unwrap();
        step["parameters"]["response_format"]["schema"].clone()
    }
}

/// An example as it lies there.
fn text(name: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../workflow/examples");
    fs::read_to_string(folder.join(format!("{name}.toml"))).unwrap()
}

/// A table of comma-separated values, as RFC 4180 has them.
fn rows(text: &str) -> Vec<Vec<String>> {
    let (mut rows, mut row, mut cell, mut is_quoted) = (Vec::new(), Vec::new(), String::new(), false);
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '"' if is_quoted && characters.peek() == Some(&'"') => cell.extend(characters.next()),
            '"' => is_quoted = !is_quoted,
            ',' | '\n' if !is_quoted => {
                row.push(std::mem::take(&mut cell));
                if character == '\n' {
                    rows.push(std::mem::take(&mut row));
                }
            }
            _ => cell.push(character),
        }
    }
    assert!(row.is_empty() && cell.is_empty() && !is_quoted, "it ends with a line: {text}");
    rows
}

#[test]
fn tables_are_read() {
    let read = rows("\"a, \"\"b\"\"\",c\n\"d\ne\",\n");
    assert_eq!(read, [["a, \"b\"", "c"], ["d\ne", ""]]);
}

#[test]
fn a_memo_gets_its_title_summary_and_tasks() {
    let example = Example::of("memo");
    let folder = example.folder("Transcripts");
    let memo = "Okay, the dentist called, I need to move the appointment from Tuesday to Thursday. The kitchen tap is \
                still dripping, somebody has to call the plumber. And Anna brings the \"cake\" on Saturday.\n";
    fs::write(folder.join("walk home.txt"), memo).unwrap();
    let run = example.runs(1).remove(0);
    assert_eq!(run["run"]["state"], "finished", "{run}");
    for key in ["title", "summary", "tasks"] {
        let saved = fs::read_to_string(folder.join(format!("walk home.{key}.json"))).unwrap();
        let value: Value = serde_json::from_str(&saved).unwrap_or_else(|error| panic!("{error}: {saved}"));
        let schema = example.schema(key);
        assert_eq!(schema["required"], json!([key]), "{schema}");
        let validator = jsonschema::validator_for(&schema).unwrap();
        validator.validate(&value).unwrap_or_else(|error| panic!("{error}: {value}"));
        let is_said = value[key].as_str().is_none_or(|text| !text.trim().is_empty());
        assert!(is_said, "{value}");
    }
    let tasks: Value = serde_json::from_slice(&fs::read(folder.join("walk home.tasks.json")).unwrap()).unwrap();
    let tasks = tasks["tasks"].as_array().unwrap();
    assert!(tasks.iter().enumerate().all(|(place, task)| !tasks[..place].contains(task)), "no task twice: {tasks:?}");
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 4, "nothing else lies there");
}

#[test]
fn letters_become_lines_of_one_table() {
    let example = Example::of("table");
    let folder = example.folder("Letters");
    let letters = [
        (
            "bank",
            "Dear Mrs Miller,\n\nthe fee is 2.50 from January on, \"free\" online.\n\nPeter Grant, Northern Bank\n",
        ),
        ("aunt", "My dear, thank you for the photos!\r\nThe garden is full of plums.\r\nLove, Aunt Rosie"),
        ("a \"quoted\", odd name", "Hello Julia,\nthe plumber, the painter and \"Bob\" come on Friday.\nTom Weber"),
        ("empty lines", "\n\n\n"),
        ("mark", "\u{201e}Guten Tag\u{201c}, \u{2014} I write in UTF-8; 1,000 greetings,\n\"X\"\n"),
    ];
    for (name, letter) in letters {
        fs::write(folder.join(format!("{name}.txt")), letter).unwrap();
    }
    let runs = example.runs(letters.len());
    assert!(runs.iter().all(|run| run["run"]["state"] == "finished"), "{runs:?}");
    let text = fs::read_to_string(folder.join("table.csv")).unwrap();
    assert_eq!(text.lines().count(), letters.len(), "a line each: {text}");
    let mut rows = rows(&text);
    rows.sort();
    assert!(rows.iter().all(|row| row.len() == 3 && !row[2].is_empty()), "three cells each: {rows:?}");
    let mut names = letters.map(|(name, _)| name);
    names.sort_unstable();
    assert_eq!(rows.iter().map(|row| row[0].as_str()).collect::<Vec<_>>(), names);
    assert_eq!(fs::read_dir(&folder).unwrap().count(), letters.len() + 1, "nothing else lies there");
}
