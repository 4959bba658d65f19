//! Changes of `providers.toml` by the daemon: comments and order of the user's file stay as they are.

use std::io;
use std::path::Path;

use protocol::{ConfigureProvider, ErrorData, Kind, ProviderId};
use toml_edit::{DocumentMut, InlineTable, Item, Table, Value};

use super::settings::{LONGEST, Settings};
use crate::bounded;
use crate::error::invalid;
use crate::private;

/// Writes what is to change, if the whole is right then. A key is not part of it.
pub(super) fn configure(path: &Path, request: &ConfigureProvider) -> Result<Settings, ErrorData> {
    let current = Settings::read(path)?;
    let is_new = !current.servers.contains_key(&request.provider);
    if is_new && request.base_url.is_none() {
        return Err(invalid(format!("no provider {:?} is known; give its `base_url` to add it", request.provider.0)));
    }
    let ConfigureProvider { provider: id, name, base_url, default_model, headers, key: _ } = request;
    let mut document = read(path)?;
    if name.is_none() && base_url.is_none() && default_model.is_none() && headers.is_none() {
        return Ok(current);
    }
    let table = entry(&mut document, &id.0)?;
    for (field, text) in [("name", name), ("base_url", base_url)] {
        if let Some(text) = text {
            set(table, field, Value::from(text));
        }
    }
    if let Some(model) = default_model {
        set(table, "default_model", Value::from(&model.0));
    }
    if let Some(headers) = headers {
        let headers: InlineTable = headers.iter().map(|(name, text)| (name.clone(), Value::from(text))).collect();
        set(table, "headers", headers.into());
    }
    let settings = Settings::parse(&document.to_string()).map_err(invalid)?;
    write(path, &document)?;
    Ok(settings)
}

/// Takes a server out of the file; false when it is not in it.
pub(super) fn remove(path: &Path, id: &ProviderId) -> Result<bool, ErrorData> {
    let built_in = Settings::parse("").map_err(invalid)?;
    if id.is_engine() || built_in.servers.contains_key(id) {
        return Err(invalid(format!(
            "{id} comes with the daemon and cannot be removed; its key can: configure it with an empty one"
        )));
    }
    let mut document = read(path)?;
    let removed = document.get_mut("provider").and_then(Item::as_table_mut).and_then(|all| all.remove(&id.0));
    if removed.is_none() {
        return Ok(false);
    }
    if let Err(why) = Settings::parse(&document.to_string()) {
        return Err(invalid(why));
    }
    write(path, &document)?;
    Ok(true)
}

fn read(path: &Path) -> Result<DocumentMut, ErrorData> {
    let text = bounded::read_text(path, LONGEST).map_err(|error| failed(path, &error))?;
    let refuse = |error| ErrorData::new(Kind::ConfigurationError, format!("{}: {error}", path.display()));
    text.parse().map_err(refuse)
}

/// The table of a provider, made if it is not there.
fn entry<'a>(document: &'a mut DocumentMut, id: &str) -> Result<&'a mut Table, ErrorData> {
    let all = document.entry("provider").or_insert_with(|| {
        let mut all = Table::new();
        all.set_implicit(true);
        Item::Table(all)
    });
    let words = || invalid("providers.toml: write providers as tables, [provider.NAME], so that they can be changed");
    let all = all.as_table_mut().ok_or_else(words)?;
    all.entry(id).or_insert_with(|| Item::Table(Table::new())).as_table_mut().ok_or_else(words)
}

/// Puts a value in the place of another, whose comment stays.
fn set(table: &mut Table, field: &str, mut new: Value) {
    if let Some(old) = table.get(field).and_then(Item::as_value) {
        *new.decor_mut() = old.decor().clone();
    }
    table[field] = Item::Value(new);
}

/// For its user alone, for headers may be secrets.
fn write(path: &Path, document: &DocumentMut) -> Result<(), ErrorData> {
    private::write(path, document.to_string().as_bytes()).map_err(|error| failed(path, &error))
}

fn failed(path: &Path, error: &io::Error) -> ErrorData {
    ErrorData::new(Kind::StorageFailed, format!("failed to change {}: {error}", path.display()))
}

#[cfg(test)]
#[path = "edit_tests.rs"]
mod tests;
