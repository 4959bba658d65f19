//! Who answers.
//!
//! Called by the commands.

use std::fmt::Write;

use anstyle::Style;
use protocol::{KeyStatus, ModelType, Provider, ProviderList, ProviderTest, Unavailable};

use super::table::{Cell, Table};
use super::{GREEN, NONE, RED, YELLOW, duration_ms, printable};

/// `providers`.
pub fn list(list: &ProviderList, width: Option<usize>) -> String {
    let mut table = Table::new(&["PROVIDER", "WHERE", "STATE", "KEY", "DEFAULT MODEL"]);
    for provider in &list.providers {
        let (state, style) = state(provider);
        let model = provider.default_model.as_ref().map_or(NONE, |model| &model.0);
        table.row(vec![
            (&*provider.id.0).into(),
            place(provider).into(),
            Cell::new(state, style),
            key_of(provider).into(),
            model.into(),
        ]);
        if let Some(message) = &provider.availability.message {
            table.note(message, YELLOW);
        }
    }
    let mut text = table.render(width);
    for (tier, meant) in &list.tiers {
        let tier = serde_json::to_value(tier).unwrap_or_default();
        let _ = writeln!(text, "tier {}: {}", tier.as_str().unwrap_or_default(), printable(&meant.join(", ")));
    }
    if list.local_only {
        text += "local_only is set: nothing is sent to other machines\n";
    }
    text
}

/// `providers show` and `providers set`.
pub fn one(provider: &Provider) -> String {
    let Provider { id, name, base_url, default_model, models, availability, .. } = provider;
    let mut text = format!("{} ({})\n", printable(&id.0), printable(name));
    let rows = [
        ("where", base_url.clone().unwrap_or_else(|| place(provider).into())),
        ("state", state(provider).0.into()),
        ("key", key_of(provider).into()),
        ("default", default_model.as_ref().map_or(NONE.into(), |model| model.0.clone())),
    ];
    for (name, value) in rows {
        let _ = writeln!(text, "  {name:<9} {}", printable(&value));
    }
    if let Some(message) = &availability.message {
        let _ = writeln!(text, "  {YELLOW}{}{YELLOW:#}", printable(message));
    }
    for (place, model) in models.iter().flatten().enumerate() {
        let title = if place == 0 { "models" } else { "" };
        let _ = writeln!(text, "  {title:<9} {}", printable(&model.0));
    }
    text
}

/// `providers test`.
pub fn tested(test: &ProviderTest) -> String {
    let models = test.models.map_or(String::new(), |models| format!(" with {models} models"));
    format!("{} answers{models}, after {}\n", printable(&test.provider.0), duration_ms(test.latency_ms))
}

/// `providers set-key` and `providers remove-key`.
pub fn key(provider: &Provider) -> String {
    let id = printable(&provider.id.0);
    match provider.key {
        KeyStatus::Keychain => format!("the key of {id} is in the keychain\n"),
        KeyStatus::File => format!("the key of {id} is in a file that only you can read\n"),
        KeyStatus::Environment => format!("{id} uses the key of talkied's environment, which goes before any other\n"),
        KeyStatus::Missing | KeyStatus::NotNeeded => format!("{id} has no key\n"),
    }
}

fn place(provider: &Provider) -> &'static str {
    match provider.place {
        ModelType::Local => "this machine",
        ModelType::Cloud => "cloud",
    }
}

fn state(provider: &Provider) -> (&'static str, Style) {
    match provider.availability.reason {
        None => ("available", GREEN),
        Some(Unavailable::NotConfigured) => ("not configured", YELLOW),
        Some(Unavailable::NotSupportedHere) => ("not supported here", YELLOW),
        Some(Unavailable::NotAllowed) => ("not allowed", YELLOW),
        Some(Unavailable::Unreachable) => ("unreachable", RED),
    }
}

fn key_of(provider: &Provider) -> &'static str {
    match provider.key {
        KeyStatus::NotNeeded => NONE,
        KeyStatus::Missing => "missing",
        KeyStatus::Environment => "environment",
        KeyStatus::Keychain => "keychain",
        KeyStatus::File => "file",
    }
}
