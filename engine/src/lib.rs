//! Placeholder of the workspace.

/// Values of `model_type` that some engine runs.
pub const ARCHITECTURES: &[&str] = &["llama", "mistral"];
