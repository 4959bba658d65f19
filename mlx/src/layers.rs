//! The layers that models are built of. Each loads itself from [`crate::weights::Weights`] and holds its arrays.

pub mod attention;
pub mod embedding;
pub mod linear;
pub mod norm;
pub mod quantized;
pub mod rope;
