use super::*;

#[test]
fn turns_are_told_from_orders() {
    for text in ["hello", "/etc/passwd is what?", "/ 2", "1/2", "a /help"] {
        assert_eq!(parse(text).expect("no order"), None, "{text}");
    }
    let order = |text: &str| parse(text).expect("an order");
    assert_eq!(order(" /model  org/x "), Some(Order::Model(Some("org/x".into()))));
    assert_eq!(order("/model"), Some(Order::Model(None)));
    assert_eq!(order("/system be brief"), Some(Order::System(Some("be brief".into()))));
    assert_eq!(order("/system \"\""), Some(Order::System(Some(String::new()))));
    assert_eq!(order("/save my file.json"), Some(Order::Save("my file.json".into())));
    assert_eq!(order("/load my\\ file.json"), Some(Order::Load("my file.json".into())));
    assert_eq!(order("/load \"my file.json\""), Some(Order::Load("my file.json".into())));
    let home = std::env::home_dir().expect("a home");
    assert_eq!(order("/save ~/talk.json"), Some(Order::Save(home.join("talk.json"))));
    assert_eq!(order("/save ~talk.json"), Some(Order::Save("~talk.json".into())));
    assert_eq!(order("/quit"), Some(Order::Exit));
    assert_eq!(order("/"), Some(Order::Help));
}

#[test]
fn every_word_of_the_table_is_an_order() {
    for (word, argument, _) in TABLE {
        let text = if argument == "FILE" { format!("{word} x") } else { word.to_owned() };
        assert!(parse(&text).expect("known").is_some(), "{word}");
    }
}

#[track_caller]
fn refused(text: &str, expected: &str) {
    let Err(Failure::Usage { message, .. }) = parse(text) else { panic!("{text} was taken") };
    assert_eq!(message, expected);
}

#[test]
fn what_is_mistyped_is_refused_with_the_nearest_word() {
    refused("/modle org/x", "there is no /modle; did you mean /model?");
    refused("/reg", "there is no /reg; did you mean /regen?");
    refused("/xyzzy", "there is no /xyzzy");
    refused("/save", "/save needs the name of a file");
    refused("/clear all", "/clear takes nothing behind it");
}

#[test]
fn help_names_them_all() {
    insta::assert_snapshot!(help());
}
