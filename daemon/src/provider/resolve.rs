//! Who is asked: a plain decision over what is known of the providers.

use protocol::{Capability, ErrorData, GenerateRequest, Kind, ModelId, PassedOver, Provider, ProviderId, Tier};

use super::settings::Settings;
use crate::backend::Backend;
use crate::error::invalid;

/// What a request says about who is to answer.
#[derive(Debug, Clone, Copy, Default)]
pub struct Wanted<'a> {
    /// The provider that it names.
    pub provider: Option<&'a ProviderId>,
    /// The model that it names.
    pub model: Option<&'a ModelId>,
    /// The tier that it names.
    pub tier: Option<Tier>,
    /// Whether others may be asked.
    pub fallback: bool,
}

/// One to ask.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// Who.
    pub provider: ProviderId,
    /// For which model; its own choice when `None`.
    pub model: Option<ModelId>,
}

/// Whom to ask, the first first, and who is not even asked.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// Never empty.
    pub candidates: Vec<Candidate>,
    /// Those before the first candidate that cannot be asked, and why.
    pub passed_over: Vec<PassedOver>,
}

impl<'a> Wanted<'a> {
    /// What a request for text wants.
    pub fn of(request: &'a GenerateRequest) -> Self {
        let GenerateRequest { provider, model, tier, fallback, .. } = request;
        Self { provider: provider.as_ref(), model: model.as_ref(), tier: *tier, fallback: *fallback }
    }
}

/// Decides whom to ask. `providers` are in the order in which they are preferred; `meant` is who has the model that is
/// named without a provider, or, where none is named, which of this daemon's engines answers with which model.
pub fn plan(
    wanted: Wanted<'_>,
    meant: Option<Candidate>,
    settings: &Settings,
    providers: &[Provider],
) -> Result<Plan, ErrorData> {
    let named = wanted.provider.is_some() || wanted.model.is_some();
    if wanted.tier.is_some() && named {
        return Err(invalid("`tier` chooses provider and model; leave it out, or `provider` and `model`"));
    }
    let first = match (wanted.provider, wanted.model) {
        (Some(provider), model) => vec![explicit(provider, model, providers)?],
        (None, Some(model)) => vec![meant.clone().unwrap_or_else(|| by_model(model, providers))],
        (None, None) => Vec::new(),
    };
    let others = match wanted.tier {
        Some(tier) => settings.tier(tier, providers)?,
        None => providers.iter().map(|provider| Candidate { provider: provider.id.clone(), model: None }).collect(),
    };
    let others = if first.is_empty() { by_engine(others, meant) } else { others };
    if let [only] = first.as_slice() {
        check(&only.provider, providers).or_else(|error| if wanted.fallback { Ok(()) } else { Err(error) })?;
    }
    let mut plan = Plan { candidates: Vec::new(), passed_over: Vec::new() };
    let asked = first.iter().map(|candidate| candidate.provider.clone()).collect::<Vec<_>>();
    let others = others.into_iter().filter(|other| !asked.contains(&other.provider));
    let takes_others = wanted.fallback || first.is_empty();
    for candidate in first.into_iter().chain(others.filter(|_| takes_others)) {
        match check(&candidate.provider, providers) {
            Ok(()) if plan.candidates.is_empty() || wanted.fallback => plan.candidates.push(candidate),
            Ok(()) => break,
            Err(error) if plan.candidates.is_empty() => {
                plan.passed_over.push(PassedOver { provider: candidate.provider, error });
            }
            Err(_) => {}
        }
    }
    if plan.candidates.is_empty() {
        return Err(nobody(plan.passed_over));
    }
    Ok(plan)
}

fn nobody(passed_over: Vec<PassedOver>) -> ErrorData {
    match <[PassedOver; 1]>::try_from(passed_over) {
        Ok([only]) => only.error,
        Err(all) if all.is_empty() => ErrorData::new(
            Kind::ProviderNotFound,
            "no provider is set for this; `order` and `tiers` of providers.toml say who is",
        ),
        Err(all) => {
            let reasons: Vec<String> = all.iter().map(|PassedOver { error, .. }| error.message.clone()).collect();
            ErrorData::new(all[0].error.kind, format!("no provider can be asked: {}", reasons.join("; ")))
        }
    }
}

fn explicit(id: &ProviderId, model: Option<&ModelId>, providers: &[Provider]) -> Result<Candidate, ErrorData> {
    find(id, providers)?;
    let own = |model: &ModelId| match split(model, providers) {
        Some((provider, rest)) if provider == *id => rest,
        _ => model.clone(),
    };
    Ok(Candidate { provider: id.clone(), model: model.map(own) })
}

fn by_model(model: &ModelId, providers: &[Provider]) -> Candidate {
    match split(model, providers) {
        Some((provider, model)) => Candidate { provider, model: Some(model) },
        None => Candidate { provider: protocol::providers::MLX.into(), model: Some(model.clone()) },
    }
}

/// Where an engine is to be asked for whatever model it has, the one that is meant is asked first, for its model.
fn by_engine(mut others: Vec<Candidate>, meant: Option<Candidate>) -> Vec<Candidate> {
    let is_open = |other: &Candidate| other.model.is_none() && other.provider.is_engine();
    if let (Some(meant), Some(place)) = (meant, others.iter().position(is_open)) {
        others.retain(|other| !is_open(other) || other.provider != meant.provider);
        others.insert(place, meant);
    }
    others
}

/// The engine for a model that several can run: the preferred one that is here, else the preferred one of those that
/// could be here.
pub fn choose(
    able: &[Backend],
    preferred: [Backend; 2],
    needed: Capability,
    is_here: impl Fn(Backend) -> bool,
) -> Backend {
    let mut fit = preferred.into_iter().filter(|backend| able.contains(backend) && backend.runs(needed));
    let first = fit.clone().next();
    fit.find(|backend| is_here(*backend)).or(first).unwrap_or(Backend::Mlx)
}

/// `provider/model` taken apart, if there is such a provider.
pub fn split(model: &ModelId, providers: &[Provider]) -> Option<(ProviderId, ModelId)> {
    let (id, rest) = model.0.split_once('/')?;
    let provider = providers.iter().find(|provider| provider.id.0 == id)?;
    (!rest.is_empty()).then(|| (provider.id.clone(), ModelId(rest.into())))
}

/// The provider of that id.
pub fn find<'a>(id: &ProviderId, providers: &'a [Provider]) -> Result<&'a Provider, ErrorData> {
    providers.iter().find(|provider| provider.id == *id).ok_or_else(|| {
        let names: Vec<&str> = providers.iter().map(|provider| provider.id.0.as_str()).collect();
        let words = format!("no provider {:?} is known; there are: {}", id.0, names.join(", "));
        ErrorData::new(Kind::ProviderNotFound, words)
    })
}

/// That a provider can be asked. One that did not answer when it was last asked may answer now.
pub fn check(id: &ProviderId, providers: &[Provider]) -> Result<(), ErrorData> {
    use protocol::Unavailable::{NotAllowed, NotConfigured, NotSupportedHere, Unreachable};
    let availability = &find(id, providers)?.availability;
    let kind = match availability.reason {
        None | Some(Unreachable) => return Ok(()),
        Some(NotConfigured) => Kind::NotConfigured,
        Some(NotSupportedHere) => Kind::NotSupported,
        Some(NotAllowed) => Kind::NotAllowed,
    };
    Err(ErrorData::new(kind, availability.message.clone().unwrap_or_default()))
}

#[cfg(test)]
#[path = "resolve_tests.rs"]
mod tests;
