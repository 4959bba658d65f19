//! Models known to work: those that come with the daemon, and the user's own.
//!
//! `data/catalogue.toml` is part of the program; `catalogue.toml` in the daemon's home changes and extends it, and is
//! read at each call. What is wrong in it is told with its line and left out: no other entry suffers, and a call never
//! fails. Nothing here looks at a hub: an entry is what its file says of it.
//!
//! Both files are lists of `[[model]]`; an entry whose `id` stands earlier changes the fields that it names.
//!
//! | key | |
//! |---|---|
//! | `id` | `org/name` on the hub, the only key that every entry has |
//! | `display_name`, `license`, `good_at` | for people; a licence is an SPDX expression or a name |
//! | `architecture` | `model_type` of its config.json, one that an engine here runs |
//! | `parameters` | numbers it was trained to have; what is new needs it |
//! | `mode`, `bits`, `group_size` | how they are packed: affine and 64 in a group if not said; 16 bits without |
//! | `weights` | parts with `parameters` and these three, where not all are packed alike; for sizes in their place |
//! | `layers`, `kv_heads`, `head_dim` | what keeps keys and values of each token, and how many numbers they are |
//! | `windowed_layers`, `window` | how many of these layers keep the last tokens only, and how many tokens |
//! | `context_length` | tokens it can hold |
//! | `machine_gb` | memory of the smallest Mac that it is chosen for |
//! | `default` | the one to begin with; of several the last |
//! | `hidden` | takes it out |

mod fact;
mod file;
mod size;

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::Path;

use protocol::{Catalogue, CatalogueEntry, CatalogueSource, ModelId, ModelType};
use toml::{Table, Value};

use crate::bounded;
use fact::Fact;
use file::{Problems, Row, Text};
use size::Packing;

const BUILT_IN: &str = include_str!("../../data/catalogue.toml");

/// Name of the user's file in the daemon's home.
const FILE: &str = "catalogue.toml";

/// Longest file of a user that is read.
const MAX_BYTES: u64 = 1 << 20;

/// Most models of a catalogue; it is one message, and somebody chooses from it.
const MAX_MODELS: usize = 1000;

/// Tokens of the conversation that `memory_bytes` has room for.
const TOKENS: u64 = 4096;

/// The catalogue for a machine on which a model may take `memory_bytes`.
pub fn catalogue(home: &Path, memory_bytes: u64, is_installed: impl Fn(&ModelId) -> bool) -> Catalogue {
    let mut shelf = Shelf::default();
    shelf.take(&Text::new("the daemon's own catalogue", BUILT_IN), CatalogueSource::BuiltIn);
    shelf.take_file(&home.join(FILE));
    let shown = shelf.models.into_values().filter(|placed| !placed.fact.hidden);
    let mut models: Vec<CatalogueEntry> = shown.map(|placed| placed.entry(memory_bytes, &is_installed)).collect();
    models.sort_by_key(|model| (!model.is_default, model.size));
    Catalogue { models, memory_bytes, problems: shelf.problems.into_texts() }
}

/// What was taken from files so far.
#[derive(Default)]
struct Shelf {
    /// By id. At most one is the default.
    models: BTreeMap<String, Placed>,
    problems: Problems,
}

struct Placed {
    /// As written, all that was said of it together.
    table: Table,
    /// What that says.
    fact: Fact,
    source: CatalogueSource,
}

impl Shelf {
    /// Takes the user's file, if there is one.
    fn take_file(&mut self, path: &Path) {
        let why = match bounded::read(path, MAX_BYTES).map(String::from_utf8) {
            Ok(Ok(text)) => return self.take(&Text::new(&path.display().to_string(), &text), CatalogueSource::User),
            Ok(Err(error)) => format!("no text, {}", error.utf8_error()),
            Err(error) if error.kind() == ErrorKind::NotFound => return,
            Err(error) => error.to_string(),
        };
        self.problems.add(&format!("{}: {why}", path.display()));
    }

    fn take(&mut self, text: &Text, source: CatalogueSource) {
        for row in file::rows(text, &mut self.problems) {
            if let Err(wrong) = self.lay(&row, source) {
                let line = row.line_of(wrong.key);
                self.problems.add(&text.place(line, &wrong.why));
            }
        }
    }

    /// Lays an entry over the one of its id, field by field. One that is wrong changes nothing.
    fn lay(&mut self, row: &Row, source: CatalogueSource) -> Result<(), fact::Wrong> {
        let id = row.table.get("id").and_then(Value::as_str).unwrap_or_default();
        let earlier = self.models.get(id);
        let mut table = earlier.map_or_else(Table::new, |placed| placed.table.clone());
        table.extend(row.table.clone());
        let fact = Fact::of(&table)?;
        if earlier.is_none() && fact.hidden {
            return Err(fact::wrong("hidden", "no model of the catalogue has this id, so none is hidden"));
        }
        if earlier.is_none() && self.models.len() >= MAX_MODELS {
            return Err(fact::wrong("id", format!("a catalogue has at most {MAX_MODELS} models")));
        }
        if fact.default {
            self.models.values_mut().for_each(Placed::is_not_the_default);
        }
        self.models.insert(fact.id.clone(), Placed { table, fact, source });
        Ok(())
    }
}

impl Placed {
    fn is_not_the_default(&mut self) {
        self.fact.default = false;
        self.table.insert("default".into(), Value::Boolean(false));
    }

    fn entry(self, memory_bytes: u64, is_installed: &impl Fn(&ModelId) -> bool) -> CatalogueEntry {
        let Self { fact, source, .. } = self;
        let name = fact.id.rsplit('/').next().unwrap_or_default().to_owned();
        let id = ModelId(fact.id.clone());
        let needs = size::memory_bytes(&fact, TOKENS);
        CatalogueEntry {
            size: size::download_bytes(&fact),
            kind: ModelType::Local,
            provider: protocol::providers::MLX.into(),
            download_url: format!("https://huggingface.co/{id}"),
            parameters: fact.parameters,
            context_length: fact.context_length,
            quantization: fact.parts.first().and_then(|part| part.packing).map(Packing::quantization),
            display_name: fact.display_name.unwrap_or_else(|| name.replace(['-', '_'], " ")),
            license: fact.license.unwrap_or_else(|| "unknown".into()),
            good_at: fact.good_at,
            memory_bytes: needs,
            fits: needs <= memory_bytes,
            machine_gb: fact.machine_gb,
            is_default: fact.default,
            is_installed: is_installed(&id),
            source,
            name,
            id,
        }
    }
}

#[cfg(test)]
#[path = "catalogue_tests.rs"]
mod tests;
