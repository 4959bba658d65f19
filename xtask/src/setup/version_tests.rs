use super::*;

#[test]
fn the_tag_is_read() {
    assert_eq!(pinned("  FetchContent_Declare(\n    mlx\n    GIT_TAG v0.32.2)\n").as_deref(), Some("0.32.2"));
    assert_eq!(pinned("GIT_TAG v1.0.0 # pinned").as_deref(), Some("1.0.0"));
    assert_eq!(pinned("GIT_TAG main)"), None);
    assert_eq!(pinned("GIT_TAG v)"), None);
}
