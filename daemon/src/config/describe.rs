//! The configuration told to people and programs: the commented default file, its schema, and every value with its source.

use std::path::Path;

use protocol::{Configuration, SettingSource};
use serde_json::{Map, Value as Json, json};

use super::table::{SETTINGS, Setting, Settings, Taken};
use super::{Config, ConfigError, Given, Origin, Places, Task};
use crate::private;

/// Longest line of the file's words.
const COLUMNS: usize = 100;

const HEAD: &str = "\
Settings of talkied. All of it is comments: each setting shows its default, or an example. Take the # away in front of one \
to change it. A variable goes before this file, and an option of the program before both.

`talkiectl config check` says what is wrong here, `talkiectl config show` what holds and why. `talkiectl config reload` has \
a running talkied read it again; what is taken at the next start waits for `talkiectl stop`.

Editors check this file where they know its schema (taplo, Even Better TOML): write that with `talkiectl config schema > \
config.schema.json`, and as the first line here:
#:schema ./config.schema.json";

/// A file that says the defaults and changes nothing.
pub fn default_file() -> String {
    let mut text = comment(HEAD);
    for setting in &SETTINGS {
        let Setting { key, doc, variable, option, .. } = setting;
        let when = if setting.taken == Taken::AtStart { " Taken at the next start." } else { "" };
        let several = setting.field.separator();
        let several = several.map_or(String::new(), |separator| format!("; both with '{separator}' between several"));
        let what = if setting.example.is_some() { "For example:" } else { "Default:" };
        let words = comment(&format!("{doc}.{when}\nVariable {variable}, option --{option}{several}. {what}"));
        text.extend(["\n", &words, "# ", key, " = ", &shown(setting), "\n"]);
    }
    text
}

/// As comments, in lines of a length that can be read.
fn comment(words: &str) -> String {
    let mut text = String::new();
    for paragraph in words.lines() {
        let mut line = String::from("#");
        for word in paragraph.split(' ').filter(|word| !word.is_empty()) {
            if line.len() + word.len() >= COLUMNS {
                text += &std::mem::replace(&mut line, "#".into());
                text.push('\n');
            }
            line = line + " " + word;
        }
        text += &line;
        text.push('\n');
    }
    text
}

/// What the default file shows of a setting: its default, or an example where that differs between machines.
fn shown(setting: &Setting) -> String {
    setting.example.map_or_else(|| setting.field.get(&Settings::default()).to_string(), str::to_owned)
}

/// The JSON schema of the file.
pub fn schema() -> Json {
    let property = |setting: &Setting| {
        let mut schema = setting.field.schema();
        schema["description"] = setting.doc.into();
        if setting.example.is_none() {
            schema["default"] = json(&setting.field.get(&Settings::default()));
        }
        (setting.key.to_owned(), schema)
    };
    json!({
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "Settings of talkied",
        "type": "object",
        "properties": SETTINGS.iter().map(property).collect::<Map<_, _>>(),
        "additionalProperties": false,
    })
}

/// What the program prints for a task that is none of serving.
pub fn answer(task: Task, given: Given) -> Result<String, ConfigError> {
    let file = || Places::of(&given).map(|places| places.file);
    match task {
        Task::Serve => Ok(String::new()),
        Task::Default => Ok(default_file()),
        Task::Schema => Ok(format!("{:#}\n", schema())),
        Task::Path => Ok(format!("{}\n", file()?.display())),
        Task::Init => init(&file()?, Existing::Kept),
        Task::Replace => init(&file()?, Existing::Replaced),
        Task::Check => {
            let config = Config::load(given)?;
            let file = config.file.display();
            let words = if config.is_written { "is right" } else { "is not there; the defaults hold" };
            Ok(format!("{file} {words}\n"))
        }
        Task::Show => {
            let shown = serde_json::to_string(&Config::load(given)?.describe());
            Ok(shown.expect("texts, numbers and lists are JSON") + "\n")
        }
    }
}

/// What becomes of a file that is there.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Existing {
    Kept,
    Replaced,
}

/// Writes the default file and prints its path. A link stays a link: what it leads to is written.
fn init(path: &Path, existing: Existing) -> Result<String, ConfigError> {
    if existing == Existing::Kept && path.symlink_metadata().is_ok() {
        return Err(ConfigError::Exists(path.to_path_buf()));
    }
    let target = path.canonicalize().unwrap_or_else(|_| path.to_path_buf());
    let failed = |source| ConfigError::Unwritable { path: path.to_path_buf(), source };
    private::write(&target, default_file().as_bytes()).map_err(failed)?;
    Ok(format!("{}\n", path.display()))
}

impl Config {
    /// Every setting, and where its value is from.
    pub fn describe(&self) -> Configuration {
        let settings = SETTINGS.iter().zip(&self.origins).map(|(setting, origin)| {
            let (source, name, line) = match *origin {
                Origin::Default => (SettingSource::Default, None, None),
                Origin::Variable => (SettingSource::Environment, Some(setting.variable.to_owned()), None),
                Origin::Option => (SettingSource::Option, Some(format!("--{}", setting.option)), None),
                Origin::File { line } => (SettingSource::File, None, Some(line)),
            };
            protocol::Setting {
                key: setting.key.into(),
                value: json(&setting.field.get(&self.settings)),
                source,
                name,
                line,
                needs_restart: setting.taken == Taken::AtStart,
                after_restart: self.waiting.get(setting.key).map(json),
            }
        });
        Configuration { file: self.file.clone(), is_written: self.is_written, settings: settings.collect() }
    }
}

fn json(value: &toml::Value) -> Json {
    serde_json::to_value(value).unwrap_or_default()
}
