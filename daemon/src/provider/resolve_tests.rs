use protocol::{Availability, KeyStatus, ModelType, ProviderCapabilities, ProviderKind, Unavailable};

use super::*;

fn provider(id: &str, reason: Option<Unavailable>) -> Provider {
    let message = reason.map(|reason| format!("{id} is {reason:?}"));
    Provider {
        id: id.into(),
        name: id.into(),
        kind: if id == "mlx" { ProviderKind::Mlx } else { ProviderKind::Openai },
        place: ModelType::Local,
        availability: Availability { is_available: reason.is_none(), reason, message },
        capabilities: ProviderCapabilities::default(),
        key: KeyStatus::NotNeeded,
        base_url: None,
        default_model: None,
        models: None,
    }
}

/// This machine, a cloud without a key, and a server.
fn three() -> Vec<Provider> {
    vec![provider("mlx", None), provider("gemini", Some(Unavailable::NotConfigured)), provider("cluster", None)]
}

fn settings() -> Settings {
    Settings::parse(
        r#"
        [tiers]
        capable = ["gemini/best", "cluster/big", "mlx"]
        budget = ["nobody/x"]
        [provider.cluster]
        base_url = "http://127.0.0.1:1/v1"
        "#,
    )
    .expect("these are right")
}

/// Whom a request means, as `provider/model` with `-` for no model, and who is passed over.
fn planned(request: &str, owner: Option<&str>, providers: &[Provider]) -> Result<(Vec<String>, Vec<String>), String> {
    let mut request: serde_json::Value = serde_json::from_str(request).expect("JSON");
    request["prompt"] = "x".into();
    let request: GenerateRequest = serde_json::from_value(request).expect("a request");
    let model = request.model.clone().unwrap_or_else(|| ModelId("org/only".into()));
    let meant = owner.map(|owner| Candidate { provider: owner.into(), model: Some(model) });
    let plan = plan(Wanted::of(&request), meant, &settings(), providers)
        .map_err(|error| format!("{:?}: {}", error.kind, error.message))?;
    let name =
        |Candidate { provider, model }: Candidate| format!("{provider} {}", model.map_or("-".into(), |model| model.0));
    let passed_over = plan.passed_over.into_iter().map(|passed| passed.provider.0).collect();
    Ok((plan.candidates.into_iter().map(name).collect(), passed_over))
}

fn candidates(request: &str, owner: Option<&str>) -> Vec<String> {
    planned(request, owner, &three()).expect("a plan").0
}

#[test]
fn a_request_that_names_nobody_means_the_first_that_can_be_asked() {
    assert_eq!(candidates("{}", None), ["mlx -"]);
    let without = [provider("mlx", Some(Unavailable::NotSupportedHere)), three().remove(1), three().remove(2)];
    let (candidates, passed_over) = planned("{}", None, &without).expect("a plan");
    assert_eq!((candidates, passed_over), (vec!["cluster -".into()], vec!["mlx".into(), "gemini".into()]));
}

#[test]
fn a_model_is_asked_of_who_has_it() {
    assert_eq!(candidates(r#"{"model": "org/name"}"#, Some("mlx")), ["mlx org/name"]);
    assert_eq!(candidates(r#"{"model": "qwen"}"#, Some("cluster")), ["cluster qwen"]);
    assert_eq!(candidates(r#"{"model": "cluster/org/name"}"#, None), ["cluster org/name"]);
    // Nobody has it: the library says so best.
    assert_eq!(candidates(r#"{"model": "org/name"}"#, None), ["mlx org/name"]);
}

#[test]
fn an_engine_that_may_choose_its_model_is_the_one_for_the_obvious_model() {
    let gemini = provider("gemini", Some(Unavailable::NotConfigured));
    let here = [provider("mlx", None), provider("candle", None), gemini, provider("cluster", None)];
    let planned = |request, engine| planned(request, Some(engine), &here).expect("a plan").0;
    assert_eq!(planned("{}", "candle"), ["candle org/only"]);
    assert_eq!(planned(r#"{"fallback": true}"#, "candle"), ["candle org/only", "mlx -", "cluster -"]);
    assert_eq!(planned(r#"{"fallback": true}"#, "mlx"), ["mlx org/only", "candle -", "cluster -"]);
    assert_eq!(planned(r#"{"tier": "capable"}"#, "candle"), ["cluster big"]);
    assert_eq!(
        planned(r#"{"tier": "capable", "fallback": true}"#, "candle"),
        ["cluster big", "candle org/only", "mlx -"]
    );
    assert_eq!(planned(r#"{"provider": "mlx"}"#, "candle"), ["mlx -"]);
}

#[test]
fn of_the_engines_that_can_the_preferred_one_that_is_here_is_chosen() {
    use Backend::{Candle, Mlx};
    use Capability::{Embed, Generate};
    let all = |_: Backend| true;
    assert_eq!(choose(&[Mlx, Candle], [Candle, Mlx], Generate, all), Candle);
    assert_eq!(choose(&[Mlx, Candle], [Mlx, Candle], Generate, all), Mlx);
    assert_eq!(choose(&[Mlx], [Candle, Mlx], Generate, all), Mlx);
    assert_eq!(choose(&[Mlx, Candle], [Candle, Mlx], Embed, all), Mlx);
    assert_eq!(choose(&[Mlx, Candle], [Mlx, Candle], Generate, |backend| backend == Candle), Candle);
    // Whoever could run it says why it cannot.
    assert_eq!(choose(&[Candle], [Mlx, Candle], Generate, |_| false), Candle);
}

#[test]
fn a_provider_that_is_named_is_the_only_one_asked() {
    assert_eq!(candidates(r#"{"provider": "cluster"}"#, None), ["cluster -"]);
    assert_eq!(candidates(r#"{"provider": "cluster", "model": "org/name"}"#, None), ["cluster org/name"]);
    assert_eq!(candidates(r#"{"provider": "cluster", "model": "cluster/name"}"#, None), ["cluster name"]);
    let refused = planned(r#"{"provider": "gemini"}"#, None, &three());
    assert_eq!(refused, Err("NotConfigured: gemini is NotConfigured".into()));
    let unknown = planned(r#"{"provider": "gemni"}"#, None, &three());
    assert_eq!(
        unknown,
        Err(r#"ProviderNotFound: no provider "gemni" is known; there are: mlx, gemini, cluster"#.into())
    );
}

#[test]
fn others_follow_with_fallback_alone() {
    assert_eq!(candidates(r#"{"fallback": true}"#, None), ["mlx -", "cluster -"]);
    assert_eq!(candidates(r#"{"model": "qwen", "fallback": true}"#, Some("cluster")), ["cluster qwen", "mlx -"]);
    let (candidates, passed_over) =
        planned(r#"{"provider": "gemini", "fallback": true}"#, None, &three()).expect("a plan");
    assert_eq!((candidates, passed_over), (vec!["mlx -".into(), "cluster -".into()], vec!["gemini".into()]));
}

#[test]
fn a_tier_means_what_the_settings_say() {
    let (candidates, passed_over) = planned(r#"{"tier": "capable"}"#, None, &three()).expect("a plan");
    assert_eq!((candidates, passed_over), (vec!["cluster big".into()], vec!["gemini".into()]));
    let both = planned(r#"{"tier": "capable", "model": "x"}"#, None, &three());
    assert!(both.is_err_and(|why| why.starts_with("InvalidParams")));
    let unknown = planned(r#"{"tier": "budget"}"#, None, &three());
    assert_eq!(
        unknown,
        Err(r#"ConfigurationError: providers.toml: tier Budget names "nobody/x", which begins with no provider's id"#
            .into())
    );
}

#[test]
fn what_is_not_allowed_is_not_asked_by_any_name() {
    let locked = [provider("mlx", None), provider("gemini", Some(Unavailable::NotAllowed))];
    for request in [r#"{"provider": "gemini"}"#, r#"{"model": "gemini/x"}"#] {
        assert_eq!(planned(request, None, &locked), Err("NotAllowed: gemini is NotAllowed".into()));
    }
    assert_eq!(planned(r#"{"fallback": true}"#, None, &locked).expect("a plan").0, ["mlx -"]);
}

#[test]
fn one_that_did_not_answer_is_asked_again() {
    let down = [provider("cluster", Some(Unavailable::Unreachable))];
    assert_eq!(planned("{}", None, &down).expect("a plan").0, ["cluster -"]);
}
