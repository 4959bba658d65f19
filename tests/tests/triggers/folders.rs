//! Files that appear in folders.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::Signal;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{inputs, output, ran, runs};
use crate::support::{Daemon, private_folder, until};
use crate::workflows::bench::{self, write};

/// A daemon with a workflow that takes files out of a folder, which is there.
struct Watching {
    daemon: Daemon,
    /// Beside its home, of which steps may not write to much.
    place: TempDir,
    folder: PathBuf,
}

/// The trigger of a folder.
fn trigger(folder: &Path, more: &str) -> String {
    format!("[[trigger]]\nfolder = {{ path = \"{}\", pattern = \"*.txt\", {more} }}\n", folder.display())
}

/// A step that does next to nothing.
const NOTHING: &str = "[[step]]\ntransform = { from = \"TITLE\", split = \" \" }\n";

fn watching(settle: &str, steps: &str) -> Watching {
    let start = bench::start().model("test/echo", |files| files.config["fake"] = json!({ "token_ms": 1 }));
    let place = private_folder();
    let folder = place.path().join("in");
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("old.txt"), "there before").unwrap();
    let daemon = start.run();
    write(&daemon, "files", &format!("{}{steps}", trigger(&folder, &format!("settle = \"{settle}\""))));
    until("the folder is watched", || daemon.log().contains("files are waited for"));
    Watching { daemon, place, folder }
}

impl Watching {
    /// Puts a whole file there at once.
    fn put(&self, name: &str, text: &str) {
        let hidden = self.folder.join(format!(".{name}"));
        fs::write(&hidden, text).unwrap();
        fs::rename(hidden, self.folder.join(name)).unwrap();
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.folder.join(name), text).unwrap();
    }

    /// The names of the files that started runs, once there are so many of them.
    fn titles(&self, count: usize) -> Vec<String> {
        let runs = ran(&self.daemon, "files", count);
        let title = |run: &Value| inputs(&self.daemon, run)["TITLE"].as_str().unwrap().to_owned();
        let mut titles: Vec<String> = runs.iter().map(title).collect();
        titles.sort();
        titles
    }
}

/// What keeps the triggers of the one workflow from starting runs.
fn problems(daemon: &Daemon) -> String {
    let listed = daemon.call("workflows.list", json!(null)).unwrap();
    let problems = listed["workflows"][0]["trigger_problems"].clone();
    if problems.is_null() { "[]".into() } else { problems.to_string() }
}

#[test]
fn each_file_has_one_run_although_the_daemon_is_killed() {
    let mut watching = watching("1s", NOTHING);
    let out = watching.place.path().join("out");
    let steps = format!(
        "[[step]]\noutput_key = \"said\"\nllm = {{ prompt = \"{{{{TRANSCRIPT}}}}\" }}\n\
         [[step]]\nsave_file = {{ path = \"{}/{{{{TITLE}}}}.json\", text = \"{{{{ {{'said': said}} | tojson }}}}\" }}\n",
        out.display()
    );
    fs::create_dir(&out).unwrap();
    write(&watching.daemon, "files", &format!("{}{steps}", trigger(&watching.folder, "settle = \"1s\"")));
    for number in 0..20 {
        let (name, text) = (format!("memo {number}.txt"), format!("words of {number}"));
        if number % 2 == 0 {
            watching.put(&name, &text);
        } else {
            watching.write(&name, &text);
        }
        if number % 6 == 5 {
            until("some have begun", || runs(&watching.daemon, "files").len() > number / 3);
            watching.daemon.signal(Signal::KILL);
            watching.daemon.restart();
        }
    }
    let expected: BTreeSet<String> = (0..20).map(|number| format!("memo {number}")).collect();
    let titles = watching.titles(20);
    assert_eq!(titles.len(), 20, "{titles:?}");
    assert_eq!(titles.into_iter().collect::<BTreeSet<_>>(), expected);
    let runs = ran(&watching.daemon, "files", 20);
    assert!(runs.iter().all(|run| run["state"] == "finished"), "{runs:?}");
    for name in &expected {
        let saved: Value = serde_json::from_slice(&fs::read(out.join(format!("{name}.json"))).unwrap()).unwrap();
        assert!(saved["said"].as_str().unwrap().contains("words of"), "{saved}");
    }
    assert_eq!(fs::read_dir(&out).unwrap().count(), 20);
}

#[test]
fn a_file_is_taken_again_only_when_it_says_something_else() {
    let watching = watching("1s", NOTHING);
    watching.put("a.txt", "one");
    assert_eq!(watching.titles(1), ["a"]);
    // The same text in another file of the same name, and one that comes after it.
    watching.write("a.txt", "one");
    watching.write("b.txt", "later");
    assert_eq!(watching.titles(2), ["a", "b"]);
    watching.put("a.txt", "two");
    assert_eq!(watching.titles(3), ["a", "a", "b"]);
}

#[test]
fn a_file_that_grows_is_read_when_it_is_whole() {
    let watching = watching("1s", NOTHING);
    let mut file = File::create(watching.folder.join("slow.txt")).unwrap();
    for _ in 0..10 {
        file.write_all(b"some ").unwrap();
        std::thread::sleep(Duration::from_millis(250));
    }
    file.write_all(b"all").unwrap();
    let runs = ran(&watching.daemon, "files", 1);
    let given = inputs(&watching.daemon, &runs[0]);
    assert_eq!((runs.len(), &given["TRANSCRIPT"]), (1, &json!(format!("{}all", "some ".repeat(10)))));
    let folder = watching.folder.canonicalize().unwrap();
    assert_eq!((&given["FILE"], &given["DIRECTORY"]), (&json!(folder.join("slow.txt")), &json!(folder)));
}

#[test]
fn a_file_that_is_renamed_into_place_is_whole() {
    let watching = watching("1h", NOTHING);
    watching.write("a.txt.part", "half");
    watching.write("a.txt.crdownload", "half");
    fs::rename(watching.folder.join("a.txt.part"), watching.folder.join("a.txt")).unwrap();
    assert_eq!(watching.titles(1), ["a"]);
}

#[test]
fn what_is_no_text_to_read_is_left_alone_and_said_once() {
    let mut watching = watching("1s", NOTHING);
    let big = File::create(watching.folder.join("big.txt")).unwrap();
    big.set_len(1 << 30).unwrap();
    fs::write(watching.folder.join("bytes.txt"), [0xff, 0xfe, 0]).unwrap();
    let outside = watching.place.path().join("secret");
    fs::write(&outside, "out of the folder").unwrap();
    std::os::unix::fs::symlink(&outside, watching.folder.join("link.txt")).unwrap();
    for name in [".hidden.txt", "copy.txt~", "a.txt.tmp", "other.md"] {
        watching.write(name, "not meant");
    }
    fs::create_dir(watching.folder.join("folder.txt")).unwrap();
    watching.write("gone.txt", "gone before it is whole");
    fs::remove_file(watching.folder.join("gone.txt")).unwrap();
    watching.write("z.txt", "meant");
    assert_eq!(watching.titles(1), ["z"]);
    for words in ["has 1073741824 bytes", "no text in UTF-8"] {
        until("it is said", || watching.daemon.log().contains(words));
        until("it is listed", || problems(&watching.daemon).contains(words));
    }
    fs::remove_file(watching.folder.join("big.txt")).unwrap();
    watching.write("y.txt", "meant");
    assert_eq!(watching.titles(2), ["y", "z"]);
    until("it is listed no more", || !problems(&watching.daemon).contains("big.txt"));
    watching.daemon.signal(Signal::KILL);
    watching.daemon.restart();
    watching.write("zz.txt", "meant too");
    assert_eq!(watching.titles(3), ["y", "z", "zz"]);
    assert_eq!(watching.daemon.log().matches("it starts nothing").count(), 2);
}

#[test]
fn a_text_that_no_run_may_be_given_holds_up_no_other() {
    let watching = watching("1s", NOTHING);
    // Shorter than `most_bytes`, but as JSON longer than an input may be.
    watching.put("a.txt", &"\n".repeat(600_000));
    until("it is said", || watching.daemon.log().contains("has 1200002 bytes, but 1048576 are the most"));
    watching.put("b.txt", "meant");
    assert_eq!(watching.titles(1), ["b"]);
}

#[test]
fn what_runs_save_starts_nothing_for_ever() {
    let watching = watching("1s", NOTHING);
    let other = watching.place.path().join("other");
    fs::create_dir(&other).unwrap();
    let save = |folder: &Path, exists: &str| {
        let path = folder.join("{{TITLE}}x.txt");
        format!(
            "[[step]]\nsave_file = {{ path = \"{}\", text = \"{{{{TITLE}}}}\", exists = \"{exists}\" }}\n",
            path.display()
        )
    };
    // One saves for itself and for the other, which saves for the first.
    let first = format!(
        "{}{}{}",
        trigger(&watching.folder, "settle = \"1s\""),
        save(&watching.folder, "number"),
        save(&other, "replace")
    );
    let second = format!("{}{}", trigger(&other, "settle = \"1s\""), save(&watching.folder, "replace"));
    write(&watching.daemon, "second", &second);
    write(&watching.daemon, "files", &first);
    until("both are watched", || watching.daemon.log().matches("files are waited for").count() == 2);
    watching.put("a.txt", "begin");
    assert_eq!(ran(&watching.daemon, "second", 1).len(), 1);
    until("what the other saved is there", || watching.folder.join("axx.txt").exists());
    until("both are known", || watching.daemon.log().matches("it is of a run of this workflow").count() == 2);
    watching.put("b.txt", "later");
    assert_eq!(watching.titles(2), ["a", "b"]);
}

#[test]
fn a_folder_that_is_not_there_is_waited_for() {
    let (place, daemon) = (private_folder(), bench::start().run());
    let folder = place.path().join("later").join("in");
    write(&daemon, "files", &format!("{}{NOTHING}", trigger(&folder, "settle = \"1s\"")));
    until("it is said", || daemon.log().contains("it is not there; it is waited for"));
    until("it is listed", || problems(&daemon).contains("later/in starts anything: it is not there"));
    fs::create_dir_all(&folder).unwrap();
    let watching = Watching { daemon, place, folder };
    watching.write("a.txt", "first");
    assert_eq!(watching.titles(1), ["a"]);
    assert_eq!(problems(&watching.daemon), "[]");
    fs::rename(&watching.folder, watching.folder.with_file_name("away")).unwrap();
    until("it is said again", || watching.daemon.log().matches("it is not there; it is waited for").count() == 2);
    fs::create_dir(&watching.folder).unwrap();
    watching.write("b.txt", "second");
    assert_eq!(watching.titles(2), ["a", "b"]);
}

#[test]
fn more_files_than_may_wait_are_all_taken_in_the_end() {
    let watching = watching("1s", NOTHING);
    let gate = watching.place.path().join("gate");
    let steps = format!(
        "[[step]]\nshell = {{ command = [\"sh\", \"-c\", \"until [ -e {} ]; do sleep 0.1; done\"] }}\n",
        gate.display()
    );
    write(&watching.daemon, "files", &format!("{}{steps}", trigger(&watching.folder, "settle = \"1s\"")));
    for number in 0..90 {
        watching.put(&format!("{number:03}.txt"), "text");
    }
    until("files wait", || watching.daemon.log().contains("files wait there until runs have ended"));
    assert!(runs(&watching.daemon, "files").len() <= 68);
    // Whoever asks for a run does not wait behind them.
    write(&watching.daemon, "asked", NOTHING);
    watching.daemon.call("workflows.run", json!({ "workflow": "asked", "inputs": { "TITLE": "a b" } })).unwrap();
    assert_eq!(ran(&watching.daemon, "asked", 1)[0]["state"], "finished");
    assert_eq!(output(&watching.daemon, &runs(&watching.daemon, "asked")[0]), json!(["a", "b"]));
    fs::write(gate, "").unwrap();
    let titles = watching.titles(90);
    assert_eq!(titles, (0..90).map(|number| format!("{number:03}")).collect::<Vec<_>>());
}
