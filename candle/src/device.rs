//! What a model computes on: a Mac's graphics processor in a build for it, and the processor elsewhere.

use candle_core::Device;

/// The best there is.
pub fn open() -> Device {
    // A Mac without one computes all the same.
    #[cfg(all(target_os = "macos", feature = "metal"))]
    return Device::new_metal(0).unwrap_or(Device::Cpu);
    #[cfg(not(all(target_os = "macos", feature = "metal")))]
    Device::Cpu
}

/// In a word for a person.
pub fn name(device: &Device) -> &'static str {
    if device.is_metal() { "metal" } else { "cpu" }
}
