//! The safetensors files of a folder, each tensor by its name.

use std::path::{Path, PathBuf};

use candle_core::safetensors::MmapedSafetensors;
use candle_core::{DType, Device, Tensor, WithDType};

use crate::error::{Error, Result};

/// The open files.
pub struct Safetensors {
    files: MmapedSafetensors,
    /// Before the name of each tensor; others are left alone.
    prefix: &'static str,
}

impl Safetensors {
    /// Opens the files that the index names; without one, `model*.safetensors`, or else `weights*.safetensors`.
    pub fn open(folder: &Path, prefix: &'static str) -> Result<Self> {
        let names = engine::weight_files(folder).map_err(Error::Broken)?;
        let paths: Vec<PathBuf> = names.into_iter().map(|name| folder.join(name)).collect();
        // SAFETY: nobody writes to a model's files while an engine runs it: the daemon replaces folders whole.
        let files = unsafe { MmapedSafetensors::multi(&paths) };
        let files = files.map_err(|error| Error::Broken(format!("{}: {error}", folder.display())))?;
        Ok(Self { files, prefix })
    }

    /// All bytes of tensors.
    pub fn bytes(&self) -> u64 {
        let tensors = self.files.tensors();
        let ours = tensors.iter().filter(|(name, _)| name.starts_with(self.prefix));
        ours.map(|(_, view)| view.data().len() as u64).sum()
    }

    /// Bytes that all tensors will take, at most: plain ones in float32; packed ones in blocks, which take an eighth more than
    /// MLX's words beside their scales.
    pub fn needed_bytes(&self) -> u64 {
        let tensors = self.files.tensors();
        let ours = tensors.iter().filter(|(name, _)| name.starts_with(self.prefix));
        let needed = ours.map(|(name, view)| {
            let bytes = view.data().len() as u64;
            let is_of_packed = name.ends_with(".scales") || name.ends_with(".biases");
            match DType::try_from(view.dtype()) {
                Ok(DType::F16 | DType::BF16) if !is_of_packed => bytes * 2,
                Ok(DType::U32) => bytes + bytes / 8,
                _ => bytes,
            }
        });
        needed.sum()
    }

    /// Whether there is a tensor of this name.
    pub fn has(&self, name: &str) -> bool {
        self.files.get(&self.whole(name)).is_ok()
    }

    /// A tensor of float32 on `device`, and how many bytes of the files it takes.
    pub fn plain(&self, name: &str, shape: &[usize], device: &Device) -> Result<(Tensor, u64)> {
        let (tensor, bytes) = self.take(name)?;
        if tensor.dims() != shape {
            let (name, found) = (self.whole(name), tensor.dims());
            return Err(Error::Broken(format!("{name} has the shape {found:?}, but must have {shape:?}")));
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
        let name = self.whole(name);
        let view = self.files.get(&name).map_err(|_| Error::Broken(format!("the weights have no {name}")))?;
        Ok((self.files.load(&name, &Device::Cpu)?, view.data().len() as u64))
    }

    fn whole(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }
}

fn floats(name: &str, tensor: &Tensor) -> Result<()> {
    match tensor.dtype() {
        DType::F32 | DType::F16 | DType::BF16 => Ok(()),
        other => Err(Error::NotSupported(format!("{name} of type {other:?} is not known to Candle's engine"))),
    }
}
