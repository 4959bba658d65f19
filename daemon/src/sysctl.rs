//! What macOS' kernel says when it is asked by name, as sysctl(3) has it.

use ::sysctl::{Ctl, Sysctl};

/// The value of `name`, such as `hw.memsize`; `None` where the kernel knows no such name.
pub fn text(name: &str) -> Option<String> {
    Ctl::new(name).ok()?.value_string().ok()
}
