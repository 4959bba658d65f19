use super::*;

const GIB: u64 = 1 << 30;

#[test]
fn a_model_may_take_what_metal_recommends() {
    for (installed, least, most) in [(16, 10 * GIB, 11 * GIB), (36, 23 * GIB, 24 * GIB), (64, 48 * GIB, 48 * GIB)] {
        assert!((least..=most).contains(&share(installed * GIB)), "{installed} GB");
    }
    assert_eq!(share(0), 0);
}

#[test]
fn this_machine_has_memory() {
    assert!(for_models() > 0);
}

#[cfg(not(target_os = "macos"))]
mod linux {
    use std::fs;

    use super::super::*;

    #[test]
    fn what_is_there_is_told_in_kilobytes() {
        assert_eq!(total("MemTotal:       16384 kB\nMemFree: 1 kB\n"), Some(16 << 20));
        assert_eq!(total("MemTotal: much\n"), None);
        assert_eq!(total(""), None);
    }

    #[test]
    fn the_least_limit_of_the_groups_around_counts() {
        let top = tempfile::tempdir().unwrap();
        let own = top.path().join("user.slice/app.service");
        fs::create_dir_all(&own).unwrap();
        let limit = |groups| limit(top.path(), groups);
        let groups = "0::/user.slice/app.service\n";
        assert_eq!(limit(groups), None);
        fs::write(own.join("memory.max"), "max\n").unwrap();
        fs::write(top.path().join("user.slice/memory.max"), "3000\n").unwrap();
        assert_eq!(limit(groups), Some(3000));
        fs::write(own.join("memory.max"), "2000\n").unwrap();
        assert_eq!(limit(groups), Some(2000));
        assert_eq!(limit("4:memory:/elsewhere\n"), None, "version 1 says nothing here");
        fs::write(top.path().join("memory.max"), "1000\n").unwrap();
        assert_eq!(limit(groups), Some(1000));
        assert_eq!(limit("0::/\n"), Some(1000));
    }
}
