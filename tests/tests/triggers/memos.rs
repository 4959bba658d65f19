//! The example `memo` as it lies in `workflow/examples`: two hundred transcripts come in every way that files come, while the
//! daemon is killed five times. Each has one run and three files, and no step that was done is done again.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustix::process::Signal;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{Connection, Daemon, private_folder, until};
use crate::workflows::bench::{self, entries, show, write};

const MEMO: &str = include_str!("../../../workflow/examples/memo.toml");

/// Transcripts, rounds in which they come, each with a kill, and runs that go on at once.
const FILES: usize = 200;
const KILLS: usize = 5;
const AT_ONCE: usize = 4;

/// The last comes alone, when nothing else is left to do.
const LAST: usize = FILES - 1;

/// When the daemon is killed: at which entry of the logs of all runs, counted from the beginning of the round.
const POINTS: [(&str, &str, usize); KILLS] =
    [("began", "1", 1), ("done", "3", 7), ("began", "2", 12), ("done", "6", 20), ("state", "finished", 25)];

/// The steps that ask the model, the key of what each answers, and those that save that.
const ANSWERS: [(&str, &str, &str); 3] = [("1", "title", "2"), ("3", "summary", "4"), ("5", "tasks", "6")];

/// What the first line of a transcript says, and so all that the model makes of it.
fn said(number: usize) -> String {
    format!("{number:03} buy milk, call Ann")
}

fn transcript(number: usize) -> String {
    format!("{}\nAnd so on, {number} times.\n{}", said(number), "More of it.\n".repeat(number % 40))
}

fn name(number: usize) -> String {
    format!("memo {number:03}.txt")
}

/// The daemon, and the home of its user.
struct Memos {
    daemon: Daemon,
    _home: TempDir,
    folder: PathBuf,
}

fn memos() -> Memos {
    let home = private_folder();
    let folder = home.path().canonicalize().unwrap().join("Transcripts");
    fs::create_dir(&folder).unwrap();
    let start = bench::start().env("HOME", home.path().to_str().unwrap());
    let daemon = start.model("test/echo", |files| files.config["fake"] = json!({ "token_ms": 1 })).run();
    write(&daemon, "memo", MEMO);
    until("the folder is watched", || daemon.log().contains("files are waited for"));
    Memos { daemon, _home: home, folder }
}

/// Puts a whole file there at once.
fn rename_into(folder: &Path, number: usize) {
    let hidden = folder.join(format!(".{}", name(number)));
    fs::write(&hidden, transcript(number)).unwrap();
    fs::rename(hidden, folder.join(name(number))).unwrap();
}

/// Puts files there that grow for a second, all of them at once.
fn write_slowly(folder: &Path, numbers: Vec<usize>) -> JoinHandle<()> {
    const PIECES: usize = 5;
    let folder = folder.to_path_buf();
    thread::spawn(move || {
        let mut files: Vec<(File, String)> = numbers
            .iter()
            .map(|number| (File::create(folder.join(name(*number))).unwrap(), transcript(*number)))
            .collect();
        for piece in 0..PIECES {
            for (file, text) in &mut files {
                let bytes = text.as_bytes();
                let at = |piece: usize| bytes.len() * piece / PIECES;
                file.write_all(&bytes[at(piece)..at(piece + 1)]).unwrap();
            }
            thread::sleep(Duration::from_millis(200));
        }
    })
}

/// Reads what happens in all runs until a point is reached.
fn reach(follower: &mut Connection, (kind, of, count): (&str, &str, usize)) {
    let mut had = 0;
    while had < count {
        let entry = follower.event()["entry"].clone();
        had += usize::from(entry["type"] == kind && (entry["place"] == of || entry["state"] == of));
    }
}

impl Memos {
    /// Has the files of a round come, and kills the daemon in the midst of it. The last tenth of them come while it is dead.
    fn round(&mut self, round: usize) {
        let mut follower = self.daemon.connect();
        follower.call("workflows.subscribe", json!({})).unwrap();
        let numbers: Vec<usize> = (0..FILES).filter(|number| number % KILLS == round && *number != LAST).collect();
        let (alive, dead) = numbers.split_at(numbers.len() * 3 / 4);
        let of_way = |way| alive.iter().copied().skip(way).step_by(3);
        let slow = write_slowly(&self.folder, of_way(0).collect());
        of_way(1).for_each(|number| rename_into(&self.folder, number));
        of_way(2).for_each(|number| fs::write(self.folder.join(name(number)), transcript(number)).unwrap());
        reach(&mut follower, POINTS[round]);
        self.daemon.signal(Signal::KILL);
        self.daemon.wait();
        for number in dead {
            if number % 2 == 0 {
                rename_into(&self.folder, *number);
            } else {
                fs::write(self.folder.join(name(*number)), transcript(*number)).unwrap();
            }
        }
        self.daemon.restart();
        slow.join().unwrap();
    }

    fn runs(&self, state: Option<&str>) -> Vec<Value> {
        let listed = self.daemon.call("workflows.runs", json!({ "state": state, "limit": 1000 })).unwrap();
        listed["runs"].as_array().unwrap().clone()
    }

    /// Waits until so many runs are finished, and nothing became of any that should not.
    fn finished(&self, count: usize) {
        let mut follower = self.daemon.connect();
        follower.call("workflows.subscribe", json!({})).unwrap();
        while self.runs(Some("finished")).len() < count {
            let entry = loop {
                let entry = follower.event()["entry"].clone();
                if entry["type"] == "state" && entry["state"] != "running" {
                    break entry;
                }
            };
            assert_eq!(entry["state"], "finished", "{entry}");
        }
    }
}

/// The schema that the answers of a step obey.
fn schemas() -> BTreeMap<String, jsonschema::Validator> {
    let memo: toml::Table = MEMO.parse().unwrap();
    let steps = memo["step"].as_array().unwrap().iter().filter(|step| step.get("llm").is_some());
    let of = |step: &toml::Value| {
        let schema = serde_json::to_value(&step["llm"]["schema"]).unwrap();
        (step["output_key"].as_str().unwrap().to_owned(), jsonschema::validator_for(&schema).unwrap())
    };
    steps.map(of).collect()
}

/// Checks the log of a run of a file, and returns how many steps were begun in it.
fn check_log(shown: &Value, answers: &BTreeMap<String, Value>) -> usize {
    let mut begun = 0;
    for place in 1..=6 {
        let place = place.to_string();
        let kinds: Vec<&str> = shown["log"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|entry| entry["place"] == place)
            .map(|entry| entry["type"].as_str().unwrap())
            .collect();
        let (last, before) = kinds.split_last().unwrap();
        assert!(*last == "done" && before.iter().all(|kind| *kind == "began"), "{place}: {kinds:?} in {shown}");
        assert!((1..=1 + KILLS).contains(&before.len()), "{place}: {kinds:?} in {shown}");
        begun += before.len();
    }
    for (asks, key, _) in ANSWERS {
        let done = entries(shown, "done").into_iter().find(|entry| entry["place"] == asks).unwrap();
        assert_eq!(done["output"], answers[key], "what lies there is what the run made: {shown}");
    }
    begun
}

#[test]
fn two_hundred_transcripts_have_three_outputs_each_although_the_daemon_is_killed_five_times() {
    let mut memos = memos();
    for round in 0..KILLS {
        memos.round(round);
    }
    memos.finished(LAST);
    // It is taken by a look at the whole folder: whatever were to start once more would have started then.
    rename_into(&memos.folder, LAST);
    memos.finished(FILES);

    let runs = memos.runs(None);
    assert_eq!(runs.len(), FILES);
    assert!(runs.iter().all(|run| run["state"] == "finished" && run["workflow"] == "memo"), "{runs:?}");
    let file_of = |run: &Value| PathBuf::from(run["cause"].as_str().unwrap().strip_prefix("the file ").unwrap());
    let files: BTreeSet<PathBuf> = runs.iter().map(file_of).collect();
    let expected: BTreeSet<PathBuf> = (0..FILES).map(|number| memos.folder.join(name(number))).collect();
    assert_eq!(files, expected, "each file has its run");

    let schemas = schemas();
    let mut names = BTreeSet::new();
    let mut begun = 0;
    for run in &runs {
        let shown = show(&memos.daemon, run["run"].as_str().unwrap());
        let file = file_of(run);
        let number: usize = file.file_stem().unwrap().to_str().unwrap().strip_prefix("memo ").unwrap().parse().unwrap();
        assert_eq!(shown["inputs"]["TRANSCRIPT"], transcript(number));
        names.insert(name(number));
        let mut answers = BTreeMap::new();
        for (_, key, _) in ANSWERS {
            let saved = file.with_extension(format!("{key}.json"));
            names.insert(saved.file_name().unwrap().to_str().unwrap().to_owned());
            let answer: Value = serde_json::from_slice(&fs::read(&saved).unwrap()).unwrap();
            schemas[key].validate(&answer).unwrap_or_else(|error| panic!("{error}: {}: {answer}", saved.display()));
            // The model repeats its system prompt, and then the first line; of tasks the first ends before that.
            if key != "tasks" {
                let answer = answer[key].as_str().unwrap();
                assert!(answer.ends_with(&said(number)), "{}: {answer}", saved.display());
            }
            assert_eq!(saved.metadata().unwrap().nlink(), 1);
            answers.insert(key.to_owned(), answer);
        }
        begun += check_log(&shown, &answers);
    }
    let there: BTreeSet<String> =
        fs::read_dir(&memos.folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    assert_eq!(there, names, "nothing else lies there");
    assert_eq!(there.len(), FILES * 4);
    // A kill leaves one step open in each run that goes on, and no other is begun twice.
    let again = begun - FILES * 6;
    assert!((1..=KILLS * AT_ONCE).contains(&again), "{again} steps were begun again");
}
