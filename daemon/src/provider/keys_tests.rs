use std::fs;

use super::*;

fn keys(home: &Path, environment: fn(&str) -> Option<String>) -> Keys {
    Keys { environment, ..Keys::new(home, false) }
}

fn none(_: &str) -> Option<String> {
    None
}

const ID: &str = "gemini";

fn id() -> ProviderId {
    ID.into()
}

fn shown(found: Result<Option<Found>, ErrorData>) -> Option<(String, KeyStatus)> {
    found.expect("no error").map(|found| (found.key.expose_secret().to_owned(), found.from))
}

#[test]
fn a_key_is_kept_in_a_file_of_its_users_own() {
    let home = tempfile::tempdir().expect("a folder");
    let keys = keys(home.path(), none);
    assert_eq!(shown(keys.find(&id(), ProviderKind::Gemini)), None);
    for key in ["first", "second"] {
        keys.set(ID, &SecretString::from(format!("{key}\n"))).expect("it is kept");
        assert_eq!(shown(keys.find(&id(), ProviderKind::Gemini)), Some((key.into(), KeyStatus::File)));
    }
    let mode = |path: &Path| fs::metadata(path).expect("it is there").permissions().mode() & 0o777;
    assert_eq!((mode(&keys.path(ID)), mode(&keys.folder)), (0o600, 0o700));
    assert!(keys.remove(ID).expect("it is removed"));
    assert!(!keys.remove(ID).expect("nothing is there to remove"));
    assert_eq!(shown(keys.find(&id(), ProviderKind::Gemini)), None);
}

#[test]
fn a_file_that_others_can_read_is_refused() {
    let home = tempfile::tempdir().expect("a folder");
    let keys = keys(home.path(), none);
    keys.set(ID, &SecretString::from("hidden-key")).expect("it is kept");
    fs::set_permissions(keys.path(ID), fs::Permissions::from_mode(0o640)).expect("it is changed");
    let error = keys.find(&id(), ProviderKind::Gemini).expect_err("others can read it");
    assert_eq!(error.kind, Kind::NotConfigured);
    assert!(error.message.contains("chmod 600") && !error.message.contains("hidden-key"), "{}", error.message);
}

#[test]
fn the_environment_goes_first_and_its_own_variable_before_others() {
    let home = tempfile::tempdir().expect("a folder");
    let google = |name: &str| (name == "GOOGLE_API_KEY").then(|| "of-google".to_owned());
    keys(home.path(), none).set(ID, &SecretString::from("of-file")).expect("it is kept");
    let found = shown(keys(home.path(), google).find(&id(), ProviderKind::Gemini));
    assert_eq!(found, Some(("of-google".into(), KeyStatus::Environment)));
    assert_eq!(variables(&"my-server".into(), ProviderKind::Openai), ["TALKIE_KEY_MY_SERVER"]);
    let own = |name: &str| name.contains("KEY").then(|| name.to_owned());
    let found = shown(keys(home.path(), own).find(&id(), ProviderKind::Gemini));
    assert_eq!(found.map(|(key, _)| key), Some("TALKIE_KEY_GEMINI".into()));
}

#[test]
fn what_is_no_key_is_told_without_it() {
    let home = tempfile::tempdir().expect("a folder");
    for key in ["two words", " ", "ü-key", &"k".repeat(5000)] {
        let why = parse(key).expect_err("this is no key");
        assert!(why.starts_with("is no key"), "{why}");
        keys(home.path(), none).set(ID, &SecretString::from(key)).expect("it is written as it is");
        let error = keys(home.path(), none).find(&id(), ProviderKind::Gemini).expect_err("this is no key");
        assert!(key == " " || !error.message.contains(key), "{}", error.message);
    }
    let debug = format!("{:?}", Found { key: SecretString::from("hidden-key"), from: KeyStatus::File });
    assert!(!debug.contains("hidden-key"), "{debug}");
}

#[test]
fn a_secret_is_found_by_its_name_like_a_key() {
    let home = tempfile::tempdir().expect("a folder");
    let (name, keys) = (SecretName::from("my-hook"), keys(home.path(), none));
    assert_eq!(shown(keys.secret(&name)), None);
    keys.set("my-hook", &SecretString::from("of-file")).expect("it is kept");
    assert_eq!(shown(keys.secret(&name)), Some(("of-file".into(), KeyStatus::File)));
    let own = |name: &str| (name == "TALKIE_KEY_MY_HOOK").then(|| "of-environment".to_owned());
    let keys = Keys { environment: own, ..keys };
    assert_eq!(shown(keys.secret(&name)), Some(("of-environment".into(), KeyStatus::Environment)));
    keys.set(ID, &SecretString::from("key")).expect("it is kept");
    assert_eq!(shown(keys.secret(&ID.into())), Some(("key".into(), KeyStatus::File)), "the key of a server is one too");
    for name in ["", "../config.toml", "Capital", "1st", "a b", &"n".repeat(65)] {
        let error = keys.secret(&name.into()).expect_err("this is no name");
        assert!(error.message.contains("cannot name a secret"), "{}", error.message);
    }
}

#[test]
fn secrets_are_listed_once_each_without_themselves() {
    let home = tempfile::tempdir().expect("a folder");
    let keys = keys(home.path(), none);
    assert_eq!(keys.secrets([]), []);
    for name in ["my-hook", "other", ".left.new"] {
        keys.set(name, &SecretString::from("hidden-key")).expect("it is kept");
    }
    let variables = ["TALKIE_KEY_MY_HOOK", "TALKIE_KEY_", "GEMINI_API_KEY", "TALKIE_KEY_NEW"].map(OsString::from);
    let listed = keys.secrets(variables).into_iter().map(|secret| (secret.name.0, secret.from));
    let expected = [("my_hook", KeyStatus::Environment), ("new", KeyStatus::Environment), ("other", KeyStatus::File)];
    assert_eq!(listed.collect::<Vec<_>>(), expected.map(|(name, from)| (name.to_owned(), from)));
}
