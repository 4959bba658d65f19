//! A repository at one commit.

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::content::{Content, hex};

/// A repository at one commit.
#[derive(Debug, Clone)]
pub struct Repo {
    /// `org/name`.
    pub id: String,
    /// Forty digits.
    pub commit: String,
    pub(crate) files: Vec<File>,
    pub(crate) access: Access,
    /// Where it went.
    pub(crate) renamed_to: Option<String>,
}

/// Who may have it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Access {
    Everybody,
    /// Described to everybody; files only with this token.
    Gated(String),
    /// Not there without this token.
    Private(String),
}

#[derive(Debug, Clone)]
pub(crate) struct File {
    pub path: String,
    pub content: Content,
    /// Of a large file, else git's.
    pub hash: String,
    pub is_large: bool,
}

impl Repo {
    /// One without files; its commit follows from its name and a number.
    pub fn new(id: &str, commit: u32) -> Self {
        let commit = hex(&Sha256::digest(format!("{id} {commit}")))[..40].to_owned();
        Self { id: id.into(), commit, files: Vec::new(), access: Access::Everybody, renamed_to: None }
    }

    /// With a whole model that an engine here could name, and weights of so many bytes.
    #[must_use]
    pub fn with_model(self, weight_bytes: u64, seed: u64) -> Self {
        self.small("config.json", br#"{"model_type": "llama"}"#.to_vec())
            .small("tokenizer.json", b"{}".to_vec())
            .large("model.safetensors", Content::weights(weight_bytes, seed))
    }

    /// With a file that git keeps itself.
    #[must_use]
    pub fn small(mut self, path: &str, bytes: impl Into<Vec<u8>>) -> Self {
        let content = Content::given(bytes);
        self.files.push(File { path: path.into(), hash: content.git_sha1(), content, is_large: false });
        self
    }

    /// With a file that is kept apart.
    #[must_use]
    pub fn large(mut self, path: &str, content: Content) -> Self {
        self.files.push(File { path: path.into(), hash: content.sha256(), content, is_large: true });
        self
    }

    /// Described to everybody; files only with this token.
    #[must_use]
    pub fn gated(mut self, token: &str) -> Self {
        self.access = Access::Gated(token.into());
        self
    }

    /// Not there without this token.
    #[must_use]
    pub fn private(mut self, token: &str) -> Self {
        self.access = Access::Private(token.into());
        self
    }

    /// An old name of another repository.
    #[must_use]
    pub fn renamed_to(mut self, id: &str) -> Self {
        self.renamed_to = Some(id.into());
        self
    }

    /// As the hub lists its files.
    pub(crate) fn tree(&self) -> Value {
        let file = |file: &File| {
            let (path, size) = (&file.path, file.content.size());
            if file.is_large {
                let lfs = json!({ "oid": file.hash, "size": size, "pointerSize": 134 });
                return json!({ "type": "file", "path": path, "size": size, "oid": self.commit, "lfs": lfs });
            }
            json!({ "type": "file", "path": path, "size": size, "oid": file.hash })
        };
        self.files.iter().map(file).collect()
    }

    /// As the hub describes it.
    pub(crate) fn info(&self) -> Value {
        let file = |file: &File| {
            let (path, size) = (&file.path, file.content.size());
            if file.is_large {
                let lfs = json!({ "sha256": file.hash, "size": size, "pointerSize": 134 });
                return json!({ "rfilename": path, "size": size, "blobId": self.commit, "lfs": lfs });
            }
            json!({ "rfilename": path, "size": size, "blobId": file.hash })
        };
        let gated = if matches!(self.access, Access::Gated(_)) { json!("manual") } else { json!(false) };
        json!({ "_id": "0", "id": self.id, "modelId": self.id, "sha": self.commit, "gated": gated, "tags": ["mlx"],
            "private": matches!(self.access, Access::Private(_)), "disabled": false, "downloads": 0, "likes": 0,
            "lastModified": "2026-01-01T00:00:00.000Z", "createdAt": "2026-01-01T00:00:00.000Z",
            "siblings": self.files.iter().map(file).collect::<Vec<_>>() })
    }
}
