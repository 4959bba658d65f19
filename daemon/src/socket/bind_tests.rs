use std::os::unix::net::UnixStream;

use tempfile::TempDir;

use super::*;

fn directory() -> TempDir {
    tempfile::tempdir().unwrap()
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().mode() & PERMISSIONS
}

/// Binding must fail with these words, whatever the place is called.
fn check_refused(place: &Place, words: &[&str]) {
    let error = bind(place, None).unwrap_err().to_string();
    for word in words {
        assert!(error.contains(word), "{word:?} is not in: {error}");
    }
}

#[test]
fn the_directory_is_0700_and_the_files_are_0600() {
    let root = directory();
    let path = root.path().join("a").join("run").join("s");
    let _bound = bind(&Place::Default(path.clone()), None).unwrap();
    assert_eq!(mode(path.parent().unwrap()), 0o700);
    assert_eq!(mode(&root.path().join("a")), 0o700);
    assert_eq!(mode(&path), 0o600);
    assert_eq!(mode(&path.with_extension("lock")), 0o600);
    UnixStream::connect(&path).unwrap();
}

#[test]
fn the_default_directory_is_tightened() {
    let root = directory();
    fs::set_permissions(root.path(), Permissions::from_mode(0o777)).unwrap();
    let _bound = bind(&Place::Default(root.path().join("s")), None).unwrap();
    assert_eq!(mode(root.path()), 0o700);
}

#[test]
fn a_named_directory_is_left_alone() {
    let root = directory();
    fs::set_permissions(root.path(), Permissions::from_mode(0o755)).unwrap();
    let _bound = bind(&Place::Named(root.path().join("s")), None).unwrap();
    assert_eq!(mode(root.path()), 0o755);
}

#[test]
fn a_named_directory_that_others_can_write_is_refused() {
    for writable in [0o777, 0o1777, 0o770] {
        let root = directory();
        fs::set_permissions(root.path(), Permissions::from_mode(writable)).unwrap();
        let place = Place::Named(root.path().join("s"));
        check_refused(&place, &["others can write", &format!("mode {writable:o}"), "chmod go-w", "TALKIE_SOCKET"]);
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 0);
    }
}

#[test]
fn a_second_daemon_is_told_of_the_first() {
    let root = directory();
    let place = Place::Default(root.path().join("s"));
    let _bound = bind(&place, None).unwrap();
    let error = bind(&place, None).unwrap_err();
    assert!(matches!(error, BindError::Running { pid: Some(pid), .. } if pid == std::process::id()), "{error}");
    assert!(error.to_string().contains(&format!("another talkied runs as process {}", std::process::id())), "{error}");
    UnixStream::connect(place.path()).unwrap();
}

#[test]
fn a_clean_end_removes_the_socket_and_lets_the_next_in() {
    let root = directory();
    let place = Place::Default(root.path().join("s"));
    let bound = bind(&place, None).unwrap();
    drop(bound.listener);
    assert!(place.path().exists());
    drop(bound.claim);
    assert!(!place.path().exists());
    bind(&place, None).unwrap();
}

#[test]
fn a_socket_that_a_dead_daemon_left_is_replaced() {
    let root = directory();
    let place = Place::Default(root.path().join("s"));
    drop(UnixListener::bind(place.path()).unwrap());
    let _bound = bind(&place, None).unwrap();
    UnixStream::connect(place.path()).unwrap();
}

#[test]
fn a_lock_that_a_dead_daemon_left_does_not_hold() {
    let root = directory();
    let place = Place::Default(root.path().join("s"));
    fs::write(root.path().join("s.lock"), "123456789 and some more\n").unwrap();
    let _bound = bind(&place, None).unwrap();
    assert_eq!(fs::read_to_string(root.path().join("s.lock")).unwrap(), format!("{}\n", std::process::id()));
}

#[test]
fn a_socket_that_somebody_listens_on_is_left_alone() {
    let root = directory();
    let place = Place::Default(root.path().join("s"));
    let _other = UnixListener::bind(place.path()).unwrap();
    check_refused(&place, &["another program listens there", "launchd or systemd"]);
    UnixStream::connect(place.path()).unwrap();
}

#[test]
fn a_file_that_is_no_socket_is_left_alone() {
    let root = directory();
    let place = Place::Default(root.path().join("s"));
    fs::write(place.path(), "precious").unwrap();
    check_refused(&place, &["no socket", "TALKIE_SOCKET"]);
    assert_eq!(fs::read_to_string(place.path()).unwrap(), "precious");
}

#[test]
fn a_link_to_a_socket_is_left_alone() {
    let root = directory();
    let (other, place) = (root.path().join("other"), Place::Default(root.path().join("s")));
    drop(UnixListener::bind(&other).unwrap());
    std::os::unix::fs::symlink(&other, place.path()).unwrap();
    check_refused(&place, &["no socket"]);
    assert!(other.exists());
}

#[test]
fn a_long_path_is_explained_and_the_longest_works() {
    let root = directory();
    let of_length = |length: usize| root.path().join("x".repeat(length - root.path().as_os_str().len() - 1));
    let place = Place::Named(of_length(MAX_SOCKET_PATH + 1));
    let (length, limit) = ((MAX_SOCKET_PATH + 1).to_string(), MAX_SOCKET_PATH.to_string());
    check_refused(&place, &[&length, &limit, "TALKIE_SOCKET"]);
    bind(&Place::Named(of_length(MAX_SOCKET_PATH)), None).unwrap();
}

#[test]
fn a_directory_that_is_a_file_is_named() {
    let root = directory();
    fs::write(root.path().join("run"), "").unwrap();
    check_refused(&Place::Default(root.path().join("run").join("s")), &["cannot make the directory", "run"]);
}

#[test]
fn the_lock_of_a_process_that_is_gone_is_waited_for() {
    let root = directory();
    let place = Place::Default(root.path().join("s"));
    let mut gone = std::process::Command::new("true").spawn().unwrap();
    let pid = gone.id();
    gone.wait().unwrap();
    // As a child has it that has not become another program yet.
    let lock = fs::File::create(root.path().join("s.lock")).unwrap();
    fs::write(root.path().join("s.lock"), format!("{pid}\n")).unwrap();
    lock.lock().unwrap();
    let child = std::thread::spawn(move || {
        std::thread::sleep(std::time::Duration::from_millis(200));
        drop(lock);
    });
    bind(&place, None).unwrap();
    child.join().unwrap();
}

#[test]
fn an_adopted_socket_is_locked_and_outlives_the_daemon() {
    let root = directory();
    let place = Place::Default(root.path().join("s"));
    let passed = UnixListener::bind(place.path()).unwrap();
    let bound = bind(&place, Some(passed)).unwrap();
    assert!(matches!(bind(&place, None), Err(BindError::Running { .. })));
    drop(bound);
    assert!(place.path().exists());
}

#[test]
fn another_file_put_in_the_sockets_place_is_not_removed() {
    let root = directory();
    let place = Place::Default(root.path().join("s"));
    let bound = bind(&place, None).unwrap();
    fs::remove_file(place.path()).unwrap();
    fs::write(place.path(), "precious").unwrap();
    drop(bound);
    assert_eq!(fs::read_to_string(place.path()).unwrap(), "precious");
}
