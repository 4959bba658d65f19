//! Which files of a repository are needed, and whether they can be used at all. Pure.

use protocol::ModelId;
use serde::Deserialize;

use super::error::PullError;
use crate::library::manifest::{FileFact, Hash};

/// Most files that a repository may list.
const MAX_FILES: usize = 10_000;

/// Longest file that is not of weights.
const MAX_SMALL_BYTES: u64 = 256 << 20;

/// Longest of all files together: more than any disk of a Mac.
const MAX_TOTAL_BYTES: u64 = 1 << 46;

/// Says how a model for sentences makes one vector of many; the only file of a folder that is needed.
pub const POOLING: &str = "1_Pooling/config.json";

/// What the hub says of a repository at one revision: `GET /api/models/ID/revision/REVISION?blobs=true`.
#[derive(Debug, Clone, Deserialize)]
pub struct Info {
    /// The commit.
    pub sha: String,
    /// Its files.
    #[serde(default)]
    pub siblings: Vec<Sibling>,
}

/// One file of a repository.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Sibling {
    /// Its path.
    #[serde(rename = "rfilename")]
    pub path: String,
    /// Its bytes.
    pub size: Option<u64>,
    /// Git's hash of it, or of what stands for it.
    pub blob_id: Option<String>,
    /// For large files.
    pub lfs: Option<Lfs>,
}

/// What is known of a large file.
#[derive(Debug, Clone, Deserialize)]
pub struct Lfs {
    /// Of its bytes.
    pub sha256: String,
    /// Its bytes.
    pub size: u64,
}

/// The files that are needed, the small ones first, with the commit they are of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// The commit, whatever the branch names later.
    pub commit: String,
    /// `config.json` first, then by size.
    pub files: Vec<FileFact>,
}

/// Decides which files are needed.
pub fn plan(id: &ModelId, info: &Info) -> Result<Plan, PullError> {
    let refused = |problem: String| PullError::Refused { id: id.0.clone(), problem };
    let lacks = |problem: &str| PullError::NotSupported { id: id.0.clone(), problem: problem.to_owned() };
    if !is_hash(&info.sha, 40) {
        return Err(refused(format!("its commit is {:?}, which is none", excerpt(&info.sha))));
    }
    if info.siblings.len() > MAX_FILES {
        return Err(refused(format!("it lists {} files, more than {MAX_FILES}", info.siblings.len())));
    }
    if let Some(odd) = info.siblings.iter().find(|file| !is_plain(&file.path)) {
        return Err(refused(format!("it lists a file {:?}, whose name could lead elsewhere", excerpt(&odd.path))));
    }
    let has = |name: &str| info.siblings.iter().any(|file| file.path == name);
    let any = |is: fn(&str) -> bool| info.siblings.iter().any(|file| is(&file.path));
    if !any(is_weights) {
        return Err(lacks(if any(|path| ends_with(path, "gguf")) {
            "it has GGUF files alone; download one by other means and `talkiectl import` it, or choose an MLX version"
        } else if any(is_pickle) {
            "its weights are pickled Python objects, which can run code when they are opened; choose a version with safetensors"
        } else {
            "it has no model*.safetensors; choose an MLX version of the model"
        }));
    }
    for needed in ["config.json", "tokenizer.json"] {
        if !has(needed) {
            return Err(lacks(&format!("it has no {needed}; choose an MLX version of the model")));
        }
    }
    let needed = info.siblings.iter().filter(|file| is_needed(&file.path));
    let mut files = needed.map(|file| fact(file).map_err(&refused)).collect::<Result<Vec<_>, _>>()?;
    files.sort_by(|a, b| (a.path != "config.json", a.size, &a.path).cmp(&(b.path != "config.json", b.size, &b.path)));
    files.dedup_by(|a, b| a.path == b.path);
    let total = files.iter().try_fold(0_u64, |total, file| total.checked_add(file.size));
    if total.is_none_or(|total| total > MAX_TOTAL_BYTES) {
        return Err(refused("its files are longer than any disk".into()));
    }
    Ok(Plan { commit: info.sha.clone(), files })
}

fn fact(file: &Sibling) -> Result<FileFact, String> {
    let path = file.path.clone();
    let (size, hash) = match (&file.lfs, file.size, &file.blob_id) {
        (Some(lfs), _, _) if is_hash(&lfs.sha256, 64) => (lfs.size, Hash::Sha256(lfs.sha256.to_ascii_lowercase())),
        (None, Some(size), Some(blob)) if is_hash(blob, 40) => (size, Hash::GitSha1(blob.to_ascii_lowercase())),
        _ => return Err(format!("it does not say how long {path} is and what its hash is")),
    };
    if !is_weights(&path) && size > MAX_SMALL_BYTES {
        return Err(format!("{path} has {size} bytes, too many for what it is"));
    }
    Ok(FileFact { path, size, hash })
}

/// Weights as the library takes them, what describes them, and what may be done with them.
fn is_needed(path: &str) -> bool {
    let is_top = !path.contains('/');
    let small = ["json", "jinja", "txt", "model", "tiktoken"].iter().any(|end| ends_with(path, end));
    path == POOLING || is_top && (is_weights(path) || small || path == "README.md" || path.starts_with("LICENSE"))
}

fn is_weights(path: &str) -> bool {
    let begins = path.starts_with("model") || path.starts_with("weights");
    begins && !path.contains('/') && ends_with(path, "safetensors")
}

fn is_pickle(path: &str) -> bool {
    ["bin", "pt", "pth", "pkl", "ckpt"].iter().any(|end| ends_with(path, end))
}

fn ends_with(path: &str, end: &str) -> bool {
    path.rsplit_once('.').is_some_and(|(name, found)| !name.is_empty() && found == end)
}

/// Whether a path stays where it is put: no part is empty or begins with a dot, and nothing in it means something to a
/// file system. `.gitattributes` and its like are left out before they are asked for.
fn is_plain(path: &str) -> bool {
    let part = |part: &str| !part.is_empty() && part != "." && part != ".." && part.len() <= 255;
    path.len() <= 1024 && path.split('/').all(part) && !path.chars().any(|c| c.is_control() || c == '\\')
}

fn is_hash(text: &str, length: usize) -> bool {
    text.len() == length && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn excerpt(text: &str) -> String {
    text.chars().take(80).collect()
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
