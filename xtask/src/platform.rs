//! Which platforms MLX is had for, and what differs between them.

use clap::ValueEnum;

use crate::error::{Error, Result};

/// A build of MLX.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Backend {
    /// Linux without a GPU.
    Cpu,
    /// Linux with an NVIDIA GPU, CUDA 13.
    Cuda,
    /// macOS on Apple silicon.
    Metal,
}

impl Backend {
    /// The name as the command line and the cache write it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Cuda => "cuda",
            Self::Metal => "metal",
        }
    }

    /// The Python package whose wheel holds this build.
    pub fn package(self) -> &'static str {
        match self {
            Self::Cpu => "mlx-cpu",
            Self::Cuda => "mlx-cuda-13",
            Self::Metal => "mlx-metal",
        }
    }
}

/// A platform that MLX is published for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Platform {
    /// `x86_64-unknown-linux-gnu`
    LinuxX86,
    /// `aarch64-unknown-linux-gnu`
    LinuxArm,
    /// `aarch64-apple-darwin`
    Mac,
}

impl Platform {
    /// The platform of a rustc target.
    pub fn of_triple(triple: &str) -> Result<Self> {
        match triple {
            "x86_64-unknown-linux-gnu" => Ok(Self::LinuxX86),
            "aarch64-unknown-linux-gnu" => Ok(Self::LinuxArm),
            "aarch64-apple-darwin" => Ok(Self::Mac),
            other => Err(Error::Unexpected(format!(
                "MLX is not published for {other}"
            ))),
        }
    }

    /// The rustc target of this platform.
    pub fn triple(self) -> &'static str {
        match self {
            Self::LinuxX86 => "x86_64-unknown-linux-gnu",
            Self::LinuxArm => "aarch64-unknown-linux-gnu",
            Self::Mac => "aarch64-apple-darwin",
        }
    }

    /// The backend to take when none is named.
    pub fn default_backend(self) -> Backend {
        match self {
            Self::LinuxX86 | Self::LinuxArm => Backend::Cpu,
            Self::Mac => Backend::Metal,
        }
    }

    /// Refuses a backend that does not exist here.
    pub fn check(self, backend: Backend) -> Result<()> {
        if (self == Self::Mac) == (backend == Backend::Metal) {
            return Ok(());
        }
        Err(Error::Unexpected(format!(
            "there is no {} build of MLX for {}",
            backend.name(),
            self.triple()
        )))
    }

    /// What mlx-c and MLX need from the system's linker.
    pub fn link_libs(self) -> &'static [&'static str] {
        match self {
            Self::LinuxX86 | Self::LinuxArm => &["static=mlxc", "dylib=mlx", "stdc++"],
            Self::Mac => &[
                "static=mlxc",
                "dylib=mlx",
                "c++",
                "dylib=objc",
                "framework=Foundation",
                "framework=Metal",
                "framework=Accelerate",
            ],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_platform_has_its_default_backend() {
        for platform in [Platform::LinuxX86, Platform::LinuxArm, Platform::Mac] {
            assert_eq!(Platform::of_triple(platform.triple()).unwrap(), platform);
            platform.check(platform.default_backend()).unwrap();
        }
    }

    #[test]
    fn a_backend_of_another_system_is_refused() {
        assert!(Platform::Mac.check(Backend::Cuda).is_err());
        assert!(Platform::LinuxX86.check(Backend::Metal).is_err());
        assert!(Platform::of_triple("x86_64-pc-windows-msvc").is_err());
    }
}
