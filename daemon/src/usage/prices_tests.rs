use super::*;

fn count(day: &str, provider: &str, model: &str, app: &str) -> Count {
    Count {
        day: day.into(),
        provider: provider.into(),
        model: ModelId(model.into()),
        app: app.into(),
        requests: 1,
        prompt_tokens: 1_000_000,
        completion_tokens: 100_000,
    }
}

#[test]
fn a_price_is_found_by_the_longest_begin_that_comes_first() {
    let prices = Prices::parse("").expect("what comes with the daemon is right");
    let cost = |provider: &str, model: &str| prices.cost(&count("2026-01-01", provider, model, "a"));
    assert_eq!(cost("mlx", "org/name"), Some(0.0));
    assert_eq!(cost("gemini", "gemini-2.5-flash"), Some(0.30 + 0.25));
    assert_eq!(cost("gemini", "gemini-2.5-flash-lite-001"), Some(0.10 + 0.04));
    assert_eq!(cost("gemini", "gemini-9"), None);
    assert_eq!(cost("cluster", "gemini-2.5-flash"), None);
}

#[test]
fn the_users_prices_go_before() {
    let own = "[[price]]\nprovider = \"gemini\"\nmodel = \"gemini-2.5-flash\"\nprompt = 1\ncompletion = 0\n";
    let prices = Prices::parse(own).expect("it is right");
    assert_eq!(prices.cost(&count("2026-01-01", "gemini", "gemini-2.5-flash", "a")), Some(1.0));
    for wrong in
        ["[[price]]\nprovider = \"a\"", "[[prize]]", "[[price]]\nprovider=\"a\"\nmodel=\"m\"\nprompt=-1\ncompletion=0"]
    {
        assert!(Prices::parse(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn rows_are_put_together_and_what_has_no_price_is_told() {
    let prices = Prices::parse("").expect("it is right");
    let counts = vec![
        count("2026-01-01", "gemini", "gemini-2.5-pro", "a"),
        count("2026-01-02", "gemini", "gemini-2.5-pro", "b"),
        count("2026-01-02", "cluster", "x", "b"),
    ];
    let report = prices.report("2026-01-01".into(), counts.clone(), &[UsageBy::Provider]);
    assert_eq!((report.cost_usd, report.unpriced_tokens), (4.5, 1_100_000));
    let rows: Vec<(String, u64, Option<f64>)> =
        report.rows.into_iter().map(|row| (row.provider.expect("asked for").0, row.requests, row.cost_usd)).collect();
    assert_eq!(rows, [("gemini".into(), 2, Some(4.5)), ("cluster".into(), 1, None)]);
    let all = prices.report("2026-01-01".into(), counts.clone(), &[]);
    assert_eq!((all.rows.len(), all.rows[0].cost_usd), (1, None));
    let days = prices.report("2026-01-01".into(), counts, &[UsageBy::Day]);
    let days: Vec<Option<String>> = days.rows.into_iter().map(|row| row.day).collect();
    assert_eq!(days, [Some("2026-01-02".into()), Some("2026-01-01".into())]);
}
