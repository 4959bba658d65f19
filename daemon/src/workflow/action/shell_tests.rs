use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::*;

const SECRET: &str = "sk-very-hidden-0123456789";

fn shell(programs: &[&str]) -> Shell {
    let programs = programs.iter().map(|name| (*name).to_owned()).collect();
    Shell::new(Policy { programs: Some(programs), scripts: true })
}

fn script(text: &str) -> Command {
    Command {
        what: What::Script(text.into()),
        stdin: String::new(),
        directory: None,
        environment: BTreeMap::new(),
        secrets: BTreeMap::new(),
        timeout: Duration::from_mins(1),
    }
}

fn program(words: &[&str]) -> What {
    let mut words = words.iter().map(|word| (*word).to_owned());
    What::Program { name: words.next().expect("a name"), arguments: words.collect() }
}

fn pairs(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

async fn run(command: Command) -> Result<Output, Failure> {
    shell(&["wc", "printf", "/bin/echo"]).run(command, &CancellationToken::new()).await
}

/// Fails finally, with these words among its own.
#[track_caller]
fn refused<T: std::fmt::Debug>(result: Result<T, Failure>, words: &[&str]) {
    match result {
        Err(Failure::Final(told)) => assert!(words.iter().all(|words| told.contains(words)), "{told}"),
        other => panic!("it is no final failure: {other:?}"),
    }
}

#[track_caller]
fn may_pass<T: std::fmt::Debug>(result: Result<T, Failure>, words: &[&str]) {
    match result {
        Err(Failure::MayPass { words: told, .. }) => assert!(words.iter().all(|words| told.contains(words)), "{told}"),
        other => panic!("it is no failure that may pass: {other:?}"),
    }
}

#[tokio::test]
async fn a_program_gets_its_arguments_as_they_are() {
    let what = program(&["printf", "%s|", "a b", "$HOME", "; rm *", "-x", "ü"]);
    let told = run(Command { what, ..script("") }).await.expect("it runs");
    assert_eq!(told.text, "a b|$HOME|; rm *|-x|ü|");
    let count = run(Command { what: program(&["wc", "-w"]), stdin: "one two\nthree".into(), ..script("") }).await;
    assert_eq!(count.expect("it runs").text.trim(), "3");
    let lines = run(script("printf 'one\\ntwo\\n\\n'")).await.expect("it runs");
    assert_eq!(lines.text, "one\ntwo", "the line ends at the end are left out");
}

#[tokio::test]
async fn nothing_runs_unless_it_is_allowed() {
    let none = Shell::new(Policy::default());
    refused(none.check(&program(&["wc"])), &["`workflow_shell` is off", r#"workflow_shell = ["wc"]"#, "config.toml"]);
    refused(none.check(&What::Script("true".into())), &["`workflow_scripts` is off", "workflow_scripts = true"]);
    let some = shell(&["wc", "/bin/echo"]);
    refused(some.check(&program(&["cat"])), &["cat is not among", r#"add "cat" to `workflow_shell`"#]);
    refused(some.check(&program(&["/no/such/wc"])), &["is not among"]);
    for name in ["./wc", "bin/wc", "", "../wc", "a\0b"] {
        refused(some.check(&program(&[name])), &["neither a program's name nor an absolute path"]);
    }
    let wc = some.check(&program(&["wc"])).expect("it is allowed");
    assert!(wc.is_absolute());
    // One place by any of its names.
    some.check(&program(&[wc.to_str().expect("text")])).expect("its place is allowed with its name");
    some.check(&program(&["echo"])).expect("its name is allowed with its place");
    refused(shell(&["no-such-program"]).check(&program(&["no-such-program"])), &["PATH", "has none"]);
    refused(shell(&["/no/such"]).check(&program(&["/no/such"])), &["there is no such program"]);
}

#[tokio::test]
async fn what_others_can_change_does_not_run() {
    let folder = tempfile::tempdir().expect("a folder");
    let (path, mode) = (folder.path().join("tool"), |path: &Path, mode| {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("it is changed");
    });
    fs::write(&path, "#!/bin/sh\necho ran\n").expect("it is written");
    let name = path.to_str().expect("text");
    let check = || shell(&[name]).check(&program(&[name]));
    refused(check(), &["there is no such program"]);
    for (of_file, of_folder, words) in
        [(0o722, 0o700, "chmod go-w"), (0o770, 0o700, "others may change it"), (0o700, 0o777, "chmod o-w")]
    {
        mode(&path, of_file);
        mode(folder.path(), of_folder);
        refused(check(), &[words, name]);
    }
    mode(folder.path(), 0o1777);
    mode(&path, 0o755);
    assert_eq!(check(), Ok(path.clone()));
    let link = folder.path().join("link");
    std::os::unix::fs::symlink(&path, &link).expect("it is linked");
    refused(shell(&[name]).check(&program(&[link.to_str().expect("text")])), &["is not among"]);
}

#[tokio::test]
async fn a_name_is_looked_up_in_absolute_folders_alone() {
    let folder = tempfile::tempdir().expect("a folder");
    let (file, sub) = (folder.path().join("tool"), folder.path().join("sub"));
    fs::create_dir_all(sub.join("tool")).expect("it is made");
    fs::write(&file, "").expect("it is written");
    let path = std::env::join_paths([Path::new("."), Path::new(""), &sub, folder.path()]).expect("a PATH");
    assert_eq!(allowed::find("tool", &path), None, "neither a folder nor what nobody may run is a program");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).expect("it is changed");
    assert_eq!(allowed::find("tool", &path), Some(file));
}

#[tokio::test]
async fn a_program_gets_an_environment_of_its_own() {
    let own = Command {
        environment: pairs(&[("A", "b"), ("LANG", "xx")]),
        secrets: BTreeMap::from([("TOKEN".into(), SecretString::from(SECRET))]),
        ..script("env; test \"$TOKEN\" = sk-very-hidden-0123456789 && echo HAS=it")
    };
    let mut surroundings = shell(&[]);
    surroundings.environment = |name| match name {
        "HOME" => Some("/".into()),
        "GEMINI_API_KEY" | "TALKIE_KEY_HOOK" | "HF_TOKEN" => Some("other".into()),
        name => std::env::var_os(name),
    };
    let told = surroundings.run(own, &CancellationToken::new()).await.expect("it runs").text;
    let names: Vec<&str> = told.lines().filter_map(|line| line.split_once('=')).map(|(name, _)| name).collect();
    // What the shell itself sets is no matter.
    let known = [&PASSED_ON[..], &["A", "TOKEN", "HAS", "PWD", "OLDPWD", "SHLVL", "_"]].concat();
    assert!(names.iter().all(|name| known.contains(name)), "{names:?}");
    assert!(["PATH", "HOME", "A", "TOKEN", "HAS"].iter().all(|name| names.contains(name)), "{names:?}");
    assert!(told.contains("LANG=xx") && told.contains("TOKEN=…") && !told.contains(SECRET), "{told}");
}

#[tokio::test]
async fn variables_that_cannot_be_are_refused() {
    for (name, words) in [
        ("LD_PRELOAD", "other programs"),
        ("DYLD_INSERT_LIBRARIES", "other programs"),
        ("", "cannot name a variable"),
        ("A=B", "cannot name a variable"),
    ] {
        refused(run(Command { environment: pairs(&[(name, "x")]), ..script("true") }).await, &[words]);
    }
    let twice = Command {
        environment: pairs(&[("A", "b")]),
        secrets: BTreeMap::from([("A".into(), SecretString::from(SECRET))]),
        ..script("true")
    };
    refused(run(twice).await, &["both in `environment` and in `secrets`"]);
    refused(run(Command { environment: pairs(&[("A", "x\0y")]), ..script("true") }).await, &["NUL"]);
    let long = Command { environment: pairs(&[("A", &"x".repeat(8 << 20))]), ..script("true") };
    refused(run(long).await, &["too long", "`stdin`"]);
}

#[tokio::test]
async fn a_program_runs_where_it_should() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().canonicalize().expect("it is there");
    let at = |directory: &str| Command { directory: Some(directory.into()), ..script("pwd -P") };
    let told = run(at(path.to_str().expect("text"))).await.expect("it runs");
    assert_eq!(Path::new(&told.text), path);
    refused(run(at("/no/such/folder")).await, &["/no/such/folder is not there"]);
    refused(run(at("some/folder")).await, &["neither begins with / nor with ~/"]);
    run(at("~")).await.expect("the home is there");
}

#[tokio::test]
async fn a_failure_tells_what_the_program_said_without_secrets() {
    let secrets = BTreeMap::from([("TOKEN".into(), SecretString::from(SECRET))]);
    let with = |text: &str| Command { secrets: secrets.clone(), ..script(text) };
    may_pass(run(with("echo \"no: $TOKEN\" >&2; exit 7")).await, &["exit code 7", "it said: no: …"]);
    may_pass(run(with("kill -9 $$")).await, &["was ended by signal 9"]);
    // The cut falls into each place of the secret.
    for more in 0..SECRET.len() {
        let text = format!("printf %s%0{}d \"$TOKEN\" 0 >&2; exit 1", 8192 - SECRET.len() + more);
        let Err(Failure::MayPass { words, .. }) = run(with(&text)).await else { panic!("it fails") };
        assert!(words.len() < TOLD_ERRORS + 100 && !words.contains("789"), "{more}");
    }
    let output = run(with("echo $TOKEN; echo \"$TOKEN!\" >&2")).await.expect("it runs");
    assert_eq!((&*output.text, &*output.said), ("…", "…!"));
    assert!(!format!("{:?}", with("true")).contains(SECRET));
}

#[tokio::test]
async fn what_a_step_may_not_give_is_an_error() {
    refused(run(script("yes")).await, &["the script printed more than 1048576 bytes"]);
    refused(run(script("printf '\\377\\376'")).await, &["no text in UTF-8"]);
    let slow = Command { timeout: Duration::from_millis(300), ..script("echo here >&2; sleep 1000") };
    may_pass(run(slow).await, &["had not ended after 300ms"]);
}

#[tokio::test]
async fn a_file_that_no_system_runs_is_told() {
    let folder = tempfile::tempdir().expect("a folder");
    for (text, words) in [("#!/no/such/interpreter\n", "interpreter"), ("\u{0}\u{1}", "#!/bin/sh")] {
        let path = folder.path().join("tool");
        fs::write(&path, text).expect("it is written");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).expect("it is changed");
        let name = path.to_str().expect("text");
        let command = Command { what: program(&[name]), ..script("") };
        let ran = shell(&[name]).run(command, &CancellationToken::new()).await;
        refused(ran, &["failed to start", words]);
    }
}

#[tokio::test]
async fn one_that_is_cancelled_says_so() {
    let cancel = CancellationToken::new();
    let shell = shell(&[]);
    let (ended, ()) = tokio::join!(shell.run(script("sleep 1000"), &cancel), async { cancel.cancel() });
    assert_eq!(ended, Err(Failure::Cancelled));
}
