//! The layers that models are built of. Each loads itself from [`crate::weights::Weights`] and holds its arrays.

pub mod attention;
pub mod embedding;
pub mod experts;
pub mod head;
pub mod linear;
pub mod matrix;
pub mod mlp;
pub mod norm;
pub mod qkv;
pub mod quantized;
pub mod rope;
