//! What the documents tell people to paste: the examples of workflows, and the recipes for other programs.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::cli::{finish, stderr, stdout};
use crate::support::{model, private_folder, program};

const REFERENCE: &str = include_str!("../../workflow/README.md");
const RECIPES: &str = include_str!("../../workflow/examples/shortcuts.md");

/// A user who has one model, and no talkied that runs. What was started ends with it.
struct User {
    home: TempDir,
}

impl User {
    fn new() -> Self {
        let home = private_folder();
        model::install(&home.path().join(".local/share/talkie"), "test/echo", |files| {
            files.answers("short title", &json!([r#"{"title":"A walk"}"#]));
            files.answers("summarize memos", &json!([r#"{"summary":"Buy milk."}"#]));
            files.answers("what is to be done", &json!([r#"{"tasks":["Buy milk","Buy milk","Rest"]}"#]));
            files.answers("what a change does", &json!([r#"{"verb":"Add","what":"a note"}"#]));
        });
        Self { home }
    }

    /// One who has the examples too.
    fn with_examples() -> Self {
        let user = Self::new();
        let output = user.pastes(&blocks(REFERENCE, "sh")[0], &root(), &[], "");
        assert!(output.status.success(), "{}", stderr(&output));
        user
    }

    fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    fn json(&self, name: &str) -> Value {
        serde_json::from_str(&self.read(name)).unwrap()
    }

    /// A program in the user's environment.
    fn command(&self, program_path: &Path) -> Command {
        let mut command = Command::new(program_path);
        let (home, programs) = (self.home.path(), program("talkiectl"));
        let path = format!("{}:{}:/usr/bin:/bin", home.join("bin").display(), programs.parent().unwrap().display());
        command.env("HOME", home).env("PATH", path).env("TALKIE_NO_KEYCHAIN", "true");
        command.env("TALKIE_ENGINE", program("fake-engine")).env("TALKIE_CANDLE", home.join("none"));
        for name in
            ["TALKIE_HOME", "TALKIE_SOCKET", "TALKIE_MODELS", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_RUNTIME_DIR"]
        {
            command.env_remove(name);
        }
        command.env("GIT_CONFIG_NOSYSTEM", "1").env("GIT_EDITOR", "true").current_dir(home);
        command
    }

    /// Lines of a shell.
    fn pastes(&self, script: &str, folder: &Path, arguments: &[&str], input: &str) -> Output {
        let mut command = self.command(Path::new("sh"));
        command.args(["-ec", script, "sh"]).args(arguments).current_dir(folder);
        finish(command, input)
    }

    /// The same in the user's home, where all goes well.
    fn good(&self, script: &str, arguments: &[&str], input: &str) -> String {
        let output = self.pastes(script, self.home.path(), arguments, input);
        assert!(output.status.success(), "{script}: {}", stderr(&output));
        stdout(&output)
    }

    /// Puts a file where it may be run.
    fn executable(&self, name: &str, text: &str) -> PathBuf {
        fs::create_dir_all(self.path("bin")).unwrap();
        let path = self.path("bin").join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        path
    }
}

impl Drop for User {
    fn drop(&mut self) {
        let mut stop = self.command(&program("talkiectl"));
        // It may not run.
        let _ = stop.args(["--quiet", "stop"]).output();
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// What stands between fences of a kind.
fn blocks(text: &str, fence: &str) -> Vec<String> {
    let fence = format!("```{fence}\n");
    text.split(&fence).skip(1).map(|part| part.split("```").next().unwrap().to_owned()).collect()
}

/// The recipe below a heading.
fn recipe(heading: &str, fence: &str) -> String {
    let (_, part) = RECIPES.split_once(&format!("## {heading}\n")).unwrap();
    blocks(part.split("\n## ").next().unwrap(), fence).remove(0)
}

#[test]
fn examples_are_installed_by_the_lines_of_the_reference() {
    let user = User::new();
    let [install, hook] = &blocks(REFERENCE, "sh")[..] else { panic!("other lines than expected") };
    let output = user.pastes(install, &root(), &[], "");
    assert!(output.status.success(), "{}", stderr(&output));
    let listed = stdout(&output);
    for entry in fs::read_dir(root().join("workflow/examples")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap();
        assert_eq!(listed.contains(name), path.extension().unwrap() == "toml", "{name}: {listed}");
        if path.extension().unwrap() == "toml" {
            assert_eq!(
                user.good(&format!("talkiectl workflow check {name}"), &[], ""),
                format!("{name}: nothing is wrong\n")
            );
            assert!(REFERENCE.contains(&format!("(examples/{name}.toml)")), "{name} is in the reference");
        }
    }
    let plan = user.good("talkiectl workflow run memo --dry-run TITLE=walk", &[], "I need milk.");
    assert!(plan.contains("walk.title.json") && plan.contains("{{title | tojson}}"), "{plan}");
    let folder = user.path("project");
    fs::create_dir(&folder).unwrap();
    let lines = format!(
        "git init --quiet\n{hook}\ngit config user.name Ann\ngit config user.email ann@example.com\n\
         echo note > note.txt\ngit add note.txt\ngit commit --quiet\ngit log -1 --format=%B"
    );
    let output = user.pastes(&lines, &folder, &[], "");
    assert_eq!(stdout(&output).trim_end(), "Add a note", "{}", stderr(&output));
}

#[test]
fn a_shell_script_gets_the_answer_or_goes_on_without() {
    let user = User::with_examples();
    fs::write(user.path("walk.txt"), "I need milk.").unwrap();
    let script = recipe("Shell scripts", "sh");
    user.good(&script, &[], "");
    assert_eq!(user.json("summary.json"), json!({ "summary": "Buy milk." }));
    assert_eq!(user.json("Transcripts/walk.title.json"), json!({ "title": "A walk" }));
    fs::remove_file(user.path(".local/share/talkie/Workflows/memo.toml")).unwrap();
    let output = user.pastes(&script, user.home.path(), &[], "");
    assert!(output.status.success() && stderr(&output).ends_with("no summary\n"), "{}", stderr(&output));
    assert_eq!(user.read("summary.json"), "");
}

#[test]
fn shortcuts_gives_a_text_and_gets_tasks() {
    let user = User::with_examples();
    let tasks = user.good(&recipe("Shortcuts", "sh"), &[], "I need milk, and rest.");
    let tasks: Value = serde_json::from_str(&tasks).unwrap();
    assert_eq!(tasks["tasks"][2], "Rest");
    // Standard input may be neither a pipe nor a file.
    let (ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
    std::io::Write::write_all(&mut &ours, b"By a socket.").unwrap();
    drop(ours);
    let mut command = user.command(Path::new("sh"));
    command.arg("-c").arg(recipe("Shortcuts", "sh")).stdin(std::os::fd::OwnedFd::from(theirs));
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    let output = user.pastes(&recipe("Shortcuts", "sh"), user.home.path(), &[], "");
    assert!(!output.status.success() && stderr(&output).contains("TRANSCRIPT"), "{}", stderr(&output));
}

#[test]
fn automator_gives_files_and_its_own_answers_are_left_out() {
    let user = User::with_examples();
    let folder = user.path("My Folder");
    fs::create_dir(&folder).unwrap();
    for name in ["a walk.txt", "b.txt", "c.title.json"] {
        fs::write(folder.join(name), "I need milk.").unwrap();
    }
    let files = ["My Folder/a walk.txt", "My Folder/b.txt", "My Folder/c.title.json"];
    let paths = files.map(|name| user.path(name).to_str().unwrap().to_owned());
    user.good(&recipe("Automator", "sh"), &paths.each_ref().map(String::as_str), "");
    for name in ["a walk", "b"] {
        let tasks = user.json(&format!("My Folder/{name}.tasks.json"));
        assert_eq!(tasks, json!({ "tasks": ["Buy milk", "Rest"] }), "none twice");
    }
    assert_eq!(fs::read_dir(folder).unwrap().count(), 3 + 2 * 3);
}

#[test]
fn raycast_runs_its_script_command() {
    let user = User::with_examples();
    user.executable("pbpaste", "#!/bin/sh\necho I need milk.\n");
    let script = recipe("Raycast", "sh");
    for line in ["@raycast.schemaVersion 1", "@raycast.title ", "@raycast.mode "] {
        assert!(script.contains(&format!("\n# {line}")), "{line}");
    }
    let command = user.command(&user.executable("summarize.sh", &script));
    let output = finish(command, "");
    let summary: Value = serde_json::from_str(&stdout(&output)).unwrap_or_else(|_| panic!("{}", stderr(&output)));
    assert_eq!(summary, json!({ "summary": "Buy milk." }));
}

#[test]
fn launchd_runs_its_job() {
    let user = User::with_examples();
    let list = recipe("launchd", "xml").replace("/Users/ann", user.home.path().to_str().unwrap());
    let list = plist::Value::from_reader_xml(list.as_bytes()).unwrap().into_dictionary().unwrap();
    let texts = |key: &str| -> Vec<String> {
        let values = list[key].as_array().unwrap();
        values.iter().map(|value| value.as_string().unwrap().to_owned()).collect()
    };
    let keys: Vec<&String> = list.keys().collect();
    assert_eq!(keys, ["Label", "WatchPaths", "ProgramArguments", "StandardErrorPath"]);
    let (watched, arguments) = (texts("WatchPaths"), texts("ProgramArguments"));
    assert!(watched.iter().all(|path| Path::new(path).is_absolute()) && arguments.contains(&watched[0]));
    let log = Path::new(list["StandardErrorPath"].as_string().unwrap());
    assert!(log.is_absolute() && RECIPES.contains(&format!("{}.plist", list["Label"].as_string().unwrap())));
    fs::write(&watched[0], "I need milk.").unwrap();
    let mut command = user.command(&program("talkiectl"));
    // What launchd gives: no pipe, and hardly a variable.
    command.args(&arguments[1..]).env("PATH", "/usr/bin:/bin").current_dir("/").stdin(std::process::Stdio::null());
    let output = command.output().unwrap();
    assert!(output.status.success() && arguments[0].ends_with("/talkiectl"), "{}", stderr(&output));
    assert_eq!(user.json("Transcripts/inbox.summary.json"), json!({ "summary": "Buy milk." }));
}

#[test]
fn every_line_of_the_recipes_is_run() {
    let tested = ["Shell scripts", "Shortcuts", "Automator", "Raycast"].map(|heading| recipe(heading, "sh"));
    assert_eq!(blocks(RECIPES, "sh"), tested);
    assert_eq!(blocks(RECIPES, "xml"), [recipe("launchd", "xml")]);
}
