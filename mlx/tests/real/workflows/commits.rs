//! The hook for commits that stands in `commit-message.toml`, with the real git.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::json;

use super::{Example, text};
use crate::support::program;

/// A repository with the hook, and a `talkiectl` that can start no daemon.
struct Repository {
    example: Example,
    folder: PathBuf,
    programs: PathBuf,
}

impl Repository {
    fn new() -> Self {
        let example = Example::of("commit-message");
        let (folder, programs) = (example.user.path().join("project"), example.user.path().join("bin"));
        fs::create_dir(&folder).unwrap();
        fs::create_dir(&programs).unwrap();
        fs::copy(program("talkiectl"), programs.join("talkiectl")).unwrap();
        executable(&programs.join("talkied"), "#!/bin/sh\nexit 1\n");
        let repository = Self { example, folder, programs };
        repository.git(&["init", "--quiet"]);
        executable(&repository.folder.join(".git/hooks/prepare-commit-msg"), &hook_of(&text("commit-message")));
        repository
    }

    /// git, by which editor, and with these programs before all others.
    fn by(&self, editor: &str, programs: &Path, arguments: &[&str]) -> Output {
        let mut git = Command::new("git");
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("GIT_") {
                git.env_remove(name);
            }
        }
        git.args(["-c", "user.name=Ann", "-c", "user.email=ann@example.com"]).args(arguments).current_dir(&self.folder);
        git.env("HOME", self.example.user.path()).env("GIT_CONFIG_NOSYSTEM", "1").env("GIT_EDITOR", editor);
        git.env("PATH", format!("{}:/usr/local/bin:/usr/bin:/bin", programs.display()));
        git.env("TALKIE_HOME", self.example.daemon.home.path()).env_remove("TALKIE_SOCKET");
        git.env_remove("XDG_CONFIG_HOME");
        git.output().expect("git is installed")
    }

    fn git(&self, arguments: &[&str]) -> String {
        let output = self.by("true", &self.programs, arguments);
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Changes a file, so that there is something to commit.
    fn stage(&self, text: impl AsRef<[u8]>) {
        fs::write(self.folder.join("README.md"), text).unwrap();
        self.git(&["add", "README.md"]);
    }

    /// The message of the last commit.
    fn message(&self) -> String {
        self.git(&["log", "-1", "--format=%B"]).trim_end().to_owned()
    }

    fn count_runs(&self) -> usize {
        let listed = self.example.daemon.call("workflows.runs", json!({})).unwrap();
        listed["runs"].as_array().unwrap().len()
    }
}

fn executable(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

/// What the head of the example says is to be the hook: its comments that are set back, from `#!` on.
fn hook_of(example: &str) -> String {
    let lines = example.lines().filter_map(|line| line.strip_prefix("#   "));
    let hook: Vec<&str> = lines.collect();
    assert_eq!(hook.first(), Some(&"#!/bin/sh"));
    hook.join("\n") + "\n"
}

#[test]
fn a_commit_without_a_message_gets_that_of_the_model() {
    let repository = Repository::new();
    repository.stage("# Weather\nA small program that shows the weather of tomorrow.\n");
    // The editor shows what git says below it, as without the hook.
    let seen = repository.example.user.path().join("seen");
    let editor = format!("sh -c 'cp \"$1\" {}' -", seen.display());
    let output = repository.by(&editor, &repository.programs, &["commit"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let run = repository.example.runs(1).remove(0);
    assert_eq!(run["run"]["state"], "finished", "{run}");
    let said = run["output"].as_str().unwrap();
    assert_eq!(repository.message(), said);
    assert!(said.chars().count() <= 60 && said.lines().count() == 1, "{said}");
    let verbs = repository.example.schema("change")["properties"]["verb"]["enum"].clone();
    assert!(verbs.as_array().unwrap().contains(&json!(said.split(' ').next().unwrap())), "{said}: {verbs}");
    let seen = fs::read_to_string(seen).unwrap();
    assert!(seen.starts_with(&format!("{said}\n")) && seen.contains("# Please enter"), "{seen}");
    assert!(!repository.folder.join(".git/COMMIT_EDITMSG.new").exists());
}

#[test]
fn a_commit_that_has_a_message_keeps_it() {
    let repository = Repository::new();
    repository.stage("one\n");
    repository.git(&["commit", "--quiet", "-m", "x"]);
    assert_eq!(repository.message(), "x");
    repository.git(&["commit", "--quiet", "--amend"]);
    assert_eq!(repository.message(), "x");
    repository.git(&["checkout", "--quiet", "-b", "side", "HEAD"]);
    repository.stage("two\n");
    repository.git(&["commit", "--quiet", "-m", "y"]);
    repository.git(&["checkout", "--quiet", "-"]);
    repository.git(&["merge", "--quiet", "--no-ff", "side"]);
    assert!(repository.message().starts_with("Merge branch"), "{}", repository.message());
    assert_eq!(repository.count_runs(), 0);
}

#[test]
fn a_commit_is_made_as_ever_where_there_is_no_message_of_a_model() {
    let mut repository = Repository::new();
    repository.stage("one\n");
    fs::remove_file(repository.example.daemon.home.path().join("Workflows/commit-message.toml")).unwrap();
    check_as_ever(&repository, &repository.programs, "there is no workflow");
    repository.stage("two\n");
    repository.example.daemon.call("daemon.shutdown", json!({})).unwrap();
    repository.example.daemon.wait();
    check_as_ever(&repository, &repository.programs, "ended at once");
    repository.stage(b"caf\xe9\n");
    check_as_ever(&repository, &repository.programs, "not UTF-8");
    repository.stage("three\n");
    check_as_ever(&repository, Path::new("/nowhere"), "talkiectl");
    assert_eq!(repository.git(&["rev-list", "--count", "HEAD"]), "4\n");
}

/// The user is told why; what the editor writes is the message; without any, git gives up and nothing is lost.
#[track_caller]
fn check_as_ever(repository: &Repository, programs: &Path, told: &str) {
    let output = repository.by("true", programs, &["commit"]);
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && words.contains("empty commit message"), "{words}");
    assert!(words.contains(told), "{words}");
    assert_eq!(repository.git(&["diff", "--cached", "--name-only"]), "README.md\n", "it is still to be committed");
    let output = repository.by("echo mine >", programs, &["commit"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(repository.message(), "mine");
}
