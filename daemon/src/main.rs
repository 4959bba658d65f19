//! Placeholder of the workspace.
fn main() {}
