use super::*;

#[test]
fn a_failed_command_gives_its_own_exit_code() {
    let failed = |code| Error::Command { command: "x".into(), code, output: String::new() }.exit_code();
    assert_eq!(failed(Some(101)), 101);
    assert_eq!(failed(Some(0)), 1);
    assert_eq!(failed(None), 1);
}
