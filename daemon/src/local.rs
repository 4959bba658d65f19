//! An installed model as requests use it: where it is, and its text side, read once and kept while somebody uses it.
//!
//! The scheduler's resident holds one, and so does every request; when the last lets go, the tokenizer's memory is
//! given back, to the system too ([`give_back`]). That a model leaves is the sign for all else that is free: whatever was
//! asked of it, it leaves some time after the last request.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use protocol::{Capability, ErrorData, ModelChange, ModelEvent, ModelId};
use tokio::sync::OnceCell;
use tokio_util::sync::CancellationToken;

use crate::backend::Backend;
use crate::error::internal;
use crate::events::{Events, News};
use crate::memory;
use crate::text::TextModel;

/// How long after a model has left its memory is given back: by then the last request has let go of it, threads that
/// waited for more have ended, with what the allocator keeps for each (`THREAD_KEEP_ALIVE` of `main.rs`), and others that
/// leave with it are served by the same.
const SETTLES: Duration = Duration::from_millis(2500);

/// One model on one engine: what there is at most one process of.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    /// The model.
    pub id: ModelId,
    /// Its engine.
    pub backend: Backend,
}

/// The smaller model that guesses tokens for one, as the configuration names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Draft {
    /// Which.
    pub id: ModelId,
    /// Its folder, or why it cannot be used.
    pub path: Result<PathBuf, String>,
}

/// One installed model in use.
#[derive(Debug)]
pub struct LocalModel {
    /// Its name.
    pub id: ModelId,
    /// Its folder.
    pub path: PathBuf,
    /// What runs it.
    pub backend: Backend,
    /// What it can be asked for.
    pub capabilities: Vec<Capability>,
    /// All that could run it.
    pub engines: Vec<Backend>,
    /// What guesses its tokens, if the configuration names one.
    pub draft: Option<Draft>,
    text: OnceCell<Arc<TextModel>>,
}

impl LocalModel {
    /// A model whose text side is not read yet.
    pub fn new(key: Key, path: PathBuf, capabilities: Vec<Capability>, engines: Vec<Backend>) -> Self {
        let Key { id, backend } = key;
        Self { id, path, backend, capabilities, engines, draft: None, text: OnceCell::new() }
    }

    /// With what guesses its tokens.
    #[must_use]
    pub fn drafted_by(self, draft: Option<Draft>) -> Self {
        Self { draft, ..self }
    }

    /// What tells it from others.
    pub fn key(&self) -> Key {
        Key { id: self.id.clone(), backend: self.backend }
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

/// The models in use: everybody who asks for one gets the same.
#[derive(Debug, Default)]
pub struct LocalModels(Mutex<HashMap<Key, Weak<LocalModel>>>);

impl LocalModels {
    /// The model in use.
    pub fn in_use(&self, key: &Key) -> Option<Arc<LocalModel>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(key)?.upgrade()
    }

    /// The model in use, or `new`, where its folder is another or it is in use nowhere.
    pub fn share(&self, new: LocalModel) -> Arc<LocalModel> {
        let key = new.key();
        // Held for this lookup alone; a panic elsewhere cannot leave the map half changed.
        let mut models = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(model) = models.get(&key).and_then(Weak::upgrade).filter(|model| model.path == new.path) {
            return model;
        }
        models.retain(|_, model| model.strong_count() > 0);
        let model = Arc::new(new);
        models.insert(key, Arc::downgrade(&model));
        model
    }

    /// Has whoever asks next look anew, though somebody may still hold what was in use.
    pub fn forget(&self, id: &ModelId) {
        let mut models = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        models.retain(|key, _| key.id != *id);
    }
}

/// Gives the system what is free, each time that models have left, until `stop`.
pub async fn give_back(events: Events, stop: CancellationToken) {
    let mut follower = events.follow(None);
    while let Some(news) = stop.run_until_cancelled(follower.next()).await {
        if !tells_of_a_leave(&news) {
            continue;
        }
        let settled = stop.run_until_cancelled(tokio::time::sleep(SETTLES)).await;
        if settled.is_none() || tokio::task::spawn_blocking(memory::give_back).await.is_err() {
            return;
        }
    }
}

fn tells_of_a_leave(news: &News) -> bool {
    let leaves = |event: &ModelEvent| matches!(event.change, ModelChange::Unloaded { .. });
    match news {
        News::Events(events) => events.iter().any(leaves),
        // There may have been one among them.
        News::Missed(_) => true,
    }
}
