use serde_json::json;

use super::*;

fn shown(running: bool) -> Shown {
    let configuration = serde_json::from_value(json!({
        "file": "/home/u/.local/share/talkie/config.toml",
        "is_written": running,
        "settings": [
            { "key": "keep_alive", "value": "10m", "source": "file", "line": 12, "needs_restart": false },
            { "key": "queue", "value": 512, "source": "default", "needs_restart": false },
            { "key": "preload", "value": ["org/name"], "source": "option", "name": "--preload", "needs_restart": false },
            { "key": "hub", "value": "https://huggingface.co", "source": "environment", "name": "HF_ENDPOINT",
              "needs_restart": true, "after_restart": "http://127.0.0.1:1" },
        ],
    }));
    Shown { running, configuration: configuration.unwrap() }
}

fn plain(text: &str) -> String {
    anstream::adapter::strip_str(text).to_string()
}

#[test]
fn settings_of_a_running_daemon() {
    insta::assert_snapshot!(plain(&show(&shown(true), Some(80))));
}

#[test]
fn settings_on_20_columns() {
    insta::assert_snapshot!(plain(&show(&shown(false), Some(20))));
}

#[test]
fn what_a_reload_did() {
    let reload = |changed: &[&str], needs_restart: &[&str]| {
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let reloaded =
            Reloaded { file: "/h/config.toml".into(), changed: names(changed), needs_restart: names(needs_restart) };
        plain(&reloaded_text(&reloaded))
    };
    insta::assert_snapshot!(reload(&["keep_alive", "log"], &["hub"]) + &reload(&[], &[]));
}

fn reloaded_text(reloaded: &Reloaded) -> String {
    super::reloaded(reloaded)
}
