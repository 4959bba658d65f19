//! The kernel's text, and MLX's handles of it.

use std::ffi::CString;

use mlx_rs::Dtype;
use mlx_sys::{mlx_array, mlx_fast_cuda_kernel, mlx_fast_cuda_kernel_config, mlx_stream};

use super::{CHUNK, Kind, ROWS, TOKENS, WARPS};
use crate::kernels::own::{Input, Own};

/// Of a block.
const THREADS: i32 = WARPS * 32;

const INPUTS: [Input; 4] = [
    Input { name: "x", kind: None, has_shape: true, has_ndim: true },
    Input { name: "w", kind: Some("uint32_t"), has_shape: true, has_ndim: false },
    Input { name: "scales", kind: None, has_shape: false, has_ndim: false },
    Input { name: "biases", kind: None, has_shape: false, has_ndim: false },
];

/// Its text for numbers of this kind; a small one is for fewer rows.
pub fn own(kind: Kind, is_small: bool) -> Own {
    let Kind { dtype, group_size, capability: [major, minor] } = kind;
    let is_bfloat = dtype == Dtype::Bfloat16;
    let (number, size) = (if is_bfloat { "bf16" } else { "f16" }, if is_small { "small" } else { "large" });
    let settings = format!(
        "constexpr bool IS_BFLOAT = {is_bfloat}, IS_SMALL = {is_small};\nconstexpr int GROUP = {group_size}, WARPS = {WARPS}, \
         ROWS = {ROWS}, TOKENS = {TOKENS}, CHUNK = {CHUNK};\n"
    );
    Own {
        name: format!("few_rows_sm{major}{minor}_{number}_{group_size}_{size}"),
        header: settings + &bare(include_str!("../few_rows.header.cu")),
        body: bare(include_str!("../few_rows.cu")),
        inputs: &INPUTS,
        kind: if is_bfloat { "__nv_bfloat16" } else { "__half" },
    }
}

/// The text without what no compiler needs: MLX copies all of it for each use, and computes its hash.
fn bare(text: &str) -> String {
    let mut bare = String::with_capacity(text.len());
    for line in text.lines() {
        let line = line.split_once("//").map_or(line, |(code, _)| code).trim();
        if !line.is_empty() {
            bare.extend([line, "\n"]);
        }
    }
    bare
}

/// As MLX has it, which writes a declaration around the text.
pub struct Kernel {
    kind: Kind,
    is_small: bool,
    handle: mlx_fast_cuda_kernel,
}

impl Kernel {
    /// One that [`own`] has described.
    pub fn new(kind: Kind, is_small: bool) -> Self {
        let Own { name, header, body, .. } = own(kind, is_small);
        let text = |text: &str| CString::new(text).unwrap_or_default();
        let (name, header, body) = (text(&name), text(&header), text(&body));
        let list = |names: &[CString]| {
            let mut names: Vec<_> = names.iter().map(|name| name.as_ptr()).collect();
            // SAFETY: MLX copies as many texts as there are.
            unsafe { mlx_sys::mlx_vector_string_new_data(names.as_mut_ptr(), names.len()) }
        };
        let (inputs, outputs) = (list(&INPUTS.map(|input| text(input.name))), list(&[text("out")]));
        // SAFETY: MLX copies all texts; the lists are ours, and freed once.
        let handle = unsafe {
            let (name, header, body) = (name.as_ptr(), header.as_ptr(), body.as_ptr());
            let handle = mlx_sys::mlx_fast_cuda_kernel_new(name, inputs, outputs, body, header, true, 0);
            mlx_sys::mlx_vector_string_free(inputs);
            mlx_sys::mlx_vector_string_free(outputs);
            handle
        };
        Self { kind, is_small, handle }
    }

    /// Whether it is that one.
    pub fn is(&self, kind: Kind, is_small: bool) -> bool {
        (self.kind, self.is_small) == (kind, is_small)
    }

    /// Leaves its output in `result`, an array of `shape`, whose last axis are the rows of the matrix.
    pub fn apply(&self, result: *mut mlx_array, inputs: [mlx_array; 4], shape: &[i32], stream: mlx_stream) -> i32 {
        let config = Config::new(shape, self.kind.dtype);
        // SAFETY: all handles outlive the call; the lists are ours, and freed once.
        unsafe {
            let inputs = mlx_sys::mlx_vector_array_new_data(inputs.as_ptr(), inputs.len());
            let mut outputs = mlx_sys::mlx_vector_array_new();
            let mut status =
                mlx_sys::mlx_fast_cuda_kernel_apply(&raw mut outputs, self.handle, inputs, config.0, stream);
            if status == 0 {
                status = mlx_sys::mlx_vector_array_get(result, outputs, 0);
            }
            mlx_sys::mlx_vector_array_free(inputs);
            mlx_sys::mlx_vector_array_free(outputs);
            status
        }
    }
}

impl Drop for Kernel {
    fn drop(&mut self) {
        // SAFETY: it is ours; graphs have copies of what they need.
        unsafe { mlx_sys::mlx_fast_cuda_kernel_free(self.handle) }
    }
}

/// How the kernel is started.
struct Config(mlx_fast_cuda_kernel_config);

impl Config {
    fn new(shape: &[i32], dtype: Dtype) -> Self {
        let (rows, before) =
            shape.split_last().map_or((0, 0), |(rows, before)| (*rows, before.iter().product::<i32>()));
        let (threads, tokens) = (rows / ROWS * THREADS, (before + TOKENS - 1) / TOKENS);
        // SAFETY: the handle is ours; MLX copies the numbers.
        unsafe {
            let config = mlx_sys::mlx_fast_cuda_kernel_config_new();
            let (axes, dtype) = (shape.as_ptr(), dtype as mlx_sys::mlx_dtype);
            mlx_sys::mlx_fast_cuda_kernel_config_add_output_arg(config, axes, shape.len(), dtype);
            mlx_sys::mlx_fast_cuda_kernel_config_set_grid(config, threads, tokens, 1);
            mlx_sys::mlx_fast_cuda_kernel_config_set_thread_group(config, THREADS, 1, 1);
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
