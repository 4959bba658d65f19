//! What MLX knows of a device, which `mlx-rs` does not wrap. Read once, when the device is opened.

use std::ffi::{CStr, c_char};
use std::ptr::null;

/// Facts by name; which names there are depends on the platform.
pub struct Info(mlx_sys::mlx_device_info);

impl Info {
    /// Of the device that arrays are computed on by default.
    pub fn of_default_device() -> Self {
        // SAFETY: both handles are new; the device's is freed here, the other is owned by the result. Where a call
        // fails, its handle stays empty, and the ones after it fail too.
        unsafe {
            let mut device = mlx_sys::mlx_device_new();
            let mut info = mlx_sys::mlx_device_info_new();
            mlx_sys::mlx_get_default_device(&raw mut device);
            mlx_sys::mlx_device_info_get(&raw mut info, device);
            mlx_sys::mlx_device_free(device);
            Self(info)
        }
    }

    /// The text of this name.
    pub fn text(&self, name: &CStr) -> Option<String> {
        let mut text: *const c_char = null();
        // SAFETY: the handle lives as long as `self`; a text is only looked at after the call has set it, and lives as
        // long as the process.
        unsafe {
            let status = mlx_sys::mlx_device_info_get_string(&raw mut text, self.0, name.as_ptr());
            (status == 0 && !text.is_null()).then(|| CStr::from_ptr(text).to_string_lossy().into_owned())
        }
    }

    /// The number of this name.
    pub fn number(&self, name: &CStr) -> Option<usize> {
        let mut number = 0;
        // SAFETY: the handle lives as long as `self`.
        let status = unsafe { mlx_sys::mlx_device_info_get_size(&raw mut number, self.0, name.as_ptr()) };
        (status == 0).then_some(number)
    }
}

/// Whether the GPU is one of CUDA's.
pub fn has_cuda() -> bool {
    let mut has_cuda = false;
    // SAFETY: writes one value. Where the call fails there is none.
    let status = unsafe { mlx_sys::mlx_cuda_is_available(&raw mut has_cuda) };
    status == 0 && has_cuda
}

impl Drop for Info {
    fn drop(&mut self) {
        // SAFETY: the handle is ours and is not used again.
        unsafe { mlx_sys::mlx_device_info_free(self.0) };
    }
}
