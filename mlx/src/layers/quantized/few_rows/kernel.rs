//! The kernel's text.

use mlx_rs::Dtype;

use super::{CHUNK, Kind, ROWS, TOKENS, WARPS};
use crate::kernels::own::{Input, Own, UNITS, bare};

const INPUTS: [Input; 4] = [
    Input { has_shape: true, has_ndim: true, ..Input::bare("x") },
    Input { kind: Some("uint32_t"), has_shape: true, ..Input::bare("w") },
    Input::bare("scales"),
    Input::bare("biases"),
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
        header: settings + &bare(UNITS) + &bare(include_str!("../few_rows.header.cu")),
        body: bare(include_str!("../few_rows.cu")),
        inputs: &INPUTS,
        kind: if is_bfloat { "__nv_bfloat16" } else { "__half" },
    }
}
