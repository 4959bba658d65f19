//! Where arrays are computed, and what differs between a processor and a GPU. All of it is decided here.

mod info;

use std::cell::Cell;
use std::marker::PhantomData;
use std::ops::RangeInclusive;
use std::sync::OnceLock;

use engine::Pace;
use engine::message::{DeviceMemory, Memory};
use mlx_rs::{Device as MlxDevice, DeviceType, Dtype, Stream, memory};

use self::info::Info;
use crate::call;
use crate::error::Result;

/// Buffers that MLX keeps for reuse, at least and at most. Without a limit it keeps as much as it may use.
const SCRATCH_BYTES: RangeInclusive<u64> = 256 << 20..=2 << 30;

/// Rows for which CUDA's products with packed matrices have a kernel; others are computed as so many or more.
pub const BLOCK: usize = 16;

/// Steps after which MLX's spare buffers are given back: the caches' growth leaves ever larger ones behind.
const CLEAR_EVERY: u32 = 256;

/// Holds a value to the thread that made it: arrays belong to the streams of their thread, though `mlx-rs` lets them
/// go.
pub type OneThread = PhantomData<*const ()>;

/// The device of this process, and how it is used best.
pub struct Device {
    /// The thread's default stream, and no stream of its own: a few operations of `mlx-rs` overlook the scope.
    stream: Stream,
    /// Where files are read.
    files: Stream,
    /// In words for a person.
    pub name: String,
    /// What it says of its memory.
    pub memory: DeviceMemory,
    /// In which form weights are held.
    pub weights: WeightPolicy,
    /// Prompt tokens computed in one step; a cancel waits for a step.
    pub prefill_chunk: usize,
    /// The same while tokens of other sequences wait for it.
    pub shared_chunk: usize,
    /// Whether a step is started before the token of the last one is read.
    pub pipelines: bool,
    /// Whether pieces of prompts are computed in whole [`BLOCK`]s, and long ones in a few lengths only, with tokens behind them
    /// that nobody asks for: where [`builds_kernels`] is true.
    pub pads: bool,
    /// How several sequences attend together; absent where each does by itself.
    pub sharing: Option<Sharing>,
    /// Steps of one token so far, however many sequences they were for.
    steps: Cell<u32>,
}

/// How the sequences of a step attend in buffers that they share.
#[derive(Debug, Clone, Copy)]
pub struct Sharing {
    /// Rows that a step has at least, those that nobody asks for included.
    pub least_rows: usize,
    /// Whether MLX has a kernel for one token of each row that sees only some keys.
    pub has_kernel: bool,
}

impl Sharing {
    /// Packed products have a kernel that reads the weights once for all rows from eight on: with eight, one of 8192 by
    /// 3072 numbers takes an H200 29 µs, with two 47, with four 75.
    pub const CUDA: Self = Self { least_rows: 8, has_kernel: false };

    /// Products have kernels for any count of rows.
    pub const METAL: Self = Self { least_rows: 1, has_kernel: true };
}

impl Device {
    /// The GPU where there is one, else the processor. Sets the limits of MLX's allocator.
    pub fn open() -> Result<Self> {
        let device = MlxDevice::try_default()?;
        let stream = Stream::try_default_on_device(&device)?;
        let info = Info::of_default_device();
        // Only Metal has this number. Weights that are not wired may be paged out between two requests.
        let recommended = info.number(c"max_recommended_working_set_size");
        if let Some(bytes) = recommended {
            memory::set_wired_limit(bytes)?;
        }
        // Only CUDA has this one, of all processes together.
        let memory = match (recommended, info.number(c"free_memory")) {
            (Some(bytes), _) => DeviceMemory::Shared(bytes as u64),
            (None, Some(bytes)) => DeviceMemory::Own(bytes as u64),
            (None, None) => DeviceMemory::Processor,
        };
        Ok(match device.get_type()? {
            DeviceType::Cpu => Self::processor(stream),
            DeviceType::Gpu => Self { memory, ..Self::gpu(stream, info::has_cuda(), info.text(c"device_name")) },
        })
    }

    /// Building a graph costs a processor one part in a hundred of a step, and two steps in flight would both hold the
    /// caches, which are then copied whole at each step. Its time grows with every row of a chunk.
    fn processor(stream: Stream) -> Self {
        let files = stream.clone();
        Self {
            stream,
            files,
            name: "cpu".into(),
            memory: DeviceMemory::Processor,
            weights: WeightPolicy::PROCESSOR,
            prefill_chunk: 64,
            shared_chunk: 64,
            pipelines: false,
            pads: false,
            sharing: None,
            steps: Cell::new(0),
        }
    }

    /// A GPU is busy only with long chunks, and would wait while the next graph is built. With CUDA, what is read on the
    /// processor lies in memory of both, which moves page by page when it is first used; what is read on the GPU's
    /// stream lies in its own. Metal has one memory, and no way to read files.
    fn gpu(stream: Stream, has_cuda: bool, name: Option<String>) -> Self {
        let name = name.unwrap_or_else(|| "gpu".into());
        let files = if has_cuda { stream.clone() } else { Stream::cpu() };
        Self {
            stream,
            files,
            name,
            memory: DeviceMemory::Processor,
            weights: WeightPolicy { flattens: has_cuda, ..WeightPolicy::AS_THEY_COME },
            prefill_chunk: 2048,
            shared_chunk: 512,
            pipelines: true,
            pads: has_cuda,
            sharing: Some(if has_cuda { Sharing::CUDA } else { Sharing::METAL }),
            steps: Cell::new(0),
        }
    }

    /// Most prompt tokens of the next step.
    pub fn chunk(&self, pace: Pace) -> usize {
        match pace {
            Pace::Alone => self.prefill_chunk,
            Pace::Shared => self.shared_chunk,
        }
    }

    /// Rows of a step, and positions of a pass of several, at least: more than are wanted where that is faster.
    pub fn least_rows(&self) -> usize {
        self.sharing.map_or(1, |sharing| sharing.least_rows)
    }

    /// To be called once for each step of one token, of all the sequences that it is for.
    pub fn stepped(&self) -> Result<()> {
        self.steps.set((self.steps.get() + 1) % CLEAR_EVERY);
        if self.steps.get() == 0 {
            memory::clear_cache()?;
        }
        Ok(())
    }

    /// Runs `work` with every operation on this device's stream, which is then looked up once.
    pub fn scope<T>(&self, work: impl FnOnce() -> T) -> T {
        call::on(&self.stream, work)
    }

    /// Runs `work`, which makes arrays of files, on the stream that reads them.
    pub fn reading<T>(&self, work: impl FnOnce() -> T) -> T {
        call::on(&self.files, work)
    }
}

/// Whether MLX builds a kernel of its attention for every shape that it is asked for: with CUDA, by cuDNN.
pub fn builds_kernels() -> bool {
    static BUILDS: OnceLock<bool> = OnceLock::new();
    *BUILDS.get_or_init(info::has_cuda)
}

/// The compute capability of the GPU, such as 9.0, where it is one of CUDA's.
pub fn capability() -> Option<[usize; 2]> {
    static CAPABILITY: OnceLock<Option<[usize; 2]>> = OnceLock::new();
    *CAPABILITY.get_or_init(|| {
        let info = Info::of_default_device();
        Some([info.number(c"compute_capability_major")?, info.number(c"compute_capability_minor")?])
    })
}

/// In which form weights are held.
#[derive(Debug, Clone, Copy)]
pub struct WeightPolicy {
    /// The type that floating-point tensors are cast to; `None` leaves them as they are in the files.
    pub cast: Option<Dtype>,
    /// Quantized matrices become plain numbers where the files are not larger than this.
    pub unpack_bytes: u64,
    /// Where they stay packed: rows from which on a product is faster with a matrix unpacked for it alone.
    pub unpack_rows: Option<usize>,
    /// Packed matrices with the same input become one, where they are packed alike.
    pub joins: bool,
    /// Vectors of several sequences are multiplied with packed matrices as the rows of one matrix.
    pub flattens: bool,
}

impl WeightPolicy {
    /// GPUs have kernels for everything that checkpoints hold. That of CUDA takes the rows of a batch for products of their
    /// own, each of which reads all weights: `[16, 1, 3072]` times 8192 by 3072 numbers of 4 bits take an H200 183 µs,
    /// `[1, 16, 3072]` take 34, and plain ones of 16 bits 42 to 45. Those of Metal take them for one.
    const AS_THEY_COME: Self = Self { cast: None, unpack_bytes: 0, unpack_rows: None, joins: true, flattens: false };

    /// For a load that only looks at what it would hold.
    pub const RECORDED: Self = Self { joins: false, ..Self::AS_THEY_COME };

    /// A processor has no arithmetic for 16-bit numbers: one row times 28 million weights of 4 bits takes 29 ms with
    /// 32-bit scales, nine times that with bfloat16 and forty with float16. Unpacked they take 13 ms, in eight times the
    /// memory, which small models may have. Unpacking takes as long as three rows of a packed product.
    const PROCESSOR: Self = Self {
        cast: Some(Dtype::Float32),
        unpack_bytes: 320 << 20,
        unpack_rows: Some(8),
        joins: false,
        flattens: false,
    };
}

/// Bytes that computing with so many bytes of weights takes: the buffers of one chunk, which are kept for the next. They
/// grow with the width of a model, as its weights do.
pub fn scratch(weight_bytes: u64) -> u64 {
    (weight_bytes / 8).clamp(*SCRATCH_BYTES.start(), *SCRATCH_BYTES.end())
}

/// Has MLX keep no more than this for reuse.
pub fn limit_scratch(bytes: u64) -> Result<()> {
    memory::set_cache_limit(bytes as usize)?;
    Ok(())
}

/// Bytes in use by the whole process.
pub fn memory() -> Memory {
    let bytes = |bytes: mlx_rs::error::Result<usize>| bytes.map_or(0, |bytes| bytes as u64);
    Memory {
        active_bytes: bytes(memory::active_memory()),
        cache_bytes: bytes(memory::cache_memory()),
        peak_bytes: bytes(memory::peak_memory()),
        prefix_bytes: 0,
    }
}
