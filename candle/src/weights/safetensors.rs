//! The safetensors files of a folder, each tensor by its name.

use std::path::{Path, PathBuf};

use candle_core::safetensors::MmapedSafetensors;
use candle_core::{DType, Device, Tensor, WithDType};

use crate::error::{Error, Result};

/// The open files.
pub struct Safetensors {
    files: MmapedSafetensors,
}

impl Safetensors {
    /// Opens the files that the index names; without one, `model*.safetensors`, or else `weights*.safetensors`.
    pub fn open(folder: &Path) -> Result<Self> {
        let names = engine::weight_files(folder).map_err(Error::Broken)?;
        let paths: Vec<PathBuf> = names.into_iter().map(|name| folder.join(name)).collect();
        // SAFETY: nobody writes to a model's files while an engine runs it: the daemon replaces folders whole.
        let files = unsafe { MmapedSafetensors::multi(&paths) };
        let files = files.map_err(|error| Error::Broken(format!("{}: {error}", folder.display())))?;
        Ok(Self { files })
    }

    /// All bytes of tensors.
    pub fn bytes(&self) -> u64 {
        self.files.tensors().iter().map(|(_, view)| view.data().len() as u64).sum()
    }

    /// Whether there is a tensor of this name.
    pub fn has(&self, name: &str) -> bool {
        self.files.get(name).is_ok()
    }

    /// A tensor of float32 on `device`, and how many bytes of the files it takes.
    pub fn plain(&self, name: &str, shape: &[usize], device: &Device) -> Result<(Tensor, u64)> {
        let (tensor, bytes) = self.take(name)?;
        if tensor.dims() != shape {
            return Err(Error::Broken(format!("{name} has the shape {:?}, but must have {shape:?}", tensor.dims())));
        }
        floats(name, &tensor)?;
        Ok((tensor.to_dtype(DType::F32)?.to_device(device)?, bytes))
    }

    /// All numbers of a tensor, and how many bytes of the files it takes.
    pub fn flat<T: WithDType>(&self, name: &str) -> Result<(Vec<T>, u64)> {
        let (tensor, bytes) = self.take(name)?;
        match T::DTYPE {
            DType::F32 => floats(name, &tensor)?,
            dtype if tensor.dtype() == dtype => {}
            _ => return Err(Error::NotSupported(format!("{name} of type {:?} is not known", tensor.dtype()))),
        }
        Ok((tensor.to_dtype(T::DTYPE)?.flatten_all()?.to_vec1()?, bytes))
    }

    fn take(&self, name: &str) -> Result<(Tensor, u64)> {
        let view = self.files.get(name).map_err(|_| Error::Broken(format!("the weights have no {name}")))?;
        Ok((self.files.load(name, &Device::Cpu)?, view.data().len() as u64))
    }
}

fn floats(name: &str, tensor: &Tensor) -> Result<()> {
    match tensor.dtype() {
        DType::F32 | DType::F16 | DType::BF16 => Ok(()),
        other => Err(Error::NotSupported(format!("{name} of type {other:?} is not known to Candle's engine"))),
    }
}
