use std::io::ErrorKind;

use super::*;

#[test]
fn only_regular_files_are_opened_and_nothing_is_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    let pipe = folder.path().join("pipe");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    assert_eq!(open(&pipe).unwrap_err().kind(), ErrorKind::InvalidInput);
    assert_eq!(open(folder.path()).unwrap_err().kind(), ErrorKind::IsADirectory);
    assert_eq!(open(&folder.path().join("none")).unwrap_err().kind(), ErrorKind::NotFound);
}

#[test]
fn a_file_is_read_up_to_its_limit_and_not_beyond() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), [7; 100]).unwrap();
    assert_eq!(read(file.path(), 100).unwrap(), [7; 100]);
    let error = read(file.path(), 99).unwrap_err();
    assert_eq!(error.to_string(), "has 100 bytes, more than the 99 that are read");
}
