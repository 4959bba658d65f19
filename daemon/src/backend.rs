//! The engines that there are, each a program of its own, and which of them this machine has.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use protocol::providers::{CANDLE, MLX};
use protocol::{Capability, ProviderId};
use tokio::sync::OnceCell;

use crate::secrets;

/// How long an engine may take to say where it computes.
const PATIENCE: Duration = Duration::from_secs(20);

/// What an engine says of itself when it computes on no GPU.
const PROCESSOR: &str = "cpu";

/// What an engine is made with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Backend {
    /// Apple's MLX, with Metal, CUDA or a processor.
    Mlx,
    /// Candle, with a processor or Metal.
    Candle,
}

/// The engines' programs.
#[derive(Debug)]
pub struct Programs {
    mlx: PathBuf,
    candle: PathBuf,
    /// Whether MLX has a GPU, asked once.
    has_gpu: OnceCell<bool>,
}

impl Backend {
    /// All there are.
    pub const ALL: [Self; 2] = [Self::Mlx, Self::Candle];

    /// Its name among providers.
    pub fn id(self) -> &'static str {
        match self {
            Self::Mlx => MLX,
            Self::Candle => CANDLE,
        }
    }

    /// Its name for people.
    pub fn name(self) -> &'static str {
        match self {
            Self::Mlx => "MLX",
            Self::Candle => "Candle",
        }
    }

    /// Whether models can be asked for this on it, if they can at all.
    pub fn runs(self, needed: Capability) -> bool {
        self == Self::Mlx || needed == Capability::Generate
    }

    /// The one of that name.
    pub fn of(id: &ProviderId) -> Option<Self> {
        Self::ALL.into_iter().find(|backend| backend.id() == id.0)
    }
}

impl From<Backend> for ProviderId {
    fn from(backend: Backend) -> Self {
        backend.id().into()
    }
}

impl Programs {
    /// Of these paths, which need not exist.
    pub fn new(mlx: PathBuf, candle: PathBuf) -> Self {
        Self { mlx, candle, has_gpu: OnceCell::new() }
    }

    /// The program of an engine.
    pub fn of(&self, backend: Backend) -> &Path {
        match backend {
            Backend::Mlx => &self.mlx,
            Backend::Candle => &self.candle,
        }
    }

    /// Whether an engine's program is there.
    pub fn has(&self, backend: Backend) -> bool {
        self.of(backend).is_file()
    }

    /// The engines, the better one first: MLX where it has a GPU; on a processor Candle decodes faster.
    pub async fn preferred(&self) -> [Backend; 2] {
        if !self.has(Backend::Candle) || *self.has_gpu.get_or_init(|| has_gpu(&self.mlx)).await {
            [Backend::Mlx, Backend::Candle]
        } else {
            [Backend::Candle, Backend::Mlx]
        }
    }
}

/// Whether an engine computes on a GPU. One that does not say so does not.
async fn has_gpu(program: &Path) -> bool {
    // Every Mac with Apple's processor has one, and MLX is there for it.
    if cfg!(all(target_os = "macos", target_arch = "aarch64")) {
        return true;
    }
    let mut command = tokio::process::Command::new(program);
    for name in secrets::variables() {
        command.env_remove(name);
    }
    let asked = command.arg("device").stdin(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true).output();
    match tokio::time::timeout(PATIENCE, asked).await {
        Ok(Ok(said)) if said.status.success() => {
            let device = String::from_utf8_lossy(&said.stdout).trim().to_owned();
            tracing::info!(device, "MLX computes there");
            device != PROCESSOR
        }
        // No program, or a machine where it cannot run.
        _ => false,
    }
}
