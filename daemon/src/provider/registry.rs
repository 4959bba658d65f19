//! All providers: who they are, whom a request means, and what is changed of them.

mod engines;
mod secrets;
mod signs;
mod vectors;

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use protocol::{
    Capability, ConfigureProvider, ErrorData, GenerateRequest, GenerateResult, Kind, ModelId, Provider as Described,
    ProviderId, ProviderList, ProviderTest, RequestId, TokenCount,
};

use signs::{Signs, signs};

use super::keys::{Keys, parse};
use super::resolve::{Candidate, Plan, Wanted, check, find, plan, split};
use super::server::Server;
use super::settings::Settings;
use super::whole::whole;
use super::{Answer, Provider, edit};
use crate::app::App;
use crate::backend::{Backend, Programs};
use crate::error::{internal, invalid};
use crate::express::express;
use crate::generation::{Asked, Generation, check_size};
use crate::requests::Requests;
use crate::stream::ms;
use crate::usage::Usage;

/// How long a request that names a model alone waits for servers to say whether they have it.
const LISTING: Duration = Duration::from_secs(5);

/// When a keychain that did not answer is asked again.
const KEYCHAIN: Duration = Duration::from_mins(1);

/// All providers.
#[derive(Debug)]
pub struct Registry {
    generation: Arc<Generation>,
    requests: Arc<Requests>,
    usage: Usage,
    engines: Vec<Arc<dyn Provider>>,
    programs: Arc<Programs>,
    home: PathBuf,
    /// Keys may be kept in the system's keychain.
    keychain: bool,
    /// Nothing is sent to other machines, whatever the file says. What was read under another policy is read again.
    local_only: AtomicBool,
    /// As the files said last. Held to read or replace it alone.
    loaded: Mutex<Option<Arc<Loaded>>>,
}

/// What the daemon was started with.
#[derive(Debug, Clone, Copy)]
pub struct Policy {
    /// Nothing is sent to other machines, whatever the file says.
    pub local_only: bool,
    /// Keys may be kept in the system's keychain.
    pub keychain: bool,
}

/// Providers as the files say.
#[derive(Debug)]
struct Loaded {
    /// What the files looked like.
    signs: Signs,
    /// The policy of then.
    local_only: bool,
    /// Until when this holds, where a keychain did not answer.
    until: Option<Instant>,
    settings: Settings,
    /// In the order in which they are preferred.
    providers: Vec<Arc<dyn Provider>>,
    /// What is wrong with the file. Then nobody but the engine is asked: the file may say that nobody else may be.
    broken: Option<ErrorData>,
}

impl Registry {
    /// Providers of the `providers.toml` in `home`, and this daemon's `engines`.
    pub fn new(
        generation: Arc<Generation>,
        requests: Arc<Requests>,
        usage: Usage,
        engines: Vec<Arc<dyn Provider>>,
        programs: Arc<Programs>,
        home: PathBuf,
        policy: Policy,
    ) -> Self {
        let Policy { local_only, keychain } = policy;
        let (local_only, loaded) = (AtomicBool::new(local_only), Mutex::new(None));
        Self { generation, requests, usage, engines, programs, home, keychain, local_only, loaded }
    }

    /// Changes whether requests that begin from now on may leave this machine.
    pub fn set_local_only(&self, local_only: bool) {
        self.local_only.store(local_only, Ordering::SeqCst);
    }

    /// Checks a request and asks for the answer. Dropping the answer cancels it.
    pub async fn start(&self, request: GenerateRequest, app: App) -> Result<Answer, ErrorData> {
        let name = app.name.clone();
        let planned = self.planned(request, app).await.inspect_err(|error| self.requests.refuse(None, error));
        let (asked, loaded, plan) = planned?;
        let provider = |candidate: &Candidate| loaded.provider(&candidate.provider);
        let answer = Answer::start(self.requests.number(), asked, plan, provider).await?;
        Ok(answer.counted(self.usage.clone(), name))
    }

    async fn planned(&self, request: GenerateRequest, app: App) -> Result<(Asked, Arc<Loaded>, Plan), ErrorData> {
        let asked = Asked::check(request, app).await?;
        let loaded = self.loaded().await?;
        let plan = self.plan(&loaded, Wanted::of(&asked.request), Capability::Generate).await?;
        Ok((asked, loaded, plan))
    }

    /// The whole answer at once.
    pub async fn whole(&self, request: GenerateRequest, app: App) -> Result<GenerateResult, ErrorData> {
        check_size(&request.options).inspect_err(|error| self.requests.refuse(None, error))?;
        let (samples, logprobs) = (request.options.n, request.options.logprobs.is_some());
        express(whole(self.start(request, app).await?, samples, logprobs)).await
    }

    /// Counts the tokens of a request's prompt; only the engine's tokenizers are here.
    pub async fn count(&self, request: GenerateRequest) -> Result<TokenCount, ErrorData> {
        let mut asked = Asked::check(request, App::unknown()).await?;
        let loaded = self.loaded().await?;
        let wanted = Wanted { fallback: false, ..Wanted::of(&asked.request) };
        let plan = self.plan(&loaded, wanted, Capability::Generate).await?;
        let Some(Candidate { provider: who, model }) = plan.candidates.into_iter().next() else {
            return Err(internal("a plan has no candidate"));
        };
        let Some(backend) = Backend::of(&who) else {
            let words = format!("{who} is a server, whose tokenizer is not here; its answers tell `prompt_tokens`");
            return Err(ErrorData::new(Kind::NotSupported, words));
        };
        asked.request.model = model;
        self.generation.count(asked, backend).await
    }

    /// Ends a request; false when it had ended or never was.
    pub async fn cancel(&self, id: &RequestId) -> Result<bool, ErrorData> {
        let Some(sequence) = self.requests.sequence(id) else { return Ok(false) };
        Ok(self.requests.cancel(sequence) || self.generation.cancel(sequence).await?)
    }

    /// All providers.
    pub async fn list(&self) -> Result<ProviderList, ErrorData> {
        let loaded = self.loaded().await?;
        if let Some(broken) = &loaded.broken {
            return Err(broken.clone());
        }
        let mut providers = loaded.describe();
        for provider in &mut providers {
            provider.models = loaded.provider(&provider.id).and_then(|provider| provider.known_models());
        }
        for engine in &self.engines {
            if let Some(described) = providers.iter_mut().find(|provider| provider.id == engine.id()) {
                described.models = Some(engine.models().await?);
            }
        }
        Ok(ProviderList { providers, local_only: loaded.settings.local_only, tiers: loaded.settings.tiers.clone() })
    }

    /// One provider, with its models.
    pub async fn get(&self, id: &ProviderId) -> Result<Described, ErrorData> {
        let (provider, described) = self.one(id).await?;
        let is_askable = check(id, std::slice::from_ref(&described)).is_ok();
        // What it says of itself afterwards tells why it did not answer.
        let models = if is_askable { provider.models().await.ok() } else { None };
        Ok(Described { models, ..provider.describe() })
    }

    /// Asks a provider whether it is there and takes its key.
    pub async fn test(&self, id: &ProviderId) -> Result<ProviderTest, ErrorData> {
        let (provider, described) = self.one(id).await?;
        let began = Instant::now();
        let models = match check(id, &[described]) {
            Ok(()) => provider.models().await,
            Err(error) => Err(error),
        };
        let (models, error) = match models {
            Ok(models) => (Some(models.len() as u32), None),
            Err(error) => (None, Some(error)),
        };
        Ok(ProviderTest { provider: id.clone(), ok: error.is_none(), latency_ms: ms(began.elapsed()), models, error })
    }

    /// Changes a provider, or adds a server.
    pub async fn configure(&self, request: ConfigureProvider) -> Result<Described, ErrorData> {
        let id = request.provider.clone();
        if id.is_engine() {
            return Err(invalid(format!("{id} is this daemon's own engine; there is nothing to configure")));
        }
        let (path, keys) = (self.path(), self.keys());
        blocking(move || {
            // Before anything is changed.
            let key = request.key.as_ref().filter(|key| !key.0.is_empty()).map(|key| parse(&key.0)).transpose();
            let key = key.map_err(|why| invalid(format!("`key` {why}")))?;
            edit::configure(&path, &request)?;
            match (key, request.key) {
                (Some(key), _) => keys.set(&request.provider.0, &key),
                (None, Some(_)) => keys.remove(&request.provider.0).map(drop),
                (None, None) => Ok(()),
            }
        })
        .await?;
        Ok(self.renewed().await?.find(&id)?.1)
    }

    /// Forgets a server and its key.
    pub async fn remove(&self, id: &ProviderId) -> Result<bool, ErrorData> {
        let (path, keys, id) = (self.path(), self.keys(), id.clone());
        let removed = blocking(move || {
            let removed = edit::remove(&path, &id)?;
            if removed {
                keys.remove(&id.0)?;
            }
            Ok(removed)
        })
        .await?;
        self.renewed().await?;
        Ok(removed)
    }

    fn is_local_only(&self) -> bool {
        self.local_only.load(Ordering::SeqCst)
    }

    /// Where keys and other secrets are.
    pub fn keys(&self) -> Keys {
        Keys::new(&self.home, self.keychain)
    }

    fn path(&self) -> PathBuf {
        self.home.join("providers.toml")
    }

    async fn one(&self, id: &ProviderId) -> Result<(Arc<dyn Provider>, Described), ErrorData> {
        let loaded = self.loaded().await?;
        match &loaded.broken {
            Some(broken) if !id.is_engine() => Err(broken.clone()),
            _ => loaded.find(id),
        }
    }

    /// Whom a request means.
    async fn plan(&self, loaded: &Loaded, wanted: Wanted<'_>, needed: Capability) -> Result<Plan, ErrorData> {
        let providers = loaded.describe();
        let meant = match (wanted.provider, wanted.model) {
            (None, Some(model)) => {
                let owner = self.owner(loaded, &providers, model, needed).await;
                owner.map(|provider| Candidate { provider, model: Some(model.clone()) })
            }
            (None, None) => self.obvious(loaded, needed).await,
            _ => None,
        };
        let planned = plan(wanted, meant, &loaded.settings, &providers);
        match (&loaded.broken, planned) {
            (Some(broken), Err(_)) => Err(broken.clone()),
            (_, planned) => planned,
        }
    }

    /// Who has a model that is named without a provider: the library, else a server that says so.
    async fn owner(
        &self,
        loaded: &Loaded,
        providers: &[Described],
        model: &ModelId,
        needed: Capability,
    ) -> Option<ProviderId> {
        if split(model, providers).is_some() {
            return None;
        }
        if let Some(able) = self.generation.engines(model).await {
            return Some(self.engine(loaded, &able, needed).await.into());
        }
        let askable = providers.iter().filter(|provider| !provider.id.is_engine());
        let askable = askable.filter(|provider| check(&provider.id, std::slice::from_ref(provider)).is_ok());
        let asked = askable.map(async |described| {
            let is_default = described.default_model.as_ref() == Some(model);
            let has = is_default || has(loaded.provider(&described.id)?, model).await;
            has.then(|| described.id.clone())
        });
        join_all(asked).await.into_iter().flatten().next()
    }

    /// Providers as the files say now.
    async fn loaded(&self) -> Result<Arc<Loaded>, ErrorData> {
        let signs = signs(&self.path(), &self.home.join("keys"));
        let latest = self.loaded.lock().unwrap_or_else(PoisonError::into_inner).clone();
        match latest {
            Some(loaded)
                if loaded.is_of(&signs, self.is_local_only())
                    && loaded.until.is_none_or(|until| Instant::now() < until) =>
            {
                Ok(loaded)
            }
            _ => self.load(signs).await,
        }
    }

    async fn renewed(&self) -> Result<Arc<Loaded>, ErrorData> {
        self.load(signs(&self.path(), &self.home.join("keys"))).await
    }

    /// Reads the files. Keychains take their time, so this is done off the event loop.
    async fn load(&self, signs: Signs) -> Result<Arc<Loaded>, ErrorData> {
        let (path, keys, local_only) = (self.path(), self.keys(), self.is_local_only());
        let (requests, engines) = (Arc::clone(&self.requests), self.engines.clone());
        let loaded = blocking(move || {
            let (settings, broken) = match Settings::read(&path) {
                Ok(settings) => (settings, None),
                Err(error) => {
                    tracing::warn!("providers are not read, so only the engine is asked: {}", error.message);
                    (Settings { local_only: true, ..Settings::default() }, Some(error))
                }
            };
            let settings = Settings { local_only: settings.local_only || local_only, ..settings };
            let mut providers = engines;
            for (id, server) in &settings.servers {
                providers.push(Arc::new(Server::new(
                    id.clone(),
                    server.clone(),
                    &keys,
                    settings.local_only,
                    &requests,
                )));
            }
            let place = |id: &ProviderId| settings.order.iter().position(|ordered| ordered == id);
            providers.sort_by_key(|provider| (place(&provider.id()).unwrap_or(usize::MAX), provider.id()));
            let until = keys.may_be_incomplete().then(|| Instant::now() + KEYCHAIN);
            Ok(Arc::new(Loaded { signs, local_only, until, settings, providers, broken }))
        })
        .await?;
        *self.loaded.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&loaded));
        Ok(loaded)
    }
}

impl Loaded {
    fn is_of(&self, signs: &Signs, local_only: bool) -> bool {
        self.signs == *signs && self.local_only == local_only
    }

    fn describe(&self) -> Vec<Described> {
        self.providers.iter().map(|provider| provider.describe()).collect()
    }

    fn provider(&self, id: &ProviderId) -> Option<Arc<dyn Provider>> {
        self.providers.iter().find(|provider| provider.id() == *id).cloned()
    }

    fn find(&self, id: &ProviderId) -> Result<(Arc<dyn Provider>, Described), ErrorData> {
        let described = self.describe();
        let described = find(id, &described)?.clone();
        self.provider(id).map(|provider| (provider, described)).ok_or_else(|| internal("a provider went away"))
    }
}

/// Whether a server has a model, as it told last, or tells within a moment.
async fn has(provider: Arc<dyn Provider>, model: &ModelId) -> bool {
    let models = match provider.known_models() {
        Some(models) => models,
        None => match tokio::time::timeout(LISTING, provider.models()).await {
            Ok(Ok(models)) => models,
            _ => return false,
        },
    };
    models.contains(model)
}

/// Runs what blocks.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ErrorData> + Send + 'static,
) -> Result<T, ErrorData> {
    tokio::task::spawn_blocking(work).await.map_err(|_| internal("reading the providers panicked"))?
}
