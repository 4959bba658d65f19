//! Placeholder of the workspace.
