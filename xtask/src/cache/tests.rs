use super::*;

fn cache(name: &str) -> Cache {
    let home = env::temp_dir().join(format!("xtask-cache-{name}-{}", std::process::id()));
    fs::create_dir_all(&home).unwrap();
    Cache { home }
}

#[test]
fn the_home_is_the_first_variable_that_is_set() {
    let of = |set: &[(&str, &str)]| {
        home_of(|name| {
            set.iter()
                .find(|(key, _)| *key == name)
                .map(|(_, value)| PathBuf::from(value))
        })
    };
    assert_eq!(
        of(&[("TALKIE_MLX_HOME", "/a"), ("HOME", "/h")]).unwrap(),
        Path::new("/a")
    );
    let default = if cfg!(target_os = "macos") {
        "/h/Library/Caches/talkied/mlx"
    } else {
        "/h/.cache/talkied/mlx"
    };
    assert_eq!(of(&[("HOME", "/h")]).unwrap(), Path::new(default));
    assert!(of(&[]).is_err());
}

#[test]
fn an_entry_that_failed_is_made_anew() {
    let cache = cache("failed");
    let failed = cache.get_or_make("entry", |folder| {
        fs::write(folder.join("half"), "").unwrap();
        Err(Error::Unexpected("interrupted".into()))
    });
    assert!(failed.is_err());
    assert!(cache.find("entry").is_none());
    let folder = cache.get_or_make("entry", |folder| {
        assert!(!folder.join("half").exists());
        Ok(())
    });
    assert_eq!(cache.find("entry"), folder.ok());
    fs::remove_dir_all(&cache.home).unwrap();
}

#[test]
fn an_entry_is_made_once_by_many() {
    let cache = cache("once");
    let made = std::sync::atomic::AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                cache.get_or_make("entry", |_| {
                    made.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
                    Ok(())
                })
            });
        }
    });
    assert_eq!(made.into_inner(), 1);
    fs::remove_dir_all(&cache.home).unwrap();
}
