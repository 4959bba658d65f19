use super::*;

fn hidden(secrets: &[&str]) -> Hidden {
    let secrets: Vec<SecretString> = secrets.iter().map(|secret| SecretString::from(*secret)).collect();
    Hidden::new(&secrets)
}

#[tokio::test]
async fn a_secret_is_found_by_its_name_or_it_is_told_how_to_keep_it() {
    let home = tempfile::tempdir().expect("a folder");
    let keys = Keys::new(home.path(), false);
    keys.set("test-hook", &SecretString::from("hidden-value")).expect("it is kept");
    let secrets = Secrets::new(keys);
    let found = secrets.find(&"test-hook".into()).await.expect("it is there");
    assert_eq!(found.expose_secret(), "hidden-value");
    assert!(!format!("{secrets:?} {found:?}").contains("hidden-value"));
    let Err(Failure::Final(words)) = secrets.find(&"test-none".into()).await else { panic!("there is none") };
    assert!(words.contains("talkiectl secret set test-none") && words.contains("TALKIE_KEY_TEST_NONE"), "{words}");
    let Err(Failure::Final(words)) = secrets.find(&"../config.toml".into()).await else { panic!("it is no name") };
    assert!(words.contains("cannot name a secret"), "{words}");
}

#[test]
fn secrets_are_taken_out_of_texts_the_longest_first() {
    let hidden = hidden(&["abc", "abcdef", ""]);
    assert_eq!(hidden.hide("abcdef abc abcd, fabcf"), "… … …d, f…f");
    assert_eq!(hidden.hide("nothing"), "nothing");
    assert!(!format!("{hidden:?}").contains("abc"));
}

#[test]
fn the_end_of_a_secret_is_taken_out_where_its_beginning_was_cut_off() {
    let hidden = hidden(&["abcdef", "xyz"]);
    for (text, left) in [("def!", "!"), ("f abcdef", " …"), ("z", ""), ("abcdef", "…"), ("abc", "abc"), ("", "")] {
        assert_eq!(hidden.hide_after_cut(text), left, "{text}");
    }
}
