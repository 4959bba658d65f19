use std::path::Path;

use super::{TESTS_NEED, enough};

#[test]
fn too_little_room_is_an_error_with_the_place_the_numbers_and_the_way_out() {
    assert!(enough(Path::new("/somewhere"), TESTS_NEED).is_ok());
    let error = enough(Path::new("/somewhere"), 300 << 20).unwrap_err().to_string();
    assert_eq!(
        error,
        "the tests need 4096 MiB in /somewhere, and 300 MiB are left there: make room, or set TMPDIR to another folder"
    );
}
