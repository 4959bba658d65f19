//! What talkied is set to.
//!
//! Called by the commands.

use std::fmt::Write;

use anstyle::Style;
use protocol::{Configuration, Reloaded, Setting, SettingSource};
use serde::Serialize;
use serde_json::Value;

use super::table::{Cell, Table};
use super::{GREEN, PLAIN, YELLOW, printable};

/// Result of `config show`.
#[derive(Debug, Serialize)]
pub struct Shown {
    /// Whether a running talkied said so; else it is what one started now would go by.
    pub running: bool,
    /// What was said.
    #[serde(flatten)]
    pub configuration: Configuration,
}

/// `config show`.
pub fn show(shown: &Shown, width: Option<usize>) -> String {
    let Configuration { file, is_written, settings } = &shown.configuration;
    let whose = if shown.running {
        "the talkied that runs goes by these settings"
    } else {
        "talkied does not run; started now, it would go by these settings"
    };
    let state = if *is_written { "" } else { " (not there)" };
    let mut text = format!("{whose}\nfile {}{state}\n\n", printable(&file.display().to_string()));
    let mut table = Table::new(&["SETTING", "VALUE", "FROM"]);
    for setting in settings {
        let (from, style) = from(setting);
        table.row(vec![(&*setting.key).into(), value(&setting.value).into(), Cell::new(from, style)]);
        if let Some(next) = &setting.after_restart {
            table.note(&format!("{} after a restart: talkiectl stop", value(next)), YELLOW);
        }
    }
    text += &table.render(width);
    text
}

fn from(setting: &Setting) -> (String, Style) {
    let name = setting.name.as_deref().unwrap_or_default();
    match setting.source {
        SettingSource::Default => ("default".into(), PLAIN),
        SettingSource::Environment => (format!("environment {name}"), GREEN),
        SettingSource::Option => (format!("option {name}"), GREEN),
        SettingSource::File => (format!("file, line {}", setting.line.unwrap_or_default()), GREEN),
    }
}

/// A text without its quotes, anything else as JSON.
fn value(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// `config reload`.
pub fn reloaded(reloaded: &Reloaded) -> String {
    let Reloaded { file, changed, needs_restart } = reloaded;
    let mut text = format!("{} was read again\n", printable(&file.display().to_string()));
    let changed = if changed.is_empty() { "nothing".into() } else { printable(&changed.join(", ")) };
    let _ = writeln!(text, "  changed        {changed}");
    if !needs_restart.is_empty() {
        let settings = printable(&needs_restart.join(", "));
        let _ = writeln!(text, "  {YELLOW}needs restart  {settings}{YELLOW:#}");
    }
    text
}

#[cfg(test)]
#[path = "config_tests.rs"]
mod tests;
