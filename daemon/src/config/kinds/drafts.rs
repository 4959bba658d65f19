//! Which model guesses tokens for which.

use std::collections::BTreeMap;

use protocol::ModelId;
use serde_json::{Value as Json, json};
use toml::Value as Toml;

use super::Kind;

/// The draft of each model for which the configuration names one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DraftModels(BTreeMap<ModelId, ModelId>);

impl DraftModels {
    /// That of a model.
    pub fn of(&self, model: &ModelId) -> Option<&ModelId> {
        self.0.iter().find(|(named, _)| named.folder() == model.folder()).map(|(_, draft)| draft)
    }
}

impl Kind for DraftModels {
    const EXPECTED: &'static str = "models and their drafts: in the file a table as { \"org/name\" = \"org/small\" }, else \
                                    org/name=org/small";
    const SEPARATOR: Option<&'static str> = Some(",");

    fn of_text(text: &str) -> Option<Self> {
        let pairs = text.split(',').map(str::trim).filter(|pair| !pair.is_empty());
        pairs
            .map(|pair| pair.split_once('=').and_then(|(model, draft)| entry(model, draft)))
            .collect::<Option<_>>()
            .map(Self)
    }

    fn of_toml(value: &Toml) -> Option<Self> {
        let pairs = value.as_table()?.iter();
        pairs.map(|(model, draft)| entry(model, draft.as_str()?)).collect::<Option<_>>().map(Self)
    }

    fn to_toml(&self) -> Toml {
        let pairs = self.0.iter().map(|(model, draft)| (model.0.clone(), Toml::from(draft.0.clone())));
        Toml::Table(pairs.collect())
    }

    fn schema() -> Json {
        json!({ "type": "object", "additionalProperties": { "type": "string", "minLength": 1 } })
    }
}

fn entry(model: &str, draft: &str) -> Option<(ModelId, ModelId)> {
    let [model, draft] = [model, draft].map(|id| ModelId(id.trim().to_owned()));
    (model.is_valid() && draft.is_valid()).then_some((model, draft))
}
