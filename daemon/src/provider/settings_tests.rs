use super::*;

fn refused(text: &str) -> String {
    Settings::parse(text).expect_err("this is wrong")
}

#[test]
fn what_comes_with_the_daemon_is_right() {
    let settings = Settings::parse("").expect("it is right");
    assert_eq!(settings.servers.keys().map(|id| id.0.as_str()).collect::<Vec<_>>(), ["gemini"]);
    assert_eq!(settings.tiers.keys().copied().collect::<Vec<_>>(), [Tier::Budget, Tier::Balanced, Tier::Capable]);
    assert!(!settings.local_only);
}

#[test]
fn the_users_file_changes_field_by_field() {
    let settings = Settings::parse(
        r#"
        local_only = true
        order = ["cluster"]
        [tiers]
        capable = ["cluster"]
        [provider.gemini]
        default_model = "other"
        [provider.cluster]
        base_url = "http://gpu1:8000/some/v1/"
        headers = { X-Team = "a" }
        "#,
    )
    .expect("these are right");
    assert!(settings.local_only);
    assert_eq!(settings.order, ["cluster".into()]);
    assert_eq!(settings.tiers[&Tier::Capable], ["cluster"]);
    assert_eq!(settings.tiers[&Tier::Budget].len(), 3);
    let gemini = &settings.servers[&ProviderId::from("gemini")];
    assert_eq!(
        (gemini.kind, gemini.default_model.as_ref().map(|id| id.0.as_str())),
        (ProviderKind::Gemini, Some("other"))
    );
    let cluster = &settings.servers[&ProviderId::from("cluster")];
    assert_eq!((cluster.kind, cluster.name.as_str()), (ProviderKind::Openai, "cluster"));
}

#[test]
fn the_users_order_decides_between_engines() {
    use Backend::{Candle, Mlx};
    let engines = |text: &str| Settings::parse(text).expect("these are right").engines();
    assert_eq!(engines(""), None);
    assert_eq!(engines(r#"order = ["gemini"]"#), None);
    assert_eq!(engines(r#"order = ["gemini", "candle", "mlx"]"#), Some([Candle, Mlx]));
    assert_eq!(engines(r#"order = ["mlx"]"#), Some([Mlx, Candle]));
}

#[test]
fn what_is_wrong_is_named_without_secrets() {
    let cases = [
        ("local_onli = true", "local_onli"),
        ("[provider.Big]\nbase_url = \"http://h\"", "\"Big\" cannot name a server"),
        ("[provider.mlx]\nbase_url = \"http://h\"", "and neither mlx nor candle"),
        ("[provider.a]", "provider.a has no base_url"),
        ("[provider.a]\nbase_url = \"gpu1:8000\"", "neither http:// nor https://"),
        ("[provider.a]\nbase_url = \"http://\"", "is no address"),
        ("[provider.a]\nbase_url = \"http://h\"\nkind = \"mlx\"", "a server speaks openai or gemini"),
        ("[provider.a]\nbase_url = \"http://h\"\nheaders = { \"a b\" = \"x\" }", "no name of a header"),
        ("[provider.a]\nbase_url = \"http://h\"\nheaders = { a = \"secret\\n\" }", "the value of header a"),
        ("[provider.a]\nbase_url = \"http://me:secret@h\"", "has a password or a query"),
        ("[provider.a]\nbase_url = \"http://h/?key=secret\"", "has a password or a query"),
    ];
    for (text, expected) in cases {
        let why = refused(text);
        assert!(why.contains(expected), "{text}: {why}");
        assert!(!why.contains("secret"), "{text}: {why}");
    }
}

#[test]
fn only_loopback_addresses_are_of_this_machine() {
    for address in ["http://127.0.0.1:8080/v1", "http://localhost", "http://[::1]:1/", "https://127.9.9.9"] {
        assert!(is_loopback(address), "{address}");
    }
    for address in
        ["http://127.0.0.1.example.org", "http://localhost.example.org", "http://10.0.0.1", "http://[::2]", "x"]
    {
        assert!(!is_loopback(address), "{address}");
    }
}
