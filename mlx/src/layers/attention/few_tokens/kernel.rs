//! The kernel's text.

use std::f32::consts::LOG2_E;

use mlx_rs::Dtype;

use super::{Kind, WARPS};
use crate::kernels::own::{Input, Own, UNITS, bare};
use crate::layers::attention::Scores;

/// Keys and values lie alike.
const INPUTS: [Input; 4] = [
    Input { has_shape: true, has_strides: true, ..Input::bare("q") },
    Input { has_shape: true, has_strides: true, ..Input::bare("k") },
    Input::bare("v"),
    Input { kind: Some("int32_t"), ..Input::bare("before") },
];

/// Its text for numbers of this kind.
pub fn own(kind: Kind) -> Own {
    let Kind { dtype, dims, capability: [major, minor] } = kind;
    let is_bfloat = dtype == Dtype::Bfloat16;
    let scale = Scores::of(dims).scale * LOG2_E;
    let settings = format!(
        "constexpr bool IS_BFLOAT = {is_bfloat};\nconstexpr int DIMS = {dims}, WARPS = {WARPS};\nconstexpr float SCALE = \
         {scale:e}f;\n"
    );
    Own {
        name: format!("few_tokens_sm{major}{minor}_{}_{dims}", if is_bfloat { "bf16" } else { "f16" }),
        header: settings + &bare(UNITS) + &bare(include_str!("../few_tokens.header.cu")),
        body: bare(include_str!("../few_tokens.cu")),
        inputs: &INPUTS,
        kind: if is_bfloat { "__nv_bfloat16" } else { "__half" },
    }
}
