use std::fs;
use std::os::unix::fs::PermissionsExt;

use super::*;

fn request(text: &str) -> ConfigureProvider {
    serde_json::from_str(text).expect("a request")
}

#[test]
fn the_users_words_stay_where_they_are() {
    let home = tempfile::tempdir().expect("a folder");
    let path = home.path().join("providers.toml");
    let before =
        "# mine\norder = [\"mlx\"] # only\n\n[provider.cluster] # the big one\nbase_url = \"http://a/v1\" # old\n";
    fs::write(&path, before).expect("it is written");
    let change = r#"{"provider": "cluster", "base_url": "http://b/v1", "headers": {"X-Team": "a"}}"#;
    let settings = configure(&path, &request(change)).expect("it is changed");
    assert_eq!(settings.servers[&"cluster".into()].base_url, "http://b/v1");
    configure(&path, &request(r#"{"provider": "other", "base_url": "http://c"}"#)).expect("it is added");
    insta::assert_snapshot!(fs::read_to_string(&path).expect("it is there"));
    assert_eq!(fs::metadata(&path).expect("it is there").permissions().mode() & 0o777, 0o600);
    assert!(remove(&path, &"other".into()).expect("it is removed"));
    assert!(!remove(&path, &"other".into()).expect("nothing is there to remove"));
}

#[test]
fn what_would_be_wrong_is_not_written() {
    let home = tempfile::tempdir().expect("a folder");
    let path = home.path().join("providers.toml");
    for text in [
        r#"{"provider": "new"}"#,
        r#"{"provider": "new", "base_url": "gpu1"}"#,
        r#"{"provider": "No", "base_url": "http://a"}"#,
        r#"{"provider": "../up", "base_url": "http://a"}"#,
    ] {
        let error = configure(&path, &request(text)).expect_err("this is wrong");
        assert_eq!(error.kind, Kind::InvalidParams, "{text}");
    }
    assert!(!path.exists());
    fs::write(&path, "order = 3").expect("it is written");
    let error = configure(&path, &request(r#"{"provider": "new", "base_url": "http://a"}"#)).expect_err("it is broken");
    assert_eq!(error.kind, Kind::ConfigurationError);
    assert_eq!(fs::read_to_string(&path).expect("it is there"), "order = 3");
}

#[test]
fn what_comes_with_the_daemon_cannot_be_removed() {
    let home = tempfile::tempdir().expect("a folder");
    for id in ["gemini", "mlx"] {
        let error = remove(&home.path().join("providers.toml"), &id.into()).expect_err("it stays");
        assert_eq!(error.kind, Kind::InvalidParams);
    }
}
