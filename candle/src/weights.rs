//! The tensors of a model's files, each taken once and made what the model multiplies with.
//!
//! Plain numbers become float32. What MLX packed moves to ggml's blocks of the same numbers where those have a product here,
//! else it becomes `Q8_0`, Candle's fastest product of packed numbers. What ggml packed stays as it is.

mod safetensors;

use std::borrow::Cow;
use std::path::Path;

use candle_core::quantized::{GgmlDType, QMatMul, QStorage, QTensor};
use candle_core::{DType, Device, Module, Result as CandleResult, Tensor};

use self::safetensors::Safetensors;
use crate::config::Config;
use crate::error::{Error, Result};
use crate::gguf::Gguf;
use crate::packed::Affine;
use crate::product::Product;

/// What packed weights become.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Packed {
    /// Blocks of numbers of some bits: a product rounds both of its sides to them.
    #[default]
    Blocks,
    /// The numbers that they stand for, as the reference computes them.
    Whole,
}

/// Where tensors come from.
pub enum Source {
    Safetensors(Safetensors),
    Gguf(Gguf),
}

/// The open files.
pub struct Weights<'a> {
    source: Source,
    packed: Packed,
    /// Where tensors are made.
    pub device: Device,
    progress: &'a mut dyn FnMut(u64, u64),
    /// Bytes read of the files, and in all.
    done: u64,
    total: u64,
    /// Bytes that the tensors made of them take.
    pub held: u64,
}

/// A matrix, with a bias or not.
pub struct Linear {
    weight: Matrix,
    bias: Option<Tensor>,
}

/// What multiplies.
enum Matrix {
    Candle(QMatMul),
    /// Faster, where the processor and the blocks are such.
    Own(Product),
}

/// What a matrix is, beside its size.
#[derive(Debug, Clone, Copy, Default)]
pub struct Kind {
    /// Whether it has a bias.
    pub bias: bool,
    /// Heads of queries or keys that are its rows: some files have those in another order.
    pub heads: Option<usize>,
}

impl Linear {
    /// `[tokens, columns]` to `[tokens, rows]`.
    pub fn forward(&self, x: &Tensor) -> CandleResult<Tensor> {
        let product = match &self.weight {
            Matrix::Candle(weight) => weight.forward(x)?,
            Matrix::Own(weight) => weight.forward(x)?,
        };
        self.bias.as_ref().map_or(Ok(product.clone()), |bias| product.broadcast_add(bias))
    }

    /// The rows that `ids` name.
    pub fn rows(&self, ids: &Tensor) -> CandleResult<Tensor> {
        match &self.weight {
            Matrix::Candle(weight) => weight.embedding(ids),
            Matrix::Own(weight) => weight.embedding(ids),
        }
    }
}

impl Source {
    /// The safetensors files of `folder`, of whose tensors those count that begin with `prefix`.
    pub fn safetensors(folder: &Path, prefix: &'static str) -> Result<Self> {
        Safetensors::open(folder, prefix).map(Self::Safetensors)
    }

    /// Bytes that all tensors will take once they are held, at most.
    pub fn needed_bytes(&self) -> u64 {
        match self {
            Self::Safetensors(files) => files.needed_bytes(),
            Self::Gguf(file) => file.bytes(),
        }
    }
}

impl<'a> Weights<'a> {
    /// All tensors of `source`, none taken yet.
    pub fn new(source: Source, packed: Packed, device: Device, progress: &'a mut dyn FnMut(u64, u64)) -> Self {
        let total = match &source {
            Source::Safetensors(files) => files.bytes(),
            Source::Gguf(file) => file.bytes(),
        };
        Self { source, packed, device, progress, done: 0, total, held: 0 }
    }

    /// Whether the head is the embedding: the config says so, or the files, which then have no other.
    pub fn is_tied(&self, config: &Config) -> bool {
        match &self.source {
            Source::Safetensors(files) => config.is_tied().unwrap_or_else(|| !files.has("lm_head.weight")),
            Source::Gguf(file) => !file.has("lm_head.weight"),
        }
    }

    /// A tensor that is no matrix, in float32.
    pub fn vector(&mut self, name: &str, len: usize) -> Result<Tensor> {
        self.headed(name, len, None)
    }

    /// Whether norms of 1 + weight are kept less that 1; ggml's files have them whole.
    pub fn are_norms_less_one(&self, config: &Config) -> bool {
        config.is_gemma() && matches!(self.source, Source::Safetensors(_))
    }

    /// Takes `path.weight`, packed or not, of `[rows, columns]`, and `path.bias` where there is one.
    pub fn linear(&mut self, path: &str, [rows, columns]: [usize; 2], kind: Kind) -> Result<Linear> {
        let name = format!("{path}.weight");
        let weight = match &self.source {
            Source::Safetensors(files) if files.has(&format!("{path}.scales")) => self.unpacked(path, rows, columns)?,
            Source::Safetensors(files) => {
                let (tensor, bytes) = files.plain(&name, &[rows, columns], &self.device)?;
                self.read(bytes);
                self.whole(tensor)
            }
            Source::Gguf(file) => {
                let (tensor, bytes) = file.tensor(&name, &[rows, columns], kind.heads, &self.device)?;
                self.read(bytes);
                self.blocks(tensor)?
            }
        };
        let bias = if kind.bias { Some(self.headed(&format!("{path}.bias"), rows, kind.heads)?) } else { None };
        Ok(Linear { weight, bias })
    }

    fn headed(&mut self, name: &str, len: usize, heads: Option<usize>) -> Result<Tensor> {
        let (tensor, bytes) = match &self.source {
            Source::Safetensors(files) => files.plain(name, &[len], &self.device)?,
            Source::Gguf(file) => {
                let (tensor, bytes) = file.tensor(name, &[len], heads, &self.device)?;
                (tensor.dequantize(&self.device)?, bytes)
            }
        };
        self.read(bytes);
        self.held += (len * DType::F32.size_in_bytes()) as u64;
        Ok(tensor)
    }

    fn unpacked(&mut self, path: &str, rows: usize, columns: usize) -> Result<Matrix> {
        let Source::Safetensors(files) = &self.source else {
            return Err(Error::Internal("only safetensors are packed by MLX".into()));
        };
        let (words, bytes) = files.flat::<u32>(&format!("{path}.weight"))?;
        let (scales, more) = files.flat::<f32>(&format!("{path}.scales"))?;
        let (biases, most) = files.flat::<f32>(&format!("{path}.biases"))?;
        let packed = Affine::new(&words, &scales, &biases, [rows, columns]).ok_or_else(|| {
            Error::Broken(format!("{path}.weight is not {rows} by {columns} numbers, packed in any way MLX knows"))
        })?;
        self.read(bytes + more + most);
        if self.packed == Packed::Blocks
            && self.device.is_cpu()
            && Product::is_there()
            && let Some((dtype, bytes)) = packed.ggml()
        {
            let storage = QStorage::from_data(Cow::Owned(bytes), &self.device, dtype)?;
            return self.blocks(QTensor::new(storage, (rows, columns))?);
        }
        let plain = Tensor::from_vec(packed.numbers(), (rows, columns), &self.device)?;
        if self.packed == Packed::Whole {
            return Ok(self.whole(plain));
        }
        self.blocks(QTensor::quantize(&plain, GgmlDType::Q8_0)?)
    }

    /// Numbers as a file has them.
    fn blocks(&mut self, tensor: QTensor) -> Result<Matrix> {
        let plain = matches!(tensor.dtype(), GgmlDType::F32 | GgmlDType::F16 | GgmlDType::BF16);
        if plain || self.packed == Packed::Whole {
            return Ok(self.whole(tensor.dequantize(&self.device)?));
        }
        self.held += tensor.storage_size_in_bytes() as u64;
        match Product::new(Box::new(tensor)) {
            Ok(product) => Ok(Matrix::Own(product)),
            Err(tensor) => Ok(Matrix::Candle(QMatMul::from_qtensor(*tensor)?)),
        }
    }

    fn whole(&mut self, tensor: Tensor) -> Matrix {
        self.held += (tensor.elem_count() * DType::F32.size_in_bytes()) as u64;
        Matrix::Candle(QMatMul::Tensor(tensor))
    }

    fn read(&mut self, bytes: u64) {
        self.done += bytes;
        (self.progress)(self.done.min(self.total), self.total);
    }
}
