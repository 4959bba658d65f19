//! Where models are: the daemon's own folder, the cache of the Hugging Face libraries, folders of the configuration.
//!
//! Says which folders there may be models in, and how each place names them. Whether one is a model is for `inspect` to
//! say. Nothing is written.

use std::fs;
use std::path::{Path, PathBuf};

use protocol::{ModelId, ModelSource};

/// Most folders of one place that are looked at.
const MAX_FOLDERS: usize = 10_000;

/// Ends of the names of folders that somebody is still filling.
const UNFINISHED: [&str; 2] = [".partial", ".incoming"];

/// What names of repositories begin with in the Hugging Face cache.
const REPOSITORY: &str = "models--";

/// A folder that is looked through for models.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The folder; need not exist.
    pub root: PathBuf,
    /// How models lie in it.
    pub source: ModelSource,
}

/// A folder that may be a model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Candidate {
    pub id: ModelId,
    pub path: PathBuf,
    pub source: ModelSource,
    /// The commit, where the place tells it.
    pub revision: Option<String>,
}

impl Place {
    /// Everything in it that may be a model.
    pub(super) fn candidates(&self) -> Vec<Candidate> {
        let mut found = Vec::new();
        for path in folders(&self.root) {
            match self.source {
                ModelSource::Library => found.extend(self.flat(&path)),
                ModelSource::Folder => match organisation(&path) {
                    Some(models) => found.extend(models.iter().filter_map(|path| self.nested(path))),
                    None => found.extend(self.flat(&path)),
                },
                ModelSource::HuggingFaceCache => found.extend(self.cached(&path)),
            }
        }
        found
    }

    /// The folder of a valid id, if there is one.
    pub(super) fn find(&self, id: &ModelId) -> Option<Candidate> {
        if is_unfinished(&id.0) {
            return None;
        }
        let of = |path: PathBuf| Candidate { id: id.clone(), path, source: self.source, revision: None };
        let flat = self.root.join(id.folder());
        match self.source {
            ModelSource::HuggingFaceCache => {
                let found = self.cached(&self.root.join(format!("{REPOSITORY}{}", id.0.replace('/', "--"))))?;
                Some(Candidate { id: id.clone(), ..found })
            }
            ModelSource::Folder if !flat.is_dir() => Some(of(self.root.join(&id.0))).filter(|it| it.path.is_dir()),
            _ => flat.is_dir().then(|| of(flat)),
        }
    }

    /// Folders in which something changes when a model of this place does, beside those of its models.
    pub(super) fn watched(&self) -> Vec<PathBuf> {
        // A disk that is taken away takes the root with it, which does not see that.
        let mut watched: Vec<PathBuf> = self.root.ancestors().take(2).map(Path::to_owned).collect();
        for path in folders(&self.root) {
            match self.source {
                ModelSource::Folder if organisation(&path).is_some() => watched.push(path),
                ModelSource::HuggingFaceCache if is_repository(&path) => {
                    watched.push(path.join("snapshots"));
                    watched.push(path);
                }
                _ => {}
            }
        }
        watched
    }

    /// A folder named by its id with `/` as `_`. A link that leads nowhere is told of as well.
    fn flat(&self, path: &Path) -> Option<Candidate> {
        let name = name(path)?;
        let is_file = fs::metadata(path).is_ok_and(|metadata| !metadata.is_dir());
        let candidate = Candidate { id: id_of(&name), path: path.to_owned(), source: self.source, revision: None };
        (!is_file && !is_unfinished(&name)).then_some(candidate)
    }

    /// A folder in a folder, as the id is written.
    fn nested(&self, path: &Path) -> Option<Candidate> {
        let organisation = name(path.parent()?)?;
        let name = name(path).filter(|name| !is_unfinished(name))?;
        let id = ModelId(format!("{organisation}/{name}"));
        Some(Candidate { id, path: path.to_owned(), source: self.source, revision: None })
    }

    /// The snapshot that a repository of the Hugging Face cache has of its main branch, else its latest.
    fn cached(&self, path: &Path) -> Option<Candidate> {
        let name = name(path)?;
        let id = ModelId(name.strip_prefix(REPOSITORY)?.replacen("--", "/", 1));
        let snapshots = path.join("snapshots");
        let main = fs::read_to_string(path.join("refs").join("main")).ok();
        let main = main.map(|commit| commit.trim().to_owned()).filter(|commit| is_commit(commit));
        let main = main.map(|commit| snapshots.join(commit)).filter(|path| path.is_dir());
        let path = main.or_else(|| latest(&snapshots))?;
        let revision = path.file_name()?.to_str().map(str::to_owned);
        Some(Candidate { id, path, source: self.source, revision })
    }
}

/// Folders and links directly in one, hidden ones left out.
fn folders(root: &Path) -> Vec<PathBuf> {
    let entries = match fs::read_dir(root) {
        Ok(entries) => entries,
        Err(error) => {
            if error.kind() != std::io::ErrorKind::NotFound {
                tracing::warn!(root = %root.display(), %error, "cannot list the models");
            }
            return Vec::new();
        }
    };
    let is_folder = |entry: &fs::DirEntry| entry.file_type().is_ok_and(|kind| kind.is_dir() || kind.is_symlink());
    let entries = entries.take(MAX_FOLDERS).flatten().filter(|entry| is_folder(entry) && !is_hidden(entry));
    let mut folders: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
    folders.sort();
    folders
}

/// The folders in one that has folders alone, as `org/name` is kept by some programs.
fn organisation(path: &Path) -> Option<Vec<PathBuf>> {
    let mut entries = fs::read_dir(path).ok()?.take(MAX_FOLDERS).flatten();
    if entries.any(|entry| fs::metadata(entry.path()).is_ok_and(|metadata| metadata.is_file()) && !is_hidden(&entry)) {
        return None;
    }
    Some(folders(path)).filter(|folders| !folders.is_empty())
}

fn is_hidden(entry: &fs::DirEntry) -> bool {
    entry.file_name().as_encoded_bytes().starts_with(b".")
}

fn is_repository(path: &Path) -> bool {
    name(path).is_some_and(|name| name.starts_with(REPOSITORY))
}

fn is_commit(text: &str) -> bool {
    !text.is_empty() && text.len() <= 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// The snapshot that was changed last.
fn latest(snapshots: &Path) -> Option<PathBuf> {
    let changed = |path: &PathBuf| fs::metadata(path).and_then(|metadata| metadata.modified()).ok();
    folders(snapshots).into_iter().filter(|path| path.is_dir()).max_by_key(changed)
}

fn name(path: &Path) -> Option<String> {
    Some(path.file_name()?.to_string_lossy().into_owned())
}

pub(super) fn is_unfinished(folder: &str) -> bool {
    UNFINISHED.iter().any(|end| folder.ends_with(end))
}

/// The id that a folder is listed under: its first `_` as `/` where that makes an id, else its name.
pub(super) fn id_of(folder: &str) -> ModelId {
    let id = ModelId(folder.replacen('_', "/", 1));
    if id.is_valid() { id } else { ModelId(folder.to_owned()) }
}

#[cfg(test)]
#[path = "places_tests.rs"]
mod tests;
