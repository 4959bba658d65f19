//! Workflow files: what they say, what is wrong with them, and what their templates, transforms and schedules give.
//!
//! Text and values go in, values and problems come out: no file is read here, no process started, nobody waited for.
//! Called by the daemon's runner and by `workflows.check`. The reference for those who write such files is README.md.

mod calls;
mod check;
pub mod course;
mod declare;
pub mod file;
pub mod hooks;
mod node;
mod problem;
mod schedule;
mod scope;
mod template;
mod transform;

pub use calls::{call_problems, cycle};
pub use file::{Action, Input, OnError, Step, Trigger, Workflow, is_name, schema};
pub use node::At;
pub use problem::Problem;
pub use schedule::{Cron, When};
pub use scope::{Scope, Start};
pub use template::{Expression, RenderError, Template, output_bytes};
pub use transform::TransformError;

/// Most bytes of a file.
pub const MOST_FILE_BYTES: usize = 256 << 10;

/// Most steps of a file, those inside others counted.
pub const MOST_STEPS: usize = 200;

/// Most steps that lie inside each other, and most workflows that call each other.
pub const DEEPEST: usize = 8;

/// Most bytes of what a template gives, of an input and of an output.
pub const MOST_OUTPUT_BYTES: usize = 1 << 20;
