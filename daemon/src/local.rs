//! An installed model as requests use it: where it is, and its text side, read once and kept while somebody uses it.
//!
//! The scheduler's resident holds one, and so does every request; when the last lets go, the tokenizer's memory is
//! given back.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use protocol::{Capability, ErrorData, ModelId};
use tokio::sync::OnceCell;

use crate::error::internal;
use crate::text::TextModel;

/// One installed model in use.
#[derive(Debug)]
pub struct LocalModel {
    /// Its name.
    pub id: ModelId,
    /// Its folder.
    pub path: PathBuf,
    /// What it can be asked for.
    pub capabilities: Vec<Capability>,
    text: OnceCell<Arc<TextModel>>,
}

impl LocalModel {
    /// A model whose text side is not read yet.
    pub fn new(id: ModelId, path: PathBuf, capabilities: Vec<Capability>) -> Self {
        Self { id, path, capabilities, text: OnceCell::new() }
    }

    /// Whether the text side is read already.
    pub fn has_text(&self) -> bool {
        self.text.initialized()
    }

    /// Its tokenizer and template, read at the first call.
    pub async fn text(&self) -> Result<Arc<TextModel>, ErrorData> {
        self.text.get_or_try_init(|| read(self.id.clone(), self.path.clone())).await.cloned()
    }
}

async fn read(id: ModelId, path: PathBuf) -> Result<Arc<TextModel>, ErrorData> {
    let opened = tokio::task::spawn_blocking(move || TextModel::open(&path)).await;
    let opened = opened.map_err(|_| internal(format!("reading the tokenizer of {id} panicked")))?;
    opened.map(Arc::new).map_err(ErrorData::from)
}

/// The models in use, by id: everybody who asks for one gets the same.
#[derive(Debug, Default)]
pub struct LocalModels(Mutex<HashMap<ModelId, Weak<LocalModel>>>);

impl LocalModels {
    /// The model in use of that id.
    pub fn in_use(&self, id: &ModelId) -> Option<Arc<LocalModel>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(id)?.upgrade()
    }

    /// The model in use of that id, or a new one at `path`.
    pub fn share(&self, id: &ModelId, path: PathBuf, capabilities: Vec<Capability>) -> Arc<LocalModel> {
        // Held for this lookup alone; a panic elsewhere cannot leave the map half changed.
        let mut models = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(model) = models.get(id).and_then(Weak::upgrade).filter(|model| model.path == path) {
            return model;
        }
        models.retain(|_, model| model.strong_count() > 0);
        let model = Arc::new(LocalModel::new(id.clone(), path, capabilities));
        models.insert(id.clone(), Arc::downgrade(&model));
        model
    }
}
