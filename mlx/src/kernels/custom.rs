//! A kernel of our own as MLX has it: it writes a declaration around the text, and finds what was compiled of both.

use std::ffi::CString;

use mlx_rs::Dtype;
use mlx_sys::{mlx_array, mlx_fast_cuda_kernel, mlx_fast_cuda_kernel_config, mlx_stream};

use super::own::Own;

/// MLX's handle of it.
pub struct Custom(mlx_fast_cuda_kernel);

/// What one call of it makes, and how it is started.
pub struct Start<'a> {
    /// Of its one output.
    pub shape: &'a [i32],
    /// Of that too.
    pub dtype: Dtype,
    /// Blocks along each axis.
    pub blocks: [i32; 3],
    /// Of each block, along the first axis.
    pub threads: i32,
}

impl Custom {
    /// One that was put where MLX finds it.
    pub fn new(own: &Own) -> Self {
        let text = |text: &str| CString::new(text).unwrap_or_default();
        let (name, header, body) = (text(&own.name), text(&own.header), text(&own.body));
        let list = |names: &[CString]| {
            let mut names: Vec<_> = names.iter().map(|name| name.as_ptr()).collect();
            // SAFETY: MLX copies as many texts as there are.
            unsafe { mlx_sys::mlx_vector_string_new_data(names.as_mut_ptr(), names.len()) }
        };
        let names: Vec<_> = own.inputs.iter().map(|input| text(input.name)).collect();
        let (inputs, outputs) = (list(&names), list(&[text("out")]));
        let copies = !own.inputs.iter().any(|input| input.has_strides);
        // SAFETY: MLX copies all texts; the lists are ours, and freed once.
        unsafe {
            let (name, header, body) = (name.as_ptr(), header.as_ptr(), body.as_ptr());
            let handle = mlx_sys::mlx_fast_cuda_kernel_new(name, inputs, outputs, body, header, copies, 0);
            mlx_sys::mlx_vector_string_free(inputs);
            mlx_sys::mlx_vector_string_free(outputs);
            Self(handle)
        }
    }

    /// Leaves its output in `result`, and answers what MLX does.
    pub fn apply(&self, result: *mut mlx_array, inputs: &[mlx_array], start: &Start<'_>, stream: mlx_stream) -> i32 {
        let config = Config::new(start);
        // SAFETY: all handles outlive the call; the lists are ours, and freed once.
        unsafe {
            let inputs = mlx_sys::mlx_vector_array_new_data(inputs.as_ptr(), inputs.len());
            let mut outputs = mlx_sys::mlx_vector_array_new();
            let mut status = mlx_sys::mlx_fast_cuda_kernel_apply(&raw mut outputs, self.0, inputs, config.0, stream);
            if status == 0 {
                status = mlx_sys::mlx_vector_array_get(result, outputs, 0);
            }
            mlx_sys::mlx_vector_array_free(inputs);
            mlx_sys::mlx_vector_array_free(outputs);
            status
        }
    }
}

impl Drop for Custom {
    fn drop(&mut self) {
        // SAFETY: it is ours; graphs have copies of what they need.
        unsafe { mlx_sys::mlx_fast_cuda_kernel_free(self.0) }
    }
}

/// [`Start`] as MLX has it.
struct Config(mlx_fast_cuda_kernel_config);

impl Config {
    fn new(&Start { shape, dtype, blocks: [x, y, z], threads }: &Start<'_>) -> Self {
        // SAFETY: the handle is ours; MLX copies the numbers.
        unsafe {
            let config = mlx_sys::mlx_fast_cuda_kernel_config_new();
            let (axes, dtype) = (shape.as_ptr(), dtype as mlx_sys::mlx_dtype);
            mlx_sys::mlx_fast_cuda_kernel_config_add_output_arg(config, axes, shape.len(), dtype);
            mlx_sys::mlx_fast_cuda_kernel_config_set_grid(config, x * threads, y, z);
            mlx_sys::mlx_fast_cuda_kernel_config_set_thread_group(config, threads, 1, 1);
            Self(config)
        }
    }
}

impl Drop for Config {
    fn drop(&mut self) {
        // SAFETY: it is ours, and MLX has copied it.
        unsafe { mlx_sys::mlx_fast_cuda_kernel_config_free(self.0) }
    }
}
