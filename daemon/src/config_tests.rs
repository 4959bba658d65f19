use std::collections::HashMap;
use std::ffi::OsString;
use std::fs;

use tempfile::TempDir;

use super::*;

/// A home with a file, and what is given beside it.
struct Case {
    home: TempDir,
    variables: HashMap<String, OsString>,
    options: Vec<String>,
}

impl Case {
    fn of(file: &str) -> Self {
        let home = tempfile::tempdir().unwrap();
        fs::write(home.path().join("config.toml"), file).unwrap();
        let variables = HashMap::from([("TALKIE_HOME".to_owned(), home.path().into())]);
        Self { home, variables, options: Vec::new() }
    }

    fn variable(mut self, name: &str, value: &str) -> Self {
        self.variables.insert(name.to_owned(), value.into());
        self
    }

    fn options(mut self, options: &[&str]) -> Self {
        self.options.extend(options.iter().map(|option| (*option).to_owned()));
        self
    }

    fn given(&self) -> Given {
        let arguments = ["talkied".to_owned()].into_iter().chain(self.options.clone());
        Given::parse(arguments, |name| self.variables.get(name).cloned()).expect("arguments parse").0
    }

    fn load(&self) -> Result<Config, ConfigError> {
        Config::load(self.given())
    }

    fn file(&self) -> PathBuf {
        self.home.path().join("config.toml")
    }

    /// The error, with `FILE` for the file.
    fn error(&self) -> String {
        let file = self.file().display().to_string();
        self.load().expect_err("it is wrong").to_string().replace(&file, "FILE")
    }
}

fn origin(config: &Config, key: &str) -> Origin {
    config.origins[SETTINGS.iter().position(|setting| setting.key == key).unwrap()]
}

#[test]
fn an_option_goes_before_a_variable_before_the_file_before_the_default() {
    let case = Case::of("# words\nqueue = 3\n");
    let queue = |case: &Case| {
        let config = case.load().unwrap();
        (config.settings.queue.0, origin(&config, "queue"))
    };
    assert_eq!(queue(&Case::of("")), (512, Origin::Default));
    assert_eq!(queue(&case), (3, Origin::File { line: 2 }));
    let case = case.variable("TALKIE_QUEUE", "");
    assert_eq!(queue(&case), (3, Origin::File { line: 2 }), "an empty variable is none");
    let case = case.variable("TALKIE_QUEUE", "4");
    assert_eq!(queue(&case), (4, Origin::Variable));
    assert_eq!(queue(&case.options(&["--queue", "5"])), (5, Origin::Option));
}

#[test]
fn every_setting_is_taken_from_the_file() {
    let file = r#"
        keep_alive = "2h"
        queue = 0x10
        batch = 8
        memory = "60%"
        prefix_cache = "none"
        draft_models = { "org/name" = "org/small", "b" = "c" }
        engine_timeout = "30s"
        pressure = "/p"
        drain = 3
        preload = ["org/name", { model = "org/b", keep_alive = "forever" }]
        idle_exit = "10m"
        models = ["/a", "/b"]
        hf_cache = "none"
        hub = "http://127.0.0.1:8/hub"
        pull_limit = "20M"
        local_only = true
        keychain = false
        workflow_shell = ["git", "/usr/bin/wc"]
        workflow_scripts = true
        engine = "/e"
        candle = "/c"
        log = "warn,talkied::pull=debug"
    "#;
    let case = Case::of(file);
    let config = case.load().unwrap();
    let shown: Vec<String> = SETTINGS.iter().map(|setting| setting.field.get(&config.settings).to_string()).collect();
    insta::assert_snapshot!(shown.join("\n"));
    assert!(config.origins.iter().all(|origin| matches!(origin, Origin::File { .. })));
}

#[test]
fn every_setting_is_taken_from_variables_and_options() {
    let values = [
        ("keep_alive", "90s"),
        ("queue", "7"),
        ("batch", "4"),
        ("memory", "12G"),
        ("prefix_cache", "auto"),
        ("draft_models", "org/a=org/b, c=d"),
        ("engine_timeout", "5m"),
        ("pressure", "/p"),
        ("drain", "0"),
        ("preload", "org/a,org/b"),
        ("idle_exit", "never"),
        ("models", "/a:/b"),
        ("hf_cache", "/h"),
        ("hub", "https://h"),
        ("pull_limit", "none"),
        ("local_only", "yes"),
        ("keychain", "true"),
        ("workflow_shell", "git, /usr/bin/wc"),
        ("workflow_scripts", "yes"),
        ("engine", "/e"),
        ("candle", "/c"),
        ("log", "trace"),
    ];
    let mut variables = Case::of("");
    let mut options = Case::of("");
    for (setting, (key, value)) in SETTINGS.iter().zip(values) {
        assert_eq!(setting.key, key);
        variables = variables.variable(setting.variable, value);
        options = options.options(&[&format!("--{}={value}", setting.option)]);
    }
    let (variables, options) = (variables.load().unwrap(), options.load().unwrap());
    for setting in &SETTINGS {
        let of = |config: &Config| setting.field.get(&config.settings).to_string();
        assert_eq!(of(&variables), of(&options), "{}", setting.key);
        assert_eq!(origin(&variables, setting.key), Origin::Variable);
        assert_eq!(origin(&options, setting.key), Origin::Option);
    }
    assert!(!variables.settings.keychain.0, "TALKIE_NO_KEYCHAIN says no to it");
    assert_eq!(variables.settings.models.len(), 2);
}

#[test]
fn an_option_alone_says_yes_and_repeated_ones_add_up() {
    let case = Case::of("").options(&["--local-only", "--no-keychain", "--models", "/a", "--models", "/b:/c"]);
    let settings = case.load().unwrap().settings;
    assert!(settings.local_only && !settings.keychain.0);
    let places: Vec<_> = settings.places().into_iter().map(|place| (place.root, place.source)).collect();
    let folder = |path: &str| (path.into(), protocol::ModelSource::Folder);
    assert_eq!(places[..3], [folder("/a"), folder("/b"), folder("/c")]);
    let settings = Case::of("local_only = true").options(&["--local-only=no"]).load().unwrap().settings;
    assert!(!settings.local_only, "no can be said to the file");
}

#[test]
fn what_is_wrong_is_told_with_its_place_and_what_is_right() {
    let cases = [
        "keep_alive = 5.5",
        "  keep_alive = \"5 days\"",
        "ké = 1",
        "keep-alive = 5",
        "Queue = 5",
        "[daemon]\nqueue = 5",
        "frobnicate = 1",
        "home = \"/x\"",
        "socket = \"/x\"",
        "queue = \"5\"",
        "queue = 0",
        "batch = 0",
        "batch = 257",
        "queue = 99999999999999999999",
        "drain = \"forever\"",
        "drain = -1",
        "draft_models = [\"org/a=org/b\"]",
        "draft_models = { \"org/a\" = 1 }",
        "draft_models = { \"no such model\" = \"a\" }",
        "preload = \"org/name\"",
        "preload = [\"no such model\"]",
        "preload = [{ model = \"a\", keepalive = 1 }]",
        "preload = [\n  \"a\",\n  5,\n]",
        "idle_exit = 0",
        "models = [\"relative\"]",
        "hf_cache = \"relative\"",
        "hub = \"huggingface.co\"",
        "pull_limit = \"1.5M\"",
        "local_only = \"true\"",
        "keychain = 1",
        "engine = \"talkied-mlx\"",
        "candle = []",
        "log = \"loud\"",
        "log = \"info,x=loud\"",
        "queue = 1\nqueue = 2",
        "queue = ",
        "queue",
        "queue = 1 # fine\nlog = \"unclosed\n",
        "log = 2020-01-01",
        "queue = \"\u{1b}[31m\"",
    ];
    let told = cases.map(|file| format!("{file}\n=> {}\n", Case::of(file).error().replace('\n', "\n   ")));
    insta::assert_snapshot!(told.join("\n"));
}

#[test]
fn all_that_is_wrong_is_told_at_once() {
    let case = Case::of("queue = 0\nlgo = 1\n").variable("TALKIE_DRAIN", "long").options(&["--hub", "x"]);
    insta::assert_snapshot!(case.error());
}

#[test]
fn a_wrong_variable_is_told_even_under_an_option() {
    let case = Case::of("").variable("TALKIE_QUEUE", "many").options(&["--queue", "5"]);
    assert_eq!(case.error(), "TALKIE_QUEUE is \"many\", but must be a number from 1 to 100000");
    for setting in
        SETTINGS.iter().filter(|setting| setting.variable != "TALKIE_ENGINE" && setting.variable != "TALKIE_CANDLE")
    {
        let error = Case::of("").variable(setting.variable, "\u{1}?").error();
        assert!(error.starts_with(setting.variable) && error.contains("must be"), "{error}");
    }
}

#[test]
fn a_file_that_cannot_be_read_is_an_error_and_one_that_is_not_there_is_none() {
    let case = Case::of("");
    fs::remove_file(case.file()).unwrap();
    assert!(!case.load().unwrap().describe().is_written);
    let named = Case::of("").options(&["--config", "/no/such/file.toml"]).error();
    assert!(named.starts_with("/no/such/file.toml: cannot be read: "), "{named}");
    fs::create_dir(case.file()).unwrap();
    assert_eq!(case.error(), "FILE: cannot be read: is a folder");
    let long = Case::of(&"#".repeat(LONGEST as usize + 1));
    assert!(long.error().starts_with("FILE: cannot be read: has "), "{}", long.error());
    let case = Case::of("");
    fs::write(case.file(), b"log = \"\xff\"").unwrap();
    assert!(case.error().contains("utf-8"), "{}", case.error());
}

#[test]
fn another_file_is_named_by_an_option_or_a_variable() {
    let (first, second) = (Case::of("queue = 1"), Case::of("queue = 2"));
    let [one, two] = [first.file(), second.file()].map(|file| file.to_str().unwrap().to_owned());
    let case = Case::of("queue = 3").variable("TALKIE_CONFIG", &one);
    assert_eq!(case.load().unwrap().settings.queue.0, 1);
    let case = case.options(&["--config", &two]);
    assert_eq!(case.load().unwrap().settings.queue.0, 2);
    let error = Case::of("").variable("TALKIE_CONFIG", "here.toml").error();
    assert_eq!(error, "TALKIE_CONFIG is here.toml, but must be an absolute path");
}

#[test]
fn a_home_holds_the_socket_unless_that_is_named() {
    let load = |options: &[&str]| Case::of("").options(options).load();
    let config = load(&["--home", "/h"]).unwrap();
    assert_eq!(config.socket, socket::Place::Default("/h/run/talkied.sock".into()));
    let config = load(&["--home", "/h", "--socket", "/s/t.sock"]).unwrap();
    assert_eq!(config.socket, socket::Place::Named("/s/t.sock".into()));
    let error = load(&["--home", "h"]).unwrap_err().to_string();
    assert_eq!(error, "--home is h, but must be an absolute path");
}

#[test]
fn the_default_file_changes_nothing_and_says_the_defaults() {
    let case = Case::of(&answer(Task::Default, Given::default()).unwrap());
    let config = case.load().unwrap();
    assert!(config.origins.iter().all(|origin| *origin == Origin::Default), "all of it is comments");
    let lines = describe::default_file();
    let is_setting = |line: &&str| SETTINGS.iter().any(|setting| line.starts_with(&format!("{} = ", setting.key)));
    let uncommented: Vec<&str> = lines.lines().filter_map(|line| line.strip_prefix("# ")).filter(is_setting).collect();
    assert_eq!(uncommented.len(), SETTINGS.len());
    let written = Case::of(&uncommented.join("\n")).load().unwrap();
    for setting in SETTINGS.iter().filter(|setting| setting.example.is_none()) {
        let of = |config: &Config| setting.field.get(&config.settings).to_string();
        assert_eq!(of(&written), of(&config), "{}", setting.key);
    }
}

#[test]
fn the_default_file_is_the_one_reviewed() {
    insta::assert_snapshot!(describe::default_file());
}

#[test]
fn the_schema_takes_what_the_daemon_takes() {
    let schema = describe::schema();
    let validator = jsonschema::draft7::new(&schema).expect("the schema is one");
    let takes = |file: &str| {
        let table: toml::Table = toml::from_str(file).unwrap();
        validator.is_valid(&serde_json::to_value(table).unwrap())
    };
    let lines = describe::default_file();
    let is_setting = |line: &&str| SETTINGS.iter().any(|setting| line.starts_with(&format!("{} = ", setting.key)));
    let settings: Vec<&str> = lines.lines().filter_map(|line| line.strip_prefix("# ")).filter(is_setting).collect();
    assert!(takes("") && takes(&settings.join("\n")));
    for right in ["drain = 3", "keep_alive = \"forever\"", "pull_limit = 5", "preload = [\"a\", { model = \"b\" }]"] {
        assert!(takes(right) && Case::of(right).load().is_ok(), "{right}");
    }
    for wrong in
        ["kep_alive = 3", "queue = 0", "drain = \"forever\"", "local_only = 1", "models = [\"a\"]", "hub = \"h\""]
    {
        assert!(!takes(wrong) && Case::of(wrong).load().is_err(), "{wrong}");
    }
}

#[test]
fn a_new_reading_changes_what_may_change_and_remembers_the_rest() {
    let case = Case::of("queue = 3\nhub = \"http://a\"\n");
    let mut config = case.load().unwrap();
    assert_eq!(config.renew(&config.again().unwrap()), Change::default());
    fs::write(case.file(), "hub = \"http://b\"\nlog = \"debug\"\n").unwrap();
    let change = config.renew(&config.again().unwrap());
    assert_eq!(change, Change { changed: vec!["queue", "log"], needs_restart: vec!["hub"] });
    assert_eq!((config.settings.queue.0, &*config.settings.hub.0), (512, "http://a"));
    assert_eq!((origin(&config, "queue"), origin(&config, "log")), (Origin::Default, Origin::File { line: 2 }));
    let hub = config.describe().settings.into_iter().find(|setting| setting.key == "hub").unwrap();
    assert_eq!((hub.value, hub.after_restart), ("http://a".into(), Some("http://b".into())));
    fs::write(case.file(), "hub = \"http://a\"\n").unwrap();
    let change = config.renew(&config.again().unwrap());
    assert_eq!((change.changed, change.needs_restart), (vec!["log"], vec![]), "what was there first holds again");
}

#[test]
fn the_default_file_is_written_once_and_for_its_user_alone() {
    use std::os::unix::fs::PermissionsExt;
    let case = Case::of("queue = 3");
    let refused = answer(Task::Init, case.given()).unwrap_err().to_string();
    assert!(refused.contains("--force"), "{refused}");
    assert_eq!(fs::read_to_string(case.file()).unwrap(), "queue = 3");
    answer(Task::Replace, case.given()).unwrap();
    assert_eq!(fs::read_to_string(case.file()).unwrap(), describe::default_file());
    fs::remove_file(case.file()).unwrap();
    assert_eq!(answer(Task::Init, case.given()).unwrap(), format!("{}\n", case.file().display()));
    assert_eq!(case.file().metadata().unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn a_limit_of_downloads_is_bytes_with_a_unit() {
    let limit = |text: &str| Case::of("").options(&["--pull-limit", text]).load().map(|it| it.settings.pull_limit.0);
    for (text, bytes) in [("7", 7), ("500k", 500_000), ("20M", 20_000_000), ("1G", 1_000_000_000)] {
        assert_eq!(limit(text).unwrap(), Some(bytes));
    }
    assert_eq!(limit("none").unwrap(), None);
    for wrong in ["0", "M", "1.5M", "99999999999G", "5T", "nöne"] {
        let error = limit(wrong).unwrap_err().to_string();
        assert!(error.starts_with("--pull-limit is ") && error.contains("such as 500k"), "{error}");
    }
}
