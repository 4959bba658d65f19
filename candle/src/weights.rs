//! The tensors of a folder's safetensors files, each taken once and made what the model multiplies with.
//!
//! Plain numbers become float32. What MLX packed becomes `Q8_0`, Candle's fastest product of packed numbers; rows that cannot
//! be cut into its blocks of 32 become float32 too.

use std::path::{Path, PathBuf};

use candle_core::quantized::{GgmlDType, QMatMul, QTensor};
use candle_core::safetensors::MmapedSafetensors;
use candle_core::{DType, Device, Module, Result as CandleResult, Tensor};

use crate::error::{Error, Result};
use crate::packed;

/// What packed weights become.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Packed {
    /// Blocks of 32 numbers of eight bits: a product rounds both of its sides to them.
    #[default]
    Blocks,
    /// The numbers that they stand for, as the reference computes them.
    Whole,
}

/// The open files.
pub struct Weights<'a> {
    files: MmapedSafetensors,
    packed: Packed,
    device: Device,
    progress: &'a mut dyn FnMut(u64, u64),
    /// Bytes read of the files, and in all.
    done: u64,
    total: u64,
    /// Bytes that the tensors made of them take.
    pub held: u64,
}

/// A matrix, with a bias or not.
pub struct Linear {
    weight: QMatMul,
    bias: Option<Tensor>,
}

impl Linear {
    /// `[tokens, columns]` to `[tokens, rows]`.
    pub fn forward(&self, x: &Tensor) -> CandleResult<Tensor> {
        let product = self.weight.forward(x)?;
        self.bias.as_ref().map_or(Ok(product.clone()), |bias| product.broadcast_add(bias))
    }

    /// The rows that `ids` name.
    pub fn rows(&self, ids: &Tensor) -> CandleResult<Tensor> {
        self.weight.embedding(ids)
    }
}

impl<'a> Weights<'a> {
    /// Opens the files that the index names; without one, `model*.safetensors`, or else `weights*.safetensors`.
    pub fn open(folder: &Path, packed: Packed, device: &Device, progress: &'a mut dyn FnMut(u64, u64)) -> Result<Self> {
        let names = engine::weight_files(folder).map_err(Error::Broken)?;
        let paths: Vec<PathBuf> = names.into_iter().map(|name| folder.join(name)).collect();
        // SAFETY: nobody writes to a model's files while an engine runs it: the daemon replaces folders whole.
        let files = unsafe { MmapedSafetensors::multi(&paths) };
        let files = files.map_err(|error| Error::Broken(format!("{}: {error}", folder.display())))?;
        let total = files.tensors().iter().map(|(_, view)| view.data().len() as u64).sum();
        Ok(Self { files, packed, device: device.clone(), progress, done: 0, total, held: 0 })
    }

    /// Whether there is a tensor of this name.
    pub fn has(&self, name: &str) -> bool {
        self.files.get(name).is_ok()
    }

    /// A tensor that is no matrix, in float32.
    pub fn vector(&mut self, name: &str, len: usize) -> Result<Tensor> {
        let tensor = self.plain(name, &[len])?;
        self.held += (len * DType::F32.size_in_bytes()) as u64;
        Ok(tensor)
    }

    /// Takes `path.weight`, packed or not, of `[rows, columns]`, and `path.bias` where `bias` says so.
    pub fn linear(&mut self, path: &str, [rows, columns]: [usize; 2], bias: Bias) -> Result<Linear> {
        let name = format!("{path}.weight");
        let weight = if self.has(&format!("{path}.scales")) {
            self.packed(path, rows, columns)?
        } else {
            self.held += (rows * columns * DType::F32.size_in_bytes()) as u64;
            QMatMul::Tensor(self.plain(&name, &[rows, columns])?)
        };
        let bias = match bias {
            Bias::Some => Some(self.vector(&format!("{path}.bias"), rows)?),
            Bias::None => None,
        };
        Ok(Linear { weight, bias })
    }

    fn packed(&mut self, path: &str, rows: usize, columns: usize) -> Result<QMatMul> {
        let words = self.flat::<u32>(&format!("{path}.weight"), DType::U32)?;
        let scales = self.flat::<f32>(&format!("{path}.scales"), DType::F32)?;
        let biases = self.flat::<f32>(&format!("{path}.biases"), DType::F32)?;
        let numbers = packed::unpack(&words, &scales, &biases, rows, columns).ok_or_else(|| {
            Error::Broken(format!("{path}.weight is not {rows} by {columns} numbers, packed in any way MLX knows"))
        })?;
        let plain = Tensor::from_vec(numbers, (rows, columns), &self.device)?;
        if self.packed == Packed::Whole || !columns.is_multiple_of(GgmlDType::Q8_0.block_size()) {
            self.held += (rows * columns * DType::F32.size_in_bytes()) as u64;
            return Ok(QMatMul::Tensor(plain));
        }
        let blocks = QTensor::quantize(&plain, GgmlDType::Q8_0)?;
        self.held += blocks.storage_size_in_bytes() as u64;
        Ok(QMatMul::from_qtensor(blocks)?)
    }

    fn plain(&mut self, name: &str, shape: &[usize]) -> Result<Tensor> {
        let tensor = self.take(name)?;
        if tensor.dims() != shape {
            return Err(Error::Broken(format!("{name} has the shape {:?}, but must have {shape:?}", tensor.dims())));
        }
        floats(name, &tensor)?;
        Ok(tensor.to_dtype(DType::F32)?)
    }

    fn flat<T: candle_core::WithDType>(&mut self, name: &str, dtype: DType) -> Result<Vec<T>> {
        let tensor = self.take(name)?;
        match dtype {
            DType::F32 => floats(name, &tensor)?,
            _ if tensor.dtype() == dtype => {}
            _ => return Err(Error::NotSupported(format!("{name} of type {:?} is not known", tensor.dtype()))),
        }
        Ok(tensor.to_dtype(dtype)?.flatten_all()?.to_vec1()?)
    }

    fn take(&mut self, name: &str) -> Result<Tensor> {
        let view = self.files.get(name).map_err(|_| Error::Broken(format!("the weights have no {name}")))?;
        let bytes = view.data().len() as u64;
        let tensor = self.files.load(name, &self.device)?;
        self.done += bytes;
        (self.progress)(self.done.min(self.total), self.total);
        Ok(tensor)
    }
}

/// Whether a matrix has one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bias {
    Some,
    None,
}

impl From<bool> for Bias {
    fn from(has: bool) -> Self {
        if has { Self::Some } else { Self::None }
    }
}

fn floats(name: &str, tensor: &Tensor) -> Result<()> {
    match tensor.dtype() {
        DType::F32 | DType::F16 | DType::BF16 => Ok(()),
        other => Err(Error::NotSupported(format!("{name} of type {other:?} is not known to Candle's engine"))),
    }
}
