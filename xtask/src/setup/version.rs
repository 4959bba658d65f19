//! The version of MLX that mlx-sys is made for, read from mlx-c's build description.

use std::fs;
use std::path::Path;

use crate::error::{Error, Result};

/// The version of MLX that the mlx-c in `mlx_c` is written against.
pub fn of_mlx(mlx_c: &Path) -> Result<String> {
    let path = mlx_c.join("CMakeLists.txt");
    let text = fs::read_to_string(&path).map_err(Error::io("read", &path))?;
    pinned(&text)
        .ok_or_else(|| Error::Unexpected(format!("{} names no version of MLX", path.display())))
}

/// The tag in `GIT_TAG v1.2.3)`, without the `v`.
fn pinned(cmake: &str) -> Option<String> {
    let tag = cmake
        .lines()
        .find_map(|line| line.trim().strip_prefix("GIT_TAG v"))?;
    let version: String = tag
        .chars()
        .take_while(|c| c.is_ascii_digit() || *c == '.')
        .collect();
    (!version.is_empty()).then_some(version)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tag_is_read() {
        assert_eq!(
            pinned("  FetchContent_Declare(\n    mlx\n    GIT_TAG v0.32.2)\n").as_deref(),
            Some("0.32.2")
        );
        assert_eq!(pinned("GIT_TAG v1.0.0 # pinned").as_deref(), Some("1.0.0"));
        assert_eq!(pinned("GIT_TAG main)"), None);
        assert_eq!(pinned("GIT_TAG v)"), None);
    }
}
