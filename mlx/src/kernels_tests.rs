//! Which folder it is.

use super::*;

#[test]
fn kernels_lie_among_the_users_caches_by_version() {
    let found = |cache: Option<&str>, home: Option<&str>| {
        let variable = |name: &str| if name == "HOME" { home } else { cache }.map(PathBuf::from);
        folder("1.2.3", variable).map(|path| path.display().to_string())
    };
    let expected = |root: &str| Some(format!("{root}/talkie/mlx-kernels/1.2.3"));
    assert_eq!(found(None, Some("/home/me")), expected("/home/me/.cache"));
    assert_eq!(found(Some("/caches"), Some("/home/me")), expected("/caches"));
    // One that is not absolute is to be ignored, says the XDG Base Directory Specification.
    assert_eq!(found(Some("caches"), Some("/home/me")), expected("/home/me/.cache"));
    assert_eq!(found(None, Some("here")), None);
    assert_eq!(found(None, None), None);
}

#[test]
fn what_is_asked_for_is_left_as_it_is() {
    let set = |present: &[&str]| {
        let variable = |name: &str| (name == "HOME" || present.contains(&name)).then(|| OsString::from("/home/me"));
        settings("1.2.3", variable).into_iter().map(|(name, _)| name).collect::<Vec<_>>()
    };
    assert_eq!(set(&[OPERATIONS]), [FOLDER, COUNTS]);
    assert_eq!(set(&[FOLDER, OPERATIONS]), [COUNTS]);
    assert_eq!(set(&[COUNTS, OPERATIONS]), [FOLDER]);
    // Metal decides it for each chip.
    assert_eq!(set(&[FOLDER, COUNTS]), if cfg!(target_os = "macos") { vec![] } else { vec![OPERATIONS] });
    // Where there is no home, it keeps kernels where it would.
    assert!(settings("1.2.3", |_| None).contains(&(COUNTS, OsString::from("0"))));
    assert!(settings("1.2.3", |_| None).iter().all(|(name, _)| *name != FOLDER));
}

#[test]
fn the_version_is_that_of_the_library() {
    let version = version();
    assert!(version.split('.').count() >= 3 && version.starts_with(|first: char| first.is_ascii_digit()), "{version}");
}
