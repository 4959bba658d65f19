//! Where arrays are computed, and what differs between a processor and a GPU. All of it is decided here.

mod info;

use std::marker::PhantomData;
use std::ops::RangeInclusive;

use engine::message::Memory;
use mlx_rs::{Device as MlxDevice, DeviceType, Dtype, Stream, memory, with_stream};

use self::info::Info;
use crate::error::Result;

/// Buffers that MLX keeps for reuse, at least and at most. Without a limit it keeps as much as it may use.
const CACHE_BYTES: RangeInclusive<usize> = 512 << 20..=2 << 30;

/// Holds a value to the thread that made it: arrays belong to the streams of their thread, though `mlx-rs` lets them
/// go.
pub type OneThread = PhantomData<*const ()>;

/// The device of this process, and how it is used best.
pub struct Device {
    /// The thread's default stream, and no stream of its own: a few operations of `mlx-rs` overlook the scope.
    stream: Stream,
    /// In words for a person.
    pub name: String,
    /// The type that floating-point weights are cast to; `None` leaves them as they are in the files.
    pub weight_type: Option<Dtype>,
    /// Prompt tokens computed in one step; a cancel waits for a step.
    pub prefill_chunk: usize,
    /// Whether a step is started before the token of the last one is read.
    pub pipelines: bool,
}

impl Device {
    /// The GPU where there is one, else the processor. Sets the limits of MLX's allocator.
    pub fn open() -> Result<Self> {
        let device = MlxDevice::try_default()?;
        let stream = Stream::try_default_on_device(&device)?;
        let info = Info::of_default_device();
        let cache = memory::memory_limit()? / 20;
        memory::set_cache_limit(cache.clamp(*CACHE_BYTES.start(), *CACHE_BYTES.end()))?;
        // Only Metal has this number. Weights that are not wired may be paged out between two requests.
        if let Some(bytes) = info.number(c"max_recommended_working_set_size") {
            memory::set_wired_limit(bytes)?;
        }
        Ok(match device.get_type()? {
            DeviceType::Cpu => Self::processor(stream),
            DeviceType::Gpu => Self::gpu(stream, info.text(c"device_name")),
        })
    }

    /// A processor has no arithmetic for 16-bit numbers: one row times 28 million 4-bit weights takes 20 ms with
    /// 32-bit scales, 180 ms with bfloat16 and 866 ms with float16. Its time grows with every row of a chunk. Building
    /// a graph costs it one part in a hundred, and two steps in flight would both hold the caches, which are then
    /// copied whole at each step.
    fn processor(stream: Stream) -> Self {
        Self { stream, name: "cpu".into(), weight_type: Some(Dtype::Float32), prefill_chunk: 32, pipelines: false }
    }

    /// A GPU takes weights as they come, is busy only with long chunks, and would wait while the next graph is built.
    fn gpu(stream: Stream, name: Option<String>) -> Self {
        let name = name.unwrap_or_else(|| "gpu".into());
        Self { stream, name, weight_type: None, prefill_chunk: 2048, pipelines: true }
    }

    /// Runs `work` with every operation on this device's stream, which is then looked up once.
    pub fn scope<T>(&self, work: impl FnOnce() -> T) -> T {
        with_stream(&self.stream, work)
    }
}

/// Bytes in use by the whole process.
pub fn memory() -> Memory {
    let bytes = |bytes: mlx_rs::error::Result<usize>| bytes.map_or(0, |bytes| bytes as u64);
    Memory {
        active_bytes: bytes(memory::active_memory()),
        cache_bytes: bytes(memory::cache_memory()),
        peak_bytes: bytes(memory::peak_memory()),
    }
}
