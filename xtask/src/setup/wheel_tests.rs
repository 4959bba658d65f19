use super::*;

#[test]
fn the_tag_is_that_of_the_running_macos() {
    assert_eq!(mac_tag("14.6.1\n").unwrap(), "macosx_14_0_arm64");
    assert_eq!(mac_tag("26.0").unwrap(), "macosx_26_0_arm64");
    assert!(mac_tag("?").is_err());
}
