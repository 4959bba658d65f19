//! Models on disk: which are there, in what condition, and how a folder or a GGUF file becomes one.
//!
//! The disk is the truth: nothing is remembered between calls, and a broken folder is listed with its problem, not
//! hidden. Nothing here runs a model, downloads or deletes one. All of it blocks, so the daemon calls it on threads
//! made for that: `rpc` lists and imports, the local provider looks models up.
//!
//! A model is a folder of the root, named by its id with `/` as `_`. The way back is ambiguous: a listing turns the
//! first `_` into `/`, so `my_org/name` is listed as `my/org_name`. Lookups go from id to folder and find it by
//! either name.

mod bounded;
#[cfg(test)]
mod fixture;
mod gguf;
mod import;
mod inspect;

use std::fs;
use std::path::{Path, PathBuf};

use protocol::{Capability, Model, ModelId, ModelState, ModelType};

pub use import::{ImportError, Progress, Quantize, Source, import};
use inspect::{Condition, Inspection};

/// Ends of the names of folders that somebody is still filling.
const UNFINISHED: [&str; 2] = [".partial", ".incoming"];

/// The models below one folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Library {
    /// Folder whose folders are the models; need not exist.
    pub root: PathBuf,
}

/// One model that was found.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// What the library says of it, under the id it was asked for by.
    pub model: Model,
    /// Bytes of its weight files.
    pub weight_bytes: u64,
    condition: Condition,
}

/// Why a model cannot be had.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LibraryError {
    /// The id can name no folder.
    #[error(
        "find {0:?}: an id is made of letters, digits, '.', '_', '-' and at most one '/', and no part begins with a dot"
    )]
    InvalidId(String),
    /// No folder of that name.
    #[error("find {id}: there is no folder {}", path.display())]
    NotFound {
        /// The id asked for.
        id: ModelId,
        /// Where its folder would be.
        path: PathBuf,
    },
    /// Files are missing, cut short or contradict each other.
    #[error("use {id}: {problem}")]
    Broken {
        /// The id asked for.
        id: ModelId,
        /// What is wrong and the way out.
        problem: String,
    },
    /// The files are sound, but no engine here runs such a model.
    #[error("use {id}: {problem}")]
    NotSupported {
        /// The id asked for.
        id: ModelId,
        /// What is not supported and what is.
        problem: String,
    },
}

impl Library {
    /// All models, whole and broken, by id. A root that is missing or cannot be read has none.
    pub fn scan(&self) -> Vec<Model> {
        let folders = match fs::read_dir(&self.root) {
            Ok(folders) => folders,
            Err(error) => {
                if error.kind() != std::io::ErrorKind::NotFound {
                    tracing::warn!(root = %self.root.display(), %error, "cannot list the models");
                }
                return Vec::new();
            }
        };
        let mut models: Vec<Model> = folders.flatten().filter_map(|folder| listed(&folder.path())).collect();
        models.sort_by(|a, b| a.id.cmp(&b.id));
        models
    }

    /// The model of that id, in whatever condition; [`Entry::ready`] tells whether it can be loaded.
    pub fn find(&self, id: &ModelId) -> Result<Entry, LibraryError> {
        if !id.is_valid() {
            return Err(LibraryError::InvalidId(id.0.clone()));
        }
        let path = self.folder(id);
        if is_unfinished(&id.0) || !path.is_dir() {
            return Err(LibraryError::NotFound { id: id.clone(), path });
        }
        let found = inspect::inspect(&path);
        let (weight_bytes, condition) = (found.weight_bytes, found.condition.clone());
        Ok(Entry { model: model(id.clone(), path, found), weight_bytes, condition })
    }

    /// Where the model of a valid id is or would be.
    fn folder(&self, id: &ModelId) -> PathBuf {
        self.root.join(id.folder())
    }
}

impl Entry {
    /// The model's folder, if an engine can load it.
    pub fn ready(&self) -> Result<&Path, LibraryError> {
        let id = self.model.id.clone();
        match &self.condition {
            Condition::Complete => Ok(&self.model.path),
            Condition::Partial(problem) | Condition::Broken(problem) => {
                Err(LibraryError::Broken { id, problem: problem.clone() })
            }
            Condition::NotSupported(problem) => Err(LibraryError::NotSupported { id, problem: problem.clone() }),
        }
    }
}

/// The entry of one thing in the root; `None` for what is no model.
fn listed(path: &Path) -> Option<Model> {
    let name = path.file_name()?.to_string_lossy().into_owned();
    if name.starts_with('.') || is_unfinished(&name) {
        return None;
    }
    let id = id_of(&name);
    let found = match fs::metadata(path) {
        Ok(metadata) if !metadata.is_dir() => return None,
        // A link that leads nowhere, or to itself.
        Err(error) => Inspection::broken(format!("the link {name} cannot be followed ({error}): remove it")),
        Ok(_) if !id.is_valid() => Inspection::broken(format!(
            "the folder {name:?} has a name that no id can have: rename it, with letters, digits, '.', '_' and '-' alone"
        )),
        Ok(_) => inspect::inspect(path),
    };
    Some(model(id, path.to_path_buf(), found))
}

fn is_unfinished(folder: &str) -> bool {
    UNFINISHED.iter().any(|end| folder.ends_with(end))
}

/// The id that a folder is listed under: its first `_` as `/` where that makes an id, else its name.
fn id_of(folder: &str) -> ModelId {
    let id = ModelId(folder.replacen('_', "/", 1));
    if id.is_valid() { id } else { ModelId(folder.to_owned()) }
}

fn model(id: ModelId, path: PathBuf, found: Inspection) -> Model {
    let name = id.0.rsplit('/').next().unwrap_or_default().to_owned();
    let (state, problem) = match found.condition {
        Condition::Complete => (ModelState::Complete, None),
        Condition::Partial(problem) => (ModelState::Partial, Some(problem)),
        Condition::Broken(problem) | Condition::NotSupported(problem) => (ModelState::Broken, Some(problem)),
    };
    let capabilities = found.architecture.as_deref().map_or_else(Vec::new, capabilities);
    Model {
        capabilities,
        display_name: name.replace(['-', '_'], " "),
        name,
        id,
        size: found.size,
        kind: ModelType::Local,
        provider: "mlx".into(),
        is_installed: state == ModelState::Complete,
        is_loaded: false,
        path,
        state,
        problem,
        architecture: found.architecture,
        context_length: found.context_length,
        quantization: found.quantization,
        residency: None,
    }
}

/// What models of this `model_type` can be asked for.
fn capabilities(architecture: &str) -> Vec<Capability> {
    if engine::ARCHITECTURES.contains(&architecture) {
        vec![Capability::Generate, Capability::Embed]
    } else if engine::ENCODERS.contains(&architecture) {
        vec![Capability::Embed]
    } else {
        Vec::new()
    }
}

#[cfg(test)]
#[path = "library_tests.rs"]
mod tests;
