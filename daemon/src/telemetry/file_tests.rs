use tempfile::TempDir;

use super::*;

fn log(home: &TempDir) -> Rotated {
    Rotated::new(path(home.path()), 100, 3)
}

fn text(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().mode() & 0o777
}

#[test]
fn file_and_folder_are_their_users_alone() {
    let home = TempDir::new().unwrap();
    let mut log = log(&home);
    log.write(b"one\n");
    assert_eq!((mode(&log.path), mode(log.path.parent().unwrap())), (0o600, 0o700));
    fs::set_permissions(&log.path, fs::Permissions::from_mode(0o644)).unwrap();
    log.open().unwrap();
    assert_eq!(mode(&log.path), 0o600);
}

#[test]
fn a_long_file_is_put_behind_and_the_oldest_goes() {
    let home = TempDir::new().unwrap();
    let mut log = log(&home);
    for number in 0..9 {
        log.write(format!("{number:059}\n").as_bytes());
    }
    let ends = |path: &Path, with: &str| assert!(text(path).ends_with(with), "{}", text(path));
    ends(&log.path, "8\n");
    ends(&log.numbered(1), "7\n");
    ends(&log.numbered(2), "6\n");
    assert!(!log.numbered(3).exists());
    assert_eq!(fs::read_dir(log.path.parent().unwrap()).unwrap().count(), 3);
}

#[test]
fn it_goes_on_behind_what_an_earlier_daemon_wrote() {
    let home = TempDir::new().unwrap();
    log(&home).write(b"one\n");
    let mut log = log(&home);
    log.write(b"two\n");
    assert_eq!(text(&log.path), "one\ntwo\n");
    log.write(&[b'x'; 99]);
    assert_eq!(text(&log.numbered(1)), "one\ntwo\n", "its length counts what was there");
}

#[test]
fn a_line_longer_than_a_file_may_be_is_written_all_the_same() {
    let home = TempDir::new().unwrap();
    let mut log = log(&home);
    log.write(&[b'x'; 300]);
    assert_eq!(text(&log.path).len(), 300);
}

#[test]
fn a_file_that_was_removed_is_made_again() {
    let home = TempDir::new().unwrap();
    let mut log = log(&home);
    log.write(b"one\n");
    fs::remove_dir_all(log.path.parent().unwrap()).unwrap();
    log.write(b"two\n");
    assert_eq!(text(&log.path), "two\n");
}

#[test]
fn lines_that_the_disk_does_not_take_are_counted() {
    let home = TempDir::new().unwrap();
    let mut log = log(&home);
    fs::write(home.path().join("logs"), "no folder").unwrap();
    log.write(b"lost\n");
    log.write(b"lost\n");
    fs::remove_file(home.path().join("logs")).unwrap();
    log.write(b"kept\n");
    assert_eq!(text(&log.path), "(2 lines of this log are lost: there was no room for them)\nkept\n");
}
